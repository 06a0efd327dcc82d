"""The variational autoencoder: its objective against the plain formulas, its code, samples, and what it refuses."""

import os
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import generator, use
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.random import Generator
from tinyae.recipes import get_recipe

from .conftest import quick, weights

GAUSSIAN = {"likelihood": "gaussian", "std": 0.2}


def vae(seed=0, code=3, end="sigmoid", **settings):
    """A small one, for 8x8 images."""
    ta.manual_seed(seed)
    return ta.VariationalAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, code)],
        [ta.Dense(code, 16, "relu"), ta.Dense(16, 64, end), ta.Reshape(8, 8, 1)],
        **settings,
    )


def conv_vae(seed=0):
    ta.manual_seed(seed)
    return ta.VariationalAutoencoder(
        ta.Sequential(ta.Conv2D(1, 4, activation="relu"), ta.MaxPool2D(2), ta.Flatten()),
        ta.Dense(64, 2),
        ta.Dense(64, 2),
        ta.Sequential(
            ta.Dense(2, 64, "relu"), ta.Reshape(4, 4, 4), ta.UpSampling2D(2), ta.Conv2D(4, 1, activation="sigmoid")
        ),
    )


def terms_of(model, x, seed=5):
    """The objective's terms as numbers, and the noise that was drawn for them."""
    model.train()
    with use(generator, Generator(seed)):
        terms = model.objective(ta.Tensor(x), ta.Tensor(x), ta.losses.loss_function(model.default_loss))
    eps = Generator(seed).normal((len(x), model.code_size), "noise", step=0)
    return {name: term.item() for name, term in terms.items()}, eps


def by_hand(model, x, eps):
    """The negative ELBO's parts in plain NumPy, float64, from the weights."""
    (W1, b1), (Wm, bm), (Wv, bv), (W2, b2), (W3, b3) = [
        [np.asarray(p.numpy(), np.float64) for p in layer.parameters()]
        for layer in (model.encoder[1], model.mu, model.log_var, model.decoder[0], model.decoder[1])
    ]
    flat = x.reshape(len(x), -1).astype(np.float64)
    h = np.maximum(flat @ W1 + b1, 0)
    mu, variance = h @ Wm + bm, np.exp(h @ Wv + bv)
    out = np.maximum((mu + np.sqrt(variance) * eps) @ W2 + b2, 0) @ W3 + b3
    if model.decoder.ends_in_sigmoid():
        out = 1 / (1 + np.exp(-out))
    if model.likelihood == "bernoulli":
        log_p = flat * np.log(out) + (1 - flat) * np.log(1 - out)
    else:
        log_p = -0.5 * ((flat - out) / model.std) ** 2 - 0.5 * np.log(2 * np.pi * model.std**2)
    # KL of N(m, s^2) against N(0, 1), as the textbooks have it
    kl = -0.5 * (1 + np.log(variance) - mu**2 - variance)
    return -log_p.sum(axis=1).mean(), kl.sum(axis=1).mean()


@pytest.mark.parametrize(
    "settings", [{}, GAUSSIAN, {**GAUSSIAN, "end": None, "std": 2.0}, {"beta": 4}], ids=["bernoulli", "gaussian", "linear", "beta"]
)  # fmt: skip
def test_the_terms_are_the_formulas(settings, images):
    model = vae(**settings)
    model.log_var.bias.data[...] = [-1.0, 0.5, -3.0]  # a standard deviation far from 1, and from the variance
    found, eps = terms_of(model, images)
    reconstruction, kl = by_hand(model, images, eps)
    assert np.isclose(found["reconstruction"], reconstruction, rtol=1e-5)
    assert np.isclose(found["kl"], kl, rtol=1e-5)
    if model.beta == 1:
        assert set(found) == {"reconstruction", "kl"} and model.objective_name.startswith("negative ELBO")
    else:
        assert np.isclose(found["extra_kl"], 3 * kl, rtol=1e-5)
        assert np.isclose(sum(found.values()), reconstruction + 4 * kl, rtol=1e-5)
        assert model.objective_name == "reconstruction + 4 KL, nats per example"


