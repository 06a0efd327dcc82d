r"""Convolutions for the loops of ``loops/convolutions.py``: which windows they have, and who computes what.

**Upsampling and convolution are several small convolutions.** Along one axis, nearest upsampling by u makes pixel
:math:`\lfloor p / u \rfloor` of pixel p, and a convolution with n zeros before it takes

.. math:: Z_z = \sum_d X_{\lfloor (z - n + d) / u \rfloor} W_d

Write z = u i + a. Of the k taps of W those with the same :math:`\rho = \lfloor (a - n + d) / u \rfloor` meet the same pixel
:math:`X_{i + \rho}`, whatever i is; so their weights can be added before anything is multiplied:

.. math:: Z_{u i + a} = \sum_\rho X_{i + \rho} P_{a \rho}, \qquad P_{a \rho} = \sum_{d:\, \lfloor (a - n + d) / u \rfloor = \rho} W_d

For 3 taps, u = 2 and n = 1, both phases a have two places: :math:`P_0 = (W_0, W_1 + W_2)` and :math:`P_1 = (W_0 + W_1, W_2)`.
In two dimensions that is 4 products for 9, and the large image is never written. (Where X is infinite, the
sum of the taps decides; the definition, which adds products, may have infinity minus infinity there.) With u = 1 there is one phase, and P = W.
("Sub-pixel convolution", the other way round, in Shi et al., "Real-time single image and video super-resolution" (2016),
section 3.2.)

Backward, pixel i of X receives from all :math:`Z_{u i + \delta}` that it went into, each through the sum of the taps by which
it did: a window that moves over the gradient of Z in steps of u, of u + k - 1 places.

**Strides are phases too.** A convolution with stride s, :math:`Z_i = \sum_d X_{s i + d - n} W_d`, goes over X in steps of s. Backward,
pixel s i + a of X was met only by the taps with d = a + n modulo s: phase a has every s-th tap. A transposed convolution is
the same with forward and backward exchanged. An ``Axis`` holds all this for rows, or for columns.
"""

from functools import lru_cache

import numpy as np

from .. import ops
from ..backend import FLOATS
from .buffers import empty
from .dense_layers import CODES, apart
from .loading import fits, loops, numba_works
from .threads import parts_of

ENOUGH = 20_000  # multiplications, from which on a kernel was faster than NumPy on the machines that were tried
BAND_BYTES = (
    1 << 19
)  # of X, Z and gZ that a thread works on: they should fit into its second-level cache (2 MB where it was tried)
BANDS_EACH = 4  # for each thread at least, if there are rows enough: the last one shall not be waited for long
LARGEST_POOL = 15  # its places are numbered in a byte
ADDING_UP = 10  # multiplications of whole registers take as long as adding up the places of one


