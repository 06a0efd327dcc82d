"""fit: the same numbers as a loop by hand, and everything that can go wrong on the way."""

import threading
import tracemalloc
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae.data import check_values
from tinyae.errors import DtypeError, RangeError, ShapeError, TrainingError

from .conftest import made, quick, weights

# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_fit_gives_the_same_bits_as_a_loop_by_hand(loss, images, backend):
    fitted = made().to(backend)
    history = quick(fitted, images, 3, batch_size=16, seed=5, loss=loss)

    model = made().to(backend)
    optimizer = ta.Adam(model.parameters())
    ta.manual_seed(5)
    losses = []
    for epoch in range(3):
        total = 0.0
        for x in ta.batches(images, 16, seed=5, epoch=epoch, backend=backend.name):
            optimizer.zero_grad()
            value = ta.mse_loss(model(x), x) if loss == "mse" else ta.bce_with_logits_loss(model.before_sigmoid(x), x)
            value.backward()
            optimizer.step()
            total += value.item() * len(x)
        losses.append(total / len(images))
    assert weights(model) == weights(fitted)
    assert history["loss"] == losses


def test_the_same_seed_gives_the_same_bits_and_another_does_not(images):
    def trained(seed, fit_seed):
        model = made(seed)
        quick(model, images, seed=fit_seed)
        return weights(model)

    assert trained(0, 0) == trained(0, 0)
    assert len({trained(0, 0), trained(1, 0), trained(0, 1)}) == 3


