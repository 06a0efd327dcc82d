"""numba, imported late: the loops are loaded when the first one is called, and without numba never."""

import warnings
from importlib import import_module

ENOUGH = 1024  # elements, from which on a kernel is about as fast as NumPy, or faster
OLDEST_NUMBA = (0, 64)

_works = None


def numba_works():
    """Can the loops be compiled? If not, says once what that costs."""
    global _works
    if _works is None:
        try:
            import numba

            version = tuple(int(part) for part in numba.__version__.split(".")[:2])
            if version < OLDEST_NUMBA:
                raise ImportError(f"numba {numba.__version__} is older than 0.64")
            _works = True
        except ImportError as error:
            _works = False
            warnings.warn(
                f"kernels: numba cannot be used ({error}), so tinyae computes with its reference code in NumPy: the same "
                "results, several times slower. Install it with pip install 'numba>=0.64'.",
                RuntimeWarning,
                stacklevel=3,
            )
    return _works


class Loops:
    """The modules of ``loops/`` by name, each imported when it is first needed."""

    def __getattr__(self, name):
        module = import_module(f".loops.{name}", __package__)
        setattr(self, name, module)
        return module


loops = Loops()


def fits(array, dtype):
    """A C-contiguous array of the type; one that was unpickled has a type object of its own."""
    flags = array.flags
    return (array.dtype is dtype or array.dtype == dtype) and flags.c_contiguous and flags.aligned
