"""Convolution and its transpose: against loops over the formula, the checker, and each other."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyae as ta
from tinyae.errors import RangeError, ShapeError
from tinyae.ops import convolution, windows
from tinyae.ops.windows import same_padding, transposed_padding, window_sizes


@pytest.mark.parametrize("module", [convolution, windows])
def test_the_worked_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted >= 3 and not failed


def by_the_formula(X, W, b, stride, padding, dilation):
    """The sum over taps and channels, one product at a time."""
    ((top, bottom), (left, right)), (sh, sw), (dh, dw) = padding, stride, dilation
    (N, H, width, _), (kh, kw, _, O) = X.shape, W.shape
    rows = [i for i in range(-top, H + bottom) if i + dh * (kh - 1) < H + bottom][::sh]
    columns = [j for j in range(-left, width + right) if j + dw * (kw - 1) < width + right][::sw]
    Y = np.zeros((N, len(rows), len(columns), O)) + b
    for (i, y), (j, x) in itertools.product(enumerate(rows), enumerate(columns)):
        for u, v in itertools.product(range(kh), range(kw)):
            if 0 <= y + dh * u < H and 0 <= x + dw * v < width:
                Y[:, i, j] += X[:, y + dh * u, x + dw * v] @ W[u, v]
    return Y


def by_the_transposed_formula(X, W, b, stride, padding, output_padding):
    """Every input pixel adds its multiple of the kernel."""
    ((top, bottom), (left, right)), (sh, sw) = padding, stride
    (N, H, width, _), (kh, kw, _, O) = X.shape, W.shape
    size = [(n - 1) * s + k + more for n, s, k, more in zip((H, width), stride, (kh, kw), output_padding)]
    Y = np.zeros((N, *size, O))
    for i, j, u, v in itertools.product(range(H), range(width), range(kh), range(kw)):
        Y[:, sh * i + u, sw * j + v] += X[:, i, j] @ W[u, v]
    return Y[:, top : size[0] - bottom, left : size[1] - right] + b


@st.composite
def settings_of_a_convolution(draw, transposed=False):
    """Shapes of X and W, stride, padding, dilation: whatever fits."""
    few = st.integers(1, 3)
    stride, kernel = draw(st.tuples(few, few)), draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation = (1, 1) if transposed else draw(st.tuples(few, few))
    N, C, O = draw(st.tuples(few, few, few))
    sizes = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    most = [(k - 1) // 2 if transposed else 3 for k in kernel]
    padding = tuple(draw(st.tuples(st.integers(0, n), st.integers(0, n))) for n in most)
    if not transposed:
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        sizes = tuple(max(n, span - sum(p)) for n, span, p in zip(sizes, spans, padding))
    return (N, *sizes, C), (*kernel, C, O), stride, padding, dilation


@settings(max_examples=60, deadline=None)
@given(settings_of_a_convolution(), st.integers(0, 2**32 - 1))
def test_convolution_is_its_formula(drawn, seed):
    shape, kernel, stride, padding, dilation = drawn
    r = np.random.default_rng(seed)
    X, W, b = r.normal(size=shape), r.normal(size=kernel), r.normal(size=kernel[3])
    expected = by_the_formula(X, W, b, stride, padding, dilation)
    y = ta.conv2d(X, W, b, stride, padding, dilation)
    assert y.shape == expected.shape and np.allclose(y.numpy(), expected, atol=1e-12)
    assert y.shape[1:3] == window_sizes(shape[1:3], kernel[:2], stride, padding, dilation)


@settings(max_examples=60, deadline=None)
@given(
    settings_of_a_convolution(transposed=True),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(0, 2**32 - 1),
)
def test_transposed_convolution_is_its_formula(drawn, more, seed):
    shape, kernel, stride, padding, _ = drawn
    r = np.random.default_rng(seed)
    X, W, b = r.normal(size=shape), r.normal(size=kernel), r.normal(size=kernel[3])
    expected = by_the_transposed_formula(X, W, b, stride, padding, more)
    options = {"stride": stride, "padding": padding, "output_padding": more}
    y = ta.apply(ta.ops.Conv2DTranspose, X, W, b, **options)
    assert y.shape == expected.shape and np.allclose(y.numpy(), expected, atol=1e-12)


# ---------------------------------------------------------------- gradients, every option

SIZES = [(7, 6), (4, 5), (6, 6)]  # odd and even
PADDINGS = ["same", "valid", 1, ((2, 0), (1, 3))]
KERNELS = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 2), (1, 4)]
STRIDES = [1, 2, 3, (2, 1)]


def right(function, *inputs):
    report = ta.check_gradients(function, *inputs, tolerance=1e-7, max_elements=6)
    assert report and not report.kinks, report


def parameters(rng, kernel, channels=2, outputs=2):
    return rng.normal(size=(*kernel, channels, outputs)), rng.normal(size=outputs)


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", STRIDES)
def test_gradients_of_convolution(stride, padding, dilation, rng):
    for i, kernel in enumerate(KERNELS):
        height, width = SIZES[i % 3]
        dh, dw = dilation if isinstance(dilation, tuple) else (dilation, dilation)
        height, width = max(height, dh * (kernel[0] - 1) + 1), max(width, dw * (kernel[1] - 1) + 1)
        right(
            lambda x, w, b: ta.conv2d(x, w, b, stride, padding, dilation),
            rng.normal(size=(2, height, width, 2)),
            *parameters(rng, kernel),
        )


@pytest.mark.parametrize("padding", ["same", "valid", 1, ((1, 0), (0, 1))])
@pytest.mark.parametrize("stride", STRIDES)
def test_gradients_of_transposed_convolution(stride, padding, rng):
    for i, kernel in enumerate(KERNELS):
        height, width = SIZES[i % 3]
        x = rng.normal(size=(2, height, width, 2))
        right(lambda x, w, b: ta.conv2d_transpose(x, w, b, stride, padding), x, *parameters(rng, kernel))


@pytest.mark.parametrize("pool", [None, 2, 3, ((2, 2), "same"), ((3, 2), "same")])
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("upsample", [1, 2, 3])
def test_a_block_is_the_composition_of_the_plain_operations(upsample, activation, pool, rng, backend):
    """Values and gradients to the last bit."""
    values = [rng.normal(size=s) for s in [(2, 5, 4, 3), (3, 3, 3, 2), (2,)]]
    size, pool_padding = pool if isinstance(pool, tuple) else (pool, "valid")

    def composed(x, w, b):
        y = x if upsample == 1 else ta.upsample_nearest(x, upsample)
        y = ta.conv2d(y, w, b, padding=((1, 1), (0, 2)))
        y = y if activation is None else ta.functional.ACTIVATIONS[activation](y)
        return y if pool is None else ta.max_pool2d(y, size, padding=pool_padding)

    def block(x, w, b):
        return ta.conv_block(x, w, b, upsample, ((1, 1), (0, 2)), activation, size, pool_padding)

    found = []
    with ta.use_kernels("reference"):
        for function in (composed, block):
            inputs = [ta.Tensor(value, requires_grad=True).to(backend) for value in values]
            y = function(*inputs)
            y.backward(backend.asarray(np.cos(np.arange(y.size)).reshape(y.shape)))
            found.append([y.numpy(), *(backend.to_host(x.grad) for x in inputs)])
    assert all(np.array_equal(one, other) for one, other in zip(*found))


def test_a_block_notices_that_its_output_was_changed(rng):
    """Its activation saved what became the output: the tape must watch it."""
    x, w, b = (ta.Tensor(rng.normal(size=s), requires_grad=True) for s in [(1, 3, 3, 1), (3, 3, 1, 1), (1,)])
    with ta.use_kernels("reference"):
        y = ta.conv_block(x, w, b, activation="tanh")
        loss = y.sum()
        with ta.no_grad():
            y *= 2
        with pytest.raises(ta.errors.TapeError, match="changed in place"):
            loss.backward()


# ---------------------------------------------------------------- what holds of any convolution


@settings(max_examples=40, deadline=None)
@given(settings_of_a_convolution(), st.integers(0, 2**32 - 1))
def test_the_transposed_convolution_is_the_adjoint(drawn, seed):
    """sum(conv(x) * c) = sum(x * transposed(c)), with the kernel's channels exchanged."""
    shape, kernel, stride, padding, _ = drawn
    r = np.random.default_rng(seed)
    x, w = ta.Tensor(r.normal(size=shape)), ta.Tensor(r.normal(size=kernel))
    y = ta.conv2d(x, w, None, stride, padding)
    c = ta.Tensor(r.normal(size=y.shape))
    back = ta.conv2d_transpose(c, w.transpose(0, 1, 3, 2), None, stride, padding, output_size=shape[1:3])
    assert back.shape == x.shape
    assert np.isclose((y * c).sum().item(), (x * back).sum().item(), rtol=1e-9, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_same_padding_is_that_of_keras(n, k, s, d):
    before, after = same_padding(n, k, s, d)
    assert window_sizes((n, n), (k, k), (s, s), ((before, after),) * 2, (d, d))[0] == -(-n // s)
    assert 0 <= after - before <= 1 and before + after < max(d * (k - 1) + 1, 1) + (k == 1)
    assert s > 1 or before + after == d * (k - 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 4), st.sampled_from(["same", "valid", 1]))
def test_every_size_that_is_possible_is_reached_and_no_other(n, k, s, padding):
    """Those sizes from which a convolution leads to n."""
    if padding == 1 and (n - 1) * s + k <= 2:
        return

    def leads_to_n(size):
        if padding != "same":
            amount = 0 if padding == "valid" else padding
            return size + 2 * amount >= k and (size + 2 * amount - k) // s + 1 == n
        return -(-size // s) == n

    amounts = ((1, 1), (1, 1)) if padding == 1 else padding
    for size in range(1, n * s + k + 3):
        wanted = (size, size)
        if leads_to_n(size):
            cut, more = transposed_padding((n, n), (k, k), (s, s), amounts, wanted)
            y = ta.apply(
                ta.ops.Conv2DTranspose, np.zeros((1, n, n, 1)), np.zeros((k, k, 1, 1)), np.zeros(1),
                stride=(s, s), padding=cut, output_padding=more,
            )  # fmt: skip
            assert y.shape == (1, size, size, 1)
        else:
            with pytest.raises(ShapeError, match="cannot be reached"):
                transposed_padding((n, n), (k, k), (s, s), amounts, wanted)


def test_blocks_of_images_change_nothing(rng, monkeypatch):
    """However few images fit at a time; the sums of the weights' gradient may be rounded otherwise."""
    values = [rng.normal(size=s) for s in [(7, 5, 4, 2), (3, 3, 2, 3), (3,)]]
    found = []
    for at_once in (1, 700, 1 << 20):
        monkeypatch.setattr(windows, "AT_ONCE", at_once)
        for function in (ta.conv2d, ta.conv2d_transpose):
            inputs = [ta.Tensor(value, requires_grad=True) for value in values]
            y = function(*inputs)
            (y * y).sum().backward()
            found.append([y.numpy(), *(x.grad for x in inputs)])
    for few in found[:-2]:
        match = found[-2] if few[0].shape == found[-2][0].shape else found[-1]
        assert all(np.allclose(one, other, rtol=1e-12) for one, other in zip(few, match))
    assert len(windows.blocks(np.zeros((7, 1)), np.zeros((2, 2)), (5, 4))) == 1
    monkeypatch.setattr(windows, "AT_ONCE", 100)
    assert windows.blocks(np.zeros((7, 1)), np.zeros((2, 2)), (5, 4)) == [
        slice(0, 2),
        slice(2, 4),
        slice(4, 6),
        slice(6, 8),
    ]


def test_the_pooling_of_a_block_is_as_elsewhere(rng):
    """A pair is (height, width)."""
    x, w = rng.normal(size=(2, 12, 12, 1)), rng.normal(size=(3, 3, 1, 2))
    for pool, padding in [((3, 2), "valid"), (5, "same"), ((2, 2), 1)]:
        ours = ta.conv_block(x, w, pool=pool, pool_padding=padding).numpy()
        assert np.allclose(ours, ta.max_pool2d(ta.conv2d(x, w), pool, padding=padding).numpy())


def test_the_patches_are_not_kept(rng):
    """What is saved is X and W themselves."""
    x, w = (ta.Tensor(rng.normal(size=s), requires_grad=True) for s in [(2, 6, 6, 2), (3, 3, 2, 4)])
    for function in (ta.conv2d, ta.conv2d_transpose):
        with ta.use_kernels("reference"):
            kept = [value for value in function(x, w)._node.saved if isinstance(value, np.ndarray)]
        assert len(kept) == 2 and kept[0] is x.data and kept[1] is w.data


# ---------------------------------------------------------------- bad input

X, W, B = np.zeros((2, 8, 8, 3)), np.zeros((3, 3, 3, 4)), np.zeros(4)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.conv2d(X, np.zeros((9, 2, 3, 4)), B, padding="valid"), ShapeError,
         r"conv2d: a kernel of 9x2 is larger than the image of 8x8: along the height it spans 9 pixels of 8. Use a smaller kernel, or padding='same'"),
        (lambda: ta.conv2d(X, np.zeros((2, 5, 3, 4)), B, padding=1, dilation=3), ShapeError,
         r"a kernel of 2x5 with dilation \(3, 3\) is larger .* of 8x8 with padding .*: along the width it spans 13 pixels of 10"),
        (lambda: ta.conv2d(X, W, B, stride=0), RangeError, "conv2d: stride is 0; expected an integer >= 1"),
        (lambda: ta.conv2d(X, W, B, dilation=(1, 0)), RangeError, "conv2d: dilation is 0"),
        (lambda: ta.conv2d(X, W, B, stride=(1, 2, 3)), RangeError, r"stride is \(1, 2, 3\); expected one integer, or two"),
        (lambda: ta.conv2d(X, W, B, padding="sam"), RangeError, "unknown padding of conv2d 'sam'. Known, nearest first: same, valid"),
        (lambda: ta.conv2d(X, W, B, padding=-1), RangeError, "padding is -1; expected an integer >= 0"),
        (lambda: ta.conv2d(X, W, B, padding=(1, 2)), RangeError, r"padding is \(1, 2\); expected one integer for all sides"),
        (lambda: ta.conv2d(X, np.zeros((3, 3, 2, 4)), B), ShapeError, r"The images have 3 channels, but W \(3, 3, 2, 4\) takes 2"),
        (lambda: ta.conv2d(X.transpose(0, 3, 1, 2), W, B), ShapeError, r"channels first .*: x.transpose\(0, 2, 3, 1\)"),
        (lambda: ta.conv2d(X[0], W, B), ShapeError, r"conv2d: the input has shape \(8, 8, 3\).*x\[None\]"),
        (lambda: ta.conv2d(X, np.zeros((3, 3, 4)), B), ShapeError, r"W has shape \(3, 3, 4\); expected \(kernel height"),
        (lambda: ta.conv2d(X, W, np.zeros(5)), ShapeError, r"b has shape \(5,\), but W \(3, 3, 3, 4\) has 4 outputs"),
        (lambda: ta.conv2d_transpose(X, W, B, output_size=20), ShapeError,
         r"output_size \(20, 20\) cannot be reached from images of 8x8 .*: possible are 15 to 16 rows and 15 to 16 columns"),
        (lambda: ta.conv2d_transpose(X, W, B, 1, 5), ShapeError, "give an output of 0x0: nothing is left"),
        (lambda: ta.conv2d_transpose(X, W, B, padding="x"), RangeError, "unknown padding of conv2d_transpose 'x'"),
        (lambda: ta.conv_block(X, W, B, upsample=0), RangeError, "upsample is 0"),
        (lambda: ta.conv_block(X, W, B, activation="gelu"), RangeError, "unknown activation of conv_block 'gelu'"),
        (lambda: ta.conv_block(X, W, B, pool=9), ShapeError, "max_pool2d: a window of 9x9 is larger than the image of 8x8"),
        (lambda: ta.conv_block(X, np.zeros((9, 9, 3, 4)), B, padding=0, pool=2), ShapeError, "a kernel of 9x9 is larger"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
