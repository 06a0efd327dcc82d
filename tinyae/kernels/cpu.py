"""The CPU's fast twins: which operation has one, what it accepts, and how its loop is called.

A twin is a subclass of its operation with another ``forward`` and ``backward``: name, formula and meaning are the
operation's, which stays the definition; tests hold each twin to it. What a twin does not accept (another type or
layout, too few numbers to be worth it) runs as it is defined. The loops are in ``loops/``; numba, which
compiles them, is imported when the first one is called.
"""

import warnings
import weakref
from importlib import import_module

import numpy as np

from .. import losses, ops, optim, random
from ..backend import FLOATS, NUMPY
from .buffers import empty
from .buffers import take as take_buffers
from .threads import parts_of

ENOUGH = 4096  # elements, or multiplications of a product: below it NumPy is as fast
LONGEST = 8192  # rows that one pass of a product's backward sums over; more are for the BLAS, with its blocks
CODES = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
OLDEST_NUMBA = (0, 64)

# ---------------------------------------------------------------- numba, imported late

_works = None


def numba_works():
    """Can the loops be compiled? If not, says once what that costs."""
    global _works
    if _works is None:
        try:
            import numba

            version = tuple(int(part) for part in numba.__version__.split(".")[:2])
            if version < OLDEST_NUMBA:
                raise ImportError(f"numba {numba.__version__} is older than 0.64")
            _works = True
        except ImportError as error:
            _works = False
            warnings.warn(
                f"kernels: numba cannot be used ({error}), so tinyae computes with its reference code in NumPy: the same "
                "results, several times slower. Install it with pip install 'numba>=0.64'.",
                RuntimeWarning,
                stacklevel=3,
            )
    return _works


class Loops:
    """The modules of ``loops/`` by name, each imported when it is first needed."""

    def __getattr__(self, name):
        module = import_module(f".loops.{name}", __package__)
        setattr(self, name, module)
        return module


loops = Loops()


def fits(array, dtype):
    """A C-contiguous array of the type."""
    flags = array.flags
    return array.dtype is dtype and flags.c_contiguous and flags.aligned


# ---------------------------------------------------------------- dense layers


def nothing():
    """In place of a reference to a bias that there is not."""


class Layers:
    """Dense layers that have these parameters: can a kernel take them, and the table that tells it where they are.

    Asking an array for its address takes as long as a small layer, so this is asked once for as long as the arrays live.
    """

    known: dict = {}  # id of the first weight -> Layers

    def __init__(self, parameters, activations):
        self.activations = activations
        self.references = [nothing if array is None else weakref.ref(array) for array in parameters]
        Ws, bs = parameters[::2], parameters[1::2]
        self.dtype = Ws[0].dtype
        self.fit = (
            self.dtype in FLOATS
            and all(W.ndim == 2 and fits(W, self.dtype) for W in Ws)
            and all(b is None or (fits(b, self.dtype) and b.shape == W.shape[1:]) for W, b in zip(Ws, bs))
            and all(W.shape[1] == V.shape[0] for W, V in zip(Ws, Ws[1:]))
        )
        if self.fit:
            self.weights = sum(W.size for W in Ws)
            self.inputs, self.outputs = Ws[0].shape[0], Ws[-1].shape[1]
            self.hidden = sum(W.shape[1] for W in Ws[:-1])
            addresses = [0 if array is None else NUMPY.address(array) for array in parameters]
            rows = zip(addresses[::2], addresses[1::2], Ws, activations)
            self.table = np.array([[at, bias, *W.shape, CODES[f]] for at, bias, W, f in rows], np.int64)
            self.shapes = tuple(shape for W in Ws for shape in (W.shape, W.shape[1:]))

    @classmethod
    def of(cls, parameters, activations):
        """Those of these arrays, looked at now or earlier."""
        found = cls.known.get(id(parameters[0]))
        if found is None or found.activations != activations or not found.are(parameters):
            if len(cls.known) > 1000:
                cls.known.clear()
            found = cls.known[id(parameters[0])] = cls(parameters, activations)
        return found

    def are(self, parameters):
        """Are the arrays that were looked at still these?"""
        if len(parameters) != len(self.references):
            return False
        for reference, array in zip(self.references, parameters):
            if reference() is not array:
                return False
        return True

    def accept(self, X):
        """X (N, I) of their type, C-contiguous; large enough, and not too large."""
        return (
            self.fit
            and X.dtype is self.dtype
            and X.ndim == 2
            and X.shape[1] == self.inputs
            and ENOUGH <= len(X) * self.weights
            and len(X) <= LONGEST
            and fits(X, self.dtype)
            and numba_works()
        )

    def forward(self, X):
        """What the loop makes of X: Y (N, O) and the outputs of the layers before the last, one behind the other."""
        N = len(X)
        made = take_buffers(((N, self.outputs), (N * self.hidden,)), self.dtype)
        Y, hidden = made.arrays
        loops.dense.forward(NUMPY.address(X), made.addresses[0], self.table, N, hidden, parts_of(N * self.weights))
        return Y, hidden

    def backward(self, X, Y, hidden, gY, needed):
        """The gradients of X and of each W and b; None where a whole layer's, or X's, is not needed."""
        N, address = len(X), NUMPY.address
        if not fits(gY, self.dtype):
            gY = np.ascontiguousarray(gY)
        lowest = 0 if needed[0] else next(i for i, wanted in enumerate(needed[1:]) if wanted) // 2
        gradients = take_buffers(self.shapes[2 * lowest :], self.dtype)
        places = gradients.addresses.reshape(-1, 2)
        parts = parts_of(N * self.weights)
        slopes = empty(((N + parts * loops.dense.BLOCK) * (self.hidden + self.outputs),), self.dtype)
        gX = empty(X.shape, self.dtype) if needed[0] else None
        loops.dense.backward(
            address(X), address(Y), address(gY), 0 if gX is None else address(gX), self.table, places, lowest, N,
            hidden, slopes, parts,
        )  # fmt: skip
        return gX, *[None] * (2 * lowest), *gradients.arrays


