"""What errors are compared with: the mean image and PCA."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import ShapeError
from tinyae.metrics import mean_baseline, mse, pca_baseline


def test_the_reference_errors_on_the_digits():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    assert round(pca_baseline(x, x_test, 8), 4) == 0.0245 and round(pca_baseline(x, x_test, 16), 4) == 0.0115
    assert round(mean_baseline(x, x_test), 4) == 0.0740


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
