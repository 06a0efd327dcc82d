"""One's own data: every kind of file comes back as it was saved, or is refused with the place and the cure."""

import io
import random
import struct
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyae as ta
from tinyae.datasets.csv_file import read_csv
from tinyae.datasets.numpy_file import open_npy, open_npz
from tinyae.errors import DataFileError, DtypeError, MissingLibraryError, RangeError, ShapeError, TinyaeError
from tinyae.random import Generator
from tinyae.rows import Rows, shared_map

load = ta.datasets.load
quiet = settings(max_examples=60, deadline=None)
numbers = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
)


@pytest.fixture
def x(rng):
    return rng.random((25, 3, 2)).astype(np.float32)


@pytest.fixture
def y():
    return np.arange(25) % 4


def saved(path, array):
    np.save(path, array)
    return path


def refused(path, error, *parts, **options):
    with pytest.raises(error) as info:
        load(path, **options)
    for part in parts:
        assert part in str(info.value), f"{part!r} is not in: {info.value}"


# ---------------------------------------------------------------- names and paths


def test_a_named_data_set():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    for got, expected in zip(sum(load("Digits"), ()), sum(ta.datasets.load_digits(), ())):
        assert np.array_equal(got, expected)


def test_a_name_wins_over_a_file_and_a_path_is_a_path(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load("digits")[0][0].shape == (1437, 8, 8, 1)
    refused("./digits", DataFileError, "has no images")
    refused("digits", RangeError, "has labels of its own", "write ./digits", labels="y.npy")


@pytest.mark.parametrize(
    "source, error, parts",
    [
        ("mnits", RangeError, ["unknown data set 'mnits'. Known, nearest first: mnist", "Nor is there a folder"]),
        ("a/b", DataFileError, ["no file or folder a/b", ".npy, .npz or .csv file, or a folder of images", "fashion_mnist"]),
        ("x.npy", DataFileError, ["no file or folder x.npy"]),
        ("x.npz:a", DataFileError, ["no file or folder x.npz."]),
        ("", RangeError, ["unknown data set ''"]),
        ("\0", RangeError, ["unknown data set"]),
        (None, DataFileError, ["source is None; expected a str or a Path"]),
        (np.zeros(3), DataFileError, ["expected a str or a Path"]),
    ],
)  # fmt: skip
def test_what_is_neither_a_name_nor_a_path(source, error, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(source, error, *parts)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB")
    refused(tmp_path / "x.mat", DataFileError, "x.mat is of an unknown kind. Expected a .npy")


# ---------------------------------------------------------------- what is held out


@pytest.mark.parametrize("n, held_out", [(2, 1), (9, 1), (25, 2), (100, 10)])
def test_the_last_tenth_of_the_permutation_is_held_out_in_the_order_of_the_file(n, held_out, tmp_path):
    x, y = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2), np.arange(n)
    (train, y_train), (test, y_test) = load(saved(tmp_path / "x.npy", x), labels=saved(tmp_path / "y.npy", y))
    order = Generator(0).permutation(n)
    assert np.array_equal(y_test, np.sort(order[-held_out:])) and np.array_equal(y_train, np.sort(order[:-held_out]))
    for part, labels in ((train, y_train), (test, y_test)):
        assert isinstance(part, Rows) and np.array_equal(part[:], x[labels])


def test_nothing_is_copied_and_a_model_can_train_on_it(tmp_path, rng):
    path = saved(tmp_path / "x.npy", rng.integers(0, 256, (40, 8, 8, 1), np.uint8))
    (x, y), (x_test, _) = load(path)
    assert y is None and shared_map(x.source) is shared_map(x_test.source) is not None
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 4)), ta.Sequential(ta.Dense(4, 64, "sigmoid"), ta.Reshape(8, 8, 1))
    )
    history = model.fit(x, 1, loss="bce", validation_data=x_test, progress=False)
    assert np.isfinite(history["val_loss"][-1])


@pytest.mark.parametrize("shape", [(20, 4), (20, 4, 4), (20, 4, 4, 3)])
def test_bytes_are_pixels_and_other_integers_are_not(shape, tmp_path, rng):
    pixels = rng.integers(0, 256, shape, np.uint8)
    (x, _), _ = load(saved(tmp_path / "x.npy", pixels))
    assert x.dtype == np.float32 and np.array_equal(x[:], pixels[x.index] / np.float32(255))
    (x, _), _ = load(saved(tmp_path / "x.npy", pixels.astype(np.int16)))
    assert x.dtype == np.int16 and np.array_equal(x[:], pixels[x.index])


