"""A run that is interrupted and goes on ends with the same bits as one that was not."""

import json
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import tinyae as ta
from tinyae.archive import flatten, read_archive, unflatten, write_archive
from tinyae.checkpoint import refuse_other_settings
from tinyae.errors import DtypeError, FileWriteError, ModelFileError, RangeError, StateError

from .conftest import made, quick, weights

EPOCHS = 7


class Halt(Exception):
    """Stands for whatever ends a program."""


class HaltAt(ta.Callback):
    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_batch_end(self, batch, logs):
        if (self.trainer.epoch + 1, batch) == self.at:
            raise Halt


def everything(optimizer="adam"):
    """Callbacks that remember something, each with a reason to matter within EPOCHS."""
    first_order = [ta.WarmUp(2), ta.ReduceOnPlateau(0.5, 1, min_delta=1e-3), ta.ClipNorm(0.05)]
    return [*([] if optimizer == "lbfgs" else first_order), ta.EarlyStopping(5)]


def run(images, path, optimizer="adam", halt=None, epochs=EPOCHS, resume=True, backend="numpy", **options):
    """One training; returns model, trainer and history."""
    model = made().to(backend)
    checkpoint = ta.Checkpoint(path, resume=resume, every=options.pop("every", 1))
    callbacks = [checkpoint, *everything(optimizer), *([HaltAt(*halt)] if halt else [])]
    full = optimizer in ("gd", "lbfgs")
    history = quick(
        model, images, epochs, batch_size=None if full else 10, optimizer=optimizer, callbacks=callbacks,
        validation_data=images[::-1], regularizers=[ta.L2(1e-4)], **options,
    )  # fmt: skip
    return model, checkpoint.trainer, history


def essence(model, trainer, history):
    """All that must be equal to the last bit."""
    state, arrays = flatten(trainer.state_dict())
    for record in state["history"]:
        record.pop("seconds")
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in history.records]
    state["epochs"] = None
    return weights(model), json.dumps(state), {k: v.tobytes() for k, v in arrays.items()}, records


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "momentum", "adagrad", "rmsprop", "adam", "lbfgs"])
def test_a_run_that_goes_on_ends_with_the_same_bits(optimizer, images, tmp_path):
    whole = essence(*run(images, tmp_path / "a", optimizer))
    last = 1 if optimizer in ("gd", "lbfgs") else 5
    for epoch, batch in [(1, 1), (3, last), (EPOCHS, 1)]:
        with pytest.raises(Halt):
            run(images, tmp_path / f"b{epoch}", optimizer, halt=(epoch, batch))
        assert essence(*run(images, tmp_path / f"b{epoch}", optimizer)) == whole


def test_a_run_can_be_interrupted_again_and_again(images, tmp_path):
    whole = essence(*run(images, tmp_path / "a"))
    for halt in [(1, 4), (2, 2), (2, 3), (5, 1)]:
        with pytest.raises(Halt):
            run(images, tmp_path / "b", halt=halt)
    assert essence(*run(images, tmp_path / "b")) == whole


def test_on_every_backend(backend, images, tmp_path):
    whole = essence(*run(images, tmp_path / "a", backend=backend))
    with pytest.raises(Halt):
        run(images, tmp_path / "b", backend=backend, halt=(4, 2))
    assert essence(*run(images, tmp_path / "b", backend=backend)) == whole


