"""Data read piece by piece: the same numbers as in memory, and never the whole."""

import mmap
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyae as ta
from tinyae import rows as rows_module
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.rows import Rows, shared_map

from .conftest import made, quick, weights


class Rising:
    """Stands for an h5py data set: takes slices and rising row numbers only, and counts what is read."""

    __module__ = "h5py"

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, key):
        if isinstance(key, np.ndarray) and key.ndim:
            assert (np.diff(key) > 0).all(), "h5py refuses these"
        piece = self.array[key]
        self.read = max(self.read, piece.nbytes)
        return piece


@given(st.integers(1, 30), st.data())
def test_rows_are_an_array(n, data):
    array = np.random.default_rng(n).integers(0, 256, (n, 3), dtype=np.uint8)
    index = data.draw(st.none() | st.lists(st.integers(0, n - 1), min_size=1).map(np.array))
    again = data.draw(st.lists(st.integers(0, (n if index is None else len(index)) - 1), min_size=1).map(np.array))
    start, stop = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    plain = array if index is None else array[index]
    for source in (array, Rising(array)):
        rows = Rows(source, index)
        assert rows.shape == plain.shape and len(rows) == len(plain) and rows.size == plain.size and rows.ndim == 2
        assert np.array_equal(rows[again], plain[again]) and np.array_equal(rows[start:stop], plain[start:stop])
        assert np.array_equal(np.asarray(rows), plain) and np.array_equal(np.asarray(rows, np.float64), plain)
        assert np.array_equal(Rows(rows, again)[:], plain[again])
        pixels = Rows(rows, pixels=True)
        assert np.array_equal(Rows(pixels, again)[:], plain[again] / np.float32(255))
        assert pixels.dtype == np.float32 and np.array_equal(pixels[again], plain[again] / np.float32(255))


@pytest.fixture
def mapped(images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def test_training_from_a_file_gives_the_same_bits(images, mapped):
    plain = made()
    quick(plain, images, 3, validation_data=images[:7])
    for x in (mapped, Rows(mapped), Rising(images), mapped[:]):
        model = made()
        quick(model, x, 3, validation_data=x[:7] if not isinstance(x, Rising) else images[:7])
        assert weights(model) == weights(plain)
        assert np.array_equal(model.reconstruct(x), plain.reconstruct(images))
        assert np.array_equal(model.encode(x), plain.encode(images))
        for a, b in zip(ta.batches(x, 7), ta.batches(images, 7)):
            assert np.array_equal(a.numpy(), b.numpy())


def test_nothing_is_read_whole(images):
    source = Rising(np.concatenate([images] * 20))
    quick(made(), source, 1, batch_size=10)
    assert source.read <= 256 * images[0].nbytes or source.read <= rows_module.RELEASE_AFTER
    assert Rows(source)[:5].shape == (5, 8, 8, 1)


def test_pages_are_given_back(images, mapped, monkeypatch):
    calls = []

    class Map(mmap.mmap):
        def madvise(self, *arguments):
            calls.append(arguments)
            return super().madvise(*arguments)

    monkeypatch.setattr(rows_module, "RELEASE_AFTER", 1 << 13)
    rows = Rows(mapped)
    with open(mapped.filename, "rb") as file:
        rows._map = Map(file.fileno(), 0, access=mmap.ACCESS_READ)
    for i in range(10):
        assert np.array_equal(rows[i : i + 1], images[i : i + 1])
        index = np.random.default_rng(i).integers(0, 50, 150)
        assert np.array_equal(rows[index], images[index])
        assert np.array_equal(rows[index.reshape(50, 3)], images[index.reshape(50, 3)])
        assert np.array_equal(rows[i], images[i])
    assert calls and all(call == (mmap.MADV_DONTNEED,) for call in calls)


def test_changes_in_memory_alone_are_never_given_back(mapped, images, monkeypatch):
    """Mode "c" keeps what was changed in pages of its own; dropping them would undo the change."""
    monkeypatch.setattr(rows_module, "RELEASE_AFTER", 0)
    changed = np.load(mapped.filename, mmap_mode="c")
    changed[3] = 0.5
    assert shared_map(changed) is None and shared_map(mapped) is not None and shared_map(images) is None
    model = made()
    quick(model, changed, 1)
    assert (changed[3] == 0.5).all()


def test_bad_values_are_found_where_they_are(images, tmp_path):
    images[40, 1, 2, 0] = np.nan
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(RangeError, match=r"1 of 3200 values are NaN or infinite, the first at index \(40, 1, 2, 0\)"):
        quick(made(), np.load(tmp_path / "x.npy", mmap_mode="r"))
    with pytest.raises(DtypeError, match="data of type complex128"):
        quick(made(), Rows(np.zeros((3, 2), complex)))
    with pytest.raises(ShapeError, match="data are empty"):
        quick(made(), Rows(np.zeros((0, 2))))


LARGE = """
import re, sys
import numpy as np, tinyae as ta
x = np.load(sys.argv[1], mmap_mode="r")
model = ta.Autoencoder(ta.Dense(x.shape[1], 2, "relu"), ta.Dense(2, x.shape[1]))
model.fit(x, 1, int(sys.argv[2]), lr=1e-3, progress=False)
# not ru_maxrss, which begins with what the parent had
print(x.nbytes >> 20, int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) >> 10)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted differently elsewhere")
def test_4_gib_train_in_less_than_1_gib(tmp_path):
    path = tmp_path / "large.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, ((4 << 30) // (4 * 784), 784))
    rng = np.random.default_rng(0)
    for start in range(0, len(x), 1 << 15):
        piece = x[start : start + (1 << 15)]
        piece[...] = rng.random(piece.shape, dtype=np.float32)
    x.flush()
    del x, piece
    for batch_size in ("32", "4096"):
        command = [sys.executable, "-c", LARGE, path, batch_size]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size, peak = map(int, done.stdout.split())
        seen = f"{size} MiB of data in batches of {batch_size}, {peak} MiB at the peak"
        print(seen)
        assert size >= 4095 and peak < 1024, seen
    path.unlink()
