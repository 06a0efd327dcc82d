"""The operations that ``kernels`` measures on a GPU: how to call each, and what it has to do at least.

``n`` is how many numbers the largest array of an operation has. Bytes are those that must be read or written once, at four
a number; arithmetic is what the formula says, a root, an exponential or a division counting as one, and of Philox its
integer operations. Everything is called as a user calls it, through the tape.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import tinyae as ta
from tinyae import losses
from tinyae.data import take
from tinyae.functional import dense
from tinyae.optim import make_optimizer
from tinyae.random import Generator

from ..kernel_cases import gradients

ELEMENTWISE, DENSE, ROWS = "Activations", "Dense layers", "Rows: losses, softmax, gathering"
UPDATES, IMAGES, CONVOLUTIONS = "Updates and random numbers", "Pooling and upsampling", "Convolutions"
PRODUCTS = "Matrix products"
INPUTS, OUTPUTS, CLASSES, SOFTMAX, PIXELS = 16, 512, 10, 64, 784
OCCURRENCES = 1 << 16  # numbers that are drawn; larger arrays repeat them


class Operation(NamedTuple):
    """One operation on arrays of one size."""

    title: str
    group: str
    make: Callable  # Place -> run; run() gives the arrays that are compared
    flops: float  # of a run
    nbytes: float  # that a run must read or write at least
    less: Callable | None = None  # what a run does besides, made alike: its time is taken off
    precisions: tuple = ("float32",)


class Place:
    """Where the arrays of an operation are: a backend, and made-up numbers on it, the same on every one."""

    def __init__(self, backend):
        self.backend = backend

    def array(self, *shape, kind="normal"):
        """Float32 numbers, normal or uniform in [0, 1)."""
        rng, size = np.random.default_rng(0), int(np.prod(shape))
        drawn = min(size, OCCURRENCES)
        few = rng.random(drawn, np.float32) if kind == "uniform" else rng.standard_normal(drawn, np.float32)
        few, xp = self.backend.asarray(few), self.backend.xp
        return xp.tile(few, -(-size // drawn))[:size].reshape(shape)

    def integers(self, count, below):
        """Numbers from 0 to ``below`` - 1 in no order."""
        return self.backend.asarray(np.random.default_rng(1).integers(0, below, count))

    def tensor(self, *shape, grad=False, kind="normal"):
        """Such an array as a Tensor that asks for a gradient or does not."""
        return ta.Tensor(self.array(*shape, kind=kind), grad)


def forward(call):
    """An operation by a function that applies it, to inputs that ask for no gradient."""
    return lambda: [call().data]


def backward(call, place):
    """An operation's own rule; forward has recorded it once."""
    y = call()
    gY = place.array(*y.shape)
    return lambda: gradients(y, gY)


def operations(n):
    """All of them, with arrays of about ``n`` numbers."""
    yield from activations(n)
    yield from dense_layers(n)
    yield from rows(n)
    yield from updates(n)
    yield from random_numbers(n)
    yield from images(n)
    yield from convolutions(n)
    yield from products(n)


# ---------------------------------------------------------------- numbers, one by one


def activations(n):
    """Y is written from X; gX from gY and Y."""
    for name, ahead, back in (("relu", 1, 1), ("sigmoid", 4, 3), ("tanh", 4, 3)):
        function = getattr(ta, name)

        def run(place, function=function, recorded=False):
            x = place.tensor(n, grad=recorded)
            return backward(lambda: function(x), place) if recorded else forward(lambda: function(x))

        yield Operation(f"{name}, forward", ELEMENTWISE, run, ahead * n, 8 * n)
        yield Operation(
            f"{name}, backward", ELEMENTWISE, lambda p, r=run: r(p, recorded=True), back * n, 12 * n
        )  # fmt: skip


