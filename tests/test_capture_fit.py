"""fit captures its steps where it can: the bits of a loop by hand, and what it runs one by one."""

import sys
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import TrainingError

from .captured import Training, autoencoder
from .conftest import quick, weights

Program = sys.modules["tinyae.program"].Program
pytestmark = pytest.mark.usefixtures("everywhere")  # kernels whatever the size, in memory full of NaN


def by_hand(x, epochs, seed):
    training = Training()
    for epoch in range(epochs):
        for batch in ta.batches(x, 16, seed=seed, epoch=epoch):
            training.step(batch)
    return weights(training.model)


class Counted:
    """How many steps are repeated inside."""

    def __enter__(self):
        self.steps, repeat = 0, Program.repeat

        def counting(program, inputs):
            self.steps += 1
            repeat(program, inputs)

        self.patch = mock.patch.object(Program, "repeat", counting)
        self.patch.start()
        return self

    def __exit__(self, *error):
        self.patch.stop()


@pytest.mark.parametrize("size", [96, 100])  # the last batch whole, or with 4 examples
def test_fit_repeats_its_steps(size):
    x = np.random.default_rng(0).random((size, 6, 5, 1), dtype=np.float32)
    model = autoencoder()
    with Counted() as counted:
        history = quick(model, x, 3, batch_size=16, seed=2, callbacks=[ta.EarlyStopping(9)])
    assert weights(model) == by_hand(x, 3, 2)
    assert counted.steps == 3 * 4  # of 6 or 7 in each epoch two are run, and the smaller one
    with ta.use_kernels("reference"):
        plain = quick(autoencoder(), x, 3, batch_size=16, seed=2)
    assert history["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def test_fit_with_a_schedule_repeats_its_steps():
    x = np.random.default_rng(0).random((96, 6, 5, 1), dtype=np.float32)
    found = []
    for loss in ("mse", lambda p, t: ta.mse_loss(p, t)):  # a function of the user's is not repeated
        model = autoencoder()
        with Counted() as counted:
            quick(model, x, 2, batch_size=16, loss=loss, callbacks=[ta.WarmUp(1), ta.CosineDecay()])
        found.append((weights(model), counted.steps))
    assert found[0][0] == found[1][0] and [steps for _, steps in found] == [8, 0]


class Watching(ta.Callback):
    def __init__(self):
        self.norms = []

    def on_gradients(self, batch):
        self.norms.append(float(sum((p.grad**2).sum() for p in self.trainer.model.parameters())))


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [Watching()]},
        {"callbacks": [ta.ClipNorm(1e-3)]},
        {"regularizers": [ta.L2(1e-3)]},
        {"optimizer": "lbfgs"},
        {"loss": ta.mse_loss},
    ],
    ids=["own hook", "clipping", "regularizer", "lbfgs", "own loss"],
)
def test_fit_takes_other_steps_one_by_one(options):
    x = np.random.default_rng(0).random((96, 6, 5, 1), dtype=np.float32)
    with Counted() as counted:
        quick(autoencoder(), x, 1, **({"batch_size": 16} if "optimizer" not in options else {}), **options)
    assert counted.steps == 0


def test_fit_with_a_layer_of_the_users():
    class Twice(ta.Dense):
        def forward(self, x):
            return super().forward(x) * 2

    x = np.random.default_rng(0).random((96, 30), dtype=np.float32)
    with Counted() as counted:
        ta.fit(ta.Sequential(Twice(30, 8), ta.Dense(8, 30)), x, x, 1, batch_size=16, progress=False)
    assert counted.steps == 0


def test_fit_says_the_same_when_the_loss_explodes():
    """The gradient that the message names is that of the step before, also in a repeated step."""
    x = np.random.default_rng(0).random((160, 30), dtype=np.float32) * 100
    messages = []
    for loss in ("mse", lambda p, t: ta.mse_loss(p, t)):
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(30, 20), ta.Dense(20, 30))
        before = weights(model)
        with pytest.raises(TrainingError, match="of the step before was") as caught:
            ta.fit(model, x, x, 3, 16, "sgd", 0.1, loss, progress=False)
        messages.append(str(caught.value))
        assert weights(model) == before
    assert messages[0] == messages[1] and "(epoch 1, batch 1)" not in messages[0]


def test_clipping_that_begins_late():
    """The first gradients are below the limit; those of later batches are not."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random((48, 6, 5, 1)) / 100, rng.random((48, 6, 5, 1))]).astype(np.float32)
    found = []
    for loss in ("mse", lambda p, t: ta.mse_loss(p, t)):
        model = autoencoder()
        clip = ta.ClipNorm(2e-2)
        quick(model, x, 2, batch_size=16, shuffle=False, optimizer="sgd", loss=loss, callbacks=[clip])
        found.append(weights(model))
    free = autoencoder()
    quick(free, x, 2, batch_size=16, shuffle=False, optimizer="sgd")
    assert found[0] == found[1] != weights(free)


def test_an_optimizer_that_was_tampered_with():
    x = np.random.default_rng(0).random((96, 6, 5, 1), dtype=np.float32)
    model, steps = autoencoder(), []
    optimizer = ta.Adam(model.parameters())
    usual = optimizer.step
    optimizer.step = lambda: (steps.append(1), usual())
    quick(model, x, 2, batch_size=16, optimizer=optimizer)
    assert len(steps) == 12
