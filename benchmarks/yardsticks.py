"""What the machine itself can do, measured beside the kernels: the 100 % of their shares.

* Matrix products: NumPy's product of two float32 matrices, 1024 x 1024, with as many threads as it takes.
* Everything else: copying from one array to another, again and again. Both together take up as much memory as the
  kernel's arrays, so they stand in the same caches. It is done by ``np.copyto`` in one thread or by a loop in
  all threads of the kernels' pool, whichever is faster for this size; both are measured in every round.

Above 100 %: a kernel that reads more than it writes, or writes where it has read, can move more bytes than a copy,
since writing elsewhere costs more. Far below: it computes more than it moves (an exponential for each number), or
the call itself takes most of the time.
"""

from itertools import cycle

import numpy as np
from numba import prange

from tinyae import get_num_threads
from tinyae.backend import NUMPY
from tinyae.kernels.compiling import kernel

SIDE = 1024


@kernel
def copy_loop(source, target, parts):
    """target <- source, both flat, in so many parts."""
    for part in prange(parts):
        start, stop = part * source.size // parts, (part + 1) * source.size // parts
        s, t = source[start:stop], target[start:stop]
        for i in range(s.size):
            t[i] = s[i]


def product():
    """({name: run}, additions and multiplications of one run) of NumPy's matrix product."""
    A, B = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    C = np.empty_like(A)
    return {"np.matmul": lambda: np.matmul(A, B, out=C)}, 2 * SIDE**3


def copies(nbytes, span):
    """({name: run}, bytes of one run) of two ways to copy from one array to another, nbytes together.

    With a ``span`` above that, it is in each run from another part of an array of so many bytes.
    """
    size = nbytes // 8  # float32 numbers, each read and written
    source, target = NUMPY.empty((max(span // 4, size),), np.float32), NUMPY.empty((size,), np.float32)
    source[:], target[:] = 1, 0
    turn = cycle([source[start : start + size] for start in range(0, source.size - size + 1, size)])
    threads = get_num_threads()
    ways = {
        "np.copyto": lambda: np.copyto(target, next(turn)),
        "all threads": lambda: copy_loop(next(turn), target, threads),
    }
    return ways, 8 * size
