"""The tape as data: every operation with its numbers, its rule and its line, and nothing when no trace is open."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import observing
from tinyae.errors import RangeError


def two_layers():
    ta.manual_seed(0)
    return ta.Sequential(ta.Dense(2, 3, "tanh"), ta.Dense(3, 1, "sigmoid"))


X = np.array([[0.5, -1.0], [1.5, 0.25]], np.float32)
Y = np.array([[1.0], [0.0]], np.float32)


@pytest.fixture(scope="module")
def traced():
    """A step of training, and what a run without a trace leaves behind."""
    model, plain = two_layers(), two_layers()
    optimizer, other = (ta.Adam(m.parameters(), lr=0.1) for m in (model, plain))
    with ta.trace() as tape:
        prediction = model(X)
        loss = ta.mse_loss(prediction, Y)
        loss.backward()
        optimizer.step()
    with ta.use_kernels("reference"):
        bare = ta.mse_loss(plain(X), Y)
        bare.backward()
        other.step()
    return tape, model, loss, plain, bare


def test_the_steps_in_order(traced):
    tape = traced[0]
    names = [(step.phase, step.name) for step in tape.steps()]
    forward = ["affine", "tanh", "affine", "sigmoid", "mse_loss"]
    assert names == [
        *(("forward", name) for name in forward),
        *(("backward", name) for name in reversed(forward)),
        ("update", "Adam"),
    ]
    assert [step.number for step in tape.steps()] == list(range(1, 12))
    assert tape.total == tape.kept == 11 and tape.note == ""


def test_what_a_forward_step_says(traced):
    tape, model, *_ = traced
    first, *_ = tape.steps()
    assert first.symbols == ("X", "W", "b") and first.output_symbol == "Y" and "X W + b" in first.formula
    assert [value.label for value in first.inputs] == ["X", "0.weight", "0.bias"]
    assert [value.kind for value in first.inputs] == ["constant", "leaf", "leaf"]
    assert first.layer == "0" and first.implementation == "definition"
    assert Path(first.file).name == Path(__file__).name and first.code == "prediction = model(X)"
    assert Path(__file__).read_text().splitlines()[first.line - 1].strip() == first.code
    X_, W, b = (value.array for value in first.inputs)
    assert np.array_equal(first.output.array, X_ @ W + b)
    assert (first.output.low, first.output.high) == (first.output.array.min(), first.output.array.max())
    assert W.base is None and not np.shares_memory(W, model.parameters()[0].data)  # a copy, from before the update


def test_names_that_the_user_gave_afterwards(traced):
    labels = [step.output.label for step in traced[0].steps()[:5]]
    assert labels == ["t1", "t2", "t3", "prediction", "loss"]
    assert traced[0].steps()[5].pulls[0].target == "prediction"


def test_the_output_of_one_step_is_the_input_of_the_next(traced):
    steps = traced[0].steps()
    assert all(steps[i].output is steps[i + 1].inputs[0] for i in range(4))


def by_the_rule(forward, gY):
    """What an operation's backward returns, from the numbers that were recorded."""
    saved: list = []
    given = [value.array for value in forward.inputs]
    forward.operation.forward(np, lambda *values: saved.extend(values), *given, **forward.attributes)
    gradients = forward.operation.backward(np, tuple(saved), gY)
    return gradients if isinstance(gradients, tuple) else (gradients,)


def test_every_gradient_is_what_the_rule_says(traced):
    for step in traced[0].steps():
        if step.phase != "backward":
            continue
        forward = traced[0].steps()[step.source - 1]
        assert forward.output is step.output and forward.operation is step.operation
        by_letter = dict(zip(forward.symbols, by_the_rule(forward, step.gradient.array)))
        assert step.pulls
        for pull in step.pulls:
            assert np.array_equal(pull.gradient.array, by_letter[pull.symbol])
            assert pull.rule == step.operation.vjp[pull.symbol]


def test_the_numbers_are_those_of_a_run_without_a_trace(traced):
    _, model, loss, plain, bare = traced
    assert loss.item() == bare.item()
    for traced_one, plain_one in zip(model.parameters(), plain.parameters()):
        assert np.array_equal(traced_one.data, plain_one.data) and np.array_equal(traced_one.grad, plain_one.grad)


