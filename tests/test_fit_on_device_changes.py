"""``fit`` on a device while callbacks change the model, with data of other kinds, and after errors: the same numbers as
steps that are no graphs, and nothing is left behind."""

import gc
import signal
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae import steps
from tinyae.backend import backend_of
from tinyae.callbacks import Callback
from tinyae.errors import OutOfMemoryError, TrainingError

from .conftest import made, quick
from .test_fit_on_device import near, trained


class Acts(Callback):
    """Calls a function of the trainer at the beginning of an epoch (counted from 1), or at the end of a batch."""

    def __init__(self, action, epoch, batch=None):
        self.action, self.when = action, (epoch, batch)

    def on_epoch_begin(self, epoch):
        if (epoch, None) == self.when:
            self.action(self.trainer)

    def on_batch_end(self, batch, logs):
        if (self.trainer.epoch + 1, batch) == self.when:
            self.action(self.trainer)


def as_without_graphs(device, x, monkeypatch, callbacks=list, **options):
    """The same bits as steps that are no graphs? ``callbacks`` makes them."""

    def result():
        model, history = trained(device, x, callbacks=callbacks(), **options)
        return [p.numpy().tobytes() for p in model.parameters()], history["loss"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # were they no graphs, a warning would say so
        graphs = result()
    with monkeypatch.context() as patch, pytest.warns(ta.CaptureWarning, match="for comparison"):
        patch.setattr(steps, "why_not_repeated", lambda trainer: "for comparison")
        assert result() == graphs


def freeze(trainer):
    for parameter in trainer.model.encoder.parameters():
        parameter.requires_grad = False


CHANGES = {
    "a dropout rate": lambda trainer: setattr(trainer.model.encoder[2], "rate", 0.5),
    "an activation": lambda trainer: setattr(trainer.model.encoder[1], "activation", "tanh"),
    "another layer": lambda trainer: trainer.model.encoder.layers.append(ta.Activation("tanh")),
    "a bias": lambda trainer: setattr(trainer.model.encoder[1], "bias", ta.Tensor([1.0] * 16).to(trainer.place)),
    "frozen layers": freeze,
    "settings": lambda trainer: setattr(trainer.optimizer, "weight_decay", 0.1),
    "another optimizer": lambda trainer: setattr(trainer, "optimizer", ta.SGD(trainer.model.parameters(), 0.5)),
    "a bound": lambda trainer: setattr(trainer.callbacks[1], "limit", 1e-3),
    "a regularizer": lambda trainer: setattr(trainer.regularizers[0], "strength", 0.1),
}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_callback_changes(device, images, change, batch, monkeypatch):
    """Between two epochs, or between two batches."""
    regularizers = [ta.L2(1e-3)]

    def callbacks():
        regularizers[0].strength = 1e-3
        return [Acts(CHANGES[change], 2, batch), ta.ClipNorm(0.1)]

    as_without_graphs(device, images, monkeypatch, callbacks, regularizers=regularizers, epochs=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: trainer.model.astype("float64"),
        lambda trainer: trainer.model.to("numpy" if trainer.place.is_device else "strict"),
    ],
)
def test_a_model_that_is_converted_or_moved_between_epochs(device, images, change, monkeypatch):
    if device.name == "strict":
        as_without_graphs(device, images[:30], monkeypatch, lambda: [Acts(change, 2), Acts(change, 3)], epochs=4)


