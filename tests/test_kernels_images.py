"""The kernels of convolutions, pooling and upsampling against their definitions; see ``test_kernels.py``."""

from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.kernels import conv_blocks
from tinyae.kernels.conv_blocks import Axis

from .twins import TYPES, compare, kernels_for_all, near, read_only, run, strided, with_odd_places

SAME, NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))
PLAIN = {"upsample": 1, "padding": SAME, "activation": None, "pool": None}


def whole(rng, low, high):
    return int(rng.integers(low, high + 1))


def arrays_for(rng, N, H, W, C, O, kh, kw, dtype):
    """X, W and b with outputs of about 1."""
    found = (N, H, W, C), (kh, kw, C, O), (O,)
    X, weight, b = (rng.normal(size=shape) for shape in found)
    return [X.astype(dtype), (weight / np.sqrt(kh * kw * C)).astype(dtype), b.astype(dtype)]


def random_case(rng, kind):
    """(operation, arrays, attributes) with sizes that leave at least one pixel."""
    while True:
        N, H, W, kh, kw = whole(rng, 1, 5), whole(rng, 1, 17), whole(rng, 1, 17), whole(rng, 1, 5), whole(rng, 1, 5)
        C, O = (int(rng.choice([1, 2, 3, 5, 8, 16, 17, 32, 40])) for _ in range(2))
        padding = tuple((whole(rng, 0, 3), whole(rng, 0, 3)) for _ in range(2))
        around = [sum(pad) for pad in padding]
        if kind == "block":
            up, pool = int(rng.choice([1, 1, 2, 2, 3])), None
            out = [up * n + pad - k + 1 for n, pad, k in zip((H, W), around, (kh, kw))]
            s = whole(rng, 1, 3)
            if s > 1:
                pads = tuple(
                    (whole(rng, 0, s - 1) if rng.random() < 0.3 else 0, whole(rng, 0, s - 1)) for _ in range(2)
                )
                pool = ((s, s), pads) if all(n + sum(pad) >= s for n, pad in zip(out, pads)) else None
            activation = [None, "relu", "sigmoid", "tanh"][whole(rng, 0, 3)]
            op, given = ops.ConvBlock, {"upsample": up, "padding": padding, "activation": activation, "pool": pool}
        elif kind == "strided":
            stride, dilation = whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 2))
            out = [
                (n + pad - d * (k - 1) - 1) // stride + 1 for n, pad, d, k in zip((H, W), around, dilation, (kh, kw))
            ]
            op, given = ops.Conv2D, {"stride": (stride, stride), "padding": padding, "dilation": dilation}
        else:
            stride = whole(rng, 1, 3)
            more = (whole(rng, 0, stride - 1), whole(rng, 0, stride - 1))
            out = [(n - 1) * stride + k - pad + m for n, pad, m, k in zip((H, W), around, more, (kh, kw))]
            op, given = ops.Conv2DTranspose, {"stride": (stride, stride), "padding": padding, "output_padding": more}
        if min(out) >= 1:
            return op, arrays_for(rng, N, H, W, C, O, kh, kw, TYPES[whole(rng, 0, 1)]), given


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["block", "strided", "transposed"])
def test_random_convolutions(kind, seed):
    """Sizes, channels, paddings, strides, needed gradients, numbers of threads, and bands of a few rows."""
    rng = np.random.default_rng([seed, len(kind)])
    for _ in range(6):
        op, arrays, given = random_case(rng, kind)
        needed = [bool(n) for n in rng.integers(0, 2, 3)]
        needed = needed if any(needed) else [True] * 3
        band = mock.patch.object(conv_blocks, "BAND_BYTES", int(rng.choice([1, 1 << 12, 1 << 19])))
        with kernels_for_all(int(rng.choice([1, 2, 5]))), band:
            with ta.use_kernels("reference"):
                shape = ta.apply(op, *arrays, **given).shape
            compare(op, arrays, needed, rng.normal(size=shape).astype(arrays[0].dtype), floor=2, **given)


