"""A captured step gives the numbers of the step itself to the last bit, or runs as it is written and says why."""

import sys
import threading
import warnings
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, ShapeError, TrainingError
from tinyae.optim import make_optimizer

from .conftest import quick, weights
from .twins import kernels_for_all

Program, listed = sys.modules["tinyae.capture"].Program, sys.modules["tinyae.capture"].listed
pytestmark = pytest.mark.usefixtures("everywhere")  # kernels whatever the size, in memory full of NaN


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


# ---------------------------------------------------------------- the same numbers


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


# ---------------------------------------------------------------- what cannot be repeated


def changed(name, also):
    """A Training whose step does something besides."""

    def step(self, x):
        self.optimizer.zero_grad()
        y = self.model(x)
        loss = self.loss(y, x)
        found = also(self, x, y, loss, "before backward") or loss
        loss.backward()
        also(self, x, y, loss, "before the update")
        self.optimizer.step()
        also(self, x, y, loss, "at the end")
        return found

    return type(name, (Training,), {"step": step})


def at(moment, action):
    return lambda self, x, y, loss, now: action(self, x, y, loss) if now == moment else None


FIRST, SECOND, LAST = "before backward", "before the update", "at the end"
SEEN = {}
UNREPEATABLE = {
    "reads a number": at(FIRST, lambda self, x, y, loss: SEEN.update(loss=loss.item())),
    "reads the numbers": at(FIRST, lambda self, x, y, loss: SEEN.update(y=y.numpy().copy())),
    "the operation add": at(FIRST, lambda self, x, y, loss: loss + 0.0),
    "clips gradients": at(
        SECOND, lambda self, x, y, loss: SEEN.update(norm=ta.clip_by_norm(self.model.parameters(), 1e-3))
    ),
    "changes gradients between": at(
        SECOND,
        lambda self, x, y, loss: [setattr(p, "grad", p.grad * np.float32(0.5)) for p in self.model.parameters()][:0],
    ),
    "keeps a tensor": at(FIRST, lambda self, x, y, loss: SEEN.update(y=y)),
    "numbers differ": at(
        SECOND, lambda self, x, y, loss: [p.grad.__imul__(np.float32(0.5)) for p in self.model.parameters()][:0]
    ),
    "without it": at(LAST, lambda self, x, y, loss: setattr(self.optimizer, "lr", self.optimizer.lr * 0.9)),
    "changes a tensor in place": at(LAST, lambda self, x, y, loss: shrink(self.model.parameters()[1])),
    "with a gradient": at(FIRST, lambda self, x, y, loss: y.backward(np.ones(y.shape, np.float32), keep_tape=True)),
}


def shrink(tensor):
    with ta.no_grad():
        tensor *= 0.5


@pytest.mark.parametrize("reason", UNREPEATABLE)
def test_what_cannot_be_repeated(reason):
    """It says why, once, and the numbers are the step's own."""
    kind = changed("Odd", UNREPEATABLE[reason])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        captured = alike(kind(), kind())
    assert [w.category for w in caught] == [ta.CaptureWarning] and reason in str(caught[0].message)
    assert caught[0].filename == __file__ and reason in captured.reason


def test_a_tape_from_outside():
    leaf = ta.Tensor(np.ones((5, 5), np.float32), requires_grad=True)
    losses = [ta.mse_loss(ta.relu(leaf), ta.Tensor(np.zeros((5, 5), np.float32))) for _ in range(4)]
    turn = iter(losses)

    @ta.capture
    def step():
        leaf.grad = None
        next(turn).backward()

    with pytest.warns(ta.CaptureWarning, match="goes back through"):
        for _ in losses:
            step()
            assert (leaf.grad == 2 / 25).all()


@pytest.mark.parametrize("layer", [ta.Dropout(0.5), ta.GaussianNoise(0.1), ta.Activation("gelu")])
def test_layers_without_kernels(layer):
    def make():
        training = Training()
        training.model = ta.Sequential(training.model.encoder, layer, training.model.decoder)
        return training

    ours, theirs = make(), make()
    captured, found = ta.capture(ours.step), []
    with pytest.warns(ta.CaptureWarning, match="without|no kernel"):
        for step in (captured, theirs.step):
            ta.manual_seed(4)
            found.append([step(x).item() for x in batches(5)])
    assert found[0] == found[1] and captured.reason


def test_one_tensor_used_twice():
    ta.manual_seed(0)
    layer = ta.Dense(30, 30, "relu")

    @ta.capture
    def step(x):
        layer.zero_grad()
        loss = ta.mse_loss(layer(layer(x.reshape(16, 30))), x.reshape(16, 30))
        loss.backward()
        return loss

    with pytest.warns(ta.CaptureWarning, match="twice"):
        for x in batches(3):
            ours = step(x), layer.weight.grad.copy()
            loss = step.function(x)
            assert ours[0].item() == loss.item() and np.array_equal(ours[1], layer.weight.grad)


def test_too_little_to_do():
    """A model so small that NumPy is as fast: outside of the fixture's world it has no kernels."""
    from tinyae.kernels import cpu, dense_layers

    usual = mock.patch.object(cpu, "ENOUGH", 4096), mock.patch.object(dense_layers, "ENOUGH", 4096)
    with usual[0], usual[1], pytest.warns(ta.CaptureWarning, match="too little to do"):
        alike(Training(), Training(), xs=batches(3, 1))


def test_results_that_are_no_tensors():
    with pytest.warns(ta.CaptureWarning, match="returns 3; expected a Tensor"):
        number = ta.capture(lambda x: 3)
        assert [number(x) for x in batches(3)] == [3, 3, 3]
    with pytest.warns(ta.CaptureWarning, match="returns a tensor that it was given"):
        same = ta.capture(lambda x: x)
        for x in batches(4):
            assert np.array_equal(same(x).numpy(), x.numpy())


def test_bad_arguments():
    with pytest.raises(DtypeError, match=r"capture: 3 was given; expected a function"):
        ta.capture(3)
    with pytest.raises(DtypeError, match=r"capture: step was given ndarray of float64 .*Wrap arrays in ta.Tensor"):
        ta.capture(Training().step)(np.ones((2, 30)))
    x = ta.Tensor(np.ones((3, 6, 5, 1), np.float32), requires_grad=True)
    with pytest.warns(ta.CaptureWarning, match="asks for gradients"):
        ta.capture(Training().step)(x)


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


# ---------------------------------------------------------------- fit


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
