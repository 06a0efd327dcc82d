"""Callbacks, regularizers, Ctrl-C and the progress bar."""

import io
import signal
import sys
import time

import numpy as np
import pytest

import tinyae as ta

from .conftest import made, quick, weights


def test_callbacks_are_called_at_every_hook(images):
    class Note(ta.Callback):
        calls = []

        def on_train_begin(self):
            self.calls.append("begin")

        def on_epoch_begin(self, epoch):
            self.calls.append(f"epoch {epoch}")

        def on_batch_end(self, batch, logs):
            self.calls.append(f"batch {batch}")
            assert logs["loss"] > 0

        def on_epoch_end(self, epoch, logs):
            self.calls.append(f"end {epoch}")
            assert set(logs) == {"epoch", "loss", "val_loss", "lr", "seconds"}
            if epoch == 2:
                self.trainer.stop("enough")

        def on_train_end(self):
            self.calls.append("done")

    history = quick(made(), images, 5, batch_size=25, callbacks=[Note()], validation_data=images)
    one = ["batch 1", "batch 2"]
    assert Note.calls == ["begin", "epoch 1", *one, "end 1", "epoch 2", *one, "end 2", "done"]
    assert history.stop_reason == "enough" and len(history) == 2


def test_early_stopping_waits_its_patience_and_restores_the_best(images):
    class Scripted(ta.Callback):
        """Stands before EarlyStopping and gives it a loss to see."""

        values = [5, 3, 4, 3.5, 2.95, 3, 3]

        def on_epoch_end(self, epoch, logs):
            logs["val_loss"] = self.values[epoch - 1]
            snapshots.append(weights(self.trainer.model))

    snapshots, model = [], made()
    history = quick(model, images, 7, callbacks=[Scripted(), ta.EarlyStopping(2)], validation_data=images)
    assert len(history) == 4 and "val_loss has not fallen for 2 epochs" in history.stop_reason
    assert weights(model) == snapshots[1] != snapshots[3]

    snapshots, model = [], made()
    history = quick(
        model,
        images,
        7,
        callbacks=[Scripted(), ta.EarlyStopping(3, min_delta=0.1, restore_best=False)],
        validation_data=images,
    )
    assert len(history) == 5 and weights(model) == snapshots[4]


def test_stop_at_loss(images):
    history = quick(made(), images, 200, lr=1e-2, callbacks=[ta.StopAtLoss(0.09)])
    assert history["loss"][-1] <= 0.09 < history["loss"][-2] and "reached" in history.stop_reason


def test_regularizers_add_their_penalty(images):
    model = made()
    with ta.no_grad():
        model.encoder[1].bias += 5.0  # biases are not penalised
        matrices = [p.numpy() for p in model.parameters() if p.ndim == 2]
        assert np.isclose(ta.L1(0.1)(model).item(), 0.1 * sum(np.abs(m).sum() for m in matrices), rtol=1e-5)
        assert np.isclose(ta.L2(0.1)(model).item(), 0.1 * sum((m**2).sum() for m in matrices), rtol=1e-5)
    for regularizer, slope in ((ta.L1(0.1), lambda w: 0.1 * np.sign(w)), (ta.L2(0.1), lambda w: 0.2 * w)):
        model.zero_grad()
        regularizer(model).backward()
        assert all(np.allclose(p.grad, slope(p.numpy())) for p in model.parameters() if p.ndim == 2)
        assert all(p.grad is None for p in model.parameters() if p.ndim == 1)
    plain, penalised = made(), made()
    quick(plain, images, 20)
    history = quick(penalised, images, 20, regularizers=[ta.L2(1e-2), ta.L1(1e-4)])
    assert history["penalty"][-1] < history["penalty"][0]
    size = [sum((p.numpy() ** 2).sum() for p in m.parameters() if p.ndim == 2) for m in (plain, penalised)]
    assert size[1] < size[0]


def test_the_penalty_in_the_history_is_the_regularizers(images):
    history = quick(made(), images, 1, batch_size=20, optimizer="sgd", lr=1e-12, regularizers=[ta.L2(0.1)])
    assert np.isclose(history["penalty"][0], ta.L2(0.1)(made()).item(), rtol=1e-5)


def interrupt_at(at_epoch, at_batch):
    class Interrupt(ta.Callback):
        batches = 0

        def on_batch_end(self, batch, logs):
            self.batches += 1
            if self.trainer.epoch + 1 == at_epoch and batch == at_batch:
                signal.raise_signal(signal.SIGINT)

    return Interrupt()


def test_ctrl_c_ends_the_batch_in_hand_and_keeps_the_model(images):
    callback, model, before = interrupt_at(2, 1), made(), signal.getsignal(signal.SIGINT)
    history = quick(model, images, 5, batch_size=10, callbacks=[callback])
    assert history.interrupted and len(history) == 1 and callback.batches == 6
    assert history.stop_reason == "interrupted by Ctrl-C after 1 whole epochs"
    assert signal.getsignal(signal.SIGINT) is before
    callback = interrupt_at(2, 5)  # in the last batch: the epoch is whole
    assert len(quick(made(), images, 5, batch_size=10, callbacks=[callback])) == 2


def test_a_second_ctrl_c_acts_at_once_but_a_double_press_does_not(images, request):
    class Twice(ta.Callback):
        def on_batch_end(self, batch, logs):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # a double press counts once
            if patient:
                time.sleep(1.1)
                signal.raise_signal(signal.SIGINT)

    patient = False
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    assert quick(made(), images, callbacks=[Twice()]).interrupted
    patient = True
    with pytest.raises(KeyboardInterrupt):
        quick(made(), images, callbacks=[Twice()])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_the_loss_and_a_log_file_at_most_ten_lines(images, monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    history = made().fit(images, 30, validation_data=images)
    drawn = sys.stderr.getvalue()
    assert "epoch 30/30" in drawn and "60/60" in drawn and "val_loss=" in drawn and "loss=" in drawn
    monkeypatch.setattr("sys.stderr", io.StringIO())
    made().fit(images, 30, validation_data=images)
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[-1] == f"epoch 30/30  loss {history['loss'][-1]:.5f}  val_loss {history['val_loss'][-1]:.5f}"
    full = Terminal()
    full.isatty = lambda: False
    full.write = lambda text: (_ for _ in ()).throw(OSError("no space left"))
    monkeypatch.setattr("sys.stderr", full)
    assert len(made().fit(images, 2)) == 2
    monkeypatch.setattr("sys.stderr", None)
    assert len(made().fit(images, 2)) == 2


def test_the_bar_of_a_run_that_goes_on_begins_where_it_was(images, monkeypatch, tmp_path):
    def train(epochs):
        monkeypatch.setattr("sys.stderr", Terminal())
        made().fit(images, epochs, 25, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])
        return sys.stderr.getvalue()

    assert "0/6" in train(3)
    drawn = train(5)
    assert "6/10" in drawn and "0/10" not in drawn.replace("10/10", "") and "epoch 5/5" in drawn
