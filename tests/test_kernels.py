"""Every kernel against the operation it stands for, which is its definition.

The kernels are made to take the smallest shapes here, and the memory they are given is full of NaN, so that nothing is
right by chance. How near is near: float64 has 2e-16, and a sum of K products of numbers of size 1 may be off by the root
of K times that, after four layers some times more: 1e-12 leaves room for K = 1000. float32 has 6e-8, so 1e-5. Both are
relative to the largest entry, or to the terms that a sum is made of, where these can cancel.
"""

import contextlib
import os
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinyae as ta
from tinyae import data as data_module
from tinyae import losses, ops, optim
from tinyae.apply import apply
from tinyae.backend import NUMPY
from tinyae.errors import RangeError
from tinyae.kernels import cpu, dense_layers
from tinyae.kernels.buffers import Buffers
from tinyae.kernels.cpu import TWINS
from tinyae.kernels.dense_layers import Layers
from tinyae.random import PURPOSES, Generator

NEAR = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}
TYPES = [np.float32, np.float64]
take_buffers = Buffers.take


def poisoned(self, shapes, dtype):
    """A buffer as it is handed out, but with nothing in it that could be right."""
    group = take_buffers(self, shapes, dtype)
    for array in group.arrays:
        array.fill(np.nan)
    return group


@contextlib.contextmanager
def kernels_for_all(parts=None, by_inputs=False):
    """Kernels whatever the size, in poisoned memory; cut into so many parts, as on a machine with more cores.

    ``by_inputs``: layers with more inputs than examples are divided by inputs, as only large ones are otherwise.
    """
    with contextlib.ExitStack() as stack:
        for module in (cpu, dense_layers):
            stack.enter_context(mock.patch.object(module, "ENOUGH", 1))
            if parts:
                stack.enter_context(mock.patch.object(module, "parts_of", lambda work: parts))
        if by_inputs:
            stack.enter_context(mock.patch.object(dense_layers, "WORTH", 1))
        stack.enter_context(mock.patch.object(Layers, "known", {}))  # plans for other settings
        stack.enter_context(mock.patch.object(Buffers, "take", poisoned))
        yield


@pytest.fixture
def everywhere():
    with kernels_for_all():
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
    for i, (ours, theirs) in enumerate(zip(fast, plain)):
        assert (ours is None) == (theirs is None), f"gradient {i - 1}"
        if theirs is None:
            continue
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if exact:
            assert np.array_equal(ours, theirs), f"{'output' if i == 0 else f'gradient {i - 1}'}"
        else:
            near(ours, theirs, floor)
    return fast


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


# ---------------------------------------------------------------- dense layers

ACTIVATIONS = [None, "relu", "sigmoid", "tanh"]


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


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.integers(1, 20), st.integers(1, 150)),
    st.lists(st.integers(1, 70), min_size=2, max_size=5),
    st.sampled_from(TYPES),
    st.sampled_from([None, 1, 2, 3, 7, 16]),
    st.booleans(),
    st.data(),
)
def test_dense_layers(N, widths, dtype, parts, by_inputs, data):
    """Random shapes, activations, frozen inputs and parameters, numbers of threads."""
    layers = len(widths) - 1
    activations = tuple(data.draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=layers, max_size=layers)))
    needed = data.draw(st.lists(st.booleans(), min_size=2 * layers + 1, max_size=2 * layers + 1))
    needed = needed if any(needed) else [True] * len(needed)
    arrays, cotangent = stack_of(np.random.default_rng(data.draw(st.integers(0, 99))), N, widths, dtype, activations)
    with kernels_for_all(parts, by_inputs):
        compare(ops.Dense, arrays, needed, cotangent, floor=1, activations=activations)


SHAPES = [
    (1, [1, 1]),
    (1, [40, 3]),
    (1, [300, 1, 300]),
    (2, [1, 5]),
    (3, [5, 1, 1, 5]),
    (64, [9, 9]),
    (65, [16, 8]),
    (129, [15, 17, 31, 33]),  # about the width of a register, and two
    (257, [7, 3, 5]),  # more than four blocks
    (10, [127, 4]),  # about the depth of a block of the inner axis
    (40, [128, 33]),
    (17, [129, 257, 2]),
    (5, [784, 20]),
    (3, [256, 128]),  # from here on layers that are divided by inputs
    (4, [100, 300, 200]),
    (20, [8, 256, 256]),  # above a layer with fewer inputs than examples
    (50, [200, 10, 300, 300, 7]),
    (32, [784, 128, 2, 300, 784]),
]


@pytest.mark.parametrize("parts", [1, 2, 16])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("N, widths", SHAPES, ids=str)
def test_dense_layers_at_the_edges(N, widths, dtype, parts, rng):
    activations = tuple(ACTIVATIONS[(l + N) % 4] for l in range(len(widths) - 1))
    arrays, cotangent = stack_of(rng, N, widths, dtype, activations)
    with kernels_for_all(parts):
        compare(ops.Dense, arrays, None, cotangent, floor=1, activations=activations)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("f", [None, "relu"])
