"""The adversarial autoencoder: who learns from which term, how its codes come to match the prior, and what it keeps."""

import math
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.losses import loss_function
from tinyae.models.adversarial import PriorWarning
from tinyae.nn.constant import held_constant

from .conftest import kept, quick, quick_train, weights

# two epochs do not make codes look like the prior
pytestmark = pytest.mark.filterwarnings("ignore::tinyae.models.adversarial.PriorWarning")

MSE = loss_function("mse")
TERMS = ("reconstruction", "discriminator", "deception")


def made(seed=0, size=4, **settings):
    """For 8x8 images."""
    ta.manual_seed(seed)
    return ta.AdversarialAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 16, "tanh"), ta.Dense(16, size)],
        [ta.Dense(size, 16, "tanh"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)],
        **{"hidden": (12,), **settings},
    )


def gradients(model, tensor):
    """{parameter: gradient} of one number; those without one are left out."""
    model.zero_grad()
    tensor.backward()
    return {name: p.grad.copy() for name, p in model.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------- weights held constant


def test_what_is_recorded_inside_passes_gradients_through_and_leaves_the_weights_alone(backend, rng):
    layer = ta.Dense(3, 2, "tanh").to(backend)
    x = ta.Tensor(rng.normal(size=(4, 3)).astype(np.float32), requires_grad=True).to(backend)
    with held_constant(layer) as same:
        assert same is layer and not any(p.requires_grad for p in (layer.weight, layer.bias))
        y = layer(x)
    assert layer.weight.requires_grad and layer.bias.requires_grad
    y.sum().backward()  # later, outside of the block
    inside = backend.to_host(x.grad)
    assert layer.weight.grad is None and layer.bias.grad is None
    x.grad = None
    layer(x).sum().backward()
    assert np.array_equal(backend.to_host(x.grad), inside) and layer.weight.grad is not None


def test_both_on_one_tape_add_up_as_they_should(rng):
    layer = ta.Dense(3, 2).astype("float64")
    x, other = (ta.Tensor(rng.normal(size=(4, 3)), requires_grad=True) for _ in range(2))
    with held_constant(layer):
        held = layer(x)
    ((held * held).sum() + layer(other).sum()).backward()
    assert np.allclose(layer.weight.grad, other.numpy().sum(axis=0)[:, None].repeat(2, axis=1))
    assert np.allclose(x.grad, 2 * held.numpy() @ layer.weight.numpy().T)


def test_what_was_frozen_stays_frozen_and_an_error_changes_nothing():
    layer = ta.Dense(3, 2)
    layer.bias.requires_grad = False
    with pytest.raises(ZeroDivisionError), held_constant(layer):
        raise ZeroDivisionError
    assert layer.weight.requires_grad and not layer.bias.requires_grad


# ---------------------------------------------------------------- the game


def test_each_term_reaches_one_player_and_not_the_other(images):
    model, x = made(), ta.Tensor(images)
    expected = {
        "reconstruction": {"encoder", "decoder"},
        "discriminator": {"discriminator"},
        "deception": {"encoder"},
    }
    for name, parts in expected.items():
        found = gradients(model, model.objective(x, x, MSE)[name])
        assert {parameter.split(".")[0] for parameter in found} == parts, name
        assert all(np.abs(gradient).max() > 0 for gradient in found.values())


def test_the_sum_trains_each_player_by_its_own_terms(images):
    model, x = made(), ta.Tensor(images)
    model.eval()  # always the same draws from the prior
    alone = {name: gradients(model, model.objective(x, x, MSE)[name]) for name in TERMS}
    terms = model.objective(x, x, MSE)
    together = gradients(model, terms["reconstruction"] + terms["discriminator"] + terms["deception"])
    for name, gradient in together.items():
        expected = sum(found[name] for found in alone.values() if name in found)
        assert np.allclose(gradient, expected, rtol=1e-5, atol=1e-8), name


def test_the_gradients_of_the_terms(images):
    model, x = made(strength=0.7).astype("float64"), ta.Tensor(images[:5].astype(np.float64))
    model.eval()

    def term(name):
        return lambda parameter: model.objective(x, x, MSE)[name]

    discriminator = model.discriminator[0]
    assert ta.check_gradients(term("discriminator"), discriminator.weight)
    assert ta.check_gradients(term("discriminator"), discriminator.bias)
    assert ta.check_gradients(term("deception"), model.encoder[2].weight)
    assert ta.check_gradients(term("reconstruction"), model.encoder[1].weight)


def test_the_terms_are_those_of_the_papers(images):
    model, x = made(strength=0.3), ta.Tensor(images)
    model.eval()
    z, p = model.encode(images), model._prior(ta.Tensor(model.encode(images))).numpy()
    told = {name: model.discriminator(codes).numpy().astype(float) for name, codes in (("z", z), ("p", p))}
    terms = {name: term.item() for name, term in model.objective(x, x, MSE).items()}
    assert terms["discriminator"] == pytest.approx(
        -(np.log(told["p"]).mean() + np.log(1 - told["z"]).mean()) / 2, rel=1e-5
    )
    assert terms["deception"] == pytest.approx(
        -0.3 * np.log(told["z"]).mean(), rel=1e-5
    )  # not ln(1 - D): non-saturating
    assert terms["reconstruction"] == pytest.approx(((model.reconstruct(images) - images) ** 2).mean(), rel=1e-5)


def test_a_discriminator_that_guesses_has_loss_ln_2(images):
    model, x = made(strength=1), ta.Tensor(images)
    model.discriminator[-1].weight.data[...] = 0
    terms = model.objective(x, x, MSE)
    assert terms["discriminator"].item() == pytest.approx(math.log(2)) and terms["deception"].item() == pytest.approx(
        math.log(2)
    )


def test_the_prior_is_drawn_anew_in_training_and_costs_evaluation_no_chance(images):
    model, z = made(), ta.Tensor(np.zeros((5000, 4), np.float32))
    first, second = model._prior(z).numpy(), model._prior(z).numpy()
    assert not np.array_equal(first, second) and first.dtype == np.float32
    assert abs(first.mean()) < 0.03 and abs(first.var() - 1) < 0.04
    model.eval()
    assert np.array_equal(model._prior(z).numpy(), model._prior(z).numpy())
    seen, unseen = made(), made()
    quick(seen, images, 2, validation_data=images[:7])
    quick(unseen, images, 2)
    assert weights(seen) == weights(unseen)


# ---------------------------------------------------------------- how well codes match the prior


class Known(ta.Module):
    """An encoder that does nothing but shift and stretch."""

    def __init__(self, shift, stretch):
        self.shift, self.stretch = ta.Tensor(np.float32(shift), requires_grad=True), stretch

    def forward(self, x):
        return x * self.stretch + self.shift


def test_the_match_of_known_codes(rng):
    x = rng.normal(size=(20000, 2)).astype(np.float32)
    guesses, tells = ta.Sequential(ta.Dense(2, 1, "sigmoid")), ta.Sequential(ta.Dense(2, 1, "sigmoid"))
    guesses[0].weight.data[...], guesses[0].bias.data[...] = (
        0,
        1,
    )  # everything is a draw, it says: half of that is right
    tells[0].weight.data[...], tells[0].bias.data[...] = -10, 60  # up to a sum of 6
    match = ta.AdversarialAutoencoder(Known(0, 1), ta.Dense(2, 2), guesses).prior_match(x)
    assert np.allclose(match["mean"], 0, atol=0.03) and np.allclose(match["variance"], 1, atol=0.05)
    assert match["correlation"] < 0.03 and match["discriminator_accuracy"] == 0.5
    match = ta.AdversarialAutoencoder(Known(6, 2), ta.Dense(2, 2), tells).prior_match(x)
    assert np.allclose(match["mean"], 6, atol=0.06) and np.allclose(match["variance"], 4, atol=0.2)
    assert match["discriminator_accuracy"] > 0.95
    both = ta.AdversarialAutoencoder(Known(0, 1), ta.Dense(2, 2), guesses).prior_match(x[:, :1].repeat(2, axis=1))
    assert both["correlation"] == pytest.approx(1)


def test_codes_that_are_not_the_priors_are_warned_of():
    pytest.importorskip("sklearn")
    (x, _), _ = ta.datasets.load_digits()
    with pytest.warns(PriorWarning, match="tells 9.% of codes and draws from the prior apart.*larger strength"):
        quick(made(strength=0, hidden=(32, 32)), x, 10, lr=5e-3)


def test_it_learns_and_its_codes_come_to_match_the_prior():
    pytest.importorskip("sklearn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    model = made(hidden=(32, 32))
    history = quick(model, x, 20, lr=5e-3, validation_data=x_test)
    mean = ((x_test - x.mean(axis=0)) ** 2).mean()
    match = model.prior_match(x_test)
    assert history["val_reconstruction"][-1] < 0.6 * mean
    assert max(map(abs, match["mean"])) < 0.6 and 0.4 < min(match["variance"]) <= max(match["variance"]) < 1.8
    assert match["discriminator_accuracy"] < 0.8
    for name in ("discriminator_accuracy", "code_mean", "code_variance"):
        assert len(history[name]) == 20
    total = sum(history[f"val_{name}"][-1] for name in TERMS)
    assert history["val_loss"][-1] == pytest.approx(total, rel=1e-5)
    assert len(model.findings(x, x_test)) == 4


def test_samples(images):
    model = made()
    drawn = model.sample(6, seed=1)
    assert drawn.shape == (6, 8, 8, 1) and drawn.dtype == np.float32
    assert np.array_equal(drawn, model.sample(6, seed=1)) and not np.array_equal(drawn, model.sample(6, seed=2))
    model.decoder = Known(0, 1)
    codes = model.sample(20000)
    assert np.abs(codes.mean(axis=0)).max() < 0.03 and np.abs(codes.var(axis=0) - 1).max() < 0.05
    for n in (0, 2.5):
        with pytest.raises(RangeError, match="sample: n is"):
            model.sample(n)
    model.discriminator = ta.Activation("sigmoid")
    with pytest.raises(ShapeError, match="how many numbers a code has cannot be seen"):
        model.sample(1)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: ta.AdversarialAutoencoder(ta.Dense(4, 2), ta.Dense(2, 4), None), DtypeError, "the discriminator is None"),
        (lambda: ta.AdversarialAutoencoder(ta.Dense(4, 2), ta.Dense(2, 4), ta.Dense(2, 1)), ShapeError,
         "does not end in a sigmoid; expected a model from"),
        (lambda: made(strength=-1), RangeError, "strength is -1"),
        (lambda: ta.AdversarialAutoencoder.from_parts([ta.Flatten()], [ta.Dense(2, 4)]), ShapeError, "last layer must be Dense"),
        (lambda: ta.AdversarialAutoencoder.from_parts([], []), ShapeError, "last layer must be Dense"),
    ],
)  # fmt: skip
def test_parts_that_make_no_game_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_discriminator_of_two_answers_is_refused(images):
    model = made()
    model.discriminator = ta.Dense(4, 2, "sigmoid")
    with pytest.raises(ShapeError, match=r"makes \(1, 2\); expected one probability for each, \(1, 1\)"):
        quick(model, images)


