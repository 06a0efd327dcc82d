"""A stand-in for CuPy on machines without a GPU: NumPy that refuses what CuPy refuses.

Its arrays live in a class of their own. Handing a host array to a device operation, or a device
array to NumPy, is a TypeError, as it is with CuPy; reductions give arrays of rank 0, not numbers.
Its kernels are those of the GPU, run by ``emulated_cuda``; where g++ is missing, there are none.
"""

import types
from importlib.util import find_spec

import numpy as np

from tinyae.backend import FLOATS, Backend
from tinyae.errors import BackendError
from tinyae.kernels import cuda

from . import emulated_cuda

OPERATORS = "add sub mul truediv floordiv mod pow matmul rshift lshift and or xor lt le gt ge eq ne".split()  # noqa: SIM905


class DeviceArray:
    """An array that only device operations may touch."""

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, array):
        self._array = array

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use to_host.")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._array, name)
        return on_device(value) if callable(value) else wrapped(value)

    def __getitem__(self, index):
        return wrapped(self._array[unwrapped(index)])

    def __setitem__(self, index, value):
        self._array[unwrapped(index)] = unwrapped(value)

    def __len__(self):
        return len(self._array)

    def __bool__(self):
        return bool(self._array)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    __neg__, __abs__, __invert__ = (lambda self, f=f: wrapped(f(self._array)) for f in (np.negative, np.abs, np.invert))


def operator(name):
    def apply(self, other):
        if getattr(type(other), "__array_ufunc__", True) is None and not isinstance(other, DeviceArray):
            return NotImplemented  # a Tensor: its own operator comes next
        return wrapped(getattr(self._array, name)(unwrapped(other)))

    return apply


def in_place(name):
    def apply(self, other):
        getattr(self._array, name)(unwrapped(other))
        return self

    return apply


for _name in OPERATORS:
    setattr(DeviceArray, f"__{_name}__", operator(f"__{_name}__"))
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(DeviceArray, f"__r{_name}__", operator(f"__r{_name}__"))
        setattr(DeviceArray, f"__i{_name}__", in_place(f"__i{_name}__"))


def unwrapped(value):
    """Device arrays as the arrays they hold; a host array is refused."""
    if isinstance(value, DeviceArray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array was given to a device operation.")
    if isinstance(value, (list, tuple)):
        return type(value)(unwrapped(v) for v in value)
    return value


def wrapped(value):
    """Arrays, and the numbers that reductions give, as device arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(wrapped(v) for v in value)
    return value


def on_device(function):
    """A NumPy function or method for device arrays."""

    def call(*arguments, **options):
        return wrapped(function(*unwrapped(list(arguments)), **{k: unwrapped(v) for k, v in options.items()}))

    if isinstance(function, np.ufunc):
        call.at = on_device(function.at)
    return call


def guarded(array):
    """A copy between guard bands."""
    copy = emulated_cuda.empty(array.shape, array.dtype)
    copy[...] = array
    return DeviceArray(copy)


class StrictModule(types.ModuleType):
    """What ``xp`` is on this device."""

    @staticmethod
    def empty(shape, dtype=float):
        return DeviceArray(emulated_cuda.empty(shape, dtype))

    def __getattr__(self, name):
        value = getattr(np, name)
        return on_device(value) if callable(value) and not isinstance(value, type) else value


class StrictBackend(Backend):
    """Registered as ``"strict"`` by conftest.py."""

    name = "strict"
    xp = StrictModule("strict")
    array_type = DeviceArray
    twins_in = ".kernels.gpu" if emulated_cuda.COMPILER and find_spec("tinyae.kernels.gpu") else None

    def __init__(self):
        self.reads = 0
        self._ticket = guarded(np.zeros(1, np.uint32))

    def asarray(self, data, dtype=None):
        return data if isinstance(data, DeviceArray) else guarded(np.array(data, dtype=dtype))

    def to_host(self, array):
        return array._array.copy()

    def address(self, array):
        return super().address(array._array)

    def erf(self, array):
        return wrapped(super().erf(array._array))

    # ------------------------------------------------------------ what a GPU's backend offers

    def launch(self, file, kernel, dtype, blocks, threads, *arguments):
        """Run a kernel of ``tinyae/kernels/cuda``."""
        self.launch_text(cuda.source(file, np.dtype(dtype)), kernel, blocks, threads, *arguments)

    def launch_text(self, text, kernel, blocks, threads, *arguments):
        """Run a kernel of any text."""
        arguments = [emulated_cuda.Pointer(a._array) if isinstance(a, DeviceArray) else a for a in arguments]
        emulated_cuda.kernels_of(text).launch(kernel, blocks, threads, arguments)

    def ticket(self):
        """A uint32 of 0, for ``is_last_block``."""
        if self._ticket._array[0]:
            raise emulated_cuda.LaunchError("a kernel has left the ticket at something else than 0.")
        return self._ticket

    def matmul(self, A, B, transpose_a=False, transpose_b=False):
        """op(A) @ op(B) as a new array."""
        for X in (A, B):
            if not isinstance(X, DeviceArray):
                raise BackendError(f"matmul: was given a {type(X).__name__}; expected a device array.")
            if X.ndim != 2 or X.dtype not in FLOATS or X.dtype != A.dtype or not X.flags.c_contiguous:
                raise BackendError(
                    f"matmul: was given {A.dtype} {A.shape} {A.strides} and {B.dtype} {B.shape} {B.strides}; "
                    "expected C-contiguous arrays of rank 2 and of one float type."
                )
        a, b = (X._array.T if t else X._array for X, t in ((A, transpose_a), (B, transpose_b)))
        Y = self.empty((a.shape[0], b.shape[1]), A.dtype)
        np.matmul(a, b, out=Y._array)
        return Y
