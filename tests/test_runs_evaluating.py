"""tinyae evaluate: one run and several, with and without probes."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import RangeError
from tinyae.recipes.table import RECIPES

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def test_one_run_as_the_library_evaluates_it(monkeypatch, capsys):
    trained = quick_train("a", loss="bce")
    code, result, out, _ = tinyae("evaluate a --full --seeds 0,1 --json", monkeypatch, capsys)
    train, (x_test, y_test) = ta.datasets.load_digits()
    expected = ta.evaluate(ta.load("a"), x_test, y_test, train=train, seeds=[0, 1])
    assert code == 0 and result["evaluation"]["measures"] == expected["measures"]
    assert np.isclose(result["mse"], trained["val_mse"]) and np.isclose(result["bce"], trained["val_bce"])
    assert (result["run"], result["recipe"], result["data"], result["examples"]) == ("a", "digits", "digits", 360)
    assert result["which"] == "held-out examples" and np.isclose(result["mean_mse"], 0.0738, atol=1e-4)
    assert "k-means, NMI" in out and "PCA, 8" in out and "360 held-out examples of digits" in out


def test_without_full_it_is_quick_and_needs_no_labels(monkeypatch, capsys):
    quick_train("a", epochs=1)
    monkeypatch.setattr("tinyae.runs.evaluating.load_data", lambda *_: pytest.fail("the training data were read"))
    code, result, out, _ = tinyae("evaluate a --json", monkeypatch, capsys)
    assert (
        code == 0
        and "nmi" not in result["evaluation"]["measures"]
        and "pca" not in result["evaluation"]["measures"]["mse"]
    )
    assert "PSNR, dB" in out and "With --full" in out


def test_several_runs_give_a_median_and_a_range(monkeypatch, capsys):
    for seed in range(3):
        quick_train(f"r{seed}", epochs=1 + seed, seed=seed)
    alone = [runs.evaluate(f"r{seed}")["mse"] for seed in range(3)]
    code, result, out, _ = tinyae("evaluate r0 r1 r2 --json", monkeypatch, capsys)
    assert code == 0 and result["mse"] == sorted(alone)[1]
    assert [run["mse"] for run in result["runs"]] == alone and [run["seed"] for run in result["runs"]] == [0, 1, 2]
    assert result["evaluation"]["measures"]["mse"]["model"]["values"] == alone
    assert (result["spread"]["mse"]["low"], result["spread"]["mse"]["high"]) == (min(alone), max(alone))
    assert "r1 (seed 1)" in out and "3 models" in out and json.loads(json.dumps(result)) == result


def test_several_classifiers_give_a_median_accuracy(monkeypatch, capsys):
    found = [
        quick_train(f"c{seed}", "classifier", data="digits", epochs=1 + seed, seed=seed)["test_accuracy"]
        for seed in range(3)
    ]
    code, result, out, _ = tinyae("evaluate c0 c1 c2 --json", monkeypatch, capsys)
    assert code == 0 and result["accuracy"] == sorted(found)[1] and "the median" in out
    assert "evaluation" not in result


def test_other_data_are_halved_or_have_a_part_to_fit_on(monkeypatch, capsys):
    quick_train("a", epochs=1)
    (x, y), (x_test, y_test) = ta.datasets.load_digits()
    np.save("x.npy", x_test)
    np.save("y.npy", y_test)
    np.savez("two.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    halved = tinyae("evaluate a --full --data x.npy --labels y.npy --json", monkeypatch, capsys)[1]
    assert halved["evaluation"]["settings"]["examples_fitted"] == 180 and halved["which"] == "examples"
    parts = tinyae("evaluate a --full --data two.npz --json", monkeypatch, capsys)[1]
    own = tinyae("evaluate a --full --json", monkeypatch, capsys)[1]
    assert parts["evaluation"]["measures"] == own["evaluation"]["measures"]
    none = tinyae("evaluate a --full --data x.npy --json", monkeypatch, capsys)[1]
    assert "Without labels" in " ".join(none["evaluation"]["remarks"])


@pytest.mark.parametrize(
    "other, difference",
    [
        ({"loss": "bce"}, "loss"),
        ({"data": "x.npy"}, "examples of shape"),
        ({"name": "classifier"}, "task"),
        ({"name": "narrow"}, "code of size"),
        ({"name": "deeper"}, None),
    ],
)
def test_runs_that_do_not_belong_together(other, difference, monkeypatch):
    for name, widths in (("narrow", (32, 7)), ("deeper", (64, 32, 8))):
        monkeypatch.setitem(RECIPES, name, replace(RECIPES["digits"], name=name, widths=widths))
    np.save("x.npy", np.random.default_rng(0).random((30, 20), dtype=np.float32))
    quick_train("a", epochs=1)
    quick_train("b", epochs=1, **({"data": "digits"} | other))
    if difference is None:  # another recipe with a code of the same size may be compared
        assert runs.evaluate(["a", "b"])["recipe"] == "digits, deeper"
        return
    with pytest.raises(RangeError, match=f"a has the {difference} .*, b"):
        runs.evaluate(["a", "b"])


def test_full_is_not_for_classifiers():
    quick_train("c", "classifier", data="digits", epochs=1)
    with pytest.raises(RangeError, match="--full looks at codes"):
        runs.evaluate("c", full=True)
