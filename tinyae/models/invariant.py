r"""An autoencoder whose code says what is in a picture, and not where: it sees the picture moved, and has to say it
unmoved.

.. math:: \min_{f, g} \; E_{t} \; L(g(f(t(x))), x), \qquad t \text{ a small move, drawn anew for each picture}

A plain autoencoder spends its code on where the strokes are, as every pixel counts; so pictures of one thing lie far
apart if they stand a bit differently, and k-means parts them. Here nothing is gained by coding the move. This is a
denoising autoencoder (Vincent et al., 2010) with moves as its noise; that moved pictures help to find clusters: Guo,
Zhu, Liu and Yin, "Deep embedded clustering with data augmentation" (2018).
"""

import math
from typing import Any

from ..augmentation import Frame
from ..context import draw, own
from ..errors import ShapeError, require_number
from ..nn.module import Module
from ..tensor import Tensor, wrap
from .autoencoder import Autoencoder


class InvariantAutoencoder(Autoencoder):
    """An autoencoder for images whose code changes little if the image is shifted, turned, scaled or slanted a bit.

    Shapes: images (N, H, W) or (N, H, W, C) -> code (N, ...) -> the shape of the input. In training the encoder gets
    moved images, while the targets stay; otherwise nothing is moved.

    Parameters
    ----------
    encoder, decoder : Module
    shift : float
        The farthest shift in pixels, along each axis.
    angle : float
        The largest rotation about the middle, in degrees, either way.
    scale : float
        The largest change of size, either way: 0.15 is from 85 to 115 %.
    slant : float
        The farthest that a row is pushed sideways, as a share of its distance from the middle row.
    """

    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        shift: float = 3.0,
        angle: float = 15.0,
        scale: float = 0.15,
        slant: float = 0.2,
    ) -> None:
        super().__init__(encoder, decoder)
        self.shift = require_number("InvariantAutoencoder", "shift", shift, at_least=0)
        self.angle = require_number("InvariantAutoencoder", "angle", angle, at_least=0, at_most=180)
        self.scale = require_number("InvariantAutoencoder", "scale", scale, at_least=0, below=1)
        self.slant = require_number("InvariantAutoencoder", "slant", slant, at_least=0)

    def moves(self) -> dict[str, float]:
        """How far images are moved in training."""
        return {"shift": self.shift, "angle": self.angle, "scale": self.scale, "slant": self.slant}

    def objective(self, x: Tensor, y: Tensor, loss: Any) -> dict[str, Tensor]:
        return {"loss": loss(self, moved(x, **self.moves()) if self.training else x, y)}

    def config(self) -> dict[str, Any]:
        return {**super().config(), **self.moves()}


def moved(x: Tensor, shift: float, angle: float, scale: float, slant: float) -> Tensor:
    r"""Each image moved at random; without a tape.

    Shapes: (N, H, W) or (N, H, W, C), kept. With row i and column j counted from the middle of the image, the pixel at
    (i, j) comes from

    .. math:: \frac{1}{1 + s} \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}
              \begin{pmatrix} 1 & 0 \\ k & 1 \end{pmatrix} \begin{pmatrix} i \\ j \end{pmatrix} + t

    with t, a, s and k uniform in ± shift (pixels), ± angle (degrees), ± scale and ± slant. Values between pixels are
    interpolated linearly; what comes from outside of the image is 0.
    """
    if x.ndim not in (3, 4):
        raise ShapeError(
            f"InvariantAutoencoder: the examples have shape {x.shape[1:]}; expected images, (H, W) or (H, W, channels)."
        )
    xp, (N, H, W) = x.backend.xp, x.shape[:3]
    chance = draw("uniform", (N, 5, 1, 1), "noise", x.backend).astype(x.dtype) * 2 - 1
    down, right, turn, larger, push = (chance[:, n] for n in range(5))
    turn = turn * math.radians(angle)
    cos, sin = xp.cos(turn) / (1 + larger * scale), xp.sin(turn) / (1 + larger * scale)
    row = xp.arange(H, dtype=x.dtype).reshape(1, H, 1) - (H - 1) / 2  # from the middle of the image
    column = xp.arange(W, dtype=x.dtype).reshape(1, 1, W) - (W - 1) / 2 + push * slant * row
    # beyond the border all is 0, one pixel further as well as ten
    i = xp.clip(cos * row - sin * column + ((H - 1) / 2 + down * shift), -1, H)
    j = xp.clip(sin * row + cos * column + ((W - 1) / 2 + right * shift), -1, W)
    return own(wrap(Frame(xp, x.data, 0).between(i, j), x.backend))
