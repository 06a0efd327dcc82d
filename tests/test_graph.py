"""A captured step on a device is a graph: the same numbers to the last bit, nothing frozen that should change.

On a machine without a GPU the device is a stand-in, whose graphs have a CUDA graph's semantics: calls with the addresses
and constants that they were noted with.
"""

import contextlib
import gc
import weakref

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import matmul_precision
from tinyae.errors import BackendError, DtypeError
from tinyae.optim import make_optimizer

LOSSES = {"mse": ta.mse_loss, "bce": ta.bce_with_logits_loss}


class Training:
    """A model on a device, its optimizer, and the usual step; with chance, and statistics that are kept."""

    def __init__(self, device, optimizer="adam", loss="mse", dtype="float32", chance=False, norm=False):
        ta.manual_seed(0)
        own = [ta.BatchNorm(12)] if norm else []
        own += [ta.Dropout(0.3), ta.GaussianNoise(0.1)] if chance else []
        end = None if loss == "bce" else "sigmoid"
        layers = [ta.Dense(30, 12, "relu"), *own, ta.Dense(12, 5), ta.Dense(5, 30, end)]
        self.model = ta.Sequential(*layers).astype(dtype).to(device.name)
        self.optimizer = make_optimizer(optimizer, self.model.parameters())
        self.loss = LOSSES[loss]

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), x)
        loss.backward()
        self.optimizer.step()
        return loss

    def numbers(self):
        """Everything that a step changes."""
        tensors = [tensor for _, tensor in self.model.named_tensors()]
        arrays = [array for state in self.optimizer.state for array in state.values()]
        arrays += [t.data for t in tensors] + [t.grad for t in tensors if t.grad is not None]
        return self.optimizer.t, [to_host(array).tobytes() for array in arrays]


def to_host(array):
    return ta.backend.backend_of(array).to_host(array)


def batches(device, n, size=8, dtype="float32"):
    """n tensors (size, 30) on the device, no two alike."""
    rng = np.random.default_rng(1)
    return [ta.Tensor(rng.random((size, 30)), dtype=dtype).to(device.name) for _ in range(n)]


def graphs(captured):
    """The graphs of a captured step that were checked."""
    found = [p for p in captured._programs.values() if p is not None and p.graph is not None]
    assert captured.reason is None and all(program.is_checked for program in found)
    return found


def alike(device, xs=None, steps=7, between=lambda i, training: None, **options):
    """Take the same steps as they are written and captured; both draw from generators with the same seed."""
    plain, other = Training(device, **options), Training(device, **options)
    captured, results = ta.capture(other.step), []
    xs = xs or batches(device, steps, dtype=options.get("dtype", "float32"))
    for training, step in ((plain, plain.step), (other, captured)):
        ta.manual_seed(5)
        results.append([])
        for i, x in enumerate(xs):
            between(i, training)
            results[-1].append((step(x).numpy().tobytes(), *training.numbers()))
    for i, (ours, theirs) in enumerate(zip(*results)):
        assert ours == theirs, f"step {i}"
    return captured


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "momentum", "adagrad", "rmsprop", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits(device, optimizer, dtype):
    assert len(graphs(alike(device, optimizer=optimizer, dtype=dtype))) == 1


def test_the_same_bits_from_logits(device):
    assert graphs(alike(device, loss="bce"))


def test_random_numbers_go_on(device):
    """A graph holds where the counter is, not the count: each repetition has a mask and noise of its own."""
    assert graphs(alike(device, chance=True))


def test_running_statistics_go_on(device):
    assert graphs(alike(device, norm=True))


def test_random_numbers_after_steps_of_others(device):
    """Numbers that were drawn elsewhere count too."""

    def between(i, training):
        if i in (4, 6):
            ta.context.current_generator().next_step("dropout")
        if i == 8:
            ta.manual_seed(9)

    captured = alike(device, chance=True, steps=12, between=between)
    assert graphs(captured)


def test_a_new_learning_rate_counts(device):
    def between(i, training):
        if i in (2, 3, 5):  # also where the graph is recorded
            training.optimizer.lr *= 0.5

    assert graphs(alike(device, steps=8, between=between))


def test_loaded_weights_and_state_count(device):
    def between(i, training):
        if i == 3:
            training.kept = training.model.state_dict(), training.optimizer.state_dict()
        if i == 6:
            training.model.load_state_dict(training.kept[0])
            training.optimizer.load_state_dict(training.kept[1])

    assert graphs(alike(device, steps=12, between=between))


def test_each_size_of_batch_has_a_graph_of_its_own(device):
    large, small = batches(device, 6), batches(device, 6, size=3)
    captured = alike(device, xs=[x for pair in zip(large, small) for x in pair])
    assert len(graphs(captured)) == 2


def test_evaluation_mode_is_not_frozen(device):
    training = Training(device, chance=True)
    predict = ta.capture(training.model)
    xs = batches(device, 8)
    for x in xs[:4]:
        predict(x)
    assert graphs(predict)
    training.model.eval()
    with ta.no_grad():
        for x in xs[4:]:
            assert predict(x).numpy().tobytes() == training.model(x).numpy().tobytes()


def test_labels_in_a_captured_step(device):
    """Integers on the device pass as they are."""
    rng = np.random.default_rng(0)

    def make():
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(6, 5)).to(device.name)
        optimizer = ta.SGD(model.parameters(), 0.5)

        def step(x, t):
            optimizer.zero_grad()
            loss = ta.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    (ours, step), (theirs, plain) = make(), make()
    captured = ta.capture(step)
    for _ in range(6):
        x = ta.Tensor(rng.normal(size=(9, 6)), dtype="float32").to(device.name)
        t = ta.Tensor(rng.integers(0, 5, 9)).to(device.name)
        assert captured(x, t).numpy() == plain(x, t).numpy()
    assert graphs(captured)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(ours.parameters(), theirs.parameters()))


