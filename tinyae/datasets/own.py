"""One's own data, or a well-known data set, by one call."""

import os
from typing import Any

import numpy as np

from ..errors import DataFileError, DtypeError, RangeError, ShapeError, unknown
from ..operands import checked_kind
from ..random import Generator
from ..rows import Rows
from .csv_file import read_csv
from .digits import load_digits
from .image_folder import read_images
from .mat_file import read_mat
from .mnist import load_fashion_mnist, load_kmnist, load_mnist
from .numpy_file import open_npy, open_npz

NAMES = {"digits": load_digits, "mnist": load_mnist, "fashion_mnist": load_fashion_mnist, "kmnist": load_kmnist}
KINDS = "a .npy, .npz or .csv file, or a folder of images, or a .mat file of MATLAB's"
DATA, LABELS = ("x", "data", "images"), ("y", "labels")  # what arrays of a .npz file are by custom called


def load(
    source: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """A data set by name, or one's own from a file or folder, split into a training and a held-out part.

    Parameters
    ----------
    source : str or Path
        "digits", "mnist", "fashion_mnist" or "kmnist"; or a path (``./mnist``, if a file is called as a data set):

        - ``data.npy``: one array (N, ...), memory-mapped, so it may be larger than memory.
        - ``data.npz``: the arrays ``x_train`` and ``x_test`` (perhaps ``y_train`` and ``y_test``) are the two parts.
          Otherwise ``x``, ``data`` or ``images`` (perhaps with ``y`` or ``labels``), or the only array, or the one
          named in ``data.npz:name``. Memory-mapped unless compressed.
        - ``data.mat``: a file of MATLAB's with the array ``X``, perhaps ``y``. See ``read_mat``.
        - ``data.csv``: numbers, one example per line, float32 (N, columns); perhaps one header line. See ``read_csv``.
        - a folder of images of one size, uint8 (N, H, W, channels). Subfolders are classes; or two subfolders
          ``train`` and ``test`` are the two parts. See ``read_images``.
    labels : str or Path, optional
        Whole numbers, one per example: a .npy file, a .csv file of one column, or ``file.npz:name``. They replace
        labels that the source has.

    Returns
    -------
    (x, y), (x_test, y_test)
        A named data set as arrays, as its own function gives it. One's own: x as Rows, y an integer array (N,)
        or None. uint8 data are taken for pixels, 0 to 255, and given as float32 in [0, 1]; all other numbers are
        given as they are. Where the source has no two parts, the last tenth (at least one) of
        ``Generator(0).permutation(N)`` is held out: the same examples every time. Each part keeps the order of
        the file.

    Raises
    ------
    DataFileError
        A file is missing, damaged, or not what its name says; names the place in it and the cure.
    ShapeError
        Data without examples, fewer than two, or not as many labels as examples.
    DtypeError
        Data that are no numbers, or labels that are no whole numbers.
    RangeError
        A data set of that name is not known.
    MissingLibraryError
        A library that this kind of data needs is not installed.
    """
    parts = read_parts(source, labels)
    return parts if len(parts) == 2 else hold_out(source, *parts)  # type: ignore[return-value]


def load_for_evaluation(
    source: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None
) -> tuple[Any, Any]:
    """(x, y) of the test part of a source that has one, else of all of it; arguments and errors as in ``load``."""
    return read_parts(source, labels)[-1]


def read_parts(source, labels):
    """The two parts ((x, y), (x_test, y_test)) of a source that has two, else ((x, y),)."""
    if isinstance(source, str) and source.lower() in NAMES:
        if labels is not None:
            raise RangeError(
                f"load: {source!r} has labels of its own; leave out labels, or write ./{source} if it is a file."
            )
        return NAMES[source.lower()]()
    path = as_path("source", source)
    parts = open_source(path, source)
    if len(parts) == 2:
        if labels is not None:
            raise DataFileError(
                f"load: {path} has a training and a test part of its own, so labels cannot be given beside it. "
                "Put them inside: y_train and y_test, or subfolders as classes."
            )
        return split_as_given(path, *parts)
    ((x, y),) = parts
    if labels is not None:
        y = open_labels(as_path("labels", labels))
    x = checked_data(path, x)
    check_length(path, x, y)
    return ((x, y),)


def as_path(name, given):
    """A path as a string."""
    try:
        return os.path.expanduser(os.fsdecode(given))
    except TypeError:
        raise DataFileError(f"load: {name} is {given!r}; expected a str or a Path.") from None


def open_source(path, source):
    """The data in a file or folder: [(x, y)] or [(x, y), (x_test, y_test)], each y perhaps None."""
    if os.path.isdir(path):
        return read_images(path)
    file, name = split_name(path)
    suffix = os.path.splitext(file)[1].lower()
    if not os.path.isfile(file):
        if isinstance(source, str) and os.path.basename(path) == path and not suffix:
            raise RangeError(f"{unknown('data set', source, NAMES)} Nor is there a folder of that name here.")
        raise DataFileError(
            f"load: there is no file or folder {file}. Give {KINDS}; or the name of a data set: {', '.join(NAMES)}."
        )
    if suffix == ".npy":
        return [(open_npy(file), None)]
    if suffix == ".npz":
        return parts_of_npz(file, open_npz(file, name) if name else open_npz(file))
    if suffix == ".csv":
        return [(read_csv(file), None)]
    if suffix == ".mat":
        x, y = read_mat(file)
        return [(x, None if y is None else checked_labels(file, y))]
    raise DataFileError(f"load: {file} is of an unknown kind. Expected {KINDS}.")


def split_name(path):
    """``file.npz:name`` as (file, name); the name is None if there is none."""
    at = path.lower().rfind(".npz:")
    if at < 0 or os.path.exists(path):
        return path, None
    return path[: at + 4], path[at + 5 :]


def parts_of_npz(path, members):
    """Which of a file's arrays, {name: Member}, are the data and which the labels."""
    if {"x_train", "x_test"} <= set(members):
        if ("y_train" in members) != ("y_test" in members):
            raise DataFileError(f"load: {path} has only one of y_train and y_test. Add the other, or remove it.")
        return [(members[f"x_{part}"].open(), opened(members, [f"y_{part}"])) for part in ("train", "test")]
    if len(members) == 1:
        return [(next(iter(members.values())).open(), None)]
    data = [name for name in DATA if name in members]
    if len(data) == 1:
        return [(members[data[0]].open(), opened(members, LABELS))]
    listing = ", ".join(map(str, members.values()))
    raise DataFileError(
        f"load: {path} has several arrays: {listing}. Say which one holds the data, as in {path}:{next(iter(members))}; "
        "or call them x (and y), or x_train and x_test (and y_train, y_test)."
    )


def opened(members, names):
    """The labels under the first of the names that is there, or None."""
    for name in names:
        if name in members:
            return checked_labels(members[name].what, members[name].open())
    return None


def open_labels(path):
    """The labels in a file, as integers (N,)."""
    file, name = split_name(path)
    suffix = os.path.splitext(file)[1].lower()
    if not os.path.isfile(file):
        raise DataFileError(f"load: there is no file of labels {file}.")
    if suffix == ".npy":
        return checked_labels(file, open_npy(file))
    if suffix == ".csv":
        return checked_labels(file, read_csv(file, np.float64))
    if suffix == ".npz":
        members = open_npz(file, name) if name else open_npz(file)
        if len(members) == 1:
            return opened(members, members)
        raise DataFileError(
            f"load: {file} has several arrays: {', '.join(members)}. Say which one holds the labels, "
            f"as in {file}:{next(iter(members))}."
        )
    raise DataFileError(
        f"load: the labels {file} are of an unknown kind. Expected a .npy file, a .csv file or file.npz:name."
    )


def checked_labels(what, array):
    """Labels as integers (N,), in memory; (N, 1) is taken for it."""
    checked_kind(array, what, "labels")
    if array.ndim == 0 or array.size != len(array):
        raise ShapeError(f"load: the labels in {what} have shape {array.shape}; expected (N,), one per example.")
    y = np.array(array).reshape(-1)
    if y.dtype.kind == "f":
        wrong = ~(np.abs(y) < 2**53)  # NaN too
        wrong |= np.where(wrong, 0, y) % 1 != 0
        if wrong.any():
            at = int(wrong.argmax())
            raise DtypeError(
                f"load: the labels in {what} are to be whole numbers, but number {at} (counted from 0) is {y[at]:g}. "
                "Give class numbers; targets of another kind go to fit directly."
            )
        y = y.astype(np.int64)
    return y


def checked_data(path, array):
    """Data as Rows, uint8 as pixels."""
    checked_kind(array, path, "load")
    if array.ndim < 2:
        cure = "x.reshape(1, -1), if it is one example, or x.reshape(-1, 1), if each number is one"
        raise ShapeError(
            f"load: {path} holds an array of shape {array.shape}; expected (N, ...), N examples. Reshape and save it: {cure}."
        )
    return Rows(array, pixels=array.dtype == np.uint8)


def check_length(path, x, y):
    """As many labels as examples."""
    if y is not None and len(x) != len(y):
        raise ShapeError(f"load: {path} has {len(x)} examples, but there are {len(y)} labels; expected as many.")


def split_as_given(path, train, test):
    """The two parts of a source that has two."""
    (x, y), (x_test, y_test) = train, test
    x, x_test = checked_data(path, x), checked_data(path, x_test)
    if x.shape[1:] != x_test.shape[1:] or x.dtype != x_test.dtype:
        raise ShapeError(
            f"load: in {path} the training examples are {x.dtype} {x.shape[1:]}, but the test examples "
            f"{x_test.dtype} {x_test.shape[1:]}; expected the same."
        )
    check_length(f"{path} (training part)", x, y)
    check_length(f"{path} (test part)", x_test, y_test)
    return (x, y), (x_test, y_test)


def hold_out(source, part):
    """Split off the last tenth of a fixed permutation; nothing is copied but the labels."""
    x, y = part
    if len(x) < 2:
        raise ShapeError(f"load: {source} has one example; expected at least 2, so that one can be held out.")
    order = Generator(0).permutation(len(x))
    # sorted: what is read in the order of the file is read faster
    train, test = (np.sort(part) for part in np.split(order, [len(x) - max(1, len(x) // 10)]))
    return tuple((Rows(x, index=part), None if y is None else y[part]) for part in (train, test))
