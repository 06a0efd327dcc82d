"""The twins of pooling and upsampling, where they stand alone; those of convolutions are in ``conv_blocks.py``."""

import numpy as np

from .. import ops
from ..backend import FLOATS
from .buffers import empty
from .conv_blocks import LARGEST_POOL
from .loading import ENOUGH, fits, loops, numba_works
from .threads import parts_of


def accepts_images(X):
    """Is X (N, H, W, C) of a float type, C-contiguous, and large enough?"""
    return X.ndim == 4 and X.dtype in FLOATS and ENOUGH <= X.size and fits(X, X.dtype) and numba_works()


class MaxPool2D(ops.MaxPool2D):
    """The largest number of each window, which remembers where it was."""

    repeatable = True

    @staticmethod
    def accepts(X, size, stride, padding):
        if not accepts_images(X) or size[0] * size[1] > LARGEST_POOL**2 or stride[0] < size[0] or stride[1] < size[1]:
            return False
        for n, k, pad in zip(X.shape[1:3], size, padding):
            if max(pad) >= k or n + sum(pad) < k:
                return False  # the definition says what is wrong
        return True

    @staticmethod
    def forward(xp, save, X, size, stride, padding):
        N, H, W, C = X.shape
        shape = [(n + sum(pad) - k) // s + 1 for n, k, s, pad in zip((H, W), size, stride, padding)]
        Y, winner = empty((N, *shape, C), X.dtype), empty((N, *shape, C), np.uint8)
        sizes = np.array([N, H, W, C, *shape], np.int64)
        window = np.array([*size, *stride, padding[0][0], padding[1][0]], np.int64)
        parts = parts_of(8 * X.size)
        loops.resampling.pool(X.reshape(-1), sizes, window, Y.reshape(-1), winner.reshape(-1), parts)
        save(X.shape, winner, sizes, window, parts)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        shape, winner, sizes, window, parts = saved
        gX = empty(shape, gY.dtype)
        gY = np.ascontiguousarray(gY).reshape(-1)
        loops.resampling.pool_backward(gY, winner.reshape(-1), sizes, window, gX.reshape(-1), parts)
        return gX


class UpsampleNearest(ops.UpsampleNearest):
    """Every pixel as a block of equal ones."""

    repeatable = True

    @staticmethod
    def accepts(X, factor):
        return accepts_images(X) and min(factor) > 0

    @staticmethod
    def forward(xp, save, X, factor):
        N, H, W, C = X.shape
        Y, sizes, parts = empty((N, H * factor[0], W * factor[1], C), X.dtype), np.array(X.shape), parts_of(8 * X.size)
        factor = np.array(factor)
        loops.resampling.upsample(X.reshape(-1), sizes, factor, Y.reshape(-1), parts)
        save(X.shape, sizes, factor, parts)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        shape, sizes, factor, parts = saved
        gX, gY = empty(shape, gY.dtype), np.ascontiguousarray(gY).reshape(-1)
        loops.resampling.upsample_backward(gY, sizes, factor, gX.reshape(-1), parts)
        return gX
