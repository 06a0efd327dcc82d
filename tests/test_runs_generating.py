"""What a run makes up: ``tinyae generate``."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import MissingLibraryError, RangeError
from tinyae.plots.latent import draw_generated
from tinyae.runs.generating import generate, report_generation, two_examples

from .conftest import quick_train, tinyae

pytest.importorskip("matplotlib", reason="draws pictures")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")


@pytest.fixture(scope="module")
def runs_of(tmp_path_factory):
    """A variational run with a code of two numbers, and a plain one."""
    root = tmp_path_factory.mktemp("runs")
    quick_train(root / "vae", "vae-digits", epochs=2)
    quick_train(root / "plain", "digits", epochs=1)
    return root


def test_a_picture_shows_all_that_there_is(runs_of, tmp_path):
    result = generate(runs_of / "vae", out=tmp_path / "a.png")
    assert result["what"] == ["samples", "interpolation", "grid"] and result["codes"] == "N(0, 1)"
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    result = generate(runs_of / "plain", out=tmp_path / "b.png")
    assert result["what"] == ["samples", "interpolation"]
    assert result["codes"] == "a normal distribution fitted to the codes of the training data"
    text = report_generation(result)
    assert "40 samples, their codes drawn from a normal distribution fitted" in text and "numbers 0 and 1" in text


def test_arrays_are_what_the_model_gives(runs_of, tmp_path):
    model = ta.load(runs_of / "vae")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    expected = {
        "samples": model.sample(7, seed=3),
        "interpolation": model.interpolate(x_test[2], x_test[5], 7),
        "grid": ta.latent_grid(model, 7)[0],
    }
    for what, array in expected.items():
        result = generate(
            runs_of / "vae", out=tmp_path / f"{what}.npy", what=what, count=7, seed=3, between=(2, 5), data="digits"
        )
        found = np.load(tmp_path / f"{what}.npy")
        assert found.dtype == np.float32 and np.array_equal(found, array)
        assert result["count"] == {what: 7}
    generate(runs_of / "vae", out=tmp_path / "default.npy", seed=3)
    assert np.array_equal(np.load(tmp_path / "default.npy"), model.sample(40, seed=3))
    generate(runs_of / "plain", out=tmp_path / "plain.npy", count=5, seed=2)
    plain = ta.load(runs_of / "plain")
    assert np.array_equal(np.load(tmp_path / "plain.npy"), plain.sample_like(x, 5, 2))


def test_by_default_it_walks_to_the_first_example_of_another_label():
    x = np.zeros((4, 2))
    assert two_examples(None, x, np.array([3, 3, 5, 1]), "examples", "d") == [0, 2]
    assert two_examples(None, x, np.array([3, 3, 3, 3]), "examples", "d") == [0, 1]
    assert two_examples(None, x, None, "examples", "d") == [0, 1]
    assert two_examples((3, 0), x, None, "examples", "d") == [3, 0]
    with pytest.raises(RangeError, match="one example; expected two"):
        two_examples(None, x[:1], None, "examples", "d")


def test_the_command(runs_of, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = f"generate {runs_of / 'vae'} --what samples --count 12 --seed 4 --out s.npy --json"
    code, result, out, _ = tinyae(line, monkeypatch, capsys)
    assert (
        code == 0
        and result["count"] == {"samples": 12}
        and "12 samples" in out
        and np.load("s.npy").shape == (12, 8, 8, 1)
    )
    before = (tmp_path / "s.npy").read_bytes()
    code, _, _, err = tinyae(line, monkeypatch, capsys)
    assert code == 2 and "s.npy exists" in err
    assert tinyae(f"{line} --overwrite", monkeypatch, capsys)[0] == 0 and (tmp_path / "s.npy").read_bytes() == before


def test_numbers_that_are_no_images_are_drawn_as_curves(tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.random((60, 12), dtype=np.float32))
    quick_train(tmp_path / "run", "vae-digits", data=str(tmp_path / "x.npy"), epochs=1)
    result = generate(tmp_path / "run", out=tmp_path / "a.png", count=3)
    assert result["what"] == ["samples", "interpolation"]


def test_what_is_drawn(tmp_path, rng):
    """Tiles lie as the code does, dots and names have the labels' colours and places."""
    pictures = np.zeros((3, 3, 4, 4, 1), np.float32)
    pictures[0, 2] = 1  # the largest second number, the largest first: above, on the right
    codes, labels = rng.normal(size=(200, 2)), rng.integers(0, 3, 200)
    numbers = np.array([-1.0, 0, 1])
    figure = draw_generated(
        tmp_path / "p.png",
        "a note",
        samples=("some", rng.random((23, 4, 4, 1))),
        interpolation=("a walk", rng.random((12, 4, 4, 1))),
        plane={"pictures": pictures, "first": numbers, "second": numbers[::-1], "codes": codes, "labels": labels, "about": "them"},
    )  # fmt: skip
    samples, walk, plane = figure.subfigs
    assert sum(axis.get_visible() for axis in samples.axes) == 23 and len(walk.axes) == 12
    left, right = plane.axes
    tiled = left.images[0].get_array()
    assert tiled.shape == (12, 12) and tiled[:4, 8:].min() == 1 and tiled.sum() == 16
    assert [text.get_text() for text in left.get_yticklabels()] == ["1", "0", "-1"]
    assert [text.get_text() for text in right.texts] == ["0", "1", "2"]
    assert np.allclose(right.texts[1].get_position(), np.median(codes[labels == 1], axis=0))
    no_labels = draw_generated(
        None,
        plane={
            "pictures": pictures,
            "first": numbers,
            "second": numbers,
            "codes": codes,
            "labels": None,
            "about": "them",
        },
    )
    assert not no_labels.subfigs[0].axes[1].texts


def test_without_matplotlib_it_says_so_before_any_work(runs_of, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingLibraryError, match="matplotlib"):
        generate(runs_of / "vae", out=tmp_path / "a.png")
    generate(runs_of / "vae", out=tmp_path / "a.npy")


def test_the_other_commands_know_a_variational_run(runs_of, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "again"
    code, result, out, _ = tinyae(f"train vae-digits --epochs 1 --out {run} --json", monkeypatch, capsys)
    assert code == 0 and "held out" in out and "reconstruction" in out and "2 of 2" in out
    parts = [values["val"] for values in result["terms"].values()]
    assert np.isclose(sum(parts), result["val_loss"], rtol=1e-6) and len(parts) == 2
    assert tinyae(f"resume {run} --epochs 2 --json", monkeypatch, capsys)[0] == 0
    assert ta.load(run).sample(3).tobytes() == ta.load(runs_of / "vae").sample(3).tobytes()
    code, result, _, _ = tinyae(f"inspect {run} --json", monkeypatch, capsys)
    assert code == 0 and "mu Dense" in [layer["layer"] for layer in result["layers"]]
    assert tinyae(f"reconstruct {run} --out r.npy", monkeypatch, capsys)[0] == 0
    code, result, out, _ = tinyae(f"evaluate {run} --json", monkeypatch, capsys)
    parts = [value for value in result["own"].values() if isinstance(value, float)][:3]
    assert code == 0 and "negative ELBO" in out and np.isclose(parts[0], parts[1] + parts[2])
