"""Folders of images: every pixel comes back, subfolders are classes or parts, and what cannot be taken is named."""

import random
import struct
import sys

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DataFileError, MissingLibraryError, TinyaeError

from .conftest import refused

load = ta.datasets.load


@pytest.fixture
def image(tmp_path):
    """Write one image into the folder ``pictures``; gives its path."""
    pil = pytest.importorskip("PIL.Image", reason="images need Pillow")

    def write(name, array=None, mode=None, **options):
        array = np.arange(12, dtype=np.uint8).reshape(3, 4) if array is None else array
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = pil.fromarray(array)
        (made if mode is None else made.convert(mode)).save(path, **options)
        return path

    return write


@pytest.mark.parametrize(
    "suffix, channels",
    [(s, c) for s in ("png", "PNG", "tif", "tiff") for c in (1, 3, 4)]
    + [("bmp", 1), ("bmp", 3), ("pgm", 1), ("ppm", 3), ("webp", 3), ("webp", 4)],
)
def test_pixels_come_back(suffix, channels, image, tmp_path, rng):
    array = rng.integers(0, 256, (12, 5, 4, channels), np.uint8)
    for i, one in enumerate(array):
        image(
            f"{i:02}.{suffix}",
            one[..., 0] if channels == 1 else one,
            **({"lossless": True, "exact": True} if suffix == "webp" else {}),
        )
    (tmp_path / "pictures" / ".hidden.png").write_text("passed over")
    (tmp_path / "pictures" / "notes.txt").write_text("passed over")
    (x, y), (x_test, _) = load(tmp_path / "pictures")
    assert y is None and len(x) == 11 and x.dtype == np.float32
    assert np.array_equal(x[:], array[x.index] / np.float32(255))
    assert np.array_equal(x_test[:], array[x_test.index] / np.float32(255))


def test_jpeg_is_read(image, tmp_path):
    for i in range(2):
        image(f"{i}.jpg", np.full((8, 8, 3), 200, np.uint8))
    (x, _), _ = load(tmp_path / "pictures")
    assert np.allclose(x[:], 200 / 255, atol=0.02) and x.shape == (1, 8, 8, 3)


def test_subfolders_are_classes(image, tmp_path):
    for name in ("zebra/1.png", "ant/2.png", "ant/1.png", ".cache/1.png"):
        image(name)
    (tmp_path / "pictures" / "empty").mkdir()
    (x, y), (x_test, y_test) = load(tmp_path / "pictures")
    assert sorted([*y, *y_test]) == [0, 0, 1] and len(x) == 2 and y.dtype == np.int64
    image("1.png")
    refused(tmp_path / "pictures", DataFileError, "has images (1) and subfolders with images (ant, zebra)")


@pytest.mark.parametrize("classes", [["a", "b"], [""]])
def test_subfolders_train_and_test_are_the_parts(classes, image, tmp_path):
    for i, c in enumerate(classes):
        for part, n in (("train", 2), ("test", 1)):
            for k in range(n):
                image(f"{part}/{c}/{k}.png", np.full((2, 2), i * 10, np.uint8))
    (x, y), (x_test, y_test) = load(tmp_path / "pictures")
    assert len(x) == 2 * len(classes) and len(x_test) == len(classes)
    if classes == [""]:
        assert y is None and y_test is None
    else:
        assert y.tolist() == [0, 0, 1, 1] and y_test.tolist() == [0, 1]
        image("test/c/1.png")
        refused(tmp_path / "pictures", DataFileError, "train has the classes ['a', 'b'], but test ['a', 'b', 'c']")


@pytest.mark.parametrize("suffix, mode, channels", [("png", "1", 1), ("png", "P", 3), ("gif", "P", 3)])
def test_black_and_white_and_palettes_are_converted_without_loss(suffix, mode, channels, image, tmp_path):
    for i in range(2):
        image(f"{i}.{suffix}", np.array([[0, 255], [255, 0]], np.uint8), mode)
    (x, _), _ = load(tmp_path / "pictures")
    assert x.shape == (1, 2, 2, channels) and x[0][..., 0].tolist() == [[0, 1], [1, 0]]


