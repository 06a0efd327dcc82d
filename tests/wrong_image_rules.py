"""Deliberately wrong rules of operations on images, for ``test_check.py``: what, where, the rule, inputs, attributes."""

import numpy as np

from tinyae import ops
from tinyae.ops.convolution import add_patches, flat, patches, rows

rng = np.random.default_rng(2)
X, W, B = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(3, 3, 2, 2)), rng.normal(size=2)
POOLED = rng.permutation(80).reshape(2, 5, 4, 2) / 80
ROWS, GAMMA = rng.normal(size=(5, 2)), rng.normal(size=2)
ONES, NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))
SAME = {"stride": (1, 1), "padding": ONES, "dilation": (1, 1)}
STRIDED = {"stride": (2, 2), "padding": ONES, "dilation": (1, 1)}
TRANSPOSED = {"stride": (2, 2), "padding": ONES, "output_padding": (1, 1)}
POOL = {"size": (2, 2), "stride": (2, 2), "padding": NONE}
OVERLAPPING = {"size": (3, 3), "stride": (1, 1), "padding": ONES}


def with_image_gradient(wrong):
    """Convolution with another gradient of the image."""

    def backward(xp, saved, gY):
        return wrong(xp, saved, gY), *ops.Conv2D.backward(xp, saved, gY)[1:]

    return backward


def with_weight_gradient(wrong):
    """Convolution with another gradient of the weights."""

    def backward(xp, saved, gY):
        gX, _, gb = ops.Conv2D.backward(xp, saved, gY)
        return gX, wrong(xp, saved, gY), gb

    return backward


def image_gradient(xp, saved, gY, W):
    X, _, *where = saved
    return ops.Conv2D.backward(xp, (X, W, *where), gY)[0]


def unflipped(xp, saved, gY):
    """The convolution with the kernel as it is: only its channels are exchanged."""
    return ops.Conv2D.forward(xp, lambda *_: None, gY, saved[1].transpose(0, 1, 3, 2), np.zeros(2), *saved[2:])


def without_the_last_tap(xp, saved, gY):
    X, W, *where = saved
    P = rows(gY, W.reshape(-1, 2).T)
    P[..., -2:] = 0
    return add_patches(xp, P, X.shape, (3, 3), *where)


def patches_set_not_added(xp, saved, gY):
    """Of overlapping patches only the last one counts."""
    X, W, *where = saved
    P = rows(gY, W.reshape(-1, 2).T)
    place = patches(xp, xp.arange(1, X.size + 1).reshape(X.shape), (3, 3), *where).ravel()
    gX = xp.zeros(X.size + 1)
    gX[place] = P.ravel()
    return gX[1:].reshape(X.shape)


def patches_of_another_padding(xp, saved, gY):
    X, W, stride, _, dilation = saved
    P = patches(xp, X, (3, 3), stride, ((2, 0), (1, 1)), dilation)
    return (flat(P).T @ flat(gY)).reshape(W.shape)


def patches_with_the_channels_first(xp, saved, gY):
    X, W, *where = saved
    P = flat(patches(xp, X, (3, 3), *where)).reshape(-1, 9, 2).transpose(0, 2, 1).reshape(-1, 18)
    return (P.T @ flat(gY)).reshape(W.shape)


def strides_forgotten(xp, saved, gY):
    """As if the windows lay side by side."""
    X, W, _, padding, dilation = saved
    N, H, width, O = gY.shape
    P = patches(xp, X, (3, 3), (1, 1), padding, dilation)[:, :H, :width]
    return (flat(P).T @ flat(gY)).reshape(W.shape)


def transposed_with_mirrored_weights(xp, saved, gY):
    X, W, *where = saved
    return ops.Conv2DTranspose.backward(xp, (X, W[::-1], *where), gY)


def everyone_wins(xp, saved, gY):
    _, *shapes = saved
    return 4 * ops.AvgPool2D.backward(xp, shapes, gY)


def the_winner_of_the_next_window(xp, saved, gY):
    winner, *shapes = saved
    return ops.MaxPool2D.backward(xp, (xp.roll(winner, 1, axis=2), *shapes), gY)


