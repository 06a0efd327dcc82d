"""Callbacks: hooks that ``fit`` calls from its loop.

Write your own as a subclass of Callback. It can read ``self.trainer`` (``model``, ``optimizer``,
``history``, ``epoch``) and end the training with ``self.trainer.stop("reason")``.
"""

import inspect
import math
import shutil
import sys
from typing import Any

import numpy as np

from .errors import RangeError, require_integer, require_number

PLAIN = (bool, int, float, str, type(None))


class Callback:
    """Does nothing at every hook; override what is needed.

    ``logs`` is a dict: after a batch ``loss`` (with penalties); after an epoch ``loss`` (mean over the epoch), the
    terms that a model adds up to it, ``val_loss`` if there are validation data, ``lr`` and ``seconds``; only numbers.
    The norms of the gradients are in ``self.trainer.history``. Epochs count from 1.
    """

    trainer: Any = None  # set by fit; ``trainer.record_names`` says what logs will hold

    def on_train_begin(self) -> None:
        pass

    def on_epoch_begin(self, epoch: int) -> None:
        pass

    def on_gradients(self, batch: int) -> None:
        """The gradients are there, the step is still to come: the place to look at them, or to clip them."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        pass

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        pass

    def on_epoch_complete(self, epoch: int) -> None:
        """Every callback has seen the end of the epoch: the state is whole, and can be written."""

    def on_train_end(self) -> None:
        """Also called after Ctrl-C, but not after an error."""

    def close(self) -> None:
        """Called last, however training ended: give back what was opened."""

    def state_dict(self) -> dict[str, Any]:
        """What must be remembered to go on from a checkpoint: numbers, strings, NumPy arrays, lists, dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember it again; called after ``on_train_begin``."""

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        plain = {name: value for name in names if isinstance(value := getattr(self, name), PLAIN)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in plain.items())})"


def monitored(owner, monitor, names):
    """The name of what to watch: the one given, or for None val_loss if there is one, else loss."""
    if monitor is None:
        return "val_loss" if "val_loss" in names else "loss"
    if monitor not in names:
        raise RangeError(f"{owner}: nothing called {monitor!r} to watch; this training records {', '.join(names)}.")
    return monitor


class EarlyStopping(Callback):
    """Stop when the watched loss has not fallen for ``patience`` epochs in a row.

    Parameters
    ----------
    patience : int
        Epochs without an improvement by more than ``min_delta`` that are endured.
    restore_best : bool
        End with the weights of the best epoch, also after Ctrl-C (but not after an error).
    monitor : str, optional
        What to watch; by default ``val_loss`` if there are validation data, else ``loss``.

    Prechelt, "Early stopping - but when?" (1998).
    """

    def __init__(
        self, patience: int, min_delta: float = 0, restore_best: bool = True, monitor: str | None = None
    ) -> None:
        self.patience = require_integer("EarlyStopping", "patience", patience, at_least=1)
        self.min_delta = require_number("EarlyStopping", "min_delta", min_delta, at_least=0)
        self.restore_best, self.monitor = restore_best, monitor

    def on_train_begin(self) -> None:
        self.name = monitored("EarlyStopping", self.monitor, self.trainer.record_names)
        self.best, self.best_epoch, self.best_weights = float("inf"), 0, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        value = logs[self.name]
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            if self.restore_best:
                self.best_weights = self.trainer.model.snapshot()
        elif epoch - self.best_epoch >= self.patience:
            self.trainer.stop(f"{self.name} has not fallen for {epoch - self.best_epoch} epochs")

    def state_dict(self) -> dict[str, Any]:
        model = self.trainer.model
        weights = self.best_weights
        if weights is not None:
            weights = [np.array(model.backend.to_host(array)) for array in weights]
        return {"best": self.best, "best_epoch": self.best_epoch, "best_weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], state["best_weights"]
        if self.best_weights is not None:
            self.best_weights = [self.trainer.model.backend.asarray(array) for array in self.best_weights]

    def on_train_end(self) -> None:
        if self.best_weights is not None:
            self.trainer.model.restore(self.best_weights)


class StopAtLoss(Callback):
    """Stop after the first epoch whose loss is at most ``threshold``."""

    def __init__(self, threshold: float, monitor: str = "loss") -> None:
        self.threshold = require_number("StopAtLoss", "threshold", threshold)
        self.monitor = monitor

    def on_train_begin(self) -> None:
        self.name = monitored("StopAtLoss", self.monitor, self.trainer.record_names)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if logs[self.name] <= self.threshold:
            self.trainer.stop(f"{self.name} reached {logs[self.name]:.6g}")


class Progress(Callback):
    """A bar with the loss on a terminal or in a notebook; at most ten lines in a pipe or a log file.

    Where nothing can be written (no console, a closed pipe, a full disk) it falls silent.
    """

    def on_train_begin(self) -> None:
        self.bar: Any = None
        self.silent = sys.stderr is None
        self.every = math.ceil(self.trainer.epochs / 10)
        notebook = "ipykernel" in sys.modules
        if not self.silent and (sys.stderr.isatty() or notebook):
            from tqdm.auto import tqdm

            # a terminal that reports its size as 0 x 0, as some containers do, would show nothing
            columns, lines = (None, None) if notebook else shutil.get_terminal_size()
            batches = self.trainer.epochs * self.trainer.batches_per_epoch
            done = self.trainer.epoch * self.trainer.batches_per_epoch
            self.bar = tqdm(total=batches, initial=done, unit="batch", mininterval=0.1, ncols=columns, nrows=lines)

    def on_epoch_begin(self, epoch: int) -> None:
        if self.bar is not None:
            self.bar.set_description(f"epoch {epoch}/{self.trainer.epochs}", refresh=False)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        # update() says whether it drew; the next drawing shows this loss, until the first epoch has one of its own
        if self.bar is not None and self.bar.update() and not self.trainer.history.records:
            self.bar.set_postfix({"batch loss": f"{logs['loss']:.5f}"}, refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        shown = {name: f"{logs[name]:.5f}" for name in ("loss", "val_loss") if name in logs}
        for name in shown:  # and what it is the sum of
            parts = [(term, logs[f"{name[:-4]}{term}"]) for term in self.trainer.terms]
            if parts:
                shown[name] += f" ({' + '.join(f'{term} {value:.5f}' for term, value in parts)})"
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
        elif not self.silent and (epoch % self.every == 0 or epoch == self.trainer.epochs):
            numbers = "  ".join(f"{name} {value}" for name, value in shown.items())
            try:
                print(f"epoch {epoch}/{self.trainer.epochs}  {numbers}", file=sys.stderr, flush=True)
            except (OSError, ValueError):
                self.silent = True

    def close(self) -> None:
        if getattr(self, "bar", None) is not None:
            self.bar.close()