class Sums:
    """Windows of each phase, and which taps are added up for each of their places.

    Attributes
    ----------
    lo, taps : list of int
        Of each phase: the first pixel of its window, relative to its step, and how many there are.
    table : int64 array (phases, places, k)
        table[a, rho, d] is 1 if tap d belongs to place rho of phase a's window.
    """

    def __init__(self, places, k):
        """``places``: for each phase {(tap, use of it): pixel that it meets}."""
        self.lo = [min(phase.values(), default=0) for phase in places]
        self.taps = [max(phase.values(), default=lo - 1) - lo + 1 for phase, lo in zip(places, self.lo)]
        self.table = np.zeros((len(places), max(self.taps), k), np.int64)
        for a, phase in enumerate(places):
            for (d, _), pixel in phase.items():
                self.table[a, pixel - self.lo[a], d] = 1

    def border(self, step, sources, targets):
        """(before, after): how many pixels the windows reach beyond the sources, for so many targets."""
        phases = len(self.lo)
        last = [step * ((targets - a + phases - 1) // phases - 1) for a in range(phases)]
        ends = [i + lo + taps for i, lo, taps in zip(last, self.lo, self.taps)]
        return max(0, -min(self.lo)), max(0, max(ends) - sources)

    def reach(self, step):
        """(above, below): how many pixels a block of steps needs beyond its own."""
        return max(0, -min(self.lo)), max(0, max(lo + taps for lo, taps in zip(self.lo, self.taps)) - step)


class Axis:
    """Rows, or columns: how each pixel of Z depends on those of X, and the reverse.

    Attributes
    ----------
    size, out : int
        Pixels of X, and of Z.
    up, stride : int
        For each block of ``stride`` pixels of X there are ``up`` of Z; one of the two is 1.
    sums, back : Sums
        Windows over X, one phase for each pixel of Z in a block; windows over Z, one for each of X.
    """

    def __init__(self, size, out, up, stride, sums, back):
        self.size, self.out, self.up, self.stride, self.sums, self.back = size, out, up, stride, sums, back

    @classmethod
    def upsampled(cls, size, k, before, after, u):
        """Nearest upsampling by u, then a convolution with k taps and so many zeros before and after."""
        met = [{(d, 0): (a - before + d) // u for d in range(k)} for a in range(u)]
        back = [{(d, a): a + before - d for d in range(k) for a in range(u)}]
        return cls(size, u * size + before + after - k + 1, u, 1, Sums(met, k), Sums(back, k))

    @classmethod
    def strided(cls, size, k, before, after, stride, dilation):
        """A convolution with this stride and dilation."""
        out = (size + before + after - dilation * (k - 1) - 1) // stride + 1
        return cls(size, out, 1, stride, *steps(k, before, stride, dilation))

    @classmethod
    def transposed(cls, size, k, before, after, stride, more):
        """The transpose of one."""
        out = (size - 1) * stride + k - before - after + more
        return cls(size, out, stride, 1, *steps(k, before, stride, 1)[::-1])


def steps(k, before, stride, dilation):
    """Windows of a convolution with a stride, and those of the way back."""
    back = [
        {(d, 0): (a + before - d * dilation) // stride for d in range(k) if (a + before - d * dilation) % stride == 0}
        for a in range(stride)
    ]
    return Sums([{(d, 0): d * dilation - before for d in range(k)}], k), Sums(back, k)


class Plan:
    """What the loops are told about blocks of layers of one shape."""

    def __init__(self, shape, W_shape, dtype, rows, cols, activation, pool, parts):
        self.parts, self.dtype = parts, dtype
        (N, H, columns, C), O = shape, W_shape[3]
        L = loops.vectors.REGISTER // dtype.itemsize
        self.size, up, stride = (rows.out, cols.out), rows.up, rows.stride
        (s, _), pool_padding = pool or ((1, 1), ((0, 0), (0, 0)))
        (top, bottom), (left, right) = pool_padding
        self.pooled = ((rows.out + top + bottom - s) // s + 1, (cols.out + left + right - s) // s + 1)
        self.Y_shape = (N, *self.pooled, O)
        self.winner_shape = self.Y_shape if pool else (0,)

        z_width, x_width = (-(-n // L) * L for n in (O, C))  # in whole registers
        K = rows.sums.taps[0] * cols.sums.taps[0] * C
        dots = O * (K / L + ADDING_UP) < K
        table, self.panels = sweep_of(rows.sums, cols.sums, C, z_width, L)
        back_table, self.back_panels = sweep_of(rows.back, cols.back, O, x_width, L)
        # whose windows W's gradient is computed from: what there is to multiply, in registers
        swapped = self.back_panels < self.panels
        self.tables = table, rows.sums.table, cols.sums.table
        self.back_tables = back_table, rows.back.table, cols.back.table
        bias_room = -(-O // (2 * L)) * 2 * L  # registers, two by two
        self.sums = apart((self.back_panels if swapped else self.panels) + bias_room)

        above, below = rows.sums.reach(stride)
        g_above, g_below = rows.back.reach(up)
        x_left, x_right = cols.sums.border(stride, columns, cols.out)
        g_left, g_right = cols.back.border(up, cols.out, columns)
        wide, g_wide = (x_left + columns + x_right) * C, (g_left + cols.out + g_right) * O
        width = O if dots else z_width
        blocks = max(-(-rows.out // up), -(-H // stride))  # of rows: so many of Z as ``up``, of X as ``stride``
        each = stride * max(wide, columns * x_width) + up * max(cols.out * width, g_wide)
        bands = -(-blocks * each * dtype.itemsize // BAND_BYTES)
        if N < BANDS_EACH * parts:
            bands = max(bands, -(-BANDS_EACH * parts // N))
        if top or left:
            bands = 1  # a window of the pooling may begin in one band and end in the next
        band = -(-blocks // min(bands, blocks))
        band += -band % s  # whole windows of the pooling
        bands = -(-blocks // band)
        slack = 2 * L  # a tile loads whole registers
        self.x_size = apart(max((stride * band + above + below) * wide, stride * band * columns * x_width) + slack)
        self.z_size = apart(up * band * cols.out * width + slack)
        self.g_size = apart((up * band + g_above + g_below) * g_wide + slack)
        self.forward_room = self.z_size + self.x_size
        self.back_room = self.x_size + self.g_size + apart(self.pooled[1] * O)
        self.numbers = np.array(
            [N, H, columns, C, O, *self.size, *self.pooled, up, stride, CODES[activation], s, top, left, band, bands, dots,
             swapped, above, below, x_left, x_right, g_above, g_below, g_left, g_right, width, x_width, z_width, bias_room],
            np.int64,
        )  # fmt: skip


def sweep_of(rows, cols, channels, width, L):
    """The table of a sweep, a row for each phase, and how much room its matrices need."""
    found, room = [], 0
    for a, (lo, taps) in enumerate(zip(rows.lo, rows.taps)):
        for b, (left, across) in enumerate(zip(cols.lo, cols.taps)):
            found.append([a, b, lo, taps, left, across, room])
            K = across * channels
            room += taps * max(K * width, -(-K // L) * L * min(width, L))  # as matrices, or column by column for dots
    return np.array(found, np.int64), room


@lru_cache(maxsize=200)
def plan_of_block(shape, W_shape, dtype, upsample, padding, activation, pool, parts):
    """The plan of upsampling, convolution and pooling."""
    rows, cols = (Axis.upsampled(n, k, *pad, upsample) for n, k, pad in zip(shape[1:3], W_shape, padding))
    return Plan(shape, W_shape, dtype, rows, cols, activation, pool, parts)


@lru_cache(maxsize=200)
def plan_of_convolution(shape, W_shape, dtype, kind, padding, stride, other, parts):
    """The plan of a convolution with a stride and a dilation, or of a transposed one with output padding."""
    make = getattr(Axis, kind)
    rows, cols = (make(n, k, *pad, stride, more) for n, k, pad, more in zip(shape[1:3], W_shape, padding, other))
    return Plan(shape, W_shape, dtype, rows, cols, None, None, parts)


def run_forward(save, X, W, b, plan):
    """Y; saves what ``run_backward`` needs."""
    Y, winner = empty(plan.Y_shape, X.dtype), empty(plan.winner_shape, np.uint8)
    loops.convolutions.forward(
        X.reshape(-1), W, b, Y.reshape(-1), winner.reshape(-1), plan.numbers, *plan.tables, empty((plan.panels,), X.dtype),
        plan.z_size, empty((plan.parts, plan.forward_room), X.dtype), plan.parts,
    )  # fmt: skip
    save(X, W, Y, winner, plan)
    return Y


def run_backward(saved, gY, needed):
    """The gradients of X, and of W and b, where they are needed."""
    X, W, Y, winner, plan = saved
    weights = needed[1] or needed[2]
    gX, gW = empty(X.shape if needed[0] else (0,), X.dtype), empty(W.shape if weights else (0, 0, 0, 0), X.dtype)
    gb = empty(W.shape[3:], X.dtype)
    loops.convolutions.backward(
        X.reshape(-1), W, Y.reshape(-1), np.ascontiguousarray(gY).reshape(-1), winner.reshape(-1), gX.reshape(-1), gW, gb,
        plan.numbers, *plan.tables, *plan.back_tables, empty((plan.back_panels,), X.dtype), plan.x_size, plan.g_size,
        empty((plan.parts, plan.sums), X.dtype), empty((plan.parts, plan.back_room), X.dtype), plan.parts,
    )  # fmt: skip
    return gX if needed[0] else None, *((gW, gb) if weights else (None, None))


# ---------------------------------------------------------------- the twins


def fit_together(X, W, b):
    """Are these the shapes and types of a convolution? If not, the definition says what is wrong."""
    if X.ndim != 4 or W.ndim != 4 or X.dtype not in FLOATS or X.shape[3] != W.shape[2] or b.shape != W.shape[3:]:
        return False
    return all(fits(array, X.dtype) for array in (X, W, b))


def worth_it(X, W, rows, columns):
    """Is there an output of so many rows and columns, and enough to do for it?"""
    return min(rows, columns) > 0 and len(X) * rows * columns * W.size >= ENOUGH and numba_works()


class ConvBlock(ops.ConvBlock):
    """Upsampling, convolution, activation and max-pooling, by the loops of ``convolutions.py``."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, upsample, padding, activation, pool):
        if not fit_together(X, W, b) or activation not in CODES:
            return False
        rows, columns = (upsample * n + sum(pad) - k + 1 for n, pad, k in zip(X.shape[1:3], padding, W.shape))
        if pool is not None:
            (s, t), ((top, bottom), (left, right)) = pool
            if s != t or not 2 <= s <= LARGEST_POOL or max(top, bottom, left, right) >= s:
                return False
            if rows + top + bottom < s or columns + left + right < s:
                return False
        return worth_it(X, W, rows, columns)

    @staticmethod
    def forward(xp, save, X, W, b, upsample, padding, activation, pool):
        parts = parts_of(len(X) * X.shape[1] * X.shape[2] * upsample**2 * W.size)
        plan = plan_of_block(X.shape, W.shape, X.dtype, upsample, padding, activation, pool, parts)
        return run_forward(save, X, W, b, plan)

    @staticmethod
    def backward(xp, saved, gY, needed):
        return run_backward(saved, gY, needed)


class Conv2D(ops.Conv2D):
    """A convolution with one stride for rows and columns."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, stride, padding, dilation):
        if not fit_together(X, W, b) or stride[0] != stride[1]:
            return False
        sizes = zip(X.shape[1:3], padding, W.shape, dilation)
        return worth_it(X, W, *((n + sum(pad) - d * (k - 1) - 1) // stride[0] + 1 for n, pad, k, d in sizes))

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, dilation):
        parts = parts_of(len(X) * X.shape[1] * X.shape[2] * W.size // stride[0] ** 2)
        plan = plan_of_convolution(X.shape, W.shape, X.dtype, "strided", padding, stride[0], dilation, parts)
        return run_forward(save, X, W, b, plan)

    @staticmethod
    def backward(xp, saved, gY, needed):
        return run_backward(saved, gY, needed)


class Conv2DTranspose(ops.Conv2DTranspose):
    """A transposed convolution with one stride for rows and columns."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, stride, padding, output_padding):
        if not fit_together(X, W, b) or stride[0] != stride[1]:
            return False
        sizes = zip(X.shape[1:3], padding, W.shape, output_padding)
        return worth_it(X, W, *((n - 1) * stride[0] + k - sum(pad) + more for n, pad, k, more in sizes))

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, output_padding):
        parts = parts_of(len(X) * X.shape[1] * X.shape[2] * W.size)
        plan = plan_of_convolution(X.shape, W.shape, X.dtype, "transposed", padding, stride[0], output_padding, parts)
        return run_forward(save, X, W, b, plan)

    @staticmethod
    def backward(xp, saved, gY, needed):
        return run_backward(saved, gY, needed)