@pytest.mark.parametrize(
    "array, error, parts",
    [
        (np.zeros(5), ShapeError, ["shape (5,); expected (N, ...)", "x.reshape(-1, 1)"]),
        (np.zeros(()), ShapeError, ["shape ()"]),
        (np.zeros((1, 3)), ShapeError, ["has one example; expected at least 2"]),
        (np.zeros((0, 3)), ShapeError, ["data are empty"]),
        (np.zeros((4, 3), complex), DtypeError, ["complex128", "real and the imaginary"]),
        (np.zeros((4, 3), np.float16), DtypeError, ["float16", "astype('float32')"]),
        (np.array([["a", "b"]] * 3), DtypeError, ["<U1"]),
        (np.zeros((4, 3), "f4,i4"), DtypeError, ["expected float32"]),
        (np.array([[1], [2]], object), DataFileError, ["wants to unpickle", "x.astype('float32')"]),
    ],
    ids=lambda value: "",
)
def test_arrays_that_are_no_examples(array, error, parts, tmp_path):
    np.save(tmp_path / "x.npy", array)
    refused(tmp_path / "x.npy", error, *parts)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", x=array)
        refused(tmp_path / "x.npz", error, *parts)


# ---------------------------------------------------------------- .npy and .npz


@quiet
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


def assert_same(got, expected):
    assert got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_npz_with_two_parts(save, x, y, tmp_path):
    save(tmp_path / "d.npz", x_train=x[:20], x_test=x[20:], y_train=y[:20], y_test=y[20:])
    (train, y_train), (test, y_test) = load(tmp_path / "d.npz")
    assert np.array_equal(train, x[:20]) and np.array_equal(test, x[20:])
    assert np.array_equal(y_train, y[:20]) and np.array_equal(y_test, y[20:])
    refused(tmp_path / "d.npz", DataFileError, "training and a test part of its own", "y_train", labels="y.npy")
    save(tmp_path / "d.npz", x_train=x[:20], x_test=x[20:])
    assert load(tmp_path / "d.npz")[0][1] is None


def test_parts_that_do_not_fit_together(x, y, tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x_train=x, x_test=x[:, :2])
    refused(path, ShapeError, "float32 (3, 2)", "float32 (2, 2)", "expected the same")
    np.savez(path, x_train=x, x_test=x, y_train=y)
    refused(path, DataFileError, "only one of y_train and y_test")
    np.savez(path, x_train=x, x_test=x, y_train=y, y_test=y[:-1])
    refused(path, ShapeError, "(test part) has 25 examples, but there are 24 labels")


@pytest.mark.parametrize("data", ["x", "data", "images"])
@pytest.mark.parametrize("labels", ["y", "labels", None])
def test_arrays_by_their_customary_names(data, labels, x, y, tmp_path):
    np.savez(tmp_path / "d.npz", **{data: x, "note": np.array(["about"], object)}, **({labels: y} if labels else {}))
    (train, y_train), _ = load(tmp_path / "d.npz")
    assert np.array_equal(train, x[train.index])
    assert y_train is None if labels is None else np.array_equal(y_train, y[train.index])


def test_one_array_of_several_is_chosen_by_name(x, y, tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, a=x, b=x + 1, classes=y, none=np.array([None]))
    refused(
        path, DataFileError, "several arrays: a (25, 3, 2), b (25, 3, 2), classes (25,), none (unreadable)", "d.npz:a"
    )
    (train, y_train), _ = load(f"{path}:b", labels=f"{path}:classes")
    assert np.array_equal(train, (x + 1)[train.index]) and np.array_equal(y_train, y[train.index])
    refused(f"{path}:c", DataFileError, "has no array 'c'. It has: a, b, classes, none")
    refused(f"{path}:none", DataFileError, "wants to unpickle")
    refused(f"{path}:b", DataFileError, "several arrays", "which one holds the labels", labels=path)


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


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("kind", ["npy", "column.npy", "float.npy", "csv", "npz", "npz:name"])
def test_labels_from_every_kind_of_file(kind, x, y, tmp_path):
    path = tmp_path / f"y.{kind.split(':')[0]}"
    if kind == "csv":
        path.write_text("label\n" + "\n".join(map(str, y)))
    elif "npz" in kind:
        np.savez(path, **({"name": y, "more": x} if ":" in kind else {"y": y}))
    else:
        np.save(path, y[:, None] if "column" in kind else y.astype(float) if "float" in kind else y)
    given = f"{path}:name" if ":" in kind else path
    (train, y_train), (test, y_test) = load(saved(tmp_path / "x.npy", x), labels=given)
    assert np.array_equal(y_train, y[train.index]) and np.array_equal(y_test, y[test.index])
    assert y_train.dtype.kind == "i"


