"""How the tests of the kernels run one beside its operation."""

import contextlib
from unittest import mock

import numpy as np

import tinyae as ta
from tinyae.apply import apply
from tinyae.kernels import conv_blocks, cpu, dense_layers, images
from tinyae.kernels.buffers import Buffers
from tinyae.kernels.cpu import TWINS
from tinyae.kernels.dense_layers import Layers

NEAR = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}
TYPES = [np.float32, np.float64]
ACTIVATIONS = [None, "relu", "sigmoid", "tanh"]
take_buffers = Buffers.take


def poisoned(self, shapes, dtype):
    """A buffer as it is handed out, but with nothing in it that could be right."""
    group = take_buffers(self, shapes, dtype)
    for array in group.arrays:
        array.fill(np.nan if array.dtype.kind == "f" else 255)
    return group


@contextlib.contextmanager
def kernels_for_all(parts=None, by_inputs=False):
    """Kernels whatever the size, in poisoned memory; cut into so many parts, as on a machine with more cores.

    ``by_inputs``: layers with more inputs than examples are divided by inputs, as only large ones are otherwise.
    """
    with contextlib.ExitStack() as stack:
        for module in (cpu, dense_layers, conv_blocks, images):
            stack.enter_context(mock.patch.object(module, "ENOUGH", 1))
            if parts:
                stack.enter_context(mock.patch.object(module, "parts_of", lambda work: parts))
        if by_inputs:
            stack.enter_context(mock.patch.object(dense_layers, "WORTH", 1))
        stack.enter_context(mock.patch.object(Layers, "known", {}))  # plans for other settings
        conv_blocks.plan_of_block.cache_clear()
        conv_blocks.plan_of_convolution.cache_clear()
        stack.enter_context(mock.patch.object(Buffers, "take", poisoned))
        yield


def leaf(array, wanted=True):
    """A tensor of this very array: ``Tensor`` would make a copy, in the usual layout."""
    tensor = ta.Tensor(array, requires_grad=wanted)
    tensor.data = array
    return tensor


def run(which, op, arrays, needed, cotangent=None, **attributes):
    """[output, gradient of each input or None] of an operation, with kernels or without."""
    with ta.use_kernels(which):
        inputs = [leaf(a, wanted) for a, wanted in zip(arrays, needed)]
        y = apply(op, *inputs, **attributes)
        if any(needed):
            assert y._node.op is (TWINS[op] if which == "fast" else op)
            y.backward(cotangent)
    assert y.dtype == arrays[0].dtype
    return [y.numpy(), *(x.grad for x in inputs)]


def compare(op, arrays, needed=None, cotangent=None, floor=0.0, exact=False, **attributes):
    """The kernel's numbers against the definition's; ``floor``: the size of the terms that may cancel."""
    needed = needed or [array.dtype.kind == "f" for array in arrays]
    fast, plain = (run(which, op, arrays, needed, cotangent, **attributes) for which in ("fast", "reference"))
    alike(fast, plain, floor, exact)
    return fast


def alike(fast, plain, floor=0.0, exact=False):
    """Two lists of an output and gradients: the same, up to rounding or exactly."""
    for i, (ours, theirs) in enumerate(zip(fast, plain, strict=True)):
        assert (ours is None) == (theirs is None), f"gradient {i - 1}"
        if theirs is None:
            continue
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if exact:
            assert np.array_equal(ours, theirs, equal_nan=True), "output" if i == 0 else f"gradient {i - 1}"
        else:
            near(ours, theirs, floor)


def near(ours, theirs, floor=0.0, factor=1.0):
    """NaN and infinities in the same places, and all else near."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(theirs)
        assert np.array_equal(ours[~finite], theirs[~finite], equal_nan=True), "NaN or infinity elsewhere"
        assert np.isfinite(ours[finite]).all(), "NaN or infinity where there should be none"
    if finite.any():
        allowed = factor * NEAR[theirs.dtype] * max(np.abs(theirs[finite]).max(), floor)
        off = np.abs(ours[finite].astype(float) - theirs[finite]).max()
        assert off <= allowed, f"off by {off:.3g}, allowed {allowed:.3g}"


def stack_of(rng, N, widths, dtype, activations):
    """X, parameters and a cotangent; no relu is near its kink, where rounding alone would decide the gradient."""
    for _ in range(100):
        X = rng.normal(size=(N, widths[0]))
        parameters = []
        for I, O in zip(widths, widths[1:]):
            parameters += [rng.normal(size=(I, O)) / np.sqrt(I), rng.normal(size=O)]
        Y, least = X, np.inf
        for W, b, f in zip(parameters[::2], parameters[1::2], activations):
            Y = Y @ W + b
            if f == "relu":
                least = min(least, np.abs(Y).min())
                Y = np.maximum(Y, 0)
            elif f is not None:
                Y = np.tanh(Y) if f == "tanh" else 1 / (1 + np.exp(-Y))
        if least > 3e-6:
            break
    return [a.astype(dtype) for a in (X, *parameters)], rng.normal(size=Y.shape).astype(dtype)


def with_odd_places(rng, array, values):
    array = array.copy()
    for value in values:
        array.reshape(-1)[rng.integers(array.size)] = value
    return array


def spread_out(rng, shape):
    """Numbers of all sizes from 1e-6 to 100, with both signs."""
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 2, size=shape)


def strided(array):
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy
