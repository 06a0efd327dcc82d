r"""The matrix product, in tiles that fit into registers, and how threads share it.

Written plainly, :math:`Y_{ij} = \sum_k A_{ik} B_{kj}` loads two numbers for each multiplication, and a
processor can multiply far faster than it can load. So a *tile* of Y, 8 rows by two registers of columns, is
computed at once: for each k, two vectors of B and 8 numbers of A are loaded, and used for 16
vector multiplications, whose sums stay in 16 registers until the tile is done.

Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), section 4; the
blocking for caches is simpler here, since the matrices of an autoencoder fit into the second-level cache.

Threads: what one core has written, another must fetch from its cache, and that can take as long as computing it.
So each thread owns some rows of every weight matrix, in the backward pass and in the optimizer's step alike, and
some rows of every batch. Rows and not columns: neighbours in memory are fetched together.
"""

import numpy as np

from ..compiling import inner
from .activating import like
from .vectors import REGISTER, load, multiply_add, store, total, zeros

ROWS = 8  # of a tile
DOTS = 4  # rows and columns of a tile of A B'
BLOCK = 16  # rows of A B' that are worked through together, so that they stay in the cache


@inner
def share(n, step, part, parts):
    """(start, stop) of a part of 0..n-1, in whole steps."""
    steps = (n + step - 1) // step
    return min(n, part * steps // parts * step), min(n, (part + 1) * steps // parts * step)


@inner
def tile(A, B, b, i, j, first, last, out, p, q):
    """out[p : p + 8, q : q + 2 registers] <- rows i to i + 7 of A times the columns of B from j on, plus b.

    The sum goes over k from ``first`` to ``last`` - 1.
    """
    L = REGISTER // B.itemsize
    c, d = zeros(B), zeros(B)
    if b.size > 0:
        c, d = load(b, 0, j), load(b, 0, j + L)
    c0, c1, c2, c3, c4, c5, c6, c7 = c, c, c, c, c, c, c, c
    d0, d1, d2, d3, d4, d5, d6, d7 = d, d, d, d, d, d, d, d
    for k in range(first, last):
        x, y = load(B, k, j), load(B, k, j + L)
        c0, d0 = multiply_add(A[i, k], x, c0), multiply_add(A[i, k], y, d0)
        c1, d1 = multiply_add(A[i + 1, k], x, c1), multiply_add(A[i + 1, k], y, d1)
        c2, d2 = multiply_add(A[i + 2, k], x, c2), multiply_add(A[i + 2, k], y, d2)
        c3, d3 = multiply_add(A[i + 3, k], x, c3), multiply_add(A[i + 3, k], y, d3)
        c4, d4 = multiply_add(A[i + 4, k], x, c4), multiply_add(A[i + 4, k], y, d4)
        c5, d5 = multiply_add(A[i + 5, k], x, c5), multiply_add(A[i + 5, k], y, d5)
        c6, d6 = multiply_add(A[i + 6, k], x, c6), multiply_add(A[i + 6, k], y, d6)
        c7, d7 = multiply_add(A[i + 7, k], x, c7), multiply_add(A[i + 7, k], y, d7)
    store(c0, out, p, q), store(d0, out, p, q + L)
    store(c1, out, p + 1, q), store(d1, out, p + 1, q + L)
    store(c2, out, p + 2, q), store(d2, out, p + 2, q + L)
    store(c3, out, p + 3, q), store(d3, out, p + 3, q + L)
    store(c4, out, p + 4, q), store(d4, out, p + 4, q + L)
    store(c5, out, p + 5, q), store(d5, out, p + 5, q + L)
    store(c6, out, p + 6, q), store(d6, out, p + 6, q + L)
    store(c7, out, p + 7, q), store(d7, out, p + 7, q + L)


@inner
def row_tile(A, B, b, i, j, first, last, out):
    """out[0] <- the same for row i alone, for matrices of fewer than 8."""
    L = REGISTER // B.itemsize
    c, d = zeros(B), zeros(B)
    if b.size > 0:
        c, d = load(b, 0, j), load(b, 0, j + L)
    for k in range(first, last):
        c, d = multiply_add(A[i, k], load(B, k, j), c), multiply_add(A[i, k], load(B, k, j + L), d)
    store(c, out, 0, 0), store(d, out, 0, L)


@inner
def last_columns(B, j, width):
    """The columns of B from j on, with zeros behind them: then they too can be loaded by whole registers."""
    padded = np.zeros((B.shape[0], width), B.dtype)
    for k in range(B.shape[0]):
        for q in range(B.shape[1] - j):
            padded[k, q] = B[k, j + q]
    return padded


@inner
def write(sums, rows, columns, Y, i, j):
    """Copy so much of a tile to Y[i:, j:]."""
    L = REGISTER // Y.itemsize
    for p in range(rows):
        if columns == 2 * L:
            store(load(sums, p, 0), Y, i + p, j), store(load(sums, p, L), Y, i + p, j + L)
        else:
            for q in range(columns):
                Y[i + p, j + q] = sums[p, q]


@inner
def product(A, B, b, Y, rows, columns, inner_axis):
    """Y <- A B + b, some rows and columns of it, the sum going over a part of the inner axis.

    Shapes: A (M, K) of any layout, B (K, N) and Y (M, N) with contiguous rows, b (1, N) or (1, 0) for none. Each of
    the three ranges is a pair (start, stop); that of the columns begins at a multiple of a tile's width.
    """
    (top, bottom), (left, right), (first, last) = rows, columns, inner_axis
    width = 2 * (REGISTER // B.itemsize)
    sums = np.empty((ROWS, width), B.dtype)
    for j in range(left, right, width):
        source, bias, start, n = B, b, j, min(width, right - j)
        if n < width:  # too few columns for whole registers
            source, start = last_columns(B, j, width), 0
            bias = last_columns(b, j, width) if b.size > 0 else b
        for step in range(top, bottom, ROWS):
            i = min(step, bottom - ROWS)  # the last tile may cover rows of the one before it: they come out the same
            if i < top:
                for i in range(top, bottom):
                    row_tile(A, source, bias, i, start, first, last, sums)
                    write(sums, 1, n, Y, i, j)
            elif n == width:
                tile(A, source, bias, i, start, first, last, Y, i, j)
            else:
                tile(A, source, bias, i, start, first, last, sums, 0, 0)
                write(sums, ROWS, n, Y, i, j)


@inner
def rest(A, B, i, j, first, last):
    """A stretch of a row of A times that of a row of B: what does not fill a register."""
    found = like(A[i, 0], 0)
    for k in range(first, last):
        found += A[i, k] * B[j, k]
    return found


@inner
def dot_tile(A, B, i, j, M, N, first, last, Y):
    """Four rows of A times four rows of B: 16 numbers of A B', each the sum over one register; rows end at M and N."""
    L = REGISTER // B.itemsize
    i0, i1, i2, i3 = i, min(i + 1, M - 1), min(i + 2, M - 1), min(i + 3, M - 1)  # at the edge some come twice
    j0, j1, j2, j3 = j, min(j + 1, N - 1), min(j + 2, N - 1), min(j + 3, N - 1)
    a0, a1, a2, a3 = zeros(B), zeros(B), zeros(B), zeros(B)
    b0, b1, b2, b3 = a0, a1, a2, a3
    c0, c1, c2, c3 = a0, a1, a2, a3
    d0, d1, d2, d3 = a0, a1, a2, a3
    whole = first + (last - first) // L * L
    for k in range(first, whole, L):
        x0, x1, x2, x3 = load(A, i0, k), load(A, i1, k), load(A, i2, k), load(A, i3, k)
        y = load(B, j0, k)
        a0, a1, a2, a3 = multiply_add(x0, y, a0), multiply_add(x1, y, a1), multiply_add(x2, y, a2), multiply_add(x3, y, a3)
        y = load(B, j1, k)
        b0, b1, b2, b3 = multiply_add(x0, y, b0), multiply_add(x1, y, b1), multiply_add(x2, y, b2), multiply_add(x3, y, b3)
        y = load(B, j2, k)
        c0, c1, c2, c3 = multiply_add(x0, y, c0), multiply_add(x1, y, c1), multiply_add(x2, y, c2), multiply_add(x3, y, c3)
        y = load(B, j3, k)
        d0, d1, d2, d3 = multiply_add(x0, y, d0), multiply_add(x1, y, d1), multiply_add(x2, y, d2), multiply_add(x3, y, d3)
    Y[i0, j0], Y[i1, j0], Y[i2, j0], Y[i3, j0] = total(a0), total(a1), total(a2), total(a3)
    Y[i0, j1], Y[i1, j1], Y[i2, j1], Y[i3, j1] = total(b0), total(b1), total(b2), total(b3)
    Y[i0, j2], Y[i1, j2], Y[i2, j2], Y[i3, j2] = total(c0), total(c1), total(c2), total(c3)
    Y[i0, j3], Y[i1, j3], Y[i2, j3], Y[i3, j3] = total(d0), total(d1), total(d2), total(d3)
    if whole < last:
        for m in range(i, min(i + DOTS, M)):
            for n in range(j, min(j + DOTS, N)):
                Y[m, n] += rest(A, B, m, n, whole, last)


@inner
def product_with_transpose(A, B, Y, rows, columns, inner_axis):
    """Y <- A B', some rows and columns of it, the sum going over a part of the inner axis.

    Shapes: A (M, K), B (N, K), Y (M, N), all with contiguous rows; ranges as in ``product``.
    """
    (top, bottom), (left, right), (first, last) = rows, columns, inner_axis
    for block in range(top, bottom, BLOCK):
        for j in range(left, right, DOTS):
            for i in range(block, min(block + BLOCK, bottom), DOTS):
                dot_tile(A, B, i, j, bottom, right, first, last, Y)
