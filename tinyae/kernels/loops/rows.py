"""What is done to a data set: looking through it once, and copying the rows of a batch together."""

from numba import prange

from ..compiling import kernel
from .activating import like
from .products import share

LANES = 64


@kernel
def take(data, index, out, parts):
    """out[k] <- data[index[k]]. Shapes: data (N, D), index (B,) of int64 in 0..N-1, out (B, D); float types may differ."""
    for part in prange(parts):
        first, last = share(len(index), 1, part, parts)
        for k in range(first, last):
            source, target = data[index[k]], out[k]
            for d in range(source.size):
                target[d] = source[d]


@kernel
def survey(X, found, parts):
    """found (parts, 3, 64) <- smallest and largest numbers of a part of X, and sums that are NaN if one is not finite.

    64 results for each part, of every 64th number: so that the compiler can use vectors, which NaN forbids it in a single
    minimum. X is flat and not empty.
    """
    zero = like(X[0], 0)
    for part in prange(parts):
        first, last = share(X.size, 1, part, parts)
        low, high, rest = found[part, 0], found[part, 1], found[part, 2]
        low[:], high[:], rest[:] = X[0], X[0], 0
        for start in range(first, last, LANES):
            x = X[start : min(start + LANES, last)]
            for i in range(x.size):
                low[i] = x[i] if x[i] < low[i] else low[i]
                high[i] = x[i] if x[i] > high[i] else high[i]
                rest[i] += x[i] * zero  # 0, but NaN for infinity and NaN
