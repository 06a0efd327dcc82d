r"""Convolutions for the loops of ``loops/convolutions.py``: which windows they have, and who computes what.

**Upsampling and convolution are several small convolutions.** Along one axis, nearest upsampling by u makes pixel
:math:`\lfloor p / u \rfloor` of pixel p, and a convolution with n zeros before it takes

.. math:: Z_z = \sum_d X_{\lfloor (z - n + d) / u \rfloor} W_d

Write z = u i + a. Of the k taps of W those with the same :math:`\rho = \lfloor (a - n + d) / u \rfloor` meet the same pixel
:math:`X_{i + \rho}`, whatever i is; so their weights can be added before anything is multiplied:

.. math:: Z_{u i + a} = \sum_\rho X_{i + \rho} P_{a \rho}, \qquad P_{a \rho} = \sum_{d:\, \lfloor (a - n + d) / u \rfloor = \rho} W_d

For 3 taps, u = 2 and n = 1, both phases a have two places: :math:`P_0 = (W_0, W_1 + W_2)` and :math:`P_1 = (W_0 + W_1, W_2)`.
In two dimensions that is 4 products for 9, and the large image is never written. With u = 1 there is one phase, and P = W.
("Sub-pixel convolution", the other way round, in Shi et al., "Real-time single image and video super-resolution" (2016),
section 3.2.)

Backward, pixel i of X receives from all :math:`Z_{u i + \delta}` that it went into, each through the sum of the taps by which
it did: a window that moves over the gradient of Z in steps of u, of u + k - 1 places. An ``Axis`` holds both.
"""

from functools import lru_cache

import numpy as np

from ..backend import FLOATS
from ..ops.convolution import ConvBlock as Definition
from .buffers import empty
from .dense_layers import CODES, apart
from .loading import fits, loops, numba_works
from .threads import parts_of

ENOUGH = 20_000  # multiplications, from which on a kernel is faster than NumPy
BAND_BYTES = 1 << 19  # of X, Z and gZ that a thread works on: a quarter of a second-level cache
BANDS_EACH = 4  # for each thread at least, if there are rows enough: the last one shall not be waited for long
LARGEST_POOL = 15  # its places are numbered in a byte
ADDING_UP = 10  # multiplications of whole registers take as long as adding up the places of one


