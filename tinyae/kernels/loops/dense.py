"""Dense layers, one or several in a row: matrix products, biases and activations, and the way back.

A pass through the layers is a list of *stages*. Within a stage no thread needs what another one computes; between two
stages all wait for each other. ``run`` goes through the list; which stages there are is decided in
``dense_layers.py``. There are two ways to divide a layer among threads:

* *by examples*: each thread takes some rows of the batch, through as many layers as there are, and needs nothing of the
  others;
* *by inputs*: each thread has some rows of W, and with them a sum over some of the inputs; when all are done, the sums
  are added. It reads only that part of W which the same thread has written when the weights were updated.

In a captured step the loss may be *joined* to the last layer: then the forward pass ends with the loss and gZ of that
layer, and the backward pass begins there.

A layer is a row of a table, for one call has any number of them: the addresses of W (I, O) and of b (0 for
none), then I, O, the number of the activation, and where in ``hidden`` or ``scratch`` there is room for

* Y (N, O), if the layer is not the last: the address of the last one's is an argument;
* gZ (N, O); or if the gradient of W is summed up in pieces, a block of rows for each thread, (parts, 64, O);
* the sums over gZ's rows (parts, at least O), with how far apart two threads' are;
* the pieces of W's gradient (parts, I, O), one from each thread's examples;

and whether there are such pieces: if the batch is large for the layer, a product over some examples is the smaller one.
"""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import activate, like, through_activation
from .losses import added, bce_with_logits_of, squared_error_of
from .memory import array_at, matrix_at
from .products import ROWS, product, share
from .subnormals import flush_subnormals, restore

BLOCK = 64  # examples that go through the backward pass together, so that what they leave stays in the cache
# the columns of the table of layers
W_AT, B_AT, INPUTS, OUTPUTS, ACTIVATION, HIDDEN_AT, SLOPES_AT, SUMS_AT, SUM_SIZE, PIECES_AT, IN_PIECES = range(11)
SUM_INPUTS, JOIN, THROUGH, BACK, BACK_TO_INPUTS, WEIGHTS = range(6)  # the kinds of stages
NO_LOSS, MSE, BCE = range(3)  # which loss is joined to the last layer


@inner
def output(y, layers, l, N, hidden):
    """Y of a layer (N, O)."""
    O, start = layers[l, OUTPUTS], layers[l, HIDDEN_AT]
    if l == len(layers) - 1:
        return matrix_at(y, N, O, hidden)
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


# ---------------------------------------------------------------- forward


@inner
def sum_inputs(x, y, layers, l, N, hidden, scratch, part, parts):
    """The stage SUM_INPUTS: X W over some of the inputs of layer l, for all examples."""
    W, _ = parameters(layers, l, hidden)
    O = W.shape[1]
    piece = scratch[part * N * O : (part + 1) * N * O].reshape((N, O))
    inputs, none = share(W.shape[0], ROWS, part, parts), np.empty((1, 0), hidden.dtype)
    product(layer_input(x, layers, l, N, hidden), W, False, none, piece, (0, N), inputs, 0, False)


@inner
def join(x, y, layers, l, N, hidden, scratch, part, parts):
    """How the stage JOIN begins: these sums and the bias added, for some examples."""
    O, rows = layers[l, OUTPUTS], share(N, 1, part, parts)
    _, b = parameters(layers, l, hidden)
    Y = output(y, layers, l, N, hidden)
    add_up(scratch[: parts * N * O].reshape((parts, N, O)), b, Y, rows)


@inner
def through(x, y, layers, first, last, joined, with_loss, N, hidden, part, parts):
    """The stage THROUGH, and how JOIN goes on: f(X W + b) of the layers from ``first`` to ``last``, for some examples.

    After JOIN the first one's X W + b is there already. With a loss the last activation is left to it.
    """
    rows = share(N, 1, part, parts)
    for l in range(first, last + 1):
        W, b = parameters(layers, l, hidden)
        Y = output(y, layers, l, N, hidden)
        if l > first or not joined:
            product(layer_input(x, layers, l, N, hidden), W, False, b, Y, rows, (0, W.shape[0]), 0, False)
        if l < len(layers) - 1 or not with_loss:
            for n in range(rows[0], rows[1]):
                activate(Y[n], layers[l, ACTIVATION])


# ---------------------------------------------------------------- backward


