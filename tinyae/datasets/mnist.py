"""MNIST and two data sets made in its image, from their own files (IDX), each file checked before it is used.

Sources: LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998); Xiao, Rasul and
Vollgraf, "Fashion-MNIST" (2017); Clanuwat et al., "Deep learning for classical Japanese literature" (2018).
"""

import gzip
import hashlib
import io
import os
import zlib
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..errors import DataFileError, DownloadError, FileWriteError, missing_library
from .download import fetch

Array = np.ndarray[Any, Any]

# the four files of each data set and their shapes
PARTS = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}
LARGEST = 1 << 26  # bytes; no file of these data sets is larger


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and the SHA-256 of its four files."""

    name: str
    title: str
    mirrors: tuple
    hashes: tuple
    of_contents: bool  # the hashes are those of the unpacked files, and nothing else is accepted


MNIST = Source(
    "mnist",
    "MNIST",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    of_contents=True,
)
FASHION_MNIST = Source(
    "fashion_mnist",
    "Fashion-MNIST",
    (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    of_contents=False,
)
KMNIST = Source(
    "kmnist",
    "KMNIST",
    ("https://storage.googleapis.com/kuzushiji-mnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
    (
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    of_contents=False,
)
KNOWN = {
    digest: (source, name) for source in (MNIST, FASHION_MNIST, KMNIST) for name, digest in zip(PARTS, source.hashes)
}


def load_mnist() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """MNIST: 70,000 handwritten digits, 0 to 9, of 28x28 pixels.

    Taken from the first of: the folder ``$TINYAE_DATA/mnist`` with the four IDX files, plain or .gz;
    tinyae's folder in the user's cache; the network, into that cache (12 MB, once). Every file must
    have the SHA-256 of the true one.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images float32 (60000, 28, 28, 1) and (10000, 28, 28, 1) in [0, 1]; labels uint8.

    Raises
    ------
    DataFileError
        A file in ``$TINYAE_DATA/mnist`` is damaged or another one. (In the cache it is downloaded again.)
    DownloadError
        No folder has the files, and no mirror could be reached.
    FileWriteError
        The cache cannot be written.
    MissingLibraryError
        pooch, which downloads, is not installed.
    """
    return load_source(MNIST)


def load_fashion_mnist() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Fashion-MNIST: 70,000 photographs of clothing in ten classes, in the format of MNIST.

    Found, returned and refused as by ``load_mnist``; its folder is ``fashion_mnist``. Files packed
    anew, whose SHA-256 is not known, are checked for their structure.
    """
    return load_source(FASHION_MNIST)


def load_kmnist() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """KMNIST: 70,000 cursive Japanese characters in ten classes, in the format of MNIST.

    Found, returned and refused as by ``load_mnist``; its folder is ``kmnist``. Files packed anew,
    whose SHA-256 is not known, are checked for their structure.
    """
    return load_source(KMNIST)


def load_source(source):
    """The four arrays of a data set from the first place that has it."""
    arrays, seen = from_user(source)
    if arrays is None:
        arrays = from_cache(source, seen)
    x, y, x_test, y_test = arrays
    x, x_test = (images[..., None] / np.float32(255) for images in (x, x_test))
    return (x, y.copy()), (x_test, y_test.copy())  # the labels would look into the bytes of the file, read-only


def from_user(source):
    """The arrays in the folder the user named, or None; and what was seen there, for an error message."""
    top = os.environ.get("TINYAE_DATA")
    if not top:
        return None, "TINYAE_DATA (not set)"
    folder = os.path.join(os.path.expanduser(top), source.name)
    paths = {name: next(existing(folder, name), None) for name in PARTS}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        lacks = f"lacks {', '.join(missing)}" if os.path.isdir(folder) else "does not exist"
        return None, f"TINYAE_DATA={top} (the folder {folder} {lacks})"
    arrays = []
    for name, path in paths.items():
        try:
            arrays.append(decode(source, name, read(path)))
        except DataFileError as error:
            raise DataFileError(
                f"load_{source.name}: {path} is not used: {error}. Put a good copy of {name} there, "
                "or unset TINYAE_DATA to have it downloaded."
            ) from error
    return arrays, None


