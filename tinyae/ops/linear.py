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
    r"Y = f(X W + b)",
    {"X": r"\bar Z W^\top", "W": r"X^\top \bar Z", "b": r"\sum_n \bar Z_n"},
)
class DenseLayer(Op):
    r"""A dense layer with its activation f: ``f(affine(X, W, b))`` as one operation, so that a kernel can do both at once.

    :math:`\bar Z = f'(Z) \odot \bar Y` with :math:`Z = X W + b` is what the activation's own rule gives, and the rest is
    the affine operation's. f is relu, sigmoid or tanh, which find f' from Y alone.

    Shapes: X (N, I), W (I, O), b (O,) -> Y (N, O).
    """

    @staticmethod
    def forward(xp, save, X, W, b, activation):
        Z = Affine.forward(xp, ignore, X, W, b)
        Y = JOINED[activation].forward(xp, ignore, Z)
        save(X, W, Y, activation)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        X, W, Y, activation = saved
        gZ = JOINED[activation].backward(xp, (Y,), gY)
        return Affine.backward(xp, (X, W), gZ)


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
