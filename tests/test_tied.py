"""Tied weights: one weight in two places, with both gradients, and one in a file, a summary and a move."""

import copy

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, ShapeError, StateError
from tinyae.nn.images import Conv2D

from .conftest import quick, weights


def tied_model(output="sigmoid", seed=0):
    """64-16-4-16-64 with two weights instead of four."""
    ta.manual_seed(seed)
    encoder = ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dropout(0.1), ta.Dense(16, 4))
    return ta.Autoencoder(encoder, ta.tied_decoder(encoder, output, (8, 8, 1)))


def test_it_computes_by_the_transpose_of_the_weight_now(rng):
    layer = ta.Dense(5, 3, "relu").astype("float64")
    back = ta.TiedDense(layer, "tanh")
    z = rng.normal(size=(4, 3))
    assert back.bias.dtype == np.float64 and (back.in_features, back.out_features) == (3, 5)
    back.bias.data[...] = rng.normal(size=5)
    for _ in range(2):
        expected = np.tanh(z @ layer.weight.numpy().T + back.bias.numpy())
        assert np.allclose(back(z).numpy(), expected, rtol=1e-13, atol=0)
        layer.weight.data[...] = rng.normal(size=(5, 3))  # training changes both
    without = ta.TiedDense(layer, bias=False)
    assert without.bias is None and np.allclose(without(z).numpy(), z @ layer.weight.numpy().T, rtol=1e-13, atol=0)


def test_the_weight_gets_both_gradients(rng):
    ta.manual_seed(1)
    layer = ta.Dense(5, 3, "tanh").astype("float64")
    model = ta.Autoencoder(ta.Sequential(layer), ta.Sequential(ta.TiedDense(layer, "sigmoid")))
    x = ta.Tensor(rng.random((6, 5)))
    loss = lambda *_: ta.mse_loss(model(x), x)  # noqa: E731
    assert ta.check_gradients(loss, *model.parameters())
    # by hand: the gradient of the encoder's place and that of the decoder's, each from an untied twin
    twin = ta.Autoencoder(
        ta.Sequential(copy.deepcopy(layer)), ta.Sequential(ta.Dense(3, 5, "sigmoid").astype("float64"))
    )
    twin.decoder[0].weight.data[...] = layer.weight.numpy().T
    twin.decoder[0].bias.data[...] = model.decoder[0].bias.numpy()
    for each in (model, twin):
        ta.mse_loss(each(x), x).backward()
    both = twin.encoder[0].weight.grad + twin.decoder[0].weight.grad.T
    assert np.abs(twin.decoder[0].weight.grad).max() > 1e-4
    assert np.allclose(layer.weight.grad, both, rtol=1e-12, atol=1e-15)


def test_a_stacked_autoencoder_is_tied_in_one_line(images):
    model = tied_model()
    encoder, decoder = model.encoder, model.decoder
    assert [type(layer).__name__ for layer in decoder] == ["TiedDense", "TiedDense", "Reshape"]
    assert decoder[0].of is encoder[3] and decoder[1].of is encoder[1]
    assert (decoder[0].activation, decoder[1].activation) == ("relu", "sigmoid")
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        "encoder.1.weight",
        "encoder.1.bias",
        "encoder.3.weight",
        "encoder.3.bias",
        "decoder.0.bias",
        "decoder.1.bias",
    ]
    assert model.parameter_count() == 64 * 16 + 16 + 16 * 4 + 4 + 16 + 64
    assert model.ends_in_sigmoid() and model.reconstruct(images).shape == images.shape
    before = ta.mse_loss(model.reconstruct(images), images).item()
    quick(model, images, epochs=20, lr=1e-2, loss="bce")
    assert ta.mse_loss(model.reconstruct(images), images).item() < 0.9 * before
    assert np.array_equal(decoder[1].weight.numpy(), encoder[1].weight.numpy().T)


def test_logits_are_those_before_the_sigmoid(images):
    model = tied_model().eval()
    logits = model.before_sigmoid(ta.Tensor(images))
    assert np.allclose(ta.sigmoid(logits).numpy(), model(images).numpy(), atol=1e-6)
    with pytest.raises(ShapeError, match="TiedDense"):
        tied_model(None).decoder[1].before_sigmoid(ta.Tensor(np.ones((1, 16), "f")))


