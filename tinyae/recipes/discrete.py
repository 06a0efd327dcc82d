"""Recipes of the autoencoders whose codes are whole numbers, or shaped by a discriminator."""

from dataclasses import replace

from .recipe import Recipe

ADVERSARIAL = Recipe(
    name="adversarial-digits",
    about="adversarial: a code of 8 numbers that a discriminator cannot tell from draws of N(0, 1)",
    data="digits",
    widths=(256, 8),
    model="AdversarialAutoencoder",
    model_settings={"hidden": [64, 64], "strength": 0.01},
    lr={"adam": 2e-3},
    batch_size=32,
    epochs=60,
    expected="held-out MSE 0.0142 to 0.0170 (the recipe digits, without a prior: 0.0112), variances of the codes 0.71 to 1.07; the "
    "discriminator tells 62 to 70 % right",
    source="Makhzani et al. (2015); sizes our own",
)

RECIPES = [
    Recipe(
        name="vq-digits",
        about="vector-quantised: each 8x8 digit as 8 integers below 64, 48 bits; each stands for a vector of 4 numbers",
        data="digits",
        widths=(256, 32),
        model="VQAutoencoder",
        model_settings={"codes": 64, "size": 4},
        lr={"adam": 2e-3},
        batch_size=32,
        epochs=80,
        expected="held-out MSE 0.0077 to 0.0080, all 64 entries in use (PCA, rounded to 48 bits an image: 0.0109; with 8 real numbers: "
        "0.0245)",
        source="van den Oord et al. (2017); sizes our own",
    ),
    Recipe(
        name="vq",
        about="vector-quantised and convolutional: each image of MNIST as 7x7 integers below 64, 294 bits",
        data="mnist",
        encoder=(("conv", 16), ("pool", 2), ("conv", 32), ("pool", 2), ("conv", 8)),
        decoder=(("conv", 32), ("up", 2), ("conv", 16), ("up", 2)),
        model="VQAutoencoder",
        model_settings={"codes": 64, "size": 8},
        lr={"adam": 3e-3},
        batch_size=128,
        epochs=4,
        expected="held-out MSE 0.0045 to 0.0053, all 64 entries in use (PCA, rounded to 294 bits an image: 0.0066; with 49 real numbers: "
        "0.0117)",
        source="van den Oord et al. (2017), smaller",
    ),
    ADVERSARIAL,
    replace(
        ADVERSARIAL,
        name="adversarial",
        about="the same on MNIST, 784-512-8",
        data="mnist",
        widths=(512, 8),
        lr={"adam": 1e-3},
        batch_size=128,
        epochs=10,
        expected="held-out MSE 0.0205 to 0.0207 (PCA with 8 components: 0.0374), variances of the codes 0.89 to 1.07; the discriminator tells 63 % "
        "right",
        source="Makhzani et al. (2015), smaller",
    ),
]
