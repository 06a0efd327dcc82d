"""The CPU's fast twins: which operation has one, what it accepts, and how its loop is called.

A twin is a subclass of its operation with another ``forward`` and ``backward``: name, formula and meaning are the
operation's, which stays the definition; tests hold each twin to it. What a twin does not accept (another type or
layout, too few numbers to be worth it) runs as it is defined. The loops are in ``loops/``; numba, which
compiles them, is imported when the first one is called.
"""

import weakref

import numpy as np

from .. import losses, ops, optim, random
from ..backend import FLOATS, NUMPY
from ..context import every_time, unrepeatable
from .buffers import empty
from .conv_blocks import Conv2D, Conv2DTranspose, ConvBlock
from .dense_layers import ENOUGH as MULTIPLICATIONS
from .dense_layers import Layers
from .images import MaxPool2D, UpsampleNearest
from .loading import ENOUGH, fits, loops, numba_works
from .threads import parts_of

# ---------------------------------------------------------------- dense layers


class Dense(ops.Dense):
    """Dense layers in a row, by the loops of ``dense.py``."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, *parameters, activations):
        return Layers.of(parameters, activations).accept(X)

    @staticmethod
    def forward(xp, save, X, *parameters, activations):
        layers = Layers.of(parameters, activations)
        Y, hidden = layers.forward(X)
        save(X, Y, hidden, layers, *parameters[::2])  # a bias is needed no more
        return Y

    @staticmethod
    def backward(xp, saved, gY, needed):
        X, Y, hidden, layers = saved[:4]
        return layers.backward(X, Y, hidden, gY, needed)


def accepts_product(X, W, b):
    """X W + b for float matrices, also transposed ones, of which a copy is made.

    NumPy could multiply these as they are. But its threads, taking turns with the kernels' own, make a step some hundred
    times slower (``threads.py``); a copy costs little beside that.
    """
    if X.flags.c_contiguous and W.flags.c_contiguous:
        return Dense.accepts(X, W, b, activations=(None,))
    fit = X.ndim == W.ndim == 2 and X.dtype == W.dtype and X.dtype in FLOATS and X.shape[1] == W.shape[0]
    fit = fit and (b is None or (fits(b, X.dtype) and b.shape == W.shape[1:]))
    return fit and len(X) * W.size >= MULTIPLICATIONS and numba_works()


def contiguous(X):
    """X row by row in memory: itself, or a copy, which the repetition of a captured step would not make anew."""
    if X.flags.c_contiguous:
        return X
    unrepeatable("multiplies a matrix that does not lie row by row in memory", by_calls_only=True)
    return np.ascontiguousarray(X)


class Affine(ops.Affine):
    """A dense layer without an activation."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b):
        return accepts_product(X, W, b)

    @staticmethod
    def forward(xp, save, X, W, b):
        return Dense.forward(xp, save, contiguous(X), contiguous(W), b, activations=(None,))

    @staticmethod
    def backward(xp, saved, gY, needed):
        return Dense.backward(xp, saved, gY, needed)