def test_dense_layers_are_exact_on_whole_numbers(dtype, f, parts, rng):
    """Small whole numbers and their sums are exact in any order, so every bit must agree, at the kink of relu too."""
    for N, widths in [(1, [9, 1]), (33, [40, 7, 18]), (70, [20, 33, 5]), (4, [200, 130])]:
        arrays = [rng.integers(-2, 3, size=(N, widths[0])).astype(dtype)]
        for I, O in zip(widths, widths[1:]):
            arrays += [rng.integers(-1, 2, size=(I, O)).astype(dtype), rng.integers(-3, 4, size=O).astype(dtype)]
        cotangent = rng.integers(-2, 3, size=(N, widths[-1])).astype(dtype)
        with kernels_for_all(parts):
            compare(ops.Dense, arrays, None, cotangent, exact=True, activations=(f,) * (len(widths) - 1))


@pytest.mark.parametrize("frozen", ["all but a bias", "first layers", "all but X", "middle", "all but the last bias"])
@pytest.mark.parametrize("parts", [1, 4])
def test_frozen_layers_get_no_gradients(frozen, parts, rng):
    widths, activations = [30, 20, 200, 150, 12], ("relu", "tanh", None, "sigmoid")
    needed = {
        "all but a bias": [False] * 4 + [True] + [False] * 4,
        "first layers": [False] * 5 + [True] * 4,
        "all but X": [True] + [False] * 8,
        "middle": [False] * 3 + [True] * 2 + [False] * 4,
        "all but the last bias": [False] * 8 + [True],
    }[frozen]
    for N in (5, 40):
        arrays, cotangent = stack_of(rng, N, widths, np.float64, activations)
        with kernels_for_all(parts):
            compare(ops.Dense, arrays, needed, cotangent, floor=1, activations=activations)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_layer_and_a_product(dtype, rng, everywhere):
    for N, I, O in [(1, 1, 1), (1, 7, 40), (33, 20, 9), (100, 4, 50), (5, 300, 17)]:
        (X, W, b), cotangent = stack_of(rng, N, [I, O], dtype, [None])
        for needed in ([True] * 3, [False, True, False], [False, False, True], [True, False, False]):
            compare(ops.Affine, [X, W, b], needed, cotangent, floor=1)
        for needed in ([True, True], [False, True], [True, False]):
            compare(ops.MatMul, [X, W], needed, cotangent, floor=1)


def test_one_matrix_as_both_factors(rng, everywhere):
    x = rng.normal(size=(20, 20))
    found = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            X = ta.Tensor(x, requires_grad=True)
            (X @ X @ X).sum().backward()
            found.append(X.grad)
    near(*found, floor=10)


def test_layers_that_are_told_apart(rng, everywhere):
    """One weight with another bias, activation or successor is another row of layers; and so is one that was replaced."""
    W, V, b, c = (ta.Tensor(rng.normal(size=s)) for s in [(6, 6), (6, 6), (6,), (6,)])
    x = ta.Tensor(rng.normal(size=(5, 6)))
    for _ in range(2):
        for parameters, f in [
            ((W, b), ("relu",)),
            ((W, c), ("relu",)),
            ((W, b), ("tanh",)),
            ((W, b, V, c), ("relu", None)),
            ((W, b, W, b), ("relu", None)),
        ]:
            y = apply(ops.Dense, x, *parameters, activations=f)
            with ta.use_kernels("reference"):
                near(y.numpy(), apply(ops.Dense, x, *parameters, activations=f).numpy(), 1)
        W.data = rng.normal(size=(6, 6))


def test_inputs_of_many_sizes(rng, everywhere):
    """What is remembered for each batch size is forgotten and made anew."""
    with mock.patch.object(dense_layers, "PLANS", 3):
        layer = ta.Dense(7, 5, "tanh").astype("float64")
        for N in (*range(1, 20), *range(1, 20)):
            x = rng.normal(size=(N, 7))
            with ta.use_kernels("reference"):
                expected = layer(ta.Tensor(x)).numpy()
            near(layer(ta.Tensor(x)).numpy(), expected, 1)


# ---------------------------------------------------------------- elementwise, and losses


def spread_out(rng, shape):
    """Numbers of all sizes from 1e-6 to 100, with both signs."""
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 2, size=shape)


def labels(rng, Z):
    return rng.integers(0, Z.shape[1], len(Z))


SHAPES_OF_ANY_RANK = [(), (1,), (7,), (513,), (1, 1), (3, 5), (1, 40), (40, 1), (2, 3, 4, 5), (9, 1000), (64, 64)]
MATRICES = [shape for shape in SHAPES_OF_ANY_RANK if len(shape) == 2] + [(300, 3), (2, 2000)]
REDUCTIONS = [{"reduction": "mean"}, {"reduction": "sum"}]

# operation -> (what makes the inputs of a shape, shapes, attributes)
PLAIN = {
    ops.ReLU: (lambda r, s: [spread_out(r, s)], SHAPES_OF_ANY_RANK, [{}]),
    ops.Sigmoid: (lambda r, s: [spread_out(r, s)], SHAPES_OF_ANY_RANK, [{}]),
    ops.Tanh: (lambda r, s: [spread_out(r, s)], SHAPES_OF_ANY_RANK, [{}]),
    ops.Softmax: (lambda r, s: [spread_out(r, s)], MATRICES, [{"axis": 1}, {"axis": -1}]),
    losses.MSE: (lambda r, s: [spread_out(r, s), spread_out(r, s)], SHAPES_OF_ANY_RANK, REDUCTIONS),
    losses.BCEWithLogits: (lambda r, s: [spread_out(r, s), r.random(s)], SHAPES_OF_ANY_RANK, REDUCTIONS),
    losses.CrossEntropy: (lambda r, s: [z := spread_out(r, s), labels(r, z)], MATRICES, REDUCTIONS),
}
LOSSES = [losses.MSE, losses.BCEWithLogits, losses.CrossEntropy]


