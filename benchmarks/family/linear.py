"""The linear autoencoder beside PCA: on the digits, with tied and untied weights, and on MNIST."""

import statistics
import time

import tinyae as ta
from tinyae.context import manual_seed
from tinyae.recipes import get_recipe

from .row import Row

ANGLE, SHARE = 1.0, 0.005  # what is asked: degrees, and how far the error may be from PCA's


def measure(seeds, threads=None):
    """The rows of linear autoencoders."""
    return [on_digits(seeds, tied=False), on_digits(seeds, tied=True), on_mnist(seeds)]


def trained(name, seed, x, tied=False):
    """The recipe's model, trained as ``tinyae train`` does; its weights tied or not."""
    recipe = get_recipe(name)
    manual_seed(seed)
    model = ta.LinearAutoencoder(x.shape[1:], recipe.widths[-1], tied=tied, init=recipe.init)
    lr = recipe.lr[recipe.optimizer]
    schedules = [ta.CosineDecay()] if recipe.decay else []
    model.fit(
        x, recipe.epochs, recipe.batch_size, recipe.optimizer, lr, recipe.loss, seed=seed, callbacks=schedules, progress=False
    )  # fmt: skip
    return model


def on_digits(seeds, tied):
    """Eight components of the digits: the angles and the held-out error."""
    (x, _), (x_test, _) = ta.datasets.load_digits()
    started = time.perf_counter()
    found = [trained("linear", seed, x, tied).compare_with_pca(x, x_test) for seed in seeds]
    angles, ratios = [max(one["principal_angles"]) for one in found], [one["ratio"] for one in found]
    angle, ratio = statistics.median(angles), statistics.median(ratios)
    return Row(
        f"linear autoencoder, digits, 8 components, {'tied' if tied else 'untied'} weights",
        f"every principal angle < {ANGLE:g} degree, held-out MSE within {SHARE:.1%} of PCA's",
        f"largest angle {angle:.2f} degrees; held-out MSE {statistics.median(one['mse'] for one in found):.5f}, "
        f"{ratio - 1:+.3%} of PCA's {found[0]['pca_mse']:.5f}",
        angle < ANGLE and abs(ratio - 1) <= SHARE,
        time.perf_counter() - started,
        {"largest angle": angles, "MSE by PCA's": ratios, "angles": [one["principal_angles"] for one in found]},
    )


def on_mnist(seeds):
    """32 components of MNIST: the error, and why the last angles are slow."""
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    started = time.perf_counter()
    found = [trained("linear-mnist", seed, x).compare_with_pca(x, x_test) for seed in seeds]
    ratios = [one["ratio"] for one in found]
    ratio = statistics.median(ratios)
    of_median = min(found, key=lambda one: abs(one["ratio"] - ratio))
    last, following = of_median["eigenvalues"]
    angles = ", ".join(f"{angle:.2f}" for angle in of_median["principal_angles"][:4])
    return Row(
        "linear autoencoder, MNIST, 32 components",
        f"held-out MSE within {SHARE:.1%} of PCA's; the angles, and why the last ones converge slowly",
        f"held-out MSE {of_median['mse']:.5f}, {ratio - 1:+.3%} of PCA's {of_median['pca_mse']:.5f}; the largest angles {angles}, ... "
        f"degrees: eigenvalues 32 and 33 are {last:.3f} and {following:.3f}, so to have the one direction for the other costs "
        f"only {of_median['most_at_stake']:.1e} of the MSE, times the angle's sin^2",
        abs(ratio - 1) <= SHARE,
        time.perf_counter() - started,
        {
            "MSE by PCA's": ratios,
            "angles": [one["principal_angles"] for one in found],
            "eigenvalues": [last, following],
        },
    )