class MatMul(ops.MatMul):
    """The product of two matrices: a dense layer without bias and activation."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W):
        return accepts_product(X, W, None)

    @staticmethod
    def forward(xp, save, X, W):
        return Dense.forward(xp, save, contiguous(X), contiguous(W), None, activations=(None,))

    @staticmethod
    def backward(xp, saved, gY, needed):
        return Dense.backward(xp, saved, gY, [*needed, False])[:2]


# ---------------------------------------------------------------- activations


def accepts_elements(X):
    """Is X of a float type, C-contiguous, and large enough?"""
    return X.dtype in FLOATS and ENOUGH <= X.size and fits(X, X.dtype) and numba_works()


class Elementwise:
    """What relu, sigmoid and tanh share: Y is saved, and is enough for the derivative."""

    code = 0
    repeatable = True

    @staticmethod
    def accepts(X):
        return accepts_elements(X)

    @classmethod
    def forward(cls, xp, save, X):
        Y = empty(X.shape, X.dtype)
        loops.elementwise.forward(X.reshape(-1), cls.code, Y.reshape(-1), parts_of(8 * X.size))
        save(Y)
        return Y

    @classmethod
    def backward(cls, xp, saved, gY):
        (Y,) = saved
        gX = empty(Y.shape, Y.dtype)
        gY = np.ascontiguousarray(gY).reshape(-1)
        loops.elementwise.backward(Y.reshape(-1), gY, cls.code, gX.reshape(-1), parts_of(8 * Y.size))
        return gX


class ReLU(Elementwise, ops.ReLU):
    """max(X, 0), by ``elementwise.py``."""

    code = 1


class Sigmoid(Elementwise, ops.Sigmoid):
    """The logistic function, by ``elementwise.py``."""

    code = 2


class Tanh(Elementwise, ops.Tanh):
    """tanh, by ``elementwise.py``."""

    code = 3


class Softmax(ops.Softmax):
    """Softmax of each row, by ``elementwise.py``."""

    repeatable = True

    @staticmethod
    def accepts(X, axis):
        return X.ndim == 2 and axis in (1, -1) and accepts_elements(X)

    @staticmethod
    def forward(xp, save, X, axis):
        Y = empty(X.shape, X.dtype)
        loops.elementwise.softmax(X, Y, parts_of(8 * X.size))
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        gX = empty(Y.shape, Y.dtype)
        loops.elementwise.softmax_backward(Y, np.ascontiguousarray(gY), gX, parts_of(8 * Y.size))
        return gX


# ---------------------------------------------------------------- losses


def reduced_loss(loop, prediction, target, terms, reduction):
    """The loss as an array of rank 0, and its gradient, in one pass."""
    gradient, L = empty(prediction.shape, prediction.dtype), np.empty((), prediction.dtype)
    scale = 1 / terms if reduction == "mean" else 1.0
    arrays = prediction, target, gradient
    if loop is not loops.losses.cross_entropy:
        arrays = (array.reshape(len(array) if array.ndim > 1 else 1, -1) for array in arrays)
    loop(*arrays, L, scale, parts_of(8 * prediction.size))
    return L, gradient


def scaled(gradient, gL):
    """The saved gradient times that of the loss, which nearly always is 1: then a view, no copy."""
    return gradient[...] if gL == 1 else gradient * gL


def target_gradient(gT):
    """It is wanted so seldom that no kernel computes it."""
    unrepeatable("asks for the gradient of a loss's target")
    return gT


def accepts_pair(P, T, reduction):
    """Are prediction and target alike, and is one number asked for?"""
    return reduction != "none" and P.shape == T.shape and accepts_elements(P) and fits(T, P.dtype)


class MSE(losses.MSE):
    """The squared error with its gradient, in one pass of ``losses.py``."""

    selective = repeatable = True

    @staticmethod
    def accepts(P, T, reduction):
        return accepts_pair(P, T, reduction)

    @staticmethod
    def forward(xp, save, P, T, reduction):
        L, gP = reduced_loss(loops.losses.squared_error, P, T, P.size, reduction)
        save(gP)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed):
        gP = scaled(saved[0], gL)
        return gP, target_gradient(-gP) if needed[1] else None


class BCEWithLogits(losses.BCEWithLogits):
    """Binary cross-entropy from logits with its gradient, in one pass of ``losses.py``."""

    selective = repeatable = True

    @staticmethod
    def accepts(Z, T, reduction):
        return accepts_pair(Z, T, reduction)

    @staticmethod
    def forward(xp, save, Z, T, reduction):
        L, gZ = reduced_loss(loops.losses.bce_with_logits, Z, T, Z.size, reduction)
        save(gZ, Z, reduction)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed):
        gZ, Z, reduction = saved
        gT = target_gradient(-Z * losses.spread(gL, Z.shape, reduction)) if needed[1] else None
        return scaled(gZ, gL), gT


class CrossEntropy(losses.CrossEntropy):
    """Cross-entropy with its gradient, in one pass of ``losses.py``."""

    @staticmethod
    def accepts(Z, t, reduction):
        if reduction == "none" or Z.ndim != 2 or t.shape != Z.shape[:1] or not accepts_elements(Z):
            return False
        return 0 <= t.min() and t.max() < Z.shape[1]  # else the definition says what is wrong

    @staticmethod
    def forward(xp, save, Z, t, reduction):
        L, gZ = reduced_loss(loops.losses.cross_entropy, Z, t.astype(np.int64), len(t), reduction)
        save(gZ)
        return L

    @staticmethod
    def backward(xp, saved, gL):
        return scaled(saved[0], gL), None


# ---------------------------------------------------------------- optimizers


MOST_CONSTANTS = 9  # that any of them has


def constants_of_adam(o):
    """Algorithm 1's, with the corrections of this step."""
    (b1, b2), t = o.betas, o.t
    return o.lr, b1, 1 - b1, b2, 1 - b2, o.eps, 1 - b1**t, 1 - b2**t, 1 - o.lr * o.weight_decay


UPDATES = {  # algorithm: (its loop, the constants that the loop is given)
    optim.GradientDescent: ("sgd", lambda o: (o.lr, 0.0)),
    optim.SGD: ("sgd", lambda o: (o.lr, o.weight_decay)),
    optim.Momentum: ("momentum", lambda o: (o.lr, o.momentum, o.nesterov, o.weight_decay)),
    optim.AdaGrad: ("adagrad", lambda o: (o.lr, o.eps)),
    optim.RMSProp: ("rmsprop", lambda o: (o.lr, o.rho, 1 - o.rho, o.eps)),
    optim.Adam: ("adam", constants_of_adam),
}