def test_every_example_is_seen_once_per_epoch_and_the_last_batch_is_kept():
    x = np.arange(10, dtype=np.float32)[:, None]
    sizes, seen = [], []
    for batch, label in ta.batches(x, 4, y=np.arange(10), seed=1):
        sizes.append(len(batch))
        seen += batch.numpy().ravel().tolist()
        assert label.dtype == np.int64 and np.array_equal(batch.numpy().ravel(), label.numpy())
    assert sizes == [4, 4, 2] and sorted(seen) == list(range(10)) and seen != list(range(10))
    assert [b.numpy().ravel().tolist() for b in ta.batches(x, 6, shuffle=False)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    orders = [tuple(b.numpy().ravel()) for epoch in (0, 1) for b in ta.batches(x, 10, epoch=epoch)]
    assert orders[0] != orders[1]


def test_the_epoch_loss_is_the_mean_over_examples(images):
    """Three batches of 20, 20 and 10: each example counts the same."""

    class Frozen(ta.SGD):
        def step(self):
            pass

    model = made().eval()
    model.encoder.layers.pop(2)
    model.decoder.layers.pop(0)
    history = quick(model, images, 1, batch_size=20, optimizer=Frozen(model.parameters(), 1.0), validation_data=images)
    expected = ta.mse_loss(model.reconstruct(images), images).item()
    assert np.isclose(history["loss"][0], expected, rtol=1e-6) and np.isclose(
        history["val_loss"][0], expected, rtol=1e-6
    )


def test_the_held_out_loss_is_taken_in_batches_of_the_same_size(images, digits_model):
    def loss(p, t):
        return ((p - t) ** 2).sum()

    history = quick(
        digits_model, images, 1, batch_size=10, optimizer="sgd", lr=1e-12, loss=loss, validation_data=images
    )
    assert np.isclose(history["val_loss"][0], history["loss"][0], rtol=1e-5)


def test_training_learns_on_every_optimizer(images):
    for name, lr in (("gd", 1.0), ("sgd", 1.0), ("momentum", 0.3), ("adam", 3e-3)):
        history = quick(made(), images, 15, optimizer=name, lr=lr)
        assert history["loss"][-1] < history["loss"][0]
        assert len(history) == 15 and history.records[-1]["lr"] == lr


def test_a_batch_larger_than_the_data_is_one_batch(images):
    assert len(quick(made(), images, batch_size=1000)) == 2


def test_other_models_and_targets(rng, backend):
    x = rng.normal(size=(200, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    ta.manual_seed(0)
    model = ta.Sequential(ta.Dense(2, 16, "relu"), ta.Dense(16, 2)).to(backend)
    ta.fit(model, x, y, 60, lr=1e-2, loss="cross_entropy", validation_data=(x, y), progress=False)
    right = model(ta.Tensor(x).to(backend)).numpy().argmax(axis=1) == y
    assert right.mean() > 0.95


def test_a_loss_of_ones_own(images):
    history = quick(made(), images, loss=lambda p, t: (p - t).abs().mean())
    assert history["loss"][1] < history["loss"][0]


def test_data_of_another_type_are_converted_batch_by_batch(images):
    a, b = made(), made()
    quick(a, images)
    quick(b, images.astype(np.float64))
    assert weights(a) == weights(b)


def test_the_data_set_is_not_copied(rng):
    x = rng.random((4000, 1000), dtype=np.float32)  # 16 MB
    model = ta.Autoencoder(ta.Dense(1000, 4), ta.Dense(4, 1000))
    tracemalloc.start()
    quick(model, x, 1, batch_size=64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * x.nbytes


def test_modes_are_put_back(images):
    model = made().eval()
    quick(model, images, validation_data=images)
    assert not any(module.training for module in model.modules())


# ---------------------------------------------------------------- what goes wrong


def test_a_nan_loss_stops_with_step_rate_and_gradient_and_puts_the_model_back(images):
    model, states = made(), []

    class Poison(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            states.append(weights(self.trainer.model))

        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 1 and batch == 1:
                self.trainer.model.decoder[1].weight.data[0, 0] = np.nan

    with pytest.raises(
        TrainingError,
        match=r"became nan in step 4 \(epoch 2, batch 2\), with learning rate 0\.001.*largest gradient .* in (en|de)coder",
    ):
        quick(model, images, 3, batch_size=25, callbacks=[Poison()])
    assert weights(model) == states[0]


def test_a_learning_rate_that_is_far_too_large_is_named(images):
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 8)), ta.Sequential(ta.Dense(8, 64), ta.Reshape(8, 8, 1))
    )
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="learning rate 1e\\+06.*smaller learning rate"):
        quick(model, images, 20, optimizer="sgd", lr=1e6)


def test_a_collapsed_model_is_noticed(images):
    model = made()
    with ta.no_grad():
        model.decoder[1].bias += -60.0  # a saturated sigmoid: outputs 0, gradient 0
    with pytest.warns(ta.CollapseWarning, match="predicts the same for every input") as caught:
        quick(model, images, 3)
    text, zero = str(caught[0].message), f"{(images**2).mean():.5f}"
    assert f"a constant, 0 everywhere, whose MSE on the training data is {zero}" in text
    assert (
        f"the mean of the training data, which also needs no input, would have {images.var(axis=0).mean():.5f}" in text
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(made(), images, 3)


def test_a_collapse_names_gradients_layer_by_layer_and_what_helps(images):
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 4, "relu", "glorot")),
        ta.Sequential(ta.Dense(4, 64, "sigmoid", "glorot"), ta.Reshape(8, 8, 1)),
    )
    with ta.no_grad():
        model.encoder[1].weight *= 0
        model.encoder[1].bias += -1.0  # dead: whatever the input, the code is 0
        model.decoder[0].bias += 1.0
    held_out = images[:20] / 2
    with pytest.warns(ta.CollapseWarning) as caught:
        history = quick(model, images, 1, loss="bce", validation_data=held_out)
    text, constant = str(caught[0].message), model.reconstruct(images[:1])
    error = -(held_out * np.log(constant) + (1 - held_out) * np.log(1 - constant)).mean()
    assert f"whose BCE on the held-out data is {error:.5f}" in text and f"{history['val_loss'][0]:.5f}" in text
    norm = np.hypot(*(history["gradients"][0][f"decoder.0.{name}"] for name in ("weight", "bias")))
    assert f"from the first layer to the last: encoder.1 0.0e+00, decoder.0 {norm:.1e} " in text
    assert 'history["gradients"]' in text and "Start anew with init='he'" in text


def test_training_in_two_threads_gives_each_its_own_numbers(images):
    def train(seed):
        model = made(seed)
        quick(model, images, 3, seed=seed)
        results[seed] = weights(model)

    results = {}
    expected = {}
    for seed in (1, 2):
        train(seed)
        expected[seed] = results.pop(seed)
    threads = [threading.Thread(target=train, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


BAD = np.random.default_rng(0).random((20, 8, 8, 1)).astype(np.float32)
WITH_NAN, TOO_LARGE = BAD.copy(), BAD * 255
WITH_NAN[3, 2, 1, 0], WITH_NAN[7] = np.nan, np.inf


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"x": WITH_NAN}, RangeError, r"65 of 1280 values are NaN or infinite, the first at index \(3, 2, 1, 0\)"),
        ({"x": TOO_LARGE}, RangeError, r"range from .* to 25\d.*divide pixels by 255"),
        ({"x": TOO_LARGE, "loss": "bce"}, RangeError, r"reach \[0, 1\]"),
        ({"x": BAD, "validation_data": TOO_LARGE}, RangeError, "validation_data: the data range"),
        ({"x": BAD.astype(object)}, DtypeError, "of type object"),
        ({"x": BAD[:0]}, ShapeError, "data are empty"),
        ({"x": BAD[:, :4]}, ShapeError, r"Dense: the input has shape \(1, 32\)"),
        ({"epochs": 0}, RangeError, "epochs is 0; expected an integer >= 1"),
        ({"epochs": 2.5}, RangeError, "epochs is 2.5"),
        ({"batch_size": 0}, RangeError, "batch_size is 0"),
        ({"batch_size": 8, "optimizer": "gd"}, RangeError, "gradient descent takes the gradient of all 20 examples"),
        ({"optimizer": "adma"}, RangeError, "unknown optimizer 'adma'. Known, nearest first: adam"),
        ({"loss": "mes"}, RangeError, "unknown loss 'mes'. Known, nearest first: mse"),
        ({"lr": -1}, RangeError, "lr is -1"),
        ({"seed": -1}, RangeError, "seed is -1"),
        ({"loss": "cross_entropy"}, DtypeError, "needs integer labels, but the targets are float32"),
        ({"validation_data": (BAD, BAD[:3])}, ShapeError, "20 examples, but 3 targets"),
    ],
)  # fmt: skip
def test_bad_input_is_explained_and_nothing_changes(options, error, message):
    model = made()
    before = weights(model)
    options = {"x": BAD, "epochs": 1, "progress": False, **options}
    with pytest.raises(error, match=message):
        model.fit(**options)
    assert weights(model) == before