def test_a_palette_with_transparency_has_four_channels(image, tmp_path):
    for i in range(2):
        image(f"{i}.png", np.zeros((2, 2), np.uint8), "P", transparency=0)
    (x, _), _ = load(tmp_path / "pictures")
    assert x.shape == (1, 2, 2, 4) and x[0][..., 3].max() == 0


def test_sizes_and_modes_that_differ(image, tmp_path):
    for i in range(3):
        image(f"{i}.png")
    image("small.png", np.zeros((2, 2), np.uint8))
    refused(tmp_path / "pictures", DataFileError,
            "differ in size: 3 of 4x3 pixels (such as 0.png), 1 of 2x2 pixels (such as small.png). Scale or cut")  # fmt: skip
    image("small.png", mode="RGB")
    refused(tmp_path / "pictures", DataFileError,
            "differ in mode: 3 of L (such as 0.png), 1 of RGB (such as small.png)", "image.convert('L')")  # fmt: skip


@pytest.mark.parametrize(
    "name, array, mode, parts",
    [
        ("x.png", np.zeros((2, 2), np.uint16), None, ["the mode I;16", "8 bits per channel"]),
        ("x.tif", np.zeros((2, 2), np.float32), None, ["the mode F", "float32 array in a .npy"]),
        ("x.png", np.zeros((2, 2), np.uint8), "LA", ["the mode LA, such as x.png; expected L, RGB, RGBA"]),
        ("x.jpg", np.zeros((2, 2, 3), np.uint8), "CMYK", ["the mode CMYK", "image.convert('RGB')"]),
    ],
)
def test_modes_that_are_not_taken(name, array, mode, parts, image, tmp_path):
    image(name, array, mode)
    refused(tmp_path / "pictures", DataFileError, *parts)


def test_sixteen_bits_per_channel_are_not_cut_to_eight(image, tmp_path):
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    image("x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" + bytes(12))) + chunk(b"IEND", b"")
    )  # fmt: skip
    refused(tmp_path / "pictures", DataFileError, "the mode RGB;16", "8 bits per channel")


def test_unreadable_images_are_counted_and_the_first_named(image, tmp_path, rng):
    noise = rng.integers(0, 256, (20, 20, 3), np.uint8)
    for i in range(6):
        path = image(f"{i}.png", noise)
        if i > 0:
            path.write_bytes(path.read_bytes()[:200])
    refused(
        tmp_path / "pictures", DataFileError, "5 of 6 images", "1.png (", "3.png (", "; and 2 more. Remove or replace"
    )
    for i in range(6):
        (tmp_path / "pictures" / f"{i}.png").write_text("no image")
    refused(tmp_path / "pictures", DataFileError, "6 of 6 images", "0.png (cannot identify")


def test_several_pictures_in_one_file(image, tmp_path):
    import PIL.Image

    more = [PIL.Image.new("L", (4, 3), 99)]
    image("x.gif", save_all=True, append_images=more)
    refused(tmp_path / "pictures", DataFileError, "x.gif (several pictures in one file)")


@pytest.mark.parametrize("limit", [6, 10])  # Pillow warns from the limit on, and refuses at twice the limit
def test_pictures_that_would_fill_the_memory(limit, image, tmp_path, monkeypatch):
    import PIL.Image

    image("x.png", np.zeros((3, 5), np.uint8))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    refused(tmp_path / "pictures", DataFileError, "x.png (Image size (15 pixels) exceeds limit")


def test_folders_without_images(tmp_path):
    refused(tmp_path, DataFileError, "has no images, nor have its subfolders", ".png .jpg .jpeg")
    (tmp_path / "a" / "b").mkdir(parents=True)
    refused(tmp_path, DataFileError, "has no images, nor have its subfolders")


def test_without_pillow_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(tmp_path, MissingLibraryError, "a folder of images needs pillow", "pip install pillow")


def test_1000_damaged_images_give_our_error(image, tmp_path, rng):
    chance = random.Random(0)
    good = image("x.png", rng.integers(0, 256, (6, 6, 3), np.uint8)).read_bytes()
    path = image("x.png")
    for _ in range(1000):
        raw = bytearray(good)
        if chance.random() < 0.3:
            del raw[chance.randrange(len(raw)) :]
        for _ in range(chance.choice([1, 3])):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(raw)
        with pytest.raises(TinyaeError):  # if only for its one example
            load(tmp_path / "pictures")
