r"""Pooling: each window of an image becomes one number, its largest or its mean.

A window reaches the output through the pixel that won (max) or through all alike (mean); so its gradient goes back to
the winner, or is shared. Windows may overlap: then a pixel's gradients are summed.

Source: Goodfellow, Bengio and Courville, *Deep Learning* (2016), section 9.3.
"""

from ..errors import ShapeError
from .op import Op, op
from .resizing import pad, require_images
from .windows import taps, window_sizes


@op(
    "max_pool2d",
    r"Y_{nijc} = \max_{u,v} X_{n,\, s i + u - p,\, s' j + v - p',\, c}",
    {
        "X": r"\bar X_{nyxc} = \sum_{i,j,u,v} \bar Y_{nijc} [(u, v) = k_{nijc}] [s i + u - p = y] [s' j + v - p' = x], "
        r"\quad k_{nijc} = \operatorname{argmax}_{u,v} X_{n,\, s i + u - p,\, s' j + v - p',\, c}"
    },
    letters={"size": ("u", "v"), "stride": ("s", "s'"), "padding": (("p", ""), ("p'", ""))},
)
class MaxPool2D(Op):
    """The largest number of each window, channel by channel. NaN wins; of equal ones the first takes the gradient.

    Shapes: X (N, H, W, C) -> Y (N, H', W', C), with H' = (H + top + bottom - size) // stride + 1, W' likewise.

    ``size`` and ``stride`` are pairs (height, width); places in ``padding`` ((top, bottom), (left, right)) count as
    -inf, so no number loses to them. Saves which place of each window won, and not X.
    """

    @staticmethod
    def forward(xp, save, X, size, stride, padding):
        sizes = check_pool("max_pool2d", X, size, stride, padding)
        padded = pad(xp, X, padding, -float("inf"))
        windows = xp.stack([padded[tap] for tap in taps(size, sizes, stride, (1, 1))])  # (taps, N, H', W', C)
        winner = windows.argmax(axis=0)
        save(winner, X.shape, size, stride, padding)
        return xp.take_along_axis(windows, winner[None], axis=0)[0]

    @staticmethod
    def backward(xp, saved, gY):
        winner, shape, size, stride, padding = saved
        gX, inside = canvas(xp, shape, padding, gY.dtype)
        for k, tap in enumerate(taps(size, gY.shape[1:3], stride, (1, 1))):
            gX[tap] += xp.where(winner == k, gY, 0)
        return gX[inside]


@op(
    "avg_pool2d",
    r"Y_{nijc} = \frac{1}{m_{ij}} \sum_{u,v} X_{n,\, s i + u - p,\, s' j + v - p',\, c}, "
    r"\quad m_{ij} = \sum_{u,v} [0 \le s i + u - p < H] [0 \le s' j + v - p' < W]",
    {"X": r"\bar X_{nyxc} = \sum_{i,j,u,v} \frac{1}{m_{ij}} \bar Y_{nijc} [s i + u - p = y] [s' j + v - p' = x]"},
    letters={
        "size": ("u", "v"),
        "stride": ("s", "s'"),
        "padding": (("p", ""), ("p'", "")),
        "X.shape": ("", "H", "W", ""),
    },
)
class AvgPool2D(Op):
    """The mean of each window, channel by channel, over the m pixels of the image in it: padded places are not counted.

    Shapes: as in max pooling. Saves only shapes.
    """

    @staticmethod
    def forward(xp, save, X, size, stride, padding):
        sizes = check_pool("avg_pool2d", X, size, stride, padding)
        padded = pad(xp, X, padding)
        save(X.shape, size, stride, padding)
        total = sum(padded[tap] for tap in taps(size, sizes, stride, (1, 1)))
        return total / pixels_in(xp, X.shape, size, sizes, stride, padding, X.dtype)

    @staticmethod
    def backward(xp, saved, gY):
        shape, size, stride, padding = saved
        gX, inside = canvas(xp, shape, padding, gY.dtype)
        share = gY / pixels_in(xp, shape, size, gY.shape[1:3], stride, padding, gY.dtype)
        for tap in taps(size, gY.shape[1:3], stride, (1, 1)):
            gX[tap] += share
        return gX[inside]


def pixels_in(xp, shape, size, sizes, stride, padding, dtype):
    """How many pixels of the image each window holds: (1, H', W', 1)."""
    ones = pad(xp, xp.ones((1, *shape[1:3], 1), dtype=dtype), padding)
    return sum(ones[tap] for tap in taps(size, sizes, stride, (1, 1)))


def canvas(xp, shape, padding, dtype):
    """Zeros for padded images of this shape, and the index of what is not padding."""
    (top, bottom), (left, right) = padding
    N, H, W, C = shape
    inside = (slice(None), slice(top, top + H), slice(left, left + W))
    return xp.zeros((N, top + H + bottom, left + W + right, C), dtype=dtype), inside


def check_pool(name, X, size, stride, padding):
    """Refuse windows that do not fit; returns how many there are along height and width."""
    require_images(name, X.shape)
    for k, amounts in zip(size, padding):
        if max(amounts) >= k:
            raise ShapeError(
                f"{name}: padding {padding} with windows of {size[0]}x{size[1]}: a window could hold nothing but padding. "
                "Expected less padding than the window is large."
            )
    return window_sizes(X.shape[1:3], size, stride, padding, name=name)
