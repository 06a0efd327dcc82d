"""A captured step on a device meets what it was not made for: other settings, other arrays, errors in the middle of it.

It gives the numbers of the step as it is written, or says that it cannot be repeated; and what was no step is not counted.
"""

import gc

import numpy as np
import pytest

import tinyae as ta
from tinyae.graph import GraphProgram

from .on_device import Training, alike, batches, graphs, refused, to_host


def zeros(device, n):
    return device.asarray(np.zeros(n, np.float32))


# ---------------------------------------------------------------- between steps


def test_other_settings_of_several_optimizers(device):
    class Several(Training):
        def step(self, x):
            for optimizer in self.all:
                optimizer.zero_grad()
            loss = ta.mse_loss(self.model(x), x)
            loss.backward()
            for optimizer in self.all:
                optimizer.step()
            return loss

    def make():
        training = Several(device)
        first, second, third = (layer.parameters() for layer in training.model)
        training.all = (
            ta.Adam(first, 0.01, weight_decay=0.1),
            ta.Momentum(second, 0.1, nesterov=True),
            ta.SGD(third, 0.1),
        )
        return training

    def between(i, training):
        adam, momentum, sgd = training.all
        if i in (2, 5):  # also where the graph is recorded
            adam.weight_decay, adam.betas = 0.3 / i, (0.5, 0.9)
        if i == 6:
            momentum.momentum, momentum.nesterov, sgd.weight_decay = 0.5, False, 0.3

    assert graphs(alike(device, steps=9, between=between, make=make))


def test_layers_that_are_frozen_and_thawed(device):
    def between(i, training):
        if i in (4, 8):
            training.model[0].weight.requires_grad = i == 8

    assert graphs(alike(device, steps=12, between=between))


def test_a_model_that_goes_to_the_host_and_back(device):
    def between(i, training):
        if i in (2, 5):
            training.model.to("numpy").to(device.name)

    assert graphs(alike(device, steps=8, between=between))


def test_an_optimizer_that_was_made_on_the_host(device):
    """Its state comes to the device in the first step; that is no part of the graph."""
    plain, other = (Training(ta.get_backend("numpy")) for _ in range(2))
    for training in (plain, other):
        training.model.to(device.name)
    xs = batches(device, 3)
    captured = ta.capture(other.step, xs[0])
    assert graphs(captured)
    assert [captured(x).numpy() for x in xs] == [plain.step(x).numpy() for x in xs]


def test_another_seed_of_the_same_generator(device):
    """The seed is a constant of the graph."""

    def between(i, training):
        if i == 5:
            ta.context.current_generator().load_state_dict({"seed": 77, "steps": {"dropout": 3}})

    assert graphs(alike(device, chance=True, steps=8, between=between))


@pytest.mark.parametrize("whole", [True, False])
def test_other_arrays_for_running_statistics(device, whole):
    """Only the layer knows them: no operation has them as an argument."""

    def between(i, training):
        if i == 5 and whole:
            training.model[1].running_mean = ta.Tensor(zeros(device, 12))
        elif i == 5:
            training.model[1].running_mean.data = zeros(device, 12)
        gc.collect()  # were the old ones written to, the stand-in would say that they are gone

    assert graphs(alike(device, norm=True, steps=8, between=between))


def test_another_tensor_as_a_weight(device):
    def between(i, training):
        if i == 5:
            training.model[0].weight = ta.Tensor(zeros(device, (30, 12)))  # not trained

    assert graphs(alike(device, steps=8, between=between))


def test_a_parameter_that_an_optimizer_gets_later(device):
    class Partly(Training):
        def step(self, x):
            self.model.zero_grad()
            loss = ta.mse_loss(self.model(x), x)
            loss.backward()
            self.optimizer.step()
            return loss

    def make():
        training = Partly(device)
        training.optimizer = ta.SGD(training.model[0].parameters(), 0.1)
        return training

    def between(i, training):
        if i == 5:
            training.optimizer.params += training.model[1].parameters()
            training.optimizer.state += [{}, {}]

    assert graphs(alike(device, steps=8, between=between, make=make))


# ---------------------------------------------------------------- in the middle of a step


class Accumulating(Training):
    """Two backward passes; the gradients of both are added."""

    updates = True

    def step(self, x):
        self.model.zero_grad()
        first = ta.mse_loss(self.model(x), x)
        first.backward()
        second = ta.mse_loss(self.model(x * 0.5), x)
        second.backward()
        if self.updates:
            self.optimizer.step()
        return first, second


@pytest.mark.parametrize("updates", [True, False])
def test_gradients_that_are_added_in_a_step(device, updates):
    def make():
        training = Accumulating(device)
        training.updates = updates
        return training

    def between(i, training):
        if i and not updates:
            training.optimizer.step()  # with what the step has left in .grad

    assert graphs(alike(device, between=between, make=make))


def test_gradients_that_are_cleared_at_the_end(device):
    class Clearing(Training):
        def step(self, x):
            loss = ta.mse_loss(self.model(x), x)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            return loss

    assert graphs(alike(device, make=lambda: Clearing(device)))


def test_gradients_of_two_captured_steps_are_not_added_by_the_graph(device):
    def make():
        training = Training(device)

        def first(x):
            training.optimizer.zero_grad()
            ta.mse_loss(training.model(x), x).backward()

        def second(x):
            ta.mse_loss(training.model(x), x).backward()
            training.optimizer.step()

        return training, first, second

    (plain, *steps), (other, first, second) = make(), make()
    captured = ta.capture(first), ta.capture(second)
    with refused("adds to the gradients of the step before"):
        for i, x in enumerate(batches(device, 12)):
            captured[i % 2](x)
            steps[i % 2](x)
            assert plain.numbers() == other.numbers(), i
    assert captured[0].reason is None


