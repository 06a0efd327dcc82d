"""Which examples are most like a given one: by a run's code, and by the raw numbers."""

import os

import numpy as np

from ..datasets import load as load_data
from ..datasets.image_folder import MODES, opened
from ..errors import DataFileError, RangeError, ShapeError, known_name, missing_library, require_integer
from ..evaluation.measuring import codes_of
from ..evaluation.neighbours import flat_rows, nearest
from ..evaluation.reconstructions import MOST, some
from ..plots import draw_neighbours, is_images, new_figure
from .pictures import checked_picture, claimed
from .reporting import numbers_called, short
from .using import examples_of, open_autoencoder

AMONG = ("held-out", "training")


def search(path, image, *, k=8, among="held-out", data=None, labels=None, out=None, overwrite=False):
    """The examples nearest to an image, by the code of a run and by the raw numbers; drawn.

    Parameters
    ----------
    image : str or int
        A file, .png (or another image) or .npy with one example; or the number of a held-out example, from 0.
    k : int
        How many are found.
    among : str
        "held-out" or "training": which of the run's examples are searched.
    data, labels : str, optional
        Other data to search, all of them; a number is then one of theirs.
    out : path, optional
        FILE.png; by default search.png in the run's folder.

    Returns
    -------
    dict
        ``by_code`` and ``by_pixels``: for each that was found its number, label and distance, the nearest first. An
        example does not find itself.
    """
    k = require_integer("search", "--k", k, at_least=1)
    among = known_name("part to search (--among)", among, dict.fromkeys(AMONG))
    out, inside = checked_picture("search", path, out, overwrite)
    new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_autoencoder("search", path, "code")
    if data is not None and among == "training":
        raise RangeError(
            "search: --among training is of the run's own data; with --data all of those are searched. Leave one out."
        )
    x, y, which, data = examples_of("search", settings, data, labels)
    number = number_in(image)
    if number is None:
        query, own = read_example(os.fsdecode(image), settings), None
        title, remark = short(os.fsdecode(image)), brightness_remark(query, x)
    else:
        if not 0 <= number < len(x):
            raise RangeError(
                f"search: IMAGE is {number}; {data} has {len(x)} {which}: expected 0 to {len(x) - 1}, or a file."
            )
        query, own = np.asarray(x[number : number + 1]), None if y is None else int(y[number])
        title, remark = f"{which.removesuffix('s')} {number}", None
    if among == "training":
        x, y = load_data(settings.recipe.data, labels or settings.recipe.labels)[0]
        which = "training examples"
    rows = some(len(x), max(k + 1, MOST // int(np.prod(x.shape[1:]))), 0)
    if number is not None and among == "held-out":
        rows = rows[rows != number]
    if k > len(rows):
        raise RangeError(f"search: --k is {k}, but there are {len(rows)} {which} to be found. Give a smaller one.")
    searched = x[rows]
    ways = {"code": lambda part: codes_of(model, part), "pixels": lambda part: flat_rows("search", "the data", part)}
    found = {}
    for name, view in ways.items():
        (index,), (distance,) = nearest(view(searched), view(query), k)
        found[f"by_{name}"] = [
            {"example": int(rows[i]), "label": None if y is None else int(y[rows[i]]), "distance": float(d)}
            for i, d in zip(index, distance)
        ]
    numbers = numbers_called(x.shape)
    code = settings.recipe.code_size(x.shape[1:])
    names = {
        "by_code": f"by the code\n({code} numbers)",
        "by_pixels": f"by the raw {numbers}\n({flat_rows('search', 'x', query).size})",
    }
    drawn = {names[way]: [(np.asarray(x[one["example"] : one["example"] + 1])[0], one["label"], one["distance"]) for one in ones]
             for way, ones in found.items()}  # fmt: skip
    note = f"{settings.recipe.name}: the nearest of {len(rows):,} {which} of {short(data)}"
    with claimed("search", path, inside):
        draw_neighbours((title, query[0], own), drawn, out, note)
    return {"run": str(path), "recipe": settings.recipe.name, "data": data, "which": which, "examples": len(rows),
            "query": {"image": str(image), "example": number, "label": own}, "numbers": numbers, **found,
            "remarks": [remark] if remark else [], "out": str(out)}  # fmt: skip


def number_in(image):
    """The number that IMAGE is, or None for a file."""
    if isinstance(image, (int, np.integer)) and not isinstance(image, bool):
        return int(image)
    text = os.fsdecode(image)
    return int(text) if text.lstrip("-").isdecimal() and not os.path.exists(text) else None


def read_example(path, settings):
    """One example (1, ...) from a file, as those that the run was trained on."""
    shape = settings.example_shape
    if not os.path.isfile(path):
        raise DataFileError(
            f"search: there is no file {path}. Give an image (.png), an array (.npy), or the number of a held-out example."
        )
    found = read_array(path) if path.lower().endswith(".npy") else read_picture(path, shape)
    found = found.astype(np.float32) / np.float32(255) if found.dtype == np.uint8 else found.astype(np.float32)
    if found.shape[:1] == (1,) and found.ndim == len(shape) + 1:
        found = found[0]
    if found.shape != shape and not (found.size == np.prod(shape) and found.shape == shape[:2]):
        raise ShapeError(
            f"search: {path} has the shape {found.shape}, the run was trained on examples of shape {shape}. "
            "Scale or cut it to that size, and give one example."
        )
    if not np.isfinite(found).all():
        raise RangeError(f"search: {path} has NaN or infinite values. Replace them.")
    if settings.recipe.output == "sigmoid" and (found.min() < -1e-6 or found.max() > 1 + 1e-6):
        raise RangeError(
            f"search: {path} ranges from {found.min():.6g} to {found.max():.6g}, the run was trained on values in [0, 1]. "
            "Divide pixels by 255."
        )
    return found.reshape(1, *shape)


def read_array(path):
    """The array in a .npy file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataFileError(f"search: {path} cannot be read as a .npy file: {error}.") from error
    if array.dtype.kind not in "uifb":
        raise DataFileError(f"search: {path} holds {array.dtype}; expected numbers.")
    return array


def read_picture(path, shape):
    """The pixels of an image, uint8 (H, W, C), with as many channels as the run's examples have."""
    if not is_images((1, *shape)):
        raise ShapeError(
            f"search: {path} is to be read as an image, but the run was trained on examples of shape {shape}, which are none. "
            "Give a .npy file, or the number of a held-out example."
        )
    try:
        with opened(path) as image:
            channels = shape[2] if len(shape) == 3 else 1
            return np.asarray(image.convert(MODES[channels])).reshape(image.height, image.width, channels)
    except ImportError as error:
        raise missing_library("reading an image", "pillow") from error
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        raise DataFileError(f"search: {path} cannot be read as an image: {error}.") from error


def brightness_remark(query, x):
    """A remark if an image is dark where the data are bright, or the reverse: the usual slip with one's own drawing."""
    if not is_images(x.shape):
        return None
    border = np.ones(x.shape[1:3], bool)
    border[1:-1, 1:-1] = False
    own, usual = (
        float(query[0][border].mean()),
        float(np.mean([np.mean(image[border]) for image in np.asarray(x[:100])])),
    )
    if (own > 0.75 and usual < 0.25) or (own < 0.25 and usual > 0.75):
        one, other = ("bright", "dark") if own > usual else ("dark", "bright")
        return f"The image has a {one} border, the run's data a {other} one. Is it to be inverted?"
    return None


def report_search(result):
    """What was found, in words."""
    query = result["query"]
    what = query["image"] if query["example"] is None else f"example {query['example']}"
    label = "" if query["label"] is None else f", label {query['label']}"
    lines = [
        f"{result['run']}: nearest to {what}{label}, of {result['examples']:,} {result['which']} of {result['data']}"
    ]
    for way, name in (("by_code", "the code"), ("by_pixels", f"the raw {result['numbers']}")):
        lines.append(f"  by {name}:")
        for one in result[way]:
            label = "" if one["label"] is None else f"  label {one['label']}"
            lines.append(f"    example {one['example']:>6}{label}  distance {one['distance']:.4g}")
    return "\n".join([*lines, *result["remarks"], f"written to {result['out']}"])
