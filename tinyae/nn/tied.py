"""Tied weights: a decoder that uses the encoder's weights, transposed.

A dense layer x W + b has its way back, z W^T + c, with a bias of its own. What is tied has half the weights, and W gets
the sum of two gradients: that of its place in the encoder and that of its place in the decoder. Nothing else is asked of
it: W^T undoes W only where training makes it so.

Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006), unroll a network in this way;
Vincent et al., "Stacked denoising autoencoders" (2010), section 2.2, tie it for good.
"""

from math import prod
from typing import Any

from .. import functional as F
from ..errors import DtypeError, ShapeError, brief, known_name
from ..operands import as_ints
from ..tensor import Tensor
from .init import initial_bias
from .layers import Dense, Dropout, Flatten, Reshape
from .module import Module
from .noise import Noise
from .sequential import Sequential, flat

IN_TRAINING_ONLY = (Dropout, Noise)  # these have no mirror image


class TiedDense(Module):
    """activation(z W^T + c): the way back through a dense layer, with that layer's own W.

    W is the other layer's ``weight``, not a copy: training changes both. Only c, ``bias``, is its own.

    Shapes: (N, out_features of the other layer) -> (N, in_features of the other layer); ``bias`` is (in_features,).

    Parameters
    ----------
    of : Dense
        The layer whose weight is used.
    activation : str or None
        A name in ``functional.ACTIVATIONS``; the other layer's plays no part.
    bias : bool
        Add a bias.
    """

    def __init__(self, of: Dense, activation: str | None = None, bias: bool = True) -> None:
        if not isinstance(of, Dense):
            raise DtypeError(f"TiedDense: the layer to be tied to is {brief(of)}; expected a Dense layer.")
        self.of = of
        self.activation = None if activation is None else known_name("activation", activation, F.ACTIVATIONS)
        c = initial_bias(of.init, (of.in_features,), of.out_features).astype(of.dtype)
        self.bias = Tensor(c, True).to(of.backend) if bias else None

    @property
    def in_features(self) -> int:
        return self.of.out_features

    @property
    def out_features(self) -> int:
        return self.of.in_features

    @property
    def weight(self) -> Tensor:
        """W^T (in_features, out_features), computed from the other layer's W."""
        return self.of.weight.T

    def forward(self, x: Any) -> Tensor:
        y = self._affine(x)
        return y if self.activation is None else F.ACTIVATIONS[self.activation](y)

    def _affine(self, x):
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ShapeError(
                f"TiedDense: the input has shape {x.shape}; expected (N, {self.in_features}), the output of the layer that "
                "it is tied to. Tie it to another layer, or give it data of that width."
            )
        return F.matmul(x, self.weight) if self.bias is None else F.affine(x, self.weight, self.bias)

    def before_sigmoid(self, x):
        return self._affine(x) if self.activation == "sigmoid" else super().before_sigmoid(x)

    def ends_in_sigmoid(self):
        return self.activation == "sigmoid"

    def computes_itself(self):
        return True  # it uses the other layer's weight, and never calls it

    def config(self) -> dict[str, Any]:
        return {"of": self.of, "activation": self.activation, "bias": self.bias is not None}

    def label(self) -> str:
        return f"TiedDense({self.in_features}, {self.out_features}, {self.activation!r}, {self.bias is not None})"


def tied_decoder(encoder: Module, output: str | None = None, shape: Any = None) -> Sequential:
    """The decoder that mirrors a dense encoder and is tied to it: ``Autoencoder(encoder, tied_decoder(encoder))``.

    The layers stand in the opposite order. A Dense becomes a TiedDense with the activation that its *input* had, so that
    every layer of the decoder gives what the encoder had at that place. Flatten becomes a Reshape. What only makes
    training harder (Dropout, noise) has no mirror image.

    Parameters
    ----------
    encoder : Module
        A Sequential of Dense layers, perhaps after a Flatten, or a single Dense.
    output : str or None
        The activation of the last layer, such as ``"sigmoid"`` for pixels from 0 to 1.
    shape : int or tuple of int, optional
        The shape of an example, ``(28, 28, 1)``, where the encoder flattens it.

    Raises
    ------
    DtypeError
        A layer has no mirror image, such as a convolution.
    ShapeError
        The layers' widths do not follow each other, or ``shape`` is missing or of another size.
    """
    flattens = False
    dense: list[Dense] = []
    activations = [output]  # of what goes into each Dense
    for layer in flat([encoder]):
        if isinstance(layer, Dense):
            if dense and dense[-1].out_features != layer.in_features:
                raise ShapeError(
                    f"tied_decoder: {dense[-1].label()} is followed by {layer.label()}; their widths differ."
                )
            dense.append(layer)
            activations.append(layer.activation)
        elif isinstance(layer, Flatten) and not dense:
            flattens = True
        elif not isinstance(layer, IN_TRAINING_ONLY):
            raise DtypeError(
                f"tied_decoder: {layer.label()} has no mirror image; expected Dense layers, with their activations in them, "
                "perhaps a Flatten before and dropout or noise between them. Give such an encoder a decoder of its own."
            )
    if not dense:
        raise DtypeError(f"tied_decoder: {brief(encoder)} has no Dense layer; expected at least one, to tie to.")
    mirrored: list[Module] = [TiedDense(layer, name) for layer, name in zip(dense[::-1], activations[-2::-1])]
    return Sequential(*mirrored, *_back_to_shape(dense[0].in_features, shape, flattens))


def _back_to_shape(width, shape, flattens):
    """The mirror image of a Flatten, if there is one."""
    if shape is None:
        if flattens:
            raise ShapeError(
                "tied_decoder: the encoder begins with a Flatten, and the shape that it had before is not known. "
                "Give it: tied_decoder(encoder, shape=(28, 28, 1))."
            )
        return []
    shape = as_ints("tied_decoder", (shape,))
    if prod(shape) != width:
        raise ShapeError(f"tied_decoder: shape {shape} has {prod(shape)} numbers, the first layer takes {width}.")
    return [Reshape(*shape)]
