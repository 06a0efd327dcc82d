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
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import NUMPY
from .callbacks import Callback, Progress
from .checkpoint import Checkpoint, refuse_other_settings
from .clipping import ClipNorm, ClipValue
from .context import generator, recording, use
from .data import place_of, take
from .errors import DtypeError, RangeError, brief, known_name, require_integer, require_list
from .failures import not_finite, put_back, warn_of_collapse
from .history import History, gradient_norms
from .interrupt import deferred_interrupt
from .losses import LOSSES, loss_function
from .memory import told_when_exhausted
from .nn.module import Module
from .optimizer import Optimizer, no_learning_rate
from .random import Generator
from .regularizers import Regularizer
from .rehearsal import (
    checked_batch_size,
    checked_data,
    checked_optimizer,
    checked_validation,
    fingerprint,
    make_batch,
    rehearse,
    require_functions,
)
from .schedules import Schedule
from .steps import steps_of
from .tensor import Tensor

# ---------------------------------------------------------------- the loop


def fit(
    model: Module,
    x: Any,
    y: Any,
    epochs: int,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "adam",
    lr: float | None = None,
    loss: str | Callable[[Tensor, Tensor], Tensor] | None = None,
    validation_data: Any = None,
    shuffle: bool = True,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    regularizers: Sequence[Regularizer] = (),
    augment: Sequence[Callable[[Tensor], Tensor]] = (),
    progress: bool = True,
) -> History:
    """Train a model to map x to y.

    Parameters
    ----------
    model : Module
    x : array (N, ...)
        Moved to the model's backend and converted to its float type batch by batch. A memory-mapped
        array (``np.load(path, mmap_mode="r")``) may be larger than memory.
    y : array (N, ...)
        Targets; for an autoencoder x itself. Integer labels (N,) for ``"cross_entropy"``.
    epochs : int
    batch_size : int, optional
        32 by default. Gradient descent and L-BFGS take all N and refuse another number.
    optimizer : str or Optimizer
        ``"gd"``, ``"sgd"``, ``"momentum"``, ``"adagrad"``, ``"rmsprop"``, ``"adam"``, ``"lbfgs"``, or one
        made from the model's parameters.
    lr : float, optional
        Learning rate for an optimizer given by name; by default 1e-3 for Adam and RMSProp, 1e-2 for AdaGrad,
        0.1 for the others. L-BFGS has none.
    loss : str or function, optional
        By default the model's own: ``"mse"``, but for those that say otherwise. ``"mse"`` and ``"bce"``: the mean
        over all elements; ``"bce"`` expects a model that ends in a sigmoid and computes from the value before it.
        ``"cross_entropy"``: the mean over rows. Or a function (prediction, target) -> scalar Tensor. A model may add
        terms to it (``Module.objective``); then the history has each of them under its name, and ``loss`` is their sum.
    validation_data : array or (x, y), optional
        Its loss is computed after each epoch, in evaluation mode.
    shuffle : bool
        A new order in each epoch, drawn from ``seed``.
    seed : int
        For the order of the examples, dropout and noise. Initial weights: ``ta.manual_seed``.
    callbacks : list of Callback
        EarlyStopping, Checkpoint, CosineDecay, ClipNorm, TensorBoard, or your own.
    regularizers : list of L1, L2
    augment : list of functions
        Each is given a batch of examples in training, as a Tensor, and gives another of the same shape, such as
        ``RandomShift(2)``. Where the examples are their own targets, so are the changed ones.
    progress : bool
        Show a progress bar.

    Returns
    -------
    History
        Also after Ctrl-C, which ends the batch in hand and keeps what was learnt.

    On a GPU the data are brought there once, if they take no more than half of the free memory, and the steps become
    CUDA graphs; where that is impossible, a CaptureWarning says why. An epoch then reads five times from the GPU: the
    losses of its batches, the held-out loss, whether all weights are finite, the gradients' norms, and the variances
    that show a collapse. A progress bar, and callbacks that look at a batch's loss, read besides. Data that a callback
    changes in place between epochs are not brought there again.

    Raises
    ------
    RangeError, ShapeError, DtypeError
        Data or settings that cannot work, before anything is changed.
    StateError, ModelFileError
        A checkpoint that does not fit this run, or is damaged.
    FileWriteError
        A checkpoint cannot be written; the model keeps what it learnt.
    TrainingError
        The loss or a weight became NaN or infinite. Model and optimizer are put back to the end of the
        last whole epoch; the error's ``history`` holds the epochs until then.
    """
    trainer = Trainer(
        model, x, y, epochs, batch_size, optimizer, lr, loss, validation_data, shuffle, seed, regularizers, augment
    )
    callbacks = require_list("fit", "callbacks", callbacks, Callback)
    return trainer.run([*callbacks, *trainer.watchers, *([Progress()] if progress else [])])


