"""PSNR and SSIM against numbers worked out by hand, and against what is known of them."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import MissingLibraryError, RangeError, ShapeError
from tinyae.image_quality import peak_of, psnr_of_each, ssim_window


def test_psnr_of_known_errors():
    x = np.full((3, 4, 4), 0.5)
    assert np.isclose(ta.psnr(x + 0.1, x), 20)  # 10 log10(1 / 0.01)
    assert np.isclose(ta.psnr(255 * (x + 0.1), 255 * x, peak=255), 20)
    assert np.isclose(ta.psnr(x + 0.1, x, peak=2), 20 + 20 * np.log10(2))


def test_psnr_is_a_mean_over_examples_and_bounded():
    x = np.zeros((2, 5))
    made = np.stack([np.full(5, 0.1), np.full(5, 0.01)])
    assert np.isclose(ta.psnr(made, x), 30)  # 20 and 40; that of both errors together would be 23
    assert ta.psnr(x, x) == 100
    assert psnr_of_each(made, x, 1.0).shape == (2,)


def test_psnr_in_pieces_is_the_same(rng, monkeypatch):
    x, made = rng.random((50, 6)), rng.random((50, 6))
    whole = ta.psnr(made, x)
    monkeypatch.setattr("tinyae.metrics.PIECE", 17)
    assert np.isclose(ta.psnr(made, ta.Rows(x)), whole)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((np.zeros((2, 3)), np.zeros((3, 2))), ShapeError, r"\(2, 3\), the target \(3, 2\)"),
        ((np.zeros((0, 3)), np.zeros((0, 3))), ShapeError, "no examples"),
        ((np.zeros((2, 0)), np.zeros((2, 0))), ShapeError, "no pixels"),
        ((np.zeros(3), np.zeros(3)), ShapeError, "one entry per example"),
        ((np.zeros((2, 3)), np.zeros((2, 3)), 0), RangeError, "peak is 0"),
    ],
)
def test_what_has_no_psnr(arguments, error, message):
    with pytest.raises(error, match=message):
        ta.psnr(*arguments)


def test_the_peak_is_one_for_pixels_and_the_range_for_others():
    assert peak_of(np.array([[0.2, 0.7]])) == 1
    assert peak_of(np.array([[-1.0, 3.0]])) == 4
    with pytest.raises(RangeError, match="all values are 7"):
        peak_of(np.full((3, 2), 7.0))


def test_the_window_of_ssim_fits_the_image():
    assert ssim_window(28, 28) == (11, "Gaussian") and ssim_window(11, 40) == (11, "Gaussian")
    assert ssim_window(8, 8) == (7, "uniform") and ssim_window(10, 28) == (7, "uniform")
    assert ssim_window(6, 9) == (5, "uniform") and ssim_window(3, 3) == (3, "uniform")
    assert ssim_window(2, 28) == (0, "")


# ---------------------------------------------------------------- with scikit-image


@pytest.fixture
def images(rng):
    """Smooth images of two sizes that SSIM can be asked about."""
    pytest.importorskip("skimage", reason="SSIM needs scikit-image")
    rows, columns = np.mgrid[:28, :28] / 28
    return np.stack(
        [np.clip(np.sin(rng.uniform(2, 9) * rows + rng.uniform(2, 9) * columns) / 2 + 0.5, 0, 1) for _ in range(4)]
    )


def by_the_paper(x, y, peak=1.0):
    """Eq. 13, window by window, with the paper's 11x11 Gaussian."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / np.outer(weights, weights).sum()
    c1, c2, values = (0.01 * peak) ** 2, (0.03 * peak) ** 2, []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * a**2).sum() - ma**2, (weights * b**2).sum() - mb**2
            cov = (weights * a * b).sum() - ma * mb
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_is_the_papers(images, rng):
    noisy = np.clip(images + rng.normal(0, 0.1, images.shape), 0, 1)
    expected = np.mean([by_the_paper(x, y) for x, y in zip(images, noisy)])
    assert np.isclose(ta.ssim(noisy, images), expected, atol=1e-6)
    assert np.isclose(ta.ssim(noisy[..., None], images[..., None]), expected, atol=1e-6)
    assert np.isclose(ta.ssim(255 * noisy, 255 * images, peak=255), expected, atol=1e-6)


def test_ssim_of_equal_and_of_smeared_images(images):
    assert np.isclose(ta.ssim(images, images), 1)
    darker, smeared = images - 0.1, np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    assert ta.ssim(smeared, images) < 0.5 < ta.ssim(darker, images)
    assert ta.psnr(smeared, images) < ta.psnr(darker, images)


def test_ssim_of_small_and_coloured_images(images):
    small = images[:, :8, :8]
    assert np.isclose(ta.ssim(small, small), 1) and ta.ssim(1 - small, small) < 0.5
    colours = np.stack([images, images**2, 1 - images], axis=3)
    changed = np.stack([images, images**2, images], axis=3)  # one channel of three is wrong
    expected = (2 + ta.ssim(images, 1 - images)) / 3
    assert np.isclose(ta.ssim(changed, colours), expected)


def test_ssim_of_what_are_no_images(images):
    with pytest.raises(ShapeError, match="expected images"):
        ta.ssim(images.reshape(4, -1), images.reshape(4, -1))
    with pytest.raises(ShapeError, match="at least 3x3"):
        ta.ssim(images[:, :2], images[:, :2])


def test_without_scikit_image_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.metrics", None)
    x = np.zeros((1, 9, 9))
    with pytest.raises(MissingLibraryError, match="pip install scikit-image"):
        ta.ssim(x, x)
