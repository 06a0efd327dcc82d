"""Layers for images: convolution, pooling, upsampling, borders. Images are "channels last": (N, H, W, C).

Sizes that may differ between height and width (``kernel_size``, ``stride``, ``dilation``, ``size``) are given as one
int or as a pair (height, width), and stand on the layer as an int wherever both are equal. What is computed is in
``ops/``.
"""

from collections.abc import Sequence
from typing import Any

from .. import functional as F
from ..errors import ShapeError, known_name, require_integer
from ..ops.resizing import require_images
from ..tensor import Tensor
from .init import INITIALISERS, initial_bias, initial_weight
from .module import Module


class Convolution(Module):
    """What the two convolutions share: a weight (kh, kw, in, out), a bias (out,), an activation."""

    weight: Tensor
    bias: Tensor | None

    def _set_up(self, in_channels, out_channels, kernel_size, stride, padding, activation, init, bias):
        name = type(self).__name__
        self.in_channels = require_integer(name, "in_channels", in_channels, at_least=1)
        self.out_channels = require_integer(name, "out_channels", out_channels, at_least=1)
        self.kernel_size = one_or_two(name, "kernel_size", kernel_size)
        self.stride = one_or_two(name, "stride", stride)
        self.padding = given_padding(name, padding)
        self.activation = None if activation is None else known_name("activation", activation, F.ACTIVATIONS)
        self.init = known_name("initialiser", init, INITIALISERS)
        kh, kw = both(self.kernel_size)
        fan_in, fan_out = self._fans(kh * kw)
        shape = (kh, kw, self.in_channels, self.out_channels)
        self.weight = Tensor(initial_weight(self.init, shape, fan_in, fan_out), True)
        self.bias = Tensor(initial_bias(self.init, (self.out_channels,), fan_in), True) if bias else None

    def _checked(self, x):
        require_images(type(self).__name__, x.shape, self.in_channels, f"the layer has in_channels={self.in_channels}")
        return x

    def _convolve(self, x, activation):
        raise NotImplementedError

    def _fans(self, taps):
        raise NotImplementedError

    def forward(self, x: Any) -> Tensor:
        return self._convolve(self._checked(x), self.activation)

    def before_sigmoid(self, x):
        if self.activation != "sigmoid":
            return super().before_sigmoid(x)
        return self._convolve(self._checked(x), None)

    def ends_in_sigmoid(self):
        return self.activation == "sigmoid"


class Conv2D(Convolution):
    """activation(convolution of x with the weight + b): each output pixel is a weighted sum of a window of pixels.

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels); ``weight`` is (kh, kw, in, out), ``bias`` (out,).
    H' is ceil(H / stride) for ``"same"``; else (H + padding above and below - dilation (kh - 1) - 1) // stride + 1.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (height, width)
    padding : str, int or ((top, bottom), (left, right))
        ``"same"``: zeros around the image as in Keras, surplus ones at the bottom and right; ``"valid"``: none.
    activation : str or None
        A name in ``functional.ACTIVATIONS``.
    init : str
        A name in ``init.INITIALISERS``, with fan_in = kh * kw * in_channels and fan_out = kh * kw * out_channels.
    bias : bool
        Add a bias.

    Raises
    ------
    RangeError
        A size below 1, an unknown name.
    ShapeError
        When called: no images, other channels, channels first, or a kernel larger than the padded image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: F.Padding = "same",
        activation: str | None = None,
        dilation: int | Sequence[int] = 1,
        init: str = "he",
        bias: bool = True,
    ) -> None:
        self.dilation = one_or_two("Conv2D", "dilation", dilation)
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, activation, init, bias)

    def _fans(self, taps):
        return taps * self.in_channels, taps * self.out_channels

    def _convolve(self, x, activation):
        if self.stride == self.dilation == 1:  # there are kernels for this, and some activations are part of it
            joined = activation if activation in F.JOINED else None
            y = F.conv_block(x, self.weight, self.bias, 1, self.padding, joined)
            activation = None if joined else activation
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)
        return y if activation is None else F.ACTIVATIONS[activation](y)

    def config(self) -> dict[str, Any]:
        return {"in_channels": self.in_channels, "out_channels": self.out_channels, "kernel_size": self.kernel_size,
                "stride": self.stride, "padding": self.padding, "activation": self.activation,
                "dilation": self.dilation, "init": self.init, "bias": self.bias is not None}  # fmt: skip


class Conv2DTranspose(Convolution):
    """activation(transposed convolution + b): each input pixel adds its multiple of the kernel to a larger image.

    The size goes the way back of a Conv2D with this kernel, stride and padding. With a stride several sizes lead to
    one, so there are several ways back. Without ``output_size`` this one is taken:

    ===================  ===========================================
    padding              H'
    ===================  ===========================================
    ``"same"``           stride * H
    ``"valid"``          (H - 1) * stride + kh
    numbers              that, less the padding above and below
    ===================  ===========================================

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels); ``weight`` is (kh, kw, in, out), ``bias`` (out,).

    Parameters
    ----------
    output_size : int or (height, width), optional
        The size that the output must have: what cannot be reached from an image is refused when it comes.
    in_channels, out_channels, kernel_size, stride, padding, activation, init, bias
        As in Conv2D; padding is cut off instead of added. An output pixel sums up kh * kw * in / stride**2 products on
        average, which is fan_in here; fan_out = kh * kw * out.

    Raises
    ------
    RangeError, ShapeError
        As in Conv2D.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 2,
        padding: F.Padding = "same",
        activation: str | None = None,
        init: str = "he",
        bias: bool = True,
        output_size: int | Sequence[int] | None = None,
    ) -> None:
        self.output_size = None if output_size is None else one_or_two("Conv2DTranspose", "output_size", output_size)
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, activation, init, bias)

    def _fans(self, taps):
        sh, sw = both(self.stride)
        return taps * self.in_channels / (sh * sw), taps * self.out_channels

    def _convolve(self, x, activation):
        y = F.conv2d_transpose(x, self.weight, self.bias, self.stride, self.padding, self.output_size)
        return y if activation is None else F.ACTIVATIONS[activation](y)

    def config(self) -> dict[str, Any]:
        return {"in_channels": self.in_channels, "out_channels": self.out_channels, "kernel_size": self.kernel_size,
                "stride": self.stride, "padding": self.padding, "activation": self.activation,
                "init": self.init, "bias": self.bias is not None, "output_size": self.output_size}  # fmt: skip


