"""Random numbers and batches on the GPU, by ``cuda/philox.cu`` and ``cuda/rows.cu``.

All of them can be part of a CUDA graph, which repeats a launch with the arguments it had: so the step that random
numbers are drawn for, the place in the data set and the place in the list of losses can stand on the device, as int64
arrays of size 1, and the kernels themselves count on.
"""

import numpy as np

from .gpu_launching import LOAD, MOST_BLOCKS, THREADS, blocks_for

LOW = 0xFFFFFFFF
ANY = np.float32  # for kernels in which no REAL takes part

# ---------------------------------------------------------------- random numbers


def key_and_counter(seed, step, purpose):
    """The arguments that all kernels of random numbers share.

    ``step`` is a number, or a pair (int64 array (1,) on the device, number): then it is the sum of both.
    """
    steps, step = step if isinstance(step, tuple) else (None, step)
    return seed & LOW, (seed >> 32) & LOW, purpose, steps, step


def words(backend, seed, step, purpose, block, blocks):
    """``blocks`` blocks of four random 32-bit numbers from number ``block`` on, uint64 (blocks * 4,)."""
    out = backend.empty((blocks * 4,), np.uint64)
    given = key_and_counter(seed, step, purpose)
    backend.launch("philox", "words", ANY, blocks_for(blocks, 1), THREADS, out, blocks, block, *given)
    return out


def drawn(kernel, backend, size, seed, step, purpose):
    """``size`` float32 numbers by that kernel, four to a thread."""
    out = backend.empty((size,), np.float32)
    given = key_and_counter(seed, step, purpose)
    backend.launch("philox", kernel, ANY, blocks_for(-(-size // 4), 1), THREADS, out, size, *given)
    return out


def uniform(backend, size, seed, step, purpose):
    """``size`` numbers in [0, 1), float32 (size,): those of ``Generator.uniform``."""
    return drawn("uniform", backend, size, seed, step, purpose)


def normal(backend, size, seed, step, purpose):
    """``size`` standard normal numbers, float32 (size,): those of ``Generator.normal``, up to their rounding."""
    return drawn("normal", backend, size, seed, step, purpose)


def advance(backend, counter, by):
    """counter += by, for an int64 array (1,) on the device."""
    backend.launch("philox", "advance_counter", ANY, 1, 1, counter, by)


# ---------------------------------------------------------------- batches


def gather(backend, data, order, cursor, out):
    """out[r] = data[order[cursor + r]], for every example of a batch.

    Parameters
    ----------
    data : array (N, ...), float32 or float64, or int64 for labels
    order : int64 array (M,)
        Where in ``data`` each example is.
    cursor : int64 array (1,)
        Where in ``order`` the batch begins.
    out : array (B, ...) of data's type

    All are contiguous arrays on the device. An example that does not exist is NaN, a label -1.
    """
    rows, width = len(out), out.size // len(out)
    labels, items = data.dtype == np.int64, width
    row_bytes, places = width * data.dtype.itemsize, backend.address(data) | backend.address(out)
    packed = not labels and row_bytes % LOAD == 0 and places % LOAD == 0
    if packed:
        items = row_bytes // LOAD
    across = min(1 << (items - 1).bit_length(), THREADS)  # threads at a row
    down = THREADS // across
    blocks = min(-(-rows // down), MOST_BLOCKS)
    pieces = min(-(-items // (4 * across)), max(1, MOST_BLOCKS // blocks))  # blocks at a row
    arguments = data, len(data), width, order, len(order), cursor, out, rows
    if labels:
        backend.launch("rows", "gather_labels", ANY, (blocks, pieces), (across, down), *arguments)
    else:
        backend.launch("rows", "gather", data.dtype, (blocks, pieces), (across, down), *arguments, packed)


def end_of_batch(backend, loss, penalty, losses, place, cursor, batch_size):
    """losses[:, place] = loss, penalty; place += 1; cursor += batch_size: what is left to do after a step.

    Parameters
    ----------
    loss : array of rank 0
    penalty : array of rank 0, or None for 0
    losses : float64 array (2, steps)
    place, cursor : int64 arrays (1,)
    """
    arguments = loss, penalty, losses, losses.shape[1], place, cursor, batch_size
    backend.launch("rows", "end_of_batch", loss.dtype, 1, 1, *arguments)


TWINS: dict[object, object] = {
    "philox": words,
    "uniform": uniform,
    "normal": normal,
    "advance": advance,
    "gather": gather,
    "end_of_batch": end_of_batch,
}
