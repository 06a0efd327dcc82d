"""The autoencoder that is trained to be quantised: noise in training alone, as wide as it says, and what it is good for."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.compression import UniformQuantiser
from tinyae.errors import RangeError
from tinyae.training import loss_function

from .conftest import weights


def made(width=0.5, dtype="float32"):
    ta.manual_seed(0)
    model = ta.QuantisedAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, 4)),
        ta.Sequential(ta.Dense(4, 16, "relu"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        width,
    )
    return model.astype(dtype)


def test_the_noise_is_uniform_and_as_wide_as_it_says():
    rng = np.random.default_rng(0)
    z = ta.Tensor((rng.normal(size=(20_000, 3)) * [1, 10, 0.1] + [0, 5, -5]).astype(np.float64))
    noise = (made(0.8).with_noise(z).numpy() - z.numpy()) / z.numpy().std(axis=0)
    assert np.abs(noise).max() <= 0.4 + 1e-9 and np.abs(noise).max() > 0.399
    assert np.allclose(noise.mean(axis=0), 0, atol=0.01)
    assert np.allclose(noise.var(axis=0), 0.8**2 / 12, rtol=0.03)  # of a uniform distribution
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03


def test_there_is_none_in_evaluation_nor_in_encode_and_decode(images):
    model = made()
    z = model.encode(images)
    assert np.array_equal(z, model.encode(images))
    assert np.array_equal(model.reconstruct(images), model.decode(z))
    model.train()
    assert not np.array_equal(model(images).numpy(), model(images).numpy())
    model.eval()
    assert np.array_equal(model(images).numpy(), model(images).numpy())
    assert np.array_equal(made(0).train()(images).numpy(), made(0).eval()(images).numpy())


def test_what_fit_minimises_has_the_noise_with_either_loss(images):
    for name in ("mse", "bce"):
        model, x = made().train(), ta.Tensor(images)
        first, second = (model.objective(x, x, loss_function(name))["loss"].item() for _ in range(2))
        assert first != second
        outputs = {"mse": model, "bce": model.before_sigmoid}[name]
        assert not np.array_equal(outputs(x).numpy(), outputs(x).numpy())
        model.eval()
        plain = ta.mse_loss(model(x), x) if name == "mse" else ta.bce_with_logits_loss(model.before_sigmoid(x), x)
        assert np.isclose(model.objective(x, x, loss_function(name))["loss"].item(), plain.item(), rtol=1e-6)


def test_gradients_through_the_noise_are_right():
    model = made(dtype="float64").train()

    def disturbed(z):
        ta.manual_seed(3)  # the same noise each time
        return model.with_noise(z)

    ta.check_gradients(disturbed, ta.Tensor(np.random.default_rng(1).normal(size=(6, 3))))


def test_one_example_and_a_unit_that_never_varies_are_no_trouble(images):
    model = made().train()
    x = ta.Tensor(images[:1])
    ta.mse_loss(model(x), x).backward()
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


def test_it_trains_the_same_with_the_same_seed_and_is_saved(images, tmp_path):
    models = [made(), made()]
    for model in models:
        model.fit(images, epochs=3, progress=False, seed=5)
    assert weights(models[0]) == weights(models[1])
    ta.save(models[0], tmp_path / "m.safetensors")
    loaded = ta.load(tmp_path / "m.safetensors")
    assert type(loaded) is ta.QuantisedAutoencoder and loaded.width == 0.5
    assert np.array_equal(loaded.reconstruct(images), models[0].reconstruct(images))


@pytest.mark.parametrize("width", [-0.1, float("nan"), "wide", None])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(RangeError, match="width is .*expected a finite number >= 0"):
        made(width)


def test_its_code_bears_few_bits_better_than_one_without_noise():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    errors = []
    for width in (0.0, 1.0):
        ta.manual_seed(0)
        model = ta.QuantisedAutoencoder(
            ta.Sequential(ta.Flatten(), ta.Dense(64, 128, "relu"), ta.Dense(128, 4)),
            ta.Sequential(ta.Dense(4, 128, "relu"), ta.Dense(128, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
            width,
        )
        model.fit(x, epochs=30, lr=3e-3, progress=False)
        quantiser = UniformQuantiser.fit(model.encode(x), 1)
        codes = quantiser.values(quantiser.cells(model.encode(x_test))).astype(np.float32)
        errors.append(float(np.square(model.decode(codes) - x_test).mean()))
    assert errors[1] < 0.96 * errors[0]
