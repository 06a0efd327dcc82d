"""Runs that go on: with more epochs, from elsewhere, after Ctrl-C, after a kill; all end with the same bits."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.recipes import RECIPES

from .conftest import kept, listing, quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_more_epochs_end_as_if_asked_for_at_first(optimizer):
    quick_train("whole", optimizer=optimizer, epochs=4)
    quick_train("short", optimizer=optimizer, epochs=2)
    result = runs.resume("short", epochs=4, progress=False)
    assert kept("short") == kept("whole") and result["epochs"] == 4
    assert json.loads(Path("short/settings.json").read_text())["recipe"]["epochs"] == 4
    assert json.loads(Path("short/result.json").read_text()) == result
    before = kept("short")
    assert runs.resume("short", progress=False)["epochs"] == 4 and kept("short") == before


def test_what_a_killed_process_left_half_written_is_cleared_away():
    quick_train("a")
    Path("a/.model.safetensors.1-2.partial").write_text("half")
    runs.resume("a", progress=False)
    assert not list(Path("a").glob(".*"))


def test_a_run_can_be_resumed_from_elsewhere(monkeypatch, tmp_path):
    np.save("mine.npy", np.random.default_rng(0).random((60, 20), dtype=np.float32))
    quick_train("a", data="mine.npy")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert runs.resume("../a", epochs=4, progress=False)["epochs"] == 4


def test_a_run_is_resumed_on_its_own_backend():
    np.save("x.npy", np.random.default_rng(0).random((40, 64), dtype=np.float32))  # the stand-in takes its time
    quick_train("a", epochs=1, backend="strict", data="x.npy")
    assert runs.resume("a", epochs=2, progress=False)["backend"] == "strict"


def test_a_run_killed_before_its_first_checkpoint_begins_anew():
    quick_train("whole")
    quick_train("a")
    for name in os.listdir("a"):
        if name != "settings.json":
            os.unlink(f"a/{name}")
    runs.resume("a", progress=False)
    assert kept("a") == kept("whole")


def test_settings_survive_a_resumed_run_that_fails_before_its_first_checkpoint(monkeypatch):
    quick_train("a")
    for name in os.listdir("a"):
        if name != "settings.json":
            os.unlink(f"a/{name}")
    monkeypatch.setattr("tinyae.runs.training.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runs.resume("a", progress=False)
    assert os.listdir("a") == ["settings.json"]


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_and_resume(monkeypatch, capsys):
    class Interrupt(ta.Callback):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 2 and batch == 9:
                signal.raise_signal(signal.SIGINT)

    quick_train("whole", epochs=5)
    with monkeypatch.context() as patch:
        patch.setattr("tinyae.runs.training.Checkpoint", lambda *a, **k: Both(*a, **k))

        class Both(ta.Checkpoint, Interrupt):
            pass

        code, result, _, _ = tinyae("train --epochs 5 --out a --json -q", patch, capsys)
    assert code == 130 and result["interrupted"] and result["epochs"] == 2
    assert ta.load("a").parameter_count() > 0  # with what was learnt of the third epoch
    code, result, out, _ = tinyae("resume a --json", monkeypatch, capsys)
    assert code == 0 and result["epochs"] == 5 and kept("a") == kept("whole")


class InTheFirstEpoch(ta.Checkpoint):
    """Presses Ctrl-C while nothing is whole yet."""

    def on_batch_end(self, batch, logs):
        if self.trainer.epoch == 0 and batch == 20:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_first_epoch_keeps_what_was_learnt(monkeypatch, capsys):
    quick_train("whole")
    with monkeypatch.context() as patch:
        patch.setattr("tinyae.runs.training.Checkpoint", InTheFirstEpoch)
        code, result, out, _ = tinyae("train --epochs 3 --out a --json", patch, capsys)
    assert code == 130 and result["epochs"] == 0 and result["val_loss"] is None and "interrupted by Ctrl-C" in out
    untrained = RECIPES["digits"].build((8, 8, 1))
    assert result["val_mse"] < 0.08 and ta.load("a").parameter_count() == untrained.parameter_count()
    assert tinyae("resume a -q", monkeypatch, capsys)[0] == 0 and kept("a") == kept("whole")


def test_ctrl_c_in_the_first_epoch_of_an_overwriting_run_keeps_the_old_one(monkeypatch, capsys):
    quick_train("a")
    before = listing("a")
    monkeypatch.setattr("tinyae.runs.training.Checkpoint", InTheFirstEpoch)
    code, _, _, err = tinyae("train --out a --overwrite -q", monkeypatch, capsys)
    assert code == 2 and "nothing was kept of it" in err and listing("a") == before


def test_ctrl_c_while_the_pictures_are_drawn_is_reported(monkeypatch):
    monkeypatch.setattr("tinyae.runs.training.draw_run", lambda *a: signal.raise_signal(signal.SIGINT))
    assert quick_train("a", epochs=1)["interrupted"]