class Dense(ops.Dense):
    """Dense layers in a row, by the loops of ``dense.py``."""

    selective = True

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


class Affine(ops.Affine):
    """A dense layer without an activation."""

    selective = True

    @staticmethod
    def accepts(X, W, b):
        return Dense.accepts(X, W, b, activations=(None,))

    @staticmethod
    def forward(xp, save, X, W, b):
        return Dense.forward(xp, save, X, W, b, activations=(None,))

    backward = Dense.backward


class MatMul(ops.MatMul):
    """The product of two matrices: a dense layer without bias and activation."""

    selective = True

    @staticmethod
    def accepts(X, W):
        return Dense.accepts(X, W, None, activations=(None,))

    @staticmethod
    def forward(xp, save, X, W):
        return Dense.forward(xp, save, X, W, None, activations=(None,))

    @staticmethod
    def backward(xp, saved, gY, needed):
        return Dense.backward(xp, saved, gY, [*needed, False])[:2]


# ---------------------------------------------------------------- activations


def accepts_elements(X):
    return X.dtype in FLOATS and ENOUGH <= X.size and fits(X, X.dtype) and numba_works()


class Elementwise:
    """What relu, sigmoid and tanh share: Y is saved, and is enough for the derivative."""

    code = 0

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
    code = 1


class Sigmoid(Elementwise, ops.Sigmoid):
    code = 2


class Tanh(Elementwise, ops.Tanh):
    code = 3


class Softmax(ops.Softmax):
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
    gradient = empty(prediction.shape, prediction.dtype)
    scale = 1 / terms if reduction == "mean" else 1.0
    arrays = prediction, target, gradient
    if loop is not loops.losses.cross_entropy:
        arrays = (array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1) for array in arrays)
    return np.array(loop(*arrays, scale, parts_of(8 * prediction.size)), prediction.dtype), gradient


def scaled(gradient, gL):
    """The saved gradient times that of the loss, which nearly always is 1: then a view, no copy."""
    return gradient[:] if gL == 1 else gradient * gL


def accepts_pair(P, T, reduction):
    return reduction != "none" and P.shape == T.shape and accepts_elements(P) and fits(T, P.dtype)


class MSE(losses.MSE):
    selective = True

    @staticmethod
    def accepts(P, T, reduction):
        return accepts_pair(P, T, reduction)

    @staticmethod
    def forward(xp, save, P, T, reduction):
        L, gP = reduced_loss(loops.losses.squared_error, P, T, P.size, reduction)
        save(gP)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed=(True, True)):
        gP = scaled(saved[0], gL)
        return gP, -gP if needed[1] else None


class BCEWithLogits(losses.BCEWithLogits):
    selective = True

    @staticmethod
    def accepts(Z, T, reduction):
        return accepts_pair(Z, T, reduction)

    @staticmethod
    def forward(xp, save, Z, T, reduction):
        L, gZ = reduced_loss(loops.losses.bce_with_logits, Z, T, Z.size, reduction)
        save(gZ, Z, reduction)
        return L

    @staticmethod
    def backward(xp, saved, gL, needed=(True, True)):
        gZ, Z, reduction = saved
        gT = -Z * losses.spread(gL, Z.shape, reduction) if needed[1] else None
        return scaled(gZ, gL), gT


