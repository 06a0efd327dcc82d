"""The denoising autoencoder: what is corrupted and what is not, and how denoising is measured."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.models.denoising import HELD_OUT_SEED, denoising_errors
from tinyae.nn.noise import Noise

from .conftest import quick, weights

NOISES = [ta.GaussianNoise(0.4, clip=(0, 1)), ta.MaskingNoise(0.3), ta.SaltAndPepper(0.2)]
noises = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)


def model(noise=NOISES[0], end="sigmoid", units=12):
    ta.manual_seed(0)
    return ta.DenoisingAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, units, "relu")),
        ta.Sequential(ta.Dense(units, 64, end), ta.Reshape(8, 8, 1)),
        noise,
    )


def plain(ae):
    """The same layers, without noise."""
    return ta.Autoencoder(ae.encoder, ae.decoder)


@noises
def test_it_corrupts_its_input_in_training_only(noise, images):
    ae, x = model(noise), ta.Tensor(images)
    assert np.array_equal(ae.eval()(x).numpy(), plain(ae)(x).numpy())
    ae.train()
    assert not np.array_equal(ae(x).numpy(), ae(x).numpy())
    for corrupted in (ae.forward, lambda x: ta.sigmoid(ae.before_sigmoid(x))):
        ta.manual_seed(3)
        ours = corrupted(x).numpy()
        ta.manual_seed(3)
        assert np.allclose(ours, plain(ae)(noise(x)).numpy(), atol=1e-6)
    assert np.array_equal(ae.reconstruct(images), plain(ae).reconstruct(images))  # arrays: in evaluation mode
    assert np.array_equal(ae.encode(x).numpy(), plain(ae).encode(x).numpy())  # a code is never that of a noisy input


@pytest.mark.usefixtures("everywhere")
@noises
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_fit_is_the_loop_written_by_hand(noise, loss, images):
    """The target is the clean picture; the noise of every batch is new, though fit repeats what it can of its steps."""
    ours, theirs = model(noise), model(noise)
    history = quick(ours, images, 3, batch_size=8, seed=4, loss=loss)
    optimizer, losses = ta.Adam(theirs.parameters()), []
    ta.manual_seed(4)
    for epoch in range(3):
        for x in ta.batches(images, 8, seed=4, epoch=epoch):
            optimizer.zero_grad()
            noisy = noise(x)
            if loss == "mse":
                value = ta.mse_loss(plain(theirs)(noisy), x)
            else:
                value = ta.bce_with_logits_loss(plain(theirs).before_sigmoid(noisy), x)
            value.backward()
            optimizer.step()
            losses.append(value.item() * len(x))
    assert weights(ours) == weights(theirs)
    assert np.isclose(history["loss"][-1], sum(losses[-7:]) / 50, rtol=1e-6)


@noises
def test_the_same_training_on_a_device(noise, device, images):
    here, there = model(noise), model(noise).to(device)
    histories = [quick(ae, images, 3, batch_size=8, validation_data=images[:20]) for ae in (here, there)]
    for name in ("loss", "val_loss"):
        assert np.allclose(histories[0][name], histories[1][name], rtol=1e-3)
    assert np.allclose(here.encode(images), there.to("numpy").encode(images), atol=1e-3)


def test_on_a_device_the_noise_of_val_loss_costs_no_read(device, images):
    counted = []

    class Count(ta.Callback):
        def on_train_begin(self):
            counted.append(device.reads)

        def on_train_end(self):
            counted.append(device.reads)

    for ae in (model(), plain(model())):
        quick(ae.to(device), images, 3, batch_size=8, validation_data=images[:20], callbacks=[Count()])
    assert counted[1] - counted[0] == counted[3] - counted[2]


@noises
def test_val_loss_measures_denoising_with_noise_that_stays(noise, images):
    ae = model(noise)
    held_out = images[:20]
    history = quick(ae, images, 2, lr=1e-12, validation_data=held_out)
    noisy = noise.corrupted(held_out, HELD_OUT_SEED)
    expected = ((ae.reconstruct(noisy) - held_out) ** 2).mean()
    assert np.allclose(history["val_loss"], expected, rtol=1e-4)
    assert not np.isclose(expected, ((ae.reconstruct(held_out) - held_out) ** 2).mean(), rtol=1e-3)


def test_a_pair_of_held_out_examples_is_taken_as_it_is(images):
    ae = model()
    noisy = ta.MaskingNoise(0.5).corrupted(images[:20], 7)
    history = quick(ae, images, 1, lr=1e-12, validation_data=(noisy, images[:20]))
    assert np.isclose(history["val_loss"][0], ((ae.reconstruct(noisy) - images[:20]) ** 2).mean(), rtol=1e-4)


def test_the_noise_of_val_loss_takes_nothing_from_the_training(images):
    ours, theirs = model(), model()
    quick(ours, images, 2)
    quick(theirs, images, 2, validation_data=images[:20])
    assert weights(ours) == weights(theirs)


def test_it_learns_to_denoise():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    denoising = model(units=100)
    copying = model(ta.GaussianNoise(0.0), units=100)
    for ae in (denoising, copying):
        quick(ae, x, 15, lr=3e-3, loss="bce")
    denoisers = {"noisy": lambda x: x, "denoising": denoising.reconstruct, "copying": copying.reconstruct}
    found = denoising_errors(denoisers, x_test, NOISES[0])
    assert found["denoising"]["psnr"] > max(found["noisy"]["psnr"] + 4, found["copying"]["psnr"] + 1.5), found
    assert found["denoising"]["bce"] < 0.33 < found["copying"]["bce"]


def test_errors_are_their_formulas(images, monkeypatch):
    monkeypatch.setattr("tinyae.nn.noise.PIECE", 64 * 20)  # three pieces
    noise, guess = ta.SaltAndPepper(0.3), lambda noisy: 0.5 * noisy + 0.25
    found = denoising_errors({"noisy": lambda x: x, "half": guess}, images, noise, seed=5)
    noisy, clean = noise.corrupted(images, 5).astype("d"), images.astype("d")
    for name, made in (("noisy", noisy), ("half", guess(noisy))):
        squares = ((made - clean) ** 2).reshape(50, -1).mean(axis=1)
        assert np.isclose(found[name]["mse"], squares.mean())
        assert np.isclose(found[name]["psnr"], (10 * np.log10(1 / squares)).mean())
    p = guess(noisy)
    assert np.isclose(found["half"]["bce"], -(clean * np.log(p) + (1 - clean) * np.log(1 - p)).mean())
    assert "bce" not in denoising_errors({"a": lambda x: x}, images * 3, noise)["a"]


def test_errors_of_a_model_on_a_device(backend, images):
    there, here = model().to(backend), model()
    found = denoising_errors({"denoised": there.reconstruct}, backend.asarray(images), there.noise)
    expected = denoising_errors({"denoised": here.reconstruct}, images, here.noise)
    assert found["denoised"] == pytest.approx(expected["denoised"], rel=1e-4)


def test_findings_are_those_errors(images):
    ae = model()
    found = ae.findings(images, images)
    errors = denoising_errors({"noisy": lambda x: x, "denoised": ae.reconstruct}, images, ae.noise, HELD_OUT_SEED)
    assert found["PSNR, dB, of the denoised ones"] == errors["denoised"]["psnr"]
    assert found["PSNR, dB, of the noisy ones"] == errors["noisy"]["psnr"]
    assert found["cross-entropy of the denoised ones"] == errors["denoised"]["bce"]


@noises
def test_saved_and_loaded(noise, tmp_path, images):
    ae = model(noise)
    ta.save(ae, tmp_path / "m.safetensors")
    again = ta.load(tmp_path / "m.safetensors")
    assert type(again) is ta.DenoisingAutoencoder and repr(again.noise) == repr(noise)
    assert np.array_equal(again.reconstruct(images), ae.reconstruct(images))


def test_from_parts():
    parts = [ta.Flatten(), ta.Dense(64, 3)], [ta.Dense(3, 64), ta.Reshape(8, 8, 1)]
    ae = ta.DenoisingAutoencoder.from_parts(*parts, noise="gaussian", strength=0.2, clip=[0, 1])
    assert repr(ae.noise) == repr(ta.GaussianNoise(0.2, (0, 1)))
    assert repr(ta.DenoisingAutoencoder.from_parts(*parts, noise="masking", strength=0.3).noise) == repr(
        ta.MaskingNoise(0.3)
    )
    with pytest.raises(RangeError, match="unknown noise 'pepper'"):
        ta.DenoisingAutoencoder.from_parts(*parts, noise="pepper")


def test_a_noise_of_ones_own(images):
    class Half(Noise):
        """The right half is lost."""

        strength = 1.0

        def corrupt(self, x, purpose):
            return x * (np.arange(8) < 4).astype("f").reshape(1, 1, 8, 1)

    ae = model(Half())
    assert np.array_equal(ae.noise.corrupted(images)[:, :, 4:], np.zeros((50, 8, 4, 1)))
    history = quick(ae, images, 2, validation_data=images)
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize("noise", [0.4, None, ta.Dropout(0.4)])
def test_what_is_no_noise_is_refused(noise):
    with pytest.raises(
        DtypeError, match="DenoisingAutoencoder: the noise is .*expected a noise, such as GaussianNoise"
    ):
        model(noise)


def test_a_denoiser_that_gives_another_shape_is_refused(images):
    with pytest.raises(ShapeError, match=r"denoising_errors: 'flat' made \(50, 64\) of noisy examples \(50, 8, 8, 1\)"):
        denoising_errors({"flat": lambda x: x.reshape(len(x), -1)}, images, NOISES[0])