def test_the_grid_is_of_codes_of_two(images):
    assert made(size=2).code_size == 2 and ta.latent_grid(made(size=2), 3)[0].shape == (3, 3, 8, 8, 1)
    with pytest.raises(ShapeError, match=r"the code has shape \(4,\); expected 2 numbers"):
        ta.latent_grid(made(size=4), 3)


def test_a_code_of_images_is_refused(images):
    model = ta.AdversarialAutoencoder(ta.Conv2D(1, 2), ta.Conv2D(2, 1), ta.Dense(2, 1, "sigmoid"))
    with pytest.raises(ShapeError, match=r"the code has shape \(1, 8, 8, 2\); expected \(N, J\)"):
        quick(model, images)


# ---------------------------------------------------------------- training, files, devices


@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_training_gives_the_same_bits(tmp_path, images, stop):
    path, options = tmp_path / "c", {"batch_size": 8, "validation_data": images[:9]}
    whole, half, rest = made(), made(), made(seed=5)
    history = quick(whole, images, 4, **options)
    quick(half, images, stop, callbacks=[ta.Checkpoint(path)], **options)
    resumed = quick(rest, images, 4, callbacks=[ta.Checkpoint(path, resume=True)], **options)
    assert weights(whole) == weights(rest)
    for name in ("loss", "val_loss", "discriminator_accuracy", "code_mean", "code_variance"):
        assert history[name] == resumed[name]