TUTORIAL = [  # sizes, channels in and out, upsampling, activation, pooling
    (28, 1, 32, 1, "relu", 2),
    (14, 32, 32, 1, "relu", 2),
    (7, 32, 32, 1, "relu", None),
    (7, 32, 32, 2, "relu", None),
    (14, 32, 1, 2, "sigmoid", None),
    (28, 32, 1, 1, "sigmoid", None),
    (28, 3, 16, 1, "relu", 2),
]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("size, C, O, up, activation, pool", TUTORIAL)
def test_layers_of_the_tutorial(size, C, O, up, activation, pool, parts, rng):
    given = {"upsample": up, "padding": SAME, "activation": activation, "pool": pool and ((pool, pool), NONE)}
    arrays = arrays_for(rng, 4, size, size, C, O, 3, 3, np.float32)
    n = size * up // (pool or 1)
    with kernels_for_all(parts):
        compare(ops.ConvBlock, arrays, None, rng.normal(size=(4, n, n, O)).astype(np.float32), floor=2, **given)


@pytest.mark.parametrize("up, pool", [(1, None), (1, 2), (2, None), (2, 3), (3, None)])
def test_convolutions_are_exact_on_whole_numbers(up, pool, rng):
    """Sums of small whole numbers are exact in any order, so every bit must agree, ties of pooling and relu's kink too."""
    given = {
        "upsample": up,
        "padding": SAME,
        "activation": "relu",
        "pool": pool and ((pool, pool), ((0, pool - 1), (0, 0))),
    }
    for shape in [(3, 9, 8, 5), (2, 7, 7, 1), (1, 12, 6, 32)]:
        X, W, b = rng.integers(-2, 3, shape), rng.integers(-1, 2, (3, 3, shape[3], 20)), rng.integers(-3, 4, 20)
        arrays = [array.astype(np.float32) for array in (X, W, b)]
        with kernels_for_all(3):
            y = ta.apply(ops.ConvBlock, *arrays, **given)
            compare(ops.ConvBlock, arrays, None, rng.integers(-2, 3, y.shape).astype(np.float32), exact=True, **given)


@pytest.mark.parametrize("pool", [None, 2])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_nan_and_infinity_pass_through(activation, pool, rng):
    """An output depends on its own window only: what is beside it in a register, or fills one up, must not spread."""
    given = {**PLAIN, "activation": activation, "pool": pool and ((pool, pool), NONE)}
    X, W, b = arrays_for(rng, 3, 8, 8, 3, 18, 3, 3, np.float64)
    X = with_odd_places(rng, X, [np.nan, np.inf])
    with kernels_for_all(2):
        fast, plain = (run(which, ops.ConvBlock, [X, W, b], [False] * 3, **given)[0] for which in ("fast", "reference"))
    assert np.isnan(plain).any() and np.isfinite(plain).any()
    near(fast, plain, 2)


def test_layouts_and_types_that_a_kernel_does_not_take(rng):
    X, W, b = arrays_for(rng, 2, 9, 9, 4, 6, 3, 3, np.float32)
    with kernels_for_all(2):
        for given in ([strided(X), W, b], [X, strided(W), b], [X, W.transpose(1, 0, 2, 3), b]):
            with ta.use_kernels("reference"):
                expected = ta.apply(ops.ConvBlock, *given, **PLAIN).numpy()
            near(ta.apply(ops.ConvBlock, *given, **PLAIN).numpy(), expected, 2)
        compare(ops.ConvBlock, [read_only(X), W, b], None, np.ones((2, 9, 9, 6), np.float32), floor=2, **PLAIN)


def test_what_a_kernel_cannot_do_is_defined(rng):
    """Another stride for rows than for columns."""
    X, W, b = arrays_for(rng, 2, 9, 9, 4, 6, 3, 3, np.float32)
    with kernels_for_all(2):
        y = ta.apply(ops.Conv2D, ta.Tensor(X, True), W, b, stride=(1, 2), padding=SAME, dilation=(1, 1))
    assert y._node.op is ops.Conv2D and y.shape == (2, 9, 5, 6)


# ---------------------------------------------------------------- the sums of taps


