"""Files of NumPy: every array comes back as it was saved, and damage is noticed."""

import io
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyae as ta
from tinyae.datasets.numpy_file import open_npy, open_npz
from tinyae.errors import DataFileError, TinyaeError
from tinyae.rows import shared_map

from .conftest import assert_same, refused, saved

load = ta.datasets.load
numbers = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
)


@pytest.fixture
def x(rng):
    return rng.random((25, 3, 2)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(numbers, st.booleans())
def test_arrays_come_back(tmp_path_factory, array, fortran):
    array = np.asfortranarray(array) if fortran else array
    folder = tmp_path_factory.mktemp("npy")
    np.save(folder / "x.npy", array)
    assert_same(open_npy(folder / "x.npy"), array)
    for save in (np.savez, np.savez_compressed):
        save(folder / "x.npz", first=np.zeros(3), **{"a long näme": array})
        member = open_npz(str(folder / "x.npz"), "a long näme")["a long näme"].open()
        assert_same(member, array)
        assert (shared_map(member) is not None) == (save is np.savez)


def test_files_that_are_damaged(x, tmp_path):
    path = saved(tmp_path / "x.npy", x)
    content = path.read_bytes()
    for wrong, part in [
        (content[:-4], "cut off: 596 bytes of numbers; shape (25, 3, 2) of float32 needs 600"),
        (content + b"1234", "followed by other bytes: 604 bytes"),
        (content[:50], "damaged"),
        (b"", "damaged, or not of the kind its name says"),
        (b"hello", "damaged, or not of the kind its name says"),
        (content[:6] + b"\x03\0" + content[8:], "version (3, 0)"),
        (content.replace(b"(25, 3, 2)", b"(-5,-3, 2)"), "damaged: it says its shape is (-5, -3, 2)"),
        (content.replace(b"(25, 3, 2)", b"(" + b"9" * 7 + b",)"), "cut off"),
    ]:
        path.write_bytes(wrong)
        refused(path, DataFileError, "x.npy", part)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_changed_byte_in_a_npz_is_noticed(save, x, tmp_path):
    save(tmp_path / "d.npz", x=x)
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[len(content) // 2] ^= 16
    (tmp_path / "d.npz").write_bytes(content)
    refused(tmp_path / "d.npz", DataFileError, "d.npz:x is damaged")


def test_zip_files_without_arrays_and_no_zip_files(tmp_path):
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, DataFileError, "has no arrays in it")
    path.write_bytes(b"no zip")
    refused(path, DataFileError, "damaged, or not of the kind its name says: File is not a zip file")
    refused(saved(tmp_path / "x.npy", np.zeros((3, 3))), DataFileError, "not a zip", labels=path)


def test_2000_damaged_npz_files_give_our_error_or_the_same_numbers(tmp_path, x):
    chance = random.Random(0)
    goods = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x=x[:4], other=x[:2])
        goods.append(buffer.getvalue())
    path, refusals = tmp_path / "d.npz", 0
    for i in range(2000):
        raw = bytearray(goods[i % 2])
        if chance.random() < 0.2:
            del raw[chance.randrange(len(raw)) :]
        for _ in range(chance.choice([1, 1, 3, 30])):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(raw)
        try:
            (train, _), _ = load(path)
            assert np.array_equal(train, x[train.index])
        except TinyaeError:
            refusals += 1
    assert refusals > 1000


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path, x):
    path = saved(tmp_path / "x.npy", x)
    npy = path.read_bytes().replace(b"(25, 3, 2)", b"(" + b"9" * 7 + b",)")
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "d.npz", "w", kind) as archive:
            archive.writestr("x.npy", npy)
        refused(tmp_path / "d.npz", DataFileError, "cut off: 600 bytes of numbers")
