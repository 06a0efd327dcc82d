"""The GPU's activations and losses, on the emulated GPU, against the operations they stand for.

The kernels are the very text that a GPU is given; ``emulated_cuda`` runs it. How near is near is said in
``test_kernels.py``.
"""

import contextlib
from unittest import mock

import numpy as np
import pytest

from tinyae import losses, ops
from tinyae.apply import apply
from tinyae.errors import ShapeError
from tinyae.tensor import wrap

from .gpu_twins import ODD, compare, few_blocks, run
from .strict_device import DeviceArray, StrictBackend
from .twins import TYPES, spread_out, stack_of, with_odd_places

# ---------------------------------------------------------------- activations and losses

SHAPES = [(), (1,), (31,), (32,), (33,), (257,), (3, 5), (1, 1100), (2, 3, 4, 5), (33, 65)]
MATRICES = [(1, 1), (1, 31), (33, 32), (5, 33), (2, 257), (300, 3), (9, 1000)]
MEAN, SUM = {"reduction": "mean"}, {"reduction": "sum"}


def labels(rng, Z):
    return rng.integers(0, Z.shape[1], len(Z))


# operation -> (what makes the inputs of a shape, shapes, attributes)
PLAIN = {
    ops.ReLU: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.Sigmoid: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.Tanh: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.LeakyReLU: (lambda r, s: [spread_out(r, s)], SHAPES, [{"s": 0.1}, {"s": 0}]),
    ops.ELU: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.Softplus: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.GELU: (lambda r, s: [spread_out(r, s)], SHAPES, [{}]),
    ops.Softmax: (lambda r, s: [spread_out(r, s)], MATRICES, [{"axis": 1}, {"axis": -1}]),
    ops.LogSoftmax: (lambda r, s: [spread_out(r, s)], MATRICES, [{"axis": 1}, {"axis": -1}]),
    losses.MSE: (lambda r, s: [spread_out(r, s), spread_out(r, s)], SHAPES, [MEAN, SUM]),
    losses.BCEWithLogits: (lambda r, s: [spread_out(r, s), r.random(s)], SHAPES, [MEAN, SUM]),
    losses.BinaryCrossEntropy: (lambda r, s: [r.random(s), r.random(s)], SHAPES, [MEAN, SUM]),
    losses.CrossEntropy: (lambda r, s: [z := spread_out(r, s), labels(r, z)], MATRICES, [MEAN, SUM]),
    losses.GaussianKL: (lambda r, s: [r.normal(size=s), r.normal(size=s)], MATRICES, [MEAN, SUM]),
}
LOSSES = [losses.MSE, losses.BCEWithLogits, losses.BinaryCrossEntropy, losses.CrossEntropy, losses.GaussianKL]


def made(op, rng, shape, dtype):
    """Inputs of an operation: labels as they are, all else of the type."""
    return [np.asarray(a, None if np.asarray(a).dtype.kind == "i" else dtype) for a in PLAIN[op][0](rng, shape)]


def floor_of(op, arrays, attributes):
    """The terms that a gradient is the difference of: for a loss 1, divided by how many the mean is over."""
    if attributes.get("reduction") != "mean":
        return 1.0
    return 1 / (len(arrays[0]) if op in (losses.CrossEntropy, losses.GaussianKL) else arrays[0].size)


@pytest.mark.parametrize("blocks", [1024, 2])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_activations_and_losses(op, dtype, blocks, device, rng):
    _, shapes, attributes = PLAIN[op]
    with few_blocks(blocks):
        for shape in shapes:
            for told in attributes:
                arrays = made(op, rng, shape, dtype)
                cotangent = rng.normal(size=() if op in LOSSES else shape)
                compare(device, op, arrays, cotangent=cotangent, floor=floor_of(op, arrays, told), **told)


@pytest.mark.parametrize("dtype", TYPES)
def test_losses_of_more_blocks_than_a_block_has_threads(dtype, device, rng):
    """The block that adds up the others' sums has to go round."""
    compare(device, losses.MSE, [rng.normal(size=140_000).astype(dtype) for _ in "PT"], floor=1e-5, **MEAN)
    Z = rng.normal(size=(2100, 3)).astype(dtype)
    compare(device, losses.CrossEntropy, [Z, labels(rng, Z)], floor=1e-3, **MEAN)


@pytest.mark.parametrize("op", LOSSES[:3], ids=lambda op: op.name)
def test_a_target_or_a_prediction_alone_wants_a_gradient(op, device, rng):
    arrays = made(op, rng, (6, 5), np.float64)
    for needed in ([True, False], [False, True], [True, True]):
        for told in (MEAN, SUM):
            compare(device, op, arrays, needed, -0.3, **told)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_type(kind, device, rng):
    Z = rng.normal(size=(30, 7))
    compare(device, losses.CrossEntropy, [Z, labels(rng, Z).astype(kind)], cotangent=1.0, **MEAN)


