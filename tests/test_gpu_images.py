"""The GPU's kernels for images, on a GPU and run on the CPU, against the definitions on NumPy."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.backend import NUMPY, matmul_precision
from tinyae.kernels import gpu_images, gpu_sweeps

from .twins import ACTIVATIONS, TYPES, alike, near, with_odd_places

DEVICE = NUMPY  # the fixture below sets it
SAME, NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))
PLAIN = {"upsample": 1, "padding": SAME, "activation": None, "pool": None}


@pytest.fixture(autouse=True)
def each_device(device):
    """The stand-in, and a GPU where there is one, as DEVICE."""
    global DEVICE
    DEVICE = device


@pytest.fixture
def launched(each_device, monkeypatch):
    """The names of all kernels that were launched."""
    names, launch = [], DEVICE.launch

    def noted(file, kernel, *rest):
        names.append(kernel)
        launch(file, kernel, *rest)

    monkeypatch.setattr(DEVICE, "launch", noted)
    return names


def whole(rng, low, high):
    return int(rng.integers(low, high + 1))


def run(name, op, arrays, needed, cotangent, **given):
    """[output, gradient of each input or None] on a backend; on the device by the kernel."""
    backend = ta.get_backend(name)
    inputs = [ta.Tensor(a, wanted).to(name) for a, wanted in zip(arrays, needed)]
    inputs = [ta.Tensor(x.data, wanted) for x, wanted in zip(inputs, needed)]  # leaves on the device
    with ta.use_kernels("fast" if name != "numpy" else "reference"):
        y = ta.apply(op, *inputs, **given)
        if any(needed):
            assert y._node.op is (gpu_images.TWINS[op] if name != "numpy" else op)
            y.backward(ta.Tensor(cotangent).to(name))
    grads = [x.grad for x in inputs]
    return [y.numpy(), *(None if g is None else backend.to_host(g) for g in grads)]


def compare(op, arrays, rng, needed=None, floor=0.0, exact=False, **given):
    """The kernel's numbers against the definition's; gives the former."""
    needed = needed or [True] * len(arrays)
    with ta.use_kernels("reference"), ta.no_grad():
        shape = ta.apply(op, *arrays, **given).shape
    cotangent = rng.normal(size=shape) if not exact else rng.integers(-2, 3, shape)
    cotangent = cotangent.astype(arrays[0].dtype)
    ours, theirs = (run(name, op, arrays, needed, cotangent, **given) for name in (DEVICE.name, "numpy"))
    alike(ours, theirs, floor, exact)
    return ours


def arrays_for(rng, N, H, W, C, O, kh, kw, dtype):
    """X, W and b with outputs of about 1."""
    X, weight, b = (rng.normal(size=shape) for shape in ((N, H, W, C), (kh, kw, C, O), (O,)))
    return [X.astype(dtype), (weight / np.sqrt(kh * kw * C)).astype(dtype), b.astype(dtype)]


def random_window(rng, kind, sizes, kernel):
    """(operation, attributes, size of its output) for images and kernels of these sizes."""
    padding = tuple((whole(rng, 0, 2), whole(rng, 0, 2)) for _ in range(2))
    around = [sum(pad) for pad in padding]
    if kind == "block":
        up, pool, size = whole(rng, 1, 3), None, (whole(rng, 1, 3), whole(rng, 2, 3))
        out = [up * n + pad - k + 1 for n, pad, k in zip(sizes, around, kernel)]
        if size[0] > 1 and min(out) > 0:
            pads = tuple((whole(rng, 0, 1), whole(rng, 0, k - 1)) for k in size)
            pool, out = (size, pads), [(n + sum(pad) - k) // k + 1 for n, pad, k in zip(out, pads, size)]
        activation = ACTIVATIONS[whole(rng, 0, 3)]
        return ops.ConvBlock, {"upsample": up, "padding": padding, "activation": activation, "pool": pool}, out
    stride = whole(rng, 1, 4), whole(rng, 1, 3)
    if kind == "strided":
        dilation = whole(rng, 1, 4), whole(rng, 1, 2)
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        out = [(n + pad - span) // s + 1 for n, pad, span, s in zip(sizes, around, spans, stride)]
        return ops.Conv2D, {"stride": stride, "padding": padding, "dilation": dilation}, out
    more = tuple(whole(rng, 0, s + 1) for s in stride)
    out = [(n - 1) * s + k - pad + m for n, s, k, pad, m in zip(sizes, stride, kernel, around, more)]
    return ops.Conv2DTranspose, {"stride": stride, "padding": padding, "output_padding": more}, out


CHANNELS = [1, 2, 3, 4, 8, 20, 31, 32, 33, 40]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["block", "strided", "transposed"])
def test_random_convolutions(kind, seed):
    """Sizes, channels, kernels, paddings, strides, dilations, upsampling, pooling, activations and needed gradients."""
    rng, done = np.random.default_rng([seed, len(kind)]), 0
    while done < 5:
        sizes, kernel = (whole(rng, 1, 9), whole(rng, 1, 9)), (whole(rng, 1, 5), whole(rng, 1, 4))
        op, given, out = random_window(rng, kind, sizes, kernel)
        if min(out) < 1:
            continue
        N, (C, O), dtype = whole(rng, 1, 5), (int(rng.choice(CHANNELS)) for _ in range(2)), TYPES[done % 2]
        needed = [bool(n) for n in rng.integers(0, 2, 3)] if done % 3 else [True] * 3
        compare(op, arrays_for(rng, N, *sizes, C, O, *kernel, dtype), rng, needed if any(needed) else None, 2, **given)
        done += 1


TUTORIAL = [  # sizes, channels in and out, upsampling, activation, pooling
    (8, 1, 32, 1, "relu", 2),
    (6, 32, 32, 1, "relu", 2),
    (5, 32, 64, 1, "tanh", None),
    (4, 32, 32, 2, "relu", None),
    (5, 32, 1, 2, "sigmoid", None),
    (7, 16, 8, 1, "relu", None),
]


@pytest.mark.parametrize("size, C, O, up, activation, pool", TUTORIAL)
@pytest.mark.parametrize("few", [0, 1000])
def test_layers_of_the_tutorial(size, C, O, up, activation, pool, few, rng, monkeypatch):
    """Its channels, in large and in small tiles."""
    monkeypatch.setattr(gpu_sweeps, "FEW", few)
    given = {"upsample": up, "padding": SAME, "activation": activation, "pool": pool and ((pool, pool), NONE)}
    compare(ops.ConvBlock, arrays_for(rng, 3, size, size, C, O, 3, 3, np.float32), rng, floor=2, **given)


def test_every_kernel_is_launched(launched, rng, monkeypatch):
    """Those of float64 too; and none but these."""
    precise = {"convolve_128x32", "convolve_128x16", "convolve_64x64", "convolve_32x32", "convolve_128x32_any"}
    precise |= {"convolve_128x32_from_any"}
    precise |= {"convolve_narrow", "convolve_narrow_any", "place_weights", "add_weights", "weights_narrow"}
    precise |= {"weights_64x32", "weights_64x32_any", "weights_16x32_any"}
    for dtype in TYPES:
        launched.clear()
        for few in (0, 1000):
            monkeypatch.setattr(gpu_sweeps, "FEW", few)
            for C, O in [(32, 32), (16, 64), (1, 3), (3, 32), (4, 1), (64, 8), (1, 32), (3, 5)]:
                compare(ops.ConvBlock, arrays_for(rng, 2, 3, 5, C, O, 3, 3, dtype), rng, floor=2, **PLAIN)
        assert set(launched) == precise


@pytest.mark.parametrize("up, pool", [(1, None), (1, 2), (2, None), (2, 3), (3, None)])
def test_convolutions_are_exact_on_whole_numbers(up, pool, rng):
    """Sums of small whole numbers are exact in any order: every bit must agree, at ties and at relu's kink too."""
    pool = pool and ((pool, pool), ((0, pool - 1), (0, 0)))
    given = {"upsample": up, "padding": SAME, "activation": "relu", "pool": pool}
    for shape, O in [((3, 5, 4, 5), 20), ((2, 7, 7, 1), 2), ((1, 4, 6, 32), 32)]:
        X, W, b = rng.integers(-2, 3, shape), rng.integers(-1, 2, (3, 3, shape[3], O)), rng.integers(-3, 4, O)
        compare(ops.ConvBlock, [array.astype(np.float32) for array in (X, W, b)], rng, exact=True, **given)


