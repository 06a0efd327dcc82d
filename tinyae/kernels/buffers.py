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


class Buffers:
    """The arrays of one thread."""

    def __init__(self):
        self.arrays = {}  # (shape, dtype) -> [number of the last request, array, array, ...]
        self.requests = 0

    def empty(self, shape, dtype):
        """An array with unknown contents, C-contiguous; it is nobody else's."""
        self.requests = now = self.requests + 1
        known = self.arrays.get((shape, dtype))
        if known is None:
            self.give_back()
            known = self.arrays[shape, dtype] = [now]
        known[0] = now
        for array in known:
            if sys.getrefcount(array) == FREE and array is not now:
                return array
        array = NUMPY.empty(shape, dtype)
        if array.nbytes <= KEPT:
            known.append(array)
        return array

    def give_back(self):
        """Before a new size is kept: forget those that were not asked for in a long time, and all, if too much is kept."""
        kept = sum(array.nbytes for _, *arrays in self.arrays.values() for array in arrays)
        late = self.requests - PATIENCE
        self.arrays = {key: known for key, known in self.arrays.items() if kept <= KEPT and known[0] > late}


_threads = threading.local()


def empty(shape, dtype):
    """An array with unknown contents for a kernel to write to, from those of this thread."""
    try:
        return _threads.buffers.empty(shape, dtype)
    except AttributeError:
        _threads.buffers = Buffers()
        return _threads.buffers.empty(shape, dtype)


def references():
    """What ``sys.getrefcount`` says of an array that only a list holds; Python's versions differ."""
    known = [NUMPY.empty((1,), float)]
    for array in known:
        return sys.getrefcount(array)


FREE = references()