def test_a_label_out_of_range_gives_nan_and_reads_no_memory(device, rng):
    Z = rng.normal(size=(6, 4)).astype(np.float32)
    right = run(device, "fast", losses.CrossEntropy, [Z, np.array([0, 1, 2, 3, 0, 1])], **MEAN)
    for wrong in (4, -1, 10**15, -(10**15)):
        L, gZ, _ = run(device, "fast", losses.CrossEntropy, [Z, np.array([0, 1, 2, 3, 0, wrong])], **MEAN)
        assert np.isnan(L) and np.isnan(gZ[5]).all() and np.array_equal(gZ[:5], right[1][:5])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_logits_and_probabilities_of_every_size(dtype, device, rng):
    """Nothing overflows, and what is nearly 0 or 1 keeps its meaning."""
    sizes = np.array([0, 1e-30, 1e-8, 0.5, 1, 10, 50, 86, 88, 89, 103, 104, 700, 709, 710, 745, 1e4, 1e30])
    Z = np.concatenate([sizes, -sizes]).astype(dtype)
    for op in (ops.ReLU, ops.Sigmoid, ops.Tanh, ops.ELU, ops.Softplus, ops.GELU):
        for z in Z:  # each by itself: beside 1e30 the others would not be seen
            compare(device, op, [np.array([z])], cotangent=np.ones(1), floor=1e-30)
    for t in (0, 0.3, 1):
        for z in Z:
            compare(device, losses.BCEWithLogits, [np.array([z]), np.array([t], dtype)], [True, False], **SUM)
    grid = np.array([[a, b, 0] for a in Z for b in Z], dtype)
    compare(device, ops.Softmax, [grid], cotangent=rng.normal(size=grid.shape), axis=1)
    for i in range(0, len(grid), 36):
        for t in range(3):
            compare(device, losses.CrossEntropy, [grid[i : i + 36], np.full(36, t)], **SUM)
    P = np.array([0, np.finfo(dtype).tiny / 4, np.finfo(dtype).tiny, 1e-30, 1e-7, 0.5, 1 - 1e-7, 1], dtype)
    for t in (0, 0.3, 1):
        for p in P:
            compare(device, losses.BinaryCrossEntropy, [np.array([p]), np.array([t], dtype)], [True, False], **SUM)


@pytest.mark.parametrize("size", [1, 50, 1e3, 12345.678, 1e6])
def test_cross_entropy_of_large_logits_that_are_alike_keeps_its_digits(size, device):
    """ln 2, however large the two logits are: their size must not be added to it before it is taken away."""
    Z = np.array([[size, size], [-size, -size]], np.float32)
    L, *_ = run(device, "fast", losses.CrossEntropy, [Z, np.array([0, 1])], **MEAN)
    assert abs(L - np.log(2)) < 1e-6


# ---------------------------------------------------------------- NaN and infinities


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity(op, dtype, device, rng):
    for values in ODD:
        for shape in [(4, 6), (1, 33)]:
            for which in range(2 if op in LOSSES and op is not losses.CrossEntropy else 1):
                for told in PLAIN[op][2]:
                    arrays = [np.clip(a, -20, 20) for a in made(op, rng, shape, dtype)]
                    arrays[which] = with_odd_places(rng, arrays[which], values)
                    compare(device, op, arrays, cotangent=1.0 if op in LOSSES else rng.normal(size=shape), **told)
            if op not in LOSSES:
                arrays = [np.clip(a, -20, 20) for a in made(op, rng, shape, dtype)]
                cotangent = with_odd_places(rng, rng.normal(size=shape), values)
                compare(device, op, arrays, cotangent=cotangent, **PLAIN[op][2][0])


# ---------------------------------------------------------------- layouts, determinism, and what is left alone

LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "stretched": lambda a: np.broadcast_to(a[:1].copy(), a.shape),
    "reversed": lambda a: a[::-1].copy()[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", [ops.Dense, ops.Affine, ops.MatMul, *PLAIN], ids=lambda op: op.name)
def test_layouts(op, layout, device, rng):
    """Each input, and the cotangent, in an order that no kernel knows."""
    if op in PLAIN:
        arrays, told = made(op, rng, (6, 8), np.float64), PLAIN[op][2][0]
    else:
        arrays = stack_of(rng, 6, [8, 8], np.float64, [None])[0][: 2 if op is ops.MatMul else 3]
        told = {"activations": ("tanh",)} if op is ops.Dense else {}
    cotangent = np.asarray(rng.normal()) if op in LOSSES else rng.normal(size=(6, 8))
    for i in range(len(arrays)):
        compare(
            device, op, [LAYOUTS[layout](a) if j == i else a for j, a in enumerate(arrays)], cotangent=cotangent, **told
        )
    if op not in LOSSES:
        compare(device, op, arrays, cotangent=LAYOUTS[layout](cotangent), **told)


def test_the_same_numbers_to_the_last_bit(device, rng):
    """No sum depends on who comes first."""
    for op in PLAIN:
        arrays, told = made(op, rng, (200, 70), np.float32), PLAIN[op][2][0]
        first, second = (
            run(device, "fast", op, arrays, None, np.ones(() if op in LOSSES else (200, 70)), **told) for _ in "12"
        )
        assert all(a is b is None or a.tobytes() == b.tobytes() for a, b in zip(first, second))


@pytest.mark.parametrize("op", LOSSES[:4], ids=lambda op: op.name)
def test_what_a_loss_costs_in_launches(op, device, rng):
    """One, where the backward pass begins with it; one more to scale its gradient by another's."""
    with mock.patch.object(device, "launch", wraps=device.launch) as launch:
        ones = run(device, "fast", op, arrays := made(op, rng, (6, 5), np.float32), [True, False], **MEAN)
        assert launch.call_count == 1
        twos = run(device, "fast", op, arrays, [True, False], 2.0, **MEAN)
        assert launch.call_count == 3
    assert np.array_equal(twos[1], 2 * ones[1])


def test_nothing_is_brought_to_the_host_nor_from_it(device, rng):
    """A value that Python waits for, or an array that it brings, would break the capture of a CUDA graph."""

    def refuse(*arguments, **options):
        raise AssertionError("a value went between host and device")

    if not isinstance(device, StrictBackend):
        pytest.skip("on a GPU, capture itself refuses it")
    for op in [ops.Dense, *PLAIN]:
        if op is ops.Dense:
            arrays, told = stack_of(rng, 6, [8, 8], np.float32, ["relu"])[0], {"activations": ("relu",)}
        else:
            arrays, told = made(op, rng, (6, 8), np.float32), PLAIN[op][2][0]
        given, saved, twin = [device.asarray(a) for a in arrays], [], device.twin(op)
        cotangent = device.asarray(np.ones(() if op in LOSSES else (6, 8), np.float32))
        with contextlib.ExitStack() as stack:
            for owner, names in (
                (DeviceArray, ("__float__", "__bool__", "__int__")),
                (StrictBackend, ("to_host", "asarray")),
            ):
                for name in names:
                    stack.enter_context(mock.patch.object(owner, name, refuse))
            assert twin.accepts(*given, **told)
            twin.forward(device.xp, lambda *values, saved=saved: saved.extend(values), *given, **told)
            twin.backward(device.xp, saved, cotangent, *([[True] * len(arrays)] if twin.selective else []))


def test_what_no_kernel_takes_is_computed_as_defined(device, rng):
    """Other ranks, axes and reductions: the operation itself runs."""
    cube, other, Z = rng.normal(size=(3, 4, 5)), rng.normal(size=(5, 6)), rng.normal(size=(6, 5))

    def plain(op, *arrays, **told):
        inputs = [wrap(device.asarray(a), device) for a in arrays]
        inputs[0].requires_grad = True
        y = apply(op, *inputs, **told)
        assert y._node.op is op
        return device.to_host(y.data)

    assert np.allclose(plain(ops.MatMul, cube, other), cube @ other)
    assert np.allclose(plain(ops.MatMul, other[:, 0].copy(), other), other[:, 0] @ other)
    assert np.allclose(plain(ops.Softmax, Z, axis=0).sum(axis=0), 1)
    assert np.allclose(plain(ops.Softmax, cube, axis=-1).sum(axis=-1), 1)
    assert np.allclose(plain(losses.MSE, Z, Z + 1, reduction="none"), 1)
    assert plain(losses.CrossEntropy, Z, np.zeros(6, int), reduction="none").shape == (6,)
    with pytest.raises(ShapeError):
        apply(ops.Affine, *(wrap(device.asarray(a), device) for a in (Z, rng.normal(size=(4, 2)), np.zeros(2))))


def test_a_twin_is_its_operation_but_for_the_way_it_computes(device):
    twins = device.twin
    for op in [ops.Dense, ops.Affine, ops.MatMul, *PLAIN]:
        twin = twins(op)
        assert issubclass(twin, op) and twin.repeatable
        assert (twin.name, twin.formula, twin.vjp) == (op.name, op.formula, op.vjp)
