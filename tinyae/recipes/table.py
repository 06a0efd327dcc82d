"""The recipes, as data: what each was seen to reach, and where it comes from."""

from dataclasses import replace

from ..errors import lookup
from . import clusters, compression, contractive, denoising, discrete, linear, sparse, variational
from .learning_rates import CONV_LR, DIGITS_LR, MNIST_LR
from .recipe import Recipe

TUTORIALS = "five tutorials on autoencoders; Keras's three seeds reach"
CONV_TUTORIAL = "the tutorials' convolutional autoencoder of MNIST"
EXPANDS = "its code of 7x7x32 = 1,568 numbers is larger than the image of 784: nothing is compressed, it expands"

CONV = Recipe(
    name="conv",
    about=f"{CONV_TUTORIAL}; {EXPANDS}",
    data="mnist",
    encoder=(("conv", 32), ("pool", 2), ("conv", 32), ("pool", 2)),
    decoder=(("conv", 32), ("up", 2), ("conv", 32), ("up", 2)),
    may_expand=True,
    code_activation="relu",
    lr=CONV_LR,
    batch_size=256,
    epochs=5,
    expected="held-out MSE 0.0032; with some seeds (of 0 to 9: 2, 5 and 9), and with --init glorot always, it collapses to "
    "predicting 0 everywhere, 0.1140",
    source="tutorials on autoencoders, which initialise it so that it does not train; with init 'he' PyTorch reaches "
    "0.00344, 0.00316",
)

RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(
            name="digits",
            about="dense autoencoder 64-256-8-256-64 on scikit-learn's 8x8 digits",
            data="digits",
            widths=(256, 8),
            lr=DIGITS_LR,
            batch_size=32,
            epochs=80,
            expected="held-out MSE 0.0111 to 0.0113 (PCA with 8 components: 0.0245)",
            source="our own; the smallest widths of those tried whose held-out error is half of PCA's",
        ),
        Recipe(
            name="dense32",
            about="the smallest autoencoder of MNIST, 784-32-784",
            data="mnist",
            widths=(32,),
            code_activation="relu",
            init="glorot",
            lr=MNIST_LR,
            batch_size=32,
            epochs=10,
            expected="held-out MSE 0.0099 (PCA with 32 components: 0.0168)",
            source=f"{TUTORIALS} 0.00998, 0.00991, 0.00979",
        ),
        Recipe(
            name="deep",
            about="a stacked autoencoder of MNIST, 784-128-64-32-64-128-784",
            data="mnist",
            widths=(128, 64, 32),
            code_activation="relu",
            init="glorot",
            lr=MNIST_LR,
            batch_size=32,
            epochs=10,
            expected="held-out MSE 0.0085 (PCA with 32 components: 0.0168)",
            source=f"{TUTORIALS} 0.00893, 0.00868, 0.00890",
        ),
        Recipe(
            name="bce",
            about="the same with a code of 64 and binary cross-entropy, 784-128-64-128-784",
            data="mnist",
            widths=(128, 64),
            code_activation="relu",
            init="glorot",
            loss="bce",
            lr={**MNIST_LR, "adam": 2e-3},
            batch_size=256,
            epochs=20,
            expected="held-out BCE 0.0761 (a perfect reconstruction: 0.0581; with learning rate 1e-3: 0.0767)",
            source=f"{TUTORIALS} 0.0767, 0.0762, 0.0766 with learning rate 1e-3",
        ),
        Recipe(
            name="classifier",
            about="not an autoencoder but its cousin: digits told apart, 784-256-10",
            data="mnist",
            widths=(256, 10),
            output=None,
            init="glorot",
            loss="cross_entropy",
            lr={**MNIST_LR, "adam": 1e-2, "momentum": 0.05, "sgd": 0.5, "gd": 0.5},
            optimizer_settings={"adam": {"eps": 1e-3}},
            batch_size=100,
            epochs=10,
            expected="test accuracy 97.5 % (with Adam's usual eps of 1e-8: 96.9 %)",
            source=f"{TUTORIALS} 97.3, 97.2, 97.3 %. So large a learning rate shakes weights whose gradients are small; "
            "a larger eps in Adam's denominator calms them",
            task="classify",
        ),
        CONV,
        replace(
            CONV,
            name="conv-bce",
            about=f"the same with binary cross-entropy; {EXPANDS}",
            loss="bce",
            lr={**CONV_LR, "adam": 3e-3},
            expected="held-out BCE 0.0687 (a perfect reconstruction: 0.0581; with learning rate 1e-3: 0.0707)",
            source="tutorials on autoencoders",
        ),
        Recipe(
            name="conv-small",
            about="a convolutional autoencoder whose code is smaller than the image: 4x4x8 = 128 numbers",
            data="mnist",
            encoder=(
                ("conv", 16),
                ("pool", 2, "same"),
                ("conv", 8),
                ("pool", 2, "same"),
                ("conv", 8),
                ("pool", 2, "same"),
            ),
            decoder=(("conv", 8), ("up", 2), ("conv", 8), ("up", 2), ("conv", 16, "valid"), ("up", 2)),
            code_activation="relu",
            loss="bce",
            lr={**CONV_LR, "adam": 3e-3},
            batch_size=128,
            epochs=10,
            expected="held-out BCE 0.1015 (a perfect reconstruction: 0.0581)",
            source="Chollet, Building autoencoders in Keras (2016), trained there for 50 epochs",
        ),
        Recipe(
            name="conv-digits",
            about="a convolutional autoencoder for 8x8 digits whose code is smaller than the image: 2x2x2 = 8 numbers",
            data="digits",
            encoder=(("conv", 16), ("pool", 2), ("conv", 32), ("pool", 2), ("conv", 2)),
            decoder=(("conv", 64), ("up", 2), ("conv", 32), ("up", 2)),
            lr={**CONV_LR, "adam": 5e-3},
            batch_size=32,
            epochs=30,
            expected="held-out MSE 0.0132 to 0.0138 (PCA with 8 components: 0.0245; the dense recipe digits, whose units see the whole "
            "image, 0.0112)",
            source="our own; the decoder is wider than the encoder, as it has more to do",
        ),
        *clusters.RECIPES,
        *linear.RECIPES,
        *variational.RECIPES,
        *denoising.RECIPES,
        *sparse.RECIPES,
        *contractive.RECIPES,
        *discrete.RECIPES,
        *compression.RECIPES,
    ]
}


def get_recipe(name):
    """The recipe of that name."""
    return lookup("recipe", name, RECIPES)
