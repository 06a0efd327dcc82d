"""A dense layer: matrix product, bias and activation, and the way back.

Two ways to divide the work among threads. *By inputs*, for a layer that narrows: each thread has some rows of W, and with
them a sum over some of the inputs; the sums are added in a second loop, which begins when all are done. *By examples*, for a
layer that widens: each thread has some rows of the batch. Either way little has to go from core to core.
"""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import RELU, SIGMOID, TANH, hyperbolic_tangent, like, relu, sigmoid
from .products import ROWS, product, product_with_transpose, share


@inner
def activate(Y, activation, rows):
    """Y <- f(Y), some rows of it."""
    for n in range(rows[0], rows[1]):
        y = Y[n]
        if activation == RELU:
            for o in range(y.size):
                y[o] = relu(y[o])
        elif activation == SIGMOID:
            for o in range(y.size):
                y[o] = sigmoid(y[o])
        elif activation == TANH:
            for o in range(y.size):
                y[o] = hyperbolic_tangent(y[o])


@inner
def add_up(pieces, b, Y, rows):
    """Y <- the sum of the pieces (parts, N, O), plus b; some rows of it."""
    for n in range(rows[0], rows[1]):
        y = Y[n]
        if b.size > 0:
            bias = b[0]
            for o in range(y.size):
                y[o] = bias[o]
        else:
            y[:] = like(y[0], 0)
        for part in range(pieces.shape[0]):
            piece = pieces[part, n]
            for o in range(y.size):
                y[o] += piece[o]


@kernel
def forward(X, W, b, activation, Y, parts):
    """Y <- f(X W + b). Shapes: X (N, I), W (I, O), b (1, O) or (1, 0) for none, Y (N, O)."""
    (N, I), O = X.shape, W.shape[1]
    if parts > 1 and I >= O:
        pieces = np.empty((parts, N, O), Y.dtype)
        none = np.empty((1, 0), Y.dtype)
        for part in prange(parts):
            product(X, W, none, pieces[part], (0, N), (0, O), share(I, ROWS, part, parts))
        for part in prange(parts):
            rows = share(N, 1, part, parts)
            add_up(pieces, b, Y, rows)
            activate(Y, activation, rows)
    else:
        for part in prange(parts):
            rows = share(N, 1, part, parts)
            product(X, W, b, Y, rows, (0, O), (0, I))
            activate(Y, activation, rows)


@inner
def through_activation(Y, gY, activation, gZ, sums, rows):
    """gZ <- f'(Z) gY from Y = f(Z), some rows; sums (O,) <- the sum of these rows."""
    zero, one = like(Y[0, 0], 0), like(Y[0, 0], 1)
    sums[:] = zero
    for n in range(rows[0], rows[1]):
        y, gy, gz = Y[n], gY[n], gZ[n]
        if activation == RELU:
            for o in range(y.size):
                gz[o] = gy[o] if y[o] > zero else zero
        elif activation == SIGMOID:
            for o in range(y.size):
                gz[o] = y[o] * (one - y[o]) * gy[o]
        elif activation == TANH:
            for o in range(y.size):
                gz[o] = (one - y[o] * y[o]) * gy[o]
        for o in range(y.size):
            sums[o] += gz[o]


@kernel
def backward(X, W, Y, gY, activation, gZ, gX, gW, gb, parts):
    """The gradients of a dense layer.

    Shapes: X (N, I), W (I, O), Y, gY and gZ (N, O), gX (N, I), or (0, 0) if it is not wanted, gW (I, O), gb (O,).
    Without an activation gZ is gY itself. The gradient of W is a sum over examples: for fewer examples than inputs each
    thread computes some rows of it, else each sums over its examples, and the sums are added.
    """
    (N, I), O = X.shape, W.shape[1]
    none = np.empty((1, 0), gY.dtype)
    sums = np.empty((parts, O), gY.dtype)
    by_examples = parts > 1 and N > I
    pieces = np.empty((parts, I, O) if by_examples else (1, 0, 0), gY.dtype)
    for part in prange(parts):
        rows = share(N, 1, part, parts)
        through_activation(Y, gY, activation, gZ, sums[part], rows)
        if by_examples:
            product(X.T, gZ, none, pieces[part], (0, I), (0, O), rows)
        if gX.size > 0:
            product_with_transpose(gZ, W, gX, rows, (0, I), (0, O))
    for part in prange(parts):
        inputs = share(I, ROWS, part, parts)
        if by_examples:
            add_up(pieces, none, gW, inputs)
        else:
            product(X.T, gZ, none, gW, inputs, (0, O), (0, N))
    gb[:] = sums[0]
    for part in range(1, parts):
        for o in range(O):
            gb[o] += sums[part, o]
