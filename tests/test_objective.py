"""What a model minimises besides a loss: its terms in the history, on every device, and what is refused; augmentation."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import draw, own
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.tensor import wrap

from .conftest import made, quick, weights


class Sparse(ta.Autoencoder):
    """Its loss, and the mean absolute code."""

    def objective(self, x, y, loss):
        z = self.code(x)
        return {"reconstruction": loss(self.decoder, z, y), "activity": 0.1 * z.abs().mean()}


def sparse(seed=0):
    plain = made(seed)
    return Sparse(plain.encoder, plain.decoder)


class Flip:
    """Mirrors the batch, by chance."""

    def __call__(self, x):
        side = draw("uniform", (len(x.data), 1, 1, 1), "noise", x.backend) < 0.5
        return own(wrap(x.backend.xp.where(side, x.data[:, :, ::-1], x.data), x.backend))


# ---------------------------------------------------------------- terms


def test_the_terms_add_up_to_the_loss_and_stand_in_the_history(images):
    history = quick(sparse(), images, validation_data=images[:20])
    for record in history.records:
        for part in ("", "val_"):
            total = record[f"{part}reconstruction"] + record[f"{part}activity"]
            assert record[f"{part}activity"] > 0 and np.isclose(record[f"{part}loss"], total, rtol=1e-5)
    assert len(history["val_activity"]) == 2


def test_fit_is_the_loop_written_by_hand(images):
    ours, theirs = sparse(), sparse()
    history = quick(ours, images, epochs=3, batch_size=8)
    optimizer = ta.Adam(theirs.parameters())
    ta.manual_seed(0)
    for epoch in range(3):
        activity = 0.0
        for x in ta.batches(images, 8, epoch=epoch):
            optimizer.zero_grad()
            z = theirs.encoder(x)
            penalty = 0.1 * z.abs().mean()
            (ta.mse_loss(theirs.decoder(z), x) + penalty).backward()
            optimizer.step()
            activity += penalty.item() * len(x.data)
        assert np.isclose(history["activity"][epoch], activity / len(images), rtol=1e-6)
    assert weights(ours) == weights(theirs)


def test_a_held_out_term_is_a_mean_over_examples(images):
    model = sparse()
    history = quick(model, images, epochs=1, batch_size=7, validation_data=images[:23])
    z = model.encode(images[:23])
    assert np.isclose(history["val_activity"][0], 0.1 * np.abs(z).mean(), rtol=1e-5)


def test_terms_on_a_device_are_those_of_the_cpu(device, images):
    options = {"epochs": 3, "batch_size": 8, "validation_data": images[:20]}
    here, there = quick(sparse(), images, **options), quick(sparse().to(device.name), images, **options)
    for name in ("loss", "reconstruction", "activity", "val_loss", "val_activity"):
        assert np.allclose(here[name], there[name], rtol=1e-4)


def test_penalties_and_terms_are_kept_apart(images):
    history = quick(sparse(), images, regularizers=[ta.L2(1e-3)])
    for record in history.records:
        assert np.isclose(record["loss"], record["reconstruction"] + record["activity"], rtol=1e-5)
        assert record["penalty"] > 0


def test_progress_says_what_the_loss_is_the_sum_of(images, capsys):
    sparse().fit(images, 1, validation_data=images[:20])
    shown = capsys.readouterr().err
    assert " (reconstruction " in shown and " + activity " in shown and shown.count("activity") == 2


def test_a_term_can_be_watched(images):
    history = quick(sparse(), images, epochs=9, lr=1e-9, callbacks=[ta.EarlyStopping(1, 1, monitor="activity")])
    assert "activity has not fallen" in history.stop_reason


@pytest.mark.parametrize(
    ("terms", "error", "parts"),
    [
        (lambda x: x.mean(), DtypeError, ["objective returned", "dict"]),
        (lambda x: {}, DtypeError, ["objective returned {}"]),
        (lambda x: {"a": x.mean(), "b": x}, ShapeError, ["the objective's term 'b'", "(1, 8, 8, 1)"]),
        (lambda x: {"a": x.mean(), "b": 1.0}, ShapeError, ["the objective's term 'b' returned 1.0"]),
        (lambda x: {"loss": x.mean(), "b": x.mean()}, RangeError, ["term 'loss'", "another"]),
        (lambda x: {"lr": x.mean()}, RangeError, ["term 'lr'"]),
    ],
)
def test_an_objective_that_is_none_is_refused(images, terms, error, parts):
    model = made()
    model.objective = lambda x, y, loss: terms(x)
    before = weights(model)
    with pytest.raises(error) as info:
        quick(model, images)
    assert all(part in str(info.value) for part in parts), info.value
    assert weights(model) == before


class Changing(ta.Autoencoder):
    """Another set of terms in training than in evaluation."""

    in_training, in_evaluation = ("loss",), ("loss",)

    def objective(self, x, y, loss):
        names = self.in_training if self.training else self.in_evaluation
        value = loss(self, x, y)
        return {name: value / len(names) for name in names}


@pytest.mark.parametrize(
    "in_evaluation, in_training", [(("loss",), ("loss", "extra")), (("one", "two"), ("one", "two", "extra"))]
)
def test_a_term_that_comes_later_is_refused(images, in_evaluation, in_training):
    plain = made()
    model = Changing(plain.encoder, plain.decoder)
    model.in_training, model.in_evaluation = in_training, in_evaluation
    with pytest.raises(RangeError, match="has a term 'extra', which it had not when the training began"):
        quick(model, images)


def test_a_term_that_is_missing_is_0(images, backend):
    plain = made()
    model = Changing(plain.encoder, plain.decoder).to(backend)
    model.in_training, model.in_evaluation = ("one", "two"), ("one", "two", "extra")
    last = quick(model, images, validation_data=images[:20]).records[-1]
    assert last["extra"] == 0 and np.isclose(last["loss"], last["one"] + last["two"], rtol=1e-5)
    assert last["val_extra"] > 0


def test_trying_one_example_takes_nothing_from_the_users_chance(images):
    class Noisy(ta.Autoencoder):
        def objective(self, x, y, loss):
            noise = wrap(draw("normal", x.shape, "sample", x.backend), x.backend)
            return {"loss": loss(self, x + noise, y)}

    plain = made()
    ta.manual_seed(3)
    expected = draw("normal", (4,), "sample", plain.backend)
    ta.manual_seed(3)
    quick(Noisy(plain.encoder, plain.decoder), images)
    assert np.array_equal(draw("normal", (4,), "sample", plain.backend), expected)


# ---------------------------------------------------------------- the model's own loss and callbacks


def test_a_model_has_a_loss_of_its_own(images):
    ours, theirs = made(), made()
    ours.default_loss = "bce"
    quick(ours, images)
    quick(theirs, images, loss="bce")
    assert weights(ours) == weights(theirs)


def test_a_model_can_refuse_a_loss(images):
    class Picky(ta.Autoencoder):
        def check_loss(self, loss):
            if loss != "bce":
                raise RangeError(f"Picky: {loss}")

    plain = made()
    model = Picky(plain.encoder, plain.decoder)
    with pytest.raises(RangeError, match="Picky: mse"):
        quick(model, images)
    assert len(quick(model, images, loss="bce")) == 2


def test_a_model_brings_its_callbacks(images):
    seen = []

    class Watch(ta.Callback):
        def on_train_end(self):
            seen.append(self.trainer.epoch)

    model = made()
    model.watchers = lambda: [Watch()]
    quick(model, images, epochs=3)
    assert seen == [3]


def test_what_a_models_callbacks_add_is_told_to_the_others_and_their_last_look_is_the_last(images):
    told, order = [], []

    class Watch(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["found"] = 10 * epoch

        def on_train_end(self):
            order.append("the model's")

    class Given(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            told.append(logs["found"])

        def on_train_end(self):
            order.append("the user's")

    model = made()
    model.watchers = lambda: [Watch()]
    quick(model, images, callbacks=[Given()])
    assert told == [10, 20] and order == ["the user's", "the model's"]


# ---------------------------------------------------------------- augmentation


@pytest.mark.parametrize("place", ["numpy", "strict"])
def test_augmented_examples_are_their_own_targets(images, place):
    """Weights learnt by a Dense layer without an activation tell which pairs it saw: the same as by hand."""
    if place != "numpy" and ta.get_backend(place).twin("gather") is None:
        pytest.skip("needs g++, to run the GPU's kernels on the CPU")
    ours, theirs = made().to(place), made()
    quick(ours, images, epochs=2, batch_size=8, augment=[Flip()])
    optimizer, flip = ta.Adam(theirs.parameters()), Flip()
    ta.manual_seed(0)
    for epoch in range(2):
        for x in ta.batches(images, 8, epoch=epoch):
            x = flip(x)
            optimizer.zero_grad()
            ta.mse_loss(theirs(x), x).backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert np.allclose(a.numpy(), b.numpy(), atol=0 if place == "numpy" else 1e-4)


def test_other_targets_stay_as_they_are(images):
    seen = []

    def loss(prediction, target):
        seen.append(target.numpy())
        return ta.mse_loss(prediction, target)

    targets = np.full_like(images, 0.25)
    ta.fit(made(), images, targets, 1, loss=loss, augment=[Flip()], progress=False)
    assert all((target == 0.25).all() for target in seen)


def test_held_out_examples_are_not_augmented(images):
    model = made()
    history = quick(model, images, epochs=1, validation_data=images[:20], augment=[Flip()])
    expected = ta.mse_loss(model.reconstruct(images[:20]), images[:20]).item()
    assert np.isclose(history["val_loss"][0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("augment", "error", "part"),
    [
        (Flip(), DtypeError, "augment is"),
        ([3], DtypeError, "augment is [3]"),
        ([lambda x: x[:, 1:]], ShapeError, "augment made"),
        ([lambda x: x.numpy()], ShapeError, "augment made"),
    ],
)
def test_augmentation_that_is_none_is_refused(images, augment, error, part):
    with pytest.raises(error) as info:
        quick(made(), images, augment=augment)
    assert part in str(info.value)


def test_a_captured_step_that_draws_numbers_runs_as_it_is_written(images):
    """Numbers that are drawn go straight into a kernel: repeated, they would be the same each time."""
    plain = made()
    model, values = plain.decoder[1], []

    @ta.capture
    def step(x):
        noise = own(wrap(draw("normal", (8, 4), "sample", x.backend), x.backend))
        loss = ta.mse_loss(model(noise), x)
        model.zero_grad()
        loss.backward()
        return loss

    x = ta.Tensor(images[:8].reshape(8, 64))
    with pytest.warns(ta.CaptureWarning, match="draws random numbers"):
        for _ in range(5):
            values.append(step(x).item())
    assert len(set(values)) == 5
