"""Losses: values against their plain formulas, conventions, and what they refuse."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError


@pytest.fixture
def pair(rng):
    return rng.random((5, 4)), rng.random((5, 4))


def test_values_equal_the_formulas(rng, pair):
    p, t = pair
    z = rng.normal(size=(5, 4))
    labels = np.array([0, 3, 1, 1, 2])
    sigma = 1 / (1 + np.exp(-z))
    soft = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    q = soft[:, ::-1]
    expected = {
        "mse": (ta.mse_loss(p, t), ((p - t) ** 2).mean()),
        "bce with logits": (ta.bce_with_logits_loss(z, t), -(t * np.log(sigma) + (1 - t) * np.log(1 - sigma)).mean()),
        "bce": (ta.binary_cross_entropy(p, t), -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()),
        "cross-entropy": (ta.cross_entropy(z, labels), -np.log(soft[np.arange(5), labels]).mean()),
        "kl": (ta.kl_divergence(soft, q), (soft * np.log(soft / q)).sum(1).mean()),
        "gaussian kl": (ta.gaussian_kl(z, p), -0.5 * (1 + p - z**2 - np.exp(p)).sum(1).mean()),
    }
    for name, (ours, theirs) in expected.items():
        assert np.isclose(ours.item(), theirs, rtol=1e-12), name


def test_reductions(pair):
    p, t = pair
    each = ta.mse_loss(p, t, reduction="none")
    assert each.shape == (5, 4)
    assert np.isclose(ta.mse_loss(p, t, reduction="sum").item(), each.numpy().sum())
    assert ta.cross_entropy(p, np.zeros(5, int), reduction="none").shape == (5,)
    with pytest.raises(RangeError, match="unknown reduction .*'man'. Known, nearest first: mean"):
        ta.mse_loss(p, t, reduction="man")


def test_losses_survive_extreme_logits():
    z = np.array([[-1e4, 1e4, 0.0]], np.float32)
    for loss in (ta.bce_with_logits_loss(z, [[1.0, 0.0, 1.0]]), ta.cross_entropy(z, np.array([0]))):
        assert np.isfinite(loss.item())


def test_binary_cross_entropy_clamps_each_logarithm_at_minus_100():
    p = ta.Tensor([0.0, 1.0, 0.5], requires_grad=True)
    loss = ta.binary_cross_entropy(p, [1.0, 0.0, 1.0], reduction="none")
    assert np.allclose(loss.numpy(), [100, 100, np.log(2)])
    loss.sum().backward()
    assert np.allclose(p.grad, [0, 0, -2])


def test_kl_divergence_is_not_symmetric_and_zero_log_zero_is_zero():
    p, q = [[0.5, 0.5, 0.0]], [[0.25, 0.5, 0.25]]
    assert np.isclose(ta.kl_divergence(p, q).item(), 0.5 * np.log(2))
    assert ta.kl_divergence(q, p).item() == np.inf
    assert ta.kl_divergence(q, q).item() == 0


def test_nan_is_not_hidden():
    x = np.array([[np.nan, 0.5]])
    for loss in (ta.mse_loss(x, x), ta.bce_with_logits_loss(x, [[0.0, 1.0]]), ta.binary_cross_entropy(x, [[0.0, 1.0]])):
        assert np.isnan(loss.item())


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.mse_loss(np.ones((2, 3)), np.ones((2, 1))), ShapeError, r"prediction has shape \(2, 3\), target \(2, 1\)"),
        (lambda: ta.mse_loss([1.0], ["a"]), DtypeError, "data of type <U1"),
        (lambda: ta.bce_with_logits_loss([0.0], [255.0]), RangeError, "target ranges from 255 to 255.*Divide pixels by 255"),
        (lambda: ta.binary_cross_entropy([1.5], [1.0]), RangeError, "prediction ranges from 1.5 to 1.5"),
        (lambda: ta.cross_entropy(np.ones((2, 3)), np.array([0, 3])), RangeError, "labels from 0 to 3, but the 3 logits stand for labels 0 to 2"),
        (lambda: ta.cross_entropy(np.ones((2, 3)), np.array([0, -1])), RangeError, "labels from -1 to 0"),
        (lambda: ta.cross_entropy(np.ones((2, 3)), np.array([0.0, 1.0])), DtypeError, "labels are float64; expected integers"),
        (lambda: ta.cross_entropy(np.ones(3), np.array([0])), ShapeError, r"expected \(N, K\) and \(N,\)"),
        (lambda: ta.kl_divergence([[0.5, 0.6]], [[0.5, 0.5]]), RangeError, "rows of p sum to 1.1"),
        (lambda: ta.kl_divergence([1.0], [1.0]), ShapeError, "expected rank 2"),
        (lambda: ta.gaussian_kl(np.ones((2, 3)), np.ones((2, 2))), ShapeError, r"mu has shape \(2, 3\), log_var \(2, 2\)"),
        (lambda: ta.mse_loss([], []), ShapeError, "empty"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_tiny_probabilities_give_finite_gradients():
    for target in (0.0, 1.0):
        z = ta.Tensor([-90.0], requires_grad=True)
        ta.binary_cross_entropy(ta.sigmoid(z), [target]).backward()
        assert np.isfinite(z.grad).all()


def test_integers_are_floats_to_a_loss():
    assert ta.mse_loss(np.array([1, 2]), np.array([1, 3])).item() == 0.5
    assert ta.cross_entropy([[2.0, 1.0]], [0]).item() > 0
    assert ta.bce_with_logits_loss([0.0], [1.0000001]).item() > 0


def test_the_clamp_is_at_minus_100_and_not_before():
    p = np.array([1e-40, 1e-50])
    assert np.allclose(ta.binary_cross_entropy(p, np.ones(2), "none").numpy(), [40 * np.log(10), 100])