def test_saved_and_loaded_it_is_the_same_and_learns_on(tmp_path, images):
    model = made(strength=0.2)
    quick(model, images)
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert weights(loaded) == weights(model) and loaded.strength == 0.2
    assert np.array_equal(loaded.sample(3), model.sample(3)) and loaded.prior_match(images) == model.prior_match(images)
    quick(loaded, images, 1)
    assert weights(loaded) != weights(model)


def test_on_a_device_it_trains_as_on_the_cpu(device, images):
    """In graphs: a CaptureWarning would be an error here."""

    def train(place):
        model = made().to(place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return model, quick(model, images, 3, batch_size=8, validation_data=images[:20])

    (ours, there), (theirs, here) = train(device), train("numpy")
    for name in ("loss", "val_loss", *TERMS, "code_mean", "code_variance"):
        assert np.allclose(there[name], here[name], rtol=1e-3, atol=1e-5), name
    assert np.allclose(device.to_host(ours.sample(4)), theirs.sample(4), atol=1e-3)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert np.allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_a_model_from_a_device_is_saved_and_resumed(device, tmp_path, images):
    path, options = tmp_path / "c", {"batch_size": 8}
    whole, half, rest = (made().to(device) for _ in range(3))
    quick(whole, images, 3, **options)
    quick(half, images, 1, callbacks=[ta.Checkpoint(path)], **options)
    quick(rest, images, 3, callbacks=[ta.Checkpoint(path, resume=True)], **options)
    assert weights(rest) == weights(whole)
    ta.save(rest, tmp_path / "m")
    assert weights(ta.load(tmp_path / "m")) == weights(rest)


@pytest.mark.usefixtures("here")
def test_its_recipe_is_trained_resumed_evaluated_and_reconstructs():
    pytest.importorskip("sklearn")
    result = quick_train("a", "adversarial-digits", 3)
    quick_train("b", "adversarial-digits", 1)
    runs.resume("b", epochs=3, progress=False)
    assert kept("a") == kept("b")
    assert "their variances (prior: 1): " in runs.report(result)
    assert runs.evaluate("a")["mse"] == pytest.approx(result["val_mse"])
    assert runs.reconstruct("a", out="r.npy")["examples"] == 360


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_recipe_of_the_digits_reaches_what_it_says():
    pytest.importorskip("sklearn")
    result = runs.train("adversarial-digits", out="a", progress=False)
    match = ta.load("a").prior_match(ta.datasets.load_digits()[1][0])
    assert result["val_mse"] <= 0.0175 and match["discriminator_accuracy"] < 0.72
    assert max(map(abs, match["mean"])) < 0.4 and 0.65 < min(match["variance"]) <= max(match["variance"]) < 1.3
