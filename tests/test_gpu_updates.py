"""The optimizers' kernels for the GPU against their definitions, on the emulated device."""

import copy
import pickle
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import NUMPY
from tinyae.context import observing, use
from tinyae.kernels import gpu_updates
from tinyae.kernels.gpu_updates import MOST
from tinyae.observer import Observer

from .test_kernels_optim import OPTIMIZERS
from .twins import TYPES, near

DEVICE = NUMPY  # the fixture below sets it
SHAPES = [(7, 5), (1,), (), (3, 4, 5), (31,), (1, 32), (33, 1), (40, 9), (513,), (1025,)]


@pytest.fixture(autouse=True)
def each_device(device):
    """The stand-in, and a GPU where there is one, as DEVICE."""
    global DEVICE
    DEVICE = device


class Calls(list):
    """The launches that were made, as (file, kernel, ...)."""

    def kernels(self):
        return [call[1] for call in self]


@pytest.fixture
def launches(device, monkeypatch):
    """All launches of the test, in order."""
    calls, launch = Calls(), device.launch

    def noted(*arguments):
        calls.append(arguments)
        launch(*arguments)

    monkeypatch.setattr(device, "launch", noted)
    return calls


def parameter(array, place=None):
    """A leaf on that backend, or on the device."""
    return ta.Tensor((place or DEVICE).asarray(array), requires_grad=True)


def on_both(train):
    """What a function of a backend gives: by kernels on the device, and by the definitions on the host."""
    with ta.use_kernels("reference"), np.errstate(all="ignore"):
        theirs = train(NUMPY)
    return train(DEVICE), theirs


def slope(tensor, target, noise):
    """A gradient with many minima, in the tensor's type, on the host."""
    theta = tensor.numpy().astype(float)
    return np.asarray(np.sin(3 * theta) + theta - target + noise, tensor.dtype)


def counted(optimizer):
    """How many updates the device has counted."""
    return DEVICE.to_host(optimizer.places.numbers.array)[0]


def train(place, make, dtype, steps=100, shapes=SHAPES, missing=True, disturb=lambda step, tensors, optimizer: None):
    """The parameters after so many steps; some get no gradient in some steps.

    On the host by the definitions, and on the device by kernels.
    """
    rng = np.random.default_rng(3)
    tensors = [parameter(rng.normal(size=shape).astype(dtype), place) for shape in shapes]
    targets = [rng.normal(size=shape) for shape in shapes]
    optimizer, done = make(tensors), []

    def update(*arguments):
        done.append(gpu_updates.update_all(*arguments))
        return done[-1]

    with (
        ta.use_kernels("reference" if place is NUMPY else "fast"),
        mock.patch.object(DEVICE, "twin", lambda of: update),
    ):
        for step in range(steps):
            for i, (tensor, target) in enumerate(zip(tensors, targets)):
                g = slope(tensor, target, 0.1 * rng.normal(size=target.shape))
                tensor.grad = None if missing and step % 10 == 5 and i % 3 == 1 else place.asarray(g)
            disturb(step, tensors, optimizer)
            optimizer.step()
            if place is DEVICE and done[-1]:
                assert counted(optimizer) == optimizer.t == step + 1
    assert len(done) == (steps if place is DEVICE else 0)
    return [tensor.numpy() for tensor in tensors], sum(done)


def agree(make, dtype, **options):
    """Both ways, compared; how often the kernel took the step."""
    (ours, done), (theirs, _) = (train(place, make, dtype, **options) for place in (DEVICE, NUMPY))
    for fast, plain in zip(ours, theirs):
        assert np.isfinite(plain).all()
        near(fast, plain, 1)
    return done


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype):
    """100 steps of many shapes. Adding up steps adds up roundings, but all steps shrink towards a minimum."""
    assert agree(OPTIMIZERS[name], dtype) == 100


@pytest.mark.parametrize("name", ["sgd", "nesterov, decay", "adam, decoupled decay"])
def test_more_parameters_than_a_launch_takes(name, launches):
    shapes = [(1 + 37 * i % 600,) for i in range(2 * MOST + 5)]
    assert agree(OPTIMIZERS[name], np.float64, steps=12, shapes=shapes, missing=False) == 12
    assert len(launches) == 3 * 12 + 1
    assert [call[7] for call in launches[1:4]] == [False, False, True]  # the last one counts


