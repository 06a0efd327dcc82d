"""tinyae inspect: the first layer's weights and the outputs of all layers, for convolutions and dense layers."""

import os
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import FileWriteError
from tinyae.files import locked
from tinyae.runs.inspecting import rows_of, stages

from .conftest import listing, quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")

PICTURES = {"filters.png", "feature_maps.png"}


@pytest.fixture
def drawn(monkeypatch):
    """What is given to the two functions that draw."""
    found = {}
    monkeypatch.setattr("tinyae.runs.inspecting.draw_filters", lambda f, path, note: found.update(filters=f, of=note))
    monkeypatch.setattr("tinyae.runs.inspecting.draw_maps", lambda rows, path, note: found.update(rows=rows, note=note))
    return found


def small(name="x.npy", shape=(30, 9, 8, 1)):
    """Images of one's own."""
    np.save(name, np.random.default_rng(0).random(shape, dtype=np.float32))


def test_a_conv_run_is_drawn_into_its_folder(monkeypatch, capsys):
    small()
    quick_train("a", "conv-digits", 1, data="x.npy")
    before = listing("a")
    code, result, out, _ = tinyae("inspect a --json", monkeypatch, capsys)
    assert code == 0 and result["out"] == "a" and set(result["written"]) == PICTURES
    assert "encoder.0 Conv2D        9 x 8 x 16" in out and "written to a: filters.png, feature_maps.png" in out
    after = listing("a")
    assert set(after) - set(before) == PICTURES and all(after[name] == before[name] for name in before)
    assert all(after[name][:4] == b"\x89PNG" for name in PICTURES)
    assert [layer["shape"] for layer in result["layers"]][-1] == [9, 8, 1]


def test_what_is_drawn_of_a_conv_run(drawn):
    small()
    quick_train("a", "conv", 1, data="x.npy")
    result = runs.inspect("a", example=2)
    model = ta.load("a")
    assert np.array_equal(drawn["filters"], np.moveaxis(model.encoder[0].weight.numpy(), -1, 0))
    held_out = ta.datasets.load("x.npy")[1][0]
    image = np.asarray(held_out[2:3])
    encoder, decoder = drawn["rows"]["encoder"], drawn["rows"]["decoder"]
    assert [title for title, _ in encoder] == [
        "input",
        "Conv2D, relu",
        "MaxPool2D",
        "Conv2D, relu",
        "MaxPool2D = the code",
    ]
    assert np.array_equal(encoder[0][1], image[0]) and np.array_equal(encoder[-1][1], model.encode(image)[0])
    assert decoder[-1][0] == "reconstruction" and np.allclose(decoder[-1][1], model.reconstruct(image)[0], atol=1e-6)
    assert [layer["max"] for layer in result["layers"]][-1] == pytest.approx(float(decoder[-1][1].max()))
    assert "example 2 of x.npy" in drawn["note"]


def test_what_is_drawn_of_a_dense_run(drawn):
    quick_train("a", epochs=1)
    runs.inspect("a", example=1)
    model, (_, y) = ta.load("a"), ta.datasets.load_digits()[1]
    weight = model.encoder[1].weight.numpy()
    assert drawn["filters"].shape == (256, 8, 8, 1) and np.array_equal(drawn["filters"][3].ravel(), weight[:, 3])
    assert [title for title, _ in drawn["rows"]["encoder"]] == ["input", "Dense, relu", "Dense = the code"]
    assert [title for title, _ in drawn["rows"]["decoder"]] == ["Dense, relu", "reconstruction"]
    assert drawn["rows"]["encoder"][2][1].shape == (8,) and drawn["rows"]["decoder"][1][1].shape == (8, 8, 1)
    assert f"example 1 of digits, a {y[1]}," in drawn["note"]


def test_what_is_drawn_of_a_classifier(drawn):
    quick_train("a", "classifier", 1, data="digits")
    runs.inspect("a")
    assert [title for title, _ in drawn["rows"][""]] == ["input", "Dense, relu", "scores"]


def test_images_without_a_channel_axis(drawn):
    small(shape=(30, 9, 8))
    quick_train("a", "conv-digits", 1, data="x.npy")
    quick_train("b", "digits", 1, data="x.npy")
    for run in ("a", "b"):
        runs.inspect(run)
        assert drawn["rows"]["encoder"][0][1].shape == drawn["rows"]["decoder"][-1][1].shape == (9, 8)
    assert drawn["filters"].shape == (256, 9, 8, 1)


def test_every_layer_is_run_once_in_order():
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Sequential(ta.Dense(4, 3, "relu"), ta.Dropout(0.5))), ta.Dense(3, 4)
    )
    x = np.ones((1, 2, 2), np.float32)
    found = stages(model, x)
    assert [name for name, _, _ in found] == ["encoder.0", "encoder.1.0", "encoder.1.1", "decoder"]
    assert np.array_equal(found[-1][2], model.reconstruct(x)[0]) and np.array_equal(found[1][2], found[2][2])
    assert model.training

    class recipe:
        task = "reconstruct"

    assert [title for title, _ in rows_of(recipe, x[0], found)["encoder"]][-1] == "Dropout = the code"


def test_another_folder_and_other_data(monkeypatch, capsys):
    small()
    small("y.npy", (5, 9, 8, 1))
    quick_train("a", "conv-digits", 1, data="x.npy")
    before = listing("a")
    code, result, _, _ = tinyae("inspect a --data y.npy --example 4 --out new/folder --json", monkeypatch, capsys)
    assert code == 0 and result["data"].endswith("y.npy") and set(os.listdir("new/folder")) == PICTURES
    assert listing("a") == before
    Path("new/folder/filters.png").write_text("mine")
    code, _, _, err = tinyae("inspect a --out new/folder", monkeypatch, capsys)
    assert code == 2 and "filters.png" in err and "--overwrite" in err
    assert Path("new/folder/filters.png").read_text() == "mine"
    assert tinyae("inspect a --out new/folder --overwrite", monkeypatch, capsys)[0] == 0
    assert tinyae("inspect a", monkeypatch, capsys)[0] == tinyae("inspect a", monkeypatch, capsys)[0] == 0


def test_pictures_of_a_model_that_was_trained_on_are_taken_away():
    small()
    quick_train("a", "conv-digits", 1, data="x.npy")
    runs.inspect("a")
    runs.resume("a", epochs=2, progress=False)
    assert not PICTURES & set(os.listdir("a"))
    runs.inspect("a")
    quick_train("a", "digits", 1, overwrite=True)
    assert not PICTURES & set(os.listdir("a"))


def test_nothing_is_drawn_into_a_run_that_somebody_works_on():
    quick_train("a", epochs=1)
    with open("a/.lock", "a+b") as file:
        assert locked(file)
        with pytest.raises(FileWriteError, match="inspect: another process is at work in a"):
            runs.inspect("a")
    assert not PICTURES & set(os.listdir("a"))
