"""What the tests of captured steps on a device share: a training, and the comparison of graphs with plain steps."""

import contextlib

import numpy as np
import pytest

import tinyae as ta
from tinyae.optim import make_optimizer
from tinyae.program import listed

LOSSES = {"mse": ta.mse_loss, "bce": ta.bce_with_logits_loss}


class Training:
    """A model on a device, its optimizer, and the usual step; with chance, and statistics that are kept."""

    def __init__(self, device, optimizer="adam", loss="mse", dtype="float32", chance=False, norm=False):
        ta.manual_seed(0)
        own = [ta.BatchNorm(12)] if norm else []
        own += [ta.Dropout(0.3), ta.GaussianNoise(0.1)] if chance else []
        end = None if loss == "bce" else "sigmoid"
        layers = [ta.Dense(30, 12, "relu"), *own, ta.Dense(12, 5), ta.Dense(5, 30, end)]
        self.model = ta.Sequential(*layers).astype(dtype).to(device.name)
        self.optimizer = make_optimizer(optimizer, self.model.parameters())
        self.loss = LOSSES[loss]

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), x)
        loss.backward()
        self.optimizer.step()
        return loss

    def numbers(self):
        """Everything that a step changes."""
        tensors = [tensor for _, tensor in self.model.named_tensors()]
        arrays = [array for state in self.optimizer.state for array in state.values()]
        arrays += [t.data for t in tensors] + [t.grad for t in tensors if t.grad is not None]
        return self.optimizer.t, [to_host(array).tobytes() for array in arrays]


def to_host(array):
    return ta.backend.backend_of(array).to_host(array)


def batches(device, n, size=8, dtype="float32"):
    """n tensors (size, 30) on the device, no two alike."""
    rng = np.random.default_rng(1)
    return [ta.Tensor(rng.random((size, 30)), dtype=dtype).to(device.name) for _ in range(n)]


def graphs(captured):
    """The graphs of a captured step that were checked."""
    found = [p for p in captured._programs.values() if p is not None and p.graph is not None]
    assert captured.reason is None and all(program.is_checked for program in found)
    return found


def alike(device, xs=None, steps=7, between=lambda i, training: None, make=None, **options):
    """Take the same steps as they are written and captured; both draw from generators with the same seed.

    ``make`` gives a Training of another kind; ``between`` is called before each step.
    """
    plain, other = (make() if make else Training(device, **options) for _ in range(2))
    captured, results = ta.capture(other.step), []
    xs = xs or batches(device, steps, dtype=options.get("dtype", "float32"))
    for training, step in ((plain, plain.step), (other, captured)):
        ta.manual_seed(5)
        results.append([])
        for i, x in enumerate(xs):
            between(i, training)
            found = [result.numpy().tobytes() for result in listed(step(x))]
            results[-1].append((found, *training.numbers()))
    for i, (ours, theirs) in enumerate(zip(*results)):
        assert ours == theirs, f"step {i}"
    return captured


@contextlib.contextmanager
def refused(reason):
    with pytest.warns(ta.CaptureWarning, match=reason):
        yield
