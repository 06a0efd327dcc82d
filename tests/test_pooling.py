"""Pooling, upsampling and borders: conventions, values, gradients for every option."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyae as ta
from tinyae.errors import RangeError, ShapeError
from tinyae.ops.windows import same_padding

from .image_cases import shuffled


def gradient(function, x, cotangent=None):
    x = ta.Tensor(x, requires_grad=True)
    y = function(x)
    y.backward(np.ones(y.shape) if cotangent is None else cotangent)
    return x.grad


def image(*rows):
    """Rows of numbers as one image with one channel."""
    return np.array(rows, float)[None, :, :, None]


def right(function, *inputs):
    report = ta.check_gradients(function, *inputs, tolerance=1e-7, max_elements=20)
    assert report and not report.kinks, report


@pytest.mark.parametrize("padding", ["same", "valid", ((1, 0), (0, 1))])
@pytest.mark.parametrize("stride", [None, 1, 2, 3, (1, 2)])
@pytest.mark.parametrize("size", [2, 3, (2, 3)])
def test_gradients_of_pooling(size, stride, padding, rng):
    for sizes in [(7, 6), (5, 8), (6, 6)]:
        right(lambda x: ta.max_pool2d(x, size, stride, padding), shuffled(rng, 2, *sizes, 2))
        right(lambda x: ta.avg_pool2d(x, size, stride, padding), rng.normal(size=(2, *sizes, 2)))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 4)] * 4), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_pooling_is_max_and_mean_of_each_window(sizes, window, same, seed):
    size, stride = window[:2], window[2:]
    if not same and any(k > n for k, n in zip(size, sizes)):
        return
    x = np.random.default_rng(seed).normal(size=(2, *sizes, 3))
    ends = [same_padding(n, k, s) if same else (0, 0) for n, k, s in zip(sizes, size, stride)]
    starts = [list(range(-before, n + after - k + 1, s)) for n, k, s, (before, after) in zip(sizes, size, stride, ends)]
    for function, reduce in ((ta.max_pool2d, np.max), (ta.avg_pool2d, np.mean)):
        y = function(x, size, stride, "same" if same else "valid")
        expected = [
            [reduce(x[:, max(i, 0) : i + size[0], max(j, 0) : j + size[1]], axis=(1, 2)) for j in starts[1]]
            for i in starts[0]
        ]
        assert np.allclose(y.numpy(), np.array(expected).transpose(2, 0, 1, 3), rtol=1e-13)
        assert not same or y.shape[1:3] == tuple(-(-n // s) for n, s in zip(sizes, stride))


def test_ties_go_to_the_first_row_by_row():
    assert np.array_equal(gradient(ta.max_pool2d, image([0, 5], [5, 5])), image([0, 1], [0, 0]))
    assert np.array_equal(gradient(ta.max_pool2d, image([0, 0], [0, 0])), image([1, 0], [0, 0]))


def test_a_pixel_that_wins_in_several_windows_gets_all_their_gradients():
    x = image([0, 1, 2], [3, 9, 4], [5, 6, 7])
    found = gradient(lambda x: ta.max_pool2d(x, 2, 1), x, image([1, 2], [3, 4]))
    assert np.array_equal(found, image([0, 0, 0], [0, 10, 0], [0, 0, 0]))


def test_nan_wins_and_takes_the_gradient(backend):
    x = ta.Tensor(image([1, np.nan, 7, 8], [3, 9, np.nan, np.nan]), requires_grad=True).to(backend)
    y = ta.max_pool2d(x)
    assert np.isnan(y.numpy()).all()
    y.backward(backend.asarray(np.ones(y.shape)))
    assert np.array_equal(backend.to_host(x.grad), image([0, 1, 0, 0], [0, 0, 1, 0]))


def test_padded_places_never_win_and_are_not_counted():
    x = image([-1, -2, -3], [-4, -5, -6], [-7, -8, -9])
    assert np.array_equal(ta.max_pool2d(x, 2, padding="same").numpy(), image([-1, -3], [-7, -9]))
    assert np.array_equal(ta.avg_pool2d(x, 2, padding="same").numpy(), image([-3, -4.5], [-7.5, -9]))


def test_the_winner_is_kept_and_not_the_image(rng):
    y = ta.max_pool2d(ta.Tensor(rng.normal(size=(2, 6, 6, 3)), requires_grad=True))
    kept = [value for value in y._node.saved if isinstance(value, np.ndarray)]
    assert [value.shape for value in kept] == [y.shape] and kept[0].dtype.kind == "i"


# ---------------------------------------------------------------- upsampling and borders


@pytest.mark.parametrize("factor", [1, 2, 3, (1, 2), (4, 3)])
def test_gradients_of_upsampling(factor, rng):
    for sizes in [(1, 1), (3, 4), (5, 2)]:
        for function in (ta.upsample_nearest, ta.upsample_bilinear):
            right(lambda x, f=function: f(x, factor), rng.normal(size=(2, *sizes, 2)))


def test_nearest_upsampling_repeats():
    y = ta.upsample_nearest(image([1, 2], [3, 4]), (2, 3)).numpy()
    expected = image([1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4], [3, 3, 3, 4, 4, 4])
    assert np.array_equal(y, expected)


def test_bilinear_upsampling_by_hand(backend):
    """Centres of pixels at 1/2 and 3/2; of the new ones at 1/4, 3/4, 5/4, 7/4: a quarter of the way from each."""
    y = ta.upsample_bilinear(ta.Tensor(image([0, 4])).to(backend), (1, 2)).numpy()
    assert np.array_equal(y, image([0, 1, 3, 4]))
    y = ta.upsample_bilinear(ta.Tensor(image([0], [6])).to(backend), (3, 1)).numpy()
    assert np.allclose(y, image([0], [0], [2], [4], [6], [6]), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 5)] * 2), st.integers(0, 2**32 - 1))
def test_upsampling_keeps_constants_bounds_and_symmetry(sizes, factor, seed):
    x = np.random.default_rng(seed).normal(size=(1, *sizes, 2))
    for function in (ta.upsample_nearest, ta.upsample_bilinear):
        y = function(x, factor).numpy()
        assert y.shape == (1, sizes[0] * factor[0], sizes[1] * factor[1], 2)
        assert np.allclose(function(np.full((1, *sizes, 1), 2.5), factor).numpy(), 2.5)
        assert y.min() >= x.min() - 1e-12 and y.max() <= x.max() + 1e-12
        assert np.allclose(function(x[:, ::-1, ::-1], factor).numpy(), y[:, ::-1, ::-1])
    # a pixel comes back whole from its block
    assert np.array_equal(ta.max_pool2d(ta.upsample_nearest(x, factor), factor).numpy(), x)


def test_borders(rng):
    x = rng.normal(size=(2, 3, 4, 2))
    y = ta.pad2d(x, ((1, 0), (2, 3))).numpy()
    assert y.shape == (2, 4, 9, 2) and np.array_equal(y[:, 1:, 2:6], x) and np.isclose(y.sum(), x.sum())
    assert ta.pad2d(x, 2).shape == (2, 7, 8, 2)
    right(lambda x: ta.pad2d(x, ((1, 0), (2, 3))), x)


IMAGE = np.zeros((2, 4, 5, 3))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.max_pool2d(IMAGE, 5), ShapeError,
         "max_pool2d: a window of 5x5 is larger than the image of 4x5: along the height it spans 5 pixels of 4. Use a smaller window"),
        (lambda: ta.avg_pool2d(IMAGE, (2, 7)), ShapeError, "avg_pool2d: a window of 2x7 .* along the width it spans 7 pixels of 5"),
        (lambda: ta.max_pool2d(IMAGE, 0), RangeError, "max_pool2d: size is 0; expected an integer >= 1"),
        (lambda: ta.max_pool2d(IMAGE, 2, 0), RangeError, "stride is 0"),
        (lambda: ta.max_pool2d(IMAGE, 2, 1, 2), ShapeError, "a window could hold nothing but padding"),
        (lambda: ta.max_pool2d(IMAGE[0]), ShapeError, r"has shape \(4, 5, 3\); expected \(N, height, width, channels\).*x\[\.\.\., None\]"),
        (lambda: ta.upsample_nearest(IMAGE, 1.5), RangeError, "upsample_nearest: factor is 1.5"),
        (lambda: ta.upsample_bilinear(np.zeros((2, 60))), ShapeError, r"Reshape\(height, width, channels\) makes images of rows"),
        (lambda: ta.pad2d(IMAGE, -1), RangeError, "pad2d: padding is -1"),
        (lambda: ta.pad2d(IMAGE, ((1, 2), 3)), RangeError, r"padding is \(\(1, 2\), 3\); expected one integer for all sides"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