@pytest.mark.parametrize(
    "labels, error, parts",
    [
        (np.arange(24), ShapeError, ["25 examples", "24 labels; expected as many"]),
        (np.arange(25) / 2, DtypeError, ["whole numbers", "number 1 (counted from 0) is 0.5"]),
        (np.full(25, np.nan), DtypeError, ["number 0 (counted from 0) is nan"]),
        (np.full(25, 1e300), DtypeError, ["1e+300"]),
        (np.zeros((25, 2), int), ShapeError, ["shape (25, 2); expected (N,)"]),
        (np.int64(3), ShapeError, ["shape ()"]),
        (np.array(["a"] * 25), DtypeError, ["labels: data of type <U1"]),
    ],
    ids=lambda value: "",
)
def test_labels_that_do_not_fit(labels, error, parts, x, tmp_path):
    refused(saved(tmp_path / "x.npy", x), error, *parts, labels=saved(tmp_path / "y.npy", labels))


def test_labels_that_are_not_there(x, tmp_path):
    path = saved(tmp_path / "x.npy", x)
    refused(path, DataFileError, "no file of labels nothing.npy", labels="nothing.npy")
    refused(path, DataFileError, "labels is 3; expected a str or a Path", labels=3)
    (tmp_path / "y.txt").write_text("1")
    refused(path, DataFileError, "y.txt are of an unknown kind", labels=tmp_path / "y.txt")


# ---------------------------------------------------------------- .csv


def csv_of(folder, text, encoding="utf-8"):
    path = folder / "x.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("text", [
    "1,2\n3,4\n", "1;2\n3;4", "1\t2\r\n3\t4\r\n", "a,b\n1,2\n3,4", '"a, b";c\n1;2\n3;4\n', "\ufeffa,b\n1,2\n3,4\n",
    "\n\na,b\n\n1,2\n\n3,4\n\n", '"1","2"\n 3 , 4e0 \n', "1,2\r3,4\r", "\ufeff1,2\n3,4\n", "#a,b\n1,2\n3,4",
])  # fmt: skip
def test_every_way_to_write_four_numbers(text, tmp_path):
    array = read_csv(csv_of(tmp_path, text))
    assert array.dtype == np.float32 and array.tolist() == [[1, 2], [3, 4]]


def test_one_column(tmp_path):
    assert read_csv(csv_of(tmp_path, "1\n2\n3\n")).tolist() == [[1], [2], [3]]


@quiet
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
               elements=st.floats(allow_nan=False, allow_infinity=False, width=32)),
    st.sampled_from(",;\t"), st.booleans(), st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_numbers_come_back_from_csv(tmp_path_factory, array, mark, header, end):
    lines = [mark.join(f"c{i}" for i in range(array.shape[1]))] if header else []
    lines += [mark.join(repr(float(v)) for v in row) for row in array]
    assert_same(read_csv(csv_of(tmp_path_factory.mktemp("csv"), end.join(lines))), array)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("", ["has no rows of numbers"]),
        ("\n \n", ["row 2, column 1: a gap"]),
        ("a,b\n", ["has no rows of numbers"]),
        ("1,2\n3,cat\n", ["row 2, column 2: the text 'cat'; expected a number"]),
        ("a,b\n\n1,2\n3,\n", ["row 4, column 2 (b): a gap"]),
        ("1,2\n3\n", ["row 2: 1 columns; expected 2"]),
        ("a,b\n1,2,3\n", ["row 2: 3 columns; expected 2"]),
        ("1,2\n3,nan\n", ["row 2, column 2: the value nan, not finite in float32"]),
        ("1,2\n-inf,4\n", ["row 2, column 1: the value -inf"]),
        ("1,2\n1e39,4\n", ["row 2, column 1: the value 1e39, not finite in float32"]),
        ("1,5;2\n3;4\n", ["row 1, column 1: the text '1,5' (a decimal point is needed, not a comma)"]),
        ("1,1_0\n", ["row 1, column 2: the text '1_0'"]),
        ("label,0,1\n1,2,3\n", ["row 1, column 1: the text 'label'"]),
        ("1,2\n3,0x10\n", ["row 2, column 2: the text '0x10'"]),
        ("1,2\n3," + "x" * 200_000, ["x.csv"]),
        ("1,2\n3,\0\n", ["x.csv"]),
    ],
)
def test_every_fault_of_a_csv_file(text, parts, tmp_path):
    refused(csv_of(tmp_path, text), DataFileError, "x.csv", *parts)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding(encoding, tmp_path):
    refused(
        csv_of(tmp_path, "größe\n1\n2", encoding), DataFileError, "cannot be read as UTF-8", "Save it as CSV in UTF-8"
    )


def test_a_large_csv_file_is_read_quickly(tmp_path, rng):
    line = ",".join(["0.12345"] * 200) + "\n"
    assert read_csv(csv_of(tmp_path, line * 3000)).shape == (3000, 200)  # 5 MB
    refused(csv_of(tmp_path, line * 3000 + "oops\n"), DataFileError, "row 3001: 1 columns; expected 200")


# ---------------------------------------------------------------- folders of images


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
