"""What discrete codes cost and keep, and how well a discriminator shapes a code; beside PCA and a plain autoencoder.

Codes of real numbers are compared at equal bits: each component is rounded to a few values, Lloyd's optimal ones for the
training data, and the bits go where they help most. An adversarial autoencoder pays for its prior with reconstruction: it stands
beside the plain autoencoder of the same widths.
"""

import tempfile
import time
from math import prod
from statistics import median

import numpy as np

from tinyae import datasets, load, runs
from tinyae.metrics import mse, pca

from .row import Row

LLOYD_STEPS = 20
FITTED_ON = 10_000  # examples


def measure(seeds, threads=None):
    """Both models on the digits with every seed, and on MNIST with the first."""
    return [
        vector_quantised("vq-digits", "digits", seeds),
        vector_quantised("vq", None, seeds[:1]),
        adversarial("adversarial-digits", "digits", seeds),
        adversarial("adversarial", None, seeds[:1]),
    ]


def trained(recipe, seed):
    """(the model of a run, its result)."""
    with tempfile.TemporaryDirectory() as folder:
        result = runs.train(recipe, seed=seed, out=f"{folder}/run", progress=False)
        return load(f"{folder}/run"), result


def vector_quantised(recipe, plain, seeds):
    """The squared error at a number of bits; ``plain`` is a recipe of an ordinary autoencoder to set beside it."""
    started, numbers = time.perf_counter(), {"mse": [], "bits": [], "entropy_bits": [], "perplexity": [], "codes": []}
    for seed in seeds:
        model, result = trained(recipe, seed)
        bits = model.bits()
        for name, value in {
            "mse": result["val_mse"],
            "bits": bits["fixed"],
            "entropy_bits": bits["entropy_by_place"],
            "perplexity": model.perplexity(),
            "codes": model.codes,
        }.items():
            numbers[name].append(value)
    (x, _), (x_test, _) = datasets.load(result["data"])
    size, budget = prod(x.shape[1:]), int(numbers["bits"][0])
    flat, flat_test = (np.asarray(part, np.float64).reshape(-1, size) for part in (x[:FITTED_ON], x_test))
    mean, vectors = pca(x)
    scores, scores_test = ((part - mean) @ vectors[:, ::-1] for part in (flat, flat_test))
    rounded = quantised(scores, scores_test, budget)
    numbers["pca_mse"] = mse(rounded @ vectors[:, ::-1].T + mean, flat_test)
    seen = [
        f"held-out MSE {median(numbers['mse']):.4f} at {budget} bits an image (median perplexity {median(numbers['perplexity']):.1f} of "
        f"{model.codes}; entropy-coded by place {median(numbers['entropy_bits']):.0f} bits)",
        f"PCA at {budget} bits {numbers['pca_mse']:.4f}",
    ]
    if plain:
        numbers["plain_mse"], numbers["plain_rounded_mse"] = [], []
        for seed in seeds:
            model, result = trained(plain, seed)
            codes, codes_test = (model.encode(np.asarray(part)).astype(np.float64) for part in (x[:FITTED_ON], x_test))
            rounded = quantised(codes, codes_test, budget).astype(np.float32)
            numbers["plain_mse"].append(result["val_mse"])
            numbers["plain_rounded_mse"].append(mse(model.decode(rounded), np.asarray(x_test)))
        seen.append(
            f"a plain autoencoder with {codes.shape[1]} numbers {median(numbers['plain_rounded_mse']):.4f} at {budget} bits, "
            f"{median(numbers['plain_mse']):.4f} at {32 * codes.shape[1]}"
        )
    return Row(f"VQAutoencoder, recipe {recipe}", "", "; ".join(seen), None, time.perf_counter() - started, numbers)


def adversarial(recipe, plain, seeds):
    """How well the codes match the prior, and what that costs."""
    started = time.perf_counter()
    numbers = {"mse": [], "plain_mse": [], "accuracy": [], "mean": [], "variances": [], "correlation": []}
    for seed in seeds:
        model, result = trained(recipe, seed)
        _, (x_test, _) = datasets.load(result["data"])
        match = model.prior_match(np.asarray(x_test))
        numbers["mse"].append(result["val_mse"])
        numbers["accuracy"].append(match["discriminator_accuracy"])
        numbers["mean"].append(max(map(abs, match["mean"])))
        numbers["variances"].append((min(match["variance"]), max(match["variance"])))
        numbers["correlation"].append(match["correlation"])
        if plain:
            numbers["plain_mse"].append(trained(plain, seed)[1]["val_mse"])
    beside = next(values["mse"]["val"] for label, values in result["baselines"].items() if label.startswith("PCA"))
    low, high = (median(pair[i] for pair in numbers["variances"]) for i in (0, 1))
    seen = (
        f"held-out MSE {median(numbers['mse']):.4f} (PCA with as many numbers {beside:.4f}"
        + (f", a plain autoencoder {median(numbers['plain_mse']):.4f}" if plain else "")
        + f"); held-out codes: largest mean {median(numbers['mean']):.2f}, variances {low:.2f} to {high:.2f}, largest correlation "
        f"{median(numbers['correlation']):.2f}; the discriminator tells {median(numbers['accuracy']):.0%} right (guessing: 50%)"
    )
    return Row(f"AdversarialAutoencoder, recipe {recipe}", "", seen, None, time.perf_counter() - started, numbers)


# ---------------------------------------------------------------- real numbers at equal bits


def quantised(scores, scores_test, budget):
    """Held-out components rounded to values that take ``budget`` bits in all: each next bit goes where the error is largest."""
    bits = np.zeros(scores.shape[1], int)
    spread = scores.var(axis=0)
    for _ in range(budget):
        bits[np.argmax(spread * 4.0**-bits)] += 1  # one bit more quarters the squared error
    rounded = np.empty_like(scores_test)
    for k, b in enumerate(bits):
        values = lloyd(scores[:, k], 2**b)
        rounded[:, k] = values[np.searchsorted((values[1:] + values[:-1]) / 2, scores_test[:, k])]
    return rounded


def lloyd(numbers, count):
    """The ``count`` values with the smallest squared error to the nearest of them, ascending. Lloyd (1982)."""
    values = np.quantile(numbers, (np.arange(count) + 0.5) / count)
    for _ in range(LLOYD_STEPS):
        nearest = np.searchsorted((values[1:] + values[:-1]) / 2, numbers)
        sums, counts = np.bincount(nearest, numbers, count), np.bincount(nearest, minlength=count)
        values = np.where(counts > 0, sums / np.maximum(counts, 1), values)
    return np.sort(values)
