"""A trained run as a compressor: data to a file of coded numbers, and back."""

import io
import math
import os
import shutil
from pathlib import Path

import numpy as np

from ..compression import about_file, decompressed
from ..compression import compress as compress_to
from ..compression.rates import tiled
from ..datasets import load as load_data
from ..datasets.image_folder import SUFFIXES, decoded, survey
from ..errors import FileWriteError, RangeError, ShapeError, missing_library
from ..files import write_whole
from ..memory import readable
from ..plots import is_images
from .outputs import refuse_existing, write_array
from .reporting import short
from .using import examples_of, open_autoencoder

SHEET = 1024  # images that are shown on a sheet


def training_examples(settings):
    """What the run was trained on, or None where that is no longer there: then the data themselves must do."""
    try:
        (x, _), _ = load_data(settings.recipe.data, settings.recipe.labels)
    except (OSError, ValueError):
        return None
    return x if x.shape[1:] == settings.example_shape else None


def examples_in(command, settings, source):
    """(x, what they are) of a data set, a file, a folder of images, or one image."""
    if str(source).lower().endswith(SUFFIXES) and os.path.isfile(source):
        return one_image(command, source, settings), "image"
    x, _, which, _ = examples_of(command, settings, source, None)
    return x, which


def one_image(command, source, settings):
    """A picture as one example of the run's shape, float32 (1, ...) from 0 to 1; a grey one may be (H, W)."""
    try:
        import PIL.Image  # noqa: F401 (used by ``survey``)
    except ImportError as error:
        raise missing_library("an image", "pillow") from error
    folder = os.path.dirname(os.path.abspath(source))
    x = decoded(folder, [source], *survey(folder, [source])) / np.float32(255)
    shape, wanted = x.shape[1:], settings.example_shape
    if wanted != shape and (*wanted, 1) != shape:
        raise ShapeError(
            f"{command}: the run was trained on examples of shape {wanted}, {source} has {shape} (height, width, channels). "
            "Scale or convert the image, or train a run on such."
        )
    return x.reshape(1, *wanted)


def compress(path, source, out, *, bits=None, overwrite=False):
    """Compress data by a trained run; the ranges of its quantiser come from what it was trained on.

    Returns
    -------
    dict
        As ``tinyae.compress``; with the run, the data, and ``raw_bytes``, what the examples take as they are (pixels:
        one byte each).
    """
    refuse_existing("compress", out, overwrite, "OUT", source)
    model, settings = open_autoencoder("compress", path)
    x, which = examples_in("compress", settings, source)
    fit_on = training_examples(settings)
    result = compress_to(model, x, out, bits, fit_on)
    each = 1 if settings.recipe.output == "sigmoid" and is_images(x.shape) else 4
    return result | {
        "run": str(path),
        "data": str(source),
        "which": which,
        "raw_bytes": each * x.size,
        "ranges_from": short(settings.recipe.data) if fit_on is not None else None,
    }


def report_compression(result):
    """A compression as text."""
    n, units = result["examples"], math.prod(result["code_shape"])
    parts, ideal = result["parts"], result["entropy_bits"] / 8
    each = result["bits_per_example"]
    lines = [
        f"{result['out']}: {n:,} {which_of(result)} of {short(result['data'])} in {result['bytes']:,} bytes, {each:,.1f} bits for each",
        f"  {'as they are':24} {result['raw_bytes']:>12,} bytes, {result['raw_bytes'] / result['bytes']:.3g} times as much",
        f"  {'code, not entropy-coded':24} {math.ceil(n * units * result['bits'] / 8):>12,} bytes: {units:,} numbers of {result['bits']} bits",
        f"  {'entropy of the symbols':24} {math.ceil(ideal):>12,} bytes",
        f"  {'in the file: symbols':24} {parts['payload']:>12,} bytes",
        f"  {'header and checksum':24} {parts['header'] + parts['checksum']:>12,} bytes: shapes, ranges, counts, hashes",
        f"promised: mean squared error at most {result['mse_at_most']:.4g}, of no example above {result['worst_mse_at_most']:.4g}",
        f"To decode it, the model in {result['run']} is needed, which is not counted here.",
    ]
    if result["clipped"] > 0.01:
        lines.insert(
            -1, f"  {100 * result['clipped']:.0f} % of the code's numbers lay outside of their ranges and were clipped."
        )
    if result["ranges_from"] is None:
        lines.append("The run's training data are gone, so the ranges of the code were taken from these data.")
    return "\n".join(lines)


def which_of(result):
    """``held-out examples``, or ``image``."""
    return result["which"][:-1] if result["examples"] == 1 and result["which"].endswith("s") else result["which"]


def decompress(path, source, out, *, overwrite=False):
    """Reconstruct what ``compress`` wrote with the same run: ``*.npy``, all examples, piece by piece; ``*.png``, images.

    Returns
    -------
    dict
        What was written, and the error that the file promises.
    """
    kind = Path(out).suffix.lower()
    if kind not in (".png", ".npy"):
        raise RangeError(
            f"decompress: OUT {out} ends in {kind or 'nothing'}; expected an array, FILE.npy, or for images FILE.png."
        )
    refuse_existing("decompress", out, overwrite, "OUT", source)
    model, settings = open_autoencoder("decompress", path)
    about = about_file(source)
    n, shape, shown = about["examples"], tuple(about["example_shape"]), about["examples"]
    pieces = decompressed(model, source)
    if kind == ".png":
        shown = write_sheet(pieces, out, n, shape)
    else:
        refuse_what_the_disk_cannot_hold(out, n * math.prod(shape) * model.dtype.itemsize)
        write_array(out, pieces, (n, *shape), model.dtype.newbyteorder("<").str)
    return {"run": str(path), "file": str(source), "out": str(out), "written": shown, **about}


def refuse_what_the_disk_cannot_hold(out, needed):
    """Say so before it is full."""
    folder = Path(out).parent
    free = shutil.disk_usage(folder).free if folder.is_dir() else needed  # a missing folder is told by ``writing``
    if needed > free:
        raise FileWriteError(f"decompress: {out} takes {readable(needed)}, but the disk has {readable(free)} left.")


def write_sheet(pieces, out, n, shape):
    """Images side by side in one PNG, pixel by pixel, the first SHEET of them; returns how many."""
    if not is_images((n, *shape)):
        raise RangeError(f"decompress: examples of shape {shape} are no images; give an OUT that ends in .npy.")
    try:
        import PIL.Image
    except ImportError as error:
        raise missing_library("writing a PNG", "pillow") from error
    images, count = [], 0
    for piece in pieces:
        images.append(piece[: SHEET - count])
        count += len(images[-1])
        if count == SHEET:
            break
    images = np.concatenate(images).reshape(count, *shape[:2], -1)
    sheet = np.rint(255 * np.clip(tiled(images), 0, 1)).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet).save(file, "PNG")
    write_whole(out, file.getvalue())
    return count


def report_decompression(result):
    """What was decompressed, as text."""
    n, shown = result["examples"], result["written"]
    what = f"{n:,} examples" if shown == n else f"the first {shown:,} of {n:,} images"
    return (
        f"written to {result['out']}: {what}, from codes of {math.prod(result['code_shape']):,} numbers of {result['bits']} bits; "
        f"mean squared error against the originals at most {result['mse_at_most']:.4g}, as the file promises"
    )
