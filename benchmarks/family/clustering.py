"""Digits sorted without labels: k-means on a code of 10 numbers, beside k-means on the raw pixels and on PCA's code."""

import statistics
import time
from dataclasses import replace

import tinyae as ta
from tinyae.evaluation.code_quality import cluster_measures
from tinyae.evaluation.reconstructions import fitted_pca
from tinyae.recipes import get_recipe

from .row import Row

ASKED = {"clustering_accuracy": 0.70, "nmi": 0.65}


def measure(seeds, threads=None):
    """Train the recipe ``clusters``, and once the same without moves; cluster the codes of the held-out digits."""
    if threads is not None:
        ta.set_num_threads(threads)
    (x, _), (x_test, y_test) = ta.datasets.load_mnist()
    mean, basis = fitted_pca(x, 10, [])
    flat = x_test.reshape(len(x_test), -1)
    recipe = get_recipe("clusters")
    plain = replace(recipe, model="Autoencoder", model_settings={})
    rows = []
    for what, tried, tried_with, asked in (
        ("k-means on a 10-number code of MNIST (recipe clusters)", recipe, seeds, ASKED),
        ("the same layers as a plain autoencoder, nothing moved (one seed)", plain, seeds[:1], None),
    ):
        started, found = time.perf_counter(), {}
        for seed in tried_with:
            model, seconds = trained(tried, x, seed)
            found[seed] = cluster_measures(model.encode(x_test), y_test, seed) | {"training_seconds": seconds}
        rows.append(row(what, asked, found, time.perf_counter() - started))
    for what, codes in (
        ("k-means on raw pixels", flat),
        ("k-means on PCA's code of 10 numbers", (flat - mean) @ basis),
    ):
        started = time.perf_counter()
        found = {seed: cluster_measures(codes, y_test, seed) for seed in seeds}
        rows.append(row(what, None, found, time.perf_counter() - started))
    return rows


def trained(recipe, x, seed):
    """The recipe's model, trained as the recipe says on all of x without labels; and the seconds that took."""
    ta.manual_seed(seed)
    model = recipe.build(x.shape[1:])
    started = time.perf_counter()
    model.fit(x, recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr[recipe.optimizer], recipe.loss,
              seed=seed, progress=False)  # fmt: skip
    return model, time.perf_counter() - started


def row(what, asked, found, seconds):
    """The medians over the seeds, in words, with those of each seed."""
    middle = {
        name: statistics.median(each[name] for each in found.values()) for name in ("clustering_accuracy", "nmi", "ari")
    }
    seen = f"accuracy {middle['clustering_accuracy']:.3f}, NMI {middle['nmi']:.3f}, ARI {middle['ari']:.3f}"
    each = ", ".join(f"{one['clustering_accuracy']:.3f}/{one['nmi']:.3f}" for one in found.values())
    reached = None if asked is None else all(middle[name] >= least for name, least in asked.items())
    wanted = "" if asked is None else f"accuracy >= {asked['clustering_accuracy']:.2f}, NMI >= {asked['nmi']:.2f}"
    return Row(
        what, wanted, f"{seen} (seed by seed {each})", reached, seconds, {str(seed): one for seed, one in found.items()}
    )
