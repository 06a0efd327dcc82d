r"""The matrix product, in tiles that fit into registers, and how threads share it.

Written plainly, :math:`Y_{ij} = \sum_k A_{ik} B_{kj}` loads two numbers for each multiplication, and a
processor can multiply far faster than it can load. So a *tile* of Y, 8 rows by two registers of columns, is
computed at once: for each k, two vectors of B and 8 numbers of A are loaded, and used for 16
vector multiplications, whose sums stay in 16 registers until the tile is done (AVX-512 has 32 of them; a
processor with 16 must move some sums to memory). Before that, the columns of B
that belong to a tile are copied next to each other, a *panel*: so they stay in the first-level cache
for all rows of A, and B may as well be the transpose of a matrix.

Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), section 4; the
blocking is simpler here, since the matrices of an autoencoder fit into the second-level cache.

Threads: what one core has written, another must fetch from its cache, and that can take as long as computing it.
So each thread owns some rows of every weight matrix, in the backward pass and in the optimizer's step alike, and
some rows of every batch. Rows and not columns: neighbours in memory are fetched together.

A new batch comes from memory, which takes a hundred times as long as from the cache. So the rows of A that are needed
next are asked for while the ones before them are multiplied.
"""

import numpy as np

from ..compiling import inner
from .vectors import (
    REGISTER,
    fetch,
    load,
    load_some,
    multiply_add,
    store,
    store_some,
    store_some_transposed,
    store_transposed,
)

ROWS = 8  # of a tile
DEPTH = 128  # of a panel: with two registers of 64 bytes 16 KB, a third of a first-level cache of 48 KB
FEW = 16  # rows of A for which making panels does not pay


