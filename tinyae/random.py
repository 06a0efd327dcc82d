"""Random numbers from a counter: Philox 4x32-10.

An ordinary generator walks: number 1,000 exists only after the 999 before it. A counter-based one
*computes* number 1,000 from its index, as a hash does. So the same key gives the same weights, the
same batches and the same dropout masks on every backend, in any order, on any number of threads.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

import math
import threading

import numpy as np

from .backend import backend_of_xp
from .errors import lookup, require_integer

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions
LOW = 0xFFFFFFFF
PIECE = 1 << 20

# What the numbers are for. Each purpose has a sequence of its own, so adding a dropout layer
# changes neither the initial weights nor the order of the batches.
PURPOSES = {"init": 1, "shuffle": 2, "dropout": 3, "noise": 4, "sample": 5}


def philox(xp, counter, key):
    """Ten rounds of Philox 4x32.

    Parameters
    ----------
    counter : four values or arrays, unsigned 32-bit numbers held in uint64
        The index of the block. Arrays broadcast.
    key : two ints below 2**32

    Returns
    -------
    four uint64 arrays, each holding random 32-bit numbers
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0 = c0 * MULTIPLIERS[0]  # 32 x 32 -> 64 bits: the high half is mixed, the low half kept
        p1 = c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & LOW, (p0 >> 32) ^ c3 ^ k1, p0 & LOW
        k0 = (k0 + KEY_STEPS[0]) & LOW
        k1 = (k1 + KEY_STEPS[1]) & LOW
    return c0, c1, c2, c3


class Generator:
    """Random arrays keyed by (seed, purpose, step).

    Every draw for a purpose takes that purpose's next step, unless the caller names the step.

    Parameters
    ----------
    seed : int
        At least 0; its lowest 64 bits are the key.
    """

    def __init__(self, seed):
        self.seed = require_integer("Generator", "seed", seed, at_least=0)
        self._steps = dict.fromkeys(PURPOSES, 0)
        self._lock = threading.Lock()

    def next_step(self, purpose):
        """Take the purpose's next step number."""
        lookup("purpose of random numbers", purpose, PURPOSES)
        with self._lock:
            step = self._steps[purpose]
            self._steps[purpose] = step + 1
        return step

    def state_dict(self):
        """The seed and the next step of every purpose: all there is to save."""
        return {"seed": self.seed, "steps": dict(self._steps)}

    def load_state_dict(self, state):
        """Go on from a saved state."""
        self.seed, self._steps = state["seed"], {**dict.fromkeys(PURPOSES, 0), **state["steps"]}

    def bits(self, size, purpose, step=None, xp=np, start=0):
        """``size`` random 32-bit numbers, uint64 (size,): those from number ``start`` on, a multiple of 4."""
        if step is None:
            step = self.next_step(purpose)
        backend = backend_of_xp(xp)
        fast = backend.twin("philox")
        if fast is not None:
            words = fast(backend, self.seed, step, PURPOSES[purpose], start // 4, -(-size // 4))
            if words is not None:
                return words[:size]
        # the counter: block index, low and high half of the step, purpose
        block = xp.arange(start // 4, start // 4 - (-size // 4), dtype=np.uint64)
        rest = [xp.full((1,), part, dtype=np.uint64) for part in (step & LOW, step >> 32, PURPOSES[purpose])]
        words = philox(xp, [block, *rest], (self.seed & LOW, (self.seed >> 32) & LOW))
        return xp.stack(words, axis=1).reshape(-1)[:size]

    def uniform(self, shape, purpose, step=None, xp=np):
        """Float32 numbers in [0, 1), multiples of 2**-24: exact, so equal on every backend."""
        drawn = self._by_kernel("uniform", shape, purpose, step, xp)
        if drawn is not None:
            return drawn
        bits = self.bits(math.prod(shape), purpose, step, xp)
        return ((bits >> 8).astype(np.float32) * np.float32(2**-24)).reshape(shape)

    def normal(self, shape, purpose, step=None, xp=np):
        r"""Standard normal float32 numbers by Box and Muller (1958).

        With :math:`u, v` uniform, :math:`\sqrt{-2 \ln u}\,\cos 2\pi v` and the same with
        :math:`\sin` are independent and normal. Equal on every backend to the rounding of the
        library's log, cos and sin.
        """
        drawn = self._by_kernel("normal", shape, purpose, step, xp)
        if drawn is not None:
            return drawn
        size = math.prod(shape)
        bits = self.bits(size + size % 2, purpose, step, xp).reshape(-1, 2)
        u = ((bits[:, 0] >> 8).astype(np.float64) + 1.0) * 2.0**-24  # (0, 1]: the logarithm is finite
        v = (bits[:, 1] >> 8).astype(np.float64) * 2.0**-24
        radius, angle = xp.sqrt(-2.0 * xp.log(u)), 2.0 * math.pi * v
        pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
        return pairs.reshape(-1)[:size].reshape(shape).astype(np.float32)

    def _by_kernel(self, kind, shape, purpose, step, xp):
        """The numbers in one launch on a GPU, where there is a kernel; else None.

        There ``step`` may also be a pair, (where a number stands on the device, what is added to it): see ``graph.py``.
        """
        backend = backend_of_xp(xp)
        fast = backend.twin(kind)
        if fast is None:
            return None
        step = self.next_step(purpose) if step is None else step
        return fast(backend, math.prod(shape), self.seed, step, PURPOSES[purpose]).reshape(shape)

    def permutation(self, n, purpose="shuffle", step=None, xp=np):
        """The numbers 0..n-1 in random order, int64 (n,): the order of random 64-bit keys."""
        step = self.next_step(purpose) if step is None else step
        keys = xp.empty(n, np.uint64)
        for start in range(0, n, PIECE):  # in pieces: for millions of examples Philox would need gigabytes at once
            size = min(PIECE, n - start)
            bits = self.bits(2 * size, purpose, step, xp, 2 * start).reshape(size, 2)
            keys[start : start + size] = (bits[:, 0] << 32) | bits[:, 1]
        if xp is not np:  # a GPU's sort heeds them anyway, and to look for them would be to wait for it
            return xp.argsort(keys, kind="stable")
        order = xp.argsort(keys)
        ordered = keys[order]
        # equal keys, which hardly ever happen, stay as they are; a sort that heeds them takes five times as long
        return xp.argsort(keys, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
