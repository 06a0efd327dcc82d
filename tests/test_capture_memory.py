"""What a captured step must not touch, and what it must notice: the memory of others, state that changes between calls."""

import contextlib
import copy

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError

from .captured import Training, alike, autoencoder, batches, repeated

pytestmark = pytest.mark.usefixtures("everywhere")  # kernels whatever the size, in memory full of NaN


def test_what_a_program_writes_to_is_nobody_elses():
    """Also what it knows only by address: outputs between two operations."""
    ta.manual_seed(0)
    encoder, decoder, other = ta.Dense(100, 60, "relu"), ta.Dense(60, 100), ta.Dense(100, 60)
    xs = [ta.Tensor(np.random.default_rng(i).random((64, 100)), dtype="float32") for i in range(6)]
    captured = ta.capture(lambda x: decoder(encoder(x)))
    for x in xs:
        captured(x)
    assert repeated(captured)
    outputs = [other(x) for x in xs]
    copies = [y.data.copy() for y in outputs]
    captured(xs[0])
    assert all(np.array_equal(y.data, copy) for y, copy in zip(outputs, copies))


@pytest.mark.parametrize("then", ["zero_grad", "replaced", "another backward pass", "nothing"])
def test_gradients_that_are_kept_stay_as_they_are(then):
    training, kept = Training(), []
    captured = ta.capture(training.step)
    for x in batches(8):
        captured(x)
        kept += [(p.grad, p.grad.copy()) for p in training.model.parameters()]
        if then == "zero_grad":
            training.optimizer.zero_grad()
        elif then == "replaced":
            for p in training.model.parameters():
                p.grad = p.grad * 2
        elif then == "another backward pass":
            training.model.zero_grad()
            ta.mse_loss(training.model(x), x).backward()
    assert all(np.array_equal(gradient, copy) for gradient, copy in kept)


def test_gradients_kept_by_the_step_itself():
    training, kept = Training(), []

    @ta.capture
    def step(x):
        loss = training.step(x)
        kept.append((training.model.parameters()[0].grad, training.model.parameters()[0].grad.copy()))
        return loss

    for x in batches(6):
        step(x)
    assert all(np.array_equal(gradient, copy) for gradient, copy in kept)


def test_the_same_batch_again_and_again_and_then_another():
    """Comparing on the batch that the program was written with would prove nothing."""
    ours, theirs = Training(), Training()
    first, *others = batches(5)
    captured = alike(ours, theirs, xs=[first] * 5 + others)
    assert repeated(captured)
    odd = Training()

    @ta.capture
    def frozen(x):  # its target is made of the batch by Python
        odd.optimizer.zero_grad()
        loss = ta.mse_loss(odd.model(x), ta.Tensor(np.sqrt(x.data)))
        loss.backward()
        odd.optimizer.step()
        return loss

    plain = Training()
    with pytest.warns(ta.CaptureWarning, match="numbers differ"):
        for x in [first] * 5 + others:
            ours = frozen(x).item()
            plain.optimizer.zero_grad()
            loss = ta.mse_loss(plain.model(x), ta.Tensor(np.sqrt(x.data)))
            loss.backward()
            plain.optimizer.step()
            assert ours == loss.item()


def test_a_target_that_is_computed_after_the_prediction():
    """The loss cannot be joined to the layer before it."""
    teacher = autoencoder(activation="tanh")
    for parameter in teacher.parameters():
        parameter.requires_grad = False

    class Student(Training):
        def step(self, x):
            self.optimizer.zero_grad()
            y = self.model(x)
            loss = ta.mse_loss(y, teacher(x).detach())
            loss.backward()
            self.optimizer.step()
            return loss

    assert repeated(alike(Student(), Student()))


def test_parameters_without_a_gradient():
    def make():
        ta.manual_seed(0)
        one, two = ta.Dense(30, 30), ta.Dense(30, 30)
        optimizer = ta.SGD([*one.parameters(), *two.parameters()], 0.1)

        def step(x):
            one.zero_grad()
            loss = ta.mse_loss(one(x), x)
            loss.backward()
            optimizer.step()
            return loss

        return step, two, [*one.parameters(), *two.parameters()]

    (step, two, our_parameters), (theirs, other, their_parameters) = make(), make()
    captured = ta.capture(step)
    for i, x in enumerate(batches(9)):
        x = x.reshape(16, 30)
        if i == 5:
            for layer in (two, other):
                ta.mse_loss(layer(x), x).backward()
        with pytest.warns(ta.CaptureWarning, match="by a gradient that") if i == 5 else contextlib.nullcontext():
            ours = captured(x).item()
        assert ours == theirs(x).item()
        assert all(np.array_equal(p.data, q.data) for p, q in zip(our_parameters, their_parameters)), i