def test_early_stopping_remembers_its_best_weights(images, tmp_path):
    class Scripted(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["val_loss"] = [5, 3, 4, 3.5, 6, 7][epoch - 1]
            if epoch == halt:
                raise Halt

    def train(path, epochs=20):
        model = made()
        callbacks = [Scripted(), ta.EarlyStopping(3), ta.Checkpoint(path, resume=True)]
        history = quick(model, images, epochs, callbacks=callbacks, validation_data=images)
        return weights(model), history.stop_reason, len(history)

    halt = None
    whole = train(tmp_path / "a")
    assert whole[1:] == ("val_loss has not fallen for 3 epochs", 5)
    for halt in (3, 4, 5):
        with pytest.raises(Halt):
            train(tmp_path / f"b{halt}")
        halt = None
        assert train(tmp_path / f"b{halt}") == whole
    assert train(tmp_path / "a") == whole  # the run had ended: nothing is trained again
    assert train(tmp_path / "a", 21)[2] == 6  # but more epochs were asked for: it goes on, and stops again


def test_more_epochs_than_at_first(images, tmp_path):
    longer = essence(*run(images, tmp_path / "a", epochs=6))
    run(images, tmp_path / "b", epochs=3)
    assert essence(*run(images, tmp_path / "b", epochs=6)) == longer
    with pytest.raises(RangeError, match="epochs=4, but the checkpoint has 6 already"):
        run(images, tmp_path / "b", epochs=4)


def test_every_kth_epoch_and_the_last(images, tmp_path):
    class Note(ta.Callback):
        def on_train_end(self):
            pass

        def on_epoch_begin(self, epoch):
            there.append(
                (tmp_path / "a").exists() and read_archive(tmp_path / "a", "tinyae.checkpoint")[0]["state"]["epoch"]
            )

    there = []
    quick(made(), images, 5, callbacks=[ta.Checkpoint(tmp_path / "a", every=2), Note()])
    assert there == [False, False, 2, 2, 4]
    assert read_archive(tmp_path / "a", "tinyae.checkpoint")[0]["state"]["epoch"] == 5


def test_a_run_that_a_callback_ends_writes_its_last_epoch(images, tmp_path):
    quick(made(), images, 5, callbacks=[ta.Checkpoint(tmp_path / "a", every=4), ta.StopAtLoss(1e9)])
    assert read_archive(tmp_path / "a", "tinyae.checkpoint")[0]["state"]["epoch"] == 1


def test_a_run_that_goes_on_keeps_the_checkpoint_it_went_on_from(images, tmp_path):
    for epochs in (2, 3):
        quick(made(), images, epochs, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])
    assert read_archive(tmp_path / "a.previous", "tinyae.checkpoint")[0]["state"]["epoch"] == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_a_torn_file_is_noticed_and_the_one_before_it_used(damage, images, tmp_path):
    path = tmp_path / "a"
    whole = essence(*run(images, tmp_path / "w"))
    with pytest.raises(Halt):
        run(images, path, halt=(5, 3))
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes({"cut": content[:middle], "empty": b"",
                          "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]}[damage])  # fmt: skip
    with pytest.warns(UserWarning, match="The checkpoint before it is used"):
        resumed = run(images, path)
    assert essence(*resumed) == whole


def test_a_torn_file_does_not_take_the_place_of_the_good_one(images, tmp_path):
    with pytest.raises(Halt):
        run(images, tmp_path / "a", halt=(5, 3))
    (tmp_path / "a").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="The checkpoint before it is used"), pytest.raises(Halt):
        run(images, tmp_path / "a", halt=(5, 3))  # epoch 4 was made anew and written
    assert read_archive(tmp_path / "a", "tinyae.checkpoint")[0]["state"]["epoch"] == 4
    assert read_archive(tmp_path / "a.previous", "tinyae.checkpoint")[0]["state"]["epoch"] == 3


def test_a_collapse_is_counted_over_an_interruption(images, tmp_path):
    def train(epochs):
        model = made()
        with ta.no_grad():
            model.decoder[1].bias += -60.0
        checkpoint = ta.Checkpoint(tmp_path / "a", resume=True)
        quick(model, images, epochs, callbacks=[checkpoint])
        return checkpoint.trainer.collapsed_for

    with pytest.warns(ta.CollapseWarning, match="after epoch 1"):
        assert train(1) == 1
    with pytest.warns(ta.CollapseWarning, match="after epoch 2"):
        assert train(3) == 3


def test_two_damaged_files_are_refused_and_left_alone(images, tmp_path):
    run(images, tmp_path / "a", epochs=3)
    for name in ("a", "a.previous"):
        (tmp_path / name).write_bytes(b"torn")
    model = made()
    with pytest.raises(ModelFileError, match="a.previous is truncated, damaged"):
        quick(model, images, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])
    assert weights(model) == weights(made()) and (tmp_path / "a").read_bytes() == b"torn"


def test_a_folder_that_is_not_there_is_noticed_before_the_first_epoch(images, tmp_path):
    model = made()
    with pytest.raises(FileWriteError, match="nothing can be written in .*missing"):
        quick(model, images, callbacks=[ta.Checkpoint(tmp_path / "missing" / "a")])
    assert weights(model) == weights(made())


