"""Losses with their gradients, in one pass over the data.

Each writes the gradient of the *reduced* loss, times ``scale`` (1 / N for a mean over N terms), and into L () the
sum of the terms times ``scale``. Terms are added up in stretches in their own type, so that the compiler can use
vectors, and the stretches in float64.
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


@inner
def squared_error_of(p, t, gp, scale):
    """The sum of (p - t)**2 over one example; gp <- 2 (p - t) scale."""
    factor, whole = like(p[0], 2 * scale), 0.0
    for start in range(0, p.size, STRETCH):
        stop = min(start + STRETCH, p.size)
        q, u, gq = p[start:stop], t[start:stop], gp[start:stop]
        some = like(p[0], 0)
        for i in range(q.size):
            D = q[i] - u[i]
            some += D * D
            gq[i] = factor * D
        whole += some
    return whole


@inner
def bce_with_logits_of(z, t, gz, scale):
    """The sum of max(z, 0) - z t + ln(1 + e**-|z|) over one example; gz <- (sigmoid(z) - t) scale."""
    zero, one, factor, whole = like(z[0], 0), like(z[0], 1), like(z[0], scale), 0.0
    for start in range(0, z.size, STRETCH):
        stop = min(start + STRETCH, z.size)
        q, u, gq = z[start:stop], t[start:stop], gz[start:stop]
        some = zero
        for i in range(q.size):
            e = exponential(-abs(q[i]))
            some += (zero if q[i] < zero else q[i]) - q[i] * u[i] + logarithm_of_one_plus(e)
            gq[i] = ((one if q[i] >= zero else e) / (one + e) - u[i]) * factor
        whole += some
    return whole


@kernel
def squared_error(P, T, gP, L, scale, parts):
    """L <- the sum of (P - T)**2 times scale; gP <- 2 (P - T) scale. All (N, D)."""
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        first, last = share(len(P), 1, part, parts)
        whole = 0.0
        for n in range(first, last):
            whole += squared_error_of(P[n], T[n], gP[n], scale)
        sums[part] = whole
        restore(setting)
    L[()] = added(sums) * scale


@kernel
def bce_with_logits(P, T, gP, L, scale, parts):
    """L <- the sum of max(P, 0) - P T + ln(1 + e**-|P|), times scale; gP <- (sigmoid(P) - T) scale. All (N, D)."""
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        first, last = share(len(P), 1, part, parts)
        whole = 0.0
        for n in range(first, last):
            whole += bce_with_logits_of(P[n], T[n], gP[n], scale)
        sums[part] = whole
        restore(setting)
    L[()] = added(sums) * scale


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
def cross_entropy(Z, t, gZ, L, scale, parts):
    """L <- the sum of ln sum_k e**Z[n, k] - Z[n, t[n]], times scale; gZ <- (softmax(Z) - onehot(t)) scale.

    Z and gZ (N, K), t (N,).
    """
    N, K = Z.shape
    factor = like(Z[0, 0], scale)
    sums = np.zeros(parts)
    for part in prange(parts):
        setting = flush_subnormals()
        whole = 0.0
        first, last = share(N, 1, part, parts)
        for n in range(first, last):
            largest, total = shifted_exponentials(Z[n], gZ[n])
            # large numbers that nearly cancel: the condition, never true, makes their difference stay a term
            gap = largest - Z[n, t[n]]
            whole += math.log(total) + (like(gap, 0) if gap < 0 else gap)
            portion, row = factor / total, gZ[n]
            for k in range(K):
                row[k] *= portion
            row[t[n]] -= factor
        sums[part] = whole
        restore(setting)
    L[()] = added(sums) * scale
