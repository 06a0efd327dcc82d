"""Estimates of the likelihood, on a linear Gaussian model where ln p(x) is known in closed form."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.models.likelihood import batches_of, log_mean_exp

from .test_variational import vae

D, J, STD = 6, 2, 0.5


def linear_gaussian(rng, exact=True):
    """p(z) = N(0, 1), p(x|z) = N(Wz + b, STD^2), with the posterior as the encoder; or one that is off.

    The columns of W are orthogonal, so the posterior's covariance is diagonal: variance STD^2 / (|w|^2 + STD^2).
    Bishop (2006), eq. 12.42.
    """
    W = np.linalg.qr(rng.normal(size=(D, J)))[0] * [2.0, 0.7]
    b = rng.normal(size=D)
    variance = STD**2 / ((W**2).sum(axis=0) + STD**2)
    M = W / ((W**2).sum(axis=0) + STD**2)
    model = ta.VariationalAutoencoder(
        ta.Sequential(), ta.Dense(D, J), ta.Dense(D, J), ta.Dense(J, D), likelihood="gaussian", std=STD
    ).astype("float64")
    shift, factor = (0.0, 1.0) if exact else (0.4, 1.5)
    for dense, weight, bias in [
        (model.mu, M, shift - b @ M),
        (model.log_var, np.zeros((D, J)), np.log(factor * variance)),
        (model.decoder, W.T, b),
    ]:
        dense.weight.data[...], dense.bias.data[...] = weight, bias
    x = rng.normal(size=(300, J)) @ W.T + b + STD * rng.normal(size=(300, D))
    covariance = W @ W.T + STD**2 * np.eye(D)
    centred = x - b
    log_p = -0.5 * (
        (centred @ np.linalg.inv(covariance) * centred).sum(axis=1) + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    # KL of the encoder against the posterior: what the ELBO lacks
    gap = 0.5 * (factor - 1 - np.log(factor) + shift**2 / variance).sum()
    return model, x, log_p.mean(), gap


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_weight_is_p_of_x(samples, rng):
    """All importance weights are p(x) then, whatever was drawn: nothing but rounding may remain."""
    model, x, log_p, _ = linear_gaussian(rng)
    assert np.isclose(model.log_likelihood(x, samples), log_p, rtol=0, atol=1e-9)


def test_the_elbo_is_the_likelihood_for_the_exact_posterior_and_less_for_others(rng):
    model, x, log_p, _ = linear_gaussian(rng)
    found = model.elbo(x, samples=400)
    assert found["negative_elbo"] == found["reconstruction"] + found["kl"]
    assert np.isclose(-found["negative_elbo"], log_p, atol=0.02)
    off, x, log_p, gap = linear_gaussian(rng, exact=False)
    found = off.elbo(x, samples=400)
    assert gap > 0.5
    assert np.isclose(-found["negative_elbo"], log_p - gap, atol=0.02)


def test_more_samples_close_the_gap_from_below(rng):
    model, x, log_p, gap = linear_gaussian(rng, exact=False)
    bounds = [model.log_likelihood(x, k) for k in (1, 5, 50, 2000)]
    assert np.isclose(bounds[0], log_p - gap, atol=0.12)
    assert bounds[0] + 0.1 < bounds[1] < bounds[2] < bounds[3]
    assert np.isclose(bounds[3], log_p, atol=0.02)


def test_beta_weighs_what_is_minimised_and_not_the_estimates(rng):
    model, x, _, _ = linear_gaussian(rng, exact=False)
    before = model.elbo(x), model.log_likelihood(x, 3)
    model.beta = 7.0
    assert (model.elbo(x), model.log_likelihood(x, 3)) == before


def test_the_objective_is_the_negative_elbo(rng):
    """What ``fit`` calls held-out loss and what ``elbo`` estimates are one number, up to the draws."""
    model, x, _, _ = linear_gaussian(rng, exact=False)
    with model.evaluating():
        terms = model.objective(ta.Tensor(x), ta.Tensor(x), ta.losses.loss_function("mse"))
    found = model.elbo(x, samples=200)
    assert np.isclose(terms["kl"].item(), found["kl"], rtol=1e-12)
    assert np.isclose(terms["reconstruction"].item(), found["reconstruction"], atol=0.5)


def test_bernoulli_log_p_is_the_sum_over_pixels(images):
    ta.manual_seed(0)
    model = ta.VariationalAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 3)], [ta.Dense(3, 64, "sigmoid"), ta.Reshape(8, 8, 1)]
    )
    z = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    p = model.decode(z).astype(np.float64)
    expected = (images * np.log(p) + (1 - images) * np.log(1 - p)).sum(axis=(1, 2, 3))
    assert np.allclose(model.log_p(ta.Tensor(images), ta.Tensor(z)).numpy(), expected, rtol=1e-5)
    bound, elbo = model.log_likelihood(images, 20), model.elbo(images, 20)
    assert -elbo["negative_elbo"] < bound < 0


def test_estimates_follow_their_seed_and_leave_all_else_alone(rng):
    model, x, _, _ = linear_gaussian(rng, exact=False)
    ta.manual_seed(3)
    first = model.encode(x, sample=True)
    ta.manual_seed(3)
    assert (
        model.log_likelihood(x, 3, seed=1) == model.log_likelihood(x, 3, seed=1) != model.log_likelihood(x, 3, seed=2)
    )
    assert model.elbo(x, seed=1) == model.elbo(x, seed=1) != model.elbo(x, seed=2)
    assert np.array_equal(model.encode(x, sample=True), first)
    assert all(module.training for module in model.modules())


def test_many_samples_are_taken_few_examples_at_a_time(images):
    ta.manual_seed(0)
    model = ta.VariationalAutoencoder.from_parts([ta.Flatten(), ta.Dense(64, 3)], [ta.Dense(3, 64, "sigmoid")])
    sizes = [len(batch.data) for batch in batches_of("test", model, images.reshape(50, 64), 4096, 0)]
    assert sizes == [16, 16, 16, 2]


def test_the_mean_of_weights_neither_overflows_nor_vanishes():
    log_w = np.array([[-1000.0, -1000.0 + np.log(3)], [800.0, 800.0], [0.0, -np.inf]])
    assert np.allclose(log_mean_exp(np, log_w), [-1000 + np.log(2), 800.0, -np.log(2)])


def test_on_a_device(device, images):
    ta.manual_seed(0)
    model = ta.VariationalAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 3)], [ta.Dense(3, 64, "sigmoid"), ta.Reshape(8, 8, 1)]
    )
    here = model.log_likelihood(images, 5), *model.elbo(images).values(), model.active_units(images)
    model.to(device)
    x = device.asarray(images)
    there = model.log_likelihood(x, 5), *model.elbo(x).values(), model.active_units(x)
    assert np.allclose(here, there, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong", [lambda m, x: m.log_likelihood(x, 0), lambda m, x: m.elbo(x, 0), lambda m, x: m.elbo(x, seed=-1)]
)
def test_counts_that_cannot_be_are_refused(wrong, rng):
    model, x, _, _ = linear_gaussian(rng)
    with pytest.raises(RangeError, match="expected an integer"):
        wrong(model, x)


@pytest.mark.parametrize("estimate", ["elbo", "log_likelihood"])
def test_data_that_cannot_be_are_refused(estimate, rng, images):
    model, x, _, _ = linear_gaussian(rng)
    x[3, 2] = np.nan
    with pytest.raises(
        RangeError, match=rf"{estimate}: 1 of 1800 values are NaN .*index \(3, 2\). Remove these examples"
    ):
        getattr(model, estimate)(x)
    with pytest.raises(RangeError, match=rf"{estimate}: the data range from .*divide pixels by 255"):
        getattr(vae(), estimate)(255 * images)