def test_an_optimizer_must_belong_to_the_model(images):
    stranger = ta.Adam(made().parameters())
    with pytest.raises(RangeError, match="holds none of the model's parameters"):
        quick(made(), images, optimizer=stranger)
    model = made()
    with pytest.raises(RangeError, match="lr=0.1 was given beside Adam"):
        quick(model, images, optimizer=ta.Adam(model.parameters()), lr=0.1)


def test_bce_needs_a_sigmoid_at_the_end(images):
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 4)), ta.Sequential(ta.Dense(4, 64, "relu"), ta.Reshape(8, 8, 1))
    )
    with pytest.raises(ShapeError, match="needs a model that ends in a sigmoid.*Dense"):
        quick(model, images, loss="bce")


def test_an_output_that_cannot_meet_its_target(images):
    model = ta.Autoencoder(ta.Sequential(ta.Flatten(), ta.Dense(64, 4)), ta.Dense(4, 64))
    with pytest.raises(ShapeError, match=r"output has shape \(1, 64\), its target \(1, 8, 8, 1\).*Reshape"):
        quick(model, images)


def test_values_are_checked_in_pieces(monkeypatch):
    monkeypatch.setattr("tinyae.data.CHUNK", 64)
    with pytest.raises(RangeError, match=r"65 of 1280 .* \(3, 2, 1, 0\)"):
        check_values("x", WITH_NAN)


def test_weights_that_became_nan_in_the_last_step_are_noticed(images):
    model = made()
    before = weights(model)
    with pytest.raises(TrainingError, match="parameter .* became nan"):
        quick(model, images, 1, batch_size=len(images), loss=lambda p, t: ((p - p) ** 2).sum().sqrt())
    assert weights(model) == before


