"""Active units, and the warning of a code that is not used."""

import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.models.active_units import LOOKED_AT, unit_variances

from .conftest import quick
from .test_variational import GAUSSIAN, vae


def linear_code(scales):
    """A model whose code is the first numbers of x, scaled; and wide q(z|x), which must not count."""
    J = len(scales)
    model = ta.VariationalAutoencoder(
        ta.Sequential(), ta.Dense(J, J), ta.Dense(J, J), ta.Dense(J, J), likelihood="gaussian", std=1.0
    )
    model.mu.weight.data[...] = np.diag(scales)
    model.log_var.weight.data[...], model.log_var.bias.data[...] = 0, 3.0
    return model


def test_a_unit_counts_when_its_mean_varies_by_more_than_a_hundredth(rng):
    x = rng.normal(size=(4000, 4)).astype(np.float32)
    x /= x.std(axis=0)
    model = linear_code([1.0, 0.11, 0.09, 0.0])  # variances 1, 0.0121, 0.0081, 0
    model.mu.bias.data[...] = 5.0  # a mean that is large, but the same for all
    assert np.allclose(unit_variances(model, x), [1.0, 0.0121, 0.0081, 0], rtol=1e-3, atol=1e-6)
    assert model.active_units(x) == 2
    assert model.active_units(x, threshold=0.005) == 3
    assert model.active_units(x, threshold=1.5) == 0


def test_what_cannot_be_is_refused(rng):
    model = linear_code([1.0])
    with pytest.raises(RangeError, match="one example was given; expected several"):
        model.active_units(np.ones((1, 1), np.float32))
    with pytest.raises(RangeError, match="threshold is -1"):
        model.active_units(np.ones((3, 1), np.float32), threshold=-1)


def test_a_collapsed_posterior_is_warned_of_once_and_with_a_cure(images):
    """On noise, with a heavy KL, the code cannot pay for itself."""
    with pytest.warns(
        ta.PosteriorCollapseWarning, match=r"0 of the 3 numbers.*KL is .*smaller beta \(it is 50\)"
    ) as seen:
        quick(vae(beta=50), images, 10, lr=1e-2)
    assert [warning.category for warning in seen] == [ta.PosteriorCollapseWarning]
    assert seen[0].filename == __file__ or "conftest" in seen[0].filename  # the user's line


def test_sorted_data_are_looked_at_all_over():
    """The first examples are all alike; the others are not, and their code is used."""
    (x, _), _ = ta.datasets.load_digits()
    x = np.concatenate([np.zeros((LOOKED_AT, *x.shape[1:]), x.dtype), x])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(vae(**GAUSSIAN), x, 2, lr=3e-3)


def test_the_gaussian_is_told_of_its_std(images):
    with pytest.warns(ta.PosteriorCollapseWarning, match=r"smaller std of the decoder \(it is 3\)"):
        quick(vae(likelihood="gaussian", std=3.0), images, 10, lr=1e-2)


def test_a_healthy_code_is_not_warned_of():
    (x, _), _ = ta.datasets.load_digits()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(vae(**GAUSSIAN), x, 2, lr=3e-3)
