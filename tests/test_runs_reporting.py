"""What a run reports: accuracies, baselines, and the examples and labels in its pictures."""

import os

import numpy as np
import pytest

import tinyae as ta
from tinyae.runs.reporting import describe_classifier, some_examples

from .conftest import quick_train

pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def test_accuracies_of_a_classifier_and_of_the_most_frequent_label():
    model = ta.Dense(2, 2)
    with ta.no_grad():
        model.weight *= 0
        model.weight += np.eye(2, dtype=np.float32)
    x = np.eye(2, dtype=np.float32)
    result = describe_classifier(model, (x[[0, 0, 0, 1]], np.array([0, 0, 0, 0])), (x[[0, 1]], np.array([0, 1])))
    assert (result["train_accuracy"], result["test_accuracy"]) == (0.75, 1)
    assert result["baselines"]["most frequent label"]["accuracy"] == {"train": 1, "val": 0.5}


def test_wide_data_are_spared_the_covariance_matrix():
    np.save("x.npy", np.random.default_rng(0).random((12, 5000), dtype=np.float32))
    result = quick_train("a", epochs=1, data="x.npy")
    assert list(result["baselines"]) == ["mean example"]


def test_the_first_example_of_each_class_is_shown():
    assert some_examples(np.array([2, 0, 2, 1]), 4).tolist() == [1, 3, 0]


def test_colour_images_are_drawn_in_colour():
    np.savez("x.npz", x_train=np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), dtype=np.uint8),
             x_test=np.zeros((3, 6, 5, 3), np.uint8))  # fmt: skip
    assert quick_train("a", data="x.npz")["input_size"] == 90 and os.path.exists("a/reconstructions.png")


def test_the_rows_of_the_confusion_matrix_drawn_are_the_true_labels(monkeypatch):
    drawn = []
    monkeypatch.setattr("tinyae.runs.reporting.draw_confusion", lambda matrix, *rest: drawn.append(matrix))
    quick_train("a", "classifier", 1, data="digits")
    _, (x, y) = ta.datasets.load_digits()
    assert np.array_equal(drawn[0].sum(axis=1), np.bincount(y))
