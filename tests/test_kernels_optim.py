"""The optimizers' kernels against their definitions, and a whole training; see ``test_kernels.py``."""

import os
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae import optim
from tinyae.kernels import cpu
from tinyae.kernels.cpu import TWINS

from .twins import (
    NEAR,
    TYPES,
    kernels_for_all,
    leaf,
    near,
    read_only,
    strided,
)

# ---------------------------------------------------------------- optimizers

OPTIMIZERS = {
    "gd": lambda p: ta.GradientDescent(p, 0.05),
    "sgd": lambda p: ta.SGD(p, 0.05),
    "sgd, decay": lambda p: ta.SGD(p, 0.05, weight_decay=0.03),
    "momentum": lambda p: ta.Momentum(p, 0.02, 0.9),
    "momentum, decay": lambda p: ta.Momentum(p, 0.02, 0.7, weight_decay=0.03),
    "nesterov": lambda p: ta.Momentum(p, 0.02, 0.9, nesterov=True),
    "nesterov, decay": lambda p: ta.Momentum(p, 0.02, 0.9, nesterov=True, weight_decay=0.03),
    "adagrad": lambda p: ta.AdaGrad(p, 0.1),
    "rmsprop": lambda p: ta.RMSProp(p, 0.01),
    "rmsprop 0.99": lambda p: ta.RMSProp(p, 0.01, 0.99, eps=1e-3),
    "adam": lambda p: ta.Adam(p, 0.02),
    "adam, decoupled decay": lambda p: ta.Adam(p, 0.02, (0.8, 0.95), 1e-4, weight_decay=0.1),
}


def train(which, make, dtype, steps=60, disturb=lambda step, tensors, optimizer: None):
    """The parameters after so many steps down a crooked slope; some get no gradient in some steps."""
    rng = np.random.default_rng(3)
    shapes = [(7, 5), (1,), (), (3, 4, 5), (1, 1), (40, 9), (33,), (17, 1), (1, 17)]
    tensors = [ta.Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype) for shape in shapes]
    targets = [rng.normal(size=shape) for shape in shapes]
    calls = []

    def counted(optimizer, pairs):
        calls.append(cpu.update_all(optimizer, pairs))
        return calls[-1]

    with ta.use_kernels(which), kernels_for_all(), mock.patch.dict(TWINS, dict.fromkeys(OPTIMIZER_CLASSES, counted)):
        optimizer = make(tensors)
        for step in range(steps):
            for i, (tensor, target) in enumerate(zip(tensors, targets)):
                missing = (step + i) % 7 == 0
                g = np.sin(3 * tensor.data) + tensor.data - target + 0.1 * rng.normal(size=tensor.shape)
                tensor.grad = None if missing else np.asarray(g, tensor.dtype)
            disturb(step, tensors, optimizer)
            optimizer.step()
    assert calls == [] if which == "reference" else len(calls) == steps
    return [tensor.data for tensor in tensors], calls


OPTIMIZER_CLASSES = [key for key in TWINS if isinstance(key, type) and issubclass(key, optim.Optimizer)]


def agree(make, dtype, **options):
    """Both ways, compared; how often the kernel took the step."""
    (fast, calls), (plain, _) = (train(which, make, dtype, **options) for which in ("fast", "reference"))
    for ours, theirs in zip(fast, plain):
        assert np.isfinite(theirs).all()
        near(ours, theirs, 1)
    return sum(calls)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype):
    """60 steps of many shapes. Adding up steps adds up roundings, but all steps shrink towards a minimum."""
    assert agree(OPTIMIZERS[name], dtype) == 60


@pytest.mark.parametrize("parts", [1, 4])
def test_optimizers_in_parts(parts, rng):
    values, g = rng.normal(size=(21, 5)), rng.normal(size=(21, 5))
    for make in OPTIMIZERS.values():
        found = []
        for which in ("fast", "reference"):
            with ta.use_kernels(which), kernels_for_all(parts):
                w = ta.Tensor(values, requires_grad=True)
                optimizer = make([w])
                for _ in range(3):
                    w.grad = g.copy()
                    optimizer.step()
                found.append(w.data)
        near(*found)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
def test_an_optimizer_notices_that_arrays_were_replaced(name):
    """State loaded, weights replaced, another learning rate: the kernel asks for the new places."""

    def disturb(step, tensors, optimizer):
        if step == 20:
            optimizer.load_state_dict(optimizer.state_dict())
        if step == 30:
            tensors[0].data = tensors[0].data * 0.5
        if step == 35:
            optimizer.restore(optimizer.snapshot())
        if step == 40:
            optimizer.lr = 0.001

    assert agree(OPTIMIZERS[name], np.float64, disturb=disturb) == 60


@pytest.mark.parametrize("name", ["sgd, decay", "momentum", "adam"])
def test_gradients_in_other_layouts_are_left_to_the_definition(name):
    def disturb(step, tensors, optimizer):
        if step % 3 == 0 and tensors[0].grad is not None:
            tensors[0].grad = np.asfortranarray(tensors[0].grad)
        if step % 5 == 0 and tensors[5].grad is not None:
            tensors[5].grad = strided(tensors[5].grad)

    assert 0 < agree(OPTIMIZERS[name], np.float64, disturb=disturb) < 60


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_that_changes_its_type_between_steps(name):
    def disturb(step, tensors, optimizer):
        if step == 10:
            for tensor in tensors:
                tensor.data = tensor.data.astype(np.float64)
                tensor.grad = None if tensor.grad is None else tensor.grad.astype(np.float64)

    (fast, calls), (plain, _) = (
        train(which, OPTIMIZERS[name], np.float32, disturb=disturb) for which in ("fast", "reference")
    )
    for ours, theirs in zip(fast, plain):
        assert ours.dtype == np.float64
        near(ours, theirs, 1, factor=NEAR[np.dtype(np.float32)] / NEAR[np.dtype(np.float64)])  # the first ten steps
    assert sum(calls) == 60


