"""What errors are compared with: the mean image and PCA."""

import os

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import ShapeError
from tinyae.metrics import (
    bce,
    confusion_matrix,
    entropy_floor,
    mean_baseline,
    mse,
    pca_baseline,
    predicted_labels,
)
from tinyae.rows import Rows


def test_the_reference_errors_on_the_digits():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    assert round(pca_baseline(x, x_test, 8), 4) == 0.0245 and round(pca_baseline(x, x_test, 16), 4) == 0.0115
    assert round(mean_baseline(x, x_test), 4) == 0.0740


def test_the_mean_is_that_of_the_training_examples():
    assert mean_baseline(np.zeros((3, 2)), np.ones((4, 2))) == 1


def test_pca_is_scikit_learns(rng):
    decomposition = pytest.importorskip("sklearn.decomposition", reason="compared with scikit-learn's PCA")
    x, x_test = rng.normal(size=(100, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(20, 12))
    pca = decomposition.PCA(5).fit(x)
    theirs = ((pca.inverse_transform(pca.transform(x_test)) - x_test) ** 2).mean()
    assert np.isclose(pca_baseline(x, x_test, 5), theirs)
    assert np.isclose(pca_baseline(x, x_test, 12), 0)


def test_shapes_are_checked(rng):
    with pytest.raises(ShapeError, match=r"prediction has shape \(2,\), the target \(3,\)"):
        mse(np.ones(2), np.ones(3))
    with pytest.raises(ShapeError, match="9 components asked of data with 4 features"):
        pca_baseline(np.ones((5, 4)), np.ones((5, 4)), 9)


def test_cross_entropy_and_its_floor(rng):
    x, p = rng.random((7, 3)), rng.random((7, 3))
    assert np.isclose(bce(p, x), -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean())
    assert np.isclose(bce(np.array([[0.0]]), np.array([[1.0]])), -np.log(1e-7))  # finite where a sure answer is wrong
    assert np.isclose(entropy_floor(x), bce(x, x)) and entropy_floor(x) < bce(p, x)
    assert entropy_floor(np.array([[0.0, 1.0]])) < 1e-6 and np.isclose(entropy_floor(np.array([[0.5]])), np.log(2))


def test_rows_of_the_confusion_matrix_are_what_it_is(rng):
    matrix = confusion_matrix(np.array([1, 1, 2]), np.array([0, 1, 2]), 3)
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]
    model = ta.Sequential(ta.Dense(3, 3, bias=False))
    with ta.no_grad():
        model[0].weight *= 0
        model[0].weight += np.eye(3, dtype=np.float32)
    x = rng.random((2500, 3), dtype=np.float32)
    assert np.array_equal(predicted_labels(model, Rows(x)), x.argmax(axis=1))


def test_in_pieces_the_numbers_are_the_same(rng, monkeypatch):
    x, x_test = rng.random((60, 5)), rng.random((40, 5))
    whole = pca_baseline(x, x_test, 2), mean_baseline(x, x_test), mean_baseline(x, x_test, "bce"), entropy_floor(x)
    monkeypatch.setattr("tinyae.metrics.PIECE", 33)
    pieces = (
        pca_baseline(x, Rows(x_test), 2),
        mean_baseline(Rows(x), x_test),
        mean_baseline(x, x_test, "bce"),
        entropy_floor(x),
    )
    assert np.allclose(whole, pieces, rtol=1e-12)


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
def test_the_reference_errors_on_mnist():
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    assert round(mean_baseline(x, x_test), 5) == 0.06747 and round(mean_baseline(x, x_test, "bce"), 4) == 0.2625
    assert round(pca_baseline(x, x_test, 32), 5) == 0.01683 and round(entropy_floor(x_test), 5) == 0.05808