@pytest.mark.parametrize("path", [None, 3, "", "."])
def test_paths_that_are_none(path):
    with pytest.raises(DtypeError, match="Checkpoint: the path is"):
        ta.Checkpoint(path)


def test_a_callback_need_not_be_hashable(images, tmp_path):
    @dataclass
    class Mine(ta.Callback):
        seen: int = 0

        def state_dict(self):
            return {"seen": self.seen}

    quick(made(), images, 1, callbacks=[Mine(), ta.Checkpoint(tmp_path / "a")])


def test_an_existing_file_is_not_overwritten_unasked(images, tmp_path):
    checkpoint = ta.Checkpoint(tmp_path / "a")
    quick(made(), images, callbacks=[checkpoint])
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(RangeError, match="exists. Give Checkpoint.*resume=True"):
        quick(made(), images, callbacks=[ta.Checkpoint(tmp_path / "a")])
    assert (tmp_path / "a").read_bytes() == before
    quick(made(), images, 1, callbacks=[checkpoint])  # its own file


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lr": 0.5}, r"optimizer: was Adam\(lr=0.001.*is now Adam\(lr=0.5"),
        ({"batch_size": 5}, "batch_size: was 10, is now 5"),
        ({"seed": 3}, "seed: was 0, is now 3"),
        ({"loss": "bce"}, "loss: was mse, is now bce"),
        ({"optimizer": "sgd"}, "optimizer: was Adam.*is now SGD"),
        ({"shuffle": False}, "shuffle: was True, is now False"),
        ({"regularizers": [ta.L2(0.1)]}, r"was EarlyStopping.*is now L2\(strength=0.1\), Early"),
    ],
)
def test_other_settings_than_it_began_with(change, message, images, tmp_path):
    def train(model, x=images, patience=5, **options):
        callbacks = [ta.Checkpoint(tmp_path / "a", resume=True), ta.EarlyStopping(patience)]
        quick(model, x, callbacks=callbacks, **{"batch_size": 10, **options})

    train(made())
    for options, wanted in (
        (change, message),
        ({"x": images * 0.5}, "training data: was"),
        ({"patience": 2}, r"was EarlyStopping\(patience=5.*is now EarlyStopping\(patience=2"),
    ):
        model = made()
        with pytest.raises(StateError, match=wanted):
            train(model, **options)
        assert weights(model) == weights(made())
    one_changed = images.copy()
    one_changed[30, 2, 2] *= 0.5
    with pytest.raises(StateError, match="training data: was"):
        train(made(), one_changed)
    with pytest.raises(StateError, match="validation data: was None, is now"):
        train(made(), validation_data=images)
    with pytest.raises(StateError, match="dtype: was float32, is now float64"):
        train(made().astype("float64"))
    other = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 5)), ta.Sequential(ta.Dense(5, 64), ta.Reshape(8, 8, 1))
    )
    with pytest.raises(StateError, match="model: was Autoencoder"):
        train(other)


def test_other_settings_of_a_schedule(images, tmp_path):
    def train(gamma):
        quick(made(), images, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True), ta.StepDecay(1, gamma)])

    train(0.5)
    with pytest.raises(StateError, match=r"was StepDecay\(every=1, gamma=0.5.*is now StepDecay\(every=1, gamma=0.1"):
        train(0.1)


def test_other_targets(rng, tmp_path):
    x, y = rng.random((2, 20, 3), dtype=np.float32)

    def train(target, held_out):
        callbacks = [ta.Checkpoint(tmp_path / "a", resume=True)]
        ta.fit(ta.Dense(3, 3), x, target, 1, validation_data=(x, held_out), callbacks=callbacks, progress=False)

    train(y, y)
    for given, what in (((1 - y, y), "training"), ((y, 1 - y), "validation")):
        with pytest.raises(StateError, match=f"settings:\n  {what} data: was"):
            train(*given)


def test_a_setting_that_is_missing_is_a_difference():
    with pytest.raises(StateError, match="momentum: was 0.9, is now None"):
        refuse_other_settings({"lr": 1, "momentum": 0.9}, {"lr": 1})


