"""Recipes for compression: one dense autoencoder of MNIST with codes of five sizes, trained to be quantised."""

from .recipe import Recipe

WIDTHS = (256, 128)
SIZES = {2: "", 4: "", 8: "", 16: "", 32: ""}

RECIPES = [
    Recipe(
        name=f"code{size}",
        about=f"784-256-128-{size} with noise on the code, so that it bears being quantised: for tinyae compress and tinyae rates",
        data="mnist",
        widths=(*WIDTHS, size),
        activation="relu",
        code_activation=None,
        output="sigmoid",
        init="glorot",
        loss="mse",
        optimizer="adam",
        lr={"adam": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "momentum": 1.0, "sgd": 10.0, "gd": 10.0},
        batch_size=128,
        epochs=10,
        model="QuantisedAutoencoder",
        model_settings={"width": 0.5},
        expected=expected,
        source="our own; the noise as in Ballé, Laparra and Simoncelli, End-to-end optimized image compression (2017)",
    )
    for size, expected in SIZES.items()
]
