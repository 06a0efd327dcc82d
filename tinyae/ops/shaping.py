r"""The same numbers in another shape: nothing is computed; the gradient is put back in the old shape.

Each backward is the forward's inverse, or, where an element was used several times, its sum.
"""

import math

from ..errors import DtypeError, RangeError, ShapeError
from .op import Op, op


@op("reshape", r"Y = \operatorname{reshape}(X)", {"X": r"\operatorname{reshape}(\bar Y)"}, integers=True, view=True, repeatable=True)  # fmt: skip
class Reshape(Op):
    """Another shape with as many elements; one axis may be -1 and is worked out."""

    @staticmethod
    def forward(xp, save, X, shape):
        known = math.prod(n for n in shape if n != -1)
        free = shape.count(-1)
        if (
            min(shape, default=1) < -1
            or free > 1
            or (X.size % max(known, 1) if free else X.size != known)
            or known == 0
        ):
            raise ShapeError(
                f"reshape: X has shape {X.shape}, {X.size} elements, which do not fit into {tuple(shape)}"
                + ("" if free else f", {known} elements")
                + "; the numbers of elements must be equal, and at most one axis may be -1."
            )
        save(X.shape)
        return X.reshape(shape)

    @staticmethod
    def backward(xp, saved, gY):
        (shape,) = saved
        return gY.reshape(shape)


@op("transpose", r"Y = \operatorname{transpose}(X, p)", {"X": r"\operatorname{transpose}(\bar Y, p^{-1})"},
    integers=True, view=True, letters={"axes": "p"})  # fmt: skip
class Transpose(Op):
    """Axes in another order p; for None they are reversed."""

    @staticmethod
    def forward(xp, save, X, axes):
        axes = tuple(range(X.ndim))[::-1] if axes is None else tuple(axes)
        if sorted(a % X.ndim if -X.ndim <= a < X.ndim else a for a in axes) != list(range(X.ndim)):
            raise ShapeError(
                f"transpose: axes {axes} given for shape {X.shape}; expected each of 0..{X.ndim - 1} once."
            )
        save(axes)
        return X.transpose(axes)

    @staticmethod
    def backward(xp, saved, gY):
        (axes,) = saved
        axes = [a % gY.ndim for a in axes]
        return gY.transpose(sorted(range(gY.ndim), key=axes.__getitem__))  # the inverse permutation


@op("getitem", r"Y = \operatorname{take}(X, k)", {"X": r"\operatorname{scatter}(\bar Y, k)"},
    integers=True, view=True, letters={"index": "k"})  # fmt: skip
class GetItem(Op):
    """Slices, integers, masks and index arrays k, as in NumPy; scatter adds at k to zeros.

    An element chosen several times receives the sum of its gradients.
    """

    @staticmethod
    def forward(xp, save, X, index):
        Y = select("getitem", X, index)
        save(index, X.shape)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        index, shape = saved
        gX = xp.zeros(shape, dtype=gY.dtype)
        if repeats(index):
            xp.add.at(gX, index, gY)
        else:
            gX[index] = gY
        return gX


@op("setitem", r"Y = \operatorname{replace}(X, k, V)",
    {"X": r"\operatorname{replace}(\bar Y, k, 0)", "V": r"\operatorname{take}(\bar Y, k)"},
    broadcasts=True, integers=True, letters={"index": "k"})  # fmt: skip
class SetItem(Op):
    """X with the elements at k overwritten; V broadcasts. The old values no longer reach the loss."""

    @staticmethod
    def forward(xp, save, X, V, index):
        chosen = select("setitem", X, index)
        missing = (1,) * (chosen.ndim - V.ndim) + V.shape  # how V broadcasts to the chosen part
        if len(missing) > chosen.ndim or any(v not in (1, n) for v, n in zip(missing, chosen.shape)):
            raise ShapeError(
                f"setitem: X[index] has shape {chosen.shape}; a value of shape {V.shape} does not fit into it."
            )
        if repeats(index) and len(set(xp.arange(X.size).reshape(X.shape)[index].ravel().tolist())) != chosen.size:
            raise ShapeError("setitem: the index names an element twice; which value would stay is not defined.")
        if V.dtype != X.dtype and (V.astype(X.dtype) != V).any():
            raise RangeError(
                f"setitem: the value does not fit into a tensor of type {X.dtype}. Convert the tensor first."
            )
        save(index)
        X[index] = V
        return X

    @staticmethod
    def backward(xp, saved, gY):
        (index,) = saved
        gX = gY.copy()
        gX[index] = 0
        return gX, gY[index]


@op("concatenate", r"Y = \operatorname{concatenate}(X_1, X_2, \ldots)", {"X_l": r"\operatorname{part}(\bar Y, l)"},
    integers=True, letters={"axis": "a"})  # fmt: skip
class Concatenate(Op):
    """Arrays one after the other along an axis they already have."""

    @staticmethod
    def forward(xp, save, *Xs, axis):
        rank = Xs[0].ndim
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise ShapeError(
                f"concatenate: axis {axis!r} given for arrays of rank {rank}; expected {-rank} to {rank - 1}."
            )
        axis %= rank
        for k, X in enumerate(Xs):
            if X.ndim != rank or any(m != n for a, (m, n) in enumerate(zip(X.shape, Xs[0].shape)) if a != axis):
                raise ShapeError(
                    f"concatenate: array {k} has shape {X.shape}, array 0 {Xs[0].shape}; "
                    f"they must agree in every axis but axis {axis}."
                )
        save(axis, [X.shape[axis] for X in Xs])
        return xp.concatenate(Xs, axis=axis)

    @staticmethod
    def backward(xp, saved, gY):
        axis, lengths = saved
        gradients, start = [], 0
        for n in lengths:
            gradients.append(gY[(slice(None),) * axis + (slice(start, start + n),)])
            start += n
        return tuple(gradients)


@op(
    "astype",
    r"Y = \operatorname{cast}(X, t)",
    {"X": r"\operatorname{cast}(\bar Y, t')"},
    integers=True,
    letters={"dtype": "t", "X.dtype": "t'"},
)
class AsType(Op):
    """Conversion between float32 and float64, from type t' to t."""

    @staticmethod
    def forward(xp, save, X, dtype):
        save(X.dtype)
        return X.astype(dtype)

    @staticmethod
    def backward(xp, saved, gY):
        (dtype,) = saved
        return gY.astype(dtype)


def select(name, X, index):
    """X[index], with an index out of bounds or an empty choice explained."""
    try:
        Y = X[index]
    except IndexError as error:
        raise ShapeIndexError(
            f"{name}: X has shape {X.shape}, which the index {index!r} does not fit: {error}."
        ) from None
    except (TypeError, ValueError) as error:
        raise DtypeError(f"{name}: {index!r} is not an index: {error}.") from None
    if Y.size == 0:
        raise ShapeError(f"{name}: X has shape {X.shape}, and the index {index!r} chooses no element of it.")
    return Y


class ShapeIndexError(ShapeError, IndexError):
    """An index that does not fit a shape."""


def repeats(index):
    """Can this index choose an element twice? Only integer arrays and lists can."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(part, "ndim", 0) > 0 and part.dtype != bool for part in parts)