@pytest.mark.parametrize("dtype", TYPES)
def test_blocks_that_work_on_several_chunks(dtype, monkeypatch):
    monkeypatch.setattr(gpu_updates, "MOST_BLOCKS", 3)
    assert agree(OPTIMIZERS["adam"], dtype, steps=5) == 5


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("odd", [1, 2, 3])
@pytest.mark.parametrize("which", ["theta", "g", "m", "v"])
def test_an_array_at_an_odd_place(which, odd, dtype, rng):
    """A view that begins at no multiple of 16 bytes is read number by number; its neighbours stay as they are."""
    values, g = rng.normal(size=(2, 1030)).astype(dtype)

    def train(place):
        def placed(name, numbers):
            start = odd if name == which else 0
            memory[name] = place.asarray(np.concatenate([np.full(start, 9, dtype), numbers, np.full(2, 9, dtype)]))
            return memory[name][start:-2]

        memory, w = {}, parameter(values, place)
        optimizer = ta.Adam([w], 0.1)
        w.data = placed("theta", values)
        optimizer.state = [{name: placed(name, np.zeros_like(values)) for name in ("m", "v")}]
        for _ in range(3):
            w.grad = placed("g", g)
            optimizer.step()
        odd_one = place.to_host(memory[which])
        assert (odd_one[:odd] == 9).all() and (odd_one[-2:] == 9).all()
        return [w.numpy(), *(place.to_host(array) for array in optimizer.state[0].values())]

    for ours, theirs in zip(*on_both(train)):
        near(ours, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nan_and_infinity_go_where_they_go_by_definition(name):

    def train(place):
        w = parameter(np.array([1.0, np.inf, 2.0, np.nan, 3.0, -1.0, 0.0]), place)
        optimizer = OPTIMIZERS[name]([w])
        for g in ([np.nan, 1, np.inf, 1, -np.inf, 0, 0], [1.0] * 7):
            w.grad = place.asarray(np.array(g))
            optimizer.step()
        return w.numpy()

    near(*on_both(train))


def test_twice_the_same_to_the_last_bit():
    first, second = (train(DEVICE, OPTIMIZERS["adam"], np.float32, steps=3)[0] for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second))


def test_a_model_trains_alike_on_both():
    x = np.random.default_rng(0).random((20, 6), np.float32)

    def train(place):
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(6, 5, "tanh"), ta.Dense(5, 6, "sigmoid")).to(place)
        optimizer = ta.Adam(model.parameters(), 0.05, weight_decay=0.01)
        batch = ta.Tensor(place.asarray(x))
        for _ in range(10):
            optimizer.zero_grad()
            ta.mse_loss(model(batch), batch).backward()
            optimizer.step()
        return np.concatenate([p.numpy().ravel() for p in model.parameters()])

    near(*on_both(train))


# ---------------------------------------------------------------- what stands on the device


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adagrad", "rmsprop", "adam"])
def test_an_optimizer_notices_what_was_changed(name, launches):
    """State loaded, weights replaced, another learning rate: the same numbers, written once for each change."""

    def disturb(step, tensors, optimizer):
        if step == 20:
            optimizer.load_state_dict(optimizer.state_dict())
        if step == 30:
            tensors[0].data = tensors[0].data * 0.5
        if step == 35:
            optimizer.restore(optimizer.snapshot())
        if step == 40:
            optimizer.lr = 0.001
        if step == 42:
            optimizer.lr *= 1.5

    assert agree(OPTIMIZERS[name], np.float64, steps=50, disturb=disturb) == 50
    assert launches.kernels().count("set_numbers") == 3  # at the beginning, and for each learning rate


def test_the_count_goes_back_with_the_optimizer():
    """What is restored or loaded has another count: so have the corrections of the next step."""

    def train(place):
        w, saved = parameter(np.linspace(-1, 1, 9), place), []
        optimizer = ta.Adam([w], 0.1)
        for step in range(12):
            w.grad = place.asarray(np.cos(3.0 * step + np.arange(9.0)))
            if step == 4:
                saved = [optimizer.snapshot(), optimizer.state_dict()]
            if step == 6:
                optimizer.restore(saved[0])
            if step == 9:
                optimizer.load_state_dict(saved[1])
            optimizer.step()
            if place is DEVICE:
                assert counted(optimizer) == optimizer.t
        assert optimizer.t == 7
        return w.numpy()

    near(*on_both(train), floor=1)


def test_in_a_steady_state_there_is_one_launch(launches):
    train(DEVICE, OPTIMIZERS["adam"], np.float32, steps=6, missing=False)
    assert launches.kernels() == ["set_numbers"] + ["adam"] * 6


def test_the_numbers_stay_where_they_are(rng):
    """Captured graphs know their address."""
    w = parameter(rng.normal(size=9))
    optimizer = ta.Adam([w], 0.1)
    arrays = []
    for step in range(4):
        w.grad = DEVICE.asarray(np.ones(9))
        if step == 2:
            w.data = w.data + 1
        if step == 3:
            optimizer.restore(optimizer.snapshot())
        optimizer.step()
        arrays.append(optimizer.places.numbers.array)
    assert all(array is arrays[0] for array in arrays)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_has_numbers_of_its_own(again, rng):
    w = parameter(rng.normal(size=9))
    optimizer = ta.Adam([w], 0.1)
    for _ in range(3):
        w.grad = DEVICE.asarray(np.ones(9))
        optimizer.step()
    other = again(optimizer)
    assert other.places is None
    for each in (optimizer, other, optimizer):
        each.params[0].grad = DEVICE.asarray(np.ones(9))
        each.step()
    assert (counted(optimizer), counted(other)) == (5, 4)