@pytest.mark.parametrize(
    "settings", [{}, {**GAUSSIAN, "end": None}, {"beta": 0.3}], ids=["bernoulli", "gaussian", "beta"]
)
def test_the_whole_objective_has_the_right_gradients(settings, rng):
    model = vae(**settings).astype("float64")
    x = ta.Tensor(rng.random((6, 8, 8, 1)))
    loss = ta.losses.loss_function(model.default_loss)

    def objective(*parameters):
        with use(generator, Generator(3)):  # the same noise each time
            terms = list(model.objective(x, x, loss).values())
        return sum(terms[1:], terms[0])

    report = ta.check_gradients(objective, *model.parameters(), max_elements=12)
    assert report, report
    assert report.checked > 80


def test_the_history_has_both_parts_and_they_add_up(images, capsys):
    model = vae()
    history = model.fit(images, 3, validation_data=images[:20])
    for prefix in ("", "val_"):
        total, parts = history[f"{prefix}loss"], [history[f"{prefix}{name}"] for name in ("reconstruction", "kl")]
        assert np.allclose(total, np.sum(parts, axis=0), rtol=1e-6)
        assert min(map(min, parts)) > 0
    assert 30 < history["loss"][-1] < 100  # nats per image of 64 pixels, no mean over pixels
    printed = capsys.readouterr().err.splitlines()[-1]
    assert "reconstruction" in printed and "kl" in printed


def test_held_out_codes_are_drawn_too(images):
    """The held-out ELBO is that of q(z|x), not of its mean; and looking at it changes nothing of the training."""
    model, other = vae(), vae()
    history = quick(model, images, validation_data=images)
    quick(other, images)
    assert weights(model) == weights(other)
    for part in (model.mu, model.log_var):  # z is noise alone, of a large size
        part.weight.data[...] = 0
    model.log_var.bias.data[...] = 4.0
    loss = ta.losses.loss_function("bce")
    with model.evaluating():
        several = [
            model.objective(ta.Tensor(images), ta.Tensor(images), loss)["reconstruction"].item() for _ in range(3)
        ]
    assert len(set(several)) == 3
    assert history["val_kl"][-1] != history["kl"][-1]


def test_training_draws_new_noise_each_time_and_evaluation_takes_the_mean(images):
    model = vae()
    x = ta.Tensor(images)
    assert np.array_equal(model.reconstruct(images), model.decode(model.encode(images)))
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())
    model.train()
    assert not np.allclose(model(x).numpy(), model(x).numpy())
    assert not np.allclose(model.before_sigmoid(x).numpy(), model.before_sigmoid(x).numpy())


def test_encode_gives_the_mean_unless_asked_for_a_sample(images):
    model = vae()
    model.log_var.weight.data[...] = 0
    model.log_var.bias.data[...] = np.log([0.01, 1.0, 4.0])
    mean = model.encode(images)
    hidden = np.maximum(images.reshape(50, 64) @ model.encoder[1].weight.numpy(), 0)
    assert np.allclose(mean, hidden @ model.mu.weight.numpy(), atol=1e-5)
    ta.manual_seed(1)
    drawn = np.stack([model.encode(images, sample=True) for _ in range(200)])
    assert np.allclose((drawn - mean).std(axis=(0, 1)), [0.1, 1.0, 2.0], rtol=0.03)  # sigma, the root of the variance
    ta.manual_seed(1)
    assert np.array_equal(model.encode(images, sample=True), drawn[0])
    assert isinstance(model.encode(ta.Tensor(images), sample=True), ta.Tensor)


def test_one_seed_one_result_and_it_goes_on_from_a_checkpoint(images, tmp_path):
    whole, halves = vae(), vae()
    quick(whole, images, epochs=4, validation_data=images)
    path = tmp_path / "c"
    quick(halves, images, epochs=2, validation_data=images, callbacks=[ta.Checkpoint(path)])
    halves = vae(seed=7)
    halves.load_state_dict(vae().state_dict())
    history = quick(halves, images, epochs=4, validation_data=images, callbacks=[ta.Checkpoint(path, resume=True)])
    assert weights(whole) == weights(halves)
    assert len(history["val_kl"]) == 4