def test_an_optimizer_that_was_made_before_the_model_was_moved(device, images):
    results = []
    for place in (device.name, "numpy"):
        model = made()
        optimizer = ta.Adam(model.parameters())
        quick(model, images, 1, optimizer=optimizer)
        model.to(place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results.append(quick(model, images, 2, optimizer=optimizer)["loss"])
    near(*results)


def test_methods_that_are_put_on_an_object(device, images, monkeypatch):
    def callbacks():
        acts, callback = Acts(CHANGES["a dropout rate"], 2, 3), Callback()
        callback.on_batch_end = lambda batch, logs: (
            setattr(acts, "trainer", callback.trainer),
            acts.on_batch_end(batch, logs),
        )
        return [callback]

    as_without_graphs(device, images[:30], monkeypatch, callbacks)
    callback = Callback()
    callback.on_gradients = lambda batch: None
    with pytest.warns(ta.CaptureWarning, match="looks at the gradients"):
        trained(device, images[:30], callbacks=[callback])


def test_gradients_that_a_callback_keeps_are_not_written_over(device, images):
    """Then no graph can be used, and in the end that is said."""
    kept = []

    class Keeps(Callback):
        def on_batch_end(self, batch, logs):
            self.gradient = self.trainer.model.encoder[1].weight.grad
            kept.append((self.gradient, device.to_host(self.gradient)))

    with pytest.warns(ta.CaptureWarning, match="finds something changed every time.*somebody keeps"):
        _, history = trained(device, images, callbacks=[Keeps()], epochs=5)
    assert history["loss"] == trained(device, images, epochs=5)[1]["loss"]
    assert all(np.array_equal(device.to_host(gradient), values) for gradient, values in kept)


def test_a_regularizer_of_the_users_own_runs_as_it_is_written(device, images):
    class Growing(ta.L2):
        def penalty(self, weight):
            self.strength *= 1.1
            return super().penalty(weight)

    with pytest.warns(ta.CaptureWarning, match="a regularizer of your own"):
        _, there = trained(device, images[:30], regularizers=[Growing(1e-4)])
    near(there["penalty"], trained("numpy", images[:30], regularizers=[Growing(1e-4)])[1]["penalty"])


def test_a_callback_of_the_users_is_told_the_loss_in_a_plain_dict(device, images):
    seen = []

    class Looks(Callback):
        def on_batch_end(self, batch, logs):
            seen.append((type(logs), logs.get("loss"), "loss" in logs))

    trained(device, images[:30], callbacks=[Looks()], epochs=1)
    assert all(kind is dict and loss > 0 and there for kind, loss, there in seen) and len(seen) == 4


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    "kind",
    [
        lambda x: (x > 0.5).astype(np.uint8),
        lambda x: x > 0.5,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
    ],
)
def test_data_of_other_types_and_layouts(device, images, kind, monkeypatch):
    x = kind(images)
    as_without_graphs(device, x, monkeypatch, epochs=2)
    near(trained(device, x, epochs=2)[1]["val_loss"], trained("numpy", x, epochs=2)[1]["val_loss"])


def test_data_that_are_on_the_device_already(device, images, monkeypatch):
    _, history = trained("numpy", images, epochs=2)
    for x in (device.asarray(images), device.asarray(np.repeat(images, 2, axis=0))[::2]):
        near(trained(device, x, epochs=2)[1]["val_loss"], history["val_loss"])


