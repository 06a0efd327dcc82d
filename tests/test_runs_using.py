"""A trained run in use: its error on data, and reconstructions in a file."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import RangeError

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def test_a_run_is_evaluated_with_the_labels_it_was_given():
    (x, y), _ = ta.datasets.load_digits()
    np.save("x.npy", x)
    np.save("y.npy", y)
    result = quick_train("a", "classifier", data="x.npy", labels="y.npy")
    assert runs.evaluate("a")["accuracy"] == result["test_accuracy"]


def test_a_run_trained_with_bce_is_evaluated_with_it():
    result = quick_train("a", epochs=1, loss="bce")
    assert np.isclose(runs.evaluate("a")["bce"], result["val_bce"])


def test_data_beyond_what_the_model_can_give_are_refused():
    quick_train("a", epochs=1)
    (x, _), _ = ta.datasets.load_digits()
    np.save("x.npy", x * 255)
    with pytest.raises(RangeError, match="the data range from"):
        runs.evaluate("a", data="x.npy")


def test_more_reconstructions_than_are_made_at_once():
    x = np.random.default_rng(0).random((1500, 10), dtype=np.float32)
    np.save("x.npy", x[:30])
    np.save("y.npy", x)
    quick_train("a", epochs=1, data="x.npy")
    runs.reconstruct("a", data="y.npy", out="r.npy")
    assert np.array_equal(np.load("r.npy"), ta.load("a").reconstruct(x))


def test_reconstructions_are_replaced_if_asked_for(monkeypatch, capsys):
    quick_train("a", epochs=1)
    for _ in range(2):
        assert tinyae("reconstruct a --out r.npy --overwrite", monkeypatch, capsys)[0] == 0