def test_a_learning_rate_that_is_set_within_the_step(device):
    """It would be a constant of the graph, and the step count beside it."""

    class Setting(Training):
        def step(self, x):
            self.optimizer.lr = 0.1
            loss = super().step(x)
            self.optimizer.lr = 0.01
            return loss

    with refused("settings of an optimizer change in the middle"):
        captured = alike(device, make=lambda: Setting(device))
    assert captured.reason


def test_an_argument_that_the_step_changes(device):
    def step(x):
        with ta.no_grad():
            x *= 0.5
        return x.mean()

    captured = ta.capture(step)
    with refused("changes an argument in place"):
        for x in batches(device, 4):
            expected = to_host(x.data) * np.float32(0.5)
            captured(x)
            assert np.array_equal(x.numpy(), expected)


def test_a_step_that_turns_to_another_model(device):
    """The comparison gives each model back what it had, and no other one's numbers."""
    first, second = Training(device), Training(device)
    expected, calls = Training(device), []

    def step(x):
        calls.append(1)
        return (first if len(calls) < 3 else second).step(x)

    captured, xs = ta.capture(step), batches(device, 4)
    with refused("cannot be captured"):
        for x in xs:
            captured(x)
    for x in xs[2:]:
        expected.step(x)
    assert second.numbers() == expected.numbers()
    assert first.optimizer.t == 2


def test_what_is_prepared_in_vain_is_given_up(device):
    """It would be rehearsed for ever, each time for the next step, which then finds evaluation mode."""

    class Changing(Training):
        def step(self, x):
            self.model.train()
            loss = super().step(x)
            self.model.eval()
            return loss

    xs = batches(device, 4) * 5
    with refused("finds something changed every time"):
        alike(device, xs=xs, make=lambda: Changing(device))


def test_a_read_that_the_backend_cannot_count(device, monkeypatch):
    """CUDA refuses it in the capture, with an error of its own."""
    monkeypatch.setattr(GraphProgram, "_traffic", lambda self: (0, 0))

    class Reading(Training):
        def step(self, x):
            loss = super().step(x)
            float(loss.data)
            return loss

    with refused("cannot be captured"):
        alike(device, make=lambda: Reading(device))


# ---------------------------------------------------------------- errors


class Failing(Training):
    """Its step fails the nth time that it runs."""

    fails, runs = None, 0

    def step(self, x):
        self.runs += 1
        if self.runs == self.fails:
            raise KeyboardInterrupt
        return super().step(x)


@pytest.mark.parametrize("fails", [1, 2, 3, 4])
def test_a_step_that_fails_once(device, fails):
    """As it is written, rehearsed, captured, compared: then it goes on as if nothing had been."""
    plain, other = (Failing(device, chance=True, norm=True) for _ in range(2))
    other.fails = fails
    captured, xs, results = ta.capture(other.step), batches(device, 9), []
    for training, step in ((plain, plain.step), (other, captured)):
        ta.manual_seed(5)
        results.append([])
        for x in xs:
            try:
                loss = step(x)
            except KeyboardInterrupt:
                loss = step(x)
            results[-1].append((loss.numpy().tobytes(), *training.numbers()))
    assert results[0] == results[1]
    assert graphs(captured) and other.runs < 9


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_error_at_the_end_of_a_capture_is_no_step(device, error, monkeypatch):
    training, xs = Training(device, chance=True), batches(device, 5)
    captured = ta.capture(training.step)
    captured(xs[0])
    captured(xs[1])
    before = training.numbers()

    def fail(function, pool=None):
        type(device).capture(device, function)
        raise error("at the end")

    monkeypatch.setattr(device, "capture", fail)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            captured(xs[2])
        assert training.numbers() == before
    else:
        with refused("cannot be captured .at the end"):
            captured(xs[2])
        assert training.optimizer.t == 3
    monkeypatch.undo()
    for x in xs[3:]:
        captured(x)
    assert (captured.reason is None) is (error is KeyboardInterrupt)


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_an_example_with_which_the_step_fails_changes_nothing(device, fails):
    training, runs = Training(device, chance=True, norm=True), []
    before, drawn = training.numbers(), ta.context.current_generator().state_dict()

    def step(x):
        runs.append(1)
        loss = training.step(x)
        if len(runs) == fails:
            raise KeyboardInterrupt
        return loss

    with pytest.raises(KeyboardInterrupt):
        ta.capture(step, batches(device, 1)[0])
    assert training.numbers() == before
    assert ta.context.current_generator().state_dict() == drawn


def test_an_example_does_not_change_the_settings_either(device):
    training = Training(device)

    def step(x):
        loss = training.step(x)
        training.optimizer.lr *= 0.5
        return loss

    with refused("numbers differ"):
        ta.capture(step, batches(device, 1)[0])
    assert training.optimizer.lr == Training(device).optimizer.lr


def test_a_warning_points_to_the_line_that_called(device):
    training = Training(device)

    def step(x):
        training.step(x).item()

    with pytest.warns(ta.CaptureWarning) as caught:
        ta.capture(step, batches(device, 1)[0])
        asking = ta.Tensor(np.ones((2, 2), np.float32), requires_grad=True)
        ta.capture(lambda x: x)(asking)
    assert [w.filename for w in caught] == [__file__, __file__]
