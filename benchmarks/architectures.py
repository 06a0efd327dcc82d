"""The models of ``peers`` and ``scaling`` as data. Each framework's file in ``contestants/`` builds them its own way."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dense:
    """activation(x W + b). Shapes: (N, inputs) -> (N, outputs)."""

    inputs: int
    outputs: int
    activation: str

    @property
    def weight_shape(self):
        return self.inputs, self.outputs


@dataclass(frozen=True)
class Conv:
    """A 3x3 convolution with stride 1 and "same" padding, then an activation.

    Shapes: (N, H, W, inputs) -> (N, H, W, outputs).
    """

    inputs: int
    outputs: int
    activation: str

    @property
    def weight_shape(self):
        return 3, 3, self.inputs, self.outputs


@dataclass(frozen=True)
class MaxPool:
    """The largest of each 2x2 pixels. Shapes: (N, H, W, C) -> (N, H/2, W/2, C)."""

    size: int = 2


@dataclass(frozen=True)
class UpSampling:
    """Each pixel 2x2 times. Shapes: (N, H, W, C) -> (N, 2H, 2W, C)."""

    factor: int = 2


@dataclass(frozen=True)
class Model:
    """An autoencoder: its name, the shape of one example, and the layers before and after the code."""

    name: str
    shape: tuple
    encoder: tuple
    decoder: tuple

    @property
    def layers(self):
        return self.encoder + self.decoder

    @property
    def kind(self):
        return "conv" if any(isinstance(layer, Conv) for layer in self.layers) else "dense"


def dense_layers(dims):
    """Dense layers of these widths, with relu after each but the last and a sigmoid after that."""
    activations = ["relu"] * (len(dims) - 2) + ["sigmoid"]
    return tuple(Dense(*widths) for widths in zip(dims, dims[1:], activations))


def dense_model(dims):
    """Those layers as an autoencoder; its code is the narrowest."""
    layers, middle = dense_layers(dims), dims.index(min(dims))
    return Model("-".join(map(str, dims)), (dims[0],), layers[:middle], layers[middle:])


def conv_model(side=28):
    """The convolutional autoencoder of Keras' tutorial in one width, on grey images; its code is (side/4, side/4, 32)."""
    encoder = Conv(1, 32, "relu"), MaxPool(), Conv(32, 32, "relu"), MaxPool()
    decoder = Conv(32, 32, "relu"), UpSampling(), Conv(32, 32, "relu"), UpSampling(), Conv(32, 1, "sigmoid")
    return Model(f"conv 32-pool-32-pool-32-up-32-up-1 on {side}x{side}", (side, side, 1), encoder, decoder)


def initial_weights(layers):
    """[(W, b), ...] of the layers that have weights, in float32, the same in every process.

    W is uniform on ±sqrt(6 / inputs of one output) (He et al. 2015), b is 0. Shapes: W as the layer's
    ``weight_shape``, b (outputs,).
    """
    rng = np.random.default_rng(0)
    pairs = []
    for layer in layers:
        if isinstance(layer, (Dense, Conv)):
            *fan_in, outputs = layer.weight_shape
            W = rng.uniform(-1, 1, layer.weight_shape) * np.sqrt(6 / np.prod(fan_in))
            pairs.append((W.astype(np.float32), np.zeros(outputs, np.float32)))
    return pairs
