r"""Augmentation: training pictures that are never twice the same, for they are moved and turned a little at random.

A digit stays that digit when it is shifted by a pixel or turned by some degrees, so every epoch can show a model other
pictures than the last one did: ``model.fit(x, epochs=50, augment=[RandomShift(1), RandomRotation(10)])``. What is drawn
follows the seed of ``fit`` and is the same on every backend.

Both read the new picture from the old one, pixel by pixel: the value at the place i of the new picture is that of the
old one at the place from which i came. So no pixel is left out, and none is written twice. Simard, Steinkraus and Platt,
"Best practices for convolutional neural networks applied to visual document analysis" (2003), section 2.
"""

import math
from typing import Any

from .context import draw, own
from .errors import ShapeError, require_integer, require_number
from .nn.layers import as_floats
from .tensor import Tensor, as_tensor, wrap


class Augmentation:
    """The parent of both. Called with a batch of images, it gives a batch of the same shape, off the tape.

    Shapes: (N, H, W, C) or (N, H, W), kept. A Tensor gives a Tensor, an array an array.

    Raises
    ------
    ShapeError
        These are no images, or they are too small for what is asked.
    """

    def __call__(self, x: Any) -> Any:
        images = as_tensor(x, type(self).__name__)
        if images.ndim not in (3, 4):
            raise ShapeError(
                f"{type(self).__name__}: the batch has shape {images.shape}; expected images, (N, H, W, C) or (N, H, W). "
                "Give fit the images, and begin the model with Flatten()."
            )
        changed = self.changed(images)
        return own(wrap(changed, images.backend)) if isinstance(x, Tensor) else changed

    def changed(self, images: Tensor) -> Any:
        """The array of the changed images."""
        raise NotImplementedError


class RandomShift(Augmentation):
    r"""Each image moved by whole pixels, up and down and to the sides, at random.

    .. math:: Y_{ij} = X_{i - d, j - e}, \qquad d, e \in \{-p, \dots, p\}, \text{ all equally likely}

    Parameters
    ----------
    pixels : int
        p, the most; less than the image's height and width.
    fill : float
        What comes in from outside.
    """

    def __init__(self, pixels: int, fill: float = 0.0) -> None:
        self.pixels = require_integer("RandomShift", "pixels", pixels, at_least=0)
        self.fill = require_number("RandomShift", "fill", fill)

    def changed(self, images: Tensor) -> Any:
        N, H, W = images.shape[:3]
        if self.pixels >= min(H, W):
            raise ShapeError(
                f"RandomShift: {self.pixels} pixels are asked for, and the images have {H}x{W}: they would be moved out of "
                f"sight. Expected at most {min(H, W) - 1}."
            )
        xp, p = images.backend.xp, self.pixels
        chance = draw("uniform", (N, 2), "noise", images.backend)
        moved = xp.floor(chance * (2 * p + 1)).astype("int64") - p
        rows = xp.clip(xp.arange(H)[None, :, None] - moved[:, 0].reshape(N, 1, 1), -1, H)
        columns = xp.clip(xp.arange(W)[None, None, :] - moved[:, 1].reshape(N, 1, 1), -1, W)
        return Frame(xp, images.data, self.fill).at(rows, columns)

    def __repr__(self) -> str:
        return f"RandomShift(pixels={self.pixels}, fill={self.fill:g})"


class RandomRotation(Augmentation):
    r"""Each image turned about its middle by a random angle; between pixels by bilinear interpolation.

    With :math:`\theta` uniform from -a to a (positive is counter-clockwise, as it is seen) and places counted from the middle,
    the value at (i, j) is read at

    .. math:: i' = i \cos\theta + j \sin\theta, \qquad j' = j \cos\theta - i \sin\theta

    and there from the four pixels around, each weighted by how near it is: with :math:`r = i' - \lfloor i' \rfloor` and
    :math:`s = j' - \lfloor j' \rfloor`, by :math:`(1 - r)(1 - s)`, :math:`(1 - r) s`, :math:`r (1 - s)` and :math:`r s`.
    It smooths a little. Integer images become float32.

    Parameters
    ----------
    degrees : float
        a, the most, up to 180.
    fill : float
        What comes in from outside.
    """

    def __init__(self, degrees: float, fill: float = 0.0) -> None:
        self.degrees = require_number("RandomRotation", "degrees", degrees, at_least=0, at_most=180)
        self.fill = require_number("RandomRotation", "fill", fill)

    def changed(self, images: Tensor) -> Any:
        xp, X = images.backend.xp, as_floats(images).data
        N, H, W = X.shape[:3]
        chance = draw("uniform", (N, 1, 1), "noise", images.backend).astype(X.dtype)
        angle = (2 * chance - 1) * math.radians(self.degrees)
        cos, sin = xp.cos(angle), xp.sin(angle)
        i = (xp.arange(H, dtype=X.dtype) - (H - 1) / 2)[None, :, None]  # from the middle, downwards
        j = (xp.arange(W, dtype=X.dtype) - (W - 1) / 2)[None, None, :]
        row = xp.clip(i * cos + j * sin + (H - 1) / 2, -1, H)  # from there on outwards there is nothing but ``fill``
        column = xp.clip(j * cos - i * sin + (W - 1) / 2, -1, W)
        return Frame(xp, X, self.fill).between(row, column)

    def __repr__(self) -> str:
        return f"RandomRotation(degrees={self.degrees:g}, fill={self.fill:g})"


class Frame:
    """Images (N, H, W, ...) with ``fill`` around them, so that rows from -1 to H + 1 and columns from -1 to W + 1 can be read."""

    def __init__(self, xp, X, fill):
        N, H, W = X.shape[:3]
        framed = xp.full((N, H + 3, W + 3, *X.shape[3:]), fill, dtype=X.dtype)
        framed[:, 1 : H + 1, 1 : W + 1] = X
        self.xp, self.width = xp, W + 3
        self.pixels = framed.reshape(N * (H + 3) * (W + 3), *X.shape[3:])
        # where each image's own pixels begin
        self.starts = (xp.arange(N) * ((H + 3) * (W + 3)) + W + 4).reshape(N, 1, 1)

    def at(self, rows, columns):
        """Pixel (rows[n, i, j], columns[n, i, j]) of each image n. Both broadcast to (N, H, W)."""
        return self.xp.take(self.pixels, self.starts + rows * self.width + columns, axis=0)

    def between(self, rows, columns):
        """The value at a place between pixels: of the four around it the mean, each weighted by how near it is.

        ``rows`` and ``columns`` (N, H, W) are floats, from -1 to H and from -1 to W.
        """
        xp = self.xp
        top, left = xp.floor(rows), xp.floor(columns)
        each = (*rows.shape, *[1] * (self.pixels.ndim - 1))  # one weight for all channels of a pixel
        r, s = (rows - top).reshape(each), (columns - left).reshape(each)
        top, left = top.astype("int64"), left.astype("int64")
        above = (1 - s) * self.at(top, left) + s * self.at(top, left + 1)
        below = (1 - s) * self.at(top + 1, left) + s * self.at(top + 1, left + 1)
        return (1 - r) * above + r * below