@pytest.mark.parametrize("model", [vae, conv_vae, lambda: vae(beta=2, **GAUSSIAN)], ids=["dense", "conv", "gaussian"])
def test_saved_and_loaded(model, images, tmp_path):
    model = model()
    quick(model, images)
    ta.save(model, tmp_path / "m.safetensors")
    again = ta.load(tmp_path / "m.safetensors")
    assert type(again) is ta.VariationalAutoencoder and repr(again) == repr(model)
    assert (again.beta, again.likelihood, again.std) == (model.beta, model.likelihood, model.std)
    assert np.array_equal(again.reconstruct(images), model.reconstruct(images))
    assert np.array_equal(again.sample(3, seed=2), model.sample(3, seed=2))


def test_it_learns_the_digits_and_its_samples_look_like_them():
    """Ten epochs: far better than no code at all, and drawn pictures are as bright as real ones, pixel by pixel."""
    (x, _), (x_test, _) = ta.datasets.load_digits()
    ta.manual_seed(0)
    model = ta.VariationalAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 128, "relu"), ta.Dense(128, 8)],
        [ta.Dense(8, 128, "relu"), ta.Dense(128, 64, "sigmoid"), ta.Reshape(8, 8, 1)],
        likelihood="gaussian",
        std=0.2,
    )
    history = quick(model, x, 10, validation_data=x_test, lr=3e-3)
    mean = np.mean((x_test - x.mean(axis=0)) ** 2)
    without = 64 * (mean / (2 * 0.2**2) + 0.5 * np.log(2 * np.pi * 0.2**2))  # the mean image, and no KL
    assert history["val_loss"][-1] < without - 15
    samples = model.sample(400, seed=1)
    assert samples.shape == (400, 8, 8, 1)
    assert np.corrcoef(samples.mean(axis=0).ravel(), x.mean(axis=0).ravel())[0, 1] > 0.97
    assert model.active_units(x) >= 6


def test_beta_buys_a_smaller_kl():
    (x, _), _ = ta.datasets.load_digits()
    kl = [quick(vae(beta=beta, **GAUSSIAN), x, 5, lr=3e-3)["kl"][-1] for beta in (0.2, 1, 5)]
    assert kl[0] > 1.2 * kl[1] > 1.2 * 1.2 * kl[2]


class Rising(ta.Callback):
    """beta from 0 to 1 in the first epochs."""

    def on_epoch_begin(self, epoch):
        self.trainer.model.beta = min(1.0, (epoch - 1) / 2)


def test_beta_may_rise_to_1(backend, images):
    model = vae(beta=0.0).to(backend)
    history = quick(model, images, epochs=4, callbacks=[Rising()], validation_data=images[:20])
    weight = np.array([0, 0.5, 1, 1])
    for part in ("", "val_"):
        kl = np.array(history[f"{part}kl"])
        assert np.allclose(history[f"{part}extra_kl"], (weight - 1) * kl, rtol=1e-4, atol=1e-6)
        assert np.allclose(history[f"{part}loss"], np.array(history[f"{part}reconstruction"]) + weight * kl, rtol=1e-4)


def test_samples_follow_their_seed_and_the_prior(images):
    model = vae()
    assert np.array_equal(model.sample(4, seed=3), model.sample(4, seed=3))
    assert not np.array_equal(model.sample(4, seed=3), model.sample(4, seed=4))
    codes = Generator(3).normal((4, 3), "sample")
    assert np.array_equal(model.sample(4, seed=3), model.decode(codes))
    assert model.sample_like(images, 2).shape == (2, 8, 8, 1)


def test_kernels_and_definitions_agree(images):
    def trained():
        model = conv_vae()
        return quick(model, images, validation_data=images)["val_loss"]

    fast = trained()
    with ta.use_kernels("reference"):
        assert np.allclose(fast, trained(), rtol=1e-4)


