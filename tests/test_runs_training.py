"""tinyae train: what decides the result, what becomes of a run that fails, and one's own data."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae.archive import read_archive
from tinyae.errors import FileWriteError, TrainingError
from tinyae.recipes import RECIPES

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def test_the_seed_decides_weights_and_batches():
    quick_train("a", seed=3)
    recipe = RECIPES["digits"]
    (x, _), (x_test, _) = ta.datasets.load_digits()
    ta.manual_seed(3)
    model = recipe.build((8, 8, 1))
    model.fit(x, 3, 32, lr=2e-3, validation_data=x_test, seed=3, progress=False)
    ours, theirs = ta.load("a").state_dict(), model.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_batch_larger_than_the_data_is_reported_as_it_was():
    np.save("x.npy", np.random.default_rng(0).random((20, 9), dtype=np.float32))
    assert quick_train("a", epochs=1, data="x.npy", batch_size=500)["batch_size"] == 18


def test_a_model_trained_on_another_backend_loads():
    np.save("x.npy", np.random.default_rng(0).random((40, 64), dtype=np.float32))  # the stand-in takes its time
    quick_train("a", epochs=1, backend="strict", data="x.npy")
    assert ta.load("a").parameter_count() == 37448


def test_the_checkpoint_of_a_finished_run_is_its_model():
    quick_train("a")
    _, arrays = read_archive("a/run.checkpoint", "tinyae.checkpoint")
    for name, value in ta.load("a").state_dict().items():
        assert np.array_equal(arrays[f"model/{name}"], value)


def test_a_diverging_run_is_saved_up_to_its_last_whole_epoch(monkeypatch):
    class Poison(ta.Checkpoint):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 1:
                self.trainer.model.decoder[0].weight.data[0, 0] = np.nan

    monkeypatch.setattr("tinyae.runs.training.Checkpoint", Poison)
    with pytest.raises(TrainingError, match="became nan.*It is saved in a"):
        quick_train("a")
    assert np.isfinite(ta.load("a").decoder[0].weight.numpy()).all()


def test_on_a_full_disk_the_way_to_go_on_is_named(monkeypatch):
    class Full(ta.Checkpoint):
        def on_epoch_complete(self, epoch):
            if epoch == 2:
                raise FileWriteError("the disk is full.")
            super().on_epoch_complete(epoch)

    monkeypatch.setattr("tinyae.runs.training.Checkpoint", Full)
    with pytest.raises(FileWriteError, match="Make room, then go on with: tinyae resume a"):
        quick_train("a")


# ---------------------------------------------------------------- one's own data


def test_a_csv_file(monkeypatch, capsys):
    x = np.random.default_rng(0).random((50, 12))
    np.savetxt("x.csv", x, delimiter=",", header=",".join("abcdefghijkl"), comments="")
    code, result, out, _ = tinyae("train --data x.csv --epochs 2 --out a --json", monkeypatch, capsys)
    assert code == 0 and result["input_size"] == 12 and result["examples"] == {"train": 45, "val": 5}
    assert "12 numbers become 8" in out and "mean example" in out
    code, result, _, _ = tinyae("reconstruct a --out r.npy --data x.csv --json", monkeypatch, capsys)
    assert code == 0 and result["examples"] == 5  # the run's own data: what was held out
    shutil.copy("x.csv", "y.csv")
    code, result, _, _ = tinyae("reconstruct a --out s.npy --data y.csv --json", monkeypatch, capsys)
    made = np.load("s.npy")
    assert made.shape == (50, 12) and made.dtype == np.float32
    assert np.array_equal(made, ta.load("a").reconstruct(x.astype(np.float32)))
    assert tinyae("reconstruct a --out r.png", monkeypatch, capsys)[0] == 0
    assert Path("r.png").read_bytes()[:4] == b"\x89PNG"
    code, result, out, _ = tinyae("evaluate a --data y.csv --json", monkeypatch, capsys)
    assert np.isclose(result["mse"], ((made - x) ** 2).mean(), rtol=1e-5) and result["examples"] == 50


def test_a_folder_of_images_with_classes(monkeypatch, capsys):
    Image = pytest.importorskip("PIL.Image", reason="folders of images need Pillow")
    (x, y), _ = ta.datasets.load_digits()
    for label in range(3):
        os.makedirs(f"images/{label}")
        for i, image in enumerate(x[y == label][:20]):
            Image.fromarray((image[..., 0] * 255).astype(np.uint8)).save(f"images/{label}/{i:02}.png")
    code, result, _, _ = tinyae("train --data images --epochs 2 --out a --json", monkeypatch, capsys)
    assert code == 0 and result["input_size"] == 64 and result["examples"]["train"] == 54
    code, result, _, _ = tinyae("train classifier --data images --epochs 5 --out b --json", monkeypatch, capsys)
    assert code == 0 and result["classes"] == 3 and result["test_accuracy"] > 0.8
    assert os.path.exists("b/confusion.png") and not os.path.exists("b/reconstructions.png")
    assert tinyae("evaluate b --json", monkeypatch, capsys)[1]["accuracy"] == result["test_accuracy"]
    np.save("few.npy", x[:5])
    np.save("few_labels.npy", y[:5])
    code, result, _, _ = tinyae("evaluate b --data few.npy --labels few_labels.npy --json", monkeypatch, capsys)
    assert code == 0 and result["examples"] == 5


def test_labels_for_data_without(monkeypatch, capsys):
    (x, y), _ = ta.datasets.load_digits()
    np.save("x.npy", x)
    np.save("y.npy", y)
    line = "train classifier --data x.npy --labels y.npy --epochs 3 --out a --json"
    code, result, _, _ = tinyae(line, monkeypatch, capsys)
    assert code == 0 and result["test_accuracy"] > 0.9
    assert tinyae("resume a --epochs 4 --json", monkeypatch, capsys)[1]["epochs"] == 4


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("name", ["digits", "classifier"])
def test_every_kind_of_number(name, dtype, monkeypatch, capsys):
    x = (np.random.default_rng(0).random((60, 20)) > 0.5).astype(dtype)
    np.savez("own.npz", x=x, y=np.arange(60) % 3)
    quick_train("a", name, epochs=1, data="own.npz")
    assert tinyae("evaluate a", monkeypatch, capsys)[0] == 0
    assert tinyae("resume a -q --epochs 2", monkeypatch, capsys)[0] == 0
