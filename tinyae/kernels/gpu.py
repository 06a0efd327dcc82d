"""The GPU's fast twins: which operation has one, what it accepts, and how its kernels are launched.

A twin is a subclass of its operation, as in ``cpu.py``. Here it may be of any size: what a small operation costs on a GPU
is the launches, and a kernel is one where the definition is several. The kernels are in ``cuda/``; how many blocks
run one depends on sizes alone, so that numbers are rounded alike on every GPU. Nothing here waits for the device or brings
numbers to it, so every twin can be captured in a CUDA graph.
"""

import numpy as np

from .. import losses, ops
from ..backend import FLOATS, backend_of_xp
from . import gpu_data, gpu_images, gpu_updates
from .gpu_dense import Affine, Dense, MatMul
from .gpu_launching import THREADS, blocks_for, blocks_for_rows, contiguous

# ---------------------------------------------------------------- activations


class Elementwise:
    """What the activations share. ``code``: as in ``elementwise.cu``; ``saves_input``: is f' found from X or from Y?"""

    code = 0
    saves_input = False
    repeatable = True

    @staticmethod
    def accepts(X, s=0.0):
        return X.dtype in FLOATS and X.size > 0

    @classmethod
    def forward(cls, xp, save, X, s=0.0):
        Y, n = xp.empty(X.shape, X.dtype), X.size
        launch = backend_of_xp(xp).launch
        arrays = contiguous(xp, X), Y
        launch("elementwise", "activation_forward", X.dtype, blocks_for(n), THREADS, *arrays, n, cls.code, float(s))
        save(X if cls.saves_input else Y, s)
        return Y

    @classmethod
    def backward(cls, xp, saved, gY):
        S, s = saved
        gX, n = xp.empty(S.shape, S.dtype), S.size
        arrays = contiguous(xp, S), contiguous(xp, gY), gX
        launch = backend_of_xp(xp).launch
        launch("elementwise", "activation_backward", S.dtype, blocks_for(n), THREADS, *arrays, n, cls.code, float(s))
        return gX


class ReLU(Elementwise, ops.ReLU):
    """max(X, 0), by ``elementwise.cu``."""

    code = 1


class Sigmoid(Elementwise, ops.Sigmoid):
    """The logistic function, by ``elementwise.cu``."""

    code = 2


class Tanh(Elementwise, ops.Tanh):
    """tanh, by ``elementwise.cu``."""

    code = 3


class LeakyReLU(Elementwise, ops.LeakyReLU):
    """Leaky relu, by ``elementwise.cu``."""

    code, saves_input = 4, True


class ELU(Elementwise, ops.ELU):
    """The exponential linear unit, by ``elementwise.cu``."""

    code = 5


class Softplus(Elementwise, ops.Softplus):
    """ln(1 + e**X), by ``elementwise.cu``."""

    code, saves_input = 6, True


class GELU(Elementwise, ops.GELU):
    """The Gaussian error linear unit, by ``elementwise.cu``."""

    code, saves_input = 7, True


class Rows:
    """What softmax and its logarithm share: a warp for each row."""

    logarithm = False
    repeatable = True

    @staticmethod
    def accepts(X, axis):
        return X.ndim == 2 and axis in (1, -1) and X.dtype in FLOATS and X.size > 0

    @classmethod
    def forward(cls, xp, save, X, axis):
        Y = xp.empty(X.shape, X.dtype)
        launch = backend_of_xp(xp).launch
        arguments = contiguous(xp, X), Y, *X.shape, cls.logarithm
        launch("losses", "softmax", X.dtype, blocks_for_rows(len(X)), THREADS, *arguments)
        save(Y)
        return Y

    @classmethod
    def backward(cls, xp, saved, gY):
        (Y,) = saved
        gX = xp.empty(Y.shape, Y.dtype)
        launch = backend_of_xp(xp).launch
        arguments = Y, contiguous(xp, gY), gX, *Y.shape, cls.logarithm
        launch("losses", "softmax_backward", Y.dtype, blocks_for_rows(len(Y)), THREADS, *arguments)
        return gX


class Softmax(Rows, ops.Softmax):
    """Softmax of each row, by ``losses.cu``."""


class LogSoftmax(Rows, ops.LogSoftmax):
    """The logarithm of each row's softmax, by ``losses.cu``."""

    logarithm = True


# ---------------------------------------------------------------- losses


def reduced_loss(xp, kernel, blocks, dtype, arrays, *sizes, reduction, terms):
    """The loss as an array of rank 0: ``kernel`` is given the arrays, L, what it needs to reduce, sizes, and the scale."""
    backend = backend_of_xp(xp)
    L, partial = xp.empty((), dtype), xp.empty((blocks,), np.float64)
    scale = scale_of(reduction, terms)
    backend.launch("losses", kernel, dtype, blocks, THREADS, *arrays, L, partial, backend.ticket(), *sizes, scale)
    return L


def scale_of(reduction, terms):
    """1 / N after a mean over N terms, 1 after a sum."""
    return 1.0 / terms if reduction == "mean" else 1.0


def scaled(xp, X, gL, factor=1.0):
    """factor gL X. gL, an array of rank 0, stays on the device; where it is known to be 1, X itself will do, as a view."""
    backend = backend_of_xp(xp)
    if factor == 1 and gL is backend.one(X.dtype):
        return X[...]
    out, n = xp.empty(X.shape, X.dtype), X.size
    backend.launch(
        "elementwise", "scaled", X.dtype, blocks_for(n), THREADS, contiguous(xp, X), gL, out, n, float(factor)
    )
    return out


def accepts_pair(P, T, reduction):
    """Are prediction and target alike, and is one number asked for?"""
    return reduction != "none" and P.shape == T.shape and P.dtype in FLOATS and T.dtype == P.dtype and P.size > 0


