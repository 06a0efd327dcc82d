"""Data brought to a common scale, and back."""

import numpy as np
import pytest

from tinyae.errors import ModelFileError, RangeError, ShapeError
from tinyae.scaling import Scaling


@pytest.mark.parametrize("kind", ["features", "whole", "none"])
def test_there_and_back(kind, rng):
    x = rng.normal(size=(50, 4)) * [1e-6, 1, 1e3, 1e6] + [0, 5, -1e3, 1e7]
    scaling = Scaling(x, kind)
    z = scaling.apply(x)
    assert z.dtype == np.float32 and z.shape == x.shape
    np.testing.assert_allclose(
        scaling.undo(z), x, rtol=1e-5, atol=1e-7 * (1 if kind == "features" else np.abs(x).max())
    )


def test_features_and_the_whole(rng):
    x = rng.normal(size=(200, 3, 2)) * 7 + 3
    z = Scaling(x, "features").apply(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)
    whole = Scaling(x, "whole").apply(x)
    assert abs(whole.mean()) < 1e-6 and whole.std() == pytest.approx(1)
    np.testing.assert_allclose(whole, (x - x.mean()) / x.std(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e12, 1e-30])
def test_a_constant_is_said_and_counts_only_where_it_is_left(value, rng):
    x = rng.normal(size=(60, 3))
    x[:, 1] = value
    with pytest.warns(UserWarning, match=r"Mine: 1 of 3 features never change \(1\)"):
        scaling = Scaling(x, owner="Mine")
    np.testing.assert_array_equal(scaling.apply(x)[:, 1], 0)
    np.testing.assert_array_equal(scaling.apply(x.astype(np.float32))[:, 1], 0)  # its rounding is no departure
    other = x[:2].copy()
    other[:, 1] += [abs(value) + 1e-3, -abs(value) - 1e-3]
    np.testing.assert_array_equal(scaling.apply(other)[:, 1], [10, -10])
    np.testing.assert_allclose(scaling.undo(scaling.apply(x))[:, 1], value)


def test_many_constant_pixels_are_counted():
    x = np.zeros((5, 4, 4))
    x[:, 0, 0] = range(5)
    with pytest.warns(UserWarning, match=r"15 of 16 features never change \(\(0, 1\), \(0, 2\).*\.\.\.\)"):
        Scaling(x)


def test_numbers_that_float32_cannot_square_are_cut_off(rng):
    scaling = Scaling(rng.normal(size=(50, 2)))
    z = scaling.apply(np.array([[1e300, -1e300]]))
    assert np.isfinite(z.astype(np.float32) ** 2).all() and z[0, 0] > 0 > z[0, 1]


def test_what_is_refused(rng):
    x = rng.normal(size=(5, 2))
    with pytest.raises(RangeError, match="unknown scale 'max'"):
        Scaling(x, "max")
    with pytest.raises(ShapeError, match=r"\(3,\); those measured had \(2,\)"):
        Scaling(x).apply(np.ones((1, 3)))
    scaling = Scaling(x)
    again = Scaling.from_state("features", [2], scaling.state())
    np.testing.assert_array_equal(again.apply(x), scaling.apply(x))
    with pytest.raises(ModelFileError):
        Scaling.from_state("features", [3], scaling.state())