def test_what_a_callback_of_ones_own_remembers(images, tmp_path):
    class Largest(ta.Callback):
        def on_train_begin(self):
            self.state = {"largest": np.float32(0), "seen": [], "array": None, "mean": np.zeros(3)}

        def on_epoch_end(self, epoch, logs):
            self.state["largest"] = max(self.state["largest"], np.float32(logs["loss"]))
            self.state["seen"].append(epoch)
            self.state["mean"] = self.state["mean"] + epoch
            self.state["array"] = {"array": "mine"}

        def state_dict(self):
            return self.state

        def load_state_dict(self, state):
            self.state = state

    def train(path, epochs):
        note = Largest()
        quick(made(), images, epochs, callbacks=[ta.Checkpoint(path, resume=True), note])
        return note.state

    train(tmp_path / "a", 2)
    state, whole = train(tmp_path / "a", 4), train(tmp_path / "b", 4)
    assert state["seen"] == whole["seen"] == [1, 2, 3, 4] and state["largest"] == whole["largest"]
    assert np.array_equal(state["mean"], [10, 10, 10]) and state["array"] == {"array": "mine"}
    Largest.state_dict = lambda self: {"what": object()}
    with pytest.raises(StateError, match="state_dict.. returns what cannot be written"):
        train(tmp_path / "c", 2)


def test_ctrl_c_leaves_a_checkpoint_of_the_last_whole_epoch(images, tmp_path):
    class Interrupt(ta.Callback):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 2 and batch == 2:
                signal.raise_signal(signal.SIGINT)

    callbacks = lambda: [ta.Checkpoint(tmp_path / "a", resume=True)]  # noqa: E731
    history = quick(made(), images, 5, batch_size=10, callbacks=[*callbacks(), Interrupt()])
    assert history.interrupted and len(history) == 2
    model = made()
    quick(model, images, 5, batch_size=10, callbacks=callbacks())
    uninterrupted = made()
    quick(uninterrupted, images, 5, batch_size=10)
    assert weights(model) == weights(uninterrupted)


FULL_DISK = """
import resource, sys
import numpy as np, tinyae as ta
from tests.conftest import made
x = np.random.default_rng(0).random((50, 8, 8, 1), dtype=np.float32)
class Fill(ta.Callback):
    def on_epoch_begin(self, epoch):
        if epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
model = made()
try:
    model.fit(x, 5, progress=False, callbacks=[Fill(), ta.Checkpoint(sys.argv[1])])
except ta.errors.FileWriteError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_checkpoint_before_it_whole(images, tmp_path):
    path = tmp_path / "a"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, timeout=60)
    assert f"cannot write {path}: File too large. What was there is unchanged." in done.stdout, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a.previous"]
    assert read_archive(path, "tinyae.checkpoint")[0]["state"]["epoch"] == 2
    model = made()
    quick(
        model,
        np.random.default_rng(0).random((50, 8, 8, 1), dtype=np.float32),
        5,
        callbacks=[ta.Checkpoint(path, resume=True)],
    )
    uninterrupted = made()
    quick(uninterrupted, images, 5)
    assert weights(model) == weights(uninterrupted)


def test_a_model_too_is_saved_whole_or_not_at_all_on_a_full_disk(tmp_path):
    model = made()
    ta.save(model, tmp_path / "m")
    old, limits = (tmp_path / "m").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileWriteError, match="File too large. What was there is unchanged"):
            ta.save(model, tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "m").read_bytes() == old and len(list(tmp_path.iterdir())) == 1


def test_state_is_taken_apart_and_put_together(tmp_path):
    odd = {"a/b": np.arange(2), "a": {"b": np.arange(3)}, "zero": np.array(7.0), "big": np.arange(4, dtype=">f4")}
    data, arrays = flatten(odd)
    write_archive(tmp_path / "x", "tinyae.checkpoint", {"state": data}, arrays)
    about, arrays = read_archive(tmp_path / "x", "tinyae.checkpoint")
    back = unflatten(about["state"], arrays)
    assert len(back["a/b"]) == 2 and len(back["a"]["b"]) == 3 and back["zero"].shape == ()
    assert back["big"].tolist() == [0, 1, 2, 3]
    state = {"a": [1, {"b": np.arange(3)}, None], "c": np.float32([[1.5]]), "d": {"e": "text", "f": [np.zeros(0)]}}
    data, arrays = flatten(state)
    back = unflatten(json.loads(json.dumps(data)), arrays)
    assert np.array_equal(back["a"][1]["b"], [0, 1, 2]) and back["c"].dtype == np.float32
    assert back["d"]["e"] == "text" and back["a"][0] == 1 and back["a"][2] is None and back["d"]["f"][0].shape == (0,)