def test_the_summary_counts_a_shared_weight_once_and_names_it_where_it_is():
    lines = str(tied_model().summary((8, 8, 1))).splitlines()
    found = {line.split()[0]: line.split()[-1] for line in lines if line.startswith(("encoder", "decoder"))}
    assert found == {"encoder.0": "0", "encoder.1": "1,040", "encoder.2": "0", "encoder.3": "68", "decoder.0": "16",
                     "decoder.1": "64", "decoder.2": "0"}  # fmt: skip
    assert lines[-1] == "1,188 parameters"
    alone = str(tied_model().decoder.summary((4,)))
    assert "1,188 parameters" in alone  # there the weights are met for the first time
    layer = ta.Dense(3, 3, "elu")
    twice = str(ta.Sequential(layer, layer).summary((3,))).splitlines()
    assert [line.split()[-1] for line in twice[2:4]] == ["12", "0"]


def test_a_file_keeps_what_is_one(tmp_path, images):
    model = tied_model()
    quick(model, images)
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert loaded.decoder[1].of is loaded.encoder[1] and loaded.decoder[0].of is loaded.encoder[3]
    assert weights(loaded) == weights(model) and repr(loaded) == repr(model)
    assert np.array_equal(loaded.reconstruct(images), model.reconstruct(images))
    quick(loaded, images, lr=1e-2)
    assert np.array_equal(loaded.decoder[1].weight.numpy(), loaded.encoder[1].weight.numpy().T)
    ta.save(model.decoder, tmp_path / "d")  # alone it brings its weights along
    z = np.ones((2, 4), np.float32)
    assert np.array_equal(ta.load(tmp_path / "d")(z).numpy(), model.decoder.eval()(z).numpy())


def test_a_tensor_in_two_layers_is_refused_still(tmp_path):
    model = ta.Sequential(ta.Dense(3, 3), ta.Dense(3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(StateError, match=r"shares its weight.*TiedDense"):
        ta.save(model, tmp_path / "m")
    tied = tied_model()
    tied.decoder[0].bias = tied.encoder[1].bias
    with pytest.raises(StateError, match="shares its bias"):
        ta.save(tied, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_it_is_moved_and_trained_there(backend, images):
    model, here = tied_model(), tied_model()
    tensors = model.parameters()
    model.to(backend)
    assert all(a is b and a.backend is backend for a, b in zip(tensors, model.parameters()))
    assert ta.TiedDense(model.encoder[1]).bias.backend is backend
    options = {"lr": 1e-2, "batch_size": 16, "seed": 3}
    quick(model, images, epochs=3, **options)
    quick(here, images, epochs=3, **options)
    for a, b in zip(model.parameters(), here.parameters()):
        assert np.allclose(backend.to_host(a.data), b.numpy(), atol=2e-4)


def test_it_is_copied_with_what_it_is_tied_to():
    model = tied_model()
    twin = copy.deepcopy(model)
    assert twin.decoder[1].of is twin.encoder[1] and twin.decoder[1].of is not model.encoder[1]


def test_a_decoder_of_tied_layers_alone_is_moved_and_restored():
    decoder = tied_model().decoder
    state = decoder.state_dict()
    assert set(state) == {"0.of.weight", "0.of.bias", "0.bias", "1.of.weight", "1.of.bias", "1.bias"}
    decoder.astype("float64")
    assert decoder[0].of.weight.dtype == np.float64 and decoder.dtype == np.float64


@pytest.mark.parametrize(
    "encoder, options, error, message",
    [
        ([Conv2D(1, 2)], {}, DtypeError, "Conv2D.*has no mirror image"),
        (
            [ta.Dense(4, 3), ta.Activation("relu"), ta.Dense(3, 2)],
            {},
            DtypeError,
            r"Activation\('relu'\) has no mirror image",
        ),
        ([ta.Flatten()], {}, DtypeError, "has no Dense layer"),
        ([ta.Flatten(), ta.Dense(4, 2)], {}, ShapeError, r"begins with a Flatten.*shape=\(28, 28, 1\)"),
        (
            [ta.Flatten(), ta.Dense(4, 2)],
            {"shape": (2, 3)},
            ShapeError,
            r"\(2, 3\) has 6 numbers, the first layer takes 4",
        ),
        ([ta.Dense(4, 3), ta.Dense(2, 1)], {}, ShapeError, "their widths differ"),
    ],
)
def test_what_has_no_mirror_image(encoder, options, error, message):
    with pytest.raises(error, match=message):
        ta.tied_decoder(ta.Sequential(*encoder), **options)


def test_wrong_ties():
    with pytest.raises(DtypeError, match="to be tied to is 'encoder'; expected a Dense layer"):
        ta.TiedDense("encoder")
    with pytest.raises(ShapeError, match=r"shape \(2, 4\); expected \(N, 3\)"):
        ta.TiedDense(ta.Dense(4, 3))(np.ones((2, 4)))
