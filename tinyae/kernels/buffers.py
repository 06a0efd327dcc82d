"""Memory that is used again: the arrays that kernels write their results into.

A training step needs the same arrays each time: outputs, gradients. Asking the system for them anew costs
page faults. So each array that a kernel hands out is remembered here, and handed out again as soon as nobody
else holds it: no tape, no tensor, no variable or view of the user's. Python knows: it counts references.
"""

import sys
import threading

from ..backend import NUMPY

KEPT = 1 << 30  # bytes that may wait for another use, in each thread
PATIENCE = 2000  # requests after which an unused array is given back


class Buffers(threading.local):
    """The arrays of one thread; another thread has its own, so nothing is locked."""

    def __init__(self):
        self.arrays = {}  # (shape, dtype) -> list of arrays
        self.used = {}  # (shape, dtype) -> the number of the last request
        self.requests = 0

    def empty(self, shape, dtype):
        """An array with unknown contents, C-contiguous; it is nobody else's."""
        key = (shape, dtype)
        self.requests += 1
        if self.requests % PATIENCE == 0:
            self.give_back()
        self.used[key] = self.requests
        known = self.arrays.get(key)
        if known is None:
            known = self.arrays[key] = []
        for array in known:
            if sys.getrefcount(array) == FREE:
                return array
        array = NUMPY.empty(shape, dtype)
        if array.nbytes <= KEPT:
            known.append(array)
        return array

    def give_back(self):
        """Forget the sizes that were not asked for in a long time, and all, if too much is kept."""
        kept = sum(array.nbytes for arrays in self.arrays.values() for array in arrays)
        for key in [k for k in self.arrays if kept > KEPT or self.used[k] <= self.requests - PATIENCE]:
            del self.arrays[key], self.used[key]


def references():
    """What ``sys.getrefcount`` says of an array that only a list holds; Python's versions differ."""
    known = [NUMPY.empty((1,), float)]
    for array in known:
        return sys.getrefcount(array)


FREE = references()
buffers = Buffers()
