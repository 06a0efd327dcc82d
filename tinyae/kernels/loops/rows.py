"""Copying the rows of a batch together."""

from numba import prange

from ..compiling import kernel
from .products import share
from .vectors import REGISTER, fetch


@kernel
def take(data, index, out, parts):
    """out[k] <- data[index[k]]. Shapes: data (N, D), index (B,) int64 in 0..N-1, out (B, D); float types may differ."""
    for part in prange(parts):
        first, last = share(len(index), 1, part, parts)
        for k in range(first, last):
            source, target = data[index[k]], out[k]
            if k + 1 < last:  # it lies anywhere: on its way while this one is copied
                for d in range(0, source.size, REGISTER // data.itemsize):
                    fetch(data, index[k + 1], d)
            for d in range(source.size):
                target[d] = source[d]
