"""The bundled digits, and how they are split."""

import numpy as np
import pytest

import tinyae as ta


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    return ta.datasets.load_digits()


def test_shapes_types_and_range(digits):
    (x, y), (x_test, y_test) = digits
    assert x.shape == (1437, 8, 8, 1) and x_test.shape == (360, 8, 8, 1)
    assert x.dtype == x_test.dtype == np.float32 and y.dtype == y_test.dtype == np.uint8
    assert x.min() == 0 and x.max() == 1 and set(y) == set(y_test) == set(range(10))


def test_the_last_fifth_of_the_permutation_is_held_out(digits):
    from sklearn.datasets import load_digits

    order = np.random.RandomState(0).permutation(1797)
    (_, y), (_, y_test) = digits
    assert np.array_equal(np.concatenate([y, y_test]), load_digits().target[order])


def test_without_scikit_learn_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ta.errors.MissingLibraryError, match="load_digits needs scikit-learn.*pip install scikit-learn"):
        ta.datasets.load_digits()
