"""What ``kernels`` measures: each operation that has a kernel for the CPU, on arrays as training meets them.

Gradients of inputs that are constants are not counted as work, though a definition may compute them.
"""

from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

import numpy as np

import tinyae as ta
from tinyae import losses, ops
from tinyae.backend import NUMPY
from tinyae.data import order_of, take
from tinyae.optim import make_optimizer
from tinyae.random import Generator
from tinyae.tape import pull_back

from .architectures import dense_layers, initial_weights
from .cases import DEEP, SMALL, numbers
from .conv_blocks import Pool, UpSample, blocks

GFLOPS, GBYTES = "GFLOP/s", "GB/s"
PRODUCTS, CONVOLUTIONS = "Matrix products", "Convolutions"
RESIZING, MOVING = "Pooling and upsampling", "Operations that mostly move numbers"
BATCHES, PIXELS, EXAMPLES, CLASSES, IMAGES = (32, 256), 784, 10_000, 10, 20_000
CHECKED_STEPS = 3  # of an optimizer


class Case(NamedTuple):
    """One operation on arrays of one size."""

    title: str
    prepare: Callable  # () -> (run, results): what is timed; what gives the arrays or texts that are compared
    work: int  # of one run: additions and multiplications, or bytes that must be read or written at least
    unit: str
    place: int = 0  # bytes of memory that it works on, if fewer: what is changed in place is read and written
    span: int = 0  # bytes that are read in turn by many runs, if more than by one
    section: str = ""  # the table it belongs to, if it is not its unit's
    peer: tuple = ()  # (what, which part) as ``contestants/torch_kernels.py`` takes them, where PyTorch has the same

    @property
    def table(self):
        return self.section or (PRODUCTS if self.unit == GFLOPS else MOVING)


def alike(run):
    """What is timed is also what is compared."""
    return run, run


def forward(call):
    """An operation's forward, by a function that applies it to inputs that ask for no gradient: without a tape."""
    return alike(lambda: [call().data])


def backward(call):
    """An operation's backward alone; forward has recorded it once. The gradient that reaches it is no constant."""
    y = call()
    return alike(lambda: gradients(y, numbers(*y.shape)))


def gradients(y, gY):
    """Those of the inputs of the operation that made y, by the rule that belongs to its forward."""
    node = y._node
    return [g for g, source in zip(pull_back(node, gY), node.inputs) if source is not None]


# ---------------------------------------------------------------- matrix products


def dense():
    """The layers of the small model one by one, and all layers of the deep one in one operation."""
    for batch in BATCHES:
        yield from dense_cases("784-32", SMALL[:2], ["relu"], batch, inside=False)
        yield from dense_cases("32-784", SMALL[1:], ["sigmoid"], batch, inside=True)
        yield from dense_cases("deep model", DEEP, ["relu"] * (len(DEEP) - 2) + ["sigmoid"], batch, inside=False)


def dense_cases(name, dims, activations, batch, inside):
    """Forward and backward; ``inside`` a model the gradient of X is needed too, at its beginning not."""

    def call(recorded):
        X = ta.Tensor(numbers(batch, dims[0], kind="uniform"), recorded and inside)
        parameters = [ta.Tensor(array, recorded) for pair in initial_weights(dense_layers(dims)) for array in pair]
        return lambda: ta.apply(ops.Dense, X, *parameters, activations=tuple(activations))

    products = [2 * batch * I * O for I, O in zip(dims, dims[1:])]
    back = 2 * sum(products) - (0 if inside else products[0])
    yield Case(f"dense {name}, batch {batch}, forward", lambda: forward(call(False)), sum(products), GFLOPS)
    yield Case(f"dense {name}, batch {batch}, backward", lambda: backward(call(True)), back, GFLOPS)


def matmul():
    """The product of a batch and a weight matrix, its gradients, and the yardstick's own product."""

    def call(M, K, N, recorded):
        X, W = ta.Tensor(numbers(M, K), recorded), ta.Tensor(numbers(K, N), recorded)
        return lambda: ta.matmul(X, W)

    work = 2 * 256 * 784 * 128
    yield Case("matmul 256x784x128, forward", lambda: forward(call(256, 784, 128, False)), work, GFLOPS)
    yield Case("matmul 256x784x128, backward", lambda: backward(call(256, 784, 128, True)), 2 * work, GFLOPS)
    yield Case("matmul 1024x1024x1024", lambda: forward(call(1024, 1024, 1024, False)), 2 * 1024**3, GFLOPS)


# ---------------------------------------------------------------- convolutions


def convolutions(alone):
    """Convolutions alone, or with what a kernel does besides (upsampling, activation, pooling), as the model has them.

    Work is the arithmetic of the definition: behind upsampling that of the convolution of the large image, of which a
    kernel may do less.
    """
    for block in blocks():
        if block.alone == alone:
            for part in block.parts:
                yield Case(f"{block.title}, {part}", lambda b=block, p=part: conv_block(b, p), block.work, GFLOPS,
                           section=CONVOLUTIONS, peer=(block, part))  # fmt: skip


def conv_block(block, part):
    """Forward, or the gradients of the inputs that a part asks for; a kernel need not compute the others."""
    inputs = [ta.Tensor(array, wanted) for array, wanted in zip(block.arrays(), block.wanted(part))]

    def call():
        return ta.apply(ops.ConvBlock, *inputs, upsample=block.upsample, padding=((1, 1), (1, 1)),
                        activation=block.activation, pool=((2, 2), ((0, 0), (0, 0))) if block.pool else None)  # fmt: skip

    return forward(call) if part == "forward" else backward(call)