def test_training_and_evaluation():
    ta.manual_seed(0)
    model = ta.Sequential(ta.Dense(30, 40, "relu"), ta.Dropout(0.5), ta.Dense(40, 30)).eval()
    predict = ta.capture(lambda x: model(x))
    xs = [x.reshape(16, 30) for x in batches(6)]
    for x in xs:
        assert np.array_equal(predict(x).numpy(), model(x).numpy())
    assert repeated(predict)
    model.train()
    with pytest.warns(ta.CaptureWarning, match="draws random numbers"):
        assert (predict(xs[0]).numpy() != predict(xs[0]).numpy()).any()


def test_a_captured_step_inside_of_another_gives_the_same():
    def make():
        training = Training()
        encode = ta.capture(lambda x: training.model.encode(x))

        def step(x):
            training.optimizer.zero_grad()
            loss = ta.mse_loss(training.model.decode(encode(x)), x)  # no gradient reaches the encoder
            loss.backward()
            training.optimizer.step()
            return loss

        return step, training

    (ours, a), (theirs, b) = make(), make()
    captured = ta.capture(ours)
    for x in batches(6):
        assert captured(x).item() == theirs(x).item() and a.numbers() == b.numbers()


def test_arguments_that_a_kernel_gets_as_weights():
    product = ta.capture(lambda x, w: ta.matmul(x, w))
    x = ta.Tensor(np.ones((8, 300), np.float32))
    with pytest.warns(ta.CaptureWarning, match="as a layer's parameter"):
        for i in range(5):
            w = ta.Tensor(np.full((300, 200), i, np.float32))
            assert (product(x, w).numpy() == 300 * i).all()


def test_an_argument_in_the_memory_of_a_parameter():
    layer = ta.Dense(30, 30)
    with pytest.warns(ta.CaptureWarning, match="shares the memory of one"):
        ta.capture(lambda x: layer(x))(layer.weight.detach())


def test_integers():
    """They are converted in Python, which cannot be repeated."""
    layer = ta.Dense(30, 30)
    predict = ta.capture(lambda x: layer(x))
    with pytest.warns(ta.CaptureWarning, match="must be converted"):
        for i in range(5):
            x = ta.Tensor(np.full((16, 30), i, np.uint8))
            assert np.array_equal(predict(x).numpy(), layer(x).numpy())


def test_a_method_a_copy_and_many_shapes():
    class Trainer(Training):
        captured = ta.capture(Training.step)

    ours, theirs = Trainer(), Trainer()
    for x in batches(6):
        assert ours.captured(x).item() == theirs.step(x).item() and ours.numbers() == theirs.numbers()
    assert repeated(ours.captured) and theirs.captured is not ours.captured
    copied = copy.deepcopy(ours)
    for x in batches(4):
        assert copied.captured(x).item() == ours.captured(x).item()
    with pytest.raises(DtypeError, match="was given x by name"):
        ours.captured(x=x)
    predict = ta.capture(lambda x: theirs.model(x))
    for size in range(1, 40):
        for x in batches(3, size):
            predict(x)
    assert len(predict._programs) == 16


def test_fit_does_not_keep_copies_of_the_model():
    stop = ta.EarlyStopping(5, restore_best=False)
    x = np.random.default_rng(0).random((64, 6, 5, 1), dtype=np.float32)
    autoencoder().fit(x, 1, batch_size=16, callbacks=[stop], progress=False)
    assert stop.trainer.last_good is None


def test_a_step_that_is_put_on_a_class_later():
    class Late(Training):
        pass

    Late.first, Late.second = ta.capture(Training.step), ta.capture(lambda self, x: self.model(x))
    Late.third = ta.capture(lambda self, x: self.model.encode(x))
    training, plain = Late(), Training()
    (x,) = batches(1)
    assert training.first(x).item() == plain.step(x).item()
    assert np.array_equal(training.second(x).numpy(), plain.model(x).numpy())
    assert np.array_equal(training.third(x).numpy(), plain.model.encode(x).numpy())
    assert not isinstance(training.step, type(training.first))  # the method itself is still there
