"""Recipes of contractive autoencoders: a code that hardly moves when the input does."""

from .recipe import Recipe

LR = {"adam": 2e-3, "rmsprop": 1e-3, "adagrad": 2e-2, "momentum": 1.0, "sgd": 10.0, "gd": 10.0}

RECIPES = [
    Recipe(
        name="contractive",
        about="784-200-784, sigmoid units, tied weights; charged for the Jacobian of its encoder",
        data="mnist",
        model="ContractiveAutoencoder",
        model_settings={"strength": 3e-4, "tied": True},
        widths=(200,),
        may_expand=True,
        activation="sigmoid",
        code_activation="sigmoid",
        output="sigmoid",
        init="glorot",
        loss="bce",
        optimizer="adam",
        lr=LR,
        batch_size=64,
        epochs=5,
        expected="norm of the Jacobian 7.4, held-out BCE 0.0863, MSE 0.0072 (PCA with 200 components: 0.0022)",
        source="Rifai et al., Contractive auto-encoders (2011); our own strength",
    ),
    Recipe(
        name="contractive-digits",
        about="the same for 8x8 digits, 64-100-64",
        data="digits",
        model="ContractiveAutoencoder",
        model_settings={"strength": 1e-3, "tied": True},
        widths=(100,),
        may_expand=True,
        activation="sigmoid",
        code_activation="sigmoid",
        output="sigmoid",
        init="glorot",
        loss="bce",
        optimizer="adam",
        lr={**LR, "adam": 3e-3, "momentum": 0.3, "sgd": 1.0, "gd": 2.0},
        batch_size=32,
        epochs=60,
        expected="norm of the Jacobian 4.4, held-out MSE 0.0050 to 0.0052 (not charged for it: 7.0 and 0.0025)",
        source="Rifai et al., Contractive auto-encoders (2011); our own strength",
    ),
]