def moved(what, op, **attributes):
    """Pooling or upsampling alone: X is read and Y written, or gY read and gX written."""
    for part in ("forward", "backward"):

        def prepare(part=part):
            X = ta.Tensor(what.array(), part == "backward")
            return (forward if part == "forward" else backward)(lambda: ta.apply(op, X, **attributes))

        yield Case(f"{what.title}, {part}", prepare, what.nbytes, GBYTES, section=RESIZING, peer=(what, part))


# ---------------------------------------------------------------- memory


def activation(name, shape):
    """Forward reads X and writes Y; backward reads Y and gY and writes gX."""
    function, nbytes = getattr(ta, name), 4 * shape[0] * shape[1]

    def call(recorded):
        X = ta.Tensor(numbers(*shape), recorded)
        return lambda: function(X)

    size = f"{name} {shape[0]}x{shape[1]}"
    yield Case(f"{size}, forward", lambda: forward(call(False)), 2 * nbytes, GBYTES)
    yield Case(f"{size}, backward", lambda: backward(call(True)), 3 * nbytes, GBYTES)


def loss(name, op, shape, target):
    """Forward and backward together, as ``fit`` applies them: prediction and target are read, a gradient is written.

    A public function such as ``ta.bce_with_logits_loss`` looks besides whether the targets are allowed.
    """

    def prepare():
        P, T, one = ta.Tensor(numbers(*shape), True), ta.Tensor(target()), np.ones((), np.float32)

        def run():
            L = ta.apply(op, P, T, reduction="mean")
            return [L.data, *gradients(L, one)]

        return alike(run)

    work = 8 * shape[0] * shape[1] + target().nbytes
    yield Case(f"{name} {shape[0]}x{shape[1]} with gradient", prepare, work, GBYTES)


def images_as_target():
    """A batch of pixels."""
    return numbers(BATCHES[-1], PIXELS, kind="uniform")


def labels():
    """A class for each example."""
    return np.arange(EXAMPLES) * 7 % CLASSES


def step(name, state):
    """A step over all parameters of the deep model: the gradient is read, parameters and ``state`` arrays are updated."""

    def prepare():
        params = [ta.Tensor(array, True) for pair in initial_weights(dense_layers(DEEP)) for array in pair]
        for tensor in params:
            tensor.grad = 0.01 * numbers(*tensor.shape)
        optimizer, before = make_optimizer(name, params), [tensor.data.copy() for tensor in params]

        def results():
            for _ in range(CHECKED_STEPS):
                optimizer.step()
            changes = [tensor.data - start for tensor, start in zip(params, before)]
            return [*changes, *(array for state in optimizer.state for array in state.values())]

        return optimizer.step, results

    nbytes = sum(W.nbytes + b.nbytes for W, b in initial_weights(dense_layers(DEEP)))
    yield Case(f"{name} step, deep model", prepare, (3 + 2 * state) * nbytes, GBYTES, place=(2 + state) * nbytes)


def philox():
    """Random 32-bit numbers, each written as 8 bytes; nothing is read."""
    size, generator = BATCHES[-1] * PIXELS, Generator(0)
    yield Case(
        f"philox, {size} random numbers", lambda: alike(lambda: [generator.bits(size, "dropout", 1)]), 8 * size, GBYTES
    )


def shuffled_batch():
    """256 rows from anywhere in a data set, others each time, copied together."""

    def prepare():
        images = numbers(IMAGES, PIXELS, kind="uniform")
        order = order_of(IMAGES, 0, 0, True)
        turn = cycle([order[start : start + 256] for start in range(0, IMAGES - 255, 256)])
        return alike(lambda: [take(images, next(turn), NUMPY, np.float32).data])

    yield Case("take a shuffled batch of 256", prepare, 8 * 256 * PIXELS, GBYTES, span=4 * IMAGES * PIXELS)


KERNELS = {
    "dense": dense,
    "matmul": matmul,
    "conv": lambda: convolutions(alone=True),
    "conv-block": lambda: convolutions(alone=False),
    "pool": lambda: moved(Pool(), ops.MaxPool2D, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0))),
    "upsample": lambda: moved(UpSample(), ops.UpsampleNearest, factor=(2, 2)),
    "relu": lambda: activation("relu", (256, PIXELS)),
    "sigmoid": lambda: activation("sigmoid", (256, PIXELS)),
    "tanh": lambda: activation("tanh", (256, PIXELS)),
    "softmax": lambda: activation("softmax", (EXAMPLES, CLASSES)),
    "mse": lambda: loss("mse", losses.MSE, (256, PIXELS), images_as_target),
    "bce": lambda: loss("bce with logits", losses.BCEWithLogits, (256, PIXELS), images_as_target),
    "cross-entropy": lambda: loss("cross-entropy", losses.CrossEntropy, (EXAMPLES, CLASSES), labels),
    "sgd": lambda: step("sgd", 0),
    "momentum": lambda: step("momentum", 1),
    "adagrad": lambda: step("adagrad", 1),
    "rmsprop": lambda: step("rmsprop", 1),
    "adam": lambda: step("adam", 2),
    "philox": philox,
    "take": shuffled_batch,
}
