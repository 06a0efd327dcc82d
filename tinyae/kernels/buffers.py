"""Memory that is used again: the arrays that kernels write their results into.

A training step needs the same arrays each time: outputs, gradients. Asking the system for them anew costs
page faults. So what a kernel hands out is remembered here, and handed out again as soon as nobody
else holds it: no tape, no tensor, no variable or view of the user's. Python knows: it counts references.
"""

import sys
import threading

import numpy as np

from ..backend import NUMPY
from ..context import observing

ALIKE = 8  # groups of one size that are remembered; if more are in use at once, the others come from the system
KEPT = 1 << 30  # bytes that may be remembered, in each thread
PATIENCE = 2000  # requests after which what is unused is given back


class Group:
    """Arrays that are handed out together, and where in memory they begin."""

    __slots__ = ("arrays", "addresses", "nbytes", "asked")

    def __init__(self, shapes, dtype):
        self.arrays = [NUMPY.empty(shape, dtype) for shape in shapes]
        self.addresses = np.array([NUMPY.address(array) for array in self.arrays], np.int64)
        self.nbytes = sum(array.nbytes for array in self.arrays)
        self.asked = 0  # the number of the last request for such a group

    def is_free(self):
        """Does nobody else hold one of the arrays?"""
        for array in self.arrays:
            if sys.getrefcount(array) != FREE:
                return False
        return True


class Buffers:
    """The groups of one thread."""

    def __init__(self):
        self.groups = {}  # (shapes, dtype) -> groups, the oldest first
        self.requests = self.kept = 0  # how many there were; how many bytes are remembered

    def take(self, shapes, dtype):
        """A group with unknown contents, C-contiguous; its arrays are nobody else's."""
        self.requests += 1
        if self.requests % PATIENCE == 0 or self.kept > KEPT:
            self.give_back()
        known = self.groups.get((shapes, dtype))
        if known is None:
            known = self.groups[shapes, dtype] = []
        for group in known:
            if group.is_free():
                group.asked = self.requests
                return group
        group = Group(shapes, dtype)
        group.asked = self.requests
        if group.nbytes > KEPT:
            return group
        known.append(group)
        self.kept += group.nbytes
        if len(known) > ALIKE:  # forget the oldest: who holds one of its arrays keeps that one, not the others
            self.kept -= known.pop(0).nbytes
        return group

    def give_back(self):
        """Forget what was not asked for in a long time, and all, if too much is remembered."""
        late = self.requests - PATIENCE
        self.groups = {
            key: fresh
            for key, known in self.groups.items()
            if self.kept <= KEPT and (fresh := [group for group in known if group.asked > late])
        }
        self.kept = sum(group.nbytes for known in self.groups.values() for group in known)


_threads = threading.local()


def take(shapes, dtype):
    """A group of arrays with unknown contents for a kernel to write to, from those of this thread."""
    try:
        group = _threads.buffers.take(shapes, dtype)
    except AttributeError:
        _threads.buffers = Buffers()
        group = _threads.buffers.take(shapes, dtype)
    observer = observing.get()
    if observer is not None:
        observer.keep(group.arrays)  # now somebody holds them
    return group


def empty(shape, dtype):
    """One array."""
    return take((shape,), dtype).arrays[0]


def references():
    """What ``sys.getrefcount`` says in ``is_free`` of an array that only its list holds; Python's versions differ."""
    known = [NUMPY.empty((1,), float)]
    for array in known:
        count = sys.getrefcount(array)
    return count


FREE = references()