def floor_of(op, arrays, attributes):
    """The terms that a gradient is the difference of: for a loss 1, divided by how many the mean is over."""
    if op not in LOSSES:
        return 1.0
    terms = len(arrays[0]) if op is losses.CrossEntropy else arrays[0].size
    return 1 / terms if attributes["reduction"] == "mean" else 1.0


def made(op, rng, shape, dtype):
    """Inputs of an operation: labels as they are, all else of the type."""
    return [np.asarray(a, None if np.asarray(a).dtype.kind == "i" else dtype) for a in PLAIN[op][0](rng, shape)]


@pytest.mark.parametrize("parts", [None, 1, 5])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_activations_and_losses(op, dtype, parts, rng):
    _, shapes, attributes = PLAIN[op]
    with kernels_for_all(parts):
        for shape in shapes:
            for told in attributes:
                arrays = made(op, rng, shape, dtype)
                for cotangent in [rng.normal(size=() if op in LOSSES else shape), *([1.0] if op in LOSSES else [])]:
                    compare(op, arrays, cotangent=cotangent, floor=floor_of(op, arrays, told), **told)


@pytest.mark.parametrize("op", [losses.MSE, losses.BCEWithLogits], ids=lambda op: op.name)
def test_a_target_or_a_prediction_alone_wants_a_gradient(op, rng, everywhere):
    arrays = made(op, rng, (6, 5), np.float64)
    for needed in ([True, False], [False, True]):
        for cotangent in (1.0, -0.3):
            compare(op, arrays, needed, cotangent, floor=1 / 30, reduction="mean")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint64])
def test_labels_of_every_integer_type(kind, rng, everywhere):
    Z = rng.normal(size=(30, 7))
    compare(losses.CrossEntropy, [Z, labels(rng, Z).astype(kind)], [True, False], 1.0, reduction="mean")


@pytest.mark.parametrize("dtype", TYPES)
def test_logits_of_every_size(dtype, rng, everywhere):
    """Nothing overflows, and what is nearly 0 or 1 keeps its meaning."""
    sizes = np.array([0, 1e-30, 1e-8, 0.5, 1, 10, 50, 86, 88, 89, 103, 104, 700, 709, 710, 745, 1e4, 1e30])
    Z = np.concatenate([sizes, -sizes]).astype(dtype)
    grid = np.array([[a, b, 0] for a in Z for b in Z], dtype)
    for op in (ops.ReLU, ops.Sigmoid, ops.Tanh):
        compare(op, [Z], cotangent=np.ones_like(Z), floor=1)
    compare(ops.Softmax, [grid], cotangent=rng.normal(size=grid.shape), floor=1, axis=1)
    for T in (0, 0.3, 1):
        compare(losses.BCEWithLogits, [Z, np.full_like(Z, T)], [True, False], 1.0, reduction="sum", floor=1)
    for i in range(0, len(grid), 36):  # small groups: in a sum with 1e30 the rest would not be seen
        for t in range(3):
            rows = grid[i : i + 36]
            compare(losses.CrossEntropy, [rows, np.full(36, t)], [True, False], 1.0, reduction="sum", floor=1)
    for z in Z:
        for op in (ops.Sigmoid, ops.Tanh):  # each by itself: e**-80 is as good as 0.5; below, float32 counts as 0
            fast, plain = (run(which, op, [np.array([z])], [False])[0] for which in ("fast", "reference"))
            near(fast, plain, floor=1e-32 if dtype == np.float32 else 1e-290)


@pytest.mark.parametrize("size", [1, 50, 1e3, 12345.678, 1e6])
def test_cross_entropy_of_large_logits_that_are_alike_keeps_its_digits(size, everywhere):
    """ln 2, however large the two logits are: their size must not be added to it before it is taken away."""
    Z = np.array([[size, size], [-size, -size]], np.float32)
    L = ta.cross_entropy(ta.Tensor(Z, requires_grad=True), np.array([0, 1]))
    assert L._node.op is cpu.CrossEntropy and abs(L.item() - np.log(2)) < 1e-6


# ---------------------------------------------------------------- NaN, infinities, and the smallest numbers


def with_odd_places(rng, array, values):
    array = array.copy()
    for value in values:
        array.reshape(-1)[rng.integers(array.size)] = value
    return array


def tame(arrays):
    """No e**-90: it is nothing to a kernel and a little to NumPy, and infinity times it is NaN or infinity."""
    return [np.clip(array, -20, 20) for array in arrays]


