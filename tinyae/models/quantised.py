r"""An autoencoder whose code bears being rounded.

A quantiser puts every number of the code into the middle of its cell: it moves it by at most half of a cell's width.
Its derivative is 0 almost everywhere, so it cannot be trained through. But noise can, and noise that is uniform and as
wide as a cell looks to the decoder like the quantiser's error:

.. math:: \hat x = g(f(x) + \varepsilon), \qquad \varepsilon_k \sim U\left(-\tfrac{w}{2} \sigma_k, \tfrac{w}{2} \sigma_k\right)

:math:`\sigma_k` is the standard deviation of code unit k in the batch. Without it the encoder would only have to make
its code larger for the noise to be nothing.

Ballé, Laparra and Simoncelli, "End-to-end optimized image compression" (2017), section 3.
"""

from collections.abc import Callable
from typing import Any

from ..context import draw, own
from ..errors import require_number
from ..nn.module import Module
from ..tensor import Tensor, wrap
from .autoencoder import Autoencoder

TINY = 1e-12  # a unit that does not vary has a square root with a derivative too


class QuantisedAutoencoder(Autoencoder):
    """An autoencoder, trained with noise on its code, for ``tinyae.compress``.

    Shapes: (N, ...) -> code (N, ...) -> (N, ...). In evaluation, and in ``encode`` and ``decode``, there is no noise.

    Parameters
    ----------
    encoder, decoder : Module
    width : float
        w, how wide the noise is, in standard deviations of a code unit. A range of five standard deviations has cells
        as wide as 5 / 2**bits: 0.3 for 4 bits, 0.6 for 3.
    """

    def __init__(self, encoder: Module, decoder: Module, width: float = 0.5) -> None:
        super().__init__(encoder, decoder)
        self.width = require_number("QuantisedAutoencoder", "width", width, at_least=0)

    def with_noise(self, z: Tensor) -> Tensor:
        """In training, the code moved as a quantiser would; in evaluation, the code."""
        if not self.training or self.width == 0:
            return z
        centred = z - z.mean(axis=0, keepdims=True)
        sigma = ((centred * centred).mean(axis=0, keepdims=True) + TINY) ** 0.5
        chance = draw("uniform", z.shape, "noise", z.backend).astype(z.dtype)  # from 0 to 1
        return z + sigma * own(wrap((chance - 0.5) * self.width, z.backend))

    def forward(self, x: Any) -> Tensor:
        return self.decoder(self.with_noise(self.code(x)))

    def before_sigmoid(self, x: Any) -> Tensor:
        return self.decoder.before_sigmoid(self.with_noise(self.code(x)))

    def joined(self):
        return Module.joined(self)  # encoder and decoder, each for itself: the noise stands between them

    def objective(self, x: Tensor, y: Tensor, loss: Callable[[Module, Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        return {"loss": loss(self.decoder, self.with_noise(self.code(x)), y)}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "width": self.width}
