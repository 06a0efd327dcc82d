"""Sweeps: the one mechanism that computes all convolutions, forward and backward.

A *sweep* makes each target from a window of a source,

    target[T i + a, T j + b] = bias + sum over rho, sigma of source[S i + lo_a + rho, S j + lo_b + sigma] P_ab[rho, sigma]

where source and target are images whose pixels are vectors, and each of the T x T *phases* (a, b) has a matrix P_ab[rho,
sigma] for each place of its window. The matrices are sums of taps of the kernel W, as ``conv_blocks.py`` explains, which
writes the tables; here they are only carried out:

* convolution with stride s: one phase, T = 1, S = s, P = W; the gradient of its source: s x s phases, each with every s-th
  tap, T = s, S = 1. A transposed convolution has the two the other way round;
* nearest upsampling by u, then convolution: the window's pixels that are copies of one pixel have one weight, the sum of
  their taps. So u x u small convolutions of the small image, T = u, S = 1: the large one is never written. The gradient of its
  source: one phase, T = 1, S = u.

The gradient of the matrices has the same windows: sums[rho, sigma] = sum over i, j of source x target gradient. For a layer
with few outputs the roles are exchanged: the windows are those of the output's gradient, the other factor is X.
"""

from ..compiling import inner, merged
from .activating import like
from .products import share
from .tiles import dot_tile, gradient_tile, window_tile
from .vectors import REGISTER

# the columns of a sweep's table: a row for each phase
A_PHASE, B_PHASE, ROW_LO, ROW_TAPS, COLUMN_LO, COLUMN_TAPS, START = range(7)

windows_7x2, windows_7x1 = window_tile(7, 2), window_tile(7, 1)
windows_4x2, windows_4x1 = window_tile(4, 2), window_tile(4, 1)
windows_1x2, windows_1x1 = window_tile(1, 2), window_tile(1, 1)
gradients_8x2, gradients_8x1 = gradient_tile(8, 2), gradient_tile(8, 1)
gradients_4x2, gradients_4x1 = gradient_tile(4, 2), gradient_tile(4, 1)
gradients_3x2, gradients_3x1 = gradient_tile(3, 2), gradient_tile(3, 1)
gradients_1x2, gradients_1x1 = gradient_tile(1, 2), gradient_tile(1, 1)
dots_4, dots_1 = dot_tile(4), dot_tile(1)


@inner
def fold(W, transposed, table, rows, columns, dots, panels, part, parts):
    """Write the matrices P of a sweep: sums of taps of W (kh, kw, C, O), or of their transposes; some of them.

    ``rows[a, rho, d]`` and ``columns[b, sigma, e]`` say which taps (d, e) belong to which place of a window. A matrix is
    written as the tiles read it: for each one or two registers of columns a panel, zeros in what they have too many;
    or, for dots, column by column.
    """
    L = REGISTER // panels.itemsize
    source, targets = W.shape[3 if transposed else 2], W.shape[2 if transposed else 3]
    number = 0
    for p in range(len(table)):
        a, b, taps, across = table[p, A_PHASE], table[p, B_PHASE], table[p, ROW_TAPS], table[p, COLUMN_TAPS]
        length = (across * source + L - 1) // L * L  # of a stretch of a column, for dots
        for rho in range(taps):
            for sigma in range(across):
                number += 1
                if number % parts != part:
                    continue
                step = L if dots else 2 * L
                for o in range(0, targets, 1 if dots else step):
                    width = 1 if dots else (L if targets - o <= L else step)
                    if dots:
                        start = table[p, START] + (o * taps + rho) * length + sigma * source
                    else:
                        start = table[p, START] + taps * across * source * o + (rho * across + sigma) * source * width
                    block = panels[start : start + source * width].reshape((source, width))
                    for k in range(source):
                        for q in range(width):
                            block[k, q] = like(panels[0], 0)
                    some = min(width, targets - o)
                    for d in range(W.shape[0]):
                        for e in range(W.shape[1]):
                            if rows[a, rho, d] and columns[b, sigma, e]:
                                tap = W[d, e].T[:, o : o + some] if transposed else W[d, e][:, o : o + some]
                                for c in range(source):
                                    for q in range(some):
                                        block[c, q] += tap[c, q]
                if dots and sigma == across - 1:  # what fills up the last register
                    for o in range(targets):
                        start = table[p, START] + (o * taps + rho) * length
                        panels[start + across * source : start + length] = like(panels[0], 0)


@merged
def windows_of_row(x, at, below, step, taps, K, panels, start, V, bias, first, y, to, apart, count):
    """A row of ``count`` neighbouring windows, in tiles; the last tile may compute some of the one before again."""
    by_7, by_4 = (count + 6) // 7 * 7, (count + 3) // 4 * 4
    P = 1 if count < 4 else 7 if count >= 7 and by_7 <= by_4 else 4
    for j in range(0, count, P):
        q = min(j, count - P)
        here, there = at + q * step, to + q * apart
        if V == 2:
            if P == 7:
                windows_7x2(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)
            elif P == 4:
                windows_4x2(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)
            else:
                windows_1x2(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)
        elif P == 7:
            windows_7x1(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)
        elif P == 4:
            windows_4x1(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)
        else:
            windows_1x1(x, here, below, step, taps, K, panels, start, bias, first, y, there, apart)


