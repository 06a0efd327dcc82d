"""The counter-based generator of ``random.py``, one block of four numbers at a time."""

import numpy as np
from numba import prange

from ..compiling import kernel

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
STEP0, STEP1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel
def words(first_block, low, high, purpose, key0, key1, out, parts):
    """out (B, 4) uint64 <- the blocks from ``first_block`` on, of Philox 4x32-10. All numbers are uint64."""
    blocks = out.shape[0]
    for part in prange(parts):
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            c0, c1, c2, c3 = first_block + np.uint64(block), low, high, purpose
            k0, k1 = key0, key1
            for _ in range(10):
                p0, p1 = c0 * M0, c2 * M1
                c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
                k0, k1 = (k0 + STEP0) & LOW, (k1 + STEP1) & LOW
            out[block, 0], out[block, 1], out[block, 2], out[block, 3] = c0, c1, c2, c3
