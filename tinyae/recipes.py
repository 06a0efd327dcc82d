"""Recipes: a model, its data and its training by one name. ``tinyae train NAME`` runs one."""

from dataclasses import asdict, dataclass, field, fields
from math import prod
from typing import Any

from .errors import RangeError, ShapeError, StateError, lookup
from .models import Autoencoder
from .nn import Dense, Flatten, Reshape, Sequential


@dataclass(frozen=True)
class Recipe:
    """All that defines a run but its seed; ``expected`` is what it was seen to reach.

    ``lr`` has a learning rate for each optimizer, as what works for one is far off for another, and
    ``optimizer_settings`` what else differs from an optimizer's own defaults.
    """

    name: str
    about: str
    data: str
    widths: tuple  # of the encoder's layers: the last is the code, or the classes; a decoder mirrors them
    activation: str  # of every layer but code and output
    code_activation: str | None
    output: str | None
    init: str
    loss: str
    optimizer: str
    lr: dict
    batch_size: int
    epochs: int
    expected: str
    source: str
    task: str = "reconstruct"  # or "classify"
    optimizer_settings: dict = field(default_factory=dict)
    labels: str | None = None  # a file, for data that have none of their own

    @property
    def code_size(self) -> int:
        return self.widths[-1]

    def build(self, example_shape, classes=None):
        """The untrained model for examples of that shape, its weights from the current seed."""

        def dense(widths, last):
            names = [self.activation] * (len(widths) - 2) + [last]
            return [Dense(m, n, name, self.init) for m, n, name in zip(widths, widths[1:], names)]

        if self.task == "classify":
            return Sequential(Flatten(), *dense([prod(example_shape), *self.widths[:-1], classes], self.output))
        widths = [prod(example_shape), *self.widths]
        return Autoencoder(
            Sequential(Flatten(), *dense(widths, self.code_activation)),
            Sequential(*dense(widths[::-1], self.output), Reshape(*example_shape)),
        )

    def refuse_what_makes_no_sense(self, example_shape, labels):
        """Data for which the recipe has no meaning, and losses that its model cannot have.

        Raises
        ------
        ShapeError
            The code is not narrower than the input.
        RangeError
            A classifier without whole, non-negative labels, or a loss of the other kind.
        """
        size = prod(example_shape)
        if self.task == "reconstruct":
            if self.code_size >= size:
                raise ShapeError(
                    f"recipe '{self.name}': its code has {self.code_size} numbers, an example of these data {size}: nothing "
                    f"would be compressed. Use data with more than {self.code_size} numbers per example, or a recipe with a "
                    "smaller code (see: tinyae recipes)."
                )
            if self.loss not in ("mse", "bce"):
                raise RangeError(
                    f"recipe '{self.name}': loss '{self.loss}' was given, but it reconstructs; expected 'mse' or 'bce'."
                )
            return
        if self.loss != "cross_entropy":
            raise RangeError(
                f"recipe '{self.name}': loss '{self.loss}' was given, but it classifies; expected 'cross_entropy'."
            )
        if labels is None:
            raise RangeError(
                f"recipe '{self.name}': it learns from labels, and these data have none. Give --labels FILE with one whole "
                "number per example, or use a recipe that reconstructs (see: tinyae recipes)."
            )
        low, high, found = int(labels.min()), int(labels.max()), len(set(labels.tolist()))
        if low < 0 or high >= len(labels) or found < 2:
            raise RangeError(
                f"recipe '{self.name}': the labels go from {low} to {high} and have {found} different values; expected at "
                "least two classes, counted from 0 without large gaps."
            )

    def settings(self) -> dict[str, Any]:
        """The recipe as a dict, for ``Recipe.from_settings``."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Any) -> "Recipe":
        """The recipe that ``settings()`` described.

        Raises
        ------
        StateError
            Something is missing or unknown.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(settings, dict) or set(settings) != names:
            wrong = ", ".join(sorted(names.symmetric_difference(settings))) if isinstance(settings, dict) else "all"
            raise StateError(f"the recipe has missing or unknown entries: {wrong}.")
        return cls(**{**settings, "widths": tuple(settings["widths"])})


# What one optimizer needs, another cannot bear. The mean over pixels makes gradients small, hence rates above 1.
MNIST_LR = {"adam": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "momentum": 1.0, "sgd": 10.0, "gd": 10.0}
TUTORIALS = "five tutorials on autoencoders; Keras's three seeds reach"

RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(
            name="digits",
            about="dense autoencoder 64-256-8-256-64 on scikit-learn's 8x8 digits",
            data="digits",
            widths=(256, 8),
            activation="relu",
            code_activation=None,
            output="sigmoid",
            init="he",
            loss="mse",
            optimizer="adam",
            lr={"adam": 2e-3, "rmsprop": 1e-3, "adagrad": 2e-2, "momentum": 0.3, "sgd": 1.0, "gd": 2.0},
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
            activation="relu",
            code_activation="relu",
            output="sigmoid",
            init="glorot",
            loss="mse",
            optimizer="adam",
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
            activation="relu",
            code_activation="relu",
            output="sigmoid",
            init="glorot",
            loss="mse",
            optimizer="adam",
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
            activation="relu",
            code_activation="relu",
            output="sigmoid",
            init="glorot",
            loss="bce",
            optimizer="adam",
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
            activation="relu",
            code_activation=None,
            output=None,
            init="glorot",
            loss="cross_entropy",
            optimizer="adam",
            lr={**MNIST_LR, "adam": 1e-2, "momentum": 0.05, "sgd": 0.5, "gd": 0.5},
            optimizer_settings={"adam": {"eps": 1e-3}},
            batch_size=100,
            epochs=10,
            expected="test accuracy 97.5 % (with Adam's usual eps of 1e-8: 96.9 %)",
            source=f"{TUTORIALS} 97.3, 97.2, 97.3 %. So large a learning rate shakes weights whose gradients are small; "
            "a larger eps in Adam's denominator calms them",
            task="classify",
        ),
    ]
}


def get_recipe(name):
    """The recipe of that name."""
    return lookup("recipe", name, RECIPES)
