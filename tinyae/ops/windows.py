"""Windows that move over an image: where they lie, how many there are. Convolution and pooling share this arithmetic.

Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), relationship 6 (any padding and
stride) and section 5.1 (dilation).
"""

from ..errors import ShapeError

AT_ONCE = 1 << 22  # numbers in patches: 16 MB of float32, however large the batch


def taps(kernel, size, stride, dilation):
    """For each place (u, v) in the window, row by row: the index of what it meets in padded images (N, H, W, C).

    >>> import numpy as np
    >>> [str(np.arange(6)[rows]) for _, rows, _ in taps((3, 1), (2, 1), (2, 1), (1, 1))]  # two windows of 3, two apart
    ['[0 2]', '[1 3]', '[2 4]']
    """
    (kh, kw), (h, w), (sh, sw), (dh, dw) = kernel, size, stride, dilation
    return [
        (slice(None), slice(u * dh, u * dh + sh * (h - 1) + 1, sh), slice(v * dw, v * dw + sw * (w - 1) + 1, sw))
        for u in range(kh)
        for v in range(kw)
    ]


def window_sizes(sizes, kernel, stride, padding, dilation=(1, 1), name="pooling", what="window"):
    """How many windows fit along the height and the width of padded images."""
    found = []
    for n, k, s, (before, after), d in zip(sizes, kernel, stride, padding, dilation):
        span = d * (k - 1) + 1  # from the first tap to the last
        if span > n + before + after:
            spread = "" if dilation == (1, 1) else f" with dilation {dilation}"
            padded = "" if not before + after else f" with padding {padding}"
            raise ShapeError(
                f"{name}: a {what} of {kernel[0]}x{kernel[1]}{spread} is larger than the image of {sizes[0]}x{sizes[1]}{padded}: "
                f"along the {'width' if found else 'height'} it spans {span} pixels of {n + before + after}. "
                f"Use a smaller {what}, or padding='same'."
            )
        found.append((n + before + after - span) // s + 1)
    return tuple(found)


def same_padding(n, k, s, d=1):
    """(before, after) so that ceil(n / s) windows fit, as in Keras and TensorFlow: surplus padding comes after.

    >>> same_padding(28, 3, 1), same_padding(28, 3, 2), same_padding(7, 2, 2)
    ((1, 1), (0, 1), (0, 1))
    """
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return total // 2, total - total // 2


def blocks(images, matrix, size):
    """Slices of the batch: so many images at a time that their patches are no more than AT_ONCE numbers."""
    step = max(1, AT_ONCE // (max(matrix.shape) * size[0] * size[1]))
    return [slice(start, start + step) for start in range(0, len(images), step)]


def transposed_padding(sizes, kernel, stride, padding, wanted=None):
    """What a transposed convolution cuts off and adds, (padding, output_padding), to give images of ``wanted`` size.

    Wanted are the images that a convolution with this kernel, stride and padding turns into images of ``sizes``.
    Their possible sizes are ``stride`` numbers in a row; None stands for stride * n with padding "same", else for the
    smallest.
    """
    cuts, more, reach = [], [], []
    for axis, (n, k, s) in enumerate(zip(sizes, kernel, stride)):
        full = (n - 1) * s + k
        if padding == "same":
            size = s * n if wanted is None else wanted[axis]
            cut = same_padding(size, k, s)
            reach.append(((n - 1) * s + 1, n * s))
        else:
            cut = (0, 0) if padding == "valid" else padding[axis]
            size = full - sum(cut) if wanted is None else wanted[axis]
            reach.append((full - sum(cut), full - sum(cut) + s - 1))
        cuts.append(cut)
        more.append(size - full + sum(cut))
    if wanted is not None and not all(low <= size <= high for size, (low, high) in zip(wanted, reach)):
        (low, high), (left, right) = reach
        raise ShapeError(
            f"conv2d_transpose: output_size {wanted} cannot be reached from images of {sizes[0]}x{sizes[1]} with a kernel of "
            f"{kernel[0]}x{kernel[1]}, stride {stride} and padding {padding!r}: possible are {low} to {high} rows and "
            f"{left} to {right} columns. Choose one of these, or follow with Crop2D or ZeroPad2D."
        )
    return tuple(cuts), tuple(more)
