"""Recipes: a model, its data and its training by one name. ``tinyae train NAME`` runs one."""

from dataclasses import asdict, dataclass
from math import prod

from .errors import lookup
from .models import Autoencoder
from .nn import Dense, Flatten, Reshape, Sequential


@dataclass(frozen=True)
class Recipe:
    """All that defines a run; ``expected`` is what it was seen to reach.

    ``lr`` has one learning rate per optimizer: what works for one is far off for another.
    """

    name: str
    about: str
    data: str
    hidden: tuple  # widths of the encoder's hidden layers; the decoder mirrors them
    code: int
    activation: str
    output: str
    init: str
    loss: str
    optimizer: str
    lr: dict
    batch_size: int
    epochs: int
    expected: str
    source: str

    def build(self, example_shape):
        """The untrained model for examples of that shape, its weights from the current seed."""

        def dense(widths, last):
            names = [self.activation] * (len(widths) - 2) + [last]
            return [Dense(m, n, name, self.init) for m, n, name in zip(widths, widths[1:], names)]

        widths = [prod(example_shape), *self.hidden, self.code]
        return Autoencoder(
            Sequential(Flatten(), *dense(widths, None)),
            Sequential(*dense(widths[::-1], self.output), Reshape(*example_shape)),
        )

    def settings(self):
        """The recipe as a dict."""
        return asdict(self)


RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(
            name="digits",
            about="dense autoencoder 64-256-8-256-64 on scikit-learn's 8x8 digits",
            data="digits",
            hidden=(256,),
            code=8,
            activation="relu",
            output="sigmoid",
            init="he",
            loss="mse",
            optimizer="adam",
            lr={"adam": 2e-3, "momentum": 0.3, "sgd": 1.0, "gd": 3.0},
            batch_size=32,
            epochs=80,
            expected="held-out MSE 0.0111 to 0.0113 (PCA with 8 components: 0.0245)",
            source="our own; the smallest widths of those tried whose held-out error is half of PCA's",
        )
    ]
}


def get_recipe(name):
    """The recipe of that name."""
    return lookup("recipe", name, RECIPES)
