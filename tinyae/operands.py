"""What may be computed with: data from outside, checked, and shapes that do not fit, explained."""

import numpy as np

from .backend import FLOATS, backend_of
from .errors import DtypeError, ShapeError


def checked_array(x, name):
    """Data from outside as an array of a kind that tinyae computes with."""
    if isinstance(x, np.ma.MaskedArray):
        raise DtypeError(
            f"{name}: a masked array was given, whose mask would be lost. Fill it first, with .filled(value)."
        )
    if backend_of(x) is not None:
        array = x
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ShapeError(f"{name}: the data have no rectangular shape: {error}.") from None
    checked_kind(array, type(x).__name__, name)
    return array


def checked_kind(array, given, name):
    """Refuse types that are not numbers, and arrays without elements."""
    if array.dtype not in FLOATS and array.dtype.kind not in "iub":
        cure = "Convert them first, for example with .astype('float32')."
        if array.dtype.kind == "c":
            cure = "Give the real and the imaginary part as two arrays."
        raise DtypeError(
            f"{name}: data of type {array.dtype} (from {given}); expected float32, float64, integers or bools. {cure}"
        )
    if array.size == 0:
        raise ShapeError(f"{name}: the data are empty, shape {array.shape}; expected at least one element.")


def broadcast_error(name, arrays):
    """Say which axis of which operands does not broadcast."""
    X, Y = (np.shape(a) for a in arrays[-2:])
    first = 3 if name == "matmul" else 1  # the last two axes of a product are not broadcast
    for axis in range(first, min(len(X), len(Y)) + 1):
        m, n = X[-axis], Y[-axis]
        if m != n and 1 not in (m, n):
            return ShapeError(
                f"{name}: shapes {X} and {Y} do not broadcast: counted from the right, "
                f"axis {axis} has {m} against {n}; they must be equal, or one of them 1."
            )
    return ShapeError(f"{name}: shapes {', '.join(str(np.shape(a)) for a in arrays)} do not broadcast.")


def float_type(dtype):
    """A float type given by name or NumPy type; anything else is refused."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"dtype: {dtype!r} is no number type; expected 'float32' or 'float64'.") from None
    if dtype not in FLOATS:
        raise DtypeError(
            f"dtype: {dtype} given; expected float32 or float64. Integers and bools keep the type of their array."
        )
    return dtype


def as_ints(name, numbers):
    """``f(2, 3)`` and ``f((2, 3))`` alike, as a tuple of ints."""
    if len(numbers) == 1 and isinstance(numbers[0], (tuple, list, np.ndarray)):
        numbers = numbers[0]
    try:
        return tuple(int(n.__index__()) for n in numbers)
    except (AttributeError, TypeError):
        raise ShapeError(f"{name}: {numbers!r} given; expected integers.") from None
