"""Dense layers, one or several in a row: matrix products, biases and activations, and the way back.

Two ways to divide a layer's work among threads. *By examples*: each thread takes some rows of the batch, through as many layers
as there are, and needs nothing of the others. *By inputs*, for a large layer that narrows: each thread has some rows of
W, and with them a sum over some of the inputs; when all are done, the sums are added. The second way reads only what the
same thread has written when the weights were updated.

The number of a part is written ``np.int64(part)`` where it is handed on: numba has an unsigned one inside of a parallel loop and
a signed one outside, and would compile everything twice.

A layer is a row of a table, for one call has any number of them: the addresses of W (I, O) and of b (0 for
none), then I, O and the number of the activation.
"""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import RELU, SIGMOID, TANH, hyperbolic_tangent, like, relu, sigmoid
from .memory import array_at, matrix_at
from .products import ROWS, product, share
from .subnormals import flush_subnormals, restore

WORTH = 1 << 14  # numbers that need not go from core to core: worth two waits for each other
BLOCK = 64  # examples that go through the backward pass together, so that what they leave stays in the cache
W_AT, B_AT, INPUTS, OUTPUTS, ACTIVATION = 0, 1, 2, 3, 4  # the columns of the table


@inner
def outputs_before(layers, l):
    """How many outputs all layers before number l have together."""
    count = 0
    for earlier in range(l):
        count += layers[earlier, OUTPUTS]
    return count


@inner
def output(y, layers, l, N, hidden):
    """Y of a layer (N, O): the last one's begins at the address y, the others stand behind each other in ``hidden``."""
    O = layers[l, OUTPUTS]
    if l == len(layers) - 1:
        return matrix_at(y, N, O, hidden)
    start = N * outputs_before(layers, l)
    return hidden[start : start + N * O].reshape((N, O))


@inner
def layer_input(x, layers, l, N, hidden):
    """X of a layer (N, I): the output of the one before."""
    if l == 0:
        return matrix_at(x, N, layers[0, INPUTS], hidden)
    return output(0, layers, l - 1, N, hidden)


@inner
def parameters(layers, l, kind):
    """W (I, O) and b (1, O), or (1, 0) for none."""
    O = layers[l, OUTPUTS]
    return (
        matrix_at(layers[l, W_AT], layers[l, INPUTS], O, kind),
        matrix_at(layers[l, B_AT], 1, O if layers[l, B_AT] else 0, kind),
    )


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


