"""Recipes of denoising autoencoders: the input is corrupted in training, the clean picture is the target."""

from .learning_rates import CONV_LR, DIGITS_LR
from .recipe import Recipe

GAUSSIAN = {"noise": "gaussian", "strength": 0.4, "clip": [0, 1]}

RECIPES = [
    Recipe(
        name="denoising",
        about="a convolutional autoencoder that takes Gaussian noise of 0.4 away, 28x28x1 to 7x7x64; its code is larger than the "
        "image, but with a noisy input there is nothing to copy",
        data="mnist",
        model="DenoisingAutoencoder",
        model_settings=GAUSSIAN,
        encoder=(("conv", 16), ("pool", 2), ("conv", 64), ("pool", 2), ("conv", 64)),
        decoder=(("conv", 64), ("up", 2), ("conv", 16), ("up", 2)),
        may_expand=True,
        code_activation="relu",
        loss="bce",
        lr={**CONV_LR, "adam": 3e-3},
        batch_size=128,
        epochs=5,
        expected="from noisy held-out pictures, BCE 0.087 against the clean ones; PSNR from 11.0 to 21 dB (tinyae denoise)",
        source="our own, after Vincent et al. (2008) and Chollet, Building autoencoders in Keras (2016)",
    ),
    Recipe(
        name="denoising-digits",
        about="a dense one for 8x8 digits, 64-256-64-256-64, Gaussian noise of 0.4",
        data="digits",
        model="DenoisingAutoencoder",
        model_settings=GAUSSIAN,
        widths=(256, 64),
        may_expand=True,
        code_activation="relu",
        loss="bce",
        lr=DIGITS_LR,
        batch_size=32,
        epochs=40,
        expected="from noisy held-out digits, PSNR from 10.9 to 16.5 or 16.6 dB, BCE 0.294 against the clean ones (PCA at its best: 14.8 dB)",
        source="our own",
    ),
]
