"""A captured step gives the numbers of the step itself, to the last bit."""

import sys
import threading
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import ShapeError

from .captured import Training, alike, autoencoder, batches, repeated
from .twins import kernels_for_all

listed = sys.modules["tinyae.program"].listed
pytestmark = pytest.mark.usefixtures("everywhere")  # kernels whatever the size, in memory full of NaN


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "momentum", "adagrad", "rmsprop", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh", None])
def test_the_same_bits(optimizer, dtype, activation):
    options = {"optimizer": optimizer, "dtype": dtype, "activation": activation}
    assert repeated(alike(Training(**options), Training(**options)))


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("by_inputs", [True, False])
@pytest.mark.parametrize("size", [4, 16, 150])
def test_the_same_bits_in_several_parts(parts, by_inputs, size):
    with kernels_for_all(parts, by_inputs):
        for kind in (Training, Predicts):
            ours, theirs, xs = kind(), kind(), batches(6, size)
            captured = ta.capture(ours.step)
            for x in xs:
                for a, b in zip(listed(captured(x)), listed(theirs.step(x))):
                    assert np.array_equal(a.numpy(), b.numpy())
                assert ours.numbers() == theirs.numbers()
            assert repeated(captured)


def test_the_same_bits_from_logits():
    def make():
        return Training(loss=ta.bce_with_logits_loss, end=None)

    assert repeated(alike(make(), make()))


def test_layers_one_by_one():
    """Activations as layers of their own, no bias, a layer that no kernel joins to the others."""

    def make():
        training = Training()
        ta.manual_seed(0)
        layers = (
            ta.Flatten(),
            ta.Dense(30, 20, bias=False),
            ta.Activation("tanh"),
            ta.Dense(20, 30),
            ta.Activation("softmax"),
        )
        training.model = ta.Sequential(*layers, ta.Reshape(6, 5, 1))
        training.optimizer = ta.Adam(training.model.parameters())
        return training

    assert repeated(alike(make(), make()))


def test_frozen_layers():
    def make():
        training = Training()
        for parameter in training.model.encoder.parameters():
            parameter.requires_grad = False
        return training

    assert repeated(alike(make(), make()))


class Predicts(Training):
    """Returns the prediction too."""

    def step(self, x):
        self.optimizer.zero_grad()
        y = self.model(x)
        loss = self.loss(y, x)
        loss.backward()
        self.optimizer.step()
        return y, loss


def test_several_results():
    ours, theirs = Predicts(), Predicts()
    captured = ta.capture(ours.step)
    kept = []
    for x in batches(6):
        y, loss = captured(x)
        z, error = theirs.step(x)
        assert (
            np.array_equal(y.numpy(), z.numpy()) and loss.item() == error.item() and ours.numbers() == theirs.numbers()
        )
        kept.append((y, z.numpy().copy(), loss, error.item()))
    assert repeated(captured)
    for y, z, loss, error in kept:  # the steps after it have left each result alone
        assert np.array_equal(y.numpy(), z) and loss.item() == error


