"""tinyae search: what is nearest, by the code and by the pixels."""

import os
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import DataFileError, RangeError, ShapeError

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytest.importorskip("matplotlib", reason="what is found is drawn with Matplotlib")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def digits():
    return ta.datasets.load_digits()


def by_hand(codes, query, k, without=None):
    """The nearest k, one distance after the other."""
    distance = np.linalg.norm(codes.reshape(len(codes), -1) - query.reshape(1, -1), axis=1)
    order = [i for i in np.argsort(distance, kind="stable") if i != without][:k]
    return order, distance[order]


def same(found, order, distance, labels):
    return ([one["example"] for one in found] == order and np.allclose([one["distance"] for one in found], distance, rtol=1e-4)
            and [one["label"] for one in found] == labels[order].tolist())  # fmt: skip


def test_a_held_out_example_finds_the_nearest_others(monkeypatch, capsys, digits):
    quick_train("a")
    _, (x, y) = digits
    code, result, out, _ = tinyae("search a 7 --k 5 --json", monkeypatch, capsys)
    assert (
        code == 0 and result["examples"] == 359 and result["query"] == {"image": "7", "example": 7, "label": int(y[7])}
    )
    codes = ta.load("a").encode(x)
    assert same(result["by_code"], *by_hand(codes, codes[7], 5, 7), y) and same(
        result["by_pixels"], *by_hand(x, x[7], 5, 7), y
    )
    assert Path("a/search.png").read_bytes()[:4] == b"\x89PNG" and "by the raw pixels" in out


def test_among_training_examples(digits):
    quick_train("a", epochs=1)
    (x, y), (x_test, _) = digits
    result = runs.search("a", 7, k=4, among="training", out="s.png")
    model = ta.load("a")
    assert same(result["by_code"], *by_hand(model.encode(x), model.encode(x_test[7:8]), 4), y)
    assert result["which"] == "training examples" and result["query"]["label"] == 1 and os.path.exists("s.png")


@pytest.mark.parametrize("kind", ["png", "npy", "uint8.npy", "batch.npy", "grey.npy"])
def test_a_file_finds_the_example_that_it_is(kind, digits):
    quick_train("a", epochs=1)
    image = digits[1][0][11]
    file = f"q.{kind}"
    if kind == "png":
        pytest.importorskip("PIL.Image", reason="images need Pillow").fromarray(
            (image[..., 0] * 255).round().astype(np.uint8)
        ).save(file)
    else:
        array = {
            "npy": image,
            "uint8.npy": (image * 255).round().astype(np.uint8),
            "batch.npy": image[None],
            "grey.npy": image[..., 0],
        }
        np.save(file, array[kind])
    result = runs.search("a", file)
    assert result["by_pixels"][0]["example"] == result["by_code"][0]["example"] == 11
    assert result["by_pixels"][0]["distance"] < 0.05 and result["query"]["label"] is None and result["remarks"] == []


def test_an_image_that_is_to_be_inverted_is_told(digits):
    quick_train("a", epochs=1)
    np.save("q.npy", 1 - digits[1][0][11])
    result = runs.search("a", "q.npy")
    assert "bright border" in result["remarks"][0] and "inverted?" in runs.report_search(result)


def test_a_file_whose_name_is_a_number_is_a_file(digits):
    quick_train("a", epochs=1)
    np.save("12.npy", digits[1][0][11])
    os.rename("12.npy", "12")
    with pytest.raises(DataFileError, match="12 cannot be read as an image"):
        runs.search("a", "12")
    assert runs.search("a", 12)["query"]["example"] == 12


def test_plain_vectors_without_labels():
    x = np.random.default_rng(0).random((40, 20), dtype=np.float32)
    np.save("x.npy", x)
    quick_train("a", epochs=1, data="x.npy")
    np.save("all.npy", x)
    np.save("q.npy", x[5])
    result = runs.search("a", "q.npy", data="all.npy", k=3)
    assert result["by_pixels"][0] == {"example": 5, "label": None, "distance": 0} and result["numbers"] == "values"
    assert os.path.exists("a/search.png")


@pytest.mark.parametrize(
    "image, options, error, message",
    [
        (360, {}, RangeError, "360 held-out examples: expected 0 to 359"),
        (-1, {}, RangeError, "IMAGE is -1"),
        ("nowhere.png", {}, DataFileError, "there is no file nowhere.png"),
        ("large.npy", {}, ShapeError, r"has the shape \(9, 9, 1\)"),
        ("two.npy", {}, ShapeError, r"has the shape \(2, 8, 8, 1\)"),
        ("nan.npy", {}, RangeError, "NaN or infinite"),
        ("bytes.npy", {}, RangeError, "ranges from"),
        ("words.npy", {}, DataFileError, "expected numbers"),
        ("broken.npy", {}, DataFileError, "cannot be read as a .npy file"),
        ("broken.png", {}, DataFileError, "cannot be read as an image"),
        (3, {"k": 0}, RangeError, "--k is 0"),
        (3, {"k": 360}, RangeError, "--k is 360, but there are 359"),
        (3, {"among": "all"}, RangeError, "unknown part to search"),
        (3, {"among": "training", "data": "x.npz"}, RangeError, "Leave one out"),
        (3, {"out": "s.gif"}, RangeError, "ends in .gif"),
        (3, {"out": "there.png"}, RangeError, "there.png exists"),
    ],
)
def test_what_cannot_be_searched(image, options, error, message):
    quick_train("a", epochs=1)
    open("there.png", "w").close()
    np.save("large.npy", np.zeros((9, 9, 1)))
    np.save("two.npy", np.zeros((2, 8, 8, 1)))
    np.save("nan.npy", np.full((8, 8, 1), np.nan))
    np.save("bytes.npy", np.full((8, 8, 1), 255.0))
    np.save("words.npy", np.array(["a", "b"]))
    for kind in ("npy", "png"):
        Path(f"broken.{kind}").write_bytes(b"no such thing")
    with pytest.raises(error, match=message):
        runs.search("a", image, **options)
    assert not os.path.exists("a/search.png") and not os.path.exists("s.gif")


def test_a_classifier_has_no_code_to_search():
    quick_train("c", "classifier", data="digits", epochs=1)
    with pytest.raises(RangeError, match="is a classifier and has no code"):
        runs.search("c", 3)