class Places:
    """Where the arrays of an update are in memory; asked for again only when one of them is another array.

    Asking costs more than updating small arrays. Parameters and state are held here; of gradients only weak
    references, for a buffer that somebody holds is not used again.
    """

    def __init__(self, pairs, dtype):
        self.kept = [array for tensor, state in pairs for array in (tensor.data, *state.values())]
        self.gradients = [weakref.ref(tensor.grad) for tensor, _ in pairs]
        arrays = [[tensor.data, tensor.grad, *state.values()] for tensor, state in pairs]
        self.fit = all(fits(array, dtype) for row in arrays for array in row)
        self.fit = self.fit and all(array.flags.writeable for array in self.kept)
        self.places = np.array([[NUMPY.address(array) for array in row] for row in arrays])
        self.rows = np.array([t.shape[0] if t.ndim > 1 else 1 for t, _ in pairs])
        self.widths = np.array([t.size // t.shape[0] if t.ndim > 1 else t.size for t, _ in pairs])
        self.work = sum(tensor.size for tensor, _ in pairs)
        self.constants = np.empty(MOST_CONSTANTS, dtype)

    def __reduce__(self):
        return type(None), ()  # a copy of the optimizer, or an unpickled one, looks for itself

    def hold(self, pairs):
        """Are these still the arrays?"""
        if len(pairs) != len(self.gradients):
            return False
        kept = iter(self.kept)
        for (tensor, state), gradient in zip(pairs, self.gradients):
            data = tensor.data
            if data is not next(kept) or not data.flags.writeable or gradient() is not tensor.grad:
                return False
            for array in state.values():
                if array is not next(kept):
                    return False
        return True

    def set_constants(self, optimizer):
        """Those of this update: they depend on how many there were before, and on a learning rate that may change."""
        constants = UPDATES[type(optimizer)][1](optimizer)
        self.constants[: len(constants)] = constants


def update_all(optimizer, pairs):
    """One step of every (parameter, state) in one pass; False if they are not all of one type and contiguous."""
    places = optimizer.places
    if places is None or not places.hold(pairs):
        places = optimizer.places = Places(pairs, pairs[0][0].data.dtype)
    if places.work < ENOUGH or not places.fit or not numba_works():
        return False
    every_time(places.set_constants, optimizer)
    run = getattr(loops.updates, UPDATES[type(optimizer)][0])
    run(places.places, places.rows, places.widths, places.constants, parts_of(8 * places.work))
    return True


# ---------------------------------------------------------------- random numbers


def philox_words(backend, seed, step, purpose, block, blocks):
    """``blocks`` blocks of four random numbers from number ``block`` on, uint64 (blocks * 4,); None for too few."""
    if blocks * 4 < ENOUGH or not numba_works():
        return None
    out = np.empty((blocks, 4), np.uint64)
    low = random.LOW
    numbers = (block, step & low, step >> 32, purpose, seed & low, (seed >> 32) & low)
    loops.philox.words(*map(np.uint64, numbers), out, parts_of(8 * blocks))
    return out.reshape(-1)


# ---------------------------------------------------------------- batches


def take(data, index, dtype):
    """data[index] in another float type, if it is worth a kernel; else None."""
    if data.ndim < 2 or len(index) * data[0].size < ENOUGH or data.dtype not in FLOATS or not data.flags.c_contiguous:
        return None
    if index.dtype != np.int64 or not numba_works():
        return None
    out = empty((len(index), *data.shape[1:]), dtype)
    rows = data.reshape(len(data), -1)
    loops.rows.take(rows, index, out.reshape(len(index), -1), parts_of(8 * out.size))
    return out


TWINS: dict[object, object] = {
    ops.Affine: Affine,
    ops.Conv2D: Conv2D,
    ops.Conv2DTranspose: Conv2DTranspose,
    ops.ConvBlock: ConvBlock,
    ops.MaxPool2D: MaxPool2D,
    ops.UpsampleNearest: UpsampleNearest,
    ops.Dense: Dense,
    ops.MatMul: MatMul,
    ops.ReLU: ReLU,
    ops.Sigmoid: Sigmoid,
    ops.Tanh: Tanh,
    ops.Softmax: Softmax,
    losses.MSE: MSE,
    losses.BCEWithLogits: BCEWithLogits,
    losses.CrossEntropy: CrossEntropy,
    **dict.fromkeys(UPDATES, update_all),
    "philox": philox_words,
    "take": take,
}
