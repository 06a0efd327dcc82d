"""Data brought to a common scale, and back: what numbers in different units need before a model can weigh them."""

from typing import Any

import numpy as np

from .errors import ModelFileError, ShapeError, known_name, warn

KINDS = ("features", "whole", "none")
LARGEST = 1e6  # standard deviations: nothing is stranger
LARGEST_OF_ALL = 1e18  # its square is about the largest number that float32 has
DEPARTURE = 10.0  # standard deviations, for a feature that was constant and is no longer


class Scaling:
    r"""Shift and scale, measured on one data set and applied to others.

    .. math:: z = (x - m) / s

    Parameters
    ----------
    x : array (N, ...)
        The data to measure.
    kind : str
        ``"features"``: the mean m and the standard deviation s of each feature, for tables, whose columns have units of
        their own. ``"whole"``: one m and one s for all numbers, for images. ``"none"``: m = 0 and s = 1.
    owner : str
        Whose data they are, for messages.

    A feature that never changes has no standard deviation. It is scaled to 0 where it has its one value, and to 10 or -10
    where it departs from it: whatever its unit, a departure counts as a strong one. A warning names such features.
    Beyond a million standard deviations numbers are cut off.
    """

    def __init__(self, x: Any, kind: str = "features", owner: str = "Scaling") -> None:
        self.kind = known_name("scale", kind, dict.fromkeys(KINDS))
        self.shape = x.shape[1:]
        x = np.asarray(x, np.float64)
        if self.kind == "features":
            self.shift, self.scale = x.mean(axis=0), x.std(axis=0)
            # what is left of a constant after rounding is not a spread
            constant = (x == x[0]).all(axis=0)
            self.shift, self.scale = np.where(constant, x[0], self.shift), np.where(constant, 0.0, self.scale)
            if constant.any():
                self._say(constant, owner)
        else:
            whole = self.kind == "whole"
            self.shift = np.asarray(x.mean() if whole else 0.0)
            self.scale = np.asarray(x.std() if whole else 1.0)

    def _say(self, constant, owner):
        where = np.flatnonzero(constant) if constant.ndim == 1 else np.argwhere(constant)
        named = ", ".join(str(i if np.ndim(i) == 0 else tuple(map(int, i))) for i in where[:8])
        warn(
            f"{owner}: {len(where)} of {constant.size} features never change ({named}{', ...' if len(where) > 8 else ''}). "
            f"They teach nothing; a later value that departs from the constant counts as {DEPARTURE:g} standard deviations.",
            UserWarning,
        )

    def apply(self, x: Any) -> np.ndarray[Any, Any]:
        """The scaled data, float32, in the shape of x."""
        if x.shape[1:] != self.shape:
            raise ShapeError(
                f"the data have examples of shape {x.shape[1:]}; those measured had {self.shape}. Give the same features."
            )
        x = np.asarray(x, np.float64)
        constant = self.scale == 0
        z = (x - self.shift) / np.where(constant, 1.0, self.scale)
        if constant.any():
            departs = np.abs(x - self.shift) > 1e-6 * np.abs(self.shift)  # not by a rounding to float32
            z = np.where(constant, DEPARTURE * np.sign(x - self.shift) * departs, z)
        most = LARGEST_OF_ALL if self.kind == "none" else LARGEST
        return np.clip(z, -most, most).astype(np.float32)

    def undo(self, z: Any) -> np.ndarray[Any, Any]:
        """From scaled data to the data's own units, float64; a constant feature gets its constant."""
        return np.asarray(z, np.float64) * self.scale + self.shift

    # ------------------------------------------------------------ to be written down

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Its numbers, for a file."""
        return {"shift": self.shift, "scale": self.scale}

    @classmethod
    def from_state(cls, kind: str, shape: Any, state: dict[str, np.ndarray[Any, Any]]) -> "Scaling":
        """The scaling that had this ``kind``, ``shape`` and ``state()``."""
        made = cls.__new__(cls)
        made.kind, made.shape = known_name("scale", kind, dict.fromkeys(KINDS)), tuple(map(int, shape))
        made.shift, made.scale = np.asarray(state["shift"], np.float64), np.asarray(state["scale"], np.float64)
        wanted = made.shape if made.kind == "features" else ()
        if made.shift.shape != wanted or made.scale.shape != wanted:
            raise ModelFileError(f"load: the scaling has shape {made.shift.shape}; expected {wanted}.")
        return made
