"""Recipes of linear autoencoders, which should come to what PCA is."""

from dataclasses import replace

from .learning_rates import MNIST_LR
from .recipe import Recipe

LINEAR = Recipe(
    name="linear",
    about="a linear autoencoder of the digits, 64-8-64, which finds the span of PCA",
    data="digits",
    widths=(8,),
    output=None,
    init="glorot",
    # with these all come within 1 % of PCA's error, but for gd, which makes only one step in an epoch
    lr={"adam": 1e-2, "rmsprop": 3e-3, "adagrad": 0.1, "momentum": 0.3, "sgd": 3.0, "gd": 3.0},
    decay=True,
    batch_size=32,
    epochs=300,
    model="LinearAutoencoder",
    expected="held-out MSE 0.0245, that of PCA with 8 components; every principal angle to PCA's span below 0.2 degrees",
    source="Baldi and Hornik (1989)",
)

RECIPES = [
    LINEAR,
    replace(
        LINEAR,
        name="linear-mnist",
        about="a linear autoencoder of MNIST, 784-32-784, beside PCA with 32 components",
        data="mnist",
        widths=(32,),
        lr={**MNIST_LR, "adam": 2e-3, "adagrad": 3e-2},
        batch_size=128,
        epochs=10,
        expected="held-out MSE 0.01683, within 0.05 % of PCA's with 32 components; the largest principal angle 1.6 to 6.7 degrees",
    ),
]