class CrossEntropy(losses.CrossEntropy):
    @staticmethod
    def accepts(Z, t, reduction):
        return reduction != "none" and Z.ndim == 2 and t.shape == Z.shape[:1] and accepts_elements(Z)

    @staticmethod
    def forward(xp, save, Z, t, reduction):
        L, gZ = reduced_loss(loops.losses.cross_entropy, Z, t.astype(np.int64), len(t), reduction)
        save(gZ)
        return L

    @staticmethod
    def backward(xp, saved, gL):
        return scaled(saved[0], gL), None


# ---------------------------------------------------------------- optimizers


def constants_of(optimizer):
    """(loop, its constants) of an optimizer's next update, in the loop's order."""
    o, lr = optimizer, optimizer.lr
    if isinstance(o, optim.Adam):
        (b1, b2), t = o.betas, o.t
        return "adam", (lr, b1, 1 - b1, b2, 1 - b2, o.eps, 1 - b1**t, 1 - b2**t, 1 - lr * o.weight_decay)
    if isinstance(o, optim.RMSProp):
        return "rmsprop", (lr, o.rho, 1 - o.rho, o.eps)
    if isinstance(o, optim.AdaGrad):
        return "adagrad", (lr, o.eps)
    if isinstance(o, optim.Momentum):
        return "momentum", (lr, o.momentum, float(o.nesterov), o.weight_decay)
    return "sgd", (lr, getattr(o, "weight_decay", 0.0))


class Places:
    """Where the arrays of an update are in memory; asked for again only when one of them is another array.

    Asking costs more than updating small arrays. Parameters and state are held here; of gradients only weak
    references, for a buffer that somebody holds is not used again.
    """

    def __init__(self, pairs, dtype):
        self.dtype = dtype
        self.kept = [array for tensor, state in pairs for array in (tensor.data, *state.values())]
        self.gradients = [weakref.ref(tensor.grad) for tensor, _ in pairs]
        arrays = [[tensor.data, tensor.grad, *state.values()] for tensor, state in pairs]
        self.fit = all(fits(array, dtype) for row in arrays for array in row)
        self.places = np.array([[array.__array_interface__["data"][0] for array in row] for row in arrays])
        self.rows = np.array([t.shape[0] if t.ndim > 1 else 1 for t, _ in pairs])
        self.widths = np.array([t.size // t.shape[0] if t.ndim > 1 else t.size for t, _ in pairs])
        self.work = sum(tensor.size for tensor, _ in pairs)

    def hold(self, pairs):
        """Are these still the arrays?"""
        if len(pairs) != len(self.gradients):
            return False
        kept = iter(self.kept)
        for (tensor, state), gradient in zip(pairs, self.gradients):
            if tensor.data is not next(kept) or gradient() is not tensor.grad:
                return False
            for array in state.values():
                if array is not next(kept):
                    return False
        return True


def update_all(optimizer, pairs):
    """One step of every (parameter, state) in one pass; False if they are not all of one type and contiguous."""
    places = optimizer.places
    if places is None or not places.hold(pairs):
        places = optimizer.places = Places(pairs, pairs[0][0].data.dtype)
    if places.work < ENOUGH or not places.fit or not numba_works():
        return False
    name, constants = constants_of(optimizer)
    run = getattr(loops.updates, name)
    run(places.places, places.rows, places.widths, np.array(constants, places.dtype), parts_of(8 * places.work))
    return True


# ---------------------------------------------------------------- random numbers


def philox_words(seed, step, purpose, block, blocks):
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


TWINS = {
    ops.Affine: Affine,
    ops.Dense: Dense,
    ops.MatMul: MatMul,
    ops.ReLU: ReLU,
    ops.Sigmoid: Sigmoid,
    ops.Tanh: Tanh,
    ops.Softmax: Softmax,
    losses.MSE: MSE,
    losses.BCEWithLogits: BCEWithLogits,
    losses.CrossEntropy: CrossEntropy,
    optim.GradientDescent: update_all,
    optim.SGD: update_all,
    optim.Momentum: update_all,
    optim.AdaGrad: update_all,
    optim.RMSProp: update_all,
    optim.Adam: update_all,
    "philox": philox_words,
    "take": take,
}
