"""Losses with their gradients, in one pass over the data.

Each writes the gradient of the *reduced* loss, times ``scale`` (1 / N for a mean over N terms), and returns the
sum of the terms times ``scale``. Terms are added up in stretches in their own type, so that the compiler can use vectors, and the
stretches in float64.
"""

import math

import numpy as np
from numba import prange, types
from numba.extending import overload

from ..compiling import inner, kernel
from .activating import exponential, f4, like
from .products import share
from .subnormals import flush_subnormals, restore

STRETCH = 512


def logarithm_of_one_plus(e):
    """ln(1 + e) for 0 <= e <= 1."""
    return np.log1p(e)


@inner
def series_of_logarithm(e):
    """ln(1 + e) = 2 artanh s = 2 (s + s**3 / 3 + s**5 / 5 + ...) with s = e / (2 + e) <= 1/3.

    No digit is lost for small e. Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 4.1.27.
    """
    s = e / (f4(2) + e)
    z = s * s
    p = f4(1 / 15)
    p = p * z + f4(1 / 13)
    p = p * z + f4(1 / 11)
    p = p * z + f4(1 / 9)
    p = p * z + f4(1 / 7)
    p = p * z + f4(1 / 5)
    p = p * z + f4(1 / 3)
    return f4(2) * (p * z * s + s)


@overload(logarithm_of_one_plus)
def _logarithm_of_one_plus(e):
    if e == types.float32:
        return lambda e: series_of_logarithm(e)
    return lambda e: math.log1p(e)


@inner
def added(sums):
    """Their sum; ``sums.sum()`` takes numba a quarter of a second to compile."""
    total = 0.0
    for part in range(sums.size):
        total += sums[part]
    return total


@kernel
def squared_error(P, T, gP, scale, parts):
    """The sum of (P - T)**2 times scale; gP <- 2 (P - T) scale. All (N, D)."""
    factor = like(P[0, 0], 2 * scale)
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        first, last = share(P.shape[0], 1, part, parts)
        whole = 0.0
        for n in range(first, last):
            for start in range(0, P.shape[1], STRETCH):
                stop = min(start + STRETCH, P.shape[1])
                p, t, gp = P[n, start:stop], T[n, start:stop], gP[n, start:stop]
                some = like(P[0, 0], 0)
                for i in range(p.size):
                    D = p[i] - t[i]
                    some += D * D
                    gp[i] = factor * D
                whole += some
        sums[part] = whole
        restore(setting)
    return added(sums) * scale


@kernel
def bce_with_logits(Z, T, gZ, scale, parts):
    """The sum of max(Z, 0) - Z T + ln(1 + e**-|Z|), times scale; gZ <- (sigmoid(Z) - T) scale. All (N, D)."""
    zero, one, factor = like(Z[0, 0], 0), like(Z[0, 0], 1), like(Z[0, 0], scale)
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        first, last = share(Z.shape[0], 1, part, parts)
        whole = 0.0
        for n in range(first, last):
            for start in range(0, Z.shape[1], STRETCH):
                stop = min(start + STRETCH, Z.shape[1])
                some, logits, targets, gz = zero, Z[n, start:stop], T[n, start:stop], gZ[n, start:stop]
                for i in range(logits.size):
                    z, t = logits[i], targets[i]
                    e = exponential(-abs(z))
                    some += (zero if z < zero else z) - z * t + logarithm_of_one_plus(e)
                    gz[i] = ((one if z >= zero else e) / (one + e) - t) * factor
                whole += some
        sums[part] = whole
        restore(setting)
    return added(sums) * scale


@inner
def shifted_exponentials(X, E):
    """E <- e**(X - max X) for one row; returns max X and the sum of E."""
    largest = X[0]
    for k in range(1, X.size):
        largest = X[k] if X[k] > largest else largest
    for k in range(X.size):
        E[k] = exponential(X[k] - largest)
    whole = like(X[0], 0)
    for k in range(X.size):
        whole += E[k]
    return largest, whole


@kernel
def cross_entropy(Z, t, gZ, scale, parts):
    """The sum of ln sum_k e**Z[n, k] - Z[n, t[n]], times scale; gZ <- (softmax(Z) - onehot(t)) scale. Z and gZ (N, K), t (N,)."""
    N, K = Z.shape
    factor = like(Z[0, 0], scale)
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        whole = 0.0
        for n in range(part * N // parts, (part + 1) * N // parts):
            largest, total = shifted_exponentials(Z[n], gZ[n])
            gap = (
                largest - Z[n, t[n]]
            )  # large numbers that nearly cancel: the condition, never true, makes it stay a term
            whole += math.log(total) + (like(gap, 0) if gap < 0 else gap)
            share, row = factor / total, gZ[n]
            for k in range(K):
                row[k] *= share
            row[t[n]] -= factor
        sums[part] = whole
        restore(setting)
    return added(sums) * scale
