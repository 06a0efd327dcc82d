"""The contractive autoencoder: its closed form is the Jacobian's, as the tape has it and as differences have it."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.models.contractive import DERIVATIVES, jacobian_norm, squared_norms

from .conftest import quick, weights

activations = pytest.mark.parametrize("activation", list(DERIVATIVES))


def model(activation="sigmoid", dtype="float64", strength=0.3, kind=ta.ContractiveAutoencoder):
    """6 numbers through 4 units."""
    ta.manual_seed(0)
    encoder = ta.Sequential(ta.Flatten(), ta.Dense(6, 4, activation))
    encoder[1].bias.data[...] = [0.3, -0.2, 0.1, 0.4]
    options = {"strength": strength} if kind is ta.ContractiveAutoencoder else {}
    decoder = ta.Sequential(ta.Dense(4, 6, "sigmoid"), ta.Reshape(2, 3))
    return kind(encoder, decoder, **options).astype(dtype)


def whole(tied=False, activation="sigmoid", strength=0.01, units=10):
    """For 8x8 images."""
    ta.manual_seed(0)
    encoder = [ta.Flatten(), ta.Dense(64, units, activation, "glorot")]
    decoder = [ta.Dense(units, 64, "sigmoid", "glorot"), ta.Reshape(8, 8, 1)]
    return ta.ContractiveAutoencoder.from_parts(encoder, decoder, strength=strength, tied=tied)


def examples(n=5, dtype="float64"):
    return np.random.default_rng(0).normal(size=(n, 2, 3)).astype(dtype)


def jacobians_by_tape(ae, x):
    """(N, units, inputs): one backward pass for each unit of each example."""
    found = np.zeros((len(x), 4, 6))
    for n, example in enumerate(x):
        for unit in range(4):
            leaf = ta.Tensor(example[None], requires_grad=True, dtype="float64")
            ae.code(leaf).backward(np.eye(4)[unit][None])
            found[n, unit] = leaf.grad.ravel()
    return found


def jacobians_by_differences(ae, x, h=1e-6):
    found = np.zeros((len(x), 4, 6))
    for i in range(6):
        moved = np.zeros(6)
        moved[i] = h
        found[:, :, i] = (ae.encode(x + moved.reshape(2, 3)) - ae.encode(x - moved.reshape(2, 3))) / (2 * h)
    return found


@activations
def test_the_closed_form_is_the_norm_of_the_jacobian(activation):
    ae, x = model(activation), examples()
    closed = squared_norms(ae.encoder[1], ae.code(ta.Tensor(x))).numpy()
    by_tape, by_differences = jacobians_by_tape(ae, x), jacobians_by_differences(ae, x)
    assert np.allclose(closed, (by_tape**2).sum(axis=(1, 2)), rtol=1e-12)
    assert np.allclose(closed, (by_differences**2).sum(axis=(1, 2)), rtol=1e-6)
    assert np.ptp(closed) > 1e-3 or activation is None  # they differ, so no constant would do
    assert np.isclose(ae.contraction(ae.code(ta.Tensor(x))).item(), closed.mean(), rtol=1e-12)
    assert np.isclose(ae.jacobian_norm(x), np.linalg.norm(by_tape, axis=(1, 2)).mean(), rtol=1e-12)


@activations
def test_gradients_of_the_penalty(activation):
    ae, x = model(activation), ta.Tensor(examples(), requires_grad=True)
    report = ta.check_gradients(lambda x, *_: squared_norms(ae.encoder[1], ae.code(x)), x, *ae.encoder.parameters())
    assert report and report.checked == 30 + 24 + 4, report


def test_the_objective_is_loss_and_penalty():
    ae, x = model("tanh"), ta.Tensor(examples() ** 2 / 20)
    terms = ae.objective(x, x, lambda module, z, y: ta.mse_loss(module(z), y))
    assert list(terms) == ["reconstruction", "contraction"]
    z = ae.encode(x.numpy())
    w = ae.encoder[1].weight.numpy()
    penalty = np.mean([((np.diag(1 - row**2) @ w.T) ** 2).sum() for row in z])
    assert np.isclose(terms["contraction"].item(), 0.3 * penalty)
    assert np.isclose(terms["reconstruction"].item(), ((ae.reconstruct(x.numpy()) - x.numpy()) ** 2).mean())


def test_of_a_linear_code_it_is_weight_decay():
    ae = model(None)
    w = ae.encoder[1].weight.numpy()
    assert np.isclose(ae.contraction(ae.code(ta.Tensor(examples()))).item(), (w**2).sum())


def test_the_norm_of_a_plain_autoencoder_on_every_backend(backend):
    x = examples(1500, "float32")  # more than are encoded together
    plain = model("sigmoid", "float32", kind=ta.Autoencoder)
    there = jacobian_norm(model("sigmoid", "float32", kind=ta.Autoencoder).to(backend), backend.asarray(x))
    assert isinstance(there, float) and np.isclose(there, jacobian_norm(plain, x), rtol=1e-5)
    assert np.isclose(jacobian_norm(plain, x), model("sigmoid").jacobian_norm(x.astype("float64")), rtol=1e-5)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("tied", [False, True])
def test_fit_is_the_loop_written_by_hand(tied, images):
    ours, theirs = whole(tied), whole(tied)
    history = quick(ours, images, 3, batch_size=8, seed=4, loss="bce")
    optimizer = ta.Adam(theirs.parameters())
    for epoch in range(3):
        for x in ta.batches(images, 8, seed=4, epoch=epoch):
            optimizer.zero_grad()
            z = theirs.code(x)
            loss = ta.bce_with_logits_loss(theirs.decoder.before_sigmoid(z), x) + 0.01 * theirs.contraction(z)
            loss.backward()
            optimizer.step()
    assert weights(ours) == weights(theirs)
    assert np.allclose(history["loss"], np.add(history["reconstruction"], history["contraction"]), rtol=1e-6)


@activations
def test_the_same_training_on_a_device(activation, device, images):
    here, there = whole(activation=activation), whole(activation=activation).to(device)
    histories = [quick(ae, images, 3, batch_size=8, validation_data=images[:20]) for ae in (here, there)]
    for name in ("loss", "contraction", "val_reconstruction"):
        assert np.allclose(histories[0][name], histories[1][name], rtol=1e-4)
    assert np.allclose(here.encode(images), there.to("numpy").encode(images), atol=1e-4)


def test_the_penalty_makes_the_code_move_less():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    plain, contractive = (whole(True, strength=strength, units=60) for strength in (0.0, 1e-2))
    for ae in (plain, contractive):
        quick(ae, x, 8, lr=3e-3)
    assert contractive.jacobian_norm(x_test) < 0.7 * plain.jacobian_norm(x_test)
    assert contractive.findings(x, x_test) == {
        "Frobenius norm of the encoder's Jacobian, held-out examples": contractive.jacobian_norm(x_test)
    }


def test_saved_and_loaded(tmp_path):
    ae, x = model(dtype="float32"), examples(dtype="float32")
    ta.save(ae, tmp_path / "m.safetensors")
    again = ta.load(tmp_path / "m.safetensors")
    assert type(again) is ta.ContractiveAutoencoder and again.strength == 0.3
    assert np.array_equal(again.reconstruct(x), ae.reconstruct(x)) and again.jacobian_norm(x) == ae.jacobian_norm(x)


def test_from_parts():
    ae = ta.ContractiveAutoencoder.from_parts([ta.Flatten(), ta.Dense(6, 4, "relu")], [ta.Dense(4, 6)], strength=0.1)
    assert ae.strength == 0.1 and len(ae.encoder) == 2
    tied, images = whole(tied=True), np.random.default_rng(0).random((3, 8, 8, 1), dtype="f")
    assert tied.parameter_count() == 64 * 10 + 10 + 64
    assert tied.decoder.ends_in_sigmoid() and tied.reconstruct(images).shape == images.shape


@pytest.mark.parametrize(
    "encoder, message",
    [
        ([ta.Dense(6, 4, "relu"), ta.Dense(4, 3)], r"the encoder is .*; expected one Dense layer"),
        ([ta.Dense(6, 4), ta.Activation("relu")], "expected one Dense layer"),
        ([ta.Conv2D(1, 2)], "Only of that the Jacobian's norm has a closed form"),
        ([ta.Flatten()], "expected one Dense layer"),
        ([ta.Dropout(0.5), ta.Dense(6, 4)], "expected one Dense layer"),
        ([ta.Dense(6, 4, "softmax")], "the encoder's activation is 'softmax', whose derivative"),
        ([ta.Dense(6, 4, "gelu")], "expected one of None, relu, leaky_relu, sigmoid, tanh, elu, softplus"),
    ],
)
def test_other_encoders_are_refused(encoder, message):
    with pytest.raises(RangeError, match="ContractiveAutoencoder: .*" + message):
        ta.ContractiveAutoencoder(ta.Sequential(*encoder), ta.Dense(4, 6))
    plain = ta.Autoencoder(ta.Sequential(*encoder), ta.Dense(4, 6))
    with pytest.raises(RangeError, match="jacobian_norm: "):
        jacobian_norm(plain, np.ones((2, 6), "f"))


def test_a_strength_below_zero_is_refused():
    with pytest.raises(RangeError, match="ContractiveAutoencoder: strength is -1"):
        model(strength=-1)
