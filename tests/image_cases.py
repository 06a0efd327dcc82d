"""Operations on images for the tests of all operations, as in ``test_ops.py``: name -> [(function, its inputs)]."""

import tinyae as ta


def shuffled(r, *shape):
    """Numbers far enough from each other that a small step changes no maximum."""
    n = 1
    for length in shape:
        n *= length
    return r.permutation(n).reshape(shape) / n


def convolution(r, *x):
    """x, a weight from its channels to 3, a bias."""
    return r.normal(size=x), r.normal(size=(3, 2, x[-1], 3)), r.normal(size=3)


IMAGES = {
    "conv2d": [
        (lambda x, w, b: ta.conv2d(x, w, b), lambda r: convolution(r, 2, 5, 4, 2)),
        (lambda x, w, b: ta.conv2d(x, w, b, (2, 1), ((2, 0), (1, 3)), (1, 2)), lambda r: convolution(r, 2, 5, 6, 1)),
        (lambda x, w: ta.conv2d(x, w, padding="valid"), lambda r: convolution(r, 1, 4, 5, 2)[:2]),
    ],
    "conv2d_transpose": [
        (lambda x, w, b: ta.conv2d_transpose(x, w, b), lambda r: convolution(r, 2, 3, 4, 2)),
        (lambda x, w, b: ta.conv2d_transpose(x, w, b, 1, "valid"), lambda r: convolution(r, 2, 3, 4, 1)),
        (lambda x, w: ta.conv2d_transpose(x, w, None, 3, 1, (7, 11)), lambda r: convolution(r, 1, 3, 4, 2)[:2]),
    ],
    "conv_block": [
        (lambda x, w, b: ta.conv_block(x, w, b, 2, "same", "tanh", 2), lambda r: convolution(r, 2, 3, 4, 2)),
        (lambda x, w, b: ta.conv_block(x, w, b, activation="sigmoid"), lambda r: convolution(r, 2, 3, 4, 1)),
        (
            lambda x, w, b: ta.conv_block(x, w, b, pool=(2, 2), pool_padding="same"),
            lambda r: convolution(r, 1, 5, 3, 2),
        ),
    ],
    "max_pool2d": [
        (lambda x: ta.max_pool2d(x, 2), lambda r: (shuffled(r, 2, 5, 4, 2),)),
        (lambda x: ta.max_pool2d(x, 3, 2, "same"), lambda r: (shuffled(r, 2, 5, 4, 2),)),
    ],
    "avg_pool2d": [
        (lambda x: ta.avg_pool2d(x, 2), lambda r: (r.normal(size=(2, 5, 4, 2)),)),
        (lambda x: ta.avg_pool2d(x, 3, 2, "same"), lambda r: (r.normal(size=(2, 5, 4, 2)),)),
    ],
    "upsample_nearest": [(lambda x: ta.upsample_nearest(x, (2, 3)), lambda r: (r.normal(size=(2, 3, 2, 2)),))],
    "upsample_bilinear": [(lambda x: ta.upsample_bilinear(x, (2, 3)), lambda r: (r.normal(size=(2, 3, 2, 2)),))],
    "pad2d": [(lambda x: ta.pad2d(x, ((1, 0), (2, 3))), lambda r: (r.normal(size=(2, 3, 2, 2)),))],
    "batch_norm": [
        (ta.batch_norm, lambda r: (r.normal(size=(6, 3)), r.normal(size=3), r.normal(size=3))),
        (ta.batch_norm, lambda r: (r.normal(size=(2, 3, 2, 3)), r.normal(size=3), r.normal(size=3))),
    ],
}