@inner
def divided_by_inputs(layers, l, N, parts):
    """Is this the better way for the layer: does it keep more of W with its owner than it moves of X and Y?"""
    I, O = layers[l, INPUTS], layers[l, OUTPUTS]
    moved = N * O + (N * I // 2 if l > 0 else 0)
    return parts > 1 and I * O - moved >= WORTH


@inner
def by_examples(x, y, layers, first, last, N, hidden, rows):
    """Some rows of the batch through the layers from ``first`` to ``last`` - 1."""
    for l in range(first, last):
        W, b = parameters(layers, l, hidden)
        Y = output(y, layers, l, N, hidden)
        product(layer_input(x, layers, l, N, hidden), W, False, b, Y, rows, (0, W.shape[0]), 0, False)
        activate(Y, layers[l, ACTIVATION], rows)


@kernel
def forward(x, y, layers, N, hidden, parts):
    """X -> f(X W + b), layer after layer.

    X is N rows at the address x, the last Y N rows at y; the other layers' Y go to ``hidden`` (N times their outputs).
    """
    count = len(layers)
    l = 0
    while l < count:
        if divided_by_inputs(layers, l, N, parts):
            W, b = parameters(layers, l, hidden)
            X, Y = layer_input(x, layers, l, N, hidden), output(y, layers, l, N, hidden)
            pieces = np.empty((parts, N, W.shape[1]), hidden.dtype)
            none = np.empty((1, 0), hidden.dtype)
            for part in prange(parts):
                setting = flush_subnormals()
                product(X, W, False, none, pieces[part], (0, N), share(W.shape[0], ROWS, np.int64(part), parts), 0, False)
                restore(setting)
            for part in prange(parts):
                setting = flush_subnormals()
                rows = share(N, 1, np.int64(part), parts)
                add_up(pieces, b, Y, rows)
                activate(Y, layers[l, ACTIVATION], rows)
                restore(setting)
            l += 1
        else:
            first = l
            while l < count and not divided_by_inputs(layers, l, N, parts):
                l += 1
            for part in prange(parts):
                setting = flush_subnormals()
                by_examples(x, y, layers, first, l, N, hidden, share(N, 1, np.int64(part), parts))
                restore(setting)


@inner
def through_activation(Y, gY, activation, gZ, sums):
    """gZ <- f'(Z) gY from Y = f(Z), all (N, O); sums (O,) += the sum of the rows."""
    zero, one = like(Y[0, 0], 0), like(Y[0, 0], 1)
    for n in range(len(Y)):
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
        else:
            for o in range(y.size):
                gz[o] = gy[o]
        for o in range(y.size):
            sums[o] += gz[o]


@inner
def summed_by_examples(layers, l, N):
    """Is the gradient of the layer's weights, a sum over examples, divided by them: are there more of them than inputs?"""
    return N > layers[l, INPUTS]


@inner
def slopes_of(slopes, layers, l, N, part, parts, rows):
    """gZ of some rows of a layer; if nobody but this thread needs them, all blocks of rows share one place."""
    O = layers[l, OUTPUTS]
    start = (N + parts * BLOCK) * outputs_before(layers, l)
    if summed_by_examples(layers, l, N):
        start += part * BLOCK * O
        return slopes[start : start + (rows[1] - rows[0]) * O].reshape((rows[1] - rows[0], O))
    return slopes[start + rows[0] * O : start + rows[1] * O].reshape((rows[1] - rows[0], O))


@inner
def pieces_of(space, parts, layers, lowest, l, N):
    """The sums (parts, I, O) of a layer's weight gradient, one for each thread's examples."""
    I, O, start = layers[l, INPUTS], layers[l, OUTPUTS], 0
    for earlier in range(lowest, l):
        if summed_by_examples(layers, earlier, N):
            start += parts * layers[earlier, INPUTS] * layers[earlier, OUTPUTS]
    return space[start : start + parts * I * O].reshape((parts, I, O))


@inner
def gradients_of_examples(x, y, gy, gx, layers, top, bottom, lowest, N, hidden, slopes, sums, space, part, parts):
    """gZ of the layers from ``top`` down to ``bottom``, some rows of the batch; and of the weights what only these
    rows are needed for. Where gX is divided by inputs, it is left out. The rows go through all layers block after block."""
    (first, last), none = share(N, 1, part, parts), np.empty((1, 0), hidden.dtype)
    for start in range(first, last, BLOCK):
        rows = start, min(start + BLOCK, last)
        block = (0, rows[1] - rows[0])
        for l in range(top, bottom - 1, -1):
            W, _ = parameters(layers, l, hidden)
            I, O = W.shape
            gZ = slopes_of(slopes, layers, l, N, part, parts, rows)
            gY = matrix_at(gy, N, O, hidden)[rows[0] : rows[1]] if l == len(layers) - 1 else gZ  # the layer above wrote it
            Y = output(y, layers, l, N, hidden)[rows[0] : rows[1]]
            before = outputs_before(layers, l)
            through_activation(Y, gY, layers[l, ACTIVATION], gZ, sums[part, before : before + O])
            if summed_by_examples(layers, l, N):
                X, piece = layer_input(x, layers, l, N, hidden), pieces_of(space, parts, layers, lowest, l, N)[part]
                product(X[rows[0] : rows[1]].T, gZ, False, none, piece, (0, I), block, 0, start > first)
            if l > lowest and not divided_by_inputs(layers, l, N, parts):
                product(gZ, W, True, none, slopes_of(slopes, layers, l - 1, N, part, parts, rows), block, (0, O), 0, False)
            elif l == lowest and gx != 0:
                product(gZ, W, True, none, matrix_at(gx, N, I, hidden)[rows[0] : rows[1]], block, (0, O), 0, False)


@inner
def gradient_of_inputs(layers, l, N, slopes, part, parts):
    """gX of a layer divided by inputs: some of its columns, for all examples."""
    W, _ = parameters(layers, l, slopes)
    first, last = share(W.shape[0], ROWS, part, parts)
    gZ, gX = slopes_of(slopes, layers, l, N, part, parts, (0, N)), slopes_of(slopes, layers, l - 1, N, part, parts, (0, N))
    product(gZ, W[first:last], True, np.empty((1, 0), slopes.dtype), gX, (0, N), (0, W.shape[1]), first, False)


@inner
def gradients_of_weights(x, layers, gradients, lowest, N, hidden, slopes, space, part, parts):
    """gW of every layer, some of its rows."""
    none = np.empty((1, 0), hidden.dtype)
    for l in range(len(layers) - 1, lowest - 1, -1):
        I, O = layers[l, INPUTS], layers[l, OUTPUTS]
        gW, rows = matrix_at(gradients[l - lowest, 0], I, O, hidden), share(I, ROWS, part, parts)
        if summed_by_examples(layers, l, N):
            add_up(pieces_of(space, parts, layers, lowest, l, N), none, gW, rows)
        else:
            gZ = slopes_of(slopes, layers, l, N, part, parts, (0, N))
            product(layer_input(x, layers, l, N, hidden).T, gZ, False, none, gW, rows, (0, N), 0, False)


@kernel
def backward(x, y, gy, gx, layers, gradients, lowest, N, hidden, slopes, parts):
    """The gradients of dense layers in a row, of those from number ``lowest`` on.

    Addresses: x, y and ``hidden`` as in ``forward``, gy (N, O) of the last layer's output, gx (N, I) where X's gradient goes, 0 if
    it is not wanted; ``gradients`` (layers - lowest, 2) where those of W and b go. ``slopes`` is room for gZ of all layers:
    (N + 64 parts) times their outputs.

    If there are fewer examples than inputs, each thread computes some rows of W's gradient; else each sums over its
    examples, and the sums are added.
    """
    count = len(layers)
    sums = np.zeros((parts, outputs_before(layers, count)), hidden.dtype)
    weights = 0
    for l in range(lowest, count):
        weights += layers[l, INPUTS] * layers[l, OUTPUTS] if summed_by_examples(layers, l, N) else 0
    space = np.empty(parts * weights, hidden.dtype)
    top = count - 1
    while top >= lowest:
        bottom = top
        while bottom > lowest and not divided_by_inputs(layers, bottom, N, parts):
            bottom -= 1
        for part in prange(parts):
            setting = flush_subnormals()
            gradients_of_examples(x, y, gy, gx, layers, top, bottom, lowest, N, hidden, slopes, sums, space, np.int64(part), parts)
            restore(setting)
        if bottom > lowest:
            for part in prange(parts):
                setting = flush_subnormals()
                gradient_of_inputs(layers, bottom, N, slopes, np.int64(part), parts)
                restore(setting)
        top = bottom - 1
    for part in prange(parts):
        setting = flush_subnormals()
        gradients_of_weights(x, layers, gradients, lowest, N, hidden, slopes, space, np.int64(part), parts)
        restore(setting)
    for l in range(lowest, count):
        before, O = outputs_before(layers, l), layers[l, OUTPUTS]
        gb = array_at(gradients[l - lowest, 1], 0, O, hidden)
        for o in range(O):
            total = sums[0, before + o]
            for part in range(1, parts):
                total += sums[part, before + o]
            gb[o] = total
