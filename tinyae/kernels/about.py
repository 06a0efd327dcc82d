"""What ``tinyae info`` says of the kernels."""

import os
import warnings

from .loading import numba_works
from .threads import get_num_threads, threads_of_pool


def kernel_state():
    """{what: how it is}: can they be compiled, with which threads, and where compiled ones are kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not numba_works():
            why = "; ".join(str(warning.message) for warning in caught) or "numba cannot be used"
            return {"CPU": f"none: {why}"}
        import numba

        if numba.config.DISABLE_JIT:
            return {"CPU": "the loops run as plain Python: NUMBA_DISABLE_JIT is set"}
        from .compiling import cache_folder

        threads, layer = threads_of_pool()
        folder = cache_folder()
    note = " (numba's own layer, which must not be used from two threads: one thread)" if layer == "workqueue" else ""
    return {
        "CPU": "numba; python -m benchmarks kernels measures them",
        "threads": f"{get_num_threads()} of {threads}, threading layer {layer}{note}",
        "compiled": f"{size_of(folder)} in {folder}" if folder else "not kept: no folder can be written to",
    }


def size_of(folder):
    """How much a folder holds, in words."""
    sizes = [os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
