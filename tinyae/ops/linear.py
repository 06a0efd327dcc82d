r"""Matrix products: where the arithmetic of a network is done.

Why the two gradients of :math:`Y = XW` look as they do: :math:`Y_{no} = \sum_i X_{ni} W_{io}`, so
:math:`X_{ni}` reaches the loss through every :math:`Y_{no}` with weight :math:`W_{io}`, and
:math:`\bar X_{ni} = \sum_o \bar Y_{no} W_{io}`, which is :math:`\bar Y W^\top`. The shapes help to
remember it: of the products that can be formed, :math:`\bar Y W^\top` has the shape of X and
:math:`X^\top \bar Y` that of W.

Source: Goodfellow, Bengio and Courville, *Deep Learning* (2016), section 6.5.6.
"""

from ..errors import ShapeError
from .activations import ReLU, Sigmoid, Tanh
from .op import Op, op

JOINED = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}  # activations whose derivative needs only their output


@op("affine", r"Y = X W + b", {"X": r"\bar Y W^\top", "W": r"X^\top \bar Y", "b": r"\sum_n \bar Y_n"})
class Affine(Op):
    """A dense layer before its activation.

    Shapes: X (N, I), W (I, O), b (O,) -> Y (N, O).
    Saves X and W; b's value never enters a derivative.
    """

    @staticmethod
    def forward(xp, save, X, W, b):
        if X.ndim != 2 or W.ndim != 2:
            raise ShapeError(
                f"affine: X has shape {X.shape} and W {W.shape}; both must have rank 2, (N, I) and (I, O). "
                "Images go through a Flatten layer first."
            )
        check_product("affine", X, W)
        if b.shape != W.shape[1:]:
            raise ShapeError(
                f"affine: b has shape {b.shape}, but W {W.shape} has {W.shape[1]} outputs; b must be (O,)."
            )
        save(X, W)
        return X @ W + b

    @staticmethod
    def backward(xp, saved, gY):
        X, W = saved
        gX = gY @ W.T
        gW = X.T @ gY
        gb = gY.sum(axis=0)
        return gX, gW, gb


@op(
    "dense",
    r"Y = Y_L, \quad Y_l = f_l(Z_l), \quad Z_l = Y_{l-1} W_l + b_l, \quad Y_0 = X",
    {
        "X": r"\bar Z_1 W_1^\top, \quad \bar Z_l = f_l'(Z_l) \odot \bar Y_l, \quad "
        r"\bar Y_l = \bar Z_{l+1} W_{l+1}^\top, \quad \bar Y_L = \bar Y",
        "W_l": r"Y_{l-1}^\top \bar Z_l",
        "b_l": r"\sum_n \bar Z_{ln}",
    },
    letters={"activations": "f"},
)
class Dense(Op):
    r"""One or more dense layers with their activations, as one operation, so that a kernel can do all at once.

    Forward is the affine operation and an activation, layer after layer; backward is their rules, in the opposite order:
    :math:`\bar Z_l = f_l'(Z_l) \odot \bar Y_l` and :math:`\bar Y_{l-1} = \bar Z_l W_l^\top`. An activation is relu, sigmoid
    or tanh, which find f' from Y alone, or None.

    Shapes: X (N, I), then W (I, O) and b (O,) of each layer -> Y (N, O of the last).
    """

    @staticmethod
    def forward(xp, save, X, *parameters, activations):
        Ys = [X]
        for W, b, f in zip(parameters[::2], parameters[1::2], activations):
            Y = Affine.forward(xp, ignore, Ys[-1], W, b)  # Z
            Ys.append(Y if f is None else JOINED[f].forward(xp, ignore, Y))
        save(*Ys, *parameters[::2], activations)
        return Ys[-1]

    @staticmethod
    def backward(xp, saved, gY):
        *arrays, activations = saved
        Ys, Ws = arrays[: len(activations) + 1], arrays[len(activations) + 1 :]
        gradients = []
        for l in reversed(range(len(activations))):
            gZ = gY if activations[l] is None else JOINED[activations[l]].backward(xp, (Ys[l + 1],), gY)
            gY, gW, gb = Affine.backward(xp, (Ys[l], Ws[l]), gZ)
            gradients = [gW, gb, *gradients]
        return gY, *gradients


@op("matmul", r"Y = X W", {"X": r"\bar Y W^\top", "W": r"X^\top \bar Y"}, broadcasts=True)
class MatMul(Op):
    """Matrix product, with NumPy's rules for other ranks.

    Shapes: X (..., N, I), W (..., I, O) -> Y (..., N, O); leading axes broadcast. A vector X (I,)
    counts as one row, a vector W (I,) as one column, and that axis is dropped from Y again.
    """

    @staticmethod
    def forward(xp, save, X, W):
        check_product("matmul", X, W)
        save(X, W)
        return X @ W

    @staticmethod
    def backward(xp, saved, gY):
        X, W = saved
        X2 = X[None, :] if X.ndim == 1 else X  # vectors as matrices
        W2 = W[:, None] if W.ndim == 1 else W
        if W.ndim == 1:
            gY = gY[..., None]
        if X.ndim == 1:
            gY = gY[..., None, :]
        gX = gY @ xp.swapaxes(W2, -1, -2)
        gW = xp.swapaxes(X2, -1, -2) @ gY
        return gX[..., 0, :] if X.ndim == 1 else gX, gW[..., 0] if W.ndim == 1 else gW


def ignore(*values):
    """What an operation inside another saves: that one saves for both."""


def check_product(name, X, W):
    """Refuse shapes whose inner axes differ, and say which axis is meant."""
    if X.ndim == 0 or W.ndim == 0:
        raise ShapeError(f"{name}: X {X.shape} and W {W.shape}: a scalar has no axis to sum over; use * instead.")
    inner = 0 if W.ndim == 1 else W.ndim - 2
    if X.shape[-1] != W.shape[inner]:
        raise ShapeError(
            f"{name}: X has shape {X.shape} and W {W.shape}: axis {X.ndim - 1} of X is {X.shape[-1]}, "
            f"axis {inner} of W is {W.shape[inner]}; they must be equal."
        )
