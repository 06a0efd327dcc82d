"""What cannot be captured: such a step runs as it is written, gives its own numbers, and says why."""

import warnings
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError

from .captured import Training, alike, batches

pytestmark = pytest.mark.usefixtures("everywhere")  # kernels whatever the size, in memory full of NaN


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
    "by a gradient that": at(
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
    where_it_was_called = alike.__code__.co_filename
    assert caught[0].filename == where_it_was_called and reason in captured.reason


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
    with pytest.warns(ta.CaptureWarning, match="returns int; expected a Tensor"):
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
