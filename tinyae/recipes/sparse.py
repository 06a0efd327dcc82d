"""Recipes of sparse autoencoders: many units, of which few are active for one example."""

from dataclasses import replace

from .learning_rates import DIGITS_LR, MNIST_LR
from .recipe import Recipe

SPARSE = Recipe(
    name="sparse",
    about="784-256-784 with the KL penalty: each unit is to be active for 5 % of the digits; tinyae inspect shows the strokes "
    "that they look for",
    data="mnist",
    model="SparseAutoencoder",
    model_settings={"penalty": "kl", "strength": 1e-3, "target": 0.05},
    widths=(256,),
    may_expand=True,
    activation="sigmoid",
    code_activation="sigmoid",
    init="glorot",
    lr={**MNIST_LR, "adam": 3e-3, "adagrad": 2e-2},
    batch_size=128,
    epochs=10,
    expected="5.7 of 256 units on for one digit, mean activity 0.066, all alive; held-out MSE 0.0048 (PCA with 256 components: "
    "0.0014, with all of them on)",
    source="Ng, Sparse autoencoder, CS294A lecture notes (2011); our own strength",
)

RECIPES = [
    SPARSE,
    Recipe(
        name="sparse-l1",
        about="784-256-784 with the L1 penalty on a relu code, which is exactly 0 where it is off; many units die on the way",
        data="mnist",
        model="SparseAutoencoder",
        model_settings={"penalty": "l1", "strength": 1e-4},
        widths=(256,),
        may_expand=True,
        code_activation="relu",
        init="glorot",
        lr={**MNIST_LR, "adagrad": 2e-2},
        batch_size=128,
        epochs=10,
        expected="89 of 256 units on for one digit, 171 alive; held-out MSE 0.0036 (PCA with 256 components: 0.0014, with all of them on)",
        source="Goodfellow et al., Deep Learning (2016), section 14.2.1; our own strength",
    ),
    replace(
        SPARSE,
        name="sparse-digits",
        about="an overcomplete code for 8x8 digits, 64-128-64, with the KL penalty",
        data="digits",
        widths=(128,),
        lr={**DIGITS_LR, "adam": 5e-3},
        batch_size=64,
        epochs=60,
        expected="3.6 to 3.7 of 128 units on for one digit, mean activity 0.087, held-out MSE 0.0052 to 0.0058 (without the penalty 62 to 64 units, 0.0021)",
    ),
]
