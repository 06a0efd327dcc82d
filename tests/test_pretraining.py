"""Greedy layer-wise pre-training: which layers are trained on what, and what it is good for."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.models.pretraining import pairs

from .conftest import quick, weights


def stacked(widths=(64, 24, 12, 4), activation="sigmoid", init="glorot", seed=0, tied=False):
    """A dense autoencoder of 8x8 images; the code is linear."""
    ta.manual_seed(seed)
    n = len(widths) - 1
    names = [activation] * (n - 1)
    encoder = ta.Sequential(
        ta.Flatten(), *(ta.Dense(a, b, f, init) for a, b, f in zip(widths, widths[1:], [*names, None]))
    )
    if tied:
        return ta.Autoencoder(encoder, ta.tied_decoder(encoder, "sigmoid", (8, 8, 1)))
    back = widths[::-1]
    decoder = [ta.Dense(a, b, f, init) for a, b, f in zip(back, back[1:], [*names, "sigmoid"])]
    return ta.Autoencoder(encoder, ta.Sequential(*decoder, ta.Reshape(8, 8, 1)))


@pytest.mark.parametrize("tied", [False, True])
def test_each_pair_is_trained_by_fit_on_the_codes_before_it(images, tied):
    """The same by hand, to the last bit."""
    model, twin = stacked(tied=tied), stacked(tied=tied)
    layers = model.parameters()
    histories = ta.pretrain(
        model, images, 3, validation_data=images[:9], lr=1e-2, batch_size=16, seed=4, progress=False
    )
    assert all(a is b for a, b in zip(layers, model.parameters()))  # the same objects
    e, d = twin.encoder, twin.decoder
    stages = [
        ta.Autoencoder(ta.Sequential(e[0], e[1]), ta.Sequential(d[2], d[3])),
        ta.Autoencoder(ta.Sequential(e[2]), ta.Sequential(d[1])),
        ta.Autoencoder(ta.Sequential(e[3]), ta.Sequential(d[0])),
    ]
    x, held_out = images, images[:9]
    for stage, history in zip(stages, histories, strict=True):
        expected = quick(stage, x, 3, validation_data=held_out, lr=1e-2, batch_size=16, seed=4)
        assert history["loss"] == expected["loss"] and history["val_loss"] == expected["val_loss"]
        x, held_out = stage.encode(x), stage.encode(held_out)
    assert weights(model) == weights(twin) and x.shape == (50, 4)
    for history in histories:
        assert history["loss"][-1] < history["loss"][0]


def test_layers_without_weights_go_with_the_dense_layer_before_them():
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.GaussianNoise(0.1), ta.Dense(64, 8), ta.Activation("tanh"), ta.Dropout(0.1), ta.Dense(8, 2)),
        ta.Sequential(ta.Dropout(0.2), ta.Sequential(ta.Dense(2, 8), ta.Activation("tanh")), ta.Dense(8, 64), ta.Reshape(8, 8, 1)),
    )  # fmt: skip
    found = [([type(x).__name__ for x in s.encoder], [type(x).__name__ for x in s.decoder]) for s in pairs(model)]
    assert found == [
        (["Flatten", "GaussianNoise", "Dense", "Activation", "Dropout"], ["Dense", "Reshape"]),
        (["Dense"], ["Dropout", "Dense", "Activation"]),
    ]


def test_cross_entropy_is_for_what_ends_in_a_sigmoid(images):
    """The pair that sees x, and those within that end in one; others take the squared error."""
    for activation, bounded in (("sigmoid", True), ("relu", False)):
        losses = []
        model = stacked(activation=activation)
        for stage in pairs(model):
            stage_fit = stage.fit
            losses.append((stage.ends_in_sigmoid(), stage_fit))
        assert [is_one for is_one, _ in losses] == [True, bounded, bounded]
        assert len(ta.pretrain(model, images, 1, loss="bce", progress=False)) == 3
    first = ta.pretrain(stacked(), images, 1, loss="bce", progress=False)[0]["loss"][0]
    assert first > 0.6 > ta.pretrain(stacked(), images, 1, progress=False)[0]["loss"][0]


def broken(encoder, decoder):
    return ta.Autoencoder(ta.Sequential(*encoder), ta.Sequential(*decoder))


@pytest.mark.parametrize(
    "model, error, message",
    [
        (
            broken([ta.Dense(6, 4), ta.Dense(4, 2)], [ta.Dense(2, 6)]),
            ShapeError,
            "the encoder has 2 dense layers, the decoder 1",
        ),
        (
            broken([ta.Dense(6, 4), ta.Dense(4, 2)], [ta.Dense(2, 3), ta.Dense(3, 6)]),
            ShapeError,
            r"Dense\(6, 4.*of the encoder and Dense\(3, 6.*are no pair: expected 4 numbers back to 6",
        ),
        (
            broken([ta.Dense(6, 4), ta.BatchNorm(4)], [ta.Dense(4, 6)]),
            DtypeError,
            "the encoder has BatchNorm.*by fit alone",
        ),
        (broken([ta.Flatten()], [ta.Dense(4, 6)]), DtypeError, "the encoder has no dense layer"),
        (ta.Sequential(ta.Dense(6, 6)), DtypeError, "expected an Autoencoder"),
    ],
)
def test_layers_that_do_not_mirror_are_refused_before_any_training(model, error, message):
    before = weights(model)
    with pytest.raises(error, match=message):
        ta.pretrain(model, np.ones((9, 6), "f"), 1, progress=False)
    assert weights(model) == before


def test_wrong_options(images):
    model = stacked()
    with pytest.raises(DtypeError, match="optimizer is Adam.*expected a name, such as 'adam'"):
        ta.pretrain(model, images, 1, optimizer=ta.Adam(model.parameters()))
    with pytest.raises(RangeError, match="epochs is 0"):
        ta.pretrain(model, images, 0, progress=False)
    with pytest.raises(RangeError, match="unknown loss"):
        ta.pretrain(model, images, 1, loss="mae", progress=False)


def test_ctrl_c_ends_it(images):
    class Stop(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            raise_signal()

    import signal

    def raise_signal():
        signal.raise_signal(signal.SIGINT)

    histories = ta.pretrain(stacked(), images, 4, callbacks=[Stop()], progress=False)
    assert len(histories) == 1 and histories[0].interrupted and len(histories[0]) == 1


@pytest.mark.slow
def test_a_deep_sigmoid_net_that_does_not_learn_at_all_learns_after_it():
    """64-128-128-128-128-8 of sigmoids with Adam stays at the mean image; pre-trained it is better than PCA."""
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    alone = stacked((64, 128, 128, 128, 128, 8))
    with pytest.warns(ta.CollapseWarning, match="predicts the same for every input"):  # its gradients fade on the way
        assert quick(alone, x, 20, validation_data=x_test)["val_loss"][-1] > 0.07
    model = stacked((64, 128, 128, 128, 128, 8))
    ta.pretrain(model, x, 20, progress=False)
    assert quick(model, x, 20, validation_data=x_test)["val_loss"][-1] < 0.0245
