r"""Many numbers into one: sum, mean, maximum.

A gradient flows back to the elements that made the result. ``axis`` is None (all axes), an int or a
tuple of ints; ``keepdims`` keeps the reduced axes with length 1. In the formulas i counts along these axes, as one.
"""

import math

import numpy as np

from ..errors import ShapeError
from .op import Op, op


@op("sum", r"y = \sum_i X_i", {"X": r"\bar X_i = \bar y"}, integers=True, letters={"axis": "i"})
class Sum(Op):
    """Sum over ``axis``; every element receives the gradient of its sum."""

    @staticmethod
    def forward(xp, save, X, axis, keepdims):
        axes = reduced_axes("sum", X, axis)
        save(X.shape, axes)
        return X.sum(axis=axes, keepdims=keepdims)

    @staticmethod
    def backward(xp, saved, gy):
        shape, axes = saved
        return xp.broadcast_to(gy.reshape(kept_shape(shape, axes)), shape)


@op(
    "mean",
    r"y = \frac{1}{n} \sum_i X_i, \quad n = \sum_i 1",
    {"X": r"\bar X_i = \frac{1}{n} \bar y"},
    letters={"axis": "i"},
)
class Mean(Op):
    """Mean over ``axis``; each of the n elements receives 1/n of the gradient."""

    @staticmethod
    def forward(xp, save, X, axis, keepdims):
        axes = reduced_axes("mean", X, axis)
        save(X.shape, axes)
        return X.mean(axis=axes, keepdims=keepdims)

    @staticmethod
    def backward(xp, saved, gy):
        shape, axes = saved
        n = math.prod(shape[axis] for axis in axes)
        return xp.broadcast_to(gy.reshape(kept_shape(shape, axes)) / n, shape)


@op(
    "max",
    r"y = \max_i X_i",
    {"X": r"\bar X_i = \bar y \, [i = k], \quad k = \operatorname{argmax}_i X_i"},
    letters={"axis": "i"},
    integers=True,
)
class Max(Op):
    """Largest element over ``axis``; of equal ones the first takes the whole gradient. NaN wins."""

    @staticmethod
    def forward(xp, save, X, axis, keepdims):
        axes = reduced_axes("max", X, axis)
        kept = [a for a in range(X.ndim) if a not in axes]
        order = kept + list(axes)  # the reduced axes last, then flattened into one:
        rows = X.transpose(order).reshape([X.shape[a] for a in kept] + [-1])  # (2, 3, 4) over (0, 1) -> (4, 6)
        winner = rows.argmax(axis=-1)[..., None]
        save(winner, rows.shape, order, X.shape)
        y = xp.take_along_axis(rows, winner, axis=-1)
        return y.reshape(kept_shape(X.shape, axes) if keepdims else y.shape[:-1])

    @staticmethod
    def backward(xp, saved, gy):
        winner, rows_shape, order, shape = saved
        first = xp.arange(rows_shape[-1]) == winner
        gX = xp.where(first, gy.reshape(winner.shape), 0)
        back = sorted(range(len(order)), key=order.__getitem__)  # the inverse permutation
        return gX.reshape([shape[a] for a in order]).transpose(back)


def reduced_axes(name, X, axis):
    """``axis`` as a tuple of non-negative ints, checked against X's rank."""
    if axis is None:
        return tuple(range(X.ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    for a in given:
        if not isinstance(a, (int, np.integer)) or not -X.ndim <= a < X.ndim:
            raise ShapeError(
                f"{name}: axis {a!r} given for shape {X.shape}; expected ints from {-X.ndim} to {X.ndim - 1}."
            )
    axes = tuple(sorted({a % X.ndim for a in given}))
    if len(axes) != len(given):
        raise ShapeError(f"{name}: axis {axis} names an axis of shape {X.shape} twice.")
    return axes


def kept_shape(shape, axes):
    """The shape with the reduced axes kept at length 1."""
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape))