@inner
def add_rows(gZ, sums):
    """sums (O,) += the sum of the rows of gZ (N, O)."""
    for n in range(len(gZ)):
        gz = gZ[n]
        for o in range(gz.size):
            sums[o] += gz[o]


@inner
def slopes_of(scratch, layers, l, part, rows, gz):
    """gZ of some rows of a layer; of the last one it may stand at the address gz, computed with the loss."""
    O, n = layers[l, OUTPUTS], rows[1] - rows[0]
    if l == len(layers) - 1 and gz != 0:
        return matrix_at(gz + rows[0] * O * scratch.itemsize, n, O, scratch)
    start = layers[l, SLOPES_AT] + (part * BLOCK if layers[l, IN_PIECES] else rows[0]) * O
    return scratch[start : start + n * O].reshape((n, O))


@inner
def sums_of(scratch, layers, l, part):
    """The sum of gZ (O,) over one thread's examples."""
    start = layers[l, SUMS_AT] + part * layers[l, SUM_SIZE]
    return scratch[start : start + layers[l, OUTPUTS]]


@inner
def pieces_of(scratch, layers, l, parts):
    """The sums (parts, I, O) of a layer's weight gradient, one for each thread's examples."""
    I, O, start = layers[l, INPUTS], layers[l, OUTPUTS], layers[l, PIECES_AT]
    return scratch[start : start + parts * I * O].reshape((parts, I, O))


@inner
def loss_of(y, t, gz, layers, N, kind, scale, hidden, part, parts):
    """What is done after the last layer, if the loss is joined to it, for some examples: the sum of the terms; gZ.

    gZ may be written over Y.
    """
    last = len(layers) - 1
    O, activation = layers[last, OUTPUTS], layers[last, ACTIVATION]
    Y, T, gZ = matrix_at(y, N, O, hidden), matrix_at(t, N, O, hidden), matrix_at(gz, N, O, hidden)
    gy, whole = np.empty(O, hidden.dtype), 0.0
    first, stop = share(N, 1, part, parts)
    for n in range(first, stop):
        activate(Y[n], activation)
        if kind == MSE:
            whole += squared_error_of(Y[n], T[n], gy, scale)
        else:
            whole += bce_with_logits_of(Y[n], T[n], gy, scale)
        through_activation(Y[n], gy, activation, gZ[n])
    return whole


@inner
def back(x, y, gy, gx, gz, layers, first, last, N, hidden, scratch, part, parts):
    """The stage BACK: gZ of the layers from ``last`` down to ``first``, some rows of the batch, block after block of them.

    And of the gradients of weights what only these rows are needed for. The gradient of ``first``'s input goes to the
    address gx if that is layer 0 and gx is not 0; else the next stage computes it.
    """
    (top, bottom), none = share(N, 1, part, parts), np.empty((1, 0), hidden.dtype)
    for l in range(first, last + 1):
        sums_of(scratch, layers, l, part)[:] = 0
        if layers[l, IN_PIECES] and top == bottom:  # more threads than examples: this one's piece is added too
            pieces_of(scratch, layers, l, parts)[part].reshape(-1)[:] = 0
    for start in range(top, bottom, BLOCK):
        rows = start, min(start + BLOCK, bottom)
        block = (0, rows[1] - rows[0])
        for l in range(last, first - 1, -1):
            W, _ = parameters(layers, l, hidden)
            I, O = W.shape
            gZ = slopes_of(scratch, layers, l, part, rows, gz)
            if l < len(layers) - 1 or gz == 0:
                # the layer above has written gY to where gZ will be
                gY = matrix_at(gy, N, O, hidden)[rows[0] : rows[1]] if l == len(layers) - 1 else gZ
                Y = output(y, layers, l, N, hidden)[rows[0] : rows[1]]
                for n in range(len(Y)):
                    through_activation(Y[n], gY[n], layers[l, ACTIVATION], gZ[n])
            add_rows(gZ, sums_of(scratch, layers, l, part))
            if layers[l, IN_PIECES]:
                X, piece = layer_input(x, layers, l, N, hidden), pieces_of(scratch, layers, l, parts)[part]
                product(X[rows[0] : rows[1]].T, gZ, False, none, piece, (0, I), block, 0, start > top)
            if l > first:
                product(gZ, W, True, none, slopes_of(scratch, layers, l - 1, part, rows, gz), block, (0, O), 0, False)
            elif l == 0 and gx != 0:
                product(gZ, W, True, none, matrix_at(gx, N, I, hidden)[rows[0] : rows[1]], block, (0, O), 0, False)