def test_an_update_before_and_after(traced):
    tape, model, *_ = traced
    update = tape.steps()[-1].updates[0]
    weight = model.parameters()[0]
    assert update.label == "0.weight" and update.t == 1 and update.parameter() is weight
    assert np.array_equal(update.parameter_after.array, weight.data)
    assert not np.array_equal(update.parameter_before.array, weight.data)
    assert np.array_equal(update.gradient.array, weight.grad) and not update.state_before["m"].array.any()
    assert np.allclose(update.state_after["m"].array, 0.1 * weight.grad) and update.settings["lr"] == 0.1


def test_where_gradients_meet():
    w = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        (ta.tanh(w) * w).sum().backward()
    *_, multiply, tanh = tape.steps()
    assert multiply.pulls[1].target == "w" and multiply.pulls[1].before is None
    pull = tanh.pulls[0]
    assert pull.target == "w" and pull.before is multiply.pulls[1].after
    assert np.array_equal(pull.after.array, pull.before.array + pull.gradient.array)
    assert np.array_equal(pull.after.array, w.grad)


def test_a_tensor_used_twice_by_one_operation():
    x = ta.Tensor(3.0, requires_grad=True)
    with ta.trace() as tape:
        (x * x).backward()
    first, second = tape.steps()[-1].pulls
    assert (first.symbol, second.symbol) == ("X", "Y") and second.before is first.after
    assert second.after.array == 6


def test_a_second_backward_pass_adds_to_the_gradients_that_are_there():
    x = ta.Tensor([3.0], requires_grad=True)
    with ta.trace() as tape:
        (x * 2.0).sum().backward()
        (x * 5.0).sum().backward()
    last = tape.steps()[-1]
    assert last.name == "add to .grad" and last.pulls[0].before.array == 2 and last.pulls[0].after.array == 7


def test_what_is_changed_in_place_is_shown_as_it_was():
    x = ta.Tensor([1.0, 2.0, 3.0])
    with ta.trace() as tape:
        x[1] = 9.0
        x * 2.0
    write, double = tape.steps()
    assert write.inputs[0].array.tolist() == [1, 2, 3] and write.output.array.tolist() == [1, 9, 3]
    assert double.inputs[0].array.tolist() == [1, 9, 3] and double.inputs[0].label == "x"


def test_joined_layers_as_they_run_without_a_trace():
    images = np.random.default_rng(0).random((32, 64), np.float32)
    model = ta.Sequential(ta.Dense(64, 32, "relu"), ta.Dense(32, 64, "sigmoid"))
    with ta.trace(joined=True) as tape:
        ta.mse_loss(model(images), images)
    assert [step.name for step in tape.steps()] == ["dense", "mse_loss"]
    assert tape.steps()[0].symbols == ("X", "W_1", "b_1", "W_2", "b_2")
    assert tape.steps()[0].implementation == "kernels.cpu.Dense"


def test_a_convolutional_model_in_single_operations():
    model = ta.Sequential(
        ta.Conv2D(1, 2, 3, activation="relu"), ta.MaxPool2D(2), ta.UpSampling2D(2), ta.Conv2D(2, 1, 3)
    )
    images = np.random.default_rng(0).random((2, 4, 4, 1), np.float32)
    expected = model(images)
    with ta.trace() as tape:
        found = model(images)
    assert [s.name for s in tape.steps()] == ["conv2d", "relu", "max_pool2d", "upsample_nearest", "conv2d"]
    assert [s.layer for s in tape.steps()] == ["0", "0", "1", "2", "3"]
    assert np.allclose(found.data, expected.data, atol=1e-6)
    assert tape.steps()[0].output.thumbnail.shape == (4, 8)  # two channels of the first image, side by side


def test_a_long_loop_is_bounded_and_says_so():
    x = ta.Tensor([1.0], requires_grad=True)
    with ta.trace(limit=50) as tape:
        y = x
        for _ in range(2_000):
            y = y * 1.0
        y.backward()
    assert (tape.kept, tape.total) == (50, 4_000)
    assert "4000 operations" in tape.note and "ta.trace(skip=50)" in tape.note
    with ta.trace(limit=3, skip=50) as rest:
        for _ in range(60):
            y = y.detach() * 1.0
    assert [step.number for step in rest.steps()] == [51, 52, 53] and "operations 51 to 53" in rest.note


def test_memory_is_bounded():
    big = ta.Tensor(np.ones((300, 300), np.float32))
    with ta.trace(memory=800_000) as tape:
        big * 2.0
        big * 3.0
    first, second = tape.steps()
    assert first.output.array is not None and second.output.array is None
    assert second.output.high == 3 and second.output.thumbnail.shape == (32, 32)