class Trainer:
    """One call of ``fit``: its settings, checked, and its state, for callbacks to see."""

    def __init__(self, model, x, y, epochs, batch_size, optimizer, lr, loss, validation_data, shuffle, seed,
                 regularizers, augment):  # fmt: skip
        if not isinstance(model, Module):
            raise DtypeError(f"fit: the model is {brief(model)}; expected a Module, such as Autoencoder(...).")
        self.model = model
        self._locate()
        self.epochs = require_integer("fit", "epochs", epochs, at_least=1)
        self.seed = require_integer("fit", "seed", seed, at_least=0)
        self.shuffle, self.regularizers = shuffle, require_list("fit", "regularizers", regularizers, Regularizer)
        self.augment = require_functions("augment", augment)
        loss = model.default_loss if loss is None else loss
        self.loss_name = loss if callable(loss) else known_name("loss", loss, LOSSES)
        model.check_loss(self.loss_name)
        self.loss = loss_function(loss)
        self.x, self.y = checked_data("x", x, y, model, self.loss_name)
        self.optimizer = checked_optimizer(optimizer, lr, model)
        self.batch_size = checked_batch_size(batch_size, self.optimizer, len(self.x))
        self.batches_per_epoch = math.ceil(len(self.x) / self.batch_size)
        self.validation = checked_validation(validation_data, self.y is self.x, model, self.loss_name)
        rehearse(self)
        self.history = History()
        self.record_names = ["epoch", "loss", *self.terms, *(["penalty"] if self.regularizers else []),
                             *(["val_loss", *(f"val_{name}" for name in self.terms)] if self.validation else []),
                             *(["lr"] if self.optimizer.has_lr else []), "seconds"]  # fmt: skip
        self.epoch = 0  # whole epochs done
        self.collapsed_for = 0  # epochs in a row
        self.generator = Generator(self.seed)
        self.base_lr = self.optimizer.lr  # what schedules multiply
        self.callbacks, self.watchers_first, self.schedules, self.remembering = [], [], [], []
        self.watchers = model.watchers()
        self.stop_reason = None

    def stop(self, reason):
        """End the training after this epoch."""
        self.stop_reason = reason

    # ------------------------------------------------------------ the loop

    def run(self, callbacks):
        """All epochs; returns the History."""
        self.callbacks = callbacks
        self.watchers_first = [*self.watchers, *(c for c in callbacks if c not in self.watchers)]
        self.schedules = [callback for callback in callbacks if isinstance(callback, Schedule)]
        if self.schedules and self.base_lr is None:
            raise RangeError(
                f"fit: {self.schedules[0]!r} was given, but {no_learning_rate(type(self.optimizer).__name__)}"
            )
        self.remembering = [c for c in callbacks if type(c).state_dict is not Callback.state_dict]
        clips = [c for c in callbacks if isinstance(c, (ClipNorm, ClipValue))]
        if clips and self.optimizer.needs_closure:
            raise RangeError(
                f"fit: {clips[0]!r} was given, but {self.optimizer!r} computes its gradients anew, several times in a step, "
                "and its line search bounds the step. Leave clipping out."
            )
        # what a checkpoint holds of the data takes time to compute
        self.settings = self._settings() if any(isinstance(c, Checkpoint) for c in callbacks) else {}
        saved = [state for c in callbacks if isinstance(c, Checkpoint) and (state := c.start()) is not None]
        for callback in callbacks:
            callback.trainer = self
        if saved:
            self.load_state_dict(saved[0])
        modes = [(module, module.training) for module in self.model.modules()]
        with told_when_exhausted(self):
            self.steps = steps_of(self)
        try:
            # NumPy need not warn of overflows: the loop itself looks for what is not finite
            quiet = np.errstate(all="ignore")
            own_chance, on_tape = use(generator, self.generator), use(recording, True)
            with own_chance, on_tape, quiet, told_when_exhausted(self), deferred_interrupt() as interrupt:
                self.call("on_train_begin")
                if saved:
                    for callback, state in zip(self.remembering, saved[0]["callbacks"]):
                        callback.load_state_dict(state)
                while self.epoch < self.epochs and not self.stop_reason:
                    self.call("on_epoch_begin", self.epoch + 1)
                    record = self._one_epoch(interrupt)
                    if record is None:  # Ctrl-C in the middle of an epoch
                        break
                    self.epoch += 1
                    self.history.records.append(record)
                    self.call("on_epoch_end", self.epoch, {name: record[name] for name in self.record_names})
                    warn_of_collapse(self)
                    self.call("on_epoch_complete", self.epoch)
                    if interrupt.is_set():
                        break
                if interrupt.is_set():
                    self.history.interrupted = True
                    self.stop_reason = f"interrupted by Ctrl-C after {self.epoch} whole epochs"
                self.call("on_train_end")
        finally:
            for module, mode in modes:
                module.training = mode
            # callbacks keep the trainer: not two copies of the model with it, nor the data and graphs on a device
            self.last_good = self.steps = None
            if self.schedules:
                self.optimizer.lr = self.base_lr  # the next training begins where this one did
            for callback in callbacks:
                callback.close()
        self.history.stop_reason = self.stop_reason
        return self.history

    def _one_epoch(self, interrupt):
        """One pass through the data; returns its record, or None after Ctrl-C."""
        model, optimizer, started = self.model, self.optimizer, time.perf_counter()
        before = self.place, self.dtype
        self._locate()
        if (self.place, self.dtype) != before:  # a callback has moved or converted the model
            self.steps = steps_of(self)
        self.last_good = model.snapshot(), optimizer.snapshot()
        model.train()
        steps, n = self.steps, len(self.x)
        steps.begin(self.epoch)
        for batch, start in enumerate(range(0, n, self.batch_size), 1):
            self.batch_number = batch
            if self.schedules:
                passed = self.epoch + (batch - 1) / self.batches_per_epoch
                optimizer.lr = self.base_lr * math.prod(schedule.factor(passed) for schedule in self.schedules)
            steps.take(batch, start, min(start + self.batch_size, n))
            self.call("on_batch_end", batch, steps.logs())
            if interrupt.is_set() and start + self.batch_size < n:
                steps.finish()  # is what was learnt a number?
                return None
        losses, penalties = steps.finish()
        terms = steps.terms()
        sizes = [min(self.batch_size, n - start) for start in range(0, n, self.batch_size)]
        record = {"epoch": self.epoch + 1, "loss": sum(map(operator.mul, losses, sizes)) / n}
        record |= {name: total / n for name, total in zip(self.terms, terms)}
        if self.regularizers:
            record["penalty"] = sum(map(operator.mul, penalties, sizes)) / n
        if self.validation is not None:
            record |= {f"val_{name}": value for name, value in self.evaluate(*self.validation).items()}
        if not math.isfinite(record.get("val_loss", 0.0)):
            put_back(self, "held-out loss", record["val_loss"], "that step")
        if (name := not_finite(model)) is not None:
            put_back(self, f"parameter {name}", float("nan"), "that step")
        if optimizer.lr is not None:
            record["lr"] = optimizer.lr
        record["gradients"] = gradient_norms(model.named_parameters(), optimizer.params)
        return {**record, "seconds": round(time.perf_counter() - started, 4)}

    def objective(self, x, y):
        """What is minimised, on the tape, and what it consists of.

        That is: the model's loss, the terms of that, if they are several, and the regularizers' penalties, or None.
        """
        loss, terms = self.loss_and_terms(x, y)
        if not self.regularizers:
            return loss, loss, terms, None
        penalty = sum(regularizer(self.model) for regularizer in self.regularizers)
        return loss + penalty, loss, terms, penalty

    def _locate(self):
        """Where the model is, and in what type: asked once per epoch, for it looks at every tensor."""
        self.place, self.dtype = self.model.backend, self.model.dtype

    def batch(self, x, y, index):
        """The examples x[index] and their targets, where the model is and in its type."""
        return make_batch(x, y, index, self.place, self.dtype)

    def loss_and_terms(self, x, y):
        """The model's loss, and the terms that it is the sum of, if they are several."""
        found = self.model.objective(x, y, self.loss)
        first, *others = found.values()
        loss = sum(others, first)
        if list(found) == (self.terms or ["loss"]):
            return loss, list(found.values()) if self.terms else []
        if new := set(found) - set(self.terms):
            raise RangeError(
                f"fit: {type(self.model).__name__}.objective has a term '{min(new)}', which it had not when the training began; "
                f"it had {', '.join(self.terms) or 'the loss alone'}. Give the same terms each time, in training and in evaluation: "
                "one that plays no part may be 0."
            )
        return loss, [found[name] if name in found else 0 * loss.detach() for name in self.terms]

    def augmented(self, x, y):
        """The batch as it is trained on: changed at random where asked for, its target too if that is x itself."""
        changed = x
        for function in self.augment:
            changed = function(changed)
        return changed, changed if y is x else y

    def evaluate(self, x, y):
        """The loss over a data set, in evaluation mode, and its terms if several: {name: mean over examples}."""
        totals, (x, y) = 0.0, self.steps.here(x, y) if self.steps else (x, y)
        # a loss of the user's own may be a sum: then only batches of one size are comparable
        size = self.batch_size if callable(self.loss_name) else self.evaluated_at_once
        with self.model.evaluating():
            for start in range(0, len(x), size):
                stop = min(start + size, len(x))
                index = np.arange(start, stop) if place_of(x) is NUMPY else slice(start, stop)
                loss, terms = self.loss_and_terms(*self.batch(x, y, index))
                # on a device they stay there, to be read once
                values = self.place.xp.stack([loss.data.reshape(()), *(term.data.reshape(()) for term in terms)])
                totals = totals + values.astype("float64") * (stop - start)
        return dict(zip(["loss", *self.terms], (self.place.to_host(totals) / len(x)).tolist()))

    # ------------------------------------------------------------ callbacks

    def call(self, hook, *arguments):
        """Call one method of every callback.

        In the order in which they were given, then the model's own watchers, which so see the weights that
        EarlyStopping puts back; but at the end of an epoch these come first, as they add to what the others are told.
        """
        for callback in self.watchers_first if hook == "on_epoch_end" else self.callbacks:
            getattr(callback, hook)(*arguments)

    def examples(self, most, epoch=0):
        """Up to ``most`` training examples, drawn by seed and epoch, as an array where the model is and in its type."""
        order = Generator(self.seed).permutation(len(self.x), "sample", step=epoch)
        return take(self.x, order[:most], self.place, self.dtype).data

    def note(self, logs, **numbers):
        """Add numbers to what callbacks are told at the end of an epoch, and to its record in the history."""
        logs |= numbers
        self.history.records[-1] |= numbers

    # ------------------------------------------------------------ to go on later

    def _settings(self):
        """What a run that goes on must share with the one that began."""
        also = [*self.regularizers, *self.schedules, *(c for c in self.remembering if not isinstance(c, Schedule))]
        also += self.augment
        return {
            "model": repr(self.model),
            "dtype": str(self.dtype),
            "optimizer": repr(self.optimizer),
            "loss": getattr(self.loss_name, "__qualname__", str(self.loss_name)),
            "batch_size": self.batch_size,
            "shuffle": bool(self.shuffle),
            "seed": self.seed,
            "training data": fingerprint(self.x, *([] if self.y is self.x else [self.y])),
            "validation data": None if self.validation is None else fingerprint(*self.validation),
            "regularizers and callbacks": ", ".join(getattr(part, "__qualname__", repr(part)) for part in also),
        }

    def state_dict(self):
        """Everything needed to go on after a whole epoch; arrays as NumPy arrays."""
        return {
            "settings": self.settings,
            "epochs": self.epochs,
            "epoch": self.epoch,
            "stop_reason": self.stop_reason,
            "base_lr": self.base_lr,
            "collapsed_for": self.collapsed_for,
            "generator": self.generator.state_dict(),
            "history": [dict(record) for record in self.history.records],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.remembering],
        }

    def load_state_dict(self, state):
        """Go on from a ``state_dict()``, but for what callbacks remember; on an error nothing has changed."""
        refuse_other_settings(state["settings"], self.settings)
        if self.epochs < state["epoch"]:
            raise RangeError(
                f"fit: epochs={self.epochs}, but the checkpoint has {state['epoch']} already. Give at least as many: "
                "epochs counts all, from the beginning."
            )
        self.model.load_state_dict(state["model"])  # as the settings agree, these fit
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.load_state_dict(state["generator"])
        self.history.records = state["history"]
        self.epoch, self.base_lr, self.collapsed_for = state["epoch"], state["base_lr"], state["collapsed_for"]
        if self.epochs <= state["epochs"]:  # more epochs than before: a reason to stop has passed
            self.stop_reason = state["stop_reason"]
