"""Plain dense autoencoders for data of any shape: what is taken where no model is given."""

from math import prod

from ..nn import Dense, Flatten, Reshape, Sequential
from ..nn.module import Module
from .autoencoder import Autoencoder


def dense_autoencoder(
    shape: tuple[int, ...], hidden: tuple[int, ...], code: int, activation: str = "relu"
) -> Autoencoder:
    """Dense layers down to the code, and their mirror image back: D-hidden-code-hidden-D, code and output linear.

    Weights are drawn from the current generator.

    Parameters
    ----------
    shape : tuple of int
        The shape of one example; D is the product.
    hidden : tuple of int
        Widths of the layers before the code; the decoder has them in reverse.
    code : int
    activation : str
        Of the hidden layers.
    """
    features = prod(shape)

    def layers(widths: list[int]) -> list[Module]:
        before = (Dense(inputs, outputs, activation) for inputs, outputs in zip(widths, widths[1:-1]))
        return [*before, Dense(widths[-2], widths[-1])]

    encoder, decoder = layers([features, *hidden, code]), layers([code, *hidden[::-1], features])
    if len(shape) != 1:
        encoder, decoder = [Flatten(), *encoder], [*decoder, Reshape(*shape)]
    return Autoencoder(Sequential(*encoder), Sequential(*decoder))


def default_autoencoder(shape: tuple[int, ...]) -> Autoencoder:
    """D-H-K-H-D for examples of that shape, with K = D / 4 (1 to 32) and H = 2 D (64 to 256)."""
    features = prod(shape)
    hidden, code = min(256, max(64, 2 * features)), min(32, max(1, round(features / 4)))
    return dense_autoencoder(shape, (hidden,), code)
