"""Convolutions with what is joined to them: upsampling before; bias, activation and max-pooling behind.

What is multiplied is in ``sweeps.py``: the *sweep* from X to Z = X W + b forward, the one from Z's gradient to X's
backward, and the sums for W's. Here the images are brought to it.

Threads share images, or bands of their rows. Each copies a band of X into a buffer with the border of zeros that the
windows need, and computes its Z there too: both stay in its second-level cache. Sums for W's gradient are one per thread,
and added in the end.
"""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import RELU, activate, like, through_activation
from .products import share
from .subnormals import flush_subnormals, restore
from .sweeps import correlate, fold, gradients_1x2, sweep, unfold
from .tiles import give_to_winner, largest_of_window
from .vectors import REGISTER

# what describes a block of layers: sizes of X, Z and Y, upsampling, pooling and where its windows begin, how it is divided
(
    N, X_ROWS, X_COLUMNS, C, O, Z_ROWS, Z_COLUMNS, Y_ROWS, Y_COLUMNS, UP, STRIDE, ACTIVATION, POOL, POOL_TOP, POOL_LEFT, BAND, BANDS, DOTS, SWAPPED,
    X_ABOVE, X_BELOW, X_LEFT, X_RIGHT, G_ABOVE, G_BELOW, G_LEFT, G_RIGHT, Z_WIDTH, X_WIDTH, SUM_WIDTH, BIAS_ROOM,
) = range(31)  # fmt: skip


# ---------------------------------------------------------------- buffers with borders


@inner
def copy_band(x, g, n, top, bottom, buffer):
    """Rows ``top`` to ``bottom`` - 1 of image n, zeros where there are none, with zeros to the left and right."""
    pixel = g[C]
    left, across = g[X_LEFT] * pixel, g[X_COLUMNS] * pixel
    wide = left + across + g[X_RIGHT] * pixel
    for i in range(top, bottom):
        row = buffer[(i - top) * wide : (i - top + 1) * wide]
        if 0 <= i < g[X_ROWS]:
            row[:left] = like(x[0], 0)
            source, target = (
                x[(n * g[X_ROWS] + i) * across : (n * g[X_ROWS] + i + 1) * across],
                row[left : left + across],
            )
            for k in range(across):
                target[k] = source[k]
            row[left + across :] = like(x[0], 0)
        else:
            row[:] = like(x[0], 0)


@inner
def slopes_band(y, gy, winner, g, n, top, bottom, line, buffer):
    """The same rows of gZ: the gradient of Y through activation and pooling. ``line`` has room for a row of Y."""
    zero = like(y[0], 0)
    pixel, s, activation = g[O], g[POOL], g[ACTIVATION]
    left, across, along = g[G_LEFT] * pixel, g[Z_COLUMNS] * pixel, g[Y_COLUMNS] * pixel
    wide = left + across + g[G_RIGHT] * pixel
    for i in range(top, bottom):
        row = buffer[(i - top) * wide : (i - top + 1) * wide]
        q = (i + g[POOL_TOP]) // s
        if not (0 <= i < g[Z_ROWS] and q < g[Y_ROWS]):
            row[:] = zero
            continue
        row[:left] = zero
        row[left + across :] = zero
        at = (n * g[Y_ROWS] + q) * along
        if s == 1:
            through_activation(y[at : at + along], gy[at : at + along], activation, row[left : left + across])
            continue
        through_activation(y[at : at + along], gy[at : at + along], activation, line[:along])
        dy = i + g[POOL_TOP] - q * s
        used = min(g[Z_COLUMNS], g[Y_COLUMNS] * s - g[POOL_LEFT])
        row[left + used * pixel : left + across] = zero
        for j in range(g[Y_COLUMNS]):
            for dx in range(s):
                column = j * s - g[POOL_LEFT] + dx
                if 0 <= column < used:
                    give_to_winner(
                        line, j * pixel, winner, at + j * pixel, dy * s + dx, pixel, row, left + column * pixel
                    )


@inner
def pool_rows(z, g, n, first, last, top, y, winner):
    """Rows ``first`` to ``last`` - 1 of Y: the largest of each window of Z, and which it was. NaN wins; a tie, the first.

    Row i of Z begins at z[(i - top) Z_COLUMNS Z_WIDTH].
    """
    pixel, s = g[O], g[POOL]
    below, step = g[Z_COLUMNS] * g[Z_WIDTH], g[Z_WIDTH]
    for q in range(first, last):
        i = q * s - g[POOL_TOP]
        above, under = max(i, 0), min(i + s, g[Z_ROWS])
        for j in range(g[Y_COLUMNS]):
            k = j * s - g[POOL_LEFT]
            left, right = max(k, 0), min(k + s, g[Z_COLUMNS])
            largest_of_window(z, (above - top) * below + left * step, below, step, under - above, right - left,
                              (above - i) * s + left - k, s, pixel, y, winner,
                              ((n * g[Y_ROWS] + q) * g[Y_COLUMNS] + j) * pixel)  # fmt: skip