def padding_counted(xp, saved, gY):
    return ops.AvgPool2D.backward(xp, saved, gY * counted(xp, saved, gY) / 9)


def counted(xp, saved, gY):
    shape, size, stride, padding = saved
    return ops.pooling.pixels_in(xp, shape, size, gY.shape[1:3], stride, padding, gY.dtype)


def statistics_as_constants(xp, saved, gY):
    """The classic: mean and variance depend on X too."""
    Xhat, gamma, inverse = saved
    return gamma * inverse * gY, (gY * Xhat).sum(axis=0), gY.sum(axis=0)


def without_the_variance(xp, saved, gY):
    Xhat, gamma, inverse = saved
    return gamma * inverse * (gY - gY.mean(axis=0)), (gY * Xhat).sum(axis=0), gY.sum(axis=0)


def activation_forgotten(xp, saved, gY):
    *rest, chain = saved
    return ops.ConvBlock.backward(xp, (*rest, [step for step in chain if step[0] is not ops.Tanh]), gY)


CONV, BLOCK = [X, W, B], {"upsample": 2, "padding": ONES, "activation": "tanh", "pool": None}
WRONG = [
    ("an unflipped kernel", ops.Conv2D, with_image_gradient(unflipped), CONV, SAME),
    ("a kernel flipped in one direction only", ops.Conv2D,
     with_image_gradient(lambda xp, s, gY: image_gradient(xp, s, gY, s[1][:, ::-1])), CONV, SAME),
    ("channels in and out exchanged", ops.Conv2D,
     with_image_gradient(lambda xp, s, gY: image_gradient(xp, s, gY, s[1].transpose(0, 1, 3, 2))), CONV, SAME),
    ("a forgotten tap", ops.Conv2D, with_image_gradient(without_the_last_tap), CONV, SAME),
    ("overlapping patches that overwrite each other", ops.Conv2D, with_image_gradient(patches_set_not_added), CONV, SAME),
    ("patches one row off", ops.Conv2D, with_weight_gradient(patches_of_another_padding), CONV, SAME),
    ("patches with the channels first", ops.Conv2D, with_weight_gradient(patches_with_the_channels_first), CONV, SAME),
    ("a forgotten stride", ops.Conv2D, with_weight_gradient(strides_forgotten), CONV, STRIDED),
    ("a bias gradient from one image", ops.Conv2D,
     lambda xp, s, gY: (*ops.Conv2D.backward(xp, s, gY)[:2], gY[0].sum(axis=(0, 1))), CONV, SAME),
    ("a transposed convolution with mirrored weights", ops.Conv2DTranspose, transposed_with_mirrored_weights, CONV, TRANSPOSED),
    ("a block without its activation's derivative", ops.ConvBlock, activation_forgotten, CONV, BLOCK),
    ("max pooling that credits the whole window", ops.MaxPool2D, everyone_wins, [POOLED], POOL),
    ("max pooling that credits the neighbour's winner", ops.MaxPool2D, the_winner_of_the_next_window, [POOLED], POOL),
    ("mean pooling that counts the padding", ops.AvgPool2D, padding_counted, [X], OVERLAPPING),
    ("upsampling that credits one copy of four", ops.UpsampleNearest, lambda xp, s, gY: gY[:, ::2, ::2] * 1, [X], {"factor": (2, 2)}),
    ("bilinear upsampling with the nearest pixel's gradient", ops.UpsampleBilinear, ops.UpsampleNearest.backward, [X], {"factor": (2, 2)}),
    ("a border cut off at the wrong side", ops.Pad2D, lambda xp, s, gY: gY[:, 2:, :4], [X], {"padding": ((0, 2), (0, 1))}),
    ("batch statistics taken for constants", ops.BatchNorm, statistics_as_constants, [ROWS, GAMMA, B], {"eps": 1e-5}),
    ("batch normalisation without the variance's part", ops.BatchNorm, without_the_variance, [ROWS, GAMMA, B], {"eps": 1e-5}),
]  # fmt: skip
