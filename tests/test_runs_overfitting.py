"""tinyae overfit: the same start for all, errors of the model as it is used, three kinds of examples kept apart."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.metrics import pca_baseline, reconstruction_error
from tinyae.plots import draw_overfitting
from tinyae.recipes import get_recipe
from tinyae.runs import overfitting
from tinyae.runs.overfitting import REMEDIES, build, parts_of

from .conftest import tinyae

pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
pytest.importorskip("click", reason="the command line needs click")
pytestmark = pytest.mark.usefixtures("here")
DIGITS = get_recipe("digits")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All remedies, shortly; (result, folder)."""
    folder = tmp_path_factory.mktemp("overfit") / "out"
    return runs.overfit(examples=40, epochs=4, out=folder, progress=False), folder


def test_the_three_kinds_of_examples_do_not_meet():
    train, looked_at, held_out, everything = parts_of(DIGITS, 200)
    assert (len(train), len(looked_at), len(held_out), len(everything)) == (200, 200, 360, 1437)
    rows = [{row.tobytes() for row in part} for part in (train, looked_at, held_out)]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]


def test_all_remedies_start_from_the_same_weights():
    states = [build(DIGITS, remedy, (8, 8, 1), 3).parameters() for remedy in REMEDIES.values()]
    assert all(np.array_equal(a.numpy(), b.numpy()) for state in states for a, b in zip(state, states[0], strict=True))
    assert not np.array_equal(states[0][0].numpy(), build(DIGITS, REMEDIES["L1"], (8, 8, 1), 4).parameters()[0].numpy())


def test_each_remedy_is_what_it_says(monkeypatch):
    """What fit is given, and which layers the model has."""
    seen = {}

    def spy(model, x, y, *arguments, **options):
        layers = [type(layer).__name__ for layer in [*model.encoder, *model.decoder]]
        seen[name] = layers, {key: options[key] for key in ("regularizers", "augment", "callbacks") if key in options}
        return ta.fit(model, x, y, *arguments, **options)

    monkeypatch.setattr(overfitting, "fit", spy)
    sets, recipe = parts_of(DIGITS, 40), overfitting.replace(DIGITS, epochs=1)
    for name in REMEDIES:
        overfitting.one_remedy(recipe, REMEDIES[name], sets, 0, False)
    plain = ["Flatten", "Dense", "Dense", "Dense", "Dense", "Reshape"]
    dropped = ["Flatten", "Dense", "Dropout", "Dense", "Dense", "Dropout", "Dense", "Reshape"]
    noisy = ["Flatten", "GaussianNoise", *plain[1:]]
    expected = {"dropout": dropped, "noise": noisy}
    assert {name: layers for name, (layers, _) in seen.items()} == {
        name: expected.get(name, plain) for name in REMEDIES
    }
    given = {name: {k: [repr(one) for one in v] for k, v in options.items()} for name, (_, options) in seen.items()}
    assert given["L1"]["regularizers"] == ["L1(strength=1e-05)"] and given["L2"]["regularizers"] == [
        "L2(strength=0.0001)"
    ]
    assert "patience=10" in given["early stopping"]["callbacks"][1] and len(given["nothing"]["callbacks"]) == 1
    assert given["rotations"]["augment"] == ["RandomRotation(degrees=10, fill=0)"]
    assert given["shifts"]["augment"] == ["RandomShift(pixels=1, fill=0)"]


def test_the_errors_are_those_of_the_model_as_it_is_used(done):
    result, _ = done
    (x, _), (x_test, _) = ta.datasets.load_digits()
    for run in result["runs"]:
        assert len(run["train"]) == len(run["held_out"]) == run["epochs"] == 4
        assert run["best"] == min(run["held_out"]) == run["held_out"][run["best_epoch"] - 1]
        assert run["last"] == run["held_out"][-1]
        if run["remedy"] != "early stopping":
            assert run["kept"] == run["last"] and run["train_kept"] == run["train"][-1]
        assert run["change"] == pytest.approx(run["kept"] / result["runs"][0]["kept"] - 1)
    assert [run["remedy"] for run in result["runs"]] == list(REMEDIES)
    # by hand: dropout, whose training loss is another number than the error of the model as it is used
    model = build(DIGITS, REMEDIES["dropout"], (8, 8, 1), 0)
    history = model.fit(x[:40], 4, 32, lr=2e-3, validation_data=x[40:80], progress=False)
    found = next(run for run in result["runs"] if run["remedy"] == "dropout")
    assert found["kept"] == reconstruction_error(model, x_test) and found["train_kept"] == reconstruction_error(
        model, x[:40]
    )
    assert found["train_kept"] != pytest.approx(history["loss"][-1], rel=1e-3)
    assert result["baselines"]["PCA with 8 components, of the same 40"] == pca_baseline(x[:40], x_test, 8)


