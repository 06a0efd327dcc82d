"""Walks through the space of codes."""

from statistics import NormalDist

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, ShapeError
from tinyae.models.latent import codes_like

from .test_variational import conv_vae, vae


@pytest.fixture
def plain():
    """A linear autoencoder of 4 numbers with a code of 2: it keeps the first two."""
    model = ta.Autoencoder(ta.Sequential(ta.Dense(4, 2)), ta.Sequential(ta.Dense(2, 4)))
    model.encoder[0].weight.data[...] = np.eye(4, 2)
    model.decoder[0].weight.data[...] = np.eye(2, 4)
    return model


def test_interpolation_goes_straight_from_one_code_to_the_other(plain, images):
    a, b = np.array([0.0, 4.0, 9.0, 9.0]), np.array([2.0, 0.0, 0.0, 0.0])
    path = plain.interpolate(a, b, 5)
    assert np.allclose(path[:, 0], [0, 0.5, 1, 1.5, 2]) and np.allclose(path[:, 1], [4, 3, 2, 1, 0])
    assert np.allclose(path[:, 2:], 0)
    model = conv_vae()
    walk = model.interpolate(images[0], images[1], 7)
    assert walk.shape == (7, 8, 8, 1)
    assert np.allclose(walk[[0, -1]], model.reconstruct(images[:2]), atol=1e-6)


def test_codes_like_those_of_data_have_their_mean_and_covariance(plain, rng):
    x = rng.normal(size=(5000, 4)) @ np.array([[2, 1, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) + [
        3,
        -1,
        0,
        0,
    ]
    drawn = codes_like(plain, x, 20000, 0)
    assert drawn.dtype == np.float32
    assert np.allclose(drawn.mean(axis=0), x[:, :2].mean(axis=0), atol=0.05)
    assert np.allclose(np.cov(drawn.T), np.cov(x[:, :2].T), atol=0.1)
    assert np.array_equal(plain.sample_like(x, 5, 3), plain.decode(codes_like(plain, x, 5, 3)))
    assert not np.array_equal(plain.sample_like(x, 5, 3), plain.sample_like(x, 5, 4))


def test_the_covariance_of_three_numbers_is_kept_too(rng):
    model = ta.Autoencoder(ta.Sequential(ta.Dense(3, 3)), ta.Sequential(ta.Dense(3, 3)))
    model.encoder[0].weight.data[...] = np.eye(3)
    x = rng.normal(size=(5000, 3)) @ rng.normal(size=(3, 3))
    assert np.allclose(np.cov(codes_like(model, x, 40000, 0).T), np.cov(x.T), atol=0.03 * x.var())


def test_codes_of_images_and_of_one_number_are_drawn_too(images):
    conv = ta.Autoencoder(
        ta.Sequential(ta.Conv2D(1, 2), ta.MaxPool2D(2)), ta.Sequential(ta.UpSampling2D(2), ta.Conv2D(2, 1))
    )
    assert conv.sample_like(images, 3).shape == (3, 8, 8, 1)
    assert vae(code=1).sample_like(images, 3).shape == (3, 8, 8, 1)


def test_the_grid_stands_at_the_quantiles_of_the_prior():
    model = vae(code=2)
    pictures, first, second = ta.latent_grid(model, 5)
    assert pictures.shape == (5, 5, 8, 8, 1)
    assert np.allclose(first, [NormalDist().inv_cdf(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)])
    assert np.allclose(second, first[::-1])
    code = np.array([[first[3], second[1]]], np.float32)  # the column says the first number, the row the second
    assert np.allclose(pictures[1, 3], model.decode(code)[0], atol=1e-6)


def test_the_grid_of_a_plain_autoencoder_lies_where_its_codes_are(plain, rng):
    x = rng.normal(size=(3000, 4)) * [2, 0.5, 1, 1] + [10, -3, 0, 0]
    pictures, first, second = ta.latent_grid(plain, 3, like=x)
    spread = NormalDist().inv_cdf(5 / 6)
    assert np.allclose(first, [10 - 2 * spread, 10, 10 + 2 * spread], atol=0.2)
    assert np.allclose(second, [-3 + 0.5 * spread, -3, -3 - 0.5 * spread], atol=0.1)
    assert np.allclose(pictures[0, 2, :2], [first[2], second[0]], atol=1e-5)


def test_on_a_device(device, images):
    model = vae(code=2)
    here = ta.latent_grid(model, 3)[0], model.interpolate(*images[:2], 4), model.sample_like(images, 3)
    model.to(device)
    x = device.asarray(images)
    there = ta.latent_grid(model, 3)[0], model.interpolate(x[0], x[1], 4), model.sample_like(x, 3)
    for ours, theirs in zip(there, here):
        assert np.allclose(device.to_host(ours), theirs, atol=1e-4)


class WholeNumbers(ta.Autoencoder):
    """Codes that are places in a codebook."""

    def encode(self, x):
        return np.zeros((len(x), 3), np.int64)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda m, x: m.interpolate(x[0], x[1], 1), RangeError, "steps is 1; expected an integer >= 2"),
        (lambda m, x: m.interpolate(x[0], x[0, :2], 3), ShapeError, r"a has shape \(4,\), b \(2,\)"),
        (lambda m, x: m.sample_like(x[:1], 3), RangeError, "x has one example"),
        (lambda m, x: m.sample_like(x, 0), RangeError, "n is 0"),
        (lambda m, x: m.sample(3), RangeError, r"Models that do: VariationalAutoencoder.*sample_like\(x_train, 16\)"),
        (lambda m, x: ta.latent_grid(m), RangeError, r"has no prior.*latent_grid\(model, like=x\)"),
        (lambda m, x: ta.latent_grid(m, 1, like=x), RangeError, "side is 1"),
        (lambda m, x: ta.latent_grid(vae()), ShapeError, r"the code has shape \(3,\); expected 2 numbers"),
        (lambda m, x: WholeNumbers(m.encoder, m.decoder).interpolate(x[0], x[1]), RangeError, "whole numbers that stand for vectors"),
        (lambda m, x: WholeNumbers(m.encoder, m.decoder).sample_like(x, 2), RangeError, "whole numbers that stand for vectors"),
        (lambda m, x: ta.latent_grid(WholeNumbers(m.encoder, m.decoder), like=x), RangeError, "whole numbers that stand for vectors"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong, error, message, plain, rng):
    with pytest.raises(error, match=message):
        wrong(plain, rng.normal(size=(20, 4)))
