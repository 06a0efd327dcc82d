"""The array library as one object: NumPy on the host, CuPy on a GPU.

An operation is written once, in array code on ``xp``; ``xp`` is the module of the backend its
arrays live on. The backend travels with the array: there is no global "current device". Arrays
never move by themselves. This is the only module that imports CuPy, and only when asked to.
"""

import ctypes
import math
from contextvars import ContextVar
from importlib import import_module

import numpy as np

from .errors import BackendError, lookup

LINE = 64  # bytes that a processor's cache moves at a time
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
KERNELS = ("fast", "reference")  # what use_kernels may be told
kernels = ContextVar("tinyae.kernels", default="fast")
matmul_precision = ContextVar("tinyae.matmul_precision", default="float32")


class Backend:
    """NumPy; and the interface that another array library must offer.

    Attributes
    ----------
    name : str
        What a user types: ``"numpy"`` or ``"cupy"``.
    xp : module
        The array library itself.
    array_type : type
        The class of its arrays.
    """

    name = "numpy"
    xp = np
    array_type = np.ndarray
    twins_in: str | None = None  # the module whose TWINS are this backend's kernels
    _twins: dict | None = None
    _ones: dict | None = None

    def twin(self, of):
        """The fast implementation of an operation, an optimizer or a function of that name, or None."""
        if kernels.get() == "reference":
            return None
        if self._twins is None:
            self._twins = import_module(self.twins_in, __package__).TWINS if self.twins_in else {}
        return self._twins.get(of)

    def asarray(self, data, dtype=None):
        """A host array, list or number as an array of this backend; its own arrays pass unchanged."""
        return self.xp.asarray(data, dtype=dtype)

    def empty(self, shape, dtype):
        """A new array with unknown contents."""
        return self.xp.empty(shape, dtype)

    def one(self, dtype):
        """The number 1 as an array of rank 0, always the same one: with it every backward pass begins. Not to be changed."""
        if self._ones is None:
            self._ones = {float_type: self.xp.ones((), float_type) for float_type in FLOATS}
        return self._ones[dtype]

    def copy(self, array, dtype):
        """The array in another type or not, in memory of its own."""
        copy = self.empty(array.shape, dtype)
        copy[...] = array
        return copy

    def to_host(self, array):
        """The array as a NumPy array: itself on the host, a copy from a device."""
        return array

    def read(self, array):
        """The only number of an array, as a Python number."""
        return array.item()

    def erf(self, array):
        """The error function, which NumPy leaves to SciPy."""
        from scipy.special import erf

        return erf(array)

    def address(self, array):
        """Where in memory the array begins."""
        return array.__array_interface__["data"][0]

    def synchronize(self):
        """Wait until the device has finished all that was asked of it."""

    def about(self):
        """Library and device in a few words."""
        return f"NumPy {np.__version__}"

    def __repr__(self):
        return f"<backend {self.name}>"


class HostBackend(Backend):
    """NumPy with the kernels for the CPU."""

    twins_in = ".kernels.cpu"

    def empty(self, shape, dtype):
        """A new array with unknown contents that begins with a cache line.

        Two threads that write to one line wait for each other, even if they write different numbers; so rows that are
        divided among threads should be divided between lines.
        """
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        memory = bytearray(size + LINE)
        start = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % LINE
        return np.ndarray(shape, dtype, memory, start)

    def address(self, array):
        """Where in memory the array begins."""
        try:
            return ctypes.addressof(ctypes.c_char.from_buffer(array))  # four times as fast as the array's own answer
        except (TypeError, ValueError, BufferError):  # read-only, or in no order that ctypes knows
            return super().address(array)


class CupyBackend(Backend):
    """CuPy: the same array code, on an NVIDIA GPU."""

    name = "cupy"

    def __init__(self):
        try:
            import cupy
        except ImportError as error:
            raise BackendError(
                "backend 'cupy': the CuPy library is not installed. Install it for your CUDA version with "
                "pip install 'cupy-cuda12x[ctk]' or pip install 'cupy-cuda13x[ctk]' (one of them, not both)."
            ) from error
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            devices, reason = 0, str(error)
        else:
            reason = "CUDA reports no device"
        if devices == 0:
            raise BackendError(
                f"backend 'cupy': CuPy {cupy.__version__} is installed, but there is no usable GPU ({reason}). "
                "Check the NVIDIA driver with nvidia-smi, or use the backend 'numpy'."
            )
        self.xp = cupy
        self.array_type = cupy.ndarray

    def to_host(self, array):
        return self.xp.asnumpy(array)

    def erf(self, array):
        from cupyx.scipy.special import erf

        return erf(array)

    def address(self, array):
        return array.data.ptr

    def about(self):
        runtime = self.xp.cuda.runtime
        names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
        return f"CuPy {self.xp.__version__}, CUDA {runtime.runtimeGetVersion()}, {', '.join(names)}"

    def synchronize(self):
        self.xp.cuda.get_current_stream().synchronize()


BACKENDS = ("numpy", "cupy")  # those that tinyae brings
NUMPY = HostBackend()
_makers = {"numpy": lambda: NUMPY, "cupy": CupyBackend}
_made = {"numpy": NUMPY}


def get_backend(name: "str | Backend") -> "Backend":
    """The backend of that name (a Backend passes unchanged).

    Raises
    ------
    RangeError
        The name is unknown.
    BackendError
        Its library or its device is missing; the message says which, and how to install it.
    """
    if isinstance(name, Backend):
        return name
    maker = lookup("backend", name, _makers)
    if name not in _made:
        _made[name] = maker()
    return _made[name]


def register_backend(name, maker):
    """Make ``get_backend(name)`` answer with ``maker()``: for another array library, or a test's stand-in."""
    _makers[name] = maker
    _made.pop(name, None)


def backend_of(array):
    """The backend an array belongs to, or None for what is no backend's array (lists, numbers)."""
    if isinstance(array, np.ndarray):
        return NUMPY
    for backend in _made.values():
        if isinstance(array, backend.array_type):
            return backend
    if type(array).__module__.split(".")[0] == "cupy":
        return get_backend("cupy")
    return None


def backend_of_xp(xp):
    """The backend whose array library is ``xp``."""
    for backend in _made.values():
        if backend.xp is xp:
            return backend
    raise BackendError(f"no backend uses the array library {xp!r}.")
