"""A recipe: what defines a run, as data; the model that it describes; the data that it is not made for."""

from dataclasses import asdict, dataclass, field, fields
from math import prod
from typing import Any

from .. import models
from ..errors import RangeError, ShapeError, StateError, lookup
from ..nn import Dense, Flatten, Reshape, Sequential
from .convolutional import build, checked_layers, layout, refuse_what_are_no_images

MODELS = {name: getattr(models, name) for name in models.__all__}
LATER = (
    "encoder",
    "decoder",
    "may_expand",
    "code",
    "model",
    "model_settings",
    "decay",
)  # entries that the settings of older runs do not have


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that defines a run but its seed; ``expected`` is what it was seen to reach.

    A dense model is described by ``widths``, a convolutional one by ``encoder`` and ``decoder``: one tuple for each
    layer, as ``convolutional.py`` says. There the decoder's last layer is left out: a convolution to the image's own
    channels, with the activation ``output``. With ``code`` a dense layer makes that many numbers of what the encoder ends
    with, and another brings them back; ``widths`` are then those of dense layers between, on either side of the code.

    ``model`` says which kind of autoencoder is made of these layers, and ``model_settings`` what else its class is told.

    ``lr`` has a learning rate for each optimizer, as what works for one is far off for another, and
    ``optimizer_settings`` what else differs from an optimizer's own defaults. With ``decay`` the learning rate falls to 0 along half a
    cosine (``CosineDecay``), for models that have to come to rest.
    """

    name: str
    about: str
    data: str
    activation: str = "relu"  # of every layer but code and output
    code_activation: str | None = None
    output: str | None = "sigmoid"
    init: str = "he"
    loss: str = "mse"
    optimizer: str = "adam"
    lr: dict
    batch_size: int
    epochs: int
    expected: str
    source: str
    widths: tuple = ()  # of a dense encoder's layers: the last is the code, or the classes; a decoder mirrors them
    encoder: tuple = ()  # of a convolutional autoencoder: ("conv", 32), ("pool", 2), ...
    decoder: tuple = ()
    code: int | None = None  # how many numbers, for a convolutional autoencoder whose code is dense
    model: str = "Autoencoder"  # a class in tinyae.models
    model_settings: dict = field(default_factory=dict)
    may_expand: bool = False  # its code may be as large as the input, or larger
    task: str = "reconstruct"  # or "classify"
    optimizer_settings: dict = field(default_factory=dict)
    decay: bool = False
    labels: str | None = None  # a file, for data that have none of their own

    def code_shape(self, example_shape) -> tuple:
        """The shape of the code of one example of that shape, without the batch axis."""
        if not self.encoder:
            shape = (self.widths[-1],)
        else:
            shape = (self.code,) if self.code else layout(self.encoder, self.decoder, example_shape).code_shape
        return lookup("model", self.model, MODELS).code_shape(shape, **self.model_settings)

    def code_size(self, example_shape) -> int:
        """How many numbers there are in the code of one example of that shape."""
        return prod(self.code_shape(example_shape))

    def build(self, example_shape, classes=None):
        """The untrained model for examples of that shape, its weights from the current seed."""

        def dense(widths, last):
            names = [self.activation] * (len(widths) - 2) + [last]
            return [Dense(m, n, name, self.init) for m, n, name in zip(widths, widths[1:], names)]

        if self.task == "classify":
            return Sequential(Flatten(), *dense([prod(example_shape), *self.widths[:-1], classes], self.output))
        if self.encoder:
            encoder, decoder = build(self, example_shape)
        else:
            widths = [prod(example_shape), *self.widths]
            encoder = [Flatten(), *dense(widths, self.code_activation)]
            decoder = [*dense(widths[::-1], self.output), Reshape(*example_shape)]
        return lookup("model", self.model, MODELS).from_parts(encoder, decoder, **self.model_settings)

    # ------------------------------------------------------------ what it is not made for

    def refuse_what_makes_no_sense(self, example_shape, labels):
        """Data for which the recipe has no meaning, and losses that its model cannot have.

        Raises
        ------
        ShapeError
            The code is not smaller than the input, or a convolution is given what are no images.
        RangeError
            A classifier without whole, non-negative labels, or a loss of the other kind.
        """
        if self.encoder:
            refuse_what_are_no_images(self.name, example_shape)
        if self.task == "reconstruct":
            self._refuse_no_compression(example_shape)
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

    def _refuse_no_compression(self, example_shape):
        size, code = prod(example_shape), self.code_size(example_shape)
        if code >= size and not self.may_expand:
            larger = "larger images" if self.encoder else f"data with more than {code} numbers per example"
            raise ShapeError(
                f"recipe '{self.name}': its code has {code} numbers, an example of these data {size}: nothing "
                f"would be compressed. Use {larger}, or a recipe with a smaller code (see: tinyae recipes)."
            )

    # ------------------------------------------------------------ to be written down

    def settings(self) -> dict[str, Any]:
        """The recipe as a dict, for ``Recipe.from_settings``."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Any) -> "Recipe":
        """The recipe that ``settings()`` described, also that of a run from before there were convolutions.

        Raises
        ------
        StateError
            Something is missing or unknown.
        RangeError
            A layer is none.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(settings, dict) or not names - set(LATER) <= set(settings) <= names:
            wrong = ", ".join(sorted(names.symmetric_difference(settings))) if isinstance(settings, dict) else "all"
            raise StateError(f"the recipe has missing or unknown entries: {wrong}.")
        layers = {part: checked_layers(settings.get(part, ())) for part in ("encoder", "decoder")}
        return cls(**{**settings, **layers, "widths": tuple(settings["widths"])})
