"""How well examples are reconstructed: by a model, by PCA with a code of the same size, by the mean example."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..data import place_of
from ..errors import ShapeError
from ..image_quality import peak_of, psnr_of_each, ssim, ssim_window
from ..metrics import LARGEST_PCA, cross_entropy_error, mean_example, pca, pieces, projected, squared_error
from ..plots import is_images
from ..random import Generator
from ..rows import Rows

SSIM_LIMIT = 1_000  # images that SSIM looks at: it takes about a millisecond for each
MOST = 1 << 26  # numbers that PCA is fitted on, or that a probe holds at once

Predictor = Callable[[Any], Any]  # a piece of examples (n, ...), float64 -> their reconstructions


def measure_reconstructions(
    predictors: dict[str, list[Predictor]], x: Any, bce_of: Iterable[str], remarks: list[str]
) -> Any:
    """({measure: {name: [a number for each predictor of that name]}}, how it was measured).

    Each predictor reconstructs x (N, ...) once, piece by piece. ``bce_of`` names those whose cross-entropy has a
    meaning.
    """
    peak = peak_of(x)
    images, window = images_for_ssim(x, remarks)
    found: dict[str, dict[str, list[float]]] = {}
    for name, functions in predictors.items():
        for predict in functions:
            numbers = errors(predict, x, peak, name in set(bce_of) and peak == 1)
            if images is not None:
                numbers["ssim"] = ssim(predict(images), images, peak)
            for measure, number in numbers.items():
                found.setdefault(measure, {}).setdefault(name, []).append(number)
    return found, {"peak": peak, "ssim_window": window}


def errors(predict, x, peak, with_bce):
    """{measure: number} of one predictor."""
    sums = dict.fromkeys(("mse", "bce", "bce_above_floor", "psnr") if with_bce else ("mse", "psnr"), 0.0)
    for _, _, piece in pieces(x):
        made = predict(piece)
        sums["mse"] += squared_error(made, piece).sum() / x.size
        sums["psnr"] += psnr_of_each(made, piece, peak).sum() / len(x)
        if with_bce:
            given, floor = (cross_entropy_error(p, piece).sum() / x.size for p in (made, piece))
            sums["bce"] += given
            sums["bce_above_floor"] += given - floor
    return {name: float(total) for name, total in sums.items()}


def images_for_ssim(x, remarks):
    """(the images that SSIM looks at, the window), or (None, None); what a reader should know of it joins the
    remarks."""
    if not is_images(x.shape):
        return None, None
    side, kind = ssim_window(*x.shape[1:3])
    try:
        import skimage.metrics  # noqa: F401 (ssim uses it)
    except ImportError:
        remarks.append("SSIM needs scikit-image, which is not installed: pip install scikit-image.")
        return None, None
    if not side:
        remarks.append(f"The images have {x.shape[1]}x{x.shape[2]} pixels, and SSIM's window at least 3x3: no SSIM.")
        return None, None
    if len(x) > SSIM_LIMIT:
        remarks.append(f"SSIM looks at {SSIM_LIMIT:,} of the {len(x):,} images.")
    return np.asarray(x[some(len(x), SSIM_LIMIT, 0)], np.float64), f"{side}x{side}, {kind}"


# ---------------------------------------------------------------- predictors


def by_model(model: Any) -> Predictor:
    """What a model makes of examples."""

    def predict(piece):
        made = model.reconstruct(piece.astype(model.dtype))
        if tuple(made.shape) != piece.shape:
            raise ShapeError(
                f"evaluate: of examples (N, ...) of shape {piece.shape} the model makes {tuple(made.shape)}; expected the "
                "shape of its input. End the model with a Reshape(...), or give data of the shape that it makes."
            )
        return np.asarray(place_of(made).to_host(made), np.float64)

    return predict


def by_pca(mean: Any, basis: Any) -> Predictor:
    """The projection on the columns of basis (D, K)."""
    return lambda piece: projected(piece, mean, basis)


def by_mean(x: Any) -> Predictor:
    """The mean of the examples x, whatever is given."""
    mean = mean_example(x)
    return lambda piece: np.broadcast_to(mean, piece.shape)


def fitted_pca(x: Any, components: int, remarks: list[str]) -> tuple[Any, Any] | None:
    """PCA's mean (D,) and first components (D, K), float64; None, and a remark, where it has no meaning or takes too
    long."""
    size = math.prod(x.shape[1:])
    refused = None
    if components >= size:
        refused = f"with {components:,} components for {size:,} numbers it loses nothing"
    elif size > LARGEST_PCA:
        refused = f"an example has {size:,} numbers, and it would take long for more than {LARGEST_PCA:,}"
    elif components >= len(x):
        refused = f"{len(x):,} examples do not have {components:,} components"
    if refused:
        remarks.append(f"No PCA: {refused}.")
        return None
    most = max(MOST // size, components + 1)
    if len(x) > most:
        remarks.append(f"PCA is fitted on {most:,} of {len(x):,} examples.")
        x = Rows(x, index=some(len(x), most, 0))
    mean, vectors = pca(x)
    return mean, vectors[:, : -components - 1 : -1]  # the largest variance is last


def some(n: int, most: int, seed: int) -> Any:
    """Which of n examples are looked at if ``most`` are enough, in their order: all, or those that the seed draws."""
    return np.arange(n) if n <= most else np.sort(Generator(seed).permutation(n)[:most])