@inner
def back_to_inputs(gz, layers, l, N, hidden, scratch, part, parts):
    """The stage BACK_TO_INPUTS: of a layer's gX some columns, for all examples."""
    W, _ = parameters(layers, l, hidden)
    none = np.empty((1, 0), hidden.dtype)
    first, last = share(W.shape[0], ROWS, part, parts)
    gZ, gX = slopes_of(scratch, layers, l, part, (0, N), gz), slopes_of(scratch, layers, l - 1, part, (0, N), gz)
    product(gZ, W[first:last], True, none, gX, (0, N), (0, W.shape[1]), first, False)


@inner
def weights(x, gz, layers, gradients, first, last, N, hidden, scratch, part, parts):
    """The stage WEIGHTS: some rows of gW, and some of gb, of the layers from ``first`` to ``last``."""
    none = np.empty((1, 0), hidden.dtype)
    for l in range(last, first - 1, -1):
        I, O = layers[l, INPUTS], layers[l, OUTPUTS]
        gW, rows = matrix_at(gradients[l - first, 0], I, O, hidden), share(I, ROWS, part, parts)
        if layers[l, IN_PIECES]:
            add_up(pieces_of(scratch, layers, l, parts), none, gW, rows)
        else:
            gZ = slopes_of(scratch, layers, l, part, (0, N), gz)
            product(layer_input(x, layers, l, N, hidden).T, gZ, False, none, gW, rows, (0, N), 0, False)
        start, stop = share(O, ROWS, part, parts)
        gb = array_at(gradients[l - first, 1], start, stop, hidden)
        gb[:] = 0
        for other in range(parts):
            sums = sums_of(scratch, layers, l, other)[start:stop]
            for o in range(gb.size):
                gb[o] += sums[o]


# ---------------------------------------------------------------- all stages


@kernel
def run(stages, x, y, gy, gx, t, gz, kind, scale, L, layers, gradients, N, hidden, scratch, parts):
    """Go through dense layers, forward or backward; if a loss is joined to them, with that.

    Parameters
    ----------
    stages : int64 array (S, 3)
        Kind, first and last layer of each.
    x, y, gy, gx : addresses
        Of X (N, I), the last layer's Y (N, O), its gradient, and where X's gradient goes (0: nowhere).
    t, gz : addresses
        With a loss: of its target (N, O), and where gZ (N, O) of the last layer is written (forward) or stands
        (backward). Without: 0.
    kind, scale, L
        With a loss, forward: MSE or BCE; the factor of its terms' sum; the array () for it.
    layers : int64 array (layers, 11)
    gradients : int64 array (layers that need any, 2)
        Addresses where the gradients of W and b go, the lowest such layer first; none forward.
    hidden : array
        Y of all layers but the last, one behind the other.
    scratch : array
        Room for what the stages hand on to each other.
    """
    sums = np.zeros(parts)
    for s in range(len(stages)):
        stage, first, last = stages[s, 0], stages[s, 1], stages[s, 2]
        for part in prange(parts):
            setting = flush_subnormals()
            me = np.int64(part)  # unsigned inside of a parallel loop: all would be compiled twice
            if stage == SUM_INPUTS:
                sum_inputs(x, y, layers, first, N, hidden, scratch, me, parts)
            elif stage in (JOIN, THROUGH):
                if stage == JOIN:
                    join(x, y, layers, first, N, hidden, scratch, me, parts)
                through(x, y, layers, first, last, stage == JOIN, kind != NO_LOSS, N, hidden, me, parts)
                if kind != NO_LOSS and last == len(layers) - 1:
                    sums[me] = loss_of(y, t, gz, layers, N, kind, scale, hidden, me, parts)
            elif stage == BACK:
                back(x, y, gy, gx, gz, layers, first, last, N, hidden, scratch, me, parts)
            elif stage == BACK_TO_INPUTS:
                back_to_inputs(gz, layers, first, N, hidden, scratch, me, parts)
            else:
                weights(x, gz, layers, gradients, first, last, N, hidden, scratch, me, parts)
            restore(setting)
    if kind != NO_LOSS:
        L[()] = added(sums) * scale