# ---------------------------------------------------------------- forward and backward


@inner
def forward_images(x, b, y, winner, g, table, panels, z, band, part, parts):
    """Y of some images, or bands of them."""
    T, S, s, across = g[UP], g[STRIDE], g[POOL], g[Z_COLUMNS] * g[Z_WIDTH]
    blocks, wide = (g[Z_ROWS] + T - 1) // T, (g[X_LEFT] + g[X_COLUMNS] + g[X_RIGHT]) * g[C]
    straight = s == 1 and g[Z_WIDTH] == g[O]  # into Y
    target = y if straight else z
    bias = np.zeros(g[SUM_WIDTH], x.dtype)
    for o in range(g[O]):
        bias[o] = b[o]
    start, stop = share(g[N] * g[BANDS], 1, part, parts)
    for item in range(start, stop):
        n, first = item // g[BANDS], item % g[BANDS] * g[BAND]
        last = min(first + g[BAND], blocks)
        if last <= first:
            continue
        top, z_top = S * first - g[X_ABOVE], first * T
        rows = min(last * T, g[Z_ROWS]) - z_top
        copy_band(x, g, n, top, S * last + g[X_BELOW], band)
        to = (n * g[Z_ROWS] if straight else -z_top) * across  # where row 0 of Z would be
        sweep(table, band, g[X_LEFT] * g[C] - top * wide, wide, g[C], S, panels, bias, target, to, across, g[Z_WIDTH], g[O],
              g[DOTS] == 1, T, (g[Z_ROWS], g[Z_COLUMNS]), first, last)  # fmt: skip
        at = to + z_top * across
        late = s > 1 and g[ACTIVATION] <= RELU  # the others could round two numbers to one: then the first must win
        if not late:
            activate(target[at : at + rows * across], g[ACTIVATION])
        if s > 1:  # a band has whole windows only
            above, below = z_top // s, g[Y_ROWS] if last == blocks else (z_top + rows) // s
            pool_rows(z, g, n, above, below, z_top, y, winner)
            if late:
                at, along = n * g[Y_ROWS], g[Y_COLUMNS] * g[O]
                activate(y[(at + above) * along : (at + below) * along], g[ACTIVATION])
        elif not straight:
            narrow(z, rows * g[Z_COLUMNS], g[Z_WIDTH], y, (n * g[Z_ROWS] + z_top) * g[Z_COLUMNS] * g[O], g[O])


@inner
def narrow(wide, pixels, width, y, at, channels):
    """Copy so many pixels without what fills up their registers."""
    for k in range(pixels):
        source, target = wide[k * width : k * width + channels], y[at + k * channels : at + (k + 1) * channels]
        for c in range(channels):
            target[c] = source[c]


