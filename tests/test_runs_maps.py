"""tinyae map: codes as points, beside the raw examples."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import RangeError
from tinyae.recipes.table import RECIPES

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytest.importorskip("matplotlib", reason="maps are drawn with Matplotlib")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn: [(panels, labels)]; the picture is drawn, too."""
    seen, draw = [], runs.maps.draw_code_maps
    monkeypatch.setattr(
        runs.maps,
        "draw_code_maps",
        lambda panels, labels, *rest: seen.append((panels, labels)) or draw(panels, labels, *rest),
    )
    return seen


def test_a_map_of_the_codes_beside_the_pixels(monkeypatch, capsys, drawn):
    quick_train("a", epochs=5)
    code, result, out, _ = tinyae("map a --by pca --limit 100 --json", monkeypatch, capsys)
    assert code == 0 and result["out"] == os.path.join("a", "map.png")
    assert Path("a/map.png").read_bytes()[:4] == b"\x89PNG"
    _, (x, y) = ta.datasets.load_digits()
    index = result["indices"]
    assert len(index) == len(set(index)) == 100 and result["labels"] == y[index].tolist()
    codes = ta.load("a").encode(x)[index]
    for one, raw in zip(result["maps"], (codes, x[index].reshape(100, -1))):
        assert np.allclose(one["points"], ta.map_codes(raw, "pca"), atol=1e-3) and 0.2 < one["same_label"] < 1
    assert [one["size"] for one in result["maps"]] == [8, 64]
    ((panels, labels),) = drawn
    assert (
        "the code, 8 numbers" in panels[0][0] and "64 raw pixels" in panels[1][0] and np.array_equal(labels, y[index])
    )
    assert "of the 5 nearest points" in out


def test_a_code_of_two_numbers_is_its_own_map(drawn, monkeypatch):
    monkeypatch.setitem(RECIPES, "two", replace(RECIPES["digits"], name="two", widths=(32, 2)))
    quick_train("a", "two", epochs=1)
    result = runs.map_run("a", limit=50)
    _, (x, _) = ta.datasets.load_digits()
    assert result["by"] == "model" and [one["by"] for one in result["maps"]] == ["model", "pca"]
    assert np.allclose(result["maps"][0]["points"], ta.load("a").encode(x)[result["indices"]], atol=1e-4)
    assert drawn[0][0][0][2] == ("first number of the code", "second number of the code")


def test_data_without_labels_and_a_file_of_ones_own(drawn):
    x = np.random.default_rng(0).random((40, 20), dtype=np.float32)
    np.save("x.npy", x)
    quick_train("a", epochs=1, data="x.npy")
    np.save("y.npy", x)
    result = runs.map_run("a", data="y.npy", out="m.png")
    assert os.path.exists("m.png") and not os.path.exists("a/map.png")
    assert result["labels"] is None and "same_label" not in result["maps"][0] and result["by"] == "tsne"
    assert "numbers" in runs.report_map(result) and drawn[0][1] is None


def test_many_classes_have_a_scale_in_place_of_names():
    x = np.random.default_rng(0).random((60, 12), dtype=np.float32)
    np.savez("own.npz", x=x, y=np.arange(60))
    np.savez("all.npz", x=x, y=np.arange(60))
    quick_train("a", epochs=1, data="own.npz")
    runs.map_run("a", by="pca", data="all.npz", out="m.png")
    assert os.path.getsize("m.png") > 10_000


def test_a_map_is_forgotten_when_the_training_goes_on():
    quick_train("a", epochs=1)
    runs.map_run("a", by="pca")
    runs.resume("a", epochs=2, progress=False)
    assert not os.path.exists("a/map.png")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"by": "umap"}, "unknown way to map codes 'umap'"),
        ({"by": "model"}, "8 numbers, and only those of 2"),
        ({"limit": 2}, "--limit is 2"),
        ({"seed": -1}, "--seed is -1"),
        ({"out": "m.jpg"}, "ends in .jpg"),
        ({"out": "there.png"}, "there.png exists"),
    ],
)
def test_what_cannot_be_mapped(options, message):
    quick_train("a", epochs=1)
    open("there.png", "w").close()
    with pytest.raises(RangeError, match=message):
        runs.map_run("a", **options)
    assert not os.path.exists("a/map.png") and not os.path.exists("m.png")


def test_a_classifier_has_no_code_to_map():
    quick_train("c", "classifier", data="digits", epochs=1)
    with pytest.raises(RangeError, match="is a classifier and has no code"):
        runs.map_run("c")