@merged
def sweep(
    table, x, corner, below, channels, S, panels, bias, y, to, y_below, y_step, outputs, dots, T, size, first, last
):
    """Compute the targets of the blocks ``first`` to ``last`` - 1 of T rows, all columns.

    Source pixel (i, j) is at x[corner + i below + j channels], target pixel at y[to + i y_below + j y_step], of an
    image of ``size`` (rows, columns), and has room for whole registers.
    """
    L = REGISTER // x.itemsize
    for p in range(len(table)):
        a, b, taps, across = table[p, A_PHASE], table[p, B_PHASE], table[p, ROW_TAPS], table[p, COLUMN_TAPS]
        K, count = across * channels, (size[1] - b + T - 1) // T
        length = (K + L - 1) // L * L
        stop = min(last, (size[0] - a + T - 1) // T)
        for o in range(0, outputs, 1 if dots else 2 * L):
            V = 1 if outputs - o <= L else 2
            for i in range(first, stop):
                at = corner + (S * i + table[p, ROW_LO]) * below + table[p, COLUMN_LO] * channels
                target = to + (T * i + a) * y_below + b * y_step + o
                if dots:
                    start = table[p, START] + o * taps * length
                    for j in range(0, count // 4 * 4, 4):
                        dots_4(x, at + j * S * channels, below, S * channels, taps, K, panels, start, bias[o],
                               y, target + j * T * y_step, T * y_step)  # fmt: skip
                    for j in range(count // 4 * 4, count):
                        dots_1(x, at + j * S * channels, below, S * channels, taps, K, panels, start, bias[o],
                               y, target + j * T * y_step, T * y_step)  # fmt: skip
                else:
                    windows_of_row(x, at, below, S * channels, taps, K, panels, table[p, START] + taps * K * o, V, bias, o,
                                   y, target, T * y_step, count)  # fmt: skip


@merged
def gradients_of_window(x, at, below, step, K, V, g, begin, g_below, g_step, rows, columns, sums, to, apart):
    """All numbers of a stretch of the windows, in tiles."""
    k = 0
    while k < K:
        here, there, left = at + k, to + k * apart, K - k
        R = 8 if left >= 8 else 4 if left >= 4 else 3 if left == 3 else 1
        if V == 2:
            if R == 8:
                gradients_8x2(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
            elif R == 4:
                gradients_4x2(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
            elif R == 3:
                gradients_3x2(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
            else:
                gradients_1x2(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
        elif R == 8:
            gradients_8x1(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
        elif R == 4:
            gradients_4x1(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
        elif R == 3:
            gradients_3x1(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
        else:
            gradients_1x1(x, here, below, step, g, begin, g_below, g_step, rows, columns, sums, there, apart)
        k += R


@merged
def correlate(
    table, x, corner, below, channels, S, g, g_corner, g_below, g_step, outputs, width, sums, T, size, first, last
):
    """Add to the sums of a sweep's matrices: its sources times the gradients g of its targets, of some rows."""
    L = REGISTER // x.itemsize
    for p in range(len(table)):
        a, b, across = table[p, A_PHASE], table[p, B_PHASE], table[p, COLUMN_TAPS]
        K, columns = across * channels, (size[1] - b + T - 1) // T
        rows = min(last, (size[0] - a + T - 1) // T) - first
        if rows <= 0 or columns <= 0:
            continue
        for rho in range(table[p, ROW_TAPS]):
            at = corner + (S * first + table[p, ROW_LO] + rho) * below + table[p, COLUMN_LO] * channels
            for o in range(0, outputs, 2 * L):
                begin = g_corner + (T * first + a) * g_below + b * g_step + o
                gradients_of_window(x, at, S * below, S * channels, K, 1 if outputs - o <= L else 2, g, begin, T * g_below,
                                    T * g_step, rows, columns, sums, table[p, START] + rho * K * width + o, width)  # fmt: skip


@inner
def unfold(sums, swapped, table, rows, columns, width, gradient, part, parts):
    """gW (kh, kw, C, O): each tap's gradient is the sum of those of the matrices that it belongs to; some taps of it.

    ``sums`` (parts, ...), one from each thread; ``swapped``: their windows were those of the output's gradient.
    """
    inputs, outputs = gradient.shape[2:]
    channels = outputs if swapped else inputs
    first, last = share(gradient.shape[0] * gradient.shape[1] * inputs, 1, part, parts)
    for n in range(first, last):
        c, d, e = n % inputs, n // inputs // gradient.shape[1], n // inputs % gradient.shape[1]
        found = gradient[d, e, c]
        found[:] = like(found[0], 0)
        for p in range(len(table)):
            across = table[p, COLUMN_TAPS]
            for rho in range(table[p, ROW_TAPS]):
                for sigma in range(across):
                    if rows[table[p, A_PHASE], rho, d] and columns[table[p, B_PHASE], sigma, e]:
                        place = table[p, START] + (rho * across + sigma) * channels * width
                        for t in range(len(sums)):
                            if swapped:
                                for o in range(outputs):
                                    found[o] += sums[t, place + o * width + c]
                            else:
                                row = sums[t, place + c * width : place + c * width + outputs]
                                for o in range(outputs):
                                    found[o] += row[o]
