"""MNIST and its kin: found in every place, and never used when anything is wrong with a file."""

import gzip
import hashlib
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyae as ta
from tinyae.datasets import mnist
from tinyae.datasets.mnist import FASHION_MNIST, KMNIST, MNIST, decode
from tinyae.errors import DataFileError, DownloadError, FileWriteError, MissingLibraryError

NAMES = list(mnist.PARTS)
SMALL = dict(zip(NAMES, [(6, 28, 28), (6,), (3, 28, 28), (3,)]))
needs_mnist = pytest.mark.skipif(
    not os.environ.get("TINYAE_DATA"), reason="set TINYAE_DATA to a folder with mnist/ to run this"
)


def idx(array):
    """An array as IDX bytes."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def arrays(monkeypatch, rng):
    """Small made-up data of the shapes that the loader is told to expect."""
    monkeypatch.setattr(mnist, "PARTS", SMALL)
    return {name: rng.integers(0, 256 if len(s) > 1 else 10, s).astype(np.uint8) for name, s in SMALL.items()}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The user's cache, moved; no TINYAE_DATA, and no way out to the network."""
    pooch = pytest.importorskip("pooch", reason="downloads need pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv("TINYAE_DATA", raising=False)

    def fetch(urls, path, check):
        raise DownloadError("; ".join(f"{url} (no network)" for url in urls))

    monkeypatch.setattr(mnist, "fetch", fetch)
    return tmp_path / "cache" / "tinyae"


def put(folder, arrays, spelling="{}.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        path = folder / spelling.format(name)
        path.write_bytes(gzip.compress(idx(array), 1) if path.suffix == ".gz" else idx(array))


def assert_loaded(loaded, arrays):
    (x, y), (x_test, y_test) = loaded
    for images, labels, (name, label_name) in ((x, y, NAMES[:2]), (x_test, y_test, NAMES[2:])):
        assert images.dtype == np.float32 and labels.dtype == np.uint8 and labels.flags.writeable
        assert np.array_equal(images, arrays[name][..., None] / np.float32(255))
        assert np.array_equal(labels, arrays[label_name])


# ---------------------------------------------------------------- the true files


@needs_mnist
def test_the_true_mnist():
    (x, y), (x_test, y_test) = ta.datasets.load_mnist()
    assert x.shape == (60000, 28, 28, 1) and x_test.shape == (10000, 28, 28, 1)
    assert x.dtype == x_test.dtype == np.float32 and y.dtype == y_test.dtype == np.uint8
    assert x.min() == 0 and x.max() == 1 and np.bincount(y)[[0, 1, 9]].tolist() == [5923, 6742, 5949]
    assert y[:5].tolist() == [5, 0, 4, 1, 9] and y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert (x_test**2).mean() == pytest.approx(
        0.11396, abs=1e-5
    )  # the error of predicting black, as known from elsewhere


@needs_mnist
@pytest.mark.parametrize("load, title", [("load_fashion_mnist", "Fashion-MNIST"), ("load_kmnist", "KMNIST")])
def test_mnist_in_place_of_another_is_named(load, title, monkeypatch, tmp_path):
    real = os.path.join(os.environ["TINYAE_DATA"], "mnist")
    (tmp_path / load[5:]).symlink_to(real, target_is_directory=True)
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    with pytest.raises(DataFileError, match=f"it is the file train-images-idx3-ubyte of MNIST; expected .* of {title}"):
        getattr(ta.datasets, load)()


@needs_mnist
def test_one_changed_byte_of_mnist_is_noticed():
    with gzip.open(os.path.join(os.environ["TINYAE_DATA"], "mnist", "t10k-labels-idx1-ubyte.gz")) as file:
        content = bytearray(file.read())
    assert decode(MNIST, NAMES[3], bytes(content)).shape == (10000,)
    content[-1] ^= 1
    with pytest.raises(DataFileError, match="its content is not that of MNIST: SHA-256 .*; expected ff7bcfd4"):
        decode(MNIST, NAMES[3], bytes(content))


# ---------------------------------------------------------------- where the files are found


@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dotted", "dotted.gz"])
def test_every_spelling_in_the_users_folder(spelling, arrays, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    named = {name.replace("-idx", ".idx") if "dotted" in spelling else name: a for name, a in arrays.items()}
    put(tmp_path / "kmnist", named, spelling.replace("dotted", "{}"))
    assert_loaded(ta.datasets.load_kmnist(), arrays)
    assert not cache.exists()


def test_the_users_folder_comes_before_the_cache(arrays, cache, tmp_path, monkeypatch):
    put(cache / "kmnist", {name: 1 - (a > 100) for name, a in arrays.items()})
    put(tmp_path / "kmnist", arrays)
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    assert_loaded(ta.datasets.load_kmnist(), arrays)


@pytest.mark.parametrize("present", [0, 3])
def test_a_users_folder_without_the_data_set_is_passed_over(present, arrays, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    put(tmp_path / "fashion_mnist", dict(list(arrays.items())[:present]))
    put(cache / "fashion_mnist", arrays)
    assert_loaded(ta.datasets.load_fashion_mnist(), arrays)


def test_a_file_unzipped_under_its_old_name_is_taken(arrays, cache):
    put(cache / "kmnist", arrays)
    (cache / "kmnist" / f"{NAMES[0]}.gz").write_bytes(idx(arrays[NAMES[0]]))
    assert_loaded(ta.datasets.load_kmnist(), arrays)


def test_what_is_missing_or_bad_in_the_cache_is_downloaded(arrays, cache, monkeypatch):
    put(cache / "kmnist", arrays)
    (cache / "kmnist" / f"{NAMES[1]}.gz").unlink()
    (cache / "kmnist" / f"{NAMES[2]}.gz").write_bytes(b"rubbish")
    fetched = []

    def fetch(urls, path, check):
        name = os.path.basename(path)[:-3]
        assert urls == [f"{mirror}{name}.gz" for mirror in KMNIST.mirrors]
        fetched.append(name)
        return check(gzip.compress(idx(arrays[name])))

    monkeypatch.setattr(mnist, "fetch", fetch)
    assert_loaded(ta.datasets.load_kmnist(), arrays)
    assert fetched == NAMES[1:3]


# ---------------------------------------------------------------- refusals


def test_no_file_and_no_network_names_both_ways_out(arrays, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    with pytest.raises(DownloadError) as error:
        ta.datasets.load_mnist()
    text = str(error.value)
    for part in (f"TINYAE_DATA={tmp_path} (the folder {tmp_path}/mnist does not exist)", str(cache / "mnist"),
                 f"{MNIST.mirrors[0]}{NAMES[0]}.gz (no network)", MNIST.mirrors[1], "into a folder X/mnist and set TINYAE_DATA=X",
                 "connect to the network", *NAMES):  # fmt: skip
        assert part in text
    assert isinstance(error.value, OSError)


def test_a_bad_file_in_the_cache_is_named_if_it_cannot_be_replaced(arrays, cache):
    put(cache / "kmnist", arrays)
    path = cache / "kmnist" / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DownloadError) as error:
        ta.datasets.load_kmnist()
    assert f"{path} is there but not used: it is damaged" in str(error.value)


def test_a_bad_file_of_the_users_is_an_error_even_if_the_cache_is_good(arrays, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    put(tmp_path / "kmnist", arrays)
    put(cache / "kmnist", arrays)
    path = tmp_path / "kmnist" / f"{NAMES[3]}.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataFileError) as error:
        ta.datasets.load_kmnist()
    assert str(error.value).startswith(f"load_kmnist: {path} is not used: it is damaged: ")
    assert f"Put a good copy of {NAMES[3]} there, or unset TINYAE_DATA" in str(error.value)


def test_a_cache_that_cannot_be_made(arrays, cache):
    cache.parent.mkdir()
    cache.write_text("a file in the way")
    with pytest.raises(FileWriteError, match="cannot be made: .*set TINYAE_DATA=X"):
        ta.datasets.load_kmnist()


def test_without_pooch_the_users_folder_still_works(arrays, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    with pytest.raises(MissingLibraryError, match=r"KMNIST is not in TINYAE_DATA=.*pip install pooch"):
        ta.datasets.load_kmnist()
    put(tmp_path / "kmnist", arrays)
    assert_loaded(ta.datasets.load_kmnist(), arrays)


LABELS = idx(np.arange(3, dtype=np.uint8))


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"", "neither gzip nor IDX; it begins with b''"),
        (b"<html>403</html>", "neither gzip nor IDX; it begins with b'<html>403"),
        (gzip.compress(LABELS)[:-9], "damaged: Compressed file ended"),
        (gzip.compress(LABELS)[:-8] + bytes(8), "damaged: CRC check failed"),
        (gzip.compress(LABELS) + b"more", "damaged: Not a gzipped file"),
        (gzip.compress(b"hello world"), r"begins with the bytes 68 65 6c 6c; expected 00 00 08 01 \(IDX\)"),
        (b"\0\0\x0d" + LABELS[3:], r"begins with the bytes 00 00 0d 01; expected 00 00 08 01"),
        (idx(np.zeros((3, 1), np.uint8)), "begins with the bytes 00 00 08 02"),
        (idx(np.zeros(4, np.uint8)), r"says its shape is \(4,\); expected \(3,\)"),
        (LABELS[:6], "cut off: 6 bytes, unpacked; expected 11"),
        (LABELS[:-1], "cut off: 10 bytes, unpacked; expected 11"),
        (gzip.compress(LABELS + b"\0"), "followed by other bytes: 12 bytes, unpacked; expected 11"),
        (idx(np.array([0, 10, 3], np.uint8)), "a label 10; expected 0 to 9"),
    ],
)
def test_every_fault_of_a_file(raw, message, arrays):
    with pytest.raises(DataFileError, match=message):
        decode(FASHION_MNIST, NAMES[3], raw)


def test_a_file_of_another_data_set_or_part_is_named(arrays, monkeypatch):
    raw = gzip.compress(LABELS)
    fashion = replace(FASHION_MNIST, hashes=("", "", "", hashlib.sha256(raw).hexdigest()))
    monkeypatch.setitem(mnist.KNOWN, fashion.hashes[3], (fashion, NAMES[3]))
    assert decode(fashion, NAMES[3], raw).tolist() == [0, 1, 2]
    with pytest.raises(
        DataFileError, match="it is the file t10k-labels-idx1-ubyte of Fashion-MNIST; expected .*KMNIST"
    ):
        decode(KMNIST, NAMES[3], raw)
    with pytest.raises(
        DataFileError, match="it is the file t10k-labels-idx1-ubyte of Fashion-MNIST; expected train-labels"
    ):
        decode(fashion, NAMES[1], raw)


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked(arrays, monkeypatch):
    monkeypatch.setattr(mnist, "LARGEST", 1000)
    with pytest.raises(DataFileError, match="too large, more than 1000 bytes, unpacked"):
        decode(KMNIST, NAMES[3], gzip.compress(bytes(10**6)))


def test_a_file_far_too_large_is_not_even_read(arrays, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    put(tmp_path / "kmnist", arrays)
    os.truncate(tmp_path / "kmnist" / f"{NAMES[0]}.gz", 1 << 40)
    with pytest.raises(DataFileError, match="too large, 1099511627776 bytes"):
        ta.datasets.load_kmnist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=50), st.booleans())
def test_what_is_written_comes_back(labels, zipped):
    array = np.array(labels, np.uint8)
    raw = gzip.compress(idx(array)) if zipped else idx(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "PARTS", {**SMALL, NAMES[3]: array.shape})
        assert np.array_equal(decode(KMNIST, NAMES[3], raw), array)


def test_2000_damaged_files_give_our_error_or_the_same_numbers(arrays):
    chance = random.Random(0)
    good = gzip.compress(idx(arrays[NAMES[2]]), 1)
    refused = 0
    for _ in range(2000):
        raw = bytearray(good)
        if chance.random() < 0.3:
            del raw[chance.randrange(len(raw)) :]
        for _ in range(chance.choice([1, 1, 3])):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            array = decode(KMNIST, NAMES[2], bytes(raw))
        except DataFileError:
            refused += 1
        else:  # the time or the flags in the gzip header
            assert np.array_equal(array, arrays[NAMES[2]])
    assert refused > 1900


def test_importing_tinyae_loads_no_library_of_the_data_sets():
    program = (
        "import sys, tinyae; print([m for m in ('pooch', 'requests', 'PIL', 'sklearn', 'tqdm') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
