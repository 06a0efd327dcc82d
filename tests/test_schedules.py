"""Learning-rate schedules: their formulas, step by step, in fit."""

import math

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError

from .conftest import made, quick, weights


class Rates(ta.Callback):
    """Notes the learning rate of every step."""

    def __init__(self):
        self.seen = []

    def on_gradients(self, batch):
        self.seen.append(self.trainer.optimizer.lr)


def rates(images, *schedules, epochs=4, lr=0.1, **options):
    note = Rates()
    history = quick(
        made(), images, epochs, batch_size=10, optimizer="sgd", lr=lr, callbacks=[note, *schedules], **options
    )
    assert history["lr"][-len(note.seen) // 5 :] == note.seen[4::5]
    return np.array(note.seen) / lr


T = np.arange(20) / 5  # epochs passed before each of 4 x 5 steps


def test_each_formula(images):
    assert np.allclose(rates(images, ta.StepDecay(2, 0.3)), [1] * 10 + [0.3] * 10)
    assert np.allclose(rates(images, ta.CosineDecay()), (1 + np.cos(np.pi * T / 4)) / 2)
    assert np.allclose(rates(images, ta.CosineDecay(to=0.2)), 0.2 + 0.8 * (1 + np.cos(np.pi * T / 4)) / 2)
    assert np.allclose(rates(images, ta.WarmUp(2)), np.minimum(np.arange(1, 21) / 10, 1))
    assert np.allclose(rates(images, ta.Schedule(lambda t: math.exp(-t))), np.exp(-T))
    assert np.allclose(
        rates(images, ta.WarmUp(1), ta.StepDecay(3)), np.minimum(np.arange(1, 21) / 5, 1) * 0.1 ** (T >= 3)
    )


def test_cosine_stays_at_its_last_value(images):
    seen = rates(images, ta.CosineDecay(epochs=2))
    assert np.allclose(seen[:10], (1 + np.cos(np.pi * T[:10] / 2)) / 2) and np.allclose(seen[10:], seen[9])


def test_on_plateau_the_rate_falls_after_patience(images):
    class Scripted(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["loss"] = [5, 3, 3, 3, 2, 2, 2][epoch - 1]

    seen = rates(images, Scripted(), ta.ReduceOnPlateau(0.5, patience=2), epochs=7)
    assert np.allclose(seen[::5], [1, 1, 1, 1, 0.5, 0.5, 0.5])
    seen = rates(images, Scripted(), ta.ReduceOnPlateau(0.1, patience=1, to=0.05), epochs=7)
    assert np.allclose(seen[::5], [1, 1, 1, 0.1, 0.05, 0.05, 0.05])


def test_a_plateau_by_min_delta_by_patience_and_on_held_out_data(images):
    class Scripted(ta.Callback):
        def __init__(self, **values):
            self.values = values

        def on_epoch_end(self, epoch, logs):
            logs.update({name: values[epoch - 1] for name, values in self.values.items()})

    slow = Scripted(loss=[5, 4.9, 4.8, 4.7])
    assert np.allclose(rates(images, slow, ta.ReduceOnPlateau(0.5, 1, min_delta=1))[::5], [1, 1, 0.5, 0.25])
    flat = Scripted(loss=[5] * 6)
    assert np.allclose(rates(images, flat, ta.ReduceOnPlateau(0.5, 2), epochs=6)[::5], [1, 1, 1, 0.5, 0.5, 0.25])
    held_out = Scripted(loss=[4, 3, 2, 1], val_loss=[5] * 4)
    seen = rates(images, held_out, ta.ReduceOnPlateau(0.5, 1), validation_data=images)
    assert np.allclose(seen[::5], [1, 1, 0.5, 0.25])


def test_patience_is_remembered_over_an_interruption(images, tmp_path):
    class Scripted(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["loss"] = [5, 3, 3, 3, 3][epoch - 1]

    def train(epochs):
        plateau = ta.ReduceOnPlateau(0.5, patience=2)
        return rates(images, Scripted(), plateau, ta.Checkpoint(tmp_path / "a", resume=True), epochs=epochs)

    train(3)  # has waited for one epoch
    assert np.allclose(train(5)[::5], [1, 0.5])


def test_a_reduced_rate_is_remembered_over_an_interruption(images, tmp_path):
    class Flat(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["loss"] = 5

    def train(epochs):
        callbacks = [Flat(), ta.ReduceOnPlateau(0.5, 2), ta.Checkpoint(tmp_path / "a", resume=True)]
        return rates(images, *callbacks, epochs=epochs)

    train(3)
    assert np.allclose(train(5)[::5], [0.5, 0.5])


def test_without_a_schedule_a_callback_may_set_the_rate(images):
    class Halve(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.optimizer.lr /= 2

    assert np.allclose(rates(images, Halve())[::5], [1, 0.5, 0.25, 0.125])


def test_a_schedule_of_1_changes_no_bit(images):
    plain, scheduled = made(), made()
    quick(plain, images)
    quick(scheduled, images, callbacks=[ta.Schedule(lambda t: 1.0)])
    assert weights(plain) == weights(scheduled)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.StepDecay(0), RangeError, "StepDecay: every is 0"),
        (lambda: ta.StepDecay(1, 1.5), RangeError, "StepDecay: gamma is 1.5"),
        (lambda: ta.CosineDecay(to=1), RangeError, "CosineDecay: to is 1"),
        (lambda: ta.CosineDecay(epochs=0), RangeError, "CosineDecay: epochs is 0"),
        (lambda: ta.WarmUp(0), RangeError, "WarmUp: epochs is 0"),
        (lambda: ta.ReduceOnPlateau(1), RangeError, "ReduceOnPlateau: gamma is 1"),
        (lambda: ta.ReduceOnPlateau(patience=0), RangeError, "ReduceOnPlateau: patience is 0"),
        (lambda: ta.Schedule(0.5), DtypeError, "Schedule: the factor is 0.5; expected a function"),
    ],
)
def test_wrong_arguments(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_afterwards_the_rate_is_what_it_was(images):
    model = made()
    optimizer = ta.SGD(model.parameters(), 0.1)
    quick(model, images, optimizer=optimizer, callbacks=[ta.CosineDecay()])
    assert optimizer.lr == 0.1


def test_what_fit_refuses(images):
    with pytest.raises(RangeError, match="ClipNorm.*LBFGS.*computes its gradients anew"):
        quick(made(), images, optimizer="lbfgs", callbacks=[ta.ClipNorm(1)])
    with pytest.raises(RangeError, match="WarmUp.*LBFGS has no learning rate"):
        quick(made(), images, optimizer="lbfgs", callbacks=[ta.WarmUp(1)])
    with pytest.raises(RangeError, match="ReduceOnPlateau: nothing called 'val_loss' to watch"):
        quick(made(), images, callbacks=[ta.ReduceOnPlateau(monitor="val_loss")])
