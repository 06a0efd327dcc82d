"""What the units of a code do: how active each is, and how many say anything at all."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import backend_of
from ..data import as_data
from .autoencoder import Autoencoder

PIECE = 1024  # examples that are encoded together
SHARE_OF_LARGEST = 0.01  # of the liveliest unit's standard deviation: below it a unit is called dead


@dataclass(frozen=True, eq=False)
class Activity:
    """Of each unit of a code, over a data set; arrays (units,), float64."""

    mean: np.ndarray[Any, Any]  # its mean
    std: np.ndarray[Any, Any]  # its standard deviation over the examples
    share: np.ndarray[Any, Any]  # in which share of the examples it is on: |z| > threshold
    threshold: float
    examples: int
    target: float | None = None  # the mean that a KL penalty asks for

    @property
    def is_alive(self) -> np.ndarray[Any, Any]:
        """Which units tell examples apart, bool (units,): those whose standard deviation is above 1 % of the largest one's.

        A unit that is always 0, or always the same, is dead.
        """
        return self.std > SHARE_OF_LARGEST * self.std.max()

    @property
    def alive(self) -> int:
        """How many units are alive."""
        return int(self.is_alive.sum())

    @property
    def on(self) -> float:
        """How many units are on for one example, the mean over examples."""
        return float(self.share.sum())

    def numbers(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        low, high = self.mean.min(), self.mean.max()
        return {"units": len(self.mean), "alive": self.alive, "on": self.on, "mean": float(self.mean.mean()),
                "smallest_mean": float(low), "largest_mean": float(high), "threshold": self.threshold,
                "target": self.target, "examples": self.examples}  # fmt: skip

    def __str__(self) -> str:
        n = len(self.mean)
        wanted = "" if self.target is None else f", asked for: {self.target:g}"
        return (
            f"{self.alive} of {n} units are alive; {self.on:.1f} are on for one example ({self.on / n:.1%}; on: "
            f"above {self.threshold:g}); mean activity {self.mean.mean():.3g}, from {self.mean.min():.3g} to "
            f"{self.mean.max():.3g}{wanted} ({self.examples:,} examples)"
        )


def activity_of(model: Autoencoder, x: Any, threshold: float, target: float | None = None) -> Activity:
    """The activity of a model's code over examples x (N, ...), which may be larger than memory."""
    x = as_data("activity", x)
    first: Any = None
    total: Any = 0.0
    squares: Any = 0.0
    on: Any = 0.0
    for start in range(0, len(x), PIECE):
        z = model.encode(x[start : start + PIECE])
        z = np.asarray(backend_of(z).to_host(z), np.float64).reshape(len(z), -1)
        first = z[0] if first is None else first
        moved = z - first  # small numbers, whose squares lose no digits
        total, squares, on = total + moved.sum(0), squares + (moved**2).sum(0), on + (np.abs(z) > threshold).sum(0)
    mean = total / len(x)
    variance = np.maximum(squares / len(x) - mean**2, 0)
    return Activity(first + mean, np.sqrt(variance), on / len(x), float(threshold), len(x), target)
