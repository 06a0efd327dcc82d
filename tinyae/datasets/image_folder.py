"""A folder of images as one array. Pillow reads them."""

import os
import warnings
from collections import Counter

import numpy as np

from ..errors import DataFileError, missing_library

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}  # by Pillow's names
MODES = {channels: mode for mode, channels in CHANNELS.items()}
SHOWN = 3  # so many unreadable files are named


def read_images(path):
    """All images in a folder.

    Files are taken in the order of their names; hidden ones and those without an image's suffix are
    passed over. Where the folder has no images itself, its subfolders are classes: y is the place of the
    subfolder in the sorted names. Two such subfolders called ``train`` and ``test`` are two parts instead,
    each a folder like this one.

    All images must have one size, and one mode: grey ("L", 1 channel), "RGB" (3) or "RGBA" (4). Only two
    modes are converted, without loss: black and white becomes grey; a palette becomes RGB, or RGBA if it
    has transparency. Pixels are taken as stored: a camera's note to turn the picture is not followed.

    Returns
    -------
    [(x, y)] or [(x, y), (x_test, y_test)]
        x uint8 (N, H, W, channels), y int64 (N,) or None.

    Raises
    ------
    DataFileError
        No images; unreadable ones (counted, the first few named); different sizes or modes (each counted,
        with an example).
    MissingLibraryError
        Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401 (used by ``opened``)
    except ImportError as error:
        raise missing_library("a folder of images", "pillow") from error
    files, folders = contents(path)
    if not files and set(folders) == {"train", "test"}:
        parts = [labelled_files(folders[name]) for name in ("train", "test")]
        (_, train), (_, test) = parts
        if train != test:
            raise DataFileError(
                f"load: in {path} the part train has the classes {train}, but test {test}; expected the same subfolders in both."
            )
    else:
        parts = [labelled_files(path)]
    properties = survey(path, [file for labelled, _ in parts for file, _ in labelled])
    return [
        (
            decoded(path, [file for file, _ in labelled], *properties),
            np.array([label for _, label in labelled]) if classes else None,
        )
        for labelled, classes in parts
    ]


def labelled_files(path):
    """([(file, class number), ...], names of the classes) in a folder."""
    files, folders = contents(path)
    classes = {name: inside for name, folder in folders.items() if (inside := contents(folder)[0])}
    if files and classes:
        raise DataFileError(
            f"load: {path} has images ({len(files)}) and subfolders with images ({', '.join(classes)}). "
            "Move the images into a subfolder, if subfolders are classes; or give one folder without subfolders."
        )
    if files:
        return [(file, 0) for file in files], []
    if not classes:
        raise DataFileError(
            f"load: the folder {path} has no images, nor have its subfolders. Expected files ending in {' '.join(SUFFIXES)}."
        )
    return [(file, number) for number, inside in enumerate(classes.values()) for file in inside], list(classes)


def contents(path):
    """The images and {name: path} of the subfolders in a folder, sorted by name."""
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise DataFileError(f"load: the folder {path} cannot be read: {error.strerror}.") from error
    paths = {name: os.path.join(path, name) for name in names}
    files = [p for name, p in paths.items() if name.lower().endswith(SUFFIXES) and os.path.isfile(p)]
    return files, {name: p for name, p in paths.items() if os.path.isdir(p)}


def survey(path, files):
    """The (width, height) and the mode that all images have, from their headers alone."""
    sizes, modes, examples, bad = Counter(), Counter(), {}, []
    for file in files:
        try:
            with opened(file) as image:
                found = image.size, mode_of(image)
        except Exception as error:  # Pillow raises a dozen kinds on damaged files
            bad.append((file, error))
            continue
        for counter, value in zip((sizes, modes), found):
            counter[value] += 1
            examples.setdefault(value, os.path.relpath(file, path))
    refuse_unreadable(path, len(files), bad)
    if len(sizes) > 1:
        listing = described(sizes, examples, lambda size: f"{size[0]}x{size[1]} pixels")
        raise DataFileError(f"load: the images in {path} differ in size: {listing}. Scale or cut all to one size.")
    if len(modes) > 1:
        listing = described(modes, examples, str)
        raise DataFileError(
            f"load: the images in {path} differ in mode: {listing}. Convert all to one, such as grey: image.convert('L')."
        )
    (size,), (mode,) = sizes, modes
    if mode not in CHANNELS:
        cure = "Convert them, such as image.convert('RGB')."
        if "16" in mode or mode in "IF":
            cure = "Save them with 8 bits per channel, or all as one float32 array in a .npy file."
        raise DataFileError(
            f"load: the images in {path} have the mode {mode}, such as {examples[mode]}; expected {', '.join(CHANNELS)}. {cure}"
        )
    return size, mode


def decoded(path, files, size, mode):
    """The pixels of all images, uint8 (N, H, W, channels)."""
    shape = (len(files), size[1], size[0], CHANNELS[mode])
    try:
        pixels = np.empty(shape, np.uint8)
    except MemoryError:
        raise DataFileError(
            f"load: the images in {path} need more than the free memory, as {shape} bytes. Save them as one uint8 array "
            "in a .npy file, which is read piece by piece (np.lib.format.open_memmap writes it so)."
        ) from None
    bad = []
    for row, file in zip(pixels, files):
        try:
            with opened(file) as image:
                row[:] = np.asarray(image if image.mode == mode else image.convert(mode)).reshape(row.shape)
        except Exception as error:  # see ``survey``
            bad.append((file, error))
    refuse_unreadable(path, len(files), bad)
    return pixels


def opened(file):
    """A Pillow image, its header read; pictures so large that Pillow warns of them are refused."""
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        image = PIL.Image.open(file)
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photograph with a preview
        image.close()
        raise ValueError("several pictures in one file")
    return image


def mode_of(image):
    """The mode as which an image is read."""
    if any(";16" in str(tile) for tile in image.tile) and ";16" not in image.mode:
        return f"{image.mode};16"  # Pillow would drop half of the 16 bits per channel
    if image.mode == "P":
        return "RGBA" if "transparency" in image.info else "RGB"
    return "L" if image.mode == "1" else image.mode


def refuse_unreadable(path, count, bad):
    """The error for files that are no images, or broken ones."""
    if bad:
        named = "; ".join(f"{os.path.relpath(file, path)} ({error})" for file, error in bad[:SHOWN])
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataFileError(
            f"load: {len(bad)} of {count} images in {path} cannot be read: {named}{more}. Remove or replace them."
        )


def described(counter, examples, text):
    """What was found how often, the most frequent first, with a file of each."""
    kinds = counter.most_common()
    listing = ", ".join(f"{count} of {text(kind)} (such as {examples[kind]})" for kind, count in kinds[:5])
    return listing if len(kinds) <= 5 else f"{listing}, and {len(kinds) - 5} others"
