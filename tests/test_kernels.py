"""Every kernel against the operation it stands for, which is its definition.

The kernels are made to take the smallest shapes here, and the memory they are given is full of NaN, so that nothing is
right by chance. How near is near: float64 has 2e-16, and a sum of K products of numbers of size 1 may be off by the root
of K times that, after four layers some times more: 1e-12 leaves room for K = 1000. float32 has 6e-8, so 1e-5. Both are
relative to the largest entry, or to the terms that a sum is made of, where these can cancel.
"""

from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae import losses, ops
from tinyae.apply import apply
from tinyae.kernels import cpu
from tinyae.kernels.cpu import TWINS

from . import test_kernels_data, test_kernels_optim
from .twins import (
    ACTIVATIONS,
    TYPES,
    compare,
    kernels_for_all,
    leaf,
    near,
    read_only,
    run,
    spread_out,
    stack_of,
    strided,
    with_odd_places,
)

# ---------------------------------------------------------------- elementwise, and losses


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


def test_a_label_that_no_output_stands_for_is_left_to_the_definition(rng, everywhere):
    Z = rng.normal(size=(6, 4))
    for wrong in (4, -5):
        labels = np.array([0, 1, 2, 3, 0, wrong])
        with pytest.raises(IndexError):
            apply(losses.CrossEntropy, ta.Tensor(Z), labels, reduction="mean")


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


# ---------------------------------------------------------------- every kernel is here

FUNCTIONS = {
    "philox": test_kernels_data.test_philox_to_the_last_bit,
    "take": test_kernels_data.test_take_is_indexing,
}
IMAGES = [ops.Conv2D, ops.Conv2DTranspose, ops.ConvBlock, ops.MaxPool2D, ops.UpsampleNearest]  # test_kernels_images.py


def test_every_kernel_has_a_case():
    tested = {type(make([ta.Tensor([1.0], requires_grad=True)])) for make in test_kernels_optim.OPTIMIZERS.values()}
    assert {ops.Dense, ops.Affine, ops.MatMul, *PLAIN, *IMAGES, *tested, *FUNCTIONS} == set(TWINS)


def test_a_twin_is_its_operation_but_for_the_way_it_computes():
    for of, twin in TWINS.items():
        if isinstance(twin, type):
            assert issubclass(twin, of) and (twin.name, twin.formula, twin.vjp) == (of.name, of.formula, of.vjp)
