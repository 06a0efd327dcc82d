"""Arrays in NumPy's own files, memory-mapped where that is possible. Nothing is ever unpickled."""

import os
import zipfile
from contextlib import contextmanager
from math import prod

import numpy as np

from ..errors import DataFileError, TinyaeError


def open_npy(path):
    """The array in a .npy file, memory-mapped read-only.

    Raises
    ------
    DataFileError
        The file is damaged, too short, too long, or holds Python objects.
    """
    with damaged(path), open(path, "rb") as file:
        return map_array(path, file, 0, os.path.getsize(path), path)


def open_npz(path, name=None):
    """The arrays of a .npz file, or only the one of that name, as {name: Member}; nothing is read yet.

    Raises
    ------
    DataFileError
        The file is no zip file, is damaged, or has no such array.
    """
    members = {}
    with damaged(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                members[info.filename[:-4]] = Member(path, info)
        if not members:
            raise DataFileError(f"load: {path} has no arrays in it. Save them with np.savez({path!r}, x=...).")
        if name is not None:
            if name not in members:
                raise DataFileError(f"load: {path} has no array {name!r}. It has: {', '.join(members)}.")
            return {name: members[name]}
    return members


class Member:
    """One array in a .npz file."""

    def __init__(self, path, info):
        self.path, self.info, self.what = path, info, f"{path}:{info.filename[:-4]}"

    def __str__(self):
        """Its name and shape, for a list of what there is."""
        name = self.info.filename[:-4]
        try:
            with damaged(self.what), zipfile.ZipFile(self.path) as archive, archive.open(self.info) as file:
                return f"{name} {read_header(file, self.what)[0]}"
        except DataFileError:
            return f"{name} (unreadable)"

    def open(self):
        """The array: memory-mapped in the middle of the file if it lies there uncompressed, else read.

        A zip file has a checksum of each array: the array is read through once to compare it.
        """
        with damaged(self.what), zipfile.ZipFile(self.path) as archive, archive.open(self.info) as file:
            if self.info.compress_type != zipfile.ZIP_STORED:
                shape, fortran, dtype = read_header(file, self.what)
                check_length(self.what, self.info.file_size - file.tell(), shape, dtype)
                flat = np.frombuffer(bytearray(file.read()), dtype)
                return flat.reshape(shape, order="F" if fortran else "C")
            while file.read(1 << 20):
                pass
            with open(self.path, "rb") as whole:
                # before the array stands a zip header of 30 bytes and two texts, whose lengths are at byte 26
                whole.seek(self.info.header_offset + 26)
                texts = np.frombuffer(whole.read(4), "<u2")
                start = self.info.header_offset + 30 + int(texts.sum())
                return map_array(self.path, whole, start, self.info.file_size, self.what)


def map_array(path, file, start, length, what):
    """The array whose .npy content is ``length`` bytes from ``start`` on, memory-mapped read-only."""
    file.seek(start)
    shape, fortran, dtype = read_header(file, what)
    offset = file.tell()
    check_length(what, start + length - offset, shape, dtype)
    if prod(shape) == 0:
        return np.empty(shape, dtype)  # nothing cannot be mapped
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def read_header(file, what):
    """(shape, is in Fortran order, dtype) from the beginning of a .npy content."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataFileError(
            f"load: {what} is in version {version} of NumPy's format; expected 1 or 2, which plain numbers have."
        )
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataFileError(
            f"load: {what} wants to unpickle: it holds Python objects, and reading those could run a program. "
            "Save plain numbers, such as x.astype('float32'); arrays of different lengths one by one."
        )
    if any(n < 0 for n in shape):
        raise DataFileError(f"load: {what} is damaged: it says its shape is {shape}. Use another copy of it.")
    return shape, fortran, dtype


def check_length(what, given, shape, dtype):
    """As many bytes after the header as the array needs."""
    needed = prod(shape) * dtype.itemsize
    if given != needed:
        kind = "cut off" if given < needed else "followed by other bytes"
        raise DataFileError(
            f"load: {what} is {kind}: {given} bytes of numbers; shape {shape} of {dtype} needs {needed}. Use another copy of it."
        )


@contextmanager
def damaged(what):
    """Turn what goes wrong while a file is read into an error that names it."""
    try:
        yield
    except TinyaeError:
        raise
    except MemoryError as error:
        raise DataFileError(
            f"load: {what} is larger than the free memory. Save it uncompressed (np.save or np.savez): then it is read piece by piece."
        ) from error
    except OSError as error:
        raise DataFileError(
            f"load: {what} cannot be read: {error.strerror or error}. Use another copy of it."
        ) from error
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds for damaged bytes
        raise DataFileError(
            f"load: {what} is damaged, or not of the kind its name says: {error}. Use another copy of it."
        ) from error
