"""How many threads the kernels use, and when they must do with one.

One pool owns the cores while tinyae computes: numba's. NumPy's and PyTorch's matrix products have pools of
their own, and threads that wait for work keep their core busy for a while: two pools that take turns can make
each other many times slower. The kernels multiply matrices themselves, so nothing of the user's is
switched off or set.
"""

import os

from ..errors import RangeError, brief, require_integer
from .loading import numba_works

GRAIN = 60_000  # multiplications that are worth waking a thread for
_forked = False
_most: int | None = None  # what there is
_used: int | None = None  # what is used: most, or what set_num_threads was told


def _in_child():
    global _forked, _most, _used
    # the pool's threads stayed in the parent; OpenMP ends a child that asks for them
    _forked, _most, _used = True, 1, 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def most_threads():
    """The threads of numba's pool that can be used: 1 where they cannot be had without risk."""
    global _most
    if _most is None:
        _most = threads_of_pool()[0]
    return _most


def threads_of_pool():
    """(number, layer) of numba's threads that can be used. Starts the pool.

    The layer "workqueue" takes a millisecond to wake up and ends the program when two threads of Python use it
    at once: with it, and with none, one thread is used.
    """
    if not numba_works():
        return 1, "none"
    import numba

    try:
        numba.set_num_threads(numba.get_num_threads())  # the documented way to have the pool started
        layer = numba.threading_layer()
    except (ValueError, RuntimeError, ImportError):
        return 1, "none"
    return (1 if layer == "workqueue" else numba.config.NUMBA_NUM_THREADS), layer


def set_num_threads(n: int) -> None:
    """Let the kernels use n threads.

    Raises
    ------
    RangeError
        n is below 1 or above what this process can use.
    """
    global _used
    n = require_integer("set_num_threads", "n", n, at_least=1)
    if n > most_threads():
        reason = "a forked process can use one" if _forked else f"this process can use {most_threads()}"
        raise RangeError(
            f"set_num_threads: {brief(n)} threads asked for, but {reason} (numba's pool; its size is set by "
            "NUMBA_NUM_THREADS before Python starts, its kind by NUMBA_THREADING_LAYER)."
        )
    _used = n


def get_num_threads() -> int:
    """How many threads the kernels use."""
    global _used
    if _used is None:
        _used = most_threads()
    return _used


def parts_of(work):
    """Into how many parts a piece of work is cut: one for little work, one for each thread for much.

    Work is counted in multiplications of a matrix product; what is done once for each number of an array counts as 8.
    """
    most = _used or get_num_threads()
    if most == 1 or work >= most * GRAIN:
        return most
    return int(work) // GRAIN or 1