@pytest.mark.parametrize("k, before, u", [(3, 1, 2), (3, 0, 2), (5, 2, 2), (1, 0, 2), (2, 1, 3), (4, 3, 3), (3, 1, 1)])
def test_sub_pixel_weights_are_sums_of_taps(k, before, u, rng):
    """Along one axis, by the definition: upsample, then convolve; and the way back is the transpose of that."""
    size, weight = 6, rng.normal(size=k)
    axis = Axis.upsampled(size, k, before, 2, u)
    whole_map = np.zeros((axis.out, size))  # Z = whole_map X
    for z in range(axis.out):
        for d in range(k):
            p = z - before + d
            if 0 <= p < u * size:
                whole_map[z, p // u] += weight[d]
    ours, back = np.zeros_like(whole_map), np.zeros_like(whole_map)
    for a in range(u):
        for z in range(a, axis.out, u):
            for rho in range(axis.sums.taps[a]):
                x = z // u + axis.sums.lo[a] + rho
                if 0 <= x < size:
                    ours[z, x] += axis.sums.table[a, rho] @ weight
    for x in range(size):
        for rho in range(axis.back.taps[0]):
            z = u * x + axis.back.lo[0] + rho
            if 0 <= z < axis.out:
                back[z, x] += axis.back.table[0, rho] @ weight
    assert np.allclose(ours, whole_map) and np.allclose(back, whole_map)


def test_three_taps_after_upsampling_by_two():
    """The example of the docstring: 2 places for each of 2 phases, in two dimensions 16 products for 36."""
    sums = Axis.upsampled(7, 3, 1, 1, 2).sums
    assert sums.lo == [-1, 0] and sums.taps == [2, 2]
    assert sums.table.tolist() == [[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]]


# ---------------------------------------------------------------- pooling and upsampling alone


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    "size, stride, padding",
    [((2, 2), (2, 2), NONE), ((2, 2), (2, 2), ((0, 1), (0, 1))), ((3, 2), (3, 2), NONE), ((3, 3), (3, 3), ((1, 1), (2, 0))),
     ((2, 1), (3, 4), NONE)],
)  # fmt: skip
def test_max_pooling(size, stride, padding, parts, rng):
    for shape in [(2, 8, 8, 3), (3, 7, 9, 33), (1, 3, 3, 16)]:
        for X in (rng.normal(size=shape), rng.integers(-1, 2, shape).astype(np.float32)):  # the second one has ties
            given = {"size": size, "stride": stride, "padding": padding}
            with kernels_for_all(parts):
                y = ta.apply(ops.MaxPool2D, X, **given)
                compare(ops.MaxPool2D, [X], None, rng.normal(size=y.shape).astype(X.dtype), exact=True, **given)


def test_max_pooling_keeps_nan(rng):
    X = with_odd_places(rng, rng.normal(size=(2, 6, 6, 5)), [np.nan, -np.inf, np.inf, np.nan])
    given = {"size": (2, 2), "stride": (2, 2), "padding": NONE}
    with kernels_for_all(2):
        compare(ops.MaxPool2D, [X], None, rng.normal(size=(2, 3, 3, 5)), exact=True, **given)


def test_overlapping_windows_are_defined(rng):
    X = ta.Tensor(rng.normal(size=(2, 9, 9, 4)), True)
    with kernels_for_all(2):
        assert ta.apply(ops.MaxPool2D, X, size=(3, 3), stride=(2, 2), padding=NONE)._node.op is ops.MaxPool2D


@pytest.mark.parametrize("factor", [(2, 2), (1, 3), (3, 1), (4, 2)])
def test_upsampling(factor, rng):
    for shape, dtype in [((2, 5, 4, 3), np.float32), ((1, 1, 7, 20), np.float64)]:
        X = rng.normal(size=shape).astype(dtype)
        cotangent = rng.normal(size=(shape[0], shape[1] * factor[0], shape[2] * factor[1], shape[3])).astype(dtype)
        with kernels_for_all(3):
            compare(ops.UpsampleNearest, [X], None, cotangent, floor=5, factor=factor)