def test_parameters_of_two_types_in_one_optimizer(rng, everywhere):
    a, b = ta.Tensor(rng.normal(size=(9, 9)), requires_grad=True), ta.Tensor(np.ones(9, np.float32), requires_grad=True)
    optimizer = ta.Adam([a, b], 0.1)
    before = a.numpy().copy()
    a.grad, b.grad = np.ones((9, 9)), np.ones(9, np.float32)
    optimizer.step()
    assert np.allclose(a.numpy(), before - 0.1) and np.allclose(b.numpy(), 0.9)


def test_a_shared_parameter(rng, everywhere):
    """Used in two layers, its gradients are summed, and it makes one step."""
    found = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            ta.manual_seed(0)
            first, second = ta.Dense(6, 6, "tanh").astype("float64"), ta.Dense(6, 6, "sigmoid").astype("float64")
            second.weight = first.weight
            model = ta.Sequential(first, second)
            optimizer = ta.Adam(model.parameters(), 0.05)
            x = ta.Tensor(np.linspace(-1, 1, 48).reshape(8, 6))
            for _ in range(20):
                optimizer.zero_grad()
                ta.mse_loss(model(x), x).backward()
                optimizer.step()
            found.append(np.concatenate([p.data.ravel() for p in model.parameters()]))
    near(*found, floor=1)


def test_a_read_only_parameter_is_refused_as_before(rng, everywhere):
    """A kernel works on addresses: it must not write where NumPy may not (memory that is mapped read-only ends the program)."""
    w = leaf(read_only(rng.normal(size=(9, 9))))
    before = w.data.copy()
    for make in OPTIMIZERS.values():
        optimizer = make([w])
        w.grad = np.ones((9, 9))
        with pytest.raises(ValueError, match="read-only"):
            optimizer.step()
        assert np.array_equal(w.data, before)


def test_tiny_gradients_do_not_make_subnormal_state(everywhere):
    """Running means that die away end at 0, and never hurt the parameter."""
    w = ta.Tensor(np.ones((8, 8), np.float32), requires_grad=True)
    optimizer = ta.Adam([w], 1e-3)
    for step in range(1200):
        w.grad = np.full((8, 8), 1.0 if step == 0 else 0.0, np.float32)
        optimizer.step()
    assert (optimizer.state[0]["m"] == 0).all() and np.isfinite(w.numpy()).all()


# ---------------------------------------------------------------- a whole training


def hundred_steps(which, x, dtype, loss, hidden, first_scaled_by=1):
    """The parameters of a deep autoencoder after a hundred steps of Adam."""
    with ta.use_kernels(which):
        ta.manual_seed(5)
        model = ta.Autoencoder(
            ta.Sequential(ta.Dense(784, 128, hidden), ta.Dense(128, 64, hidden), ta.Dense(64, 32)),
            ta.Sequential(ta.Dense(32, 64, hidden), ta.Dense(64, 128, hidden), ta.Dense(128, 784, "sigmoid")),
        ).astype(np.dtype(dtype).name)
        model.parameters()[0].data[...] *= np.dtype(dtype).type(first_scaled_by)
        optimizer = ta.Adam(model.parameters(), 1e-3)
        values = []
        for batch in list(ta.batches(x, 32, dtype=dtype))[:100]:
            optimizer.zero_grad()
            if loss == "mse":
                L = ta.mse_loss(model(batch), batch)
            else:
                L = ta.bce_with_logits_loss(model.before_sigmoid(batch), batch)
            L.backward()
            optimizer.step()
            values.append(L.item())
        assert values[-1] < 0.8 * values[0]
        return [p.data for p in model.parameters()]


def apart(ours, theirs):
    """The largest difference of parameters, relative to the largest weight of its tensor."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs))


@pytest.mark.parametrize("dtype, hidden, allowed", [(np.float64, "relu", 1e-9), (np.float32, "tanh", 1e-4)])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_hundred_steps_of_a_deep_model(dtype, hidden, allowed, loss, rng):
    """Small differences grow in training, so the bounds are wider: they are on the weights, relative to the largest."""
    x = mnist_or_noise(rng)
    ours, theirs = (hundred_steps(which, x, dtype, loss, hidden) for which in ("fast", "reference"))
    assert apart(ours, theirs) <= allowed


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_hundred_steps_with_relu_in_float32(loss, rng):
    """In float32 a unit can lie so near its kink that the last bit decides whether it is on; from then on runs part.

    Whether that happens depends on the processor. Where it does, the definition parts likewise from itself if its first
    weights are changed by one rounding; the kernels must not go further than that.
    """
    x = mnist_or_noise(rng)
    ours, theirs = (hundred_steps(which, x, np.float32, loss, "relu") for which in ("fast", "reference"))
    distance = apart(ours, theirs)
    if distance > 1e-4:
        bumped = (hundred_steps("reference", x, np.float32, loss, "relu", 1 + sign * 2**-23) for sign in (1, -1))
        assert distance <= 2 * max(apart(other, theirs) for other in bumped)


def mnist_or_noise(rng):
    """3200 images: MNIST's first if the files are here, else blobs."""
    if os.environ.get("TINYAE_DATA"):
        (x, _), _ = ta.datasets.load_mnist()
        return x[:3200].reshape(3200, 784).astype(np.float64)
    centres = rng.random((10, 784))
    return np.clip(centres[rng.integers(10, size=3200)] + 0.1 * rng.normal(size=(3200, 784)), 0, 1)
