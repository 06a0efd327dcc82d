"""Data sets are told apart, so that a run goes on with the data it began with; images that do not suit a model."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, ShapeError, StateError
from tinyae.rehearsal import fingerprint

from .conftest import made, quick, weights


def test_lengths_and_types_give_other_fingerprints():
    hashes = [fingerprint(np.zeros((n, 2), dtype)) for n, dtype in ((100, "f4"), (200, "f4"), (100, "i4"))]
    assert len(set(hashes)) == 3


def test_a_change_in_the_last_of_many_examples_is_noticed(rng, tmp_path):
    x = rng.random((200, 3), dtype=np.float32)

    def train(x):
        quick(ta.Autoencoder(ta.Dense(3, 2), ta.Dense(2, 3)), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])

    train(x)
    x[-1] = 0
    with pytest.raises(StateError, match="training data: was"):
        train(x)


def test_the_same_numbers_of_another_type_are_noticed(tmp_path):
    def train(x):
        quick(made(), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)], batch_size=10)

    train(np.zeros((50, 8, 8, 1), np.float32))
    with pytest.raises(StateError, match="training data: was"):
        train(np.zeros((50, 8, 8, 1), np.float64))


# ---------------------------------------------------------------- images


def conv(*last, activation="sigmoid"):
    """Down by pooling twice, and up again."""
    ta.manual_seed(0)
    return ta.Autoencoder(
        ta.Sequential(ta.Conv2D(1, 2, activation="relu"), ta.MaxPool2D(2), ta.Conv2D(2, 2), ta.MaxPool2D(2)),
        ta.Sequential(
            ta.UpSampling2D(2), ta.Conv2D(2, 2), ta.UpSampling2D(2), ta.Conv2D(2, 1, activation=activation), *last
        ),
    )


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_layer_that_loses_a_pixel_is_named_with_the_cure(loss, rng):
    model, x = conv(), rng.random((4, 10, 8, 1), dtype=np.float32)
    before = weights(model)
    with pytest.raises(ShapeError) as caught:
        quick(model, x, loss=loss)
    for part in (
        "encoder.3 MaxPool2D",
        "makes 2x2 of 5x4",
        "loses 1 row",
        "come out as 8x8",
        "padding='same'",
        "Crop2D",
    ):
        assert part in str(caught.value)
    assert weights(model) == before
    model.encoder[3].padding = "same"
    with pytest.raises(ShapeError, match=r"10x8 come out as 12x8.*Crop2D.*cuts the surplus off"):
        quick(model, x, loss=loss)
    model.decoder.layers.append(ta.Crop2D(((1, 1), (0, 0))))
    assert len(quick(model, x, loss=loss)) == 2


def test_other_outputs_are_explained_as_before(rng):
    model = ta.Autoencoder(ta.Conv2D(1, 2), ta.Conv2D(2, 3))  # of the right size, but three channels
    with pytest.raises(ShapeError, match=r"output has shape \(1, 8, 8, 3\), its target \(1, 8, 8, 1\)"):
        quick(model, rng.random((4, 8, 8, 1), dtype=np.float32))


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x: x.transpose(0, 3, 1, 2), ShapeError, r"Conv2D: the input has shape \(1, 1, 12, 12\).*channels first.*transpose\(0, 2, 3, 1\)"),
        (lambda x: np.repeat(x, 3, axis=3), ShapeError, "3 channels, but the layer has in_channels=1"),
        (lambda x: x[..., 0], ShapeError, "axis of channels is missing"),
        (lambda x: x[:, :2, :2], ShapeError, "window of 2x2 is larger than the image of 1x1"),
        (lambda x: 255 * x, RangeError, "range from 0.* to 25.*divide pixels by 255"),
        (lambda x: (255 * x).astype(np.uint8), RangeError, "range from 0 to 25.*divide pixels by 255"),
    ],
)  # fmt: skip
def test_images_that_do_not_suit_the_model(change, error, message, rng):
    model, x = conv(), rng.random((6, 12, 12, 1), dtype=np.float32)
    before = weights(model)
    with pytest.raises(error, match=message):
        quick(model, change(x))
    with pytest.raises(error, match=message):
        quick(model, x, validation_data=change(x))
    assert weights(model) == before


def test_a_last_batch_that_a_batch_norm_cannot_take_is_refused_before_anything_changes():
    """One example alone has no variance."""
    x = np.random.default_rng(0).random((33, 6), dtype=np.float32)
    model = ta.Sequential(ta.Dense(6, 4), ta.BatchNorm(4), ta.Dense(4, 6))
    before = model.state_dict()
    with pytest.raises(
        ShapeError, match="33 examples in batches of 32 leave one alone, and BatchNorm.*another batch_size"
    ):
        ta.fit(model, x, x, 1, batch_size=32, progress=False)
    with pytest.raises(ShapeError, match="leave one alone"):
        ta.fit(model, x, x, 1, batch_size=1, progress=False)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    ta.fit(model, x, x, 1, batch_size=31, progress=False)
    images = x[:, :, None, None] * np.ones((1, 1, 4, 1), np.float32)
    model = ta.Sequential(ta.Conv2D(1, 2), ta.BatchNorm(2), ta.Conv2D(2, 1))
    ta.fit(model, images, images, 1, batch_size=32, progress=False)