def from_cache(source, seen):
    """The arrays in the user's cache, after downloading the files that are not there or not good."""
    try:
        from pooch import os_cache
    except ImportError as error:
        raise missing_library(
            f"load_{source.name}: {source.title} is not in {seen}; downloading it", "pooch"
        ) from error
    folder = os.path.join(os_cache("tinyae"), source.name)
    arrays = []
    for name in PARTS:
        bad = []
        for path in existing(folder, name):
            try:
                arrays.append(decode(source, name, read(path)))
                break
            except DataFileError as error:
                bad.append(f"{path} is there but not used: {error}")
        else:
            arrays.append(downloaded(source, name, folder, [seen, f"the cache {folder}", *bad]))
    return arrays


def downloaded(source, name, folder, looked):
    """One file, fetched into the cache."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise FileWriteError(
            f"load_{source.name}: the folder {folder} cannot be made: {error.strerror}. "
            f"Or put the four files into a folder X/{source.name} and set TINYAE_DATA=X."
        ) from error
    urls = [f"{mirror}{name}.gz" for mirror in source.mirrors]
    try:
        return fetch(urls, os.path.join(folder, f"{name}.gz"), partial(decode, source, name))
    except DownloadError as error:
        raise DownloadError(
            f"load_{source.name}: {name} is not on this machine and could not be downloaded. "
            f"Looked in: {'; '.join(looked)}. Tried: {error}. "
            f"Either put the four files {', '.join(PARTS)}, plain or .gz, into a folder X/{source.name} and set "
            "TINYAE_DATA=X; or connect to the network and run again."
        ) from error


def existing(folder, name):
    """The paths in the folder under which the file may stand, of those that exist."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = os.path.join(folder, spelling + suffix)
            if os.path.isfile(path):
                yield path


def read(path):
    """The bytes of a file that cannot be large."""
    try:
        size = os.path.getsize(path)
        if size > LARGEST:
            raise DataFileError(f"it is too large, {size} bytes")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataFileError(f"it cannot be read: {error.strerror}") from error


def decode(source, name, raw):
    """The numbers in an IDX file, plain or .gz, after every check.

    An IDX file begins with the bytes 0, 0, the type (8: unsigned bytes) and the number of dimensions;
    then come the dimensions as big-endian 32-bit numbers, then the data.

    Returns
    -------
    uint8 array of the shape in PARTS, looking into the bytes of the file

    Raises
    ------
    DataFileError
        Says what is wrong, but not in which file.
    """
    content = unpacked(raw)
    digest = hashlib.sha256(content).hexdigest()
    known = KNOWN.get(digest) or KNOWN.get(hashlib.sha256(raw).hexdigest())
    if known not in (None, (source, name)):
        raise DataFileError(f"it is the file {known[1]} of {known[0].title}; expected {name} of {source.title}")
    shape = PARTS[name]
    magic = bytes((0, 0, 8, len(shape)))
    if content[:4] != magic:
        raise DataFileError(f"it begins with the bytes {content[:4].hex(' ')}; expected {magic.hex(' ')} (IDX)")
    start = 4 + 4 * len(shape)
    if len(content) >= start:
        stated = tuple(np.frombuffer(content, ">u4", len(shape), 4).tolist())
        if stated != shape:
            raise DataFileError(f"it says its shape is {stated}; expected {shape}")
    expected = start + prod(shape)
    if len(content) != expected:
        what = "cut off" if len(content) < expected else "followed by other bytes"
        raise DataFileError(f"it is {what}: {len(content)} bytes, unpacked; expected {expected}")
    if source.of_contents and known is None:
        raise DataFileError(
            f"its content is not that of {source.title}: SHA-256 {digest}; expected {source.hashes[list(PARTS).index(name)]}"
        )
    array = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    if array.ndim == 1 and array.max() > 9:
        raise DataFileError(f"it has a label {array.max()}; expected 0 to 9")
    return array


def unpacked(raw):
    """The content of a file, unzipped if it is zipped, whatever its name says: some programs unzip as they download."""
    if raw[:2] != b"\x1f\x8b":
        if raw[:2] != b"\0\0":
            raise DataFileError(f"it is neither gzip nor IDX; it begins with {raw[:16]!r}")
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"it is damaged: {error}") from error
    if len(content) > LARGEST:
        raise DataFileError(f"it is too large, more than {LARGEST} bytes, unpacked")
    return content