# ---------------------------------------------------------------- made beforehand


def test_an_example_makes_the_graph_and_changes_nothing(device):
    plain, other = (Training(device, chance=True, norm=True) for _ in range(2))
    ta.manual_seed(5)
    before = other.numbers()
    captured = ta.capture(other.step, batches(device, 1)[0])
    assert other.numbers() == before and len(graphs(captured)) == 1
    assert ta.context.current_generator().state_dict()["steps"]["dropout"] == 0
    xs = batches(device, 5)
    ours = [captured(x).numpy() for x in xs]
    ta.manual_seed(5)
    assert [plain.step(x).numpy() for x in xs] == ours
    assert plain.numbers() == other.numbers()


def test_an_example_on_the_cpu_is_looked_at_only(rng):
    x = ta.Tensor(rng.random((4, 30), dtype=np.float32))
    training = Training(ta.get_backend("numpy"))
    before = training.numbers()
    captured = ta.capture(training.step, x)
    assert training.numbers() == before and captured.reason is None
    with pytest.raises(DtypeError, match="expected Tensors"):
        ta.capture(training.step, 3)


# ---------------------------------------------------------------- what cannot be repeated


@contextlib.contextmanager
def refused(reason):
    with pytest.warns(ta.CaptureWarning, match=reason):
        yield


def test_reading_a_value_is_refused_and_the_step_runs(device):
    training = Training(device)

    def step(x):
        loss = training.step(x)
        loss.item()
        return loss

    captured, plain = ta.capture(step), Training(device)
    xs = batches(device, 5)
    with refused("reads a number"):
        ours = [captured(x).numpy() for x in xs]
    assert captured.reason is not None and ours == [plain.step(x).numpy() for x in xs]
    assert training.numbers() == plain.numbers()


def test_an_array_from_the_host_is_refused(device):
    training, scale = Training(device), np.full((8, 30), 0.5, np.float32)

    def step(x):
        return training.step(x * ta.Tensor(scale).to(device.name))

    captured = ta.capture(step)
    with refused("from the host"):
        for x in batches(device, 3):
            captured(x)


def test_what_the_host_alone_counts_is_found_by_the_comparison(device):
    training, calls = Training(device), []

    def step(x):
        calls.append(1)
        return training.step(x * float(len(calls)))

    captured = ta.capture(step)
    with refused("numbers differ"):
        for x in batches(device, 4):
            captured(x)


@pytest.mark.parametrize("error", [BackendError("CUDA reports something"), NotImplementedError("not in a capture")])
def test_a_capture_that_cuda_refuses(device, error, monkeypatch):
    """It fails when the step has run in Python to its end: nothing of that may be counted."""

    def refuse(function, pool=None):
        captured = type(device).capture(device, function)
        assert captured
        raise error

    monkeypatch.setattr(device, "capture", refuse)
    plain, other = (Training(device, chance=True) for _ in range(2))
    results, xs = [], batches(device, 6)
    captured = ta.capture(other.step)
    for training, step in ((plain, plain.step), (other, captured)):
        ta.manual_seed(5)
        if training is other:
            with refused(f"cannot be captured .{error}"):
                results.append([(step(x).numpy(), *training.numbers()) for x in xs])
        else:
            results.append([(step(x).numpy(), *training.numbers()) for x in xs])
    assert results[0] == results[1]


def test_operands_on_two_devices_are_refused(device):
    training = Training(device)
    captured = ta.capture(lambda x, y: training.step(x))
    with pytest.raises(BackendError, match="on the backends"):
        captured(batches(device, 1)[0], ta.Tensor(np.zeros((8, 30), np.float32)))


def test_without_arguments_there_the_step_runs_as_it_is(device):
    training, (x,) = Training(device), batches(device, 1)
    captured = ta.capture(lambda: training.step(x))
    with refused("was given no tensor there"):
        for _ in range(3):
            captured()
    assert training.optimizer.t == 3


# ---------------------------------------------------------------- what would be written over


def test_a_gradient_that_somebody_keeps_is_not_written_over(device):
    training = Training(device)
    captured = ta.capture(training.step)
    xs = batches(device, 9)
    for x in xs[:4]:
        captured(x)
    assert graphs(captured)
    kept = training.model.parameters()[0].grad
    values = to_host(kept).copy()
    for x in xs[4:]:
        captured(x)
    assert np.array_equal(to_host(kept), values)


def test_results_are_in_memory_of_their_own(device):
    training = Training(device)
    captured = ta.capture(training.step)
    losses = [captured(x) for x in batches(device, 6)]
    assert len({loss.numpy().item() for loss in losses}) == 6


def test_another_precision_makes_another_graph(device):
    training = Training(device)
    captured = ta.capture(training.step)
    xs = batches(device, 8)
    for x in xs[:4]:
        captured(x)
    token = matmul_precision.set("tf32")
    try:
        for x in xs[4:]:
            captured(x)
    finally:
        matmul_precision.reset(token)
    assert len(graphs(captured)) == 2


def test_a_graph_is_freed_with_its_step(device):
    training = Training(device)
    captured = ta.capture(training.step)
    for x in batches(device, 4):
        captured(x)
    program = weakref.ref(graphs(captured)[0])
    del captured
    gc.collect()
    assert program() is None
