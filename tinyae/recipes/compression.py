"""Recipes for compression: one dense autoencoder of MNIST with codes of five sizes, trained to be quantised."""

from .learning_rates import MNIST_LR
from .recipe import Recipe

WIDTHS = (256, 128)
SEEN = {  # size of the code: held-out MSE without quantising, and PCA's
    2: ("0.0399 to 0.0402", 0.0557),
    4: ("0.0284 to 0.0286", 0.0479),
    8: ("0.0177 to 0.0180", 0.0374),
    16: ("0.0109 to 0.0112", 0.0269),
    32: ("0.0068 to 0.0071", 0.0168),
}

RECIPES = [
    Recipe(
        name=f"code{size}",
        about=f"784-256-128-{size} with noise on the code, so that it bears being quantised: for tinyae compress and tinyae rates",
        data="mnist",
        widths=(*WIDTHS, size),
        init="glorot",
        lr=MNIST_LR,
        batch_size=128,
        epochs=10,
        model="QuantisedAutoencoder",
        model_settings={"width": 0.5},
        expected=f"held-out MSE {own} (PCA with {size} components: {pca:.4f})",
        source="our own; the noise as in Ballé, Laparra and Simoncelli, End-to-end optimized image compression (2017)",
    )
    for size, (own, pca) in SEEN.items()
]