def test_the_same_training_on_a_device(device, images):
    """As a CUDA graph, without a warning, with new noise in each repetition."""
    found = {}
    for place in (device.name, "numpy"):
        model = vae(**GAUSSIAN).to(place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            history = quick(model, images, 3, batch_size=8, validation_data=images[:20], lr=1e-2)
        found[place] = [history[name] for name in ("loss", "reconstruction", "kl", "val_loss", "val_kl")]
        found[place] += [[*model.elbo(device.asarray(images) if place != "numpy" else images).values()]]
        sample = model.sample(5, seed=1)
        found[place].append(device.to_host(sample).ravel() if place != "numpy" else sample.ravel())
    for ours, theirs in zip(*found.values()):
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_summary_counts_both_heads():
    text = str(vae().summary((8, 8, 1)))
    assert "mu Dense" in text and "log_var Dense" in text and f"{vae().parameter_count():,} parameters" in text


# ---------------------------------------------------------------- what it refuses

FLAT, MU, DECODER = ta.Flatten(), ta.Dense(64, 3), ta.Dense(3, 64, "sigmoid")


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.VariationalAutoencoder(FLAT, 3, MU, DECODER), DtypeError, "mu is 3, a int; expected a Module"),
        (lambda: ta.VariationalAutoencoder(FLAT, MU, ta.Dense(64, 2), DECODER), ShapeError, "mu gives 3 numbers, log_var 2"),
        (lambda: ta.VariationalAutoencoder(FLAT, ta.Conv2D(1, 2), MU, DECODER), ShapeError, r"mu ends with Conv2D\(1, 2.*Flatten"),
        (lambda: ta.VariationalAutoencoder(FLAT, MU, ta.Dense(64, 3, "relu"), DECODER), RangeError, "log_var has the activation 'relu'"),
        (lambda: ta.VariationalAutoencoder(FLAT, MU, MU, ta.Dense(3, 64)), RangeError, "does not end in a sigmoid"),
        (lambda: vae(beta=-1), RangeError, "beta is -1; expected a finite number >= 0"),
        (lambda: vae(beta=float("nan")), RangeError, "beta is nan"),
        (lambda: vae(likelihood="normal"), RangeError, "unknown likelihood 'normal'. Known, nearest first: "),
        (lambda: vae(likelihood="gaussian"), RangeError, "std=None. Give one, such as 0.1"),
        (lambda: vae(std=0.1), RangeError, "std=0.1. Leave it out"),
        (lambda: vae(likelihood="gaussian", std=0), RangeError, "std is 0; expected a finite number > 0"),
        (lambda: vae(code=0), RangeError, "out_features is 0; expected an integer >= 1"),
        (lambda: vae().sample(0), RangeError, "n is 0; expected an integer >= 1"),
        (lambda: vae().sample(3, seed=-1), RangeError, "seed is -1"),
        (lambda: quick(vae(), np.ones((9, 8, 8, 1), np.float32), loss="mse"), RangeError,
         "loss 'mse' was given, but the decoder of this VariationalAutoencoder is Bernoulli.*likelihood='gaussian'"),
        (lambda: quick(vae(**GAUSSIAN), np.ones((9, 8, 8, 1), np.float32), loss="bce"), RangeError,
         "is Gaussian.*likelihood='bernoulli'"),
        (lambda: quick(vae(), np.ones((9, 8, 8, 1), np.float32), loss=lambda p, t: ta.mse_loss(p, t)), RangeError,
         "Leave loss out"),
        (lambda: quick(vae(), np.full((9, 8, 8, 1), 255.0)), RangeError, "the data range from 255 to 255"),
        (lambda: ta.Autoencoder(MU, DECODER).sample(3), RangeError, "Models that do: VariationalAutoencoder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_the_loss_may_be_named_where_it_is_the_right_one(images):
    quick(vae(), images, loss="bce")
    quick(vae(**GAUSSIAN), images, loss="mse")


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
@pytest.mark.slow
@pytest.mark.parametrize("name, epochs, bound", [("vae", 7, 107.5), ("vae-conv2", 3, 157)])
def test_the_bars_on_mnist(name, epochs, bound):
    """A public PyTorch run of the first reaches 106.66 nats per image; the second is asked for 5 epochs."""
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    recipe = get_recipe(name)
    ta.manual_seed(0)
    model = recipe.build((28, 28, 1))
    history = quick(model, x, epochs, batch_size=recipe.batch_size, lr=recipe.lr["adam"], validation_data=x_test)
    print(f"{name}: held-out negative ELBO {history['val_loss'][-1]:.2f} nats per image (to reach: {bound})")
    assert history["val_loss"][-1] <= bound
    assert model.active_units(x_test) == recipe.code_size((28, 28, 1))
