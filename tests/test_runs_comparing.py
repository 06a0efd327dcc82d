"""tinyae compare: the same weights and batches for all, and what its table and its plot say."""

import os
import signal

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.runs import comparing

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def compared(**options):
    """A short comparison of two optimizers."""
    return runs.compare(epochs=1, optimizers=("sgd", "adam"), out="c", progress=False, **options)


def test_compare_starts_all_from_the_same_weights(monkeypatch, capsys):
    line = "compare --optimizers gd,sgd,momentum,adam --losses mse,bce --epochs 2 --out c --json"
    code, result, out, err = tinyae(line, monkeypatch, capsys)
    assert code == 0 and "Traceback" not in err
    assert [(run["loss"], run["optimizer"]) for run in result["runs"]] == [
        (loss, optimizer) for loss in ("mse", "bce") for optimizer in ("gd", "sgd", "momentum", "adam")
    ]
    assert all(len(run["history"]) == 2 for run in result["runs"])
    assert set(os.listdir("c")) == {"comparison.json", "comparison.png"}
    assert out.count("*") == 3  # the two smallest, and what the star means
    for key in ("val_mse", "val_bce"):
        assert f"{min(run[key] for run in result['runs']):.4f}*" in out
    twin = quick_train("t", epochs=2, optimizer="momentum")
    assert twin["val_loss"] == next(run for run in result["runs"] if run["optimizer"] == "momentum")["history"][-1]


def test_the_seed_is_that_of_a_run():
    result = compared(seed=5)
    twin = quick_train("t", epochs=1, seed=5)
    assert twin["val_loss"] == result["runs"][1]["history"][-1]


def test_the_batch_size_is_that_of_every_run():
    assert [run["batch_size"] for run in compared(batch_size=100)["runs"]] == [100, 100]


def test_the_error_of_a_run_is_that_after_its_last_epoch():
    result = compared(losses=("bce",))
    assert all(np.isclose(run["val_bce"], run["history"][-1], rtol=1e-4) for run in result["runs"])


def test_the_star_stands_beside_the_best_optimizer():
    result = compared()
    best = min(result["runs"], key=lambda run: run["val_mse"])
    (line,) = [line for line in runs.comparison_table(result).splitlines() if f"{best['val_mse']:.4f}*" in line]
    assert best["optimizer"] in line


def test_every_panel_has_the_histories_of_its_loss(monkeypatch):
    drawn = []
    monkeypatch.setattr("tinyae.runs.comparing.draw_comparison", lambda panels, *rest: drawn.extend(panels))
    result = compared(losses=("mse", "bce"))
    assert len(drawn) == 2
    for (_name, histories), loss in zip(drawn, ("mse", "bce")):
        assert histories == {r["optimizer"]: r["history"] for r in result["runs"] if r["loss"] == loss}


def test_compare_endures_an_optimizer_that_diverges(monkeypatch, capsys):
    line = "compare --optimizers sgd,adam --losses mse --lr sgd=1e30 --epochs 2 --out c --json"
    code, result, out, _ = tinyae(line, monkeypatch, capsys)
    assert (
        code == 0
        and "diverged" in out
        and "became" in result["runs"][0]["trouble"]
        and not result["runs"][1]["trouble"]
    )


def test_ctrl_c_ends_a_comparison_and_leaves_out_what_is_not_whole(monkeypatch, capsys):
    calls, fit = [], comparing.fit

    class Interrupt(ta.Callback):
        def on_batch_end(self, batch, logs):
            if len(calls) == at and batch == 3:
                signal.raise_signal(signal.SIGINT)

    def noted(*arguments, callbacks, **options):
        calls.append(arguments)
        return fit(*arguments, callbacks=[*callbacks, Interrupt()], **options)

    monkeypatch.setattr(comparing, "fit", noted)
    at, line = 2, "compare --optimizers sgd,adam,momentum --losses mse --epochs 2 --out c --json"
    code, result, out, _ = tinyae(line, monkeypatch, capsys)
    assert code == 130 and [run["optimizer"] for run in result["runs"]] == ["sgd"] and result["interrupted"]
    assert result["left_out"] == ["adam with mse", "momentum with mse"] and "interrupted by Ctrl-C" in out
    at = len(calls) + 1
    code, _, _, err = tinyae(line.replace("--out c", "--out d"), monkeypatch, capsys)
    assert code == 2 and "nothing was written" in err and not os.path.exists("d")


def test_a_comparison_that_fails_leaves_no_folder(monkeypatch):
    monkeypatch.setattr("tinyae.runs.comparing.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared()
    assert not os.path.exists("c")