def test_partial_sums_are_added_in_order(rng, monkeypatch):
    """The same bits twice, and the same sums from one part and from many."""
    arrays = arrays_for(rng, 4, 9, 9, 4, 8, 3, 3, np.float64)
    monkeypatch.setattr(gpu_sweeps, "LEAST", 10)
    cotangent = rng.normal(size=(4, 9, 9, 8))
    first, again = (run(DEVICE.name, ops.ConvBlock, arrays, [True] * 3, cotangent, **PLAIN) for _ in range(2))
    monkeypatch.setattr(gpu_sweeps, "BLOCKS", 1)
    together = run(DEVICE.name, ops.ConvBlock, arrays, [True] * 3, cotangent, **PLAIN)
    for a, b, c in zip(first, again, together):
        assert np.array_equal(a, b)
        near(a, c)
    assert not np.array_equal(first[2], together[2])  # otherwise there was one part in both


@pytest.mark.parametrize("pool", [None, 2])
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("O", [2, 20])
def test_nan_and_infinity_pass_through(activation, pool, O, rng):
    """An output depends on its own window only: what is beside it in a tile, or fills one up, must not spread."""
    given = {**PLAIN, "activation": activation, "pool": pool and ((pool, pool), NONE)}
    X, W, b = arrays_for(rng, 3, 8, 8, 3, O, 3, 3, np.float64)
    X = with_odd_places(rng, X, [np.nan, np.inf])
    ours, theirs = (
        run(name, ops.ConvBlock, [X, W, b], [False] * 3, None, **given)[0] for name in (DEVICE.name, "numpy")
    )
    assert np.isnan(theirs).any() and np.isfinite(theirs).any()
    near(ours, theirs, 2)