def test_integer_targets(device, images):
    """As numbers for a loss of ours; for a function of the user's as they are."""

    def train(place, **options):
        model = made().to(place)
        return ta.fit(model, images, (images > 0.5).astype(np.uint8), 2, 8, progress=False, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near(train(device.name)["loss"], train("numpy")["loss"])
    types = set()

    def loss(prediction, target):
        types.add(str(target.dtype))
        return ta.mse_loss(prediction, target)

    with pytest.warns(ta.CaptureWarning, match="may want the targets as they are, uint8"):
        near(train(device.name, loss=loss)["loss"], train("numpy")["loss"])
    assert types == {"uint8"}


# ---------------------------------------------------------------- what goes wrong


def diverge(trainer):
    trainer.optimizer.lr = 1e30


def test_after_a_loss_that_is_no_number_training_can_go_on(device, images):
    model = made().to(device.name)
    optimizer = ta.Momentum(model.parameters(), 0.1)
    ends = []

    class End(Callback):
        def on_epoch_end(self, epoch, logs):
            ends[:] = [p.numpy().tobytes() for p in model.parameters()], optimizer.t

    with pytest.raises(TrainingError, match="epoch 3, batch [45]"):
        quick(model, images, 4, batch_size=8, optimizer=optimizer, callbacks=[End(), Acts(diverge, 3, 3)])
    assert [p.numpy().tobytes() for p in model.parameters()] == ends[0] and optimizer.t == ends[1] == 14
    optimizer.lr = 0.1
    assert np.isfinite(quick(model, images, 2, optimizer=optimizer)["loss"]).all()


def test_ctrl_c_does_not_hide_a_loss_that_was_no_number(device, images, monkeypatch):
    monkeypatch.setattr(Acts, "__module__", "tinyae.tests")  # as one of ours, that does not ask for the loss
    acts = [Acts(diverge, 2, 2), Acts(lambda trainer: signal.raise_signal(signal.SIGINT), 2, 6)]
    model = made().to(device.name)
    with pytest.raises(TrainingError, match="became nan"):
        quick(model, images, 3, batch_size=8, optimizer="sgd", callbacks=acts)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


@pytest.mark.parametrize("nth, counted", [(1, 1), (2, 1), (3, 7)])
def test_an_interrupt_in_the_middle_of_a_step(device, images, nth, counted, monkeypatch):
    """A second Ctrl-C acts at once: in the rehearsal, in the capture, in the rehearsal of the last, smaller batch."""
    step, calls = steps.ResidentSteps._step, []

    def interrupted(self, size):
        step(self, size)
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt

    monkeypatch.setattr(steps.ResidentSteps, "_step", interrupted)
    model = made().to(device.name)
    optimizer = ta.Adam(model.parameters())
    with pytest.raises(KeyboardInterrupt):
        quick(model, images, 2, batch_size=8, optimizer=optimizer)
    assert optimizer.t == counted
    assert quick(model, images, 1, batch_size=8, optimizer=optimizer)["loss"][0] < 0.2


@pytest.mark.parametrize("nth", [1, 2])
def test_memory_that_runs_out_in_a_step(device, images, nth, monkeypatch):
    """In a capture the steps go on without a graph; in a plain step it is told. Afterwards all works."""
    calls, objective = [], steps.ResidentSteps._examples

    def exhausted(self, data, size):
        calls.append(1)
        if len(calls) == nth:
            raise MemoryError("Out of memory allocating 1,000,000 bytes")
        return objective(self, data, size)

    monkeypatch.setattr(steps.ResidentSteps, "_examples", exhausted)
    model = made().to(device.name)
    if nth == 1:
        with pytest.raises(OutOfMemoryError, match="977 KiB more were asked for"):
            quick(model, images, 2, batch_size=8)
    else:
        with pytest.warns(ta.CaptureWarning, match="cannot be captured .Out of memory"):
            near(quick(model, images, 2, batch_size=8)["loss"], quick(made(), images, 2, batch_size=8)["loss"])
    assert quick(model, images, 2)["loss"][1] < 0.2


def test_training_on_from_a_checkpoint_gives_the_same_bits(device, images, tmp_path):
    def model(seed):
        ta.manual_seed(seed)
        encoder = ta.Sequential(
            ta.Flatten(), ta.Dense(64, 16, "relu"), ta.BatchNorm(16), ta.Dropout(0.2), ta.Dense(16, 4)
        )
        return ta.Autoencoder(encoder, ta.Sequential(ta.GaussianNoise(0.1), ta.Dense(4, 64), ta.Reshape(8, 8, 1)))

    def train(*more, seed=0):
        callbacks = [ta.WarmUp(3), ta.EarlyStopping(9), *more]
        return trained(device, images, seed=seed, model=model, epochs=4, callbacks=callbacks)

    (plain, whole), path = train(), tmp_path / "checkpoint"
    stop = Acts(lambda trainer: signal.raise_signal(signal.SIGINT), 3, 4)
    assert len(train(stop, ta.Checkpoint(path, resume=True))[1]) == 2
    other, rest = train(ta.Checkpoint(path, resume=True), seed=9)
    assert [t.numpy().tobytes() for _, t in plain.named_tensors()] == [
        t.numpy().tobytes() for _, t in other.named_tensors()
    ]
    assert whole["loss"] == rest["loss"] and whole["val_loss"] == rest["val_loss"]


# ---------------------------------------------------------------- what is left behind


def arrays(device):
    return sum(isinstance(found, device.array_type) for found in gc.get_objects())


def test_arrays_do_not_become_more_from_epoch_to_epoch(device, images):
    counts = []

    class Counts(Callback):
        def on_epoch_end(self, epoch, logs):
            gc.collect()
            counts.append(arrays(device))

    quick(made().to(device.name), images[:20], 12, batch_size=8, callbacks=[Counts()])
    assert len(set(counts[2:])) == 1


def test_nothing_stays_on_the_device_after_a_training(device, images):
    """Not even until the garbage collector comes: data and graphs may be most of its memory."""
    model, kept = made().to(device.name), Callback()
    gc.collect()
    before = arrays(device)
    gc.disable()
    try:
        quick(model, images[:20], 2, batch_size=8)
        model.zero_grad()
        assert arrays(device) == before
    finally:
        gc.enable()
    quick(model, images[:20], 2, batch_size=8, callbacks=[kept])
    model.zero_grad()
    gc.collect()
    assert arrays(device) <= before + 2 * len(model.parameters()) + 1  # the optimizer, which the callback knows
    assert backend_of(kept.trainer.model.parameters()[0].data) is device
    assert kept.trainer.evaluate(images, images)["loss"] > 0