def dense_layers(n):
    """What a dense layer does besides its products, which are timed alone and taken off."""
    examples = max(1, n // OUTPUTS)

    def operands(place, recorded):
        return place.tensor(examples, INPUTS, grad=recorded), place.tensor(INPUTS, OUTPUTS, grad=recorded)

    def layer(place, recorded):
        (x, W), b = operands(place, recorded), place.tensor(OUTPUTS, grad=recorded)
        return lambda: dense(x, W, b, "relu")

    def product(place, recorded):
        x, W = operands(place, recorded)
        return lambda: ta.matmul(x, W)

    size = examples * OUTPUTS
    yield Operation(
        "bias and relu", DENSE, lambda p: forward(layer(p, False)), 2 * size, 8 * size,
        less=lambda p: forward(product(p, False)),
    )  # fmt: skip
    yield Operation(
        "relu backward and column sums", DENSE, lambda p: backward(layer(p, True), p), 2 * size, 12 * size,
        less=lambda p: backward(product(p, True), p),
    )  # fmt: skip


# ---------------------------------------------------------------- rows


def rows(n):
    """The losses with their gradients, softmax, and a batch gathered from a data set."""
    examples = max(2, n // PIXELS)
    size = examples * PIXELS

    def loss(place, op, prediction, target):
        def run():  # as fit applies them: the public functions look besides whether the targets are allowed
            L = ta.apply(op, prediction, target, reduction="mean")
            return [L.data, *gradients(L, one)]

        one = place.backend.asarray(np.ones((), np.float32))
        return run

    for name, op, flops in (("mse", losses.MSE, 5), ("bce with logits", losses.BCEWithLogits, 10)):
        yield Operation(
            f"{name} with gradient", ROWS,
            lambda p, op=op: loss(
                p, op, p.tensor(examples, PIXELS, grad=True), p.tensor(examples, PIXELS, kind="uniform")
            ), flops * size, 12 * size,
        )  # fmt: skip
    labelled = max(2, n // CLASSES)
    yield Operation(
        "cross-entropy with gradient", ROWS,
        lambda p: loss(
            p, losses.CrossEntropy, p.tensor(labelled, CLASSES, grad=True), ta.Tensor(p.integers(labelled, CLASSES))
        ), 7 * labelled * CLASSES, 8 * labelled * CLASSES + 8 * labelled,
    )  # fmt: skip

    def softmax(place, recorded):
        x = place.tensor(max(1, n // SOFTMAX), SOFTMAX, grad=recorded)
        return lambda: ta.softmax(x)

    wide = max(1, n // SOFTMAX) * SOFTMAX
    yield Operation("softmax, forward", ROWS, lambda p: forward(softmax(p, False)), 5 * wide, 8 * wide)
    yield Operation("softmax, backward", ROWS, lambda p: backward(softmax(p, True), p), 4 * wide, 12 * wide)

    def gather(place):
        data, index = place.array(examples, PIXELS), place.integers(examples, examples)
        return lambda: [take(data, index, place.backend, np.float32).data]

    yield Operation("gather rows of 784", ROWS, gather, 0, 8 * size + 8 * examples)


# ---------------------------------------------------------------- updates


def updates(n):
    """A step over one parameter: it and the gradient are read, it is written; state is read and written."""
    for name, states, flops in (
        ("sgd", 0, 2),
        ("momentum", 1, 4),
        ("adagrad", 1, 6),
        ("rmsprop", 1, 8),
        ("adam", 2, 14),
    ):

        def make(place, name=name):
            parameter = place.tensor(n, grad=True)
            parameter.grad = place.array(n, kind="uniform")
            optimizer = make_optimizer(name, [parameter])

            def run():
                optimizer.step()
                return [parameter.data, *(array for state in optimizer.state for array in state.values())]

            return run

        yield Operation(f"{name} step", UPDATES, make, flops * n, (12 + 8 * states) * n)


def random_numbers(n):
    """Philox: ten rounds for four numbers; nothing is read."""
    yield Operation(
        "philox, uniform numbers", UPDATES,
        lambda p: lambda: [Generator(0).uniform((n,), "dropout", 1, p.backend.xp)], 25 * n, 4 * n,
    )  # fmt: skip


# ---------------------------------------------------------------- images


def images(n):
    """Max pooling and nearest upsampling, 2x2, between 28x28x32 and 14x14x32."""
    batch = max(1, n // (28 * 28 * 32))
    large = batch * 28 * 28 * 32

    def pooling(place, recorded):
        x = place.tensor(batch, 28, 28, 32, grad=recorded)
        return lambda: ta.max_pool2d(x)

    def upsampling(place, recorded):
        x = place.tensor(batch, 14, 14, 32, grad=recorded)
        return lambda: ta.upsample_nearest(x)

    for name, make, ahead, back in (("max pooling", pooling, 0.75, 0.25), ("upsampling", upsampling, 0, 0.75)):
        yield Operation(
            f"{name}, forward", IMAGES, lambda p, m=make: forward(m(p, False)), ahead * large, 5 * large
        )  # fmt: skip
        yield Operation(
            f"{name}, backward", IMAGES, lambda p, m=make: backward(m(p, True), p), back * large, 5 * large
        )  # fmt: skip


def convolutions(n):
    """The 3x3 convolutions of the convolutional model, forward and for either gradient."""
    for side, inputs, outputs in ((28, 1, 32), (14, 32, 32), (28, 32, 1)):
        batch = max(1, n // (side * side * 32))
        pixels = batch * side * side

        def convolution(place, data=False, weights=False, side=side, inputs=inputs, outputs=outputs, batch=batch):
            x = place.tensor(batch, side, side, inputs, grad=data, kind="uniform")
            W, b = place.tensor(3, 3, inputs, outputs, grad=weights), place.tensor(outputs, grad=weights)
            return lambda: ta.conv_block(x, W, b)

        flops, nbytes = 18 * pixels * inputs * outputs, 4 * (pixels * (inputs + outputs) + 9 * inputs * outputs)
        makes = {"forward": lambda p, c=convolution: forward(c(p))}
        if inputs > 1:  # the gradient of the images themselves is never asked for
            makes["data gradient"] = lambda p, c=convolution: backward(c(p, data=True), p)
        makes["weight gradient"] = lambda p, c=convolution: backward(c(p, weights=True), p)
        for part, make in makes.items():
            yield Operation(
                f"conv {inputs}-{outputs} at {side}x{side}, {part}", CONVOLUTIONS, make, flops, nbytes,
                precisions=("float32", "tf32"),
            )  # fmt: skip


def products(n):
    """One square product, through the tape."""
    side = max(8, int(n**0.5) // 2)

    def product(place):
        x, W = place.tensor(side, side), place.tensor(side, side)
        return forward(lambda: ta.matmul(x, W))

    yield Operation(
        f"matmul {side}x{side}x{side}", PRODUCTS, product, 2 * side**3, 12 * side**2, precisions=("float32", "tf32")
    )
