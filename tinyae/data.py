"""From a data set to mini-batches: checked once, shuffled by a permutation, never copied whole."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .backend import NUMPY, Backend, backend_of, get_backend
from .context import unrepeatable
from .errors import RangeError, ShapeError, require_integer
from .operands import checked_array, checked_kind, float_type
from .random import Generator
from .rows import Rows, is_rows
from .tensor import Tensor, wrap

CHUNK = 1 << 24  # elements of a data set that are read together when it is checked
IN_CACHE = 1 << 16  # elements that stay in a processor's cache


def as_data(name, data):
    """A data set as an array of examples (N, ...), checked for its kind but not for its values.

    What is read piece by piece (a memory-mapped file, Rows, an h5py data set) comes back as Rows.
    """
    if is_rows(data):
        array = data if isinstance(data, Rows) else Rows(data)
        checked_kind(array, type(data).__name__, name)
    else:
        array = checked_array(data.data if isinstance(data, Tensor) else data, name)
    if array.ndim == 0:
        raise ShapeError(f"{name}: a single number was given; expected (N, ...), one entry per example.")
    return array


def check_values(name, array, unit_interval=False):
    """Refuse NaN and infinity and, where asked, values outside [0, 1].

    Works through the array in pieces, so a memory-mapped file is never read into memory whole.

    Raises
    ------
    RangeError
        Says how many values are wrong and where the first one is, or which range was found.
    """
    xp = place_of(array).xp
    rows = max(1, CHUNK * len(array) // array.size)
    low, high, wrong, first = np.inf, -np.inf, 0, None
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        least, most = extent(piece)
        if math.isfinite(least) and math.isfinite(most):
            low, high = min(low, least), max(high, most)
            continue
        odd = ~xp.isfinite(piece)
        wrong += int(odd.sum())
        if first is None:
            place = np.unravel_index(int(odd.argmax()), piece.shape)
            first = (start + int(place[0]), *map(int, place[1:]))
    if wrong:
        raise RangeError(
            f"{name}: {wrong} of {array.size} values are NaN or infinite, the first at index {first}. "
            "Remove these examples, or replace the values."
        )
    if unit_interval and (low < -1e-6 or high > 1 + 1e-6):
        raise RangeError(
            f"{name}: the data range from {low:.6g} to {high:.6g}, but a sigmoid output and binary cross-entropy can only "
            "reach [0, 1]. Scale the data (divide pixels by 255), or use a model without a sigmoid at its end and loss='mse'."
        )


def refuse_gaps(name, x):
    """Refuse rows with NaN or infinity, and name them."""
    wrong = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1)) if x.dtype.kind == "f" else ()
    if len(wrong):
        named = ", ".join(map(str, wrong[:10])) + (", ..." if len(wrong) > 10 else "")
        raise RangeError(
            f"{name}: {len(wrong)} of {len(x)} rows have NaN or inf: {named} (counted from 0). No row is dropped in "
            "silence. Leave them out, x[np.isfinite(x).all(axis=1)], or fill the gaps, as scikit-learn's SimpleImputer does."
        )


def extent(array):
    """The smallest and the largest number; NaN if one is NaN."""
    step = max(1, IN_CACHE * len(array) // array.size) if type(array) is np.ndarray else len(array)
    low, high = math.inf, -math.inf
    for start in range(0, len(array), step):  # the second look at a piece finds it in the cache
        piece = array[start : start + step]
        least, most = float(piece.min()), float(piece.max())
        if math.isnan(least):
            return least, most
        low, high = min(low, least), max(high, most)
    return low, high


def place_of(data):
    """The backend of a data set; what is read piece by piece comes from the host."""
    return NUMPY if isinstance(data, Rows) else backend_of(data)


def order_of(n, seed, epoch, shuffle):
    """The order of n examples in one epoch (counted from 0): the same for the same seed, on every backend."""
    return Generator(seed).permutation(n, step=epoch) if shuffle else np.arange(n)


def spread_evenly(n, most):
    """Which of n examples to look at where ``most`` are enough: from first to last, equally far apart; int64."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def take(array, index, backend, dtype):
    """The examples ``array[index]`` as a constant Tensor on ``backend``; labels keep their integer type."""
    source = place_of(array)
    if source is not NUMPY and not isinstance(index, slice):
        index = source.asarray(index)
    fast = NUMPY.twin("take") if type(array) is np.ndarray and dtype is not None and backend is NUMPY else None
    piece = None if fast is None else fast(array, index, dtype)
    if piece is None:
        unrepeatable("takes examples from data for which there is no kernel")
        piece = array[index]
    if source is not backend:
        piece = backend.asarray(source.to_host(piece))
    return wrap(piece if dtype is None or piece.dtype == dtype else piece.astype(dtype), backend)


def batches(
    x: Any,
    batch_size: int,
    y: Any = None,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    backend: str | Backend | None = None,
    dtype: Any = np.float32,
) -> Iterator[Any]:
    """Go through a data set once, in mini-batches.

    The same batches in the same order as ``fit`` takes with the same seed. The last batch holds what
    is left over. Only the examples of one batch are copied.

    Parameters
    ----------
    x : array (N, ...)
    batch_size : int
        A size above N gives one batch.
    y : array (N, ...), optional
        Targets or labels.
    seed, epoch : int
        What the order is drawn from; epochs count from 0. Give the epoch, or every pass has the same order.
    backend : str, optional
        Where the batches go; by default where x is.

    Returns
    -------
    iterator of Tensors (B, ...), or with y of pairs of them; floats in ``dtype``, integer targets as they are.
    """
    x, dtype = as_data("batches", x), float_type(dtype)
    epoch = require_integer("batches", "epoch", epoch, at_least=0)
    batch_size = require_integer("batches", "batch_size", batch_size, at_least=1)
    if y is not None:
        y = as_data("batches", y)
        if len(x) != len(y):
            raise ShapeError(f"batches: {len(x)} examples, but {len(y)} targets; expected as many.")
    place = place_of(x) if backend is None else get_backend(backend)
    order = order_of(len(x), seed, epoch, shuffle)
    indices = (order[start : start + batch_size] for start in range(0, len(x), batch_size))
    if y is None:
        return (take(x, index, place, dtype) for index in indices)
    target_dtype = dtype if y.dtype.kind == "f" else None
    return ((take(x, index, place, dtype), take(y, index, place, target_dtype)) for index in indices)
