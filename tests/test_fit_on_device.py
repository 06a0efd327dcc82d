"""``fit`` on a device: the data, their order and the losses live there, the steps are graphs, and little is read."""

import math
import signal
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae import steps
from tinyae.backend import backend_of
from tinyae.clipping import clip_on_device
from tinyae.errors import TrainingError

from .conftest import made, quick

READS = 5  # an epoch's: losses, held-out loss, finite weights?, gradients' norms, variances of the outputs


class LooksAtGradients(ta.Callback):
    def on_gradients(self, batch):
        assert self.trainer.optimizer.params[0].grad is not None


def trained(place, x, seed=0, model=made, epochs=3, **options):
    """A model trained there, and its history."""
    model = model(seed)
    model.to(getattr(place, "name", place))
    options = {"batch_size": 8, "validation_data": x[:20], **options}
    return model, quick(model, x, epochs, **options)


def to_host(array):
    return backend_of(array).to_host(array)


def near(ours, theirs):
    assert np.allclose(ours, theirs, rtol=1e-4), (ours, theirs)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize("batch_size", [8, 50, 7, 25])
def test_the_same_training_as_on_the_cpu(device, images, optimizer, batch_size):
    """With dropout and noise, held-out data, and a last batch that is smaller."""
    options = {"optimizer": optimizer, "batch_size": batch_size}
    (ours, there), (theirs, here) = (trained(place, images, **options) for place in (device, "numpy"))
    near(there["loss"], here["loss"])
    near(there["val_loss"], here["val_loss"])
    for name, norm in here["gradients"][-1].items():
        near(there["gradients"][-1][name], norm)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert np.allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_the_same_bits_as_steps_that_are_no_graphs(device, images, monkeypatch):
    def kept(**options):
        model, history = trained(device, images, **options)
        return [p.numpy().tobytes() for p in model.parameters()], history["loss"], history["val_loss"]

    options = {"callbacks": [ta.CosineDecay()], "regularizers": [ta.L2(1e-3)], "epochs": 4}
    graphs = kept(**options)
    monkeypatch.setattr(steps, "why_not_repeated", lambda trainer: "for the sake of comparison")
    with pytest.warns(ta.CaptureWarning, match="for the sake of comparison"):
        assert kept(**options) == graphs


def test_the_steps_are_graphs_and_launched_by_the_host_alone(device, images, monkeypatch):
    """After the first epoch Python runs no step any more: also the last, smaller batch has a graph."""
    seen = []
    step = steps.ResidentSteps._step

    def noted(self, size):
        seen.append((self.trainer.epoch, size))
        step(self, size)

    monkeypatch.setattr(steps.ResidentSteps, "_step", noted)
    trained(device, images, epochs=4)
    assert seen == [(0, 8), (0, 8), (0, 2), (1, 2)]  # rehearsed and recorded, of 50 examples in batches of 8


@pytest.mark.parametrize("epochs", [1, 4])
@pytest.mark.parametrize("options", [{}, {"regularizers": [ta.L1(1e-4)]}, {"callbacks": [ta.EarlyStopping(9)]}])
def test_an_epoch_reads_no_more_than_it_says(device, images, epochs, options):
    before = [device.reads]

    class Note(ta.Callback):
        def on_train_begin(self):
            before.append(device.reads)

        def on_train_end(self):
            before.append(device.reads)

    options = {**options, "callbacks": [*options.get("callbacks", []), Note()]}
    silent = getattr(device, "silent_reads", 0)  # those that the backend does not count; the stand-in sees them
    trained(device, images, epochs=epochs, **options)
    assert before[2] - before[1] == READS * epochs
    assert getattr(device, "silent_reads", 0) == silent


def test_a_callback_that_asks_for_the_loss_gets_it(device, images):
    class Note(ta.Callback):
        def __init__(self):
            self.losses = []

        def on_batch_end(self, batch, logs):
            self.losses.append(logs["loss"])

    there, here = Note(), Note()
    trained(device, images, callbacks=[there])
    trained("numpy", images, callbacks=[here])
    near(there.losses, here.losses)
    assert len(there.losses) == 3 * 7


def test_a_progress_bar_reads_at_its_own_pace(device, images):
    logs = steps.LossOnDemand(lambda: 1 / 0)
    assert dict(logs) == {}
    with pytest.raises(KeyError):
        logs["other"]
    with pytest.raises(ZeroDivisionError):
        logs["loss"]


@pytest.mark.parametrize("clip", [ta.ClipNorm(0.01), ta.ClipNorm(1e9), ta.ClipValue(1e-3)])
def test_clipping_is_a_part_of_the_graph(device, images, clip):
    options = {"callbacks": [clip], "optimizer": "sgd", "epochs": 4}
    (ours, there), (theirs, here) = (trained(place, images, **options) for place in (device, "numpy"))
    near(there["loss"], here["loss"])
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert np.allclose(to_host(a.grad), b.grad, atol=1e-5)