ODD = [[np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf, np.inf]]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_and_infinity(op, dtype, rng, everywhere):
    for values in ODD:
        for shape in [(4, 6), (1, 33)]:
            for which in range(2 if op in (losses.MSE, losses.BCEWithLogits) else 1):
                for told in PLAIN[op][2]:
                    arrays = tame(made(op, rng, shape, dtype))
                    arrays[which] = with_odd_places(rng, arrays[which], values)
                    cotangent = 1.0 if op in LOSSES else rng.normal(size=shape)
                    compare(op, arrays, cotangent=cotangent, floor=1, **told)
            if op not in LOSSES:
                arrays, told = tame(made(op, rng, shape, dtype)), PLAIN[op][2][0]
                compare(op, arrays, cotangent=with_odd_places(rng, rng.normal(size=shape), values), floor=1, **told)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", range(6))
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_nan_and_infinity_in_dense_layers(place, dtype, rng):
    """In X, in each parameter, and in the cotangent; the wholes of rows and columns that they reach are the same."""
    for parts in (1, 3):
        for f in ACTIVATIONS:
            for values in ODD:
                for N, widths in [(5, [7, 18, 3]), (40, [9, 5, 17]), (3, [100, 200, 4])]:
                    arrays, cotangent = stack_of(rng, N, widths, dtype, (f, "tanh"))
                    every = [*arrays, cotangent]
                    every[place] = with_odd_places(rng, every[place], values)
                    *arrays, cotangent = every
                    with kernels_for_all(parts):
                        compare(ops.Dense, arrays, None, cotangent, floor=1, activations=(f, "tanh"))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_smallest_numbers(dtype, rng, everywhere):
    """Numbers too small for all their digits may count as 0; nothing else may come of them."""
    tiny = np.finfo(dtype).tiny
    for size in (tiny / 1000, tiny / 4, tiny, 4 * tiny):
        X, W, b = (
            (size * rng.normal(size=(6, 9))).astype(dtype),
            rng.normal(size=(9, 4)).astype(dtype),
            np.zeros(4, dtype),
        )
        for f in ACTIVATIONS:
            fast, plain = (
                run(which, ops.Dense, [X, W, b], [True] * 3, np.full((6, 4), size), activations=(f,))
                for which in ("fast", "reference")
            )
            for ours, theirs in zip(fast, plain):
                assert np.isfinite(ours).all() and np.abs(ours - theirs).max() <= 100 * tiny
        for op in (ops.ReLU, ops.Sigmoid, ops.Tanh):
            compare(op, [X], cotangent=np.ones_like(X), floor=1)


def test_relu_lets_nan_through_and_has_no_slope_at_zero(everywhere):
    x = ta.Tensor([[np.nan, 0.0, -0.0, -1.0, np.inf, -np.inf]], requires_grad=True)
    y = ta.relu(x)
    y.sum().backward()
    assert y._node is None or y._node.op is cpu.ReLU
    assert np.array_equal(y.numpy(), [[np.nan, 0, 0, 0, np.inf, 0]], equal_nan=True)
    assert np.array_equal(x.grad, [[0, 0, 0, 0, 1, 0]])


# ---------------------------------------------------------------- layouts, and what a kernel has not


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def strided(array):
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def reversed_rows(array):
    return array[::-1].copy()[::-1]


def stretched(array):
    """One row for all, of no memory of their own."""
    return np.broadcast_to(array[:1].copy(), array.shape)


LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "reversed": reversed_rows,
    "unaligned": unaligned,
    "stretched": stretched,
    "read-only": read_only,
    "of another's type object": lambda a: a.astype(np.dtype(a.dtype.str, copy=True)),
}
TAKEN = ("read-only", "of another's type object")  # layouts that kernels take


def backward_of(op, saved, cotangent, needed):
    return op.backward(np, saved, cotangent, needed) if op.selective else op.backward(np, saved, cotangent)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", [ops.Dense, ops.Affine, ops.MatMul, *PLAIN], ids=lambda op: op.name)
