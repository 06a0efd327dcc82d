"""Recipes of contractive autoencoders: a code that hardly moves when the input does."""

from dataclasses import replace

from .learning_rates import DIGITS_LR, MNIST_LR
from .recipe import Recipe

CONTRACTIVE = Recipe(
    name="contractive",
    about="784-200-784, sigmoid units, tied weights; charged for the Jacobian of its encoder",
    data="mnist",
    model="ContractiveAutoencoder",
    model_settings={"strength": 3e-4, "tied": True},
    widths=(200,),
    may_expand=True,
    activation="sigmoid",
    code_activation="sigmoid",
    init="glorot",
    loss="bce",
    lr={**MNIST_LR, "adam": 2e-3, "adagrad": 2e-2},
    batch_size=64,
    epochs=5,
    expected="norm of the Jacobian 7.4, held-out BCE 0.0863, MSE 0.0072 (PCA with 200 components: 0.0022)",
    source="Rifai et al., Contractive auto-encoders (2011); our own strength",
)

RECIPES = [
    CONTRACTIVE,
    replace(
        CONTRACTIVE,
        name="contractive-digits",
        about="the same for 8x8 digits, 64-100-64",
        data="digits",
        model_settings={"strength": 1e-3, "tied": True},
        widths=(100,),
        lr={**DIGITS_LR, "adam": 3e-3},
        batch_size=32,
        epochs=60,
        expected="norm of the Jacobian 4.4, held-out MSE 0.0050 to 0.0052 (not charged for it: 7.0 and 0.0025)",
    ),
]