def test_only_the_updates_of_one_weight():
    model = two_layers()
    optimizer, weight = ta.SGD(model.parameters(), lr=0.1), model.parameters()[0]
    with ta.trace(phases="update", watch=[weight]) as tape:
        for _ in range(5):
            optimizer.zero_grad()
            ta.mse_loss(model(X), Y).backward()
            optimizer.step()
    assert tape.total == tape.kept == 5
    assert all([u.parameter() for u in step.updates] == [weight] for step in tape.steps())
    assert [step.updates[0].t for step in tape.steps()] == [1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("ignore::tinyae.failures.CollapseWarning")  # one epoch of nearly nothing
def test_fit_shows_every_step():
    model = two_layers()
    with ta.trace(phases="update") as tape:
        ta.fit(model, X.repeat(16, 0), Y.repeat(16, 0), batch_size=4, epochs=1, lr=1e-4, progress=False)
    assert tape.total == 8  # one epoch of eight batches; without the trace only three would have run in Python


def test_a_captured_step_shows_every_operation():
    model = ta.Sequential(ta.Dense(64, 32, "relu"), ta.Dense(32, 64, "sigmoid"))
    optimizer, ran = ta.SGD(model.parameters(), lr=0.1), []

    @ta.capture
    def step(x):
        ran.append(1)
        optimizer.zero_grad()
        loss = ta.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        return loss

    for images in np.random.default_rng(0).random((6, 32, 64), np.float32):
        step(ta.Tensor(images))
    assert step.reason is None and len(ran) == 3  # from then on it is repeated
    with ta.trace() as tape:
        step(ta.Tensor(images))
    assert len(ran) == 4 and tape.steps()[-1].name == "SGD" and len(tape.steps()) == 11
    step(ta.Tensor(images))
    assert len(ran) == 4


def test_a_trace_and_find_nan_at_the_same_time():
    with ta.trace() as tape, ta.find_nan():
        ta.mse_loss(two_layers()(X), Y).backward()
    assert len(tape.steps()) == 10


def test_a_trace_inside_a_captured_step_makes_it_run_as_it_is_written():
    tapes = []

    @ta.capture
    def step(x):
        with ta.trace() as tape:
            y = ta.relu(x)
        tapes.append(tape)
        return y

    with pytest.warns(ta.CaptureWarning, match="looked at from inside"):
        for _ in range(4):
            step(ta.Tensor(X))
    assert [len(tape.steps()) for tape in tapes] == [1, 1, 1, 1]


def test_nothing_is_told_when_no_trace_is_open():
    with ta.trace() as tape:
        ta.relu(ta.Tensor(X))
    ta.relu(ta.Tensor(X))
    assert observing.get() is None and tape.total == 1


def test_a_trace_does_not_keep_the_tape_alive():
    with ta.trace() as tape:
        y = ta.tanh(ta.Tensor(X, requires_grad=True))
    seen = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert seen() is None and tape.steps()[0].output.array.shape == X.shape
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit": 0}, "limit"),
        ({"phases": "sideways"}, "forward"),
        ({"phases": ()}, "at least one"),
        ({"skip": -1}, "skip"),
    ],
)
def test_refused_settings(settings, words):
    with pytest.raises(RangeError, match=words):
        ta.trace(**settings)


def test_on_a_device_the_same_steps_with_the_same_numbers(device, traced):
    model = two_layers().to(device.name)
    with ta.trace() as tape:
        loss = ta.mse_loss(model(ta.Tensor(X).to(device.name)), ta.Tensor(Y).to(device.name))
        loss.backward()
    expected = traced[0].steps()
    assert [(s.phase, s.name) for s in tape.steps()] == [(s.phase, s.name) for s in expected[:10]]
    for step, other in zip(tape.steps(), expected):
        assert type(step.output.array) is np.ndarray and np.allclose(step.output.array, other.output.array, atol=1e-6)
        for pull, its in zip(step.pulls, other.pulls):
            assert np.allclose(pull.after.array, its.after.array, atol=1e-6)


def test_find_nan_on_a_device(device):
    with pytest.raises(ta.errors.NotFiniteError, match="log at .* 1 NaN of 2"), ta.find_nan():
        ta.Tensor([-1.0, 1.0]).to(device.name).log()
