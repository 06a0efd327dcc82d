"""Rate and distortion: how many bits an example costs, and what error is left, beside PCA, JPEG and PNG.

A rate-distortion curve has one point for each number of bits of a code unit. Both numbers are measured on real files:
their size, and the error of what they decode to. Cover and Thomas, "Elements of Information Theory" (2006), chapter 10.
"""

import io
import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import FLOATS
from ..data import spread_evenly
from ..datasets.image_folder import MODES
from ..errors import DataFileError, missing_library
from ..metrics import pca
from ..nn.module import Module
from ..tensor import Tensor
from .coding import compress, decompressed

QUALITIES = (1, 5, 10, 25, 50, 75, 95)  # of JPEG
IMAGES = 2000  # files of one image each that are made to know their mean size
SHEET = 1 << 26  # pixels of a sheet of all images
CHECKED = 1.002  # a file's error may be above its promise by no more than what another order of sums rounds


class PrincipalComponents(Module):
    """PCA as a model: code = (x - mean) B, reconstruction = code B^T + mean.

    Shapes: (N, ...) -> code (N, K) -> (N, ...). Parameters: mean (D,), basis (D, K), the shape of an example; where
    ``unit_interval`` the reconstruction is clipped to [0, 1], as pixels are, which only makes it better.
    """

    def __init__(self, mean: Any, basis: Any, example_shape: Sequence[int], unit_interval: bool) -> None:
        self.mean, self.basis = Tensor(np.asarray(mean, np.float32)), Tensor(np.asarray(basis, np.float32))
        self.example_shape, self.unit_interval = tuple(example_shape), unit_interval

    def encode(self, x: Any) -> Any:
        """The components of x, an array."""
        return (np.reshape(x, (len(x), -1)) - self.mean.data) @ self.basis.data

    def decode(self, z: Any) -> Any:
        """The reconstruction from components, an array."""
        x = (z @ self.basis.data.T + self.mean.data).reshape(len(z), *self.example_shape)
        return np.clip(x, 0, 1) if self.unit_interval else x

    def config(self) -> dict[str, Any]:
        return {"example_shape": list(self.example_shape), "unit_interval": self.unit_interval}


def principal_components(x: Any, sizes: Sequence[int], unit_interval: bool) -> dict[int, PrincipalComponents]:
    """PCA of training examples x (N, ...) with each number of components that is possible."""
    mean, vectors = pca(x)
    return {
        k: PrincipalComponents(mean, vectors[:, ::-1][:, :k], x.shape[1:], unit_interval)
        for k in sorted(set(sizes))
        if k <= len(vectors)
    }


def decoder_bytes(model: Any) -> int:
    """What has to be there to decode a file: every number of a model that is not of its encoder alone."""
    encoding = ("encoder", "mu", "log_var")  # the last two are the heads of a variational one's encoder
    ends = [getattr(model, name) for name in encoding if isinstance(getattr(model, name, None), Module)]
    needed = (
        {id(t) for _, t in model.decoder.named_tensors()}
        if isinstance(getattr(model, "decoder", None), Module)
        else set()
    )
    spared = {id(tensor) for end in ends for _, tensor in end.named_tensors()} - needed
    tensors = [tensor for _, tensor in model.named_tensors() if id(tensor) not in spared and tensor.dtype in FLOATS]
    return sum(tensor.size * tensor.dtype.itemsize for tensor in tensors)


def rate_distortion(model: Any, x: Any, bits: Sequence[int], fit_on: Any = None) -> list[dict[str, Any]]:
    """One dict for each number of bits of a code unit: ``bytes`` of a real file, ``bits_per_example``, and ``mse`` of
    what the file decodes to. Arguments as in ``compress``.

    A model whose codes are whole numbers has one point, whatever the bits.
    """
    points: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "codes.tae")
        discrete = np.asarray(
            model.backend.to_host(model.encode(model.backend.asarray(np.asarray(x[:1], model.dtype))))
        )
        for b in [None] if discrete.dtype.kind in "iu" else bits:
            made = compress(model, x, path, b, fit_on)
            mse = error_of(model, path, x)
            if mse > CHECKED * made["mse_at_most"]:
                raise DataFileError(f"rates: a file promised an error of {made['mse_at_most']}, but has {mse}.")
            names = ("bits", "bytes", "bits_per_example", "entropy_bits", "mse_at_most")
            points.append({**{name: made[name] for name in names}, "mse": mse})
    return points


