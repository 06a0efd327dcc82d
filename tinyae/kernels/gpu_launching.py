"""How many blocks a kernel on a GPU is run with, and arrays as kernels take them.

The numbers depend on sizes alone, never on the GPU: sums are then divided, and rounded, alike everywhere.
"""

THREADS = 256  # of a block
WARP = 32
EACH = 2  # elements of a thread, before there are so many blocks that each has more
LOAD = 16  # bytes that a thread loads at once
MOST_BLOCKS = 1024  # enough for the largest GPUs; beyond, each block does more


def blocks_for(n, each=EACH):
    """Blocks for n elements, so many for each thread."""
    return max(1, min(MOST_BLOCKS, -(-n // (each * THREADS))))


def blocks_for_rows(N):
    """Blocks for N rows, each of which is one warp's."""
    return max(1, min(MOST_BLOCKS, -(-N * WARP // THREADS)))


def contiguous(xp, array):
    """The array, or a copy in C order: kernels are given pointers and know no strides."""
    return array if array.flags.c_contiguous else xp.ascontiguousarray(array)