def test_layouts_of_inputs(op, layout, rng, everywhere):
    """Each input in turn comes in another layout: the definition computes it, or the kernel, and rightly."""
    if op in PLAIN:
        arrays, told = made(op, rng, (6, 8), np.float32), PLAIN[op][2][0]
    else:
        arrays, told = stack_of(rng, 6, [8, 8], np.float32, [None])[0], {}
        arrays = arrays[:2] if op is ops.MatMul else arrays
        told = {"activations": ("tanh",)} if op is ops.Dense else {}
    cotangent = rng.normal(size=()) if op in LOSSES else rng.normal(size=(6, 8))
    for i, array in enumerate(arrays):
        if array.dtype.kind != "f" or (array.ndim < 2 and layout in ("transposed", "Fortran")):
            continue
        other = [*arrays[:i], LAYOUTS[layout](array), *arrays[i + 1 :]]
        found = []
        for which in ("fast", "reference"):
            with ta.use_kernels(which):
                inputs = [leaf(a, a.dtype.kind == "f") for a in other]
                y = apply(op, *inputs, **told)
                if which == "fast":
                    assert y._node.op is (TWINS[op] if layout in TAKEN else op)
                y.backward(cotangent)
                found.append([y.numpy(), *(x.grad for x in inputs if x.grad is not None)])
        for ours, theirs in zip(*found):
            near(ours, theirs, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", [ops.Dense, ops.ReLU, ops.Sigmoid, ops.Tanh, ops.Softmax], ids=lambda op: op.name)
def test_layouts_of_cotangents(op, layout, rng, everywhere):
    arrays, told = stack_of(rng, 6, [8, 8], np.float64, [None])[0], {"activations": ("tanh",)}
    if op is not ops.Dense:
        arrays, told = made(op, rng, (6, 8), np.float64), PLAIN[op][2][0]
    cotangent = LAYOUTS[layout](rng.normal(size=(6, 8)))
    found = []
    for implementation in (TWINS[op], op):
        saved = []
        implementation.forward(np, lambda *values, saved=saved: saved.extend(values), *arrays, **told)
        gradients = backward_of(implementation, saved, cotangent, [True] * 3)
        found.append(gradients if isinstance(gradients, tuple) else (gradients,))
    for ours, theirs in zip(*found):
        near(ours, theirs, 1)


def test_the_gradient_of_a_sum_which_has_no_memory_of_its_own(rng, everywhere):
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            layer = ta.Dense(5, 4, "sigmoid").astype("float64")
            layer.weight.data[...], layer.bias.data[...] = np.arange(20).reshape(5, 4) / 20, 0.1
            layer(ta.Tensor(np.linspace(-1, 1, 15).reshape(3, 5))).sum().backward()
            if which == "fast":
                fast = layer.weight.grad, layer.bias.grad
    near(fast[0], layer.weight.grad), near(fast[1], layer.bias.grad)


def test_what_no_kernel_takes_is_computed_as_defined(rng, everywhere):
    """Other ranks, axes and reductions: the operation itself runs, and the numbers are those of NumPy."""
    cube, other = rng.normal(size=(3, 4, 5)), rng.normal(size=(5, 6))
    Z = rng.normal(size=(6, 5))

    def plain(op, *arrays, **told):
        inputs = [leaf(a, a.dtype.kind == "f") for a in arrays]
        y = apply(op, *inputs, **told)
        assert y._node.op is op
        y.backward(np.ones(y.shape))
        return y.numpy()

    assert np.allclose(plain(ops.MatMul, cube, other), cube @ other)
    assert np.allclose(plain(ops.MatMul, other[:, 0].copy(), other), other[:, 0] @ other)
    assert np.allclose(plain(ops.MatMul, other, other[0].copy()), other @ other[0])
    assert np.allclose(plain(ops.Softmax, Z, axis=0).sum(axis=0), 1)
    assert np.allclose(plain(ops.Softmax, cube, axis=-1).sum(axis=-1), 1)
    T = rng.random((6, 5))
    assert np.allclose(plain(losses.MSE, Z, T, reduction="none"), (Z - T) ** 2)
    assert np.allclose(plain(losses.BCEWithLogits, Z, T, reduction="none"), np.log(1 + np.exp(Z)) - Z * T)
    expected = -np.log(np.exp(Z)[np.arange(6), 0] / np.exp(Z).sum(axis=1))
    assert np.allclose(plain(losses.CrossEntropy, Z, np.zeros(6, int), reduction="none"), expected)


def test_other_types_are_what_they_were(rng, everywhere):
    """float16 is refused, integers become float32, two float types do not mix: with kernels as without."""
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            with pytest.raises(TypeError, match="float16"):
                ta.relu(np.ones((4, 4), np.float16))
            with pytest.raises(TypeError, match="different float types"):
                ta.Tensor(np.ones((3, 3), np.float32)) @ ta.Tensor(np.ones((3, 3), np.float64))
            with pytest.raises(TypeError, match="different float types"):
                ta.functional.dense(ta.Tensor(np.ones((3, 3))), *ta.Dense(3, 2).parameters(), "relu")
            whole = ta.Tensor(np.arange(-4, 5).reshape(3, 3))
            assert ta.relu(whole).sum().item() == 10
            assert np.array_equal(
                (whole @ whole).numpy(), np.arange(-4, 5).reshape(3, 3) @ np.arange(-4, 5).reshape(3, 3)
            )
            y = ta.functional.dense(whole, *ta.Dense(3, 2).parameters(), "tanh")
            assert y.dtype == np.float32 and np.isfinite(y.numpy()).all()
            with pytest.raises(ValueError, match="3"):
                ta.functional.affine(ta.Tensor(np.ones((2, 3))), ta.Tensor(np.ones((4, 2))), ta.Tensor(np.ones(2)))
            with pytest.raises(ValueError, match="b"):
                ta.functional.dense(ta.Tensor(np.ones((2, 3))), ta.Tensor(np.ones((3, 2))), ta.Tensor(np.ones(3)))


def test_small_arrays_are_left_to_numpy():
    x = ta.Tensor(np.ones((10, 10)), requires_grad=True)
    assert ta.relu(x)._node.op is ops.ReLU and (x @ x)._node.op is ops.MatMul
    x = ta.Tensor(np.ones((100, 100)), requires_grad=True)
    assert ta.relu(x)._node.op is cpu.ReLU and (x @ x)._node.op is cpu.MatMul


def test_without_a_tape_the_kernel_runs_too(rng, everywhere):
    x = ta.Tensor(rng.normal(size=(5, 4)))
    with ta.no_grad(), mock.patch.object(cpu.Dense, "forward", side_effect=cpu.Dense.forward) as forward:
        y = ta.Dense(4, 3, "relu").astype("float64")(x)
    assert forward.called and y._node is None


# ---------------------------------------------------------------- optimizers

OPTIMIZERS = {
    "gd": lambda p: ta.GradientDescent(p, 0.05),
    "sgd": lambda p: ta.SGD(p, 0.05),
    "sgd, decay": lambda p: ta.SGD(p, 0.05, weight_decay=0.03),
    "momentum": lambda p: ta.Momentum(p, 0.02, 0.9),
    "momentum, decay": lambda p: ta.Momentum(p, 0.02, 0.7, weight_decay=0.03),
    "nesterov": lambda p: ta.Momentum(p, 0.02, 0.9, nesterov=True),
    "nesterov, decay": lambda p: ta.Momentum(p, 0.02, 0.9, nesterov=True, weight_decay=0.03),
    "adagrad": lambda p: ta.AdaGrad(p, 0.1),
    "rmsprop": lambda p: ta.RMSProp(p, 0.01),
    "rmsprop 0.99": lambda p: ta.RMSProp(p, 0.01, 0.99, eps=1e-3),
    "adam": lambda p: ta.Adam(p, 0.02),
    "adam, decoupled decay": lambda p: ta.Adam(p, 0.02, (0.8, 0.95), 1e-4, weight_decay=0.1),
}


def train(which, make, dtype, steps=60, disturb=lambda step, tensors, optimizer: None):
    """The parameters after so many steps down a crooked slope; some get no gradient in some steps."""
    rng = np.random.default_rng(3)
    shapes = [(7, 5), (1,), (), (3, 4, 5), (1, 1), (40, 9), (33,), (17, 1), (1, 17)]
    tensors = [ta.Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype) for shape in shapes]
    targets = [rng.normal(size=shape) for shape in shapes]
    calls = []

    def counted(optimizer, pairs):
        calls.append(cpu.update_all(optimizer, pairs))
        return calls[-1]

    with ta.use_kernels(which), kernels_for_all(), mock.patch.dict(TWINS, dict.fromkeys(OPTIMIZER_CLASSES, counted)):
        optimizer = make(tensors)
        for step in range(steps):
            for i, (tensor, target) in enumerate(zip(tensors, targets)):
                missing = (step + i) % 7 == 0
                g = np.sin(3 * tensor.data) + tensor.data - target + 0.1 * rng.normal(size=tensor.shape)
                tensor.grad = None if missing else np.asarray(g, tensor.dtype)
            disturb(step, tensors, optimizer)
            optimizer.step()
    assert calls == [] if which == "reference" else len(calls) == steps
    return [tensor.data for tensor in tensors], calls