@inner
def share(n, step, part, parts):
    """(start, stop) of a part of 0..n-1, in whole steps."""
    steps = (n + step - 1) // step
    return min(n, part * steps // parts * step), min(n, (part + 1) * steps // parts * step)


@inner
def tile(A, i, B, above, j, first, last, Y, p, q):
    """Y[p : p + 8, q : q + 2 registers] += rows i to i + 7 of A times the columns of B from j on.

    The sum goes over k from ``first`` to ``last`` - 1; row k of the matrix is row k - ``above`` of B.
    """
    L = REGISTER // B.itemsize
    c0, d0 = load(Y, p, q), load(Y, p, q + L)
    c1, d1 = load(Y, p + 1, q), load(Y, p + 1, q + L)
    c2, d2 = load(Y, p + 2, q), load(Y, p + 2, q + L)
    c3, d3 = load(Y, p + 3, q), load(Y, p + 3, q + L)
    c4, d4 = load(Y, p + 4, q), load(Y, p + 4, q + L)
    c5, d5 = load(Y, p + 5, q), load(Y, p + 5, q + L)
    c6, d6 = load(Y, p + 6, q), load(Y, p + 6, q + L)
    c7, d7 = load(Y, p + 7, q), load(Y, p + 7, q + L)
    for k in range(first, last):
        x, y = load(B, k - above, j), load(B, k - above, j + L)
        c0, d0 = multiply_add(A[i, k], x, c0), multiply_add(A[i, k], y, d0)
        c1, d1 = multiply_add(A[i + 1, k], x, c1), multiply_add(A[i + 1, k], y, d1)
        c2, d2 = multiply_add(A[i + 2, k], x, c2), multiply_add(A[i + 2, k], y, d2)
        c3, d3 = multiply_add(A[i + 3, k], x, c3), multiply_add(A[i + 3, k], y, d3)
        c4, d4 = multiply_add(A[i + 4, k], x, c4), multiply_add(A[i + 4, k], y, d4)
        c5, d5 = multiply_add(A[i + 5, k], x, c5), multiply_add(A[i + 5, k], y, d5)
        c6, d6 = multiply_add(A[i + 6, k], x, c6), multiply_add(A[i + 6, k], y, d6)
        c7, d7 = multiply_add(A[i + 7, k], x, c7), multiply_add(A[i + 7, k], y, d7)
    store(c0, Y, p, q), store(d0, Y, p, q + L)
    store(c1, Y, p + 1, q), store(d1, Y, p + 1, q + L)
    store(c2, Y, p + 2, q), store(d2, Y, p + 2, q + L)
    store(c3, Y, p + 3, q), store(d3, Y, p + 3, q + L)
    store(c4, Y, p + 4, q), store(d4, Y, p + 4, q + L)
    store(c5, Y, p + 5, q), store(d5, Y, p + 5, q + L)
    store(c6, Y, p + 6, q), store(d6, Y, p + 6, q + L)
    store(c7, Y, p + 7, q), store(d7, Y, p + 7, q + L)


@inner
def row_tile(A, i, B, above, j, first, last, Y, p, q):
    """The same for row i alone: for what is left below the last whole tile."""
    L = REGISTER // B.itemsize
    c, d = load(Y, p, q), load(Y, p, q + L)
    for k in range(first, last):
        c, d = multiply_add(A[i, k], load(B, k - above, j), c), multiply_add(A[i, k], load(B, k - above, j + L), d)
    store(c, Y, p, q), store(d, Y, p, q + L)


@inner
def narrow_tile(A, i, B, above, j, first, last, Y, p, q, n):
    """The same for n columns that do not fill a register, or one register of them."""
    c0, c1 = load_some(Y, p, q, n), load_some(Y, p + 1, q, n)
    c2, c3 = load_some(Y, p + 2, q, n), load_some(Y, p + 3, q, n)
    c4, c5 = load_some(Y, p + 4, q, n), load_some(Y, p + 5, q, n)
    c6, c7 = load_some(Y, p + 6, q, n), load_some(Y, p + 7, q, n)
    for k in range(first, last):
        x = load_some(B, k - above, j, n)
        c0, c1 = multiply_add(A[i, k], x, c0), multiply_add(A[i + 1, k], x, c1)
        c2, c3 = multiply_add(A[i + 2, k], x, c2), multiply_add(A[i + 3, k], x, c3)
        c4, c5 = multiply_add(A[i + 4, k], x, c4), multiply_add(A[i + 5, k], x, c5)
        c6, c7 = multiply_add(A[i + 6, k], x, c6), multiply_add(A[i + 7, k], x, c7)
    store_some(c0, Y, p, q, n), store_some(c1, Y, p + 1, q, n)
    store_some(c2, Y, p + 2, q, n), store_some(c3, Y, p + 3, q, n)
    store_some(c4, Y, p + 4, q, n), store_some(c5, Y, p + 5, q, n)
    store_some(c6, Y, p + 6, q, n), store_some(c7, Y, p + 7, q, n)


@inner
def narrow_row(A, i, B, above, j, first, last, Y, p, q, n):
    """The same for row i alone."""
    c = load_some(Y, p, q, n)
    for k in range(first, last):
        c = multiply_add(A[i, k], load_some(B, k - above, j, n), c)
    store_some(c, Y, p, q, n)


@inner
def pack(B, transposed, j, n, first, last, panel):
    """panel[k - first, q] <- B[k, j + q], or B[j + q, k] of a B that is meant transposed; for q below n."""
    L = REGISTER // B.itemsize
    for q in range(0, n, L):
        if transposed:
            for k in range(first, last, L):
                if q + L <= n and k + L <= last:
                    store_transposed(B, j + q, k, panel, k - first, q)
                else:
                    store_some_transposed(B, j + q, k, n - q, last - k, panel, k - first, q)
        elif q + L <= n:
            for k in range(first, last):
                store(load(B, k, j + q), panel, k - first, q)
        else:
            for k in range(first, last):
                store(load_some(B, k, j + q, n - q), panel, k - first, q)


@inner
def fetch_ahead(A, i, start, stop):
    """Have rows i to i + 7 brought from memory while others are multiplied: the processor would not guess where."""
    line = 64 // A.itemsize
    if A.strides[1] == A.itemsize:
        for r in range(i, i + ROWS):
            for k in range(start, stop, line):
                fetch(A, r, k)
    elif i % line == 0:  # a transpose: each line of memory holds one column of several rows
        for k in range(start, stop):
            fetch(A, i + ROWS, k)


@inner
def product(A, B, transposed, b, Y, rows, inner_axis, left, add):
    """Y <- A B + b or, if ``transposed``, A B' + b, some rows of it, the sum going over a part of the inner axis.

    Shapes: A (M, K), B (K, N) with contiguous rows, or (N, K), b (1, N) or (1, 0) for none, Y (M, at least left + N);
    rows in 0..M and inner_axis in 0..K as (start, stop). The result stands in Y from column ``left`` on; with ``add`` it
    is added to what is there.
    """
    (top, bottom), (first, last) = rows, inner_axis
    N, L = B.shape[0] if transposed else B.shape[1], REGISTER // B.itemsize
    panel = np.empty((DEPTH, 2 * L), B.dtype)
    direct = not transposed and bottom - top <= FEW
    for i in range(top, bottom):
        y = Y[i, left : left + N]
        if b.size > 0:
            bias = b[0]
            for j in range(y.size):
                y[j] = bias[j]
        elif not add:
            y[:] = 0
    whole = top + (bottom - top) // ROWS * ROWS  # the rows from here on do not fill a tile
    for start in range(first, last, DEPTH):
        stop = min(start + DEPTH, last)
        for j in range(0, N, 2 * L):
            n = min(2 * L, N - j)
            source, above, column = B, 0, j
            if not direct:
                pack(B, transposed, j, n, start, stop, panel)
                source, above, column = panel, start, 0
            if n == 2 * L:
                for i in range(top, whole, ROWS):
                    if j == 0:
                        fetch_ahead(A, i + ROWS, start, stop)
                    tile(A, i, source, above, column, start, stop, Y, i, left + j)
                for i in range(whole, bottom):
                    row_tile(A, i, source, above, column, start, stop, Y, i, left + j)
            else:
                for q in range(0, n, L):
                    for i in range(top, whole, ROWS):
                        narrow_tile(A, i, source, above, column + q, start, stop, Y, i, left + j + q, n - q)
                    for i in range(whole, bottom):
                        narrow_row(A, i, source, above, column + q, start, stop, Y, i, left + j + q, n - q)
