"""Max-pooling and nearest upsampling that stand alone. Those beside a convolution are computed with it."""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import like
from .products import share
from .tiles import give_to_winner, largest_of_window


@kernel
def pool(x, sizes, window, y, winner, parts):
    """Y <- the largest number of each window, and which place of the window it has.

    Parameters
    ----------
    x, y, winner : flat arrays
        X (N, H, W, C), Y and winner, bytes, (N, H', W', C).
    sizes : int64 array
        N, H, W, C, H', W'.
    window : int64 array
        Rows, columns, how far apart they are downwards and across, how many are above and left of the image.
    """
    N, H, W, C, rows, columns = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    for part in prange(parts):
        start, stop = share(N * rows, 1, np.int64(part), parts)
        for row in range(start, stop):
            n, i = row // rows, row % rows * window[2] - window[4]
            above, below = max(i, 0), min(i + window[0], H)
            for j in range(columns):
                k = j * window[3] - window[5]
                left, right = max(k, 0), min(k + window[1], W)
                largest_of_window(x, ((n * H + above) * W + left) * C, W * C, C, below - above, right - left,
                                  (above - i) * window[1] + left - k, window[1], C, y, winner,
                                  (row * columns + j) * C)  # fmt: skip


@kernel
def pool_backward(gy, winner, sizes, window, gx, parts):
    """gX <- each window's gradient at its winner's place, else 0. The windows do not overlap."""
    N, H, W, C, rows, columns = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    for part in prange(parts):
        start, stop = share(N * H, 1, np.int64(part), parts)
        for row in range(start, stop):
            n, y = row // H, row % H + window[4]
            i, dy = y // window[2], y % window[2]
            line = gx[row * W * C : (row + 1) * W * C]
            for k in range(line.size):
                line[k] = like(gy[0], 0)
            if i >= rows or dy >= window[0]:
                continue
            for j in range(columns):
                for dx in range(window[1]):
                    k, at = j * window[3] - window[5] + dx, ((n * rows + i) * columns + j) * C
                    if 0 <= k < W:
                        give_to_winner(gy, at, winner, at, dy * window[1] + dx, C, gx, (row * W + k) * C)


@inner
def repeat_pixels(x, at, W, C, across, y, to):
    """A row of pixels, each ``across`` times."""
    for j in range(W):
        for k in range(across):
            for c in range(C):
                y[to + (j * across + k) * C + c] = x[at + j * C + c]


@kernel
def upsample(x, sizes, factor, y, parts):
    """Y <- each pixel of X as a block of factor[0] x factor[1]. x, y flat; sizes: N, H, W, C."""
    rows, W, C = sizes[0] * sizes[1], sizes[2], sizes[3]
    for part in prange(parts):
        start, stop = share(rows, 1, np.int64(part), parts)
        wide = W * factor[1] * C
        for row in range(start, stop):
            to = row * factor[0] * wide
            repeat_pixels(x, row * W * C, W, C, factor[1], y, to)
            for i in range(1, factor[0]):
                above, below = y[to : to + wide], y[to + i * wide : to + (i + 1) * wide]
                for k in range(wide):
                    below[k] = above[k]


@kernel
def upsample_backward(gy, sizes, factor, gx, parts):
    """gX <- the sum of each block of gY."""
    rows, W, C = sizes[0] * sizes[1], sizes[2], sizes[3]
    for part in prange(parts):
        start, stop = share(rows, 1, np.int64(part), parts)
        wide = W * factor[1] * C
        for row in range(start, stop):
            target = gx[row * W * C : (row + 1) * W * C]
            for k in range(target.size):
                target[k] = like(gy[0], 0)
            for i in range(factor[0]):
                line = gy[(row * factor[0] + i) * wide : (row * factor[0] + i + 1) * wide]
                for j in range(W):
                    for k in range(factor[1]):
                        for c in range(C):
                            target[j * C + c] += line[(j * factor[1] + k) * C + c]
