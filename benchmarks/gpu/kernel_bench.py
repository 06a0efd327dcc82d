"""The process in which ``kernels`` runs on the GPU."""

import math

import numpy as np

import tinyae as ta
from tinyae.backend import NUMPY

from ..kernels import largest_difference
from . import device
from .clock import clock_of
from .operations import Place, operations

LARGEST, SMALL = 1 << 26, 1 << 12  # numbers of the largest array: where time is measured, where results are compared
ARRAYS = 16  # of the largest size that must fit into the free memory
BLOCK, CALLS = 20.0, 200  # ms of a timed block, about, and calls in it at most


class KernelBench:
    """What that process can do."""

    def start(self, largest=LARGEST):
        """Choose sizes; returns [(title, group, flops, bytes, precisions), ...], and how many numbers the largest array has."""
        free = device.free_memory()
        self.n = largest
        while free is not None and 4 * ARRAYS * self.n > free:
            self.n //= 2
        self.small, self.operations = list(operations(min(SMALL, self.n))), list(operations(self.n))
        self.clock = clock_of(device.backend())
        return [(one.title, one.group, one.flops, one.nbytes, one.precisions) for one in self.operations], self.n

    def check(self, i, precision):
        """How far its results are from those of the definition in NumPy, in parts of the largest number."""
        ta.set_matmul_precision(precision)
        found = [self.on_host(array) for array in self.small[i].make(Place(device.backend()))()]
        with ta.use_kernels("reference"):
            expected = self.small[i].make(Place(NUMPY))()
        return largest_difference([np.asarray(array) for array in expected], found)

    def on_host(self, array):
        """As a NumPy array."""
        return np.asarray(device.backend().to_host(array))

    def measure(self, i, precision, rounds):
        """[ms of a run, one per round] that the GPU computes."""
        ta.set_matmul_precision(precision)
        place, one = Place(device.backend()), self.operations[i]
        run = one.make(place)
        besides = one.less(place) if one.less else None
        times = []
        for _ in range(rounds):
            time = self.time(run)
            times.append(time if besides is None else time - self.time(besides))
        del run, besides
        device.backend().release()  # the next one's arrays have other sizes
        return times

    def time(self, run):
        """Milliseconds of the GPU for one run, from a block of them."""
        run()  # what is compiled or allocated only once
        alone = self.clock.milliseconds(run)
        calls = max(1, min(CALLS, math.ceil(BLOCK / max(alone, 1e-3))))

        def block():
            for _ in range(calls):
                run()

        found = self.clock.kernel_milliseconds(block)
        return (self.clock.milliseconds(block) if found is None else found) / calls

    def yardsticks(self, precision, rounds):
        """((bytes, [ms]) of a copy, (arithmetic, [ms]) of a matrix product): what the GPU itself can do."""
        ta.set_matmul_precision(precision)
        place, xp = Place(device.backend()), device.backend().xp
        source, side = place.array(self.n), max(8, int(self.n**0.5) // 2)
        target, A, B = xp.empty_like(source), place.array(side, side), place.array(side, side)

        def copy():
            target[...] = source

        copies = [self.time(copy) for _ in range(rounds)]
        products = [self.time(lambda: device.backend().matmul(A, B)) for _ in range(rounds)]
        return (8 * self.n, copies), (2 * side**3, products)
