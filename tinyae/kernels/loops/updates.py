r"""The optimizers' steps, one pass over all parameters.

In array language a step of Adam goes through memory a dozen times: each line reads whole arrays and writes one.
Here every number is read once, and written once. The lines are those of ``optim.py``, for one number.

``places`` (P, 2 + state) holds, for each of P parameters, the addresses of theta, its gradient and its state;
``rows`` and ``widths`` (P,) how many rows it has and how long they are; ``c`` the constants that the docstring
names, in the parameters' type. Each thread updates the rows whose gradient it has computed, and it works on slices: in
a loop over a slice the compiler need not ask whether an index is negative, and uses vectors.
"""

import numpy as np
from numba import prange

from ..compiling import inner, kernel
from .activating import like
from .memory import array_at
from .products import ROWS, share
from .subnormals import flush_subnormals, restore


@inner
def some_rows(rows, widths, p, part, parts):
    """From which number to which a thread updates parameter p."""
    start, stop = share(rows[p], ROWS, part, parts)
    return start * widths[p], stop * widths[p]


@kernel
def sgd(places, rows, widths, c, parts):
    """theta <- theta - lr (g + decay theta). c: lr, decay."""
    lr, decay = c[0], c[1]
    zero = like(lr, 0)
    for part in prange(parts):
        setting = flush_subnormals()
        for p in range(len(rows)):
            start, stop = some_rows(rows, widths, p, part, parts)
            theta, g = array_at(places[p, 0], start, stop, c), array_at(places[p, 1], start, stop, c)
            for i in range(theta.size):
                theta[i] -= lr * (g[i] + decay * theta[i] if decay > zero else g[i])
        restore(setting)


@kernel
def momentum(places, rows, widths, c, parts):
    """v <- mu v + g; theta <- theta - lr v, or Nesterov's: lr (g + mu v). c: lr, mu, nesterov (0 or 1), decay."""
    lr, mu, nesterov, decay = c[0], c[1], c[2], c[3]
    zero = like(lr, 0)
    for part in prange(parts):
        setting = flush_subnormals()
        for p in range(len(rows)):
            start, stop = some_rows(rows, widths, p, part, parts)
            theta, g = array_at(places[p, 0], start, stop, c), array_at(places[p, 1], start, stop, c)
            v = array_at(places[p, 2], start, stop, c)
            for i in range(theta.size):
                slope = g[i] + decay * theta[i] if decay > zero else g[i]
                speed = mu * v[i] + slope
                v[i] = speed
                theta[i] -= lr * (slope + mu * speed if nesterov > zero else speed)
        restore(setting)


@kernel
def adagrad(places, rows, widths, c, parts):
    """G <- G + g**2; theta <- theta - lr g / (sqrt G + eps). c: lr, eps."""
    lr, eps = c[0], c[1]
    for part in prange(parts):
        setting = flush_subnormals()
        for p in range(len(rows)):
            start, stop = some_rows(rows, widths, p, part, parts)
            theta, g = array_at(places[p, 0], start, stop, c), array_at(places[p, 1], start, stop, c)
            G = array_at(places[p, 2], start, stop, c)
            for i in range(theta.size):
                squares = G[i] + g[i] * g[i]
                G[i] = squares
                theta[i] -= lr * g[i] / (np.sqrt(squares) + eps)
        restore(setting)


@kernel
def rmsprop(places, rows, widths, c, parts):
    """v <- rho v + (1 - rho) g**2; theta <- theta - lr g / (sqrt v + eps). c: lr, rho, 1 - rho, eps."""
    lr, rho, rest, eps = c[0], c[1], c[2], c[3]
    for part in prange(parts):
        setting = flush_subnormals()
        for p in range(len(rows)):
            start, stop = some_rows(rows, widths, p, part, parts)
            theta, g = array_at(places[p, 0], start, stop, c), array_at(places[p, 1], start, stop, c)
            v = array_at(places[p, 2], start, stop, c)
            for i in range(theta.size):
                mean = rho * v[i] + rest * g[i] * g[i]
                v[i] = mean
                theta[i] -= lr * g[i] / (np.sqrt(mean) + eps)
        restore(setting)


@kernel
def adam(places, rows, widths, c, parts):
    """Algorithm 1 of Kingma and Ba.

    c: lr, beta1, 1 - beta1, beta2, 1 - beta2, eps, 1 - beta1**t, 1 - beta2**t, 1 - lr decay.
    """
    lr, beta1, rest1, beta2, rest2 = c[0], c[1], c[2], c[3], c[4]
    eps, correction1, correction2, kept = c[5], c[6], c[7], c[8]
    grow1, grow2 = like(lr, 1) / correction1, like(lr, 1) / correction2
    for part in prange(parts):
        setting = flush_subnormals()
        for p in range(len(rows)):
            start, stop = some_rows(rows, widths, p, part, parts)
            theta, g = array_at(places[p, 0], start, stop, c), array_at(places[p, 1], start, stop, c)
            m = array_at(places[p, 2], start, stop, c)
            v = array_at(places[p, 3], start, stop, c)
            for i in range(theta.size):
                first = beta1 * m[i] + rest1 * g[i]
                second = beta2 * v[i] + rest2 * g[i] * g[i]
                m[i] = first
                v[i] = second
                theta[i] = kept * theta[i] - lr * (first * grow1) / (np.sqrt(second * grow2) + eps)
        restore(setting)