def test_two_arguments():
    rng = np.random.default_rng(3)
    pairs = [
        (ta.Tensor(rng.random((9, 8)), dtype="float32"), ta.Tensor(rng.random((9, 8)), dtype="float32"))
        for _ in range(6)
    ]

    def make():
        ta.manual_seed(0)
        layer = ta.Dense(8, 8, "sigmoid")
        optimizer = ta.SGD(layer.parameters(), 0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = ta.mse_loss(layer(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    captured, plain = ta.capture(make()), make()
    for i, (x, y) in enumerate(pairs):
        pair = (x, x) if i == 4 else (x, y)
        assert captured(*pair).item() == plain(*pair).item()
    assert repeated(captured)


def test_forward_only():
    model = autoencoder()
    predict = ta.capture(lambda x: model(x))
    for x in batches(5):
        with ta.no_grad():
            assert np.array_equal(predict(x).numpy(), model(x).numpy())
        assert predict(x)._node is None  # no tape, whether it is repeated or not
    assert repeated(predict)


def test_several_shapes_in_turn():
    ours, theirs = Training(), Training()
    xs = [x for pair in zip(batches(5, 16), batches(5, 7)) for x in pair]
    captured = alike(ours, theirs, xs=xs)
    assert repeated(captured) and len(captured._programs) == 2


def test_batches_in_any_layout():
    rng = np.random.default_rng(0)
    whole = ta.Tensor(rng.random((200, 6, 5, 1)), dtype="float32")
    strided = ta.Tensor(rng.random((1, 5, 6, 160)), dtype="float32").transpose()
    xs = [whole[16 * i : 16 * i + 16] for i in range(5)] + [strided[16 * i : 16 * i + 16] for i in range(4)]
    frozen = ta.Tensor(rng.random((16, 6, 5, 1)), dtype="float32")
    frozen.data.flags.writeable = False
    assert repeated(alike(Training(), Training(), xs=[*xs, frozen]))


def test_a_learning_rate_that_changes():
    ours, theirs = Training(), Training()
    captured = ta.capture(ours.step)
    for i, x in enumerate(batches(8)):
        ours.optimizer.lr = theirs.optimizer.lr = 0.1 / (i + 1)
        captured(x), theirs.step(x)
        assert ours.numbers() == theirs.numbers()
    assert repeated(captured)


def test_gradients_that_somebody_keeps():
    training = Training()
    captured = ta.capture(training.step)
    kept = []
    for x in batches(8):
        captured(x)
        gradients = [p.grad for p in training.model.parameters()]
        kept.append((gradients, [g.copy() for g in gradients]))
    for gradients, copies in kept:
        assert all(np.array_equal(g, copy) for g, copy in zip(gradients, copies))


@pytest.mark.parametrize("cleared", ["before", "after", "seldom"])
def test_gradients_cleared_outside_of_the_step(cleared):
    class Adds(Training):
        def step(self, x):
            loss = self.loss(self.model(x), x)
            loss.backward()
            self.optimizer.step()
            return loss

    ours, theirs = Adds(), Adds()
    captured = ta.capture(ours.step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ta.CaptureWarning)
        for i, x in enumerate(batches(9)):
            for training, step in ((ours, captured), (theirs, theirs.step)):
                if cleared == "before" or (cleared == "seldom" and i % 4 == 0):
                    training.optimizer.zero_grad()
                step(x)
                if cleared == "after":
                    training.model.zero_grad()
            assert ours.numbers() == theirs.numbers(), i
    assert repeated(captured) == (cleared != "seldom")


def test_state_that_is_exchanged_between_steps():
    """New arrays for parameters and state: the program is written anew."""
    ours, theirs = Training(), Training()
    captured = ta.capture(ours.step)
    begun = ours.model.state_dict(), ours.optimizer.state_dict()
    for i, x in enumerate(batches(20)):
        if i in (6, 7, 13):
            for training in (ours, theirs):
                training.model.load_state_dict(begun[0])
                training.optimizer.load_state_dict(begun[1])
        if i == 10:
            for training in (ours, theirs):
                training.model.parameters()[0].data = training.model.parameters()[0].data * 2
        if i == 16:
            for training in (ours, theirs):
                training.model.parameters()[0].requires_grad = False
        captured(x), theirs.step(x)
        assert ours.numbers() == theirs.numbers(), i
    assert repeated(captured)


def test_settings_of_the_moment():
    ours, theirs = Training(), Training()
    captured = ta.capture(ours.step)
    threads = ta.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ta.CaptureWarning)
            for i, x in enumerate(batches(16)):
                ta.set_num_threads(1 if 5 <= i < 9 else threads)
                with ta.use_kernels("reference" if i == 15 else "fast"):
                    captured(x), theirs.step(x)
                assert ours.numbers() == theirs.numbers(), i
                assert captured.reason is None
    finally:
        ta.set_num_threads(threads)


# ---------------------------------------------------------------- beside other code


def test_an_error_in_the_step():
    ours, theirs = Training(), Training()
    captured = ta.capture(ours.step)
    wrong = ta.Tensor(np.ones((4, 3), np.float32))
    for x in batches(6):
        for step in (captured, theirs.step):
            with pytest.raises(ShapeError):
                step(wrong)
        captured(x), theirs.step(x)
        assert ours.numbers() == theirs.numbers()
    assert repeated(captured) or captured.reason is None


def test_a_step_within_a_step():
    inner = Training()
    captured = ta.capture(inner.step)
    outer = ta.capture(lambda x: captured(x))
    theirs = Training()
    for x in batches(6):
        assert outer(x).item() == theirs.step(x).item()
    assert repeated(outer)


def test_two_threads_at_once():
    """One of them finds the program busy and runs the function: each loss is one that the weights give."""
    model = autoencoder()
    predict = ta.capture(lambda x: model(x))
    xs = batches(40)
    expected = [model(x).numpy().copy() for x in xs]
    wrong = []

    def work(part):
        for _ in range(20):
            for i in range(part, 40, 2):
                if not np.array_equal(predict(xs[i]).numpy(), expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(part,)) for part in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_loss_is_joined_to_the_last_layer():
    """Unless somebody else needs the prediction's numbers; then the loss has a call of its own."""
    joined = Training()
    captured = ta.capture(joined.step)
    for x in batches(4):
        captured(x)
    (program,) = captured._programs.values()
    assert [getattr(action, "__name__", "") for action, _ in program.actions].count("squared_error") == 0

    class Both(Training):
        def step(self, x):
            self.optimizer.zero_grad()
            y = self.model(x)
            loss = self.loss(y, x)
            other = ta.mse_loss(y.detach(), x)
            loss.backward()
            self.optimizer.step()
            return other

    captured = alike(Both(), Both())
    (program,) = captured._programs.values()
    assert [getattr(action, "__name__", "") for action, _ in program.actions].count("squared_error") == 2