@pytest.mark.parametrize("offset", [0, 1])
def test_arrays_that_begin_anywhere(offset, rng, launched):
    """A view need not begin with a whole pack; and the gradient of a mean is one number, seen everywhere."""
    X, W, b = arrays_for(rng, 2, 4, 4, 4, 8, 3, 3, np.float32)
    room = DEVICE.empty((X.size + 4,), X.dtype)
    room[offset : X.size + offset] = DEVICE.asarray(X.reshape(-1))
    x = ta.Tensor(room[offset : X.size + offset].reshape(X.shape), True)
    x.data = room[offset : X.size + offset].reshape(X.shape)  # Tensor has made a copy
    parameters = [ta.Tensor(DEVICE.asarray(a), True) for a in (W, b)]
    ta.apply(ops.ConvBlock, x, *parameters, **PLAIN).mean().backward()
    reference = [ta.Tensor(a, True) for a in (X, W, b)]
    with ta.use_kernels("reference"):
        ta.apply(ops.ConvBlock, *reference, **PLAIN).mean().backward()
    for ours, theirs in zip((x, *parameters), reference):
        near(DEVICE.to_host(ours.grad), theirs.grad, 2)
    assert ("convolve_128x32_from_any" in launched) == (offset == 1)


@pytest.mark.parametrize(
    "op, given",
    [
        (ops.Conv2D, {"stride": (9, 1), "padding": SAME, "dilation": (1, 1)}),
        (ops.ConvBlock, {**PLAIN, "upsample": 9}),
        (ops.ConvBlock, {**PLAIN, "pool": ((16, 16), ((15, 15), (15, 15)))}),
    ],
)
def test_what_a_kernel_does_not_take_is_defined(op, given, rng):
    arrays = [ta.Tensor(DEVICE.asarray(a), True) for a in arrays_for(rng, 1, 3, 3, 1, 2, 3, 3, np.float32)]
    y = ta.apply(op, *arrays, **given)
    with ta.use_kernels("reference"):
        near(y.numpy(), ta.apply(op, *arrays, **given).numpy())
    assert y._node.op is op


# ---------------------------------------------------------------- TF32