def test_gradients_that_are_no_numbers_are_not_scaled(device):
    p = ta.Tensor(np.ones(3), dtype="float32", requires_grad=True).to(device.name)
    for bad in (math.nan, math.inf):
        p.grad = device.asarray(np.array([1, bad, 3], np.float32))
        clip_on_device([p], 0.5)
        assert np.array_equal(to_host(p.grad), np.array([1, bad, 3], np.float32), equal_nan=True)
    clip_on_device([], 0.5)


def test_labels_live_there_too(device, rng):
    x, t = rng.random((40, 6), dtype=np.float32), rng.integers(0, 4, 40)

    def train(place):
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(6, 16, "relu"), ta.Dense(16, 4)).to(place)
        return ta.fit(model, x, t, 4, 8, loss="cross_entropy", progress=False)

    near(train(device.name)["loss"], train("numpy")["loss"])


def test_float64_and_data_of_another_type(device, rng):
    x = rng.random((30, 8, 8, 1))  # float64 data, float32 model, and the other way round
    near(trained(device, x)[1]["loss"], trained("numpy", x)[1]["loss"])

    def wide(seed):
        return made(seed).astype("float64")

    near(
        trained(device, x.astype("float32"), model=wide)[1]["loss"],
        trained("numpy", x.astype("float32"), model=wide)[1]["loss"],
    )


def test_the_device_is_left_alone_by_a_training_of_one_batch(device, images):
    near(trained(device, images, batch_size=64)[1]["loss"], trained("numpy", images, batch_size=64)[1]["loss"])


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_no_number_ends_the_training_at_its_batch(device, images):
    model = made()
    model.to(device.name)
    before = [p.numpy().copy() for p in model.parameters()]
    with pytest.raises(TrainingError, match=r"loss became (nan|inf) in step \d+ \(epoch 1, batch [2-7]\)"):
        quick(model, images, 2, batch_size=8, optimizer="sgd", lr=1e30)
    assert all(np.array_equal(p.numpy(), b) for p, b in zip(model.parameters(), before))


def test_ctrl_c_ends_the_batch_in_hand(device, images):
    class Interrupt(ta.Callback):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 1 and batch == 3:
                signal.raise_signal(signal.SIGINT)

    model, history = trained(device, images, callbacks=[Interrupt()])
    assert history.interrupted and len(history) == 1
    assert all(math.isfinite(p.numpy().sum()) for p in model.parameters())


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"loss": lambda p, t: ta.mse_loss(p, t)}, "a function of your own"),
        ({"callbacks": [LooksAtGradients()]}, "looks at the gradients"),
    ],
)
def test_what_cannot_be_a_graph_runs_and_says_so_once(device, images, options, reason):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, there = trained(device, images, **options)
    assert [reason in str(w.message) for w in caught] == [True]
    near(there["loss"], trained("numpy", images, **options)[1]["loss"])


def test_a_capture_that_cuda_refuses(device, images, monkeypatch):
    _, graphs = trained(device, images)

    def refuse(function, pool=None):
        type(device).capture(device, function)
        raise NotImplementedError("not in a capture")

    monkeypatch.setattr(device, "capture", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, plain = trained(device, images)
    assert ["the step cannot be captured" in str(w.message) for w in caught] == [True]
    assert plain["loss"] == graphs["loss"]


def test_data_too_large_for_the_device_are_brought_batch_by_batch(device, images, monkeypatch):
    monkeypatch.setattr(steps, "at_hand", lambda place: 1000)
    with pytest.warns(ta.CaptureWarning, match="the data take .* GiB"):
        _, there = trained(device, images)
    near(there["loss"], trained("numpy", images)[1]["loss"])


def test_data_that_are_read_piece_by_piece(device, images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.warns(ta.CaptureWarning, match="piece by piece"):
        _, there = trained(device, mapped)
    near(there["loss"], trained("numpy", images)[1]["loss"])


def test_lbfgs_works_on_the_host(device, images):
    def plain(seed):
        ta.manual_seed(seed)
        return ta.Autoencoder(
            ta.Sequential(ta.Flatten(), ta.Dense(64, 4)), ta.Sequential(ta.Dense(4, 64), ta.Reshape(8, 8, 1))
        )

    options = {"optimizer": "lbfgs", "model": plain, "batch_size": None, "epochs": 2}
    with pytest.warns(ta.CaptureWarning, match="works on the host"):
        _, there = trained(device, images, **options)
    assert np.allclose(there["loss"], trained("numpy", images, **options)[1]["loss"], rtol=1e-2)


def test_the_definitions_are_used_where_they_are_asked_for(device, images):
    with ta.use_kernels("reference"):
        near(trained(device, images)[1]["loss"], trained("numpy", images)[1]["loss"])