OPTIMIZER_CLASSES = [key for key in TWINS if isinstance(key, type) and issubclass(key, optim.Optimizer)]


def agree(make, dtype, **options):
    """Both ways, compared; how often the kernel took the step."""
    (fast, calls), (plain, _) = (train(which, make, dtype, **options) for which in ("fast", "reference"))
    for ours, theirs in zip(fast, plain):
        assert np.isfinite(theirs).all()
        near(ours, theirs, 1)
    return sum(calls)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype):
    """60 steps of many shapes. Adding up steps adds up roundings, but all steps shrink towards a minimum."""
    assert agree(OPTIMIZERS[name], dtype) == 60


@pytest.mark.parametrize("parts", [1, 4])
def test_optimizers_in_parts(parts, rng):
    values, g = rng.normal(size=(21, 5)), rng.normal(size=(21, 5))
    for make in OPTIMIZERS.values():
        found = []
        for which in ("fast", "reference"):
            with ta.use_kernels(which), kernels_for_all(parts):
                w = ta.Tensor(values, requires_grad=True)
                optimizer = make([w])
                for _ in range(3):
                    w.grad = g.copy()
                    optimizer.step()
                found.append(w.data)
        near(*found)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
def test_an_optimizer_notices_that_arrays_were_replaced(name):
    """State loaded, weights replaced, another learning rate: the kernel asks for the new places."""

    def disturb(step, tensors, optimizer):
        if step == 20:
            optimizer.load_state_dict(optimizer.state_dict())
        if step == 30:
            tensors[0].data = tensors[0].data * 0.5
        if step == 35:
            optimizer.restore(optimizer.snapshot())
        if step == 40:
            optimizer.lr = 0.001

    assert agree(OPTIMIZERS[name], np.float64, disturb=disturb) == 60


@pytest.mark.parametrize("name", ["sgd, decay", "momentum", "adam"])
def test_gradients_in_other_layouts_are_left_to_the_definition(name):
    def disturb(step, tensors, optimizer):
        if step % 3 == 0 and tensors[0].grad is not None:
            tensors[0].grad = np.asfortranarray(tensors[0].grad)
        if step % 5 == 0 and tensors[5].grad is not None:
            tensors[5].grad = strided(tensors[5].grad)

    assert 0 < agree(OPTIMIZERS[name], np.float64, disturb=disturb) < 60


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_that_changes_its_type_between_steps(name):
    def disturb(step, tensors, optimizer):
        if step == 10:
            for tensor in tensors:
                tensor.data = tensor.data.astype(np.float64)
                tensor.grad = None if tensor.grad is None else tensor.grad.astype(np.float64)

    (fast, calls), (plain, _) = (
        train(which, OPTIMIZERS[name], np.float32, disturb=disturb) for which in ("fast", "reference")
    )
    for ours, theirs in zip(fast, plain):
        assert ours.dtype == np.float64
        near(ours, theirs, 1, factor=NEAR[np.dtype(np.float32)] / NEAR[np.dtype(np.float64)])  # the first ten steps
    assert sum(calls) == 60


