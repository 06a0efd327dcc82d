"""Layers: the parts that a model is put together from.

Batches come first: a layer maps (N, ...) to (N, ...). Images are "channels last": (N, H, W, C).
"""

import math
from typing import Any

from .. import functional as F
from ..backend import FLOATS
from ..context import draw, own
from ..errors import ShapeError, known_name, require_integer, require_number
from ..operands import as_ints
from ..tensor import Tensor, wrap
from .init import INITIALISERS, initial_bias, initial_weight
from .module import Module


class Dense(Module):
    """activation(x W + b): every output is connected to every input.

    Shapes: (N, in_features) -> (N, out_features); ``weight`` is (in, out), ``bias`` (out,).

    Parameters
    ----------
    in_features, out_features : int
    activation : str or None
        A name in ``functional.ACTIVATIONS``.
    init : str
        A name in ``init.INITIALISERS``.
    bias : bool
        Add a bias.
    """

    def __init__(
        self, in_features: int, out_features: int, activation: str | None = None, init: str = "he", bias: bool = True
    ) -> None:
        self.in_features = require_integer("Dense", "in_features", in_features, at_least=1)
        self.out_features = require_integer("Dense", "out_features", out_features, at_least=1)
        self.activation = None if activation is None else known_name("activation", activation, F.ACTIVATIONS)
        self.init = known_name("initialiser", init, INITIALISERS)
        self.weight = Tensor(initial_weight(self.init, (in_features, out_features), in_features, out_features), True)
        self.bias = Tensor(initial_bias(self.init, (out_features,), in_features), True) if bias else None

    def forward(self, x: Any) -> Tensor:
        if self.activation in F.JOINED and self.bias is not None:
            return F.dense(self._checked(x), self.weight, self.bias, self.activation)
        y = self._affine(x)
        return y if self.activation is None else F.ACTIVATIONS[self.activation](y)

    def _checked(self, x):
        if x.ndim != 2 or x.shape[1] != self.in_features:
            cure = (
                "Put a Flatten() before it."
                if math.prod(x.shape[1:]) == self.in_features and x.ndim > 2
                else (
                    "Give it data of that width (a single example too needs its batch axis: x[:1]), or build it with another in_features."
                )
            )
            raise ShapeError(f"Dense: the input has shape {x.shape}; expected (N, {self.in_features}). {cure}")
        return x

    def _affine(self, x):
        x = self._checked(x)
        return F.matmul(x, self.weight) if self.bias is None else F.affine(x, self.weight, self.bias)

    def before_sigmoid(self, x):
        return self._affine(x) if self.activation == "sigmoid" else super().before_sigmoid(x)

    def ends_in_sigmoid(self):
        return self.activation == "sigmoid"

    def config(self) -> dict[str, Any]:
        return {"in_features": self.in_features, "out_features": self.out_features, "activation": self.activation,
                "init": self.init, "bias": self.bias is not None}  # fmt: skip


class Activation(Module):
    """An activation as a layer of its own. Shapes: any, kept."""

    def __init__(self, name: str) -> None:
        self.name = known_name("activation", name, F.ACTIVATIONS)

    def forward(self, x: Any) -> Tensor:
        return F.ACTIVATIONS[self.name](x)

    def before_sigmoid(self, x):
        return x if self.name == "sigmoid" else super().before_sigmoid(x)

    def ends_in_sigmoid(self):
        return self.name == "sigmoid"

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


class Flatten(Module):
    """Each example as one row. Shapes: (N, ...) -> (N, D)."""

    def forward(self, x: Any) -> Tensor:
        require_batch("Flatten", x)
        return x.reshape(x.shape[0], -1)

    def config(self) -> dict[str, Any]:
        return {}


class Reshape(Module):
    """Each example in another shape. Shapes: (N, ...) -> (N, *shape).

    ``Reshape(8, 8, 1)`` and ``Reshape((8, 8, 1))`` are the same.
    """

    def __init__(self, *shape: Any) -> None:
        self.shape = as_ints("Reshape", shape)

    def forward(self, x: Any) -> Tensor:
        require_batch("Reshape", x)
        return x.reshape(x.shape[0], *self.shape)

    def config(self) -> dict[str, Any]:
        return {"shape": self.shape}

    @classmethod
    def from_config(cls, shape):
        return cls(*shape)


class Dropout(Module):
    """In training, set a share ``rate`` of the elements to 0 and scale the rest by 1 / (1 - rate).

    The scaling keeps the expected value, so in evaluation the layer does nothing. Shapes: any.
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014),
    section 10, in the "inverted" form.
    """

    def __init__(self, rate: float) -> None:
        self.rate = require_number("Dropout", "rate", rate, at_least=0, below=1)

    def forward(self, x: Any) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        chance = draw("uniform", x.shape, "dropout", x.backend)
        x = as_floats(x)
        mask = (chance >= self.rate).astype(x.dtype)
        return x * own(wrap(mask / (1 - self.rate), x.backend))

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}


def as_floats(x):
    """Integer and bool inputs become float32, as in arithmetic."""
    return x if x.dtype in FLOATS else x.astype(FLOATS[0])


def require_batch(name, x):
    """Refuse what has no batch axis."""
    if x.ndim == 0:
        raise ShapeError(f"{name}: the input has shape (); expected (N, ...), one entry per example.")