def test_early_stopping_ends_with_the_epoch_that_other_examples_choose(monkeypatch):
    monkeypatch.setitem(
        REMEDIES,
        "early stopping",
        overfitting.Remedy("patience 1", "", fit_options=lambda: {"callbacks": [ta.EarlyStopping(1)]}),
    )
    result = runs.overfit(examples=10, epochs=60, remedies=["early stopping"], out="a", progress=False)
    nothing, early = result["runs"]
    assert early["epochs"] < 60 and early["held_out"] == nothing["held_out"][: early["epochs"]]
    chosen = early["held_out"].index(early["kept"]) + 1
    assert chosen == early["epochs"] - 1  # the one before its patience ended
    assert early["kept"] != early["last"] and early["change"] == pytest.approx(early["kept"] / nothing["kept"] - 1)


def test_the_table_and_the_files(done, monkeypatch, capsys):
    result, folder = done
    assert json.loads((folder / "overfitting.json").read_text()) == json.loads(json.dumps(result))
    text = runs.overfitting_table(result)
    for name in REMEDIES:
        assert f"\n{name} " in text
    kept = min(run["kept"] for run in result["runs"])
    assert f"{kept:.4f}*" in text and "PCA with 8 components, of the same 40:" in text and "on all 1,437:" in text
    code, found, out, _ = tinyae(
        "overfit --examples 20 --epochs 2 --remedies L1,dropout --out b --json", monkeypatch, capsys
    )
    assert code == 0 and [run["remedy"] for run in found["runs"]] == ["nothing", "L1", "dropout"]
    assert {path.name for path in Path("b").iterdir()} == {"overfitting.json", "overfitting.png"}
    again = runs.overfit(examples=20, epochs=2, remedies=["dropout"], out="c", progress=False)["runs"][1]
    assert again["held_out"] == found["runs"][2]["held_out"]  # what else is trained plays no part


@pytest.mark.parametrize("count", [1, 3, 6])
def test_the_picture_has_a_panel_for_each_remedy(done, count):
    result = {**done[0], "runs": done[0]["runs"][:count]}
    figure = draw_overfitting(result, None)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == count
    for axis, run in zip(shown, result["runs"]):
        assert axis.get_title().startswith(run["remedy"]) and f"{run['kept']:.4f}" in axis.get_title()
        lines = {line.get_label(): list(line.get_ydata()) for line in axis.get_lines()}
        assert lines["training examples"] == run["train"] and lines["held-out examples"] == run["held_out"]
        assert lines["smallest held-out error"] == [run["best"]] and axis.get_yscale() == "log"


@pytest.mark.parametrize(
    "line, message",
    [
        ("--remedies medicine", "unknown remedy 'medicine'. Known, nearest first: "),
        ("--examples 1", "examples is 1; expected an integer >= 2"),
        ("--examples 719", "719 examples are asked for.*has 1437. Expected at most 718"),
        ("--epochs 0", "epochs is 0"),
        ("--seed -1", "seed is -1"),
        ("--data nowhere.npy", "nowhere.npy"),
        ("--data flat.npy", r"has shape \(64,\); expected images"),
        ("--out taken", "the folder taken exists"),
    ],
)
def test_wrong_ones_write_nothing(line, message, monkeypatch, capsys):
    np.save("flat.npy", np.random.default_rng(0).random((900, 64), dtype=np.float32))
    Path("taken").mkdir()
    code, _, _, err = tinyae(f"overfit {line}", monkeypatch, capsys)
    assert code == 2 and re.search(message, err), err
    assert sorted(path.name for path in Path().iterdir()) == ["flat.npy", "taken"] and not list(Path("taken").iterdir())


@pytest.mark.slow
def test_it_overfits_and_some_remedies_help():
    """The claims of the documentation, with a margin."""
    result = runs.overfit(epochs=150, remedies=["L2", "dropout"], out="a", progress=False)
    nothing, l2, dropout = result["runs"]
    assert nothing["train_kept"] < 0.3 * nothing["kept"] and nothing["last"] > 1.05 * nothing["best"]
    assert l2["change"] < -0.08 and dropout["change"] < -0.08
