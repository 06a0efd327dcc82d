r"""How good an image looks beside its original: PSNR, in dB, and SSIM, at most 1.

.. math::

    \mathrm{PSNR} = 10 \log_{10} \frac{\mathrm{peak}^2}{\mathrm{MSE}}, \qquad
    \mathrm{SSIM} = \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
                         {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}

SSIM compares means, contrast and structure inside a small window that slides over the image: an image that is only a
bit darker loses little, one that is smeared loses much, though both may have one mean squared error. Wang, Bovik,
Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004), eq. 13.
Computed by scikit-image.
"""

import math
from typing import Any

import numpy as np

from .errors import RangeError, ShapeError, missing_library, require_number
from .metrics import pieces

GAUSSIAN = 11  # pixels a side: the paper's window, with a standard deviation of 1.5 pixels
UNIFORM = 7  # for images that are smaller than that, a plain window of at most this side
BEST = 100.0  # dB: an image without any error would have infinitely many


def psnr(prediction: Any, target: Any, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB, the mean over examples; larger is better.

    Shapes: prediction and target alike, (N, ...). An example's mean squared error is that over its pixels; one whose
    ratio is above 100 dB counts as 100. ``peak`` is the largest value that a pixel can have: 1, or 255 for whole
    numbers.

    Raises
    ------
    ShapeError
        The shapes differ, or there are no examples.
    RangeError
        ``peak`` is not above 0.
    """
    peak = require_number("psnr", "peak", peak, above=0)
    _same_shape("psnr", prediction, target)
    values = [psnr_of_each(p, x, peak) for (_, _, p), (_, _, x) in zip(pieces(prediction), pieces(target))]
    return float(np.concatenate(values).mean())


def psnr_of_each(prediction, target, peak):
    """The PSNR of each example (N,), at most ``BEST``."""
    error = ((prediction - target) ** 2).reshape(len(target), -1).mean(axis=1)
    return 10 * np.log10(peak**2 / np.maximum(error, peak**2 / 10 ** (BEST / 10)))


def ssim_window(height, width):
    """The side of the window that fits images of that size, and its kind; (0, "") if none does."""
    side = min(height, width)
    if side >= GAUSSIAN:
        return GAUSSIAN, "Gaussian"
    side = min(side, UNIFORM)
    side -= side % 2 == 0  # it has a middle
    return (side, "uniform") if side >= 3 else (0, "")


def ssim(prediction: Any, target: Any, peak: float = 1.0) -> float:
    """Structural similarity, the mean over windows, channels and images; 1 for equal images.

    Shapes: prediction and target alike, images (N, H, W) or (N, H, W, C). The window is the paper's, 11x11 pixels
    weighted by a Gaussian with a standard deviation of 1.5; for images with a side below 11, a uniform one of the
    largest odd side that fits, at most 7x7: such numbers cannot be compared with those of larger images. Windows lie
    inside of the image.

    Raises
    ------
    ShapeError
        The shapes differ, these are no images, or they have a side below 3.
    MissingLibraryError
        scikit-image is not installed.
    """
    peak = require_number("ssim", "peak", peak, above=0)
    _same_shape("ssim", prediction, target)
    if len(target.shape) not in (3, 4):
        raise ShapeError(
            f"ssim: arrays of shape {tuple(target.shape)} were given; expected images, (N, H, W) or (N, H, W, C)."
        )
    side, kind = ssim_window(*target.shape[1:3])
    if not side:
        raise ShapeError(f"ssim: the images are {target.shape[1]}x{target.shape[2]}; expected at least 3x3 pixels.")
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise missing_library("ssim", "scikit-image") from error
    window = {"gaussian_weights": True, "sigma": 1.5} if kind == "Gaussian" else {"win_size": side}
    # the paper divides by N, not by N - 1
    window |= {"data_range": peak, "use_sample_covariance": False}
    if len(target.shape) == 4:
        window["channel_axis"] = 2
    values = []
    for (_, _, p), (_, _, x) in zip(pieces(prediction), pieces(target)):
        values += [structural_similarity(image, other, **window) for image, other in zip(x, p)]
    return float(math.fsum(values) / len(values))


def _same_shape(name, prediction, target):
    if tuple(prediction.shape) != tuple(target.shape):
        raise ShapeError(
            f"{name}: the prediction has shape {tuple(prediction.shape)}, the target {tuple(target.shape)}; they must be equal."
        )
    if 0 in target.shape:
        raise ShapeError(
            f"{name}: the arrays are empty, shape {tuple(target.shape)}; no examples or no pixels. Give at least one."
        )
    if len(target.shape) < 2:
        raise ShapeError(
            f"{name}: arrays of shape {tuple(target.shape)} were given; expected (N, ...), one entry per example."
        )


def peak_of(x):
    """The largest value that a pixel can have: 1 for data in [0, 1]; for others the range that is seen."""
    low = min(float(piece.min()) for _, _, piece in pieces(x))
    high = max(float(piece.max()) for _, _, piece in pieces(x))
    if low >= 0 and high <= 1 + 1e-6:
        return 1.0
    if low == high:
        raise RangeError(f"psnr: all values are {low:g}: there is no range to compare an error with.")
    return high - low