class Axis:
    """Rows, or columns: how each pixel of Z depends on those of X, and the reverse.

    Attributes
    ----------
    lo, taps : list of int
        Of each phase: the first pixel of its window, relative to i, and how many there are.
    sums : int64 array (u, places, k)
        sums[a, rho, d] is 1 if tap d belongs to place rho of phase a's window.
    back_lo, back_taps, back_sums
        The same of the way back, which has one phase.
    """

    def __init__(self, size, k, before, after, u):
        self.size, self.u, self.out = size, u, u * size + before + after - k + 1
        self.lo = [(a - before) // u for a in range(u)]
        self.taps = [(a - before + k - 1) // u - lo + 1 for a, lo in enumerate(self.lo)]
        self.sums = np.zeros((u, max(self.taps), k), np.int64)
        self.back_lo, self.back_taps = before - (k - 1), u + k - 1
        self.back_sums = np.zeros((1, self.back_taps, k), np.int64)
        for d in range(k):
            for a in range(u):
                self.sums[a, (a - before + d) // u - self.lo[a], d] = 1
                self.back_sums[0, a + k - 1 - d, d] = 1

    def border(self):
        """(before, after): how many pixels the windows reach beyond X, for any number of them."""
        last = [(self.out - a + self.u - 1) // self.u - 1 for a in range(self.u)]
        ends = [i + lo + taps for i, lo, taps in zip(last, self.lo, self.taps)]
        return max(0, -min(self.lo)), max(0, max(ends) - self.size)

    def back_border(self):
        """The same of Z."""
        end = self.u * (self.size - 1) + self.back_lo + self.back_taps
        return max(0, -self.back_lo), max(0, end - self.out)


class Plan:
    """What the loops are told about blocks of layers of one shape."""

    def __init__(self, shape, W_shape, dtype, upsample, padding, activation, pool, parts):
        self.parts, self.dtype = parts, dtype
        kernels, (N, H, columns, C), O = loops.convolutions, shape, W_shape[3]
        L = loops.vectors.REGISTER // dtype.itemsize
        across = [Axis(n, k, *pad, upsample) for n, k, pad in zip(shape[1:3], W_shape, padding)]
        self.size = tuple(axis.out for axis in across)
        (s, _), pool_padding = pool or ((1, 1), ((0, 0), (0, 0)))
        (top, bottom), (left, right) = pool_padding
        self.pooled = ((self.size[0] + top + bottom - s) // s + 1, (self.size[1] + left + right - s) // s + 1)
        self.Y_shape = (N, *self.pooled, O)

        rows, cols = across
        K = rows.taps[0] * cols.taps[0] * C
        dots = O * (K / L + ADDING_UP) < K
        widths = [-(-n // L) * L for n in (O, C)]
        work = sum(r * c for r in rows.taps for c in cols.taps) * C * widths[0]
        swapped = rows.back_taps * cols.back_taps * O * widths[1] < work
        self.tables = self.table(rows, cols, C, widths[0], L), *(axis.sums for axis in across)
        back = np.array([[0, 0, rows.back_lo, rows.back_taps, cols.back_lo, cols.back_taps, 0]], np.int64)
        self.back_tables = back, *(axis.back_sums for axis in across)
        self.back_panels = rows.back_taps * cols.back_taps * O * widths[1]
        bias_room = -(-O // (2 * L)) * 2 * L  # whole registers, two by two
        self.sums = apart((self.back_panels if swapped else self.panels) + bias_room)

        above, below = max(0, -min(rows.lo)), max(0, *(lo + taps - 1 for lo, taps in zip(rows.lo, rows.taps)))
        g_above, g_below = max(0, -rows.back_lo), max(0, rows.back_lo + rows.back_taps - upsample)
        (x_left, x_right), (g_left, g_right) = cols.border(), cols.back_border()
        z_width = O if dots else widths[0]
        blocks = max(-(-self.size[0] // upsample), H)  # of rows: u of Z, one of X
        wide, g_wide = (x_left + columns + x_right) * C, (g_left + self.size[1] + g_right) * O
        # numbers for each block of rows
        each = wide + upsample * max(self.size[1] * z_width, g_wide)
        if top or left:
            bands = 1  # a window of the pooling may begin in one band and end in the next
        else:
            bands = max(
                -(-blocks * each * dtype.itemsize // BAND_BYTES),
                -(-BANDS_EACH * parts // N) if N < BANDS_EACH * parts else 1,
            )
        band = -(-blocks // min(bands, blocks))
        band += -band % s  # whole windows of the pooling
        bands = -(-blocks // band)
        slack = 2 * L
        x_size = apart(max((band + above + below) * wide, band * columns * widths[1]) + slack + O)
        self.z_size = apart(band * upsample * self.size[1] * z_width + slack)
        g_size = apart((upsample * band + g_above + g_below) * g_wide + slack)
        self.sizes = (x_size, g_size)
        self.forward_room = self.z_size + x_size
        self.back_room = x_size + g_size + apart(self.pooled[1] * O)
        self.numbers = np.array(
            [N, H, columns, C, O, *self.size, *self.pooled, upsample, CODES[activation], s, top, left, band, bands, dots, swapped,
             above, below, x_left, x_right, g_above, g_below, g_left, g_right, z_width, widths[1], widths[0], bias_room], np.int64
        )  # fmt: skip
        assert len(self.numbers) == kernels.BIAS_ROOM + 1

    def table(self, rows, cols, C, width, L):
        """The forward sweep's table, a row for each phase; notes how much room its matrices need."""
        found, self.panels = [], 0
        for a in range(rows.u):
            for b in range(cols.u):
                found.append([a, b, rows.lo[a], rows.taps[a], cols.lo[b], cols.taps[b], self.panels])
                K = cols.taps[b] * C
                # as matrices, or column by column for dots
                self.panels += rows.taps[a] * max(K * width, -(-K // L) * L * min(width, L))
        return np.array(found, np.int64)


plan_of = lru_cache(maxsize=200)(Plan)


class ConvBlock(Definition):
    """Upsampling, convolution, activation and max-pooling, by the loops of ``convolutions.py``."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, upsample, padding, activation, pool):
        if X.ndim != 4 or W.ndim != 4 or X.dtype not in FLOATS or activation not in CODES:
            return False
        if X.shape[3] != W.shape[2] or b.shape != W.shape[3:]:
            return False  # the definition says what is wrong
        (above, below), (left, right) = padding
        rows = upsample * X.shape[1] + above + below - W.shape[0] + 1
        columns = upsample * X.shape[2] + left + right - W.shape[1] + 1
        if min(rows, columns) < 1:
            return False
        if pool is not None:
            (s, t), ((top, bottom), (to_left, to_right)) = pool
            if s != t or not 2 <= s <= LARGEST_POOL or max(top, bottom, to_left, to_right) >= s:
                return False
            if rows + top + bottom < s or columns + to_left + to_right < s:
                return False
        enough = len(X) * rows * columns * W.size >= ENOUGH
        return enough and all(fits(array, X.dtype) for array in (X, W, b)) and numba_works()

    @staticmethod
    def forward(xp, save, X, W, b, upsample, padding, activation, pool):
        work = len(X) * X.shape[1] * X.shape[2] * upsample**2 * W.size
        plan = plan_of(X.shape, W.shape, X.dtype, upsample, padding, activation, pool, parts_of(work))
        Y = empty(plan.Y_shape, X.dtype)
        winner = empty(plan.Y_shape if pool else (0,), np.uint8)
        loops.convolutions.forward(
            X.reshape(-1), W, b, Y.reshape(-1), winner.reshape(-1), plan.numbers, *plan.tables,
            empty((plan.panels,), X.dtype), plan.z_size, empty((plan.parts, plan.forward_room), X.dtype), plan.parts,
        )  # fmt: skip
        save(X, W, Y, winner, plan)
        return Y

    @staticmethod
    def backward(xp, saved, gY, needed):
        X, W, Y, winner, plan = saved
        gX = empty(X.shape if needed[0] else (0,), X.dtype)
        gW, gb = empty(W.shape, X.dtype), empty(W.shape[3:], X.dtype)
        loops.convolutions.backward(
            X.reshape(-1), W, Y.reshape(-1), np.ascontiguousarray(gY).reshape(-1), winner.reshape(-1), gX.reshape(-1), gW, gb,
            plan.numbers, *plan.tables, *plan.back_tables, empty((plan.back_panels,), X.dtype), *plan.sizes,
            empty((plan.parts, plan.sums), X.dtype), empty((plan.parts, plan.back_room), X.dtype), plan.parts,
        )  # fmt: skip
        return gX if needed[0] else None, gW, gb
