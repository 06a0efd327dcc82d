r"""Learning-rate schedules: how :math:`\eta` changes while training goes on.

A schedule is a factor that depends on how many epochs have passed, counted in fractions from batch to
batch; the learning rate of every step is what the optimizer began with, times the factors of all
schedules given: ``fit(..., callbacks=[WarmUp(2), CosineDecay()])``.
"""

import math
from collections.abc import Callable
from typing import Any

from .callbacks import Callback, monitored
from .errors import DtypeError, require_integer, require_number


class Schedule(Callback):
    """A schedule of your own: ``Schedule(lambda epochs: 0.9 ** epochs)``.

    Parameters
    ----------
    factor : function
        From the epochs passed, a float that grows by 1 / batches per epoch, to a number > 0.
    """

    def __init__(self, factor: Callable[[float], float]) -> None:
        if not callable(factor):
            raise DtypeError(
                f"Schedule: the factor is {factor!r}; expected a function of the epochs passed, such as lambda t: 0.9 ** t."
            )
        self.of = factor

    def factor(self, epochs: float) -> float:
        """What the learning rate is multiplied by when that many epochs have passed."""
        return self.of(epochs)


class StepDecay(Schedule):
    r""":math:`\gamma^{\lfloor t / k \rfloor}`: every ``every`` (k) epochs the learning rate is multiplied by ``gamma``."""

    def __init__(self, every: int, gamma: float = 0.1) -> None:
        self.every = require_integer("StepDecay", "every", every, at_least=1)
        self.gamma = require_number("StepDecay", "gamma", gamma, above=0, at_most=1)

    def factor(self, epochs: float) -> float:
        return self.gamma ** (int(epochs) // self.every)


class CosineDecay(Schedule):
    r""":math:`a + (1 - a) \tfrac{1}{2} (1 + \cos(\pi t / T))`: from 1 down towards ``to`` (a) in T epochs, half a cosine.

    The last step is just above ``to``, and later ones stay there, so that the rate never is 0.

    ``epochs`` (T) is by default all epochs of ``fit``: with more epochs it is another curve, also for a run
    that goes on from a checkpoint. Loshchilov and Hutter, "SGDR: stochastic gradient
    descent with warm restarts" (2017), eq. 5, without the restarts and step by step.
    """

    def __init__(self, to: float = 0.0, epochs: int | None = None) -> None:
        self.to = require_number("CosineDecay", "to", to, at_least=0, below=1)
        self.epochs = None if epochs is None else require_integer("CosineDecay", "epochs", epochs, at_least=1)

    def factor(self, epochs: float) -> float:
        T = self.epochs or self.trainer.epochs
        share = min(epochs, T - 1 / self.trainer.batches_per_epoch) / T  # after its end it stays at its last value
        return self.to + (1 - self.to) * (1 + math.cos(math.pi * share)) / 2


class WarmUp(Schedule):
    r""":math:`\min(1, (t + 1/B) / E)` with B batches per epoch and E = ``epochs``: up to 1 in a straight line.

    Step k of the first n takes k / n of the learning rate. Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.
    """

    def __init__(self, epochs: float) -> None:
        self.epochs = require_number("WarmUp", "epochs", epochs, above=0)

    def factor(self, epochs: float) -> float:
        return min((epochs + 1 / self.trainer.batches_per_epoch) / self.epochs, 1.0)


class ReduceOnPlateau(Schedule):
    """When the watched loss has not fallen for ``patience`` epochs, the learning rate is multiplied by ``gamma``.

    Parameters
    ----------
    min_delta : float
        A fall by no more than this does not count.
    to : float
        The factor never goes below it.
    monitor : str, optional
        By default ``val_loss`` if there are validation data, else ``loss``.
    """

    def __init__(
        self, gamma: float = 0.1, patience: int = 5, min_delta: float = 0, to: float = 0, monitor: str | None = None
    ) -> None:
        self.gamma = require_number("ReduceOnPlateau", "gamma", gamma, above=0, below=1)
        self.patience = require_integer("ReduceOnPlateau", "patience", patience, at_least=1)
        self.min_delta = require_number("ReduceOnPlateau", "min_delta", min_delta, at_least=0)
        self.to = require_number("ReduceOnPlateau", "to", to, at_least=0, below=1)
        self.monitor = monitor

    def on_train_begin(self) -> None:
        self.name = monitored("ReduceOnPlateau", self.monitor, self.trainer.record_names)
        self.scale, self.best, self.waited = 1.0, float("inf"), 0

    def factor(self, epochs: float) -> float:
        return self.scale

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if logs[self.name] < self.best - self.min_delta:
            self.best, self.waited = logs[self.name], 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.scale, self.waited = max(self.scale * self.gamma, self.to), 0

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.best, self.waited = state["scale"], state["best"], state["waited"]
