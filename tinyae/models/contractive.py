r"""The contractive autoencoder: its code hardly moves when the input does, but where that tells inputs apart.

.. math:: \min_{f, g} \; L(g(f(x)), x) + \lambda \, \|J_f(x)\|_F^2, \qquad (J_f)_{ji} = \partial z_j / \partial x_i

For one dense layer, :math:`z = s(a)` with :math:`a = x W + b`, the Jacobian is :math:`J_{ji} = s'(a_j) \, W_{ij}`, and its
norm has a closed form that costs no more than the layer itself:

.. math:: \|J_f(x)\|_F^2 = \sum_j s'(a_j)^2 \sum_i W_{ij}^2

Rifai et al., "Contractive auto-encoders: explicit invariance during feature extraction" (2011), sections 2 and 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import backend_of
from ..context import own
from ..data import as_data
from ..errors import RangeError, brief, require_number
from ..nn.layers import Dense, Flatten, Reshape
from ..nn.module import Module, model_input
from ..nn.sequential import Sequential, flat
from ..nn.tied import TiedDense
from ..tensor import Tensor, wrap
from .autoencoder import Autoencoder

PIECE = 1024  # examples that are encoded together


def step(z: Tensor, below: float) -> Tensor:
    """1 where z > 0, else ``below``: a constant."""
    above = (z.data > 0).astype(z.dtype)
    return own(wrap(above + (1 - above) * below, z.backend))


# s'(a) of each activation, written with its output z = s(a)
DERIVATIVES: dict[str | None, Callable[[Tensor], Any]] = {
    None: lambda z: step(z, below=1.0),
    "relu": lambda z: step(z, below=0.0),
    "leaky_relu": lambda z: step(z, below=0.01),
    "sigmoid": lambda z: z * (1 - z),
    "tanh": lambda z: 1 - z * z,
    "elu": lambda z: z.clip(high=0) + 1,  # below 0 it is e^a = z + 1
    "softplus": lambda z: 1 - (-z).exp(),  # the sigmoid of a
}


def the_layer(name: str, model: Autoencoder) -> Dense:
    """The one dense layer of a model's encoder.

    Raises
    ------
    RangeError
        The encoder is something else, or its activation's derivative is not known from its output.
    """
    layers = [layer for layer in flat([model.encoder]) if not isinstance(layer, (Flatten, Reshape))]
    if len(layers) != 1 or type(layers[0]) is not Dense:
        raise RangeError(
            f"{name}: the encoder is {brief(model.encoder)}; expected one Dense layer, with no more than a Flatten() before "
            "it. Only of that the Jacobian's norm has a closed form; to make deeper codes robust, use DenoisingAutoencoder."
        )
    layer: Dense = layers[0]
    if layer.activation not in DERIVATIVES:
        known = ", ".join("None" if known is None else known for known in DERIVATIVES)
        raise RangeError(
            f"{name}: the encoder's activation is '{layer.activation}', whose derivative cannot be told from each output "
            f"alone; expected one of {known}."
        )
    return layer


def squared_norms(layer: Dense, z: Tensor) -> Tensor:
    """The squared Frobenius norm of the Jacobian for each example, (N,), from the layer and its output z (N, units)."""
    slopes = DERIVATIVES[layer.activation](z)
    weights = (layer.weight * layer.weight).sum(axis=0)  # sum_i W_ij^2, one number for each unit
    return (slopes * slopes * weights).sum(axis=1)


def jacobian_norm(model: Autoencoder, x: Any) -> float:
    """The Frobenius norm of the encoder's Jacobian, the mean over examples x (N, ...): of any model with one dense layer.

    How far the code moves when the input is moved a little: 0 if not at all. Raises as ``ContractiveAutoencoder``.
    """
    layer, x = the_layer("jacobian_norm", model), as_data("jacobian_norm", x)
    total = 0.0
    with model.evaluating():
        for start in range(0, len(x), PIECE):
            z = model.code(model_input(model, x[start : start + PIECE], "jacobian_norm"))
            norms = squared_norms(layer, z.reshape(len(z), -1)).sqrt().data
            total += float(np.asarray(backend_of(norms).to_host(norms), np.float64).sum())
    return total / len(x)


class ContractiveAutoencoder(Autoencoder):
    """An autoencoder that is charged for how much its code moves when the input does.

    Shapes: (N, ...) -> code (N, units) -> (N, ...), the shape of the input.

    Parameters
    ----------
    encoder : Module
        One Dense layer, perhaps after a Flatten; its activation None (then the penalty is L2 on its weights), relu,
        leaky_relu, elu, softplus, sigmoid or tanh.
    decoder : Module
        Any. An encoder with small weights and a decoder with large ones would lower the penalty and gain nothing: Rifai
        et al. tie them, ``TiedDense(layer)``.
    strength : float
        :math:`\\lambda`, what the squared norm, the mean over examples, is multiplied by. The reconstruction loss is a
        mean over pixels: where it is a sum, as in the paper, divide by their number.

    Raises
    ------
    RangeError
        Another encoder or activation, or a strength below 0.
    """

    def __init__(self, encoder: Module, decoder: Module, strength: float = 1e-4) -> None:
        super().__init__(encoder, decoder)
        self.strength = require_number("ContractiveAutoencoder", "strength", strength, at_least=0)
        the_layer("ContractiveAutoencoder", self)

    @classmethod
    def from_parts(
        cls, encoder: Sequence[Module], decoder: Sequence[Module], *, tied: bool = False, **settings: Any
    ) -> "ContractiveAutoencoder":
        """The model from the layers of an encoder and of a decoder, as recipes have them; settings as in ``__init__``.

        ``tied``: the decoder's Dense layer gets the encoder's weights, transposed, in place of its own.
        """
        if tied:
            layer = the_layer("ContractiveAutoencoder", Autoencoder(Sequential(*encoder), Sequential(*decoder)))
            decoder = [TiedDense(layer, part.activation) if isinstance(part, Dense) else part for part in decoder]
        return cls(Sequential(*encoder), Sequential(*decoder), **settings)

    def contraction(self, z: Tensor) -> Tensor:
        """The squared Frobenius norm at the code z (N, units) of a batch, the mean over examples."""
        return squared_norms(the_layer("ContractiveAutoencoder", self), z.reshape(len(z), -1)).mean()

    def objective(self, x, y, loss):
        z = self.code(x)
        return {"reconstruction": loss(self.decoder, z, y), "contraction": self.strength * self.contraction(z)}

    def jacobian_norm(self, x: Any) -> float:
        """The Frobenius norm of the encoder's Jacobian, the mean over examples x (N, ...)."""
        return jacobian_norm(self, x)

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        return {"Frobenius norm of the encoder's Jacobian, held-out examples": self.jacobian_norm(x_test)}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "strength": self.strength}