class Pooling(Module):
    """What the two poolings share: windows of ``size``, ``stride`` apart."""

    def __init__(
        self, size: int | Sequence[int] = 2, stride: int | Sequence[int] | None = None, padding: F.Padding = "valid"
    ) -> None:
        name = type(self).__name__
        self.size = one_or_two(name, "size", size)
        self.stride = self.size if stride is None else one_or_two(name, "stride", stride)
        self.padding = given_padding(name, padding)

    def config(self) -> dict[str, Any]:
        return {"size": self.size, "stride": self.stride, "padding": self.padding}


class MaxPool2D(Pooling):
    """The largest number of each window, channel by channel; of equal ones the first takes the gradient. NaN wins.

    Shapes: (N, H, W, C) -> (N, H', W', C). H' is (H - size) // stride + 1 for ``"valid"``: rows that fill no window
    are lost; ceil(H / stride) for ``"same"``, where padded places never win.

    Parameters
    ----------
    size, stride : int or (height, width)
        The stride is the size if it is not given.
    padding : str, int or ((top, bottom), (left, right))
        Less than the window is large.

    Raises
    ------
    RangeError
        A size or stride below 1, an unknown padding.
    ShapeError
        When called: no images, or a window larger than the image.
    """

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool2D(Pooling):
    """The mean of each window, channel by channel; padded places are not counted. All else as in MaxPool2D."""

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, self.size, self.stride, self.padding)


class GlobalAvgPool2D(Module):
    """The mean of each channel over the whole image. Shapes: (N, H, W, C) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        require_images("GlobalAvgPool2D", x.shape)
        return x.mean(axis=(1, 2))

    def config(self) -> dict[str, Any]:
        return {}


class UpSampling2D(Module):
    """Larger images. Shapes: (N, H, W, C) -> (N, size H, size W, C).

    Parameters
    ----------
    size : int or (height, width)
        The factor.
    interpolation : str
        ``"nearest"``: every pixel becomes a block of equal ones. ``"bilinear"``: linear between the pixels' centres.
    """

    def __init__(self, size: int | Sequence[int] = 2, interpolation: str = "nearest") -> None:
        self.size = one_or_two("UpSampling2D", "size", size)
        self.interpolation = known_name("interpolation", interpolation, ("nearest", "bilinear"))

    def forward(self, x: Any) -> Tensor:
        upsample = F.upsample_nearest if self.interpolation == "nearest" else F.upsample_bilinear
        return upsample(x, self.size)

    def config(self) -> dict[str, Any]:
        return {"size": self.size, "interpolation": self.interpolation}


class ZeroPad2D(Module):
    """Zeros around images. Shapes: (N, H, W, C) -> (N, top + H + bottom, left + W + right, C).

    ``padding`` is one int for all sides, or ((top, bottom), (left, right)).
    """

    def __init__(self, padding: int | Sequence[Sequence[int]] = 1) -> None:
        self.padding = one_or_sides("ZeroPad2D", "padding", padding)

    def forward(self, x: Any) -> Tensor:
        return F.pad2d(x, self.padding)

    def config(self) -> dict[str, Any]:
        return {"padding": self.padding}


class Crop2D(Module):
    """Images without their border. Shapes: (N, H, W, C) -> (N, H - top - bottom, W - left - right, C).

    ``cropping`` is one int for all sides, or ((top, bottom), (left, right)).

    Raises
    ------
    ShapeError
        When called: no images, or images of which nothing would be left.
    """

    def __init__(self, cropping: int | Sequence[Sequence[int]] = 1) -> None:
        self.cropping = one_or_sides("Crop2D", "cropping", cropping)

    def forward(self, x: Any) -> Tensor:
        require_images("Crop2D", x.shape)
        (top, bottom), (left, right) = F.sides("Crop2D", "cropping", self.cropping)
        H, W = x.shape[1:3]
        if top + bottom >= H or left + right >= W:
            raise ShapeError(
                f"Crop2D: of images of {H}x{W} nothing is left without {top} + {bottom} rows and {left} + {right} columns. "
                "Cut less off."
            )
        return x[:, top : H - bottom, left : W - right]

    def config(self) -> dict[str, Any]:
        return {"cropping": self.cropping}


def one_or_two(owner, name, value):
    """Sizes along height and width, checked: one int if they are equal."""
    height, width = F.pair(owner, name, value)
    return height if height == width else (height, width)


def both(value):
    """Sizes as they stand on a layer, as a pair."""
    return value if isinstance(value, tuple) else (value, value)


def one_or_sides(owner, name, value):
    """Amounts on the four sides, checked: one int if they are equal."""
    (top, bottom), (left, right) = found = F.sides(owner, name, value)
    return top if top == bottom == left == right else found


def given_padding(owner, padding):
    """A padding as the user may give it, checked."""
    return F.padding_name(owner, padding) if isinstance(padding, str) else one_or_sides(owner, "padding", padding)
