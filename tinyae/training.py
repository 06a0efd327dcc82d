"""Training: the loop that every model shares, and the history it leaves.

Written by hand, the loop is::

    for epoch in range(epochs):
        for x in ta.batches(images, 32, epoch=epoch):
            optimizer.zero_grad()
            loss = ta.mse_loss(model(x), x)
            loss.backward()
            optimizer.step()

``fit`` does the same, with the same numbers, and takes care of what goes wrong: bad data, a loss
that becomes NaN, a model that collapses, Ctrl-C.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .callbacks import Callback, Progress
from .context import generator, recording, use
from .data import as_data, check_values, order_of, take
from .errors import (
    DtypeError,
    RangeError,
    ShapeError,
    TrainingError,
    brief,
    known_name,
    require_integer,
    require_list,
)
from .history import History
from .interrupt import deferred_interrupt
from .losses import LOSSES, loss_function
from .nn.module import Module
from .optim import make_optimizer
from .optimizer import Optimizer
from .random import Generator
from .regularizers import Regularizer
from .tensor import Tensor

DEFAULT_BATCH_SIZE = 32


class CollapseWarning(UserWarning):
    """The model has come to predict the same output for every input."""


# ---------------------------------------------------------------- the loop


def fit(
    model: Module,
    x: Any,
    y: Any,
    epochs: int,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "adam",
    lr: float | None = None,
    loss: str | Callable[[Tensor, Tensor], Tensor] = "mse",
    validation_data: Any = None,
    shuffle: bool = True,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    regularizers: Sequence[Regularizer] = (),
    progress: bool = True,
) -> History:
    """Train a model to map x to y.

    Parameters
    ----------
    model : Module
    x : array (N, ...)
        Moved to the model's backend and converted to its float type batch by batch.
    y : array (N, ...)
        Targets; for an autoencoder x itself. Integer labels (N,) for ``"cross_entropy"``.
    epochs : int
    batch_size : int, optional
        32 by default. Gradient descent takes all N and refuses another number.
    optimizer : str or Optimizer
        ``"gd"``, ``"sgd"``, ``"momentum"``, ``"adam"``, or one made from the model's parameters.
    lr : float, optional
        Learning rate for an optimizer given by name; by default 1e-3 for Adam, 0.1 for the others.
    loss : str or function
        ``"mse"`` and ``"bce"``: the mean over all elements; ``"bce"`` expects a model that ends in a
        sigmoid and computes from the value before it. ``"cross_entropy"``: the mean over rows. Or a
        function (prediction, target) -> scalar Tensor.
    validation_data : array or (x, y), optional
        Its loss is computed after each epoch, in evaluation mode.
    shuffle : bool
        A new order in each epoch, drawn from ``seed``.
    seed : int
        For the order of the examples, dropout and noise. Initial weights: ``ta.manual_seed``.
    callbacks : list of Callback
    regularizers : list of L1, L2
    progress : bool
        Show a progress bar.

    Returns
    -------
    History
        Also after Ctrl-C, which ends the batch in hand and keeps what was learnt.

    Raises
    ------
    RangeError, ShapeError, DtypeError
        Data or settings that cannot work, before anything is changed.
    TrainingError
        The loss or a weight became NaN or infinite. Model and optimizer are put back to the end of the
        last whole epoch; the error's ``history`` holds the epochs until then.
    """
    trainer = Trainer(
        model, x, y, epochs, batch_size, optimizer, lr, loss, validation_data, shuffle, seed, regularizers
    )
    callbacks = require_list("fit", "callbacks", callbacks, Callback)
    return trainer.run([*callbacks, *([Progress()] if progress else [])])


class Trainer:
    """One call of ``fit``: its settings, checked, and its state, for callbacks to see."""

    def __init__(
        self, model, x, y, epochs, batch_size, optimizer, lr, loss, validation_data, shuffle, seed, regularizers
    ):
        if not isinstance(model, Module):
            raise DtypeError(f"fit: the model is {brief(model)}; expected a Module, such as Autoencoder(...).")
        self.model = model
        self._locate()
        self.epochs = require_integer("fit", "epochs", epochs, at_least=1)
        self.seed = require_integer("fit", "seed", seed, at_least=0)
        self.shuffle, self.regularizers = shuffle, require_list("fit", "regularizers", regularizers, Regularizer)
        self.loss_name = loss if callable(loss) else known_name("loss", loss, LOSSES)
        self.loss = loss_function(loss)
        self.x, self.y = self._checked_data("x", x, y)
        self.optimizer = self._checked_optimizer(optimizer, lr)
        self.batch_size = self._checked_batch_size(batch_size)
        self.batches_per_epoch = math.ceil(len(self.x) / self.batch_size)
        self.validation = None
        if validation_data is not None:
            is_pair = isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
            if not is_pair and (isinstance(validation_data, tuple) or self.y is not self.x):
                raise ShapeError("fit: validation_data must be a pair (x, y), as the training data are.")
            pair = validation_data if is_pair else (validation_data, validation_data)
            self.validation = self._checked_data("validation_data", *pair)
        self._rehearse()
        self.history = History()
        self.record_names = ["epoch", "loss", *(["penalty"] if self.regularizers else []),
                             *(["val_loss"] if self.validation else []), "lr", "seconds"]  # fmt: skip
        self.epoch = 0  # whole epochs done
        self.collapsed_for = 0  # epochs in a row
        self.generator = Generator(self.seed)
        self.stop_reason = None

    def stop(self, reason):
        """End the training after this epoch."""
        self.stop_reason = reason

    # ------------------------------------------------------------ the loop

    def run(self, callbacks):
        """All epochs; returns the History."""
        for callback in callbacks:
            callback.trainer = self
        modes = [(module, module.training) for module in self.model.modules()]
        try:
            # NumPy need not warn of overflows: the loop itself looks for what is not finite
            quiet = np.errstate(all="ignore")
            own_chance, on_tape = use(generator, self.generator), use(recording, True)
            with own_chance, on_tape, quiet, deferred_interrupt() as interrupt:
                call_all(callbacks, "on_train_begin")
                while self.epoch < self.epochs and not self.stop_reason:
                    call_all(callbacks, "on_epoch_begin", self.epoch + 1)
                    record = self._one_epoch(callbacks, interrupt)
                    if record is None:  # Ctrl-C in the middle of an epoch
                        break
                    self.epoch += 1
                    self.history.records.append(record)
                    call_all(callbacks, "on_epoch_end", self.epoch, dict(record))
                    collapsed = self._collapsed()
                    self.collapsed_for = self.collapsed_for + 1 if collapsed else 0
                    last = self.epoch == self.epochs or self.stop_reason is not None
                    if self.collapsed_for == 2 or (last and self.collapsed_for == 1):
                        warnings.warn(collapsed, CollapseWarning, stacklevel=4)
                    if interrupt.is_set():
                        break
                if interrupt.is_set():
                    self.history.interrupted = True
                    self.stop_reason = f"interrupted by Ctrl-C after {self.epoch} whole epochs"
                call_all(callbacks, "on_train_end")
        finally:
            for module, mode in modes:
                module.training = mode
            for callback in callbacks:
                callback.close()
        self.history.stop_reason = self.stop_reason
        return self.history

    def _one_epoch(self, callbacks, interrupt):
        """One pass through the data; returns its record, or None after Ctrl-C."""
        model, optimizer, started = self.model, self.optimizer, time.perf_counter()
        self._locate()
        last_good = model.snapshot(), optimizer.snapshot()
        order = order_of(len(self.x), self.seed, self.epoch, self.shuffle)
        total, total_penalty = 0.0, 0.0
        model.train()
        for batch, start in enumerate(range(0, len(order), self.batch_size), 1):
            index = order[start : start + self.batch_size]
            x, y = self._batch(self.x, self.y, index)
            loss = self.loss(model, x, y)
            objective, value, extra = loss, loss.item(), 0.0
            if self.regularizers:
                penalty = sum(regularizer(model) for regularizer in self.regularizers)
                objective, extra = loss + penalty, float(penalty)
            if not math.isfinite(value + extra):
                self._not_finite("loss", value + extra, batch, last_good, "the step before")
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            total += value * len(index)
            total_penalty += extra * len(index)
            call_all(callbacks, "on_batch_end", batch, {"loss": value + extra})
            if interrupt.is_set() and start + self.batch_size < len(order):
                return None
        record = {"epoch": self.epoch + 1, "loss": total / len(order)}
        if self.regularizers:
            record["penalty"] = total_penalty / len(order)
        if self.validation is not None:
            record["val_loss"] = self.evaluate(*self.validation)
        if not math.isfinite(record.get("val_loss", 0.0)):
            self._not_finite("held-out loss", record["val_loss"], batch, last_good, "that step")
        for name, parameter in model.named_parameters():
            if not bool(parameter.backend.xp.isfinite(parameter.data).all()):
                self._not_finite(f"parameter {name}", float("nan"), batch, last_good, "that step")
        return {**record, "lr": optimizer.lr, "seconds": round(time.perf_counter() - started, 4)}

    def _locate(self):
        """Where the model is, and in what type: asked once per epoch, for it looks at every tensor."""
        self.place, self.dtype = self.model.backend, self.model.dtype

    def _batch(self, x, y, index):
        batch = take(x, index, self.place, self.dtype)
        if y is x:
            return batch, batch
        return batch, take(y, index, self.place, self.dtype if y.dtype.kind == "f" else None)

    def evaluate(self, x, y):
        """The loss over a data set, in evaluation mode."""
        total = 0.0
        # a loss of the user's own may be a sum: then only batches of one size are comparable
        size = self.batch_size if callable(self.loss_name) else max(self.batch_size, 256)
        with self.model.evaluating():
            for start in range(0, len(x), size):
                index = np.arange(start, min(start + size, len(x)))
                total += self.loss(self.model, *self._batch(x, y, index)).item() * len(index)
        return total / len(x)

    # ------------------------------------------------------------ checks

    def _checked_data(self, name, x, y):
        own_target = y is x
        x = as_data(f"fit: {name}", x)
        y = x if own_target else as_data(f"fit: target of {name}", y)
        if len(x) != len(y):
            raise ShapeError(f"fit: {name} has {len(x)} examples, but {len(y)} targets; expected as many.")
        bounded = self.loss_name == "bce" or self.model.ends_in_sigmoid()
        if self.loss_name == "cross_entropy" and y.dtype.kind not in "iu":
            raise DtypeError(f"fit: loss 'cross_entropy' needs integer labels, but the targets are {y.dtype}.")
        check_values(f"fit: {name}", x, unit_interval=bounded and own_target)
        if not own_target:
            check_values(f"fit: target of {name}", y, unit_interval=bounded)
        return x, y

    def _rehearse(self):
        """Compute the loss of one example of each data set: what cannot work is refused before anything is changed."""
        data = {"the training data": (self.x, self.y)}
        if self.validation is not None:
            data["validation_data"] = self.validation
        for name, (x, y) in data.items():
            with self.model.evaluating():
                batch = self._batch(x, y, np.arange(1))
                value = self.loss(self.model, *batch)
                if not isinstance(value, Tensor) or value.size != 1:
                    raise ShapeError(
                        f"fit: the loss function returned {brief(value)}; expected a Tensor with one number, such as a mean."
                    )
                if self.loss_name == "cross_entropy":
                    check_labels(name, y, self.model(batch[0]).shape[1])

    def _checked_optimizer(self, optimizer, lr):
        parameters = self.model.parameters()
        if not parameters:
            raise RangeError(f"fit: {self.model!r} has no parameters to train.")
        if not isinstance(optimizer, Optimizer):
            return make_optimizer(optimizer, parameters, lr)
        if lr is not None:
            raise RangeError(
                f"fit: lr={lr} was given beside {optimizer!r}, which has its own; set optimizer.lr instead."
            )
        if not any(p is q for p in optimizer.params for q in parameters):
            raise RangeError(
                f"fit: {optimizer!r} holds none of the model's parameters. Make it from model.parameters()."
            )
        return optimizer

    def _checked_batch_size(self, batch_size):
        if self.optimizer.full_batch:
            if batch_size is not None:
                raise RangeError(
                    f"fit: batch_size={batch_size} was given, but gradient descent takes the gradient of all {len(self.x)} "
                    "examples at once. Leave batch_size out, or use optimizer='sgd'."
                )
            return len(self.x)
        size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
        return min(require_integer("fit", "batch_size", size, at_least=1), len(self.x))

    # ------------------------------------------------------------ what goes wrong

    def _not_finite(self, what, value, batch, last_good, whose):
        """Put the model back and say what happened."""
        step = self.epoch * self.batches_per_epoch + batch
        largest = [(float(abs(p.grad).max()), name) for name, p in self.model.named_parameters() if p.grad is not None]
        # NaN compares as neither smaller nor larger; here it is the largest
        size, name = max(largest, key=lambda g: (math.isnan(g[0]), g[0]), default=(0.0, None))
        gradient = "No gradient was computed yet."
        if name is not None:
            gradient = f"The largest gradient of {whose} was {size:.3g}, in {name}."
        self.model.restore(last_good[0])
        self.optimizer.restore(last_good[1])
        error = TrainingError(
            f"fit: the {what} became {value} in step {step} (epoch {self.epoch + 1}, batch {batch}), with learning rate "
            f"{self.optimizer.lr:g}. {gradient} Model and optimizer were put back to the end of epoch {self.epoch}. "
            "Try a smaller learning rate."
        )
        error.history = self.history
        raise error

    def _collapsed(self):
        """A warning if the outputs no longer depend on the input, else None.

        Compared are the variances over examples of outputs and targets, on up to 256 examples.
        """
        if self.y.dtype.kind != "f" or len(self.x) < 2:
            return None
        x, y = self._batch(self.x, self.y, np.arange(min(256, len(self.x))))
        with self.model.evaluating():
            prediction = self.model(x)
        if prediction.shape != y.shape:
            return None
        varies, should = float(prediction.data.var(axis=0).mean()), float(y.data.var(axis=0).mean())
        if not varies < 1e-4 * should:
            return None
        return (
            f"after epoch {self.epoch} the model predicts the same for every input: over examples its output varies by "
            f"{varies:.2g}, the target by {should:.2g} (variances). It has collapsed to a constant, usually because its "
            f"units are saturated or dead and pass no gradient back. Start anew with a learning rate below {self.optimizer.lr:g}; "
            "if that does not help, with init='he', or with loss='bce' if the model ends in a sigmoid."
        )


def check_labels(name, labels, classes):
    """Refuse labels that no output stands for."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise RangeError(
            f"fit: the labels of {name} go from {low} to {high}, but the model's {classes} outputs stand for 0 to {classes - 1}."
        )


def call_all(callbacks, hook, *arguments):
    """Call one method of every callback."""
    for callback in callbacks:
        getattr(callback, hook)(*arguments)
