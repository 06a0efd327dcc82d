"""Dense layers for the loops of ``loops/dense.py``: where they are in memory, and who computes what."""

import weakref

import numpy as np

from ..backend import FLOATS, NUMPY
from .buffers import empty, take
from .loading import fits, loops, numba_works
from .threads import parts_of

ENOUGH = 4096  # multiplications, from which on a kernel is as fast as NumPy
CODES = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}  # as in loops/activating.py
WORTH = 1 << 14  # numbers that need not go from core to core: worth two waits for each other
LARGE = 6  # times a layer's outputs
APART = 32  # numbers: two cache lines or more, for a processor fetches lines in pairs
PLANS = 100  # batch sizes that are remembered
NO_GRADIENTS = np.empty((0, 2), np.int64)


def nothing():
    """In place of a reference to a bias that there is not."""


class Layers:
    """Dense layers that have these parameters: can a kernel take them, and what it is told.

    Asking an array for its address takes as long as a small layer, so this is asked once for as long as the arrays live.
    """

    known: dict = {}  # id of the first weight -> Layers

    def __init__(self, parameters, activations):
        self.activations = activations
        self.references = [nothing if array is None else weakref.ref(array) for array in parameters]
        self.shapes = [None if array is None else array.shape for array in parameters]
        self.plans: dict = {}  # (number of examples, parts) -> Plan
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
            self.widths = [W.shape[0] for W in Ws] + [Ws[-1].shape[1]]
            self.gradient_shapes = tuple(shape for W in Ws for shape in (W.shape, W.shape[1:]))
            self.addresses = [0 if array is None else NUMPY.address(array) for array in parameters]

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
        for reference, shape, array in zip(self.references, self.shapes, parameters):
            if reference() is not array or (array is not None and array.shape != shape):
                return False
        return True

    def accept(self, X):
        """X (N, I) of their type, C-contiguous, and large enough."""
        return (
            self.fit
            and X.ndim == 2
            and X.shape[1] == self.widths[0]
            and ENOUGH <= len(X) * self.weights
            and fits(X, self.dtype)
            and numba_works()
        )

    def plan(self, N):
        """For so many examples."""
        parts = parts_of(N * self.weights)
        found = self.plans.get((N, parts))
        if found is None:
            if len(self.plans) > PLANS:
                self.plans.clear()
            found = self.plans[N, parts] = Plan(self, N, parts)
        return found

    def forward(self, X):
        """What the loops make of X: Y (N, O) and the outputs of the layers before the last, one behind the other."""
        N = len(X)
        plan = self.plan(N)
        made = take(((N, self.widths[-1]),), self.dtype)
        (Y,), hidden = made.arrays, empty((plan.hidden_size,), self.dtype)
        scratch = empty((plan.scratch_size,), self.dtype)
        loops.dense.run(
            plan.forward, NUMPY.address(X), int(made.addresses[0]), 0, 0, *plan.no_loss, plan.table, NO_GRADIENTS, N, hidden,
            scratch, plan.parts,
        )  # fmt: skip
        return Y, hidden

    def backward(self, X, Y, hidden, gY, needed):
        """The gradients of X and of each W and b; None where a whole layer's, or X's, is not needed."""
        N, address = len(X), NUMPY.address
        plan = self.plan(N)
        if not fits(gY, self.dtype):
            gY = np.ascontiguousarray(gY)
        gX = empty(X.shape, self.dtype) if needed[0] else None
        lowest = 0 if needed[0] else (needed.index(True) - 1) // 2  # the first layer of which anything is needed
        gradients = take(self.gradient_shapes[2 * lowest :], self.dtype)
        scratch = empty((plan.scratch_size,), self.dtype)
        loops.dense.run(
            plan.backward(lowest), address(X), address(Y), address(gY), 0 if gX is None else address(gX),
            *plan.no_loss, plan.table, gradients.addresses.reshape(-1, 2), N, hidden, scratch, plan.parts,
        )  # fmt: skip
        return gX, *[None] * (2 * lowest), *gradients.arrays


def apart(size):
    """So many numbers, and what keeps the next ones out of their last cache lines: two threads that write to one line
    wait for each other."""
    return (size + APART - 1) // APART * APART


class Plan:
    """What the loops are told for N examples: the stages, the table of the layers, how much room they need.

    Moving a number from core to core takes as long as some dozens of multiplications, so the layers are divided such that
    little has to be moved.
    """

    def __init__(self, layers, N, parts):
        self.parts = parts
        self.no_loss = 0, 0, loops.dense.NO_LOSS, 1.0, np.empty((), layers.dtype)
        self.by_inputs = []  # of each layer: is it divided by inputs?
        table, hidden, scratch, sums_forward = [], 0, 0, 0  # the latter: how much room has been given away
        for l, (I, O) in enumerate(zip(layers.widths, layers.widths[1:])):
            moved = N * O + (N * I // 2 if l else 0)
            # a batch much larger than the layer that it goes into: rather move the layer
            large = parts > 1 and l == 0 and N > LARGE * O
            self.by_inputs.append(parts > 1 and I * O - moved >= WORTH and not large)
            sums_forward = max(sums_forward, parts * N * O if self.by_inputs[l] else 0)
            in_pieces = N > I or large  # is W's gradient, a sum over examples, divided by them?
            slopes, scratch = scratch, scratch + apart((parts * loops.dense.BLOCK if in_pieces else N) * O)
            sums, scratch = scratch, scratch + parts * apart(O)
            pieces, scratch = scratch, scratch + (parts * I * O if in_pieces else 0)
            W, b = layers.addresses[2 * l : 2 * l + 2]
            table.append([W, b, I, O, CODES[layers.activations[l]], hidden, slopes, sums, apart(O), pieces, in_pieces])
            hidden += N * O
        self.table = np.array(table, np.int64)
        self.hidden_size = hidden - N * layers.widths[-1]  # the last layer's Y is not in there
        self.scratch_size = max(scratch, sums_forward)  # forward and backward do not need theirs at the same time
        self.forward = self.stages_forward()
        self._backward: dict = {}  # lowest layer -> stages

    def stages_forward(self):
        """All layers, those in a row that are divided by examples in one stage."""
        kinds, stages = loops.dense, []
        for l, by_inputs in enumerate(self.by_inputs):
            if by_inputs:
                stages += [[kinds.SUM_INPUTS, l, l], [kinds.JOIN, l, l]]
            elif stages:  # these rows of the batch are already in this thread's hands
                stages[-1][2] = l
            else:
                stages.append([kinds.THROUGH, l, l])
        return np.array(stages, np.int64)

    def backward(self, lowest):
        """The way back to layer number ``lowest``."""
        found = self._backward.get(lowest)
        if found is None:
            kinds, stages, last = loops.dense, [], len(self.table) - 1
            for l in range(last, lowest - 1, -1):
                if stages and stages[-1][0] == kinds.BACK:
                    stages[-1][1] = l
                else:
                    stages.append([kinds.BACK, l, l])
                # columns of gX for all examples can only be handed to a layer that has room for all of them
                if self.by_inputs[l] and l > lowest and not self.table[l - 1, kinds.IN_PIECES]:
                    stages.append([kinds.BACK_TO_INPUTS, l, l])
            stages.append([kinds.WEIGHTS, lowest, last])
            found = self._backward[lowest] = np.array(stages, np.int64)
        return found