def loss_of_pair(xp, kernel, P, T, reduction):
    """The loss of a prediction and its target, one term for each element, and the prediction's gradient."""
    n, gP = P.size, xp.empty(P.shape, P.dtype)
    arrays = contiguous(xp, P), contiguous(xp, T), gP
    return reduced_loss(xp, kernel, blocks_for(n), P.dtype, arrays, n, reduction=reduction, terms=n), gP


class MSE(losses.MSE):
    """The squared error with its gradient, in one launch of ``losses.cu``."""

    selective = repeatable = True

    @staticmethod
    def accepts(P, T, reduction):
        return accepts_pair(P, T, reduction)

    @staticmethod
    def forward(xp, save, P, T, reduction):
        L, gP = loss_of_pair(xp, "squared_error", P, T, reduction)
        save(gP)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed):
        (gP,) = saved
        return scaled(xp, gP, gL) if needed[0] else None, scaled(xp, gP, gL, -1) if needed[1] else None


class BCEWithLogits(losses.BCEWithLogits):
    """Binary cross-entropy from logits with its gradient, in one launch of ``losses.cu``."""

    selective = repeatable = True

    @staticmethod
    def accepts(Z, T, reduction):
        return accepts_pair(Z, T, reduction)

    @staticmethod
    def forward(xp, save, Z, T, reduction):
        L, gZ = loss_of_pair(xp, "bce_with_logits", Z, T, reduction)
        save(gZ, Z, reduction)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed):
        gZ, Z, reduction = saved
        gT = scaled(xp, Z, gL, -scale_of(reduction, Z.size)) if needed[1] else None
        return scaled(xp, gZ, gL) if needed[0] else None, gT


class BinaryCrossEntropy(losses.BinaryCrossEntropy):
    """Binary cross-entropy from probabilities with its gradient, in one launch of ``losses.cu``."""

    selective = repeatable = True

    @staticmethod
    def accepts(P, T, reduction):
        return accepts_pair(P, T, reduction)

    @staticmethod
    def forward(xp, save, P, T, reduction):
        L, gP = loss_of_pair(xp, "binary_cross_entropy", P, T, reduction)
        save(gP, P, reduction)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed):
        gP, P, reduction = saved
        gT = None
        if needed[1]:  # so seldom that no kernel computes it
            A, B = losses.clamped_log(xp, P), losses.clamped_log(xp, 1 - P)
            gT = (B - A) * losses.spread(gL, P.shape, reduction)
        return scaled(xp, gP, gL) if needed[0] else None, gT


class CrossEntropy(losses.CrossEntropy):
    """Cross-entropy with its gradient, in one launch of ``losses.cu``. A label out of range gives NaN."""

    repeatable = True

    @staticmethod
    def accepts(Z, t, reduction):
        fits = Z.ndim == 2 and Z.dtype in FLOATS and Z.size > 0 and t.shape == Z.shape[:1] and t.dtype.kind in "iu"
        return fits and reduction != "none"

    @staticmethod
    def forward(xp, save, Z, t, reduction):
        gZ = xp.empty(Z.shape, Z.dtype)
        labels = contiguous(xp, t if t.dtype == np.int64 else t.astype(np.int64))
        arrays, blocks = (contiguous(xp, Z), labels, gZ), blocks_for_rows(len(Z))
        L = reduced_loss(xp, "cross_entropy", blocks, Z.dtype, arrays, *Z.shape, reduction=reduction, terms=len(Z))
        save(gZ)
        return L

    @staticmethod
    def backward(xp, saved, gL):
        return scaled(xp, saved[0], gL), None


class GaussianKL(losses.GaussianKL):
    """The divergence from N(0, 1), in one launch of ``losses.cu``, and its gradients in another."""

    repeatable = True

    @staticmethod
    def accepts(M, V, reduction):
        return M.ndim == 2 and accepts_pair(M, V, reduction)

    @staticmethod
    def forward(xp, save, M, V, reduction):
        arrays, n = (contiguous(xp, M), contiguous(xp, V)), M.size
        L = reduced_loss(xp, "gaussian_kl", blocks_for(n), M.dtype, arrays, n, reduction=reduction, terms=len(M))
        save(M, V, reduction)
        return L

    @staticmethod
    def backward(xp, saved, gL):
        M, V, reduction = saved
        gM, gV, n = xp.empty(M.shape, M.dtype), xp.empty(M.shape, M.dtype), M.size
        arrays, scale = (contiguous(xp, M), contiguous(xp, V), gL, gM, gV), scale_of(reduction, len(M))
        launch = backend_of_xp(xp).launch
        launch("losses", "gaussian_kl_backward", M.dtype, blocks_for(n), THREADS, *arrays, n, scale)
        return gM, gV


# ---------------------------------------------------------------- all of them

TWINS = {
    ops.Dense: Dense,
    ops.Affine: Affine,
    ops.MatMul: MatMul,
    ops.ReLU: ReLU,
    ops.Sigmoid: Sigmoid,
    ops.Tanh: Tanh,
    ops.LeakyReLU: LeakyReLU,
    ops.ELU: ELU,
    ops.Softplus: Softplus,
    ops.GELU: GELU,
    ops.Softmax: Softmax,
    ops.LogSoftmax: LogSoftmax,
    losses.MSE: MSE,
    losses.BCEWithLogits: BCEWithLogits,
    losses.BinaryCrossEntropy: BinaryCrossEntropy,
    losses.CrossEntropy: CrossEntropy,
    losses.GaussianKL: GaussianKL,
    **gpu_updates.TWINS,
    **gpu_data.TWINS,
    **gpu_images.TWINS,
}