@inner
def backward_images(x, y, gy, winner, gx, g, table, back_table, panels, sums, band, slopes, line, part, parts):
    """gX of some images, or bands of them, and their part of the sums for gW and gb."""
    T, S, swapped, zero = g[UP], g[STRIDE], g[SWAPPED] == 1, like(x[0], 0)
    wide, g_wide = (g[X_LEFT] + g[X_COLUMNS] + g[X_RIGHT]) * g[C], (g[G_LEFT] + g[Z_COLUMNS] + g[G_RIGHT]) * g[O]
    z_size, x_size, across = (g[Z_ROWS], g[Z_COLUMNS]), (g[X_ROWS], g[X_COLUMNS]), g[X_COLUMNS] * g[X_WIDTH]
    straight = g[X_WIDTH] == g[C]  # into gX
    target, none = gx if straight else band, np.zeros(g[X_WIDTH], x.dtype)
    for k in range(sums.size):
        sums[k] = zero
    for k in range(g[X_WIDTH]):
        none[k] = zero
    one, bias = np.ones(1, x.dtype), sums[sums.size - g[BIAS_ROOM] :]
    windows, inside, outside = (back_table, slopes, band) if swapped else (table, band, slopes)
    start, stop = share(g[N] * g[BANDS], 1, part, parts)
    for item in range(start, stop):
        n, first = item // g[BANDS], item % g[BANDS] * g[BAND]
        last = min(first + g[BAND], max((g[Z_ROWS] + T - 1) // T, (g[X_ROWS] + S - 1) // S))
        if last <= first:
            continue
        top, g_top = S * first - g[X_ABOVE], T * first - g[G_ABOVE]
        copy_band(x, g, n, top, S * last + g[X_BELOW], band)
        slopes_band(y, gy, winner, g, n, g_top, T * last + g[G_BELOW], line, slopes)
        corner, g_corner = g[X_LEFT] * g[C] - top * wide, g[G_LEFT] * g[O] - g_top * g_wide
        rows = min(T * last, g[Z_ROWS]) - T * first
        for o in range(0, g[O], 2 * (REGISTER // x.itemsize)):  # b's gradient: that of a window of ones
            at = g_corner + T * first * g_wide + o
            gradients_1x2(one, 0, 0, 0, slopes, at, g_wide, g[O], rows, g[Z_COLUMNS], bias, o, 0)
        a, b = (g_corner, corner) if swapped else (corner, g_corner)
        a_wide, b_wide = (g_wide, wide) if swapped else (wide, g_wide)
        a_step, b_step = (g[O], g[C]) if swapped else (g[C], g[O])
        correlate(windows, inside, a, a_wide, a_step, T if swapped else S, outside, b, b_wide, b_step, b_step,
                  g[X_WIDTH] if swapped else g[SUM_WIDTH], sums, S if swapped else T, x_size if swapped else z_size,
                  first, last)  # fmt: skip
        if gx.size:
            rows = min(S * last, g[X_ROWS]) - S * first
            to = (n * g[X_ROWS] if straight else -S * first) * across
            sweep(back_table, slopes, g_corner, g_wide, g[O], T, panels, none, target, to, across, g[X_WIDTH], g[C], False, S,
                  x_size, first, last)  # fmt: skip
            if not straight:
                at = (n * g[X_ROWS] + S * first) * g[X_COLUMNS] * g[C]
                narrow(band, rows * g[X_COLUMNS], g[X_WIDTH], gx, at, g[C])


@inner
def add_up_bias(sums, place, gb, part, parts):
    """Some of gb, from what each thread has summed up."""
    first, last = share(gb.size, 1, part, parts)
    for o in range(first, last):
        total = like(gb[0], 0)
        for t in range(len(sums)):
            total += sums[t, place + o]
        gb[o] = total


@kernel
def forward(x, W, b, y, winner, g, table, rows, columns, panels, z_size, buffers, parts):
    """Y of a block of layers.

    Parameters
    ----------
    x, y, winner : flat arrays
        X (N, H, W, C); Y (N, Y_ROWS, Y_COLUMNS, O) and, with pooling, uint8: which place of the window was the largest.
    W, b : arrays (kh, kw, C, O), (O,)
    g : int64 array
        The numbers named above.
    table, rows, columns : int64 arrays
        The sweep from X to Z.
    panels : array
        Room for its matrices.
    buffers : array (parts, ...)
        Each thread's room for a band of Z (``z_size`` numbers) and one of X.
    """
    for stage in range(2):  # one parallel loop, for each is compiled by itself
        for part in prange(parts):
            setting, room, me = flush_subnormals(), buffers[part], np.int64(part)
            if stage == 0:
                fold(W, False, table, rows, columns, g[DOTS] == 1, panels, me, parts)
            else:
                forward_images(x, b, y, winner, g, table, panels, room[:z_size], room[z_size:], me, parts)
            restore(setting)


@kernel
def backward(x, W, y, gy, winner, gx, gW, gb, g, table, rows, columns, back_table, back_rows, back_columns, panels,
             x_size, g_size, sums, buffers, parts):  # fmt: skip
    """The gradients of X (``gx``, empty if it is not needed), W and b.

    Parameters
    ----------
    x, y, gy, winner, gx : flat arrays
    back_table, back_rows, back_columns
        The sweep from gZ to gX.
    x_size, g_size
        What a thread's bands of X and of gZ need.
    sums : array (parts, ...)
        Each thread's sums: for W's matrices, then for b.
    """
    swapped = g[SWAPPED] == 1
    for stage in range(0 if gx.size else 1, 3):
        for part in prange(parts):
            setting, room, me = flush_subnormals(), buffers[part], np.int64(part)
            if stage == 0:
                fold(W, True, back_table, back_rows, back_columns, False, panels, me, parts)
            elif stage == 1:
                backward_images(x, y, gy, winner, gx, g, table, back_table, panels, sums[part], room[:x_size],
                                room[x_size : x_size + g_size], room[x_size + g_size :], me, parts)  # fmt: skip
            else:
                unfold(sums, swapped, back_table if swapped else table, back_rows if swapped else rows,
                       back_columns if swapped else columns, g[X_WIDTH] if swapped else g[SUM_WIDTH], gW, me, parts)  # fmt: skip
                add_up_bias(sums, sums.shape[1] - g[BIAS_ROOM], gb, me, parts)
            restore(setting)
