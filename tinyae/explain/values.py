"""A number, vector or array at one moment, kept to be shown: small ones whole, large ones as what can be said of them."""

import math
from dataclasses import dataclass

import numpy as np

from ..backend import backend_of

CELLS = 32  # a thumbnail has at most so many rows and columns
CHANNELS = 8  # of an image with more channels, so many are shown side by side


@dataclass(frozen=True, eq=False)
class Value:
    """What an array held at one moment.

    Attributes
    ----------
    label : str
        The user's name of the variable, a parameter's name such as ``encoder.0.weight``, or ``t3``, the output of step 3.
    kind : str
        ``"leaf"``, which asks for gradients; ``"constant"``; or ``"computed"``, by an operation or as a gradient.
    shape, dtype
    array : NumPy array or None
        A copy; None where it would have taken more memory than the trace may.
    low, high, mean : float
        Of all finite elements; NaN if there is none.
    nans, infinities : int
        How many elements are none.
    thumbnail : 2-D NumPy array or None
        Means of blocks, for arrays of more than 1 number: rows are examples; of images, the first one.
    """

    label: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    array: np.ndarray | None
    low: float
    high: float
    mean: float
    nans: int
    infinities: int
    thumbnail: np.ndarray | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self):
        return f"<{self.label}: {self.dtype} {self.shape}, {self.low:.4g} to {self.high:.4g}>"


def value_of(array, label, kind, keep=True):
    """The Value of a NumPy array, with a copy if it is to be kept."""
    numbers = array.astype(np.float64) if array.dtype.kind in "biu" else array
    nans, infinities = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    finite = numbers if not nans + infinities else numbers[np.isfinite(numbers)]
    some = finite.size > 0
    return Value(
        label=label,
        kind=kind,
        shape=array.shape,
        dtype=str(array.dtype),
        array=array.copy() if keep else None,
        low=float(finite.min()) if some else math.nan,
        high=float(finite.max()) if some else math.nan,
        mean=float(finite.mean(dtype=np.float64)) if some else math.nan,
        nans=nans,
        infinities=infinities,
        thumbnail=thumbnail(numbers) if array.size > 1 else None,
    )


def on_host(array):
    """An array, or a scalar, as a NumPy array."""
    return np.asarray(array) if np.isscalar(array) else backend_of(array).to_host(array)


def is_still(value, array):
    """Does a NumPy array hold what it held then, as far as the Value knows?"""
    if (value.shape, value.dtype) != (array.shape, str(array.dtype)):
        return False
    if value.array is not None:
        return value.array.tobytes() == array.tobytes()
    now = value_of(array, "", value.kind, keep=False)
    ranges = [(v.low, v.high, v.mean, v.nans, v.infinities) for v in (value, now)]
    return np.array_equal(*ranges, equal_nan=True) and np.array_equal(value.thumbnail, now.thumbnail, equal_nan=True)


def thumbnail(array):
    """A picture of at most CELLS x CELLS numbers, means of equal blocks; an element that is not finite shows as NaN."""
    flat = as_plane(array)
    for axis in (0, 1):
        edges = np.unique(np.linspace(0, flat.shape[axis], min(CELLS, flat.shape[axis]) + 1).astype(int))
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.add.reduceat(flat.astype(np.float64), edges[:-1], axis=axis)
        flat = sums / np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
    return flat


def as_plane(array):
    """An array as rows and columns: a vector as one row; of images (N, H, W, C) the first, its channels side by side."""
    if array.ndim == 4:
        array = np.concatenate(np.moveaxis(array[0, :, :, :CHANNELS], -1, 0), axis=1)
    if array.ndim < 2:
        return array.reshape(1, -1)
    return array.reshape(len(array), -1)