def test_parameters_of_two_types_in_one_optimizer(rng, everywhere):
    a, b = ta.Tensor(rng.normal(size=(9, 9)), requires_grad=True), ta.Tensor(np.ones(9, np.float32), requires_grad=True)
    optimizer = ta.Adam([a, b], 0.1)
    before = a.numpy().copy()
    a.grad, b.grad = np.ones((9, 9)), np.ones(9, np.float32)
    optimizer.step()
    assert np.allclose(a.numpy(), before - 0.1) and np.allclose(b.numpy(), 0.9)


def test_a_shared_parameter(rng, everywhere):
    """Used in two layers, its gradients are summed, and it makes one step."""
    found = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            ta.manual_seed(0)
            first, second = ta.Dense(6, 6, "tanh").astype("float64"), ta.Dense(6, 6, "sigmoid").astype("float64")
            second.weight = first.weight
            model = ta.Sequential(first, second)
            optimizer = ta.Adam(model.parameters(), 0.05)
            x = ta.Tensor(np.linspace(-1, 1, 48).reshape(8, 6))
            for _ in range(20):
                optimizer.zero_grad()
                ta.mse_loss(model(x), x).backward()
                optimizer.step()
            found.append(np.concatenate([p.data.ravel() for p in model.parameters()]))
    near(*found, floor=1)


def test_a_read_only_parameter_is_refused_as_before(rng, everywhere):
    """A kernel works on addresses: it must not write where NumPy may not (memory that is mapped read-only ends the program)."""
    w = leaf(read_only(rng.normal(size=(9, 9))))
    before = w.data.copy()
    for make in OPTIMIZERS.values():
        optimizer = make([w])
        w.grad = np.ones((9, 9))
        with pytest.raises(ValueError, match="read-only"):
            optimizer.step()
        assert np.array_equal(w.data, before)


def test_tiny_gradients_do_not_make_subnormal_state(everywhere):
    """Running means that die away end at 0, and never hurt the parameter."""
    w = ta.Tensor(np.ones((8, 8), np.float32), requires_grad=True)
    optimizer = ta.Adam([w], 1e-3)
    for step in range(1200):
        w.grad = np.full((8, 8), 1.0 if step == 0 else 0.0, np.float32)
        optimizer.step()
    assert (optimizer.state[0]["m"] == 0).all() and np.isfinite(w.numpy()).all()


# ---------------------------------------------------------------- a whole training


@pytest.mark.parametrize("dtype, allowed", [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_hundred_steps_of_a_deep_model(dtype, allowed, loss, rng):
    """Small differences grow in training, so the bounds are wider: they are on the weights, relative to the largest."""
    x = mnist_or_noise(rng)
    found = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            ta.manual_seed(5)
            model = ta.Autoencoder(
                ta.Sequential(ta.Dense(784, 128, "relu"), ta.Dense(128, 64, "relu"), ta.Dense(64, 32)),
                ta.Sequential(ta.Dense(32, 64, "relu"), ta.Dense(64, 128, "relu"), ta.Dense(128, 784, "sigmoid")),
            ).astype(np.dtype(dtype).name)
            optimizer = ta.Adam(model.parameters(), 1e-3)
            values = []
            for batch in list(ta.batches(x, 32, dtype=dtype))[:100]:
                optimizer.zero_grad()
                if loss == "mse":
                    L = ta.mse_loss(model(batch), batch)
                else:
                    L = ta.bce_with_logits_loss(model.before_sigmoid(batch), batch)
                L.backward()
                optimizer.step()
                values.append(L.item())
            assert values[-1] < 0.8 * values[0]
            found.append([p.data for p in model.parameters()])
    for ours, theirs in zip(*found):
        assert np.abs(ours - theirs).max() <= allowed * np.abs(theirs).max()


def mnist_or_noise(rng):
    """3200 images: MNIST's first if the files are here, else blobs."""
    if os.environ.get("TINYAE_DATA"):
        (x, _), _ = ta.datasets.load_mnist()
        return x[:3200].reshape(3200, 784).astype(np.float64)
    centres = rng.random((10, 784))
    return np.clip(centres[rng.integers(10, size=3200)] + 0.1 * rng.normal(size=(3200, 784)), 0, 1)


# ---------------------------------------------------------------- random numbers, batches, data sets


def test_philox_to_the_last_bit(everywhere):
    seeds = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64 + 5)
    steps = (0, 1, 2**32 - 1, 2**32, 2**40 + 3)
    for seed in seeds:
        for step in steps:
            for purpose in PURPOSES:
                for start, size in ((0, 1), (0, 4), (4, 7), (400, 33), (2**34, 9), (2**33 - 8, 40)):
                    fast = Generator(seed).bits(size, purpose, step, start=start)
                    with ta.use_kernels("reference"):
                        plain = Generator(seed).bits(size, purpose, step, start=start)
                    assert fast.dtype == plain.dtype and np.array_equal(fast, plain), (seed, step, purpose, start, size)


def test_draws_are_the_same_with_and_without_kernels():
    for draw in (
        lambda g: g.uniform((100, 200), "dropout"),
        lambda g: g.normal((101, 101), "noise"),
        lambda g: g.permutation(10007),
    ):
        fast = draw(Generator(7))
        with ta.use_kernels("reference"):
            assert np.array_equal(fast, draw(Generator(7)))


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (50, 7), (20, 3, 5, 1), (9, 2000)])
def test_take_is_indexing(source, target, shape, rng, everywhere):
    data = with_odd_places(rng, rng.normal(size=shape).astype(source), [np.nan, np.inf])
    for size in (1, 2, 30):
        index = rng.integers(0, shape[0], size)
        ours = cpu.take(data, index, np.dtype(target))
        assert ours.dtype == target and np.array_equal(ours, data[index].astype(target), equal_nan=True)
        tensor = data_module.take(data, index, NUMPY, np.dtype(target))
        assert np.array_equal(tensor.numpy(), ours, equal_nan=True)