LABELS = np.arange(20) % 3
CLASSIFIER = {"y": LABELS, "loss": "cross_entropy"}


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"y": LABELS + 1, "loss": "cross_entropy"}, RangeError, "labels of the training data go from 1 to 3.*3 outputs stand for 0 to 2"),
        ({**CLASSIFIER, "validation_data": (np.ones((4, 5), "f"), np.array([0, 1, 2, 9]))}, RangeError, "labels of validation_data go from 0 to 9"),
        ({**CLASSIFIER, "validation_data": (np.ones((4, 6), "f"), LABELS[:4])}, ShapeError, r"shape \(1, 6\)"),
        ({**CLASSIFIER, "validation_data": np.ones((4, 5), "f")}, ShapeError, "must be a pair"),
        ({**CLASSIFIER, "callbacks": [ta.EarlyStopping(2, monitor="val_loss")]}, RangeError, "nothing called 'val_loss'.*epoch, loss, lr, seconds"),
        ({**CLASSIFIER, "callbacks": ta.EarlyStopping(2)}, DtypeError, "callbacks is .*expected a list of Callback"),
        ({**CLASSIFIER, "callbacks": [ta.EarlyStopping]}, DtypeError, "expected a list of Callback"),
        ({**CLASSIFIER, "regularizers": ta.L2(0.1)}, DtypeError, "expected a list of Regularizer"),
        ({**CLASSIFIER, "loss": lambda p, t: None}, ShapeError, "the loss function returned None"),
        ({**CLASSIFIER, "loss": lambda p, t: p}, ShapeError, "expected a Tensor with one number"),
        ({**CLASSIFIER, "loss": ["mse"]}, RangeError, "unknown loss"),
        ({**CLASSIFIER, "lr": 10**400}, RangeError, "finite number > 0"),
        ({**CLASSIFIER, "model": ta.Dense}, DtypeError, "expected a Module"),
        ({**CLASSIFIER, "x": [[1.0, 2.0], [3.0]]}, ShapeError, "no rectangular shape"),
        ({**CLASSIFIER, "x": np.ma.masked_array(np.ones((20, 5)))}, DtypeError, "masked array"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_changes(options, error, message):
    model = ta.Dense(5, 3)
    before = weights(model)
    options = {"model": model, "x": np.ones((20, 5), np.float32), "epochs": 2, "progress": False, **options}
    with pytest.raises(error, match=message):
        ta.fit(**options)
    assert weights(model) == before


def test_integer_labels_reach_a_loss_of_ones_own():
    model = ta.Dense(5, 3)
    x = np.ones((20, 5), np.float32)
    a = ta.fit(model, x, LABELS, 1, loss=ta.cross_entropy, progress=False)
    assert np.isfinite(a["loss"][0])


def test_fit_records_also_where_recording_is_off(images):
    with ta.no_grad():
        assert len(quick(made(), images, 1)) == 1


def test_an_integer_buffer_does_not_decide_the_type_of_the_data(images):
    class Counted(ta.Module):
        def __init__(self):
            self.count = ta.Tensor(np.array([3]))
            self.inner = made()

        def forward(self, x):
            return self.inner(x)

    model = Counted()
    assert model.dtype == np.float32 and ta.fit(model, images, images, 1, progress=False)["loss"][0] > 0.01
    assert model.astype("float64").count.dtype == np.int64


def test_names_in_any_case_and_helpful_refusals(images):
    assert len(quick(made(), images, 1, optimizer="Adam", loss="BCE")) == 1
    with pytest.raises(RangeError, match=r"the class Adam was given; make one: Adam\(model.parameters\(\)"):
        quick(made(), images, 1, optimizer=ta.Adam)
    with pytest.raises(DtypeError, match="takes no targets"):
        made().fit(images, images, 3)


def test_validation_is_in_evaluation_mode(images):
    model = made()
    history = quick(model, images, 1, validation_data=images)
    assert np.isclose(history["val_loss"][-1], ta.mse_loss(model.reconstruct(images), images).item(), rtol=1e-6)


def test_after_a_nan_the_same_optimizer_can_go_on(images):
    class Poison(ta.Callback):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 1:
                self.trainer.model.decoder[1].weight.data[0, 0] = np.nan

    model = made()
    optimizer = ta.Adam(model.parameters())
    with pytest.raises(TrainingError) as caught:
        quick(model, images, 3, optimizer=optimizer, callbacks=[Poison()])
    assert len(caught.value.history) == 1
    assert optimizer.t == 2 and all(np.isfinite(array).all() for state in optimizer.state for array in state.values())
    assert len(quick(model, images, 1, optimizer=optimizer)) == 1


def test_a_held_out_loss_that_is_not_finite_stops(images):
    def loss(prediction, target):
        return ta.mse_loss(prediction, target) * (1.0 if len(target) == 25 or len(target) == 1 else float("inf"))

    with pytest.raises(TrainingError, match="held-out loss became inf.*largest gradient of that step"):
        quick(made(), images, 1, batch_size=25, loss=loss, validation_data=images[:7])


def test_a_collapse_in_the_only_epoch_is_noticed(images):
    model = made()
    with ta.no_grad():
        model.decoder[1].bias += -60.0
    with pytest.warns(ta.CollapseWarning):
        quick(model, images, 1)


def test_a_collapse_is_noticed_where_a_callback_ends_the_training(images):
    model = made()
    with ta.no_grad():
        model.decoder[1].bias += -60.0
    with pytest.warns(ta.CollapseWarning, match="after epoch 1"):
        quick(model, images, 5, callbacks=[ta.StopAtLoss(1e9)])


def test_data_beyond_a_sigmoid_are_refused_whatever_the_loss(images):
    with pytest.raises(RangeError, match="divide pixels by 255"):
        quick(made(), images * 255, loss=ta.mse_loss)


def test_targets_beyond_a_sigmoid_are_refused(rng):
    x = rng.random((20, 3), dtype=np.float32)
    with pytest.raises(RangeError, match="fit: target of x: the data range from"):
        ta.fit(ta.Dense(3, 3, "sigmoid"), x, 2 * x, 1, loss="bce", progress=False)


def test_callbacks_get_only_numbers_and_cannot_spoil_the_history(images):
    class Clear(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            assert list(logs) == self.trainer.record_names and all(isinstance(v, (int, float)) for v in logs.values())
            logs.clear()

    assert set(quick(made(), images, 1, callbacks=[Clear()]).keys()) == {"epoch", "loss", "lr", "gradients", "seconds"}