def rounded_to_tf32(x):
    """10 bits after the point."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.sign(mantissa) * np.floor(np.abs(mantissa) * 2**11 + 0.5) / 2**11, exponent)


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("C, O", [(32, 32), (8, 8), (16, 64), (40, 36)])
def test_tf32(C, O, few, rng, launched, monkeypatch):
    """Products of factors that are rounded to 11 bits, summed in float32."""
    if DEVICE.capability < 80:
        pytest.skip("TF32 needs compute capability 8.0")
    monkeypatch.setattr(gpu_sweeps, "FEW", few)
    arrays = arrays_for(rng, 2, 5, 4, C, O, 3, 3, np.float32)
    cotangent = rng.normal(size=(2, 5, 4, O)).astype(np.float32)
    token = matmul_precision.set("tf32")
    try:
        ours = run(DEVICE.name, ops.ConvBlock, arrays, [True] * 3, cotangent, **PLAIN)
    finally:
        matmul_precision.reset(token)
    assert any(name.startswith("convolve") and name.endswith("tf32") for name in launched)
    assert "weights_64x32_tf32" in launched
    X, W, b = (rounded_to_tf32(a) for a in arrays)
    rounded = run(
        "numpy", ops.ConvBlock, [X, W, arrays[2].astype(float)], [True] * 3, rounded_to_tf32(cotangent), **PLAIN
    )
    exact = run("numpy", ops.ConvBlock, [a.astype(float) for a in arrays], [True] * 3, cotangent.astype(float), **PLAIN)
    for a, r, e in zip(ours, rounded, exact):
        assert np.abs(a - e).max() <= 2e-3 * np.abs(e).max()
        assert np.abs(a - r).max() <= 1e-5 * np.abs(r).max()


# ---------------------------------------------------------------- pooling and upsampling alone


@pytest.mark.parametrize(
    "size, stride, padding",
    [((2, 2), (2, 2), NONE), ((2, 2), (2, 2), ((0, 1), (0, 1))), ((3, 2), (3, 2), NONE), ((2, 1), (3, 4), NONE),
     ((3, 3), (3, 3), ((1, 1), (2, 0))), ((3, 3), (2, 1), ((1, 1), (0, 2))), ((15, 17), (1, 1), ((14, 14), (16, 16)))],
)  # fmt: skip
def test_pooling(size, stride, padding, rng):
    given = {"size": size, "stride": stride, "padding": padding}
    for shape in [(2, 8, 8, 3), (3, 7, 9, 33), (1, 3, 3, 16), (5, 3, 4, 1)]:
        for X in (rng.normal(size=shape), rng.integers(-1, 2, shape).astype(np.float32)):  # the second one has ties
            compare(ops.MaxPool2D, [X], rng, exact=True, **given)
            compare(ops.AvgPool2D, [X], rng, floor=1, **given)


@pytest.mark.parametrize("channels", [4, 5])
def test_max_pooling_keeps_nan(channels, rng):
    X = rng.normal(size=(2, 6, 6, channels))
    X[0] = -np.inf
    X = with_odd_places(rng, X, [np.nan, -np.inf, np.inf, np.nan, np.nan, np.nan])
    for padding in (NONE, SAME):
        compare(ops.MaxPool2D, [X], rng, exact=True, size=(2, 2), stride=(2, 2), padding=padding)


def test_windows_too_large_for_a_byte_are_defined(rng):
    x = ta.Tensor(DEVICE.asarray(rng.normal(size=(1, 17, 16, 2))), True)
    y = ta.apply(ops.MaxPool2D, x, size=(16, 16), stride=(1, 1), padding=NONE)
    assert y._node.op is ops.MaxPool2D and y.shape == (1, 2, 1, 2)


@pytest.mark.parametrize("factor", [(2, 2), (1, 3), (3, 1), (4, 2)])
def test_upsampling(factor, rng):
    for shape, dtype in [((2, 5, 4, 3), np.float32), ((1, 1, 7, 20), np.float64), ((3, 2, 2, 32), np.float32)]:
        compare(ops.UpsampleNearest, [rng.normal(size=shape).astype(dtype)], rng, floor=5, factor=factor)
