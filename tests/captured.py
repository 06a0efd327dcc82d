"""What the tests of captured steps share: a model, its training, and the comparison of captured steps with plain ones."""

import numpy as np

import tinyae as ta
from tinyae.optim import make_optimizer


def autoencoder(activation="relu", dtype="float32", end="sigmoid"):
    """Four dense layers between a Flatten and a Reshape, always with the same weights."""
    ta.manual_seed(0)
    return ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(30, 20, activation), ta.Dense(20, 5)),
        ta.Sequential(ta.Dense(5, 20, activation), ta.Dense(20, 30, end), ta.Reshape(6, 5, 1)),
    ).astype(dtype)


class Training:
    """A model, its optimizer and the usual step."""

    def __init__(self, optimizer="adam", loss=ta.mse_loss, **options):
        self.model = autoencoder(**options)
        self.optimizer = make_optimizer(optimizer, self.model.parameters())
        self.loss = loss

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), x)
        loss.backward()
        self.optimizer.step()
        return loss

    def numbers(self):
        """Everything that a step changes, as bytes."""
        arrays = [array for state in self.optimizer.state for array in state.values()]
        arrays += [p.data for p in self.model.parameters()] + [p.grad for p in self.model.parameters()]
        return self.optimizer.t, [None if array is None else array.tobytes() for array in arrays]


def batches(n, size=16, dtype="float32"):
    """n tensors (size, 6, 5, 1), no two alike."""
    rng = np.random.default_rng(1)
    return [ta.Tensor(rng.random((size, 6, 5, 1)), dtype=dtype) for _ in range(n)]


def repeated(captured):
    """Is it repeated, and was that checked?"""
    programs = [program for program in captured._programs.values() if program is not None]
    return captured.reason is None and bool(programs) and all(program.is_checked for program in programs)


def alike(plain, other, step=None, steps=7, xs=None):
    """Take the same steps with a Training as it is and with another whose step is captured."""
    captured = ta.capture(step or other.step)
    for i, x in enumerate(xs or batches(steps, dtype=str(plain.model.dtype))):
        ours, theirs = captured(x), (type(plain).step if step is None else step.__func__)(plain, x)
        assert ours.numpy().tobytes() == theirs.numpy().tobytes(), i
        assert plain.numbers() == other.numbers(), i
    return captured
