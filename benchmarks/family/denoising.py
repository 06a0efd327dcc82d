"""Noise taken away from digits, beside plain denoisers; and what charging a code for its activity or its slope does to it."""

import statistics
import time
from dataclasses import replace

import tinyae as ta
from tinyae.models.contractive import jacobian_norm
from tinyae.models.denoising import HELD_OUT_SEED, denoising_errors
from tinyae.recipes import get_recipe
from tinyae.runs.denoising import MODEL, NOISY, baselines

from .row import Row

BCE, GAIN = 0.105, 6.0  # asked: at most, at least (in dB)


def measure(seeds, threads=None):
    """Train the recipes ``denoising``, ``denoising-digits``, ``sparse-digits`` and ``contractive-digits``, the last three
    beside twins without what is special to them."""
    if threads is not None:
        ta.set_num_threads(threads)
    return [mnist(seeds), digits(seeds), sparse(seeds), contractive(seeds)]


def trained(recipe, x, seed):
    """The recipe's model, trained on x as the recipe says."""
    ta.manual_seed(seed)
    model = recipe.build(x.shape[1:])
    model.fit(x, recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr[recipe.optimizer], recipe.loss,
              seed=seed, progress=False)  # fmt: skip
    return model


def medians(numbers):
    """{seed: {name: number}} as {name: median over the seeds}."""
    found = list(numbers.values())
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def against(plain):
    """The plain denoisers' PSNR in words."""
    return "; ".join(f"{name} {errors['psnr']:.1f} dB" for name, errors in plain.items())


def mnist(seeds):
    """The convolutional model of the recipe ``denoising``: what is asked of it."""
    started = time.perf_counter()
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    recipe, numbers = get_recipe("denoising"), {}
    for seed in seeds:
        begun = time.perf_counter()
        model = trained(recipe, x, seed)
        seconds = time.perf_counter() - begun
        errors = denoising_errors({NOISY: lambda x: x, MODEL: model.reconstruct}, x_test, model.noise, HELD_OUT_SEED)
        gain = errors[MODEL]["psnr"] - errors[NOISY]["psnr"]
        numbers[seed] = {
            **errors[MODEL],
            "gain": gain,
            "noisy_psnr": errors[NOISY]["psnr"],
            "training_seconds": seconds,
        }
    plain = denoising_errors(baselines(recipe, model.noise), x_test, model.noise, HELD_OUT_SEED)
    middle = medians(numbers)
    seen = (
        f"held-out BCE {middle['bce']:.4f} against the clean pictures; PSNR {middle['psnr']:.2f} dB, the noisy input's "
        f"{middle['noisy_psnr']:.2f}: {middle['gain']:.2f} dB more ({against(plain)})"
    )
    asked = f"BCE <= {BCE}, PSNR at least {GAIN:g} dB above the noisy input's"
    what = "denoising, convolutional, MNIST, Gaussian noise 0.4 clipped to [0, 1], 5 epochs (recipe denoising)"
    reached = middle["bce"] <= BCE and middle["gain"] >= GAIN
    return Row(what, asked, seen, reached, time.perf_counter() - started, {"seeds": numbers, "plain": plain})


def digits(seeds):
    """The dense model of ``denoising-digits``, and the same layers that were trained to copy clean digits."""
    started = time.perf_counter()
    (x, _), (x_test, _) = ta.datasets.load_digits()
    recipe, numbers = get_recipe("denoising-digits"), {}
    copying = replace(recipe, model="Autoencoder", model_settings={})
    for seed in seeds:
        model, other = trained(recipe, x, seed), trained(copying, x, seed)
        denoisers = {NOISY: lambda x: x, MODEL: model.reconstruct, "copying": other.reconstruct}
        errors = denoising_errors(denoisers, x_test, model.noise, HELD_OUT_SEED)
        numbers[seed] = {name: found["psnr"] for name, found in errors.items()}
    plain = denoising_errors(baselines(recipe, model.noise), x_test, model.noise, HELD_OUT_SEED)
    middle = medians(numbers)
    seen = (
        f"PSNR {middle[MODEL]:.2f} dB, the noisy input's {middle[NOISY]:.2f}; trained on clean digits, the same layers reach "
        f"{middle['copying']:.2f} ({against(plain)})"
    )
    what = "denoising, dense, 8x8 digits, the same noise (recipe denoising-digits)"
    return Row(what, "", seen, None, time.perf_counter() - started, {"seeds": numbers, "plain": plain})


def sparse(seeds):
    """How few units of ``sparse-digits`` are on for one example, beside the same without its penalty."""
    started = time.perf_counter()
    (x, _), (x_test, _) = ta.datasets.load_digits()
    recipe, numbers = get_recipe("sparse-digits"), {}
    free = replace(recipe, model_settings={**recipe.model_settings, "strength": 0.0})
    for seed in seeds:
        numbers[seed] = {}
        for name, tried in (("sparse", recipe), ("free", free)):
            model = trained(tried, x, seed)
            activity = model.activity(x_test)
            mse = float(((model.reconstruct(x_test) - x_test) ** 2).mean())
            for key, value in (
                ("mse", mse),
                ("on", activity.on),
                ("alive", activity.alive),
                ("mean", activity.mean.mean()),
            ):
                numbers[seed][f"{name}_{key}"] = float(value)
    m, units = medians(numbers), recipe.widths[-1]
    seen = (
        f"{m['sparse_on']:.1f} of {units} units on for one digit, mean activity {m['sparse_mean']:.3f}, {m['sparse_alive']:.0f} "
        f"alive, MSE {m['sparse_mse']:.4f}; without the penalty {m['free_on']:.1f} on, {m['free_mean']:.3f}, MSE "
        f"{m['free_mse']:.4f}"
    )
    what = "sparse code with the KL penalty, 8x8 digits, mean activity 0.05 asked for (recipe sparse-digits)"
    return Row(what, "", seen, None, time.perf_counter() - started, {"seeds": numbers})


def contractive(seeds):
    """The norm of the encoder's Jacobian of ``contractive-digits``, beside those of plain autoencoders, tied and untied."""
    started = time.perf_counter()
    (x, _), (x_test, _) = ta.datasets.load_digits()
    recipe, numbers = get_recipe("contractive-digits"), {}
    tied = replace(recipe, model_settings={**recipe.model_settings, "strength": 0.0})
    plain = replace(recipe, model="Autoencoder", model_settings={})
    for seed in seeds:
        numbers[seed] = {}
        for name, tried in (("contractive", recipe), ("tied", tied), ("plain", plain)):
            model = trained(tried, x, seed)
            numbers[seed][f"{name}_norm"] = jacobian_norm(model, x_test)
            numbers[seed][f"{name}_mse"] = float(((model.reconstruct(x_test) - x_test) ** 2).mean())
    m = medians(numbers)
    seen = (
        f"Frobenius norm of the encoder's Jacobian {m['contractive_norm']:.2f}, MSE {m['contractive_mse']:.4f}; not charged for "
        f"it {m['tied_norm']:.2f}, MSE {m['tied_mse']:.4f}; a plain autoencoder, untied, {m['plain_norm']:.2f}, MSE "
        f"{m['plain_mse']:.4f}"
    )
    what = "contractive code with tied weights, 8x8 digits (recipe contractive-digits)"
    return Row(what, "", seen, None, time.perf_counter() - started, {"seeds": numbers})
