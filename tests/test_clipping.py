"""Gradient clipping, by norm and by value."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError

from .conftest import made, quick, weights


def two_parameters(backend="numpy"):
    a, b = (ta.Tensor([1.0, 1.0], requires_grad=True).to(backend) for _ in range(2))
    a.grad, b.grad = (a.backend.asarray(np.array(g, np.float32)) for g in ([3.0, 0.0], [0.0, -4.0]))
    return a, b


def grads(*tensors):
    return [t.backend.to_host(t.grad).tolist() for t in tensors]


def test_by_norm_all_shrink_together_and_keep_their_direction(backend):
    a, b = two_parameters(backend)
    assert ta.clip_by_norm([a, b], 1.0) == 5.0
    assert np.allclose(grads(a, b), [[0.6, 0], [0, -0.8]]) and a.grad.dtype == np.float32
    a, b = two_parameters(backend)
    assert ta.clip_by_norm([a, b], 6.0) == 5.0 and grads(a, b) == [[3, 0], [0, -4]]


def test_by_value_each_number_is_cut(backend):
    a, b = two_parameters(backend)
    ta.clip_by_value([a, b, ta.Tensor([1.0], requires_grad=True)], 3.5)
    assert grads(a, b) == [[3, 0], [0, -3.5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(bad):
    a, b = two_parameters()
    a.grad[1] = bad
    ta.clip_by_norm([a, b], 1.0)
    assert not np.isfinite(a.grad).all() and grads(b) == [[0, -4]]


def test_large_gradients_do_not_overflow_the_norm():
    a, b = two_parameters()
    a.grad *= np.float32(1e30)
    assert np.isclose(ta.clip_by_norm([a, b], 1.0), 3e30, rtol=1e-6) and np.isclose(a.grad[0], 1)


@pytest.mark.parametrize("clip", [ta.ClipNorm(1e-3), ta.ClipValue(1e-4)])
def test_in_fit(clip, images):
    class Look(ta.Callback):
        def on_gradients(self, batch):
            gradients = [p.grad for p in self.trainer.optimizer.params]
            norms.append(np.sqrt(sum((g**2).sum() for g in gradients)))
            largest.append(max(abs(g).max() for g in gradients))

    norms, largest = [], []
    plain, clipped, loose = made(), made(), made()
    quick(plain, images, optimizer="sgd")
    quick(clipped, images, optimizer="sgd", callbacks=[clip, Look()])
    quick(loose, images, optimizer="sgd", callbacks=[type(clip)(1e9)])
    assert weights(loose) == weights(plain) != weights(clipped)
    assert max(norms) <= 1.001e-3 if isinstance(clip, ta.ClipNorm) else max(largest) <= 1.001e-4


def test_a_rate_far_too_large_survives_with_clipping(images):
    history = quick(made(), images, 3, optimizer="sgd", lr=100.0, callbacks=[ta.ClipNorm(1e-3)])
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "make", [ta.ClipNorm, ta.ClipValue, lambda c: ta.clip_by_norm([], c), lambda c: ta.clip_by_value([], c)]
)
@pytest.mark.parametrize("limit", [0, -1, float("nan"), "1"])
def test_limits_are_checked(make, limit):
    with pytest.raises(RangeError, match="limit is"):
        make(limit)
