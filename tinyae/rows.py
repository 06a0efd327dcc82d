"""Examples that are read when they are asked for, so that a data set may be larger than memory."""

import mmap
from typing import Any

import numpy as np

RELEASE_AFTER = 1 << 28  # bytes of a memory-mapped file that may stand in memory before its pages are let go
ROWS_AT_ONCE = 64
PAGES_AT_ONCE = 1 << 21  # a touched page brings its neighbours along, up to a huge page


class Rows:
    """Some rows of a data set, like an array that is read piece by piece.

    ``rows[3:7]`` and ``rows[index_array]`` give plain NumPy arrays; only what is asked for is read.

    Parameters
    ----------
    source : array (N, ...)
        In memory, memory-mapped (``np.load(path, mmap_mode="r")``), or anything with ``shape``, ``dtype``
        and ``[...]``, such as an h5py data set.
    index : int array (M,), optional
        Which rows, in which order; by default all.
    pixels : bool
        The source holds bytes, 0 to 255; they are given as float32 from 0 to 1.
    """

    def __init__(self, source: Any, index: Any = None, pixels: bool = False) -> None:
        if isinstance(source, Rows):  # one view of the same source, not a view of a view
            index = source.index if index is None else index if source.index is None else source.index[index]
            source, pixels = source.source, source.pixels or pixels
        self.source: Any = source
        self.index: Any = index
        self.pixels = pixels
        self.shape: tuple[int, ...] = (len(source) if index is None else len(index), *source.shape[1:])
        self.dtype: np.dtype[Any] = np.dtype(np.float32) if pixels else np.dtype(source.dtype)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=object))
        self._map = shared_map(source)
        self._touched = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) or key is Ellipsis:
            raise IndexError("Rows take one index, of rows: rows[3:7] or rows[index_array]; then index what they give.")
        if not isinstance(key, (slice, np.ndarray)):
            key = np.asarray(key)
        piece = self._read(key if self.index is None else self.index[key])
        return piece / np.float32(255) if self.pixels else piece

    def _read(self, where):
        if not isinstance(self.source, np.ndarray) and isinstance(where, np.ndarray) and where.ndim:
            # h5py and its like take rising row numbers only
            rising, place = np.unique(where, return_inverse=True)
            return np.asarray(self.source[rising])[place]
        if self._map is None or len(self._map) <= RELEASE_AFTER:
            return np.array(self.source[where])  # a copy: a view would keep the pages
        if isinstance(where, slice):
            piece = np.array(self.source[where])
            self._touch(piece.nbytes + PAGES_AT_ONCE)
            return piece
        piece = np.empty((*np.shape(where), *self.source.shape[1:]), self.source.dtype)
        flat, rows = np.reshape(where, -1), piece.reshape(-1, *self.source.shape[1:])
        for start in range(0, len(flat), ROWS_AT_ONCE):
            part = flat[start : start + ROWS_AT_ONCE]
            rows[start : start + len(part)] = self.source[part]
            self._touch(rows[0].nbytes * len(part) + PAGES_AT_ONCE * len(part))
        return piece

    def _touch(self, size):
        """Give pages back once enough were read: until then they count as this process's memory; the file keeps them."""
        self._touched += size
        if self._touched > RELEASE_AFTER:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self.dtype} {self.shape[1:]}>"


def shared_map(array):
    """The memory map an array looks into, if giving pages back loses nothing; else None."""
    mode = None
    while isinstance(array, np.ndarray):
        mode = getattr(array, "mode", mode)
        array = array.base
    # mode "c" keeps changes in memory alone: those pages are the only copy
    is_shared = isinstance(array, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED")
    return array if is_shared else None


def is_rows(data):
    """Is this read piece by piece: Rows, a memory-mapped array, or an object like an h5py data set?"""
    if isinstance(data, np.ndarray):
        return shared_map(data) is not None
    return isinstance(data, Rows) or (
        type(data).__module__.split(".")[0] in ("h5py", "zarr") and hasattr(data, "shape") and hasattr(data, "dtype")
    )