def test_take_has_no_kernel_for_other_data(rng, everywhere):
    index = np.array([2, 0])
    for data in (
        np.arange(12).reshape(3, 4),
        np.asfortranarray(rng.normal(size=(3, 4))),
        rng.normal(size=3),
        rng.normal(size=(3, 4)).astype(np.float16),
    ):
        assert cpu.take(data, index, np.dtype(np.float32)) is None
        if data.dtype != np.float16:
            taken = data_module.take(data, index, NUMPY, np.dtype(np.float32))
            assert np.array_equal(taken.numpy(), data[index].astype(np.float32))
    data = rng.normal(size=(3, 4))
    assert cpu.take(data, index.astype(np.int32), np.dtype(np.float32)) is None


def test_batches_are_the_same_with_and_without_kernels(rng):
    x, y = rng.random((300, 40)), rng.integers(0, 5, 300)
    fast = [(a.numpy(), b.numpy()) for a, b in ta.batches(x, 128, y, seed=3)]
    with ta.use_kernels("reference"):
        plain = [(a.numpy(), b.numpy()) for a, b in ta.batches(x, 128, y, seed=3)]
    assert len(fast) == 3
    for (a, b), (c, d) in zip(fast, plain):
        assert np.array_equal(a, c) and np.array_equal(b, d) and a.dtype == c.dtype == np.float32


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("parts", [1, 3, 16])
def test_survey(dtype, parts, rng):
    with kernels_for_all(parts):
        for shape in [(1,), (5,), (63,), (64,), (65,), (7, 11), (1000,), (3, 5, 700)]:
            x = spread_out(rng, shape).astype(dtype)
            assert cpu.survey(x) == (x.min(), x.max())
            for odd in (np.nan, np.inf, -np.inf):
                assert cpu.survey(with_odd_places(rng, x, [odd])) is None
        for x in (np.array([np.finfo(dtype).max, np.finfo(dtype).min]), np.full(70, np.finfo(dtype).max)):
            assert cpu.survey(x.astype(dtype)) == (x.min(), x.max())
        assert cpu.survey(np.arange(5)) is None and cpu.survey(np.ones((4, 4)).T[::2]) is None


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("chunk", [1 << 24, 60])
def test_check_values_says_the_same(dtype, chunk, rng, everywhere, monkeypatch):
    """Answers and messages, also for a data set that is looked through in pieces."""
    monkeypatch.setattr(data_module, "CHUNK", chunk)
    good = rng.random((20, 3, 4)).astype(dtype)
    cases = [good, -good, good * 300, good + 0.1]
    for place in [(0, 0, 0), (19, 2, 3), (7, 1, 2)]:
        for value in (np.nan, np.inf, -np.inf, -0.5, 1.5, 1 + 9e-7, 1 + 2e-6, -9e-7, -2e-6):
            cases.append(good.copy())
            cases[-1][place] = value
    cases.append(with_odd_places(rng, good, [np.nan, np.inf, 3, 4, np.nan, -7]))
    for case in cases:
        for unit_interval in (True, False):
            answers = []
            for which in ("fast", "reference"):
                with ta.use_kernels(which):
                    try:
                        answers.append(data_module.check_values("fit", case, unit_interval))
                    except RangeError as error:
                        answers.append(str(error))
            assert answers[0] == answers[1]


# ---------------------------------------------------------------- every kernel is here

FUNCTIONS = {"philox": test_philox_to_the_last_bit, "take": test_take_is_indexing, "survey": test_survey}


def test_every_kernel_has_a_case():
    tested = {type(make([ta.Tensor([1.0], requires_grad=True)])) for make in OPTIMIZERS.values()}
    assert {ops.Dense, ops.Affine, ops.MatMul, *PLAIN, *tested, *FUNCTIONS} == set(TWINS)


def test_a_twin_is_its_operation_but_for_the_way_it_computes():
    for of, twin in TWINS.items():
        if isinstance(twin, type):
            assert issubclass(twin, of) and (twin.name, twin.formula, twin.vjp) == (of.name, of.formula, of.vjp)
