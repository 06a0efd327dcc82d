"""Recipes of variational autoencoders."""

from .recipe import Recipe

RECIPES = [
    Recipe(
        name="vae-digits",
        about="variational autoencoder 64-256-2-256-64 of the 8x8 digits: its code of 2 numbers can be drawn as a plane",
        data="digits",
        widths=(256, 2),
        model="VariationalAutoencoder",
        model_settings={"likelihood": "gaussian", "std": 0.15},
        lr={"adam": 2e-3},
        batch_size=32,
        epochs=80,
        expected="held-out negative ELBO -5.9 to -7.2 nats per image (a density, so it may be negative; the mean image without a "
        "code: 42.7), MSE 0.034 to 0.035 (PCA with 2 components: 0.0525)",
        source="our own; std is a little less than the error that such a code leaves, a root mean square of 0.18",
    ),
    Recipe(
        name="vae",
        about="variational autoencoder of MNIST, 784-400-20-400-784, as in Kingma and Welling's paper and PyTorch's example",
        data="mnist",
        widths=(400, 20),
        model="VariationalAutoencoder",
        init="pytorch",
        loss="bce",
        lr={"adam": 1e-3},
        batch_size=128,
        epochs=7,
        expected="held-out negative ELBO 106.7 nats per image (the mean image without a code: 206)",
        source="PyTorch's example vae, whose initial weights it has; a public run of it reaches 106.66 after 7 epochs",
    ),
    Recipe(
        name="vae-conv2",
        about="a convolutional variational autoencoder of MNIST with a code of 2 numbers: tinyae generate draws its plane",
        data="mnist",
        encoder=(("conv", 16), ("pool", 2), ("conv", 32), ("pool", 2)),
        decoder=(("up", 2), ("conv", 16), ("up", 2)),
        widths=(128,),
        code=2,
        model="VariationalAutoencoder",
        loss="bce",
        lr={"adam": 2e-3},
        batch_size=128,
        epochs=5,
        expected="held-out negative ELBO 150 to 151 nats per image (the mean image without a code: 206)",
        source="our own; two convolutions with pooling, and dense layers of 128 on either side of the code",
    ),
]
