"""One's own data by name or path: which arrays are the data and the labels, and what is held out."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.datasets.own import load_for_evaluation
from tinyae.errors import DataFileError, DtypeError, RangeError, ShapeError
from tinyae.random import Generator
from tinyae.rows import Rows, shared_map

from .conftest import refused, saved

load = ta.datasets.load


@pytest.fixture
def x(rng):
    return rng.random((25, 3, 2)).astype(np.float32)


@pytest.fixture
def y():
    return np.arange(25) % 4


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
    (tmp_path / "x.xls").write_bytes(b"a table")
    refused(tmp_path / "x.xls", DataFileError, "x.xls is of an unknown kind. Expected a .npy")


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


# ---------------------------------------------------------------- the arrays of a .npz file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_npz_with_two_parts(save, x, y, tmp_path):
    save(tmp_path / "d.npz", x_train=x[:20], x_test=x[20:], y_train=y[:20], y_test=y[20:])
    (train, y_train), (test, y_test) = load(tmp_path / "d.npz")
    assert np.array_equal(train, x[:20]) and np.array_equal(test, x[20:])
    assert np.array_equal(y_train, y[:20]) and np.array_equal(y_test, y[20:])
    refused(tmp_path / "d.npz", DataFileError, "training and a test part of its own", "y_train", labels="y.npy")
    save(tmp_path / "d.npz", x_train=x[:20], x_test=x[20:])
    assert load(tmp_path / "d.npz")[0][1] is None


def test_of_a_source_with_two_parts_the_test_part_is_evaluated(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((5, 2)), x_test=np.ones((3, 2)))
    x, y = load_for_evaluation(tmp_path / "x.npz")
    assert np.array_equal(x[:], np.ones((3, 2)))


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


def test_labels_stay_with_their_examples_in_both_parts(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20))
    for x, y in load(tmp_path / "x.npz"):
        assert np.array_equal(x[:][:, 0], 2 * y)


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
