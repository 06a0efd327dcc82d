"""Variational autoencoders of MNIST: the negative ELBO of a dense one, and the plane of a convolutional one with a 2-D code.

All in nats per image: sums over pixels and code, means over the 10,000 held-out images, z drawn once for each.
"""

import time
from statistics import median

import numpy as np

import tinyae as ta
from tinyae.errors import missing_library
from tinyae.metrics import mean_baseline
from tinyae.recipes import get_recipe

from .row import Row

ASKED = 107.5  # a public PyTorch run of this model: 106.66
ESTIMATED, DRAWN = 1000, 100  # held-out images, and codes for each, for the estimate of ln p(x)
SIDE = 20  # of the plane that is looked at
READ_FROM = 20_000  # training images that tell which digit a picture is
NEIGHBOURS = 5


def measure(seeds, threads=None):
    """The rows; everything is trained here."""
    if threads:
        ta.set_num_threads(threads)
    train, test = ta.datasets.load_mnist()
    return [dense(train[0], test[0], seeds), plane(train, test, seeds)]


def trained(name, x, x_test, seed):
    """The recipe's model, trained as it says, and what was seen of it."""
    recipe = get_recipe(name)
    ta.manual_seed(seed)
    model, started = recipe.build(x.shape[1:]), time.perf_counter()
    history = model.fit(
        x, recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr[recipe.optimizer], recipe.loss,
        validation_data=x_test, seed=seed, progress=False,
    )  # fmt: skip
    seen = {key: history[f"val_{name}"][-1] for key, name in
            (("negative_elbo", "loss"), ("reconstruction", "reconstruction"), ("kl", "kl"))}  # fmt: skip
    return model, seen | {"active_units": model.active_units(x_test), "training_seconds": time.perf_counter() - started}


def dense(x, x_test, seeds):
    """784-400-20-400-784."""
    started, found = time.perf_counter(), {}
    for seed in seeds:
        model, seen = trained("vae", x, x_test, seed)
        found[seed] = seen | {"log_likelihood": model.log_likelihood(x_test[:ESTIMATED], DRAWN)}
    without = 784 * mean_baseline(x, x_test, "bce")
    likelihood = median(one["log_likelihood"] for one in found.values())
    return Row(
        "VAE 784-400-20, Bernoulli, batch 128, Adam 1e-3, 7 epochs on MNIST (recipe vae)",
        f"held-out negative ELBO <= {ASKED} nats per image",
        f"{in_words(found)}; {median(one['active_units'] for one in found.values()):.0f} of 20 numbers active; ln p(x) >= "
        f"{likelihood:.1f} ({DRAWN} codes each, {ESTIMATED:,} images); without a code, by the mean image: {without:.1f}",
        middle(found, "negative_elbo") <= ASKED and adds_up(found),
        time.perf_counter() - started,
        {"seeds": found, "mean_image": without},
    )


def plane(train, test, seeds):
    """A convolutional VAE whose code is a point in the plane: which digits does the plane show, and where are the images?"""
    started, found, (x_test, y_test) = time.perf_counter(), {}, test
    for seed in seeds:
        model, seen = trained("vae-conv2", train[0], x_test, seed)
        pictures, _, _ = ta.latent_grid(model, SIDE)
        cells = np.bincount(digits_read(pictures, *train), minlength=10)
        near = nearest(model.encode(x_test[5000:]), y_test[5000:], model.encode(x_test[:5000]))
        found[seed] = seen | {"cells": cells.tolist(), "digits": int((cells > 0).sum()),
                              "nearest_code": float(np.mean(near == y_test[:5000]))}  # fmt: skip
    digits = [one["digits"] for one in found.values()]
    smallest = [min(one["cells"]) for one in found.values()]
    return Row(
        "conv VAE with a 2-D code, 5 epochs on MNIST (recipe vae-conv2)",
        "its plane shows the ten digits' regions; reconstruction + KL adding up",
        f"{in_words(found)}; of {SIDE}x{SIDE} pictures of the plane, read by their {NEIGHBOURS} nearest training images, each digit has "
        f"some: {', '.join(map(str, digits))} digits, the rarest {', '.join(map(str, smallest))} times; the {NEIGHBOURS} nearest "
        f"codes tell the digit in {median(one['nearest_code'] for one in found.values()):.0%}",
        median(digits) == 10 and adds_up(found),
        time.perf_counter() - started,
        {"seeds": found},
    )


def middle(found, name):
    """The median over the seeds."""
    return median(one[name] for one in found.values())


def adds_up(found):
    """Is the negative ELBO the sum of what is printed as its parts?"""
    return all(abs(one["reconstruction"] + one["kl"] - one["negative_elbo"]) < 1e-3 for one in found.values())


def in_words(found):
    """The median, and each seed's sum."""
    each = ", ".join(
        f"{one['negative_elbo']:.2f} = {one['reconstruction']:.2f} + {one['kl']:.2f}" for one in found.values()
    )
    return f"{middle(found, 'negative_elbo'):.2f} (reconstruction + KL, seed by seed: {each})"


def digits_read(pictures, x, y):
    """Which digit each picture (..., 28, 28, 1) is: what most of the nearest training images are."""
    flat = np.asarray(x[:READ_FROM]).reshape(READ_FROM, -1)
    return nearest(flat, y[:READ_FROM], np.asarray(pictures).reshape(-1, flat.shape[1]))


def nearest(points, labels, asked):
    """The label that most of the nearest points have."""
    try:
        from sklearn.neighbors import KNeighborsClassifier
    except ImportError as error:
        raise missing_library("telling digits by their neighbours", "scikit-learn") from error
    return KNeighborsClassifier(NEIGHBOURS).fit(points, np.asarray(labels)).predict(asked)