def test_a_model_that_moves_between_devices(rng):
    """Each device has numbers of its own, and both are right."""
    values, g = rng.normal(size=(2, 40))
    moved, plain = parameter(values), parameter(values, NUMPY)
    ours, theirs = ta.Adam([moved], 0.1), ta.Adam([plain], 0.1)
    for place in (DEVICE, DEVICE, NUMPY, NUMPY, DEVICE):
        if moved.backend is not place:
            moved.data, moved.backend = place.asarray(moved.numpy().copy()), place
        moved.grad, plain.grad = moved.backend.asarray(g), g
        ours.step()
        theirs.step()
    near(moved.numpy(), plain.numpy())
    assert counted(ours) == 5


# ---------------------------------------------------------------- a captured step


class Program(Observer):
    """As much of a captured step as an update needs: what is called each time, and the launches that are repeated."""

    def __init__(self, optimizer, launches):
        self.actions = []
        with use(observing, self):
            before = len(launches)
            optimizer.step()
            self.launches = [call for call in launches[before:] if call[1] != "set_numbers"]

    def do(self, function, arguments):
        self.actions.append((function, arguments))
        with use(observing, None):
            function(*arguments)

    def repeat(self):
        for function, arguments in self.actions:
            function(*arguments)
        for launch in self.launches:
            DEVICE.launch(*launch)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_launch_that_is_repeated_as_it_is(name, launches):
    """With another learning rate in between, and ordinary steps, whose gradients are other arrays."""

    def train(place):
        rng = np.random.default_rng(2)
        tensors = [parameter(rng.normal(size=size), place) for size in (5, 33, 600)]
        optimizer, program, fixed = OPTIMIZERS[name](tensors), None, []
        for step in range(20):
            gradients = [rng.normal(size=tensor.size) for tensor in tensors]
            if step == 12:
                optimizer.lr *= 0.5
            if place is DEVICE and step in (4, 5, 6, 7, 10, 12, 13, 16, 17, 19):
                for array, g in zip(fixed, gradients):
                    array[...] = DEVICE.asarray(g)
                program.repeat()
            else:
                for tensor, g in zip(tensors, gradients):
                    tensor.grad = place.asarray(g)
                if place is DEVICE and step == 3:
                    fixed = [tensor.grad for tensor in tensors]
                    program = Program(optimizer, launches)
                else:
                    optimizer.step()
            if place is DEVICE:
                assert counted(optimizer) == optimizer.t == step + 1
        return [tensor.numpy() for tensor in tensors]

    for ours, theirs in zip(*on_both(train)):
        near(ours, theirs, 1)


def test_prepared_for_a_capture_there_is_nothing_to_write(launches):
    w = parameter(np.ones(9))
    optimizer = ta.Adam([w], 0.1)
    w.grad = DEVICE.asarray(np.ones(9))
    optimizer.step()
    optimizer.lr = 0.2
    optimizer.places.prepare(optimizer)
    launches.clear()
    optimizer.step()
    assert launches.kernels() == ["adam"] and counted(optimizer) == 2


# ---------------------------------------------------------------- what is left to the definitions


@pytest.mark.parametrize("name", ["sgd, decay", "momentum", "adam"])
def test_gradients_in_other_layouts_are_left_to_the_definition(name):
    def disturb(step, tensors, optimizer):
        if step % 3 == 0 and tensors[0].grad is not None:
            tensors[0].grad = tensors[0].backend.xp.asfortranarray(tensors[0].grad)

    assert agree(OPTIMIZERS[name], np.float64, steps=30, disturb=disturb) == 20


def test_parameters_of_two_types_are_left_to_the_definition():
    a, b = parameter(np.ones((9, 9))), parameter(np.ones(9, np.float32))
    optimizer = ta.Adam([a, b], 0.1)
    for _ in range(2):
        a.grad, b.grad = DEVICE.asarray(np.ones((9, 9))), DEVICE.asarray(np.ones(9, np.float32))
        optimizer.step()
    assert np.allclose(a.numpy(), 0.8) and np.allclose(b.numpy(), 0.8)


def test_a_model_that_changes_its_type_between_steps():
    def disturb(step, tensors, optimizer):
        if step == 5:
            for tensor in tensors:
                tensor.data = tensor.data.astype(np.float64)
                tensor.grad = None if tensor.grad is None else tensor.grad.astype(np.float64)

    (ours, done), (theirs, _) = (
        train(place, OPTIMIZERS["adam"], np.float32, steps=10, disturb=disturb) for place in (DEVICE, NUMPY)
    )
    assert done == 10
    for fast, plain in zip(ours, theirs):
        assert fast.dtype == plain.dtype == np.float64
        near(fast, plain, 1, factor=1e7)  # the first five steps were in float32