def error_of(model, path, x):
    """The mean squared error of what a file decodes to."""
    sums, start = [], 0
    for piece in decompressed(model, path):
        sums.append(np.square(np.asarray(x[start : start + len(piece)], np.float64) - piece).sum())
        start += len(piece)
    return math.fsum(sums) / x.size


def error_at(points: Sequence[dict[str, Any]], rate: float) -> float | None:
    """The error of a curve at so many bits per example, between its points by their logarithms.

    None below its first point; beyond its last one it stays as it is there.
    """
    found = sorted((point["bits_per_example"], point["mse"]) for point in points)
    if not found or rate < found[0][0]:
        return None
    rates, errors = zip(*found)
    return float(np.exp(np.interp(rate, rates, np.log(np.maximum(errors, 1e-30)))))


def at_equal_bits(points: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each point of one curve beside the other curve at as many bits per example, where that has a value."""
    pairs = ((point, error_at(others, point["bits_per_example"])) for point in points)
    return [
        {"bits_per_example": point["bits_per_example"], "mse": point["mse"], "other_mse": other}
        for point, other in pairs
        if other is not None
    ]


# ---------------------------------------------------------------- JPEG and PNG, by Pillow


def image_files(x: Any) -> dict[str, list[dict[str, Any]]]:
    """What images (N, H, W, C) with values in [0, 1] cost as JPEG and PNG: {label: points}, as ``rate_distortion`` gives them.

    Once as a file for each image, which for small images is mostly header (of IMAGES of them, evenly spread), and once
    as one sheet with all.
    """
    try:
        import PIL.Image  # noqa: F401 (used below)
    except ImportError as error:
        raise missing_library("JPEG and PNG", "pillow") from error
    singles = np.asarray(x[spread_evenly(len(x), IMAGES)])
    most = max(1, SHEET // (x.shape[1] * x.shape[2]))
    whole = np.asarray(x[:most])
    found = {}
    for label, images in (("one file for each image", singles[:, None]), ("one sheet of all images", [whole])):
        for kind in ("JPEG", "PNG"):
            if kind == "JPEG" and x.shape[3] == 4:
                continue  # it knows no transparency
            settings: list[dict[str, Any]] = (
                [{"quality": q, "optimize": True} for q in QUALITIES] if kind == "JPEG" else [{"optimize": True}]
            )
            found[f"{kind}, {label}"] = [measured(images, kind, given) for given in settings]
    return found


def measured(groups, kind, settings):
    """Mean size and error of groups of images, each group in one file."""
    import PIL.Image

    total, error, count, numbers = 0, 0.0, 0, 0
    for group in groups:
        pixels = np.rint(255 * np.clip(tiled(group), 0, 1)).astype(np.uint8)
        file = io.BytesIO()
        PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels, MODES[pixels.shape[2]]).save(
            file, kind, **settings
        )
        total += len(file.getvalue())
        with PIL.Image.open(file) as again:
            back = np.asarray(again, np.float64).reshape(pixels.shape) / 255
        error += float(np.square(untiled(back, *group.shape[:3]) - group).sum())
        count, numbers = count + len(group), numbers + group.size
    point = {"bytes": total, "bits_per_example": 8 * total / count, "mse": error / numbers}
    return {**point, **({"quality": settings["quality"]} if "quality" in settings else {})}


def tiled(images):
    """Images (n, H, W, C) as one, nearly square, (rows H, columns W, C); what is left over is 0."""
    n, height, width, channels = images.shape
    columns = math.isqrt(n - 1) + 1
    rows = -(-n // columns)
    canvas = np.zeros((rows * columns, height, width, channels), images.dtype)
    canvas[:n] = images
    return (
        canvas.reshape(rows, columns, height, width, channels)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, channels)
    )


def untiled(canvas, n, height, width):
    """The images that ``tiled`` put together."""
    rows, columns = canvas.shape[0] // height, canvas.shape[1] // width
    return (
        canvas.reshape(rows, height, columns, width, -1).swapaxes(1, 2).reshape(rows * columns, height, width, -1)[:n]
    )
