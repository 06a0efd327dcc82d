"""A stand-in for a GPU on machines without one: NumPy that refuses what CuPy refuses, with the GPU's kernels.

Its arrays live in a class of their own. Handing a host array to a device operation, or a device
array to NumPy, is a TypeError, as it is with CuPy; reductions give arrays of rank 0, not numbers. Kernels are run
by ``emulated_cuda`` (where g++ is missing, there are none), and graphs are noted by ``emulated_graph``.
"""

import contextlib
import math
import types

import numpy as np

from tinyae.backend import FLOATS, Backend
from tinyae.errors import BackendError
from tinyae.kernels import cuda

from . import emulated_cuda
from .emulated_graph import kept, stream

OPERATORS = "add sub mul truediv floordiv mod pow matmul rshift lshift and or xor lt le gt ge eq ne".split()  # noqa: SIM905
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
READS = ("item", "tolist", "tobytes")  # methods that give the host values
HOST_MEMORY = ("data", "ctypes", "flat", "tofile", "dump", "dumps")  # what NumPy has and CuPy has not, or has otherwise


class DeviceArray:
    """An array that only device operations may touch."""

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, array):
        self._array = kept(array)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use to_host.")

    def __getattr__(self, name):
        if name.startswith("__") or name in HOST_MEMORY:
            raise AttributeError(name)
        if name in READS:
            return lambda *arguments: getattr(self._read(name), name)(*arguments)
        value = getattr(self._array, name)
        return method(name, self) if callable(value) else wrapped(value)

    def _read(self, how):
        """The values, for the host; no backend is asked, so none can count it."""
        stream.refuse(f"{how} reads values")
        stream.reads += 1
        stream.silent_reads += 1
        return self._array

    @property
    def base(self):
        base = self._array.base
        return None if isinstance(base, emulated_cuda.Memory) else wrapped(base)

    def __getitem__(self, index):
        return method("__getitem__", self)(index)

    def __setitem__(self, index, value):
        stream.run(np.ndarray.__setitem__, unwrapped([self, index, value]), {}, changes=True)

    def __len__(self):
        return len(self._array)

    def __bool__(self):
        return bool(self._read("bool"))

    def __float__(self):
        return float(self._read("float"))

    def __int__(self):
        return int(self._read("int"))

    __neg__, __abs__, __invert__ = (lambda self, f=f: on_device(f)(self) for f in (np.negative, np.abs, np.invert))


def method(name, array):
    """A method of NumPy's arrays, for a device array."""
    function = on_device(getattr(np.ndarray, name))
    return lambda *arguments, **options: function(array, *arguments, **options)


def operator(name):
    def apply(self, other):
        if getattr(type(other), "__array_ufunc__", True) is None and not isinstance(other, DeviceArray):
            return NotImplemented  # a Tensor: its own operator comes next
        return method(name, self)(other)

    return apply


def in_place(name):
    def apply(self, other):
        stream.run(getattr(np.ndarray, name), unwrapped([self, other]), {}, changes=True)
        return self

    return apply


for _name in OPERATORS:
    setattr(DeviceArray, f"__{_name}__", operator(f"__{_name}__"))
    if _name not in COMPARISONS:
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
    """Arrays as device arrays."""
    if isinstance(value, np.ndarray):
        return DeviceArray(value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(wrapped(v) for v in value)
    return value


def on_device(function):
    """A NumPy function or method for device arrays."""

    def call(*arguments, **options):
        options = {name: unwrapped(value) for name, value in options.items()}
        return wrapped(stream.run(function, unwrapped(list(arguments)), options))

    if isinstance(function, np.ufunc):
        call.at = on_device(function.at)
    return call


class StrictModule(types.ModuleType):
    """What ``xp`` is on this device."""

    @staticmethod
    def empty(shape, dtype=float):
        return DeviceArray(stream.empty(shape, dtype))

    @staticmethod
    def empty_like(array, dtype=None):
        return DeviceArray(stream.empty(array.shape, dtype or array.dtype))

    def __getattr__(self, name):
        value = getattr(np, name)
        return on_device(value) if callable(value) and not isinstance(value, type) else value


class StrictBackend(Backend):
    """Registered as ``"strict"`` by conftest.py.

    Attributes
    ----------
    reads : int
        How often values went from the device to the host, however that was asked for.
    silent_reads : int
        How many of them did not go through ``to_host`` or ``read``, so that CupyBackend would not have counted them.
    free : tuple or None
        What ``memory`` answers.
    capability : int
        Ten times the compute capability of the GPU that it plays.
    """

    name = "strict"
    xp = StrictModule("strict")
    array_type = DeviceArray
    is_device = True
    twins_in = ".kernels.gpu" if emulated_cuda.COMPILER else None
    free = None
    capability = 80
    reads, silent_reads = property(lambda self: stream.reads), property(lambda self: stream.silent_reads)
    is_capturing = property(lambda self: stream.graph is not None)

    def __init__(self):
        self.writes = 0
        self._ticket = self.asarray(np.zeros(1, np.uint32))

    def asarray(self, data, dtype=None):
        if isinstance(data, DeviceArray):
            return self.xp.asarray(data, dtype)
        stream.refuse("asarray copies from the host")
        self.writes += 1
        return DeviceArray(np.array(data, dtype=dtype))

    def to_host(self, array):
        stream.refuse("to_host copies to the host")
        stream.reads += 1
        return array._array.copy()

    def read(self, array):
        """The number in an array of one element."""
        stream.refuse("read reads a value")
        stream.reads += 1
        return array._array.item()

    def copy_into(self, target, source):
        """Write an array, of the device or of the host, into another one."""
        if not isinstance(source, DeviceArray):
            source = self.asarray(source, target.dtype)
        target[...] = source

    def synchronize(self):
        stream.refuse("synchronize")

    def address(self, array):
        return super().address(array._array)

    def erf(self, array):
        return on_device(super().erf)(array)

    def memory(self):
        return self.free

    # ------------------------------------------------------------ what only a GPU has

    def launch(self, file, kernel, dtype, blocks, threads, *arguments):
        """Run a kernel of ``tinyae/kernels/cuda``."""
        size = math.prod(threads) if isinstance(threads, tuple) else threads
        if size > 256 and kernel not in emulated_cuda.kernels_of(cuda.source(file, np.dtype(dtype))).bounds:
            raise emulated_cuda.LaunchError(
                f"{kernel}: {size} threads without __launch_bounds__, so the compiler may give each more registers than there are."
            )
        self.launch_text(cuda.source(file, np.dtype(dtype)), kernel, blocks, threads, *arguments)

    def launch_text(self, text, kernel, blocks, threads, *arguments):
        """Run a kernel of any text."""
        arguments = [emulated_cuda.Pointer(a._array) if isinstance(a, DeviceArray) else a for a in arguments]
        launch = emulated_cuda.kernels_of(text).launch(kernel, blocks, threads, arguments)
        if stream.graph is None:
            launch.run(launch.memories)
        else:
            stream.graph.note_launch(launch)

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
        return self.xp.matmul(A.T if transpose_a else A, B.T if transpose_b else B)

    def capture(self, function, pool=None):
        """Call a function without doing what it asks of the device: (graph, what it returned)."""
        return stream.capture(function)

    def pool(self):
        """What CupyBackend needs to capture, and this does not."""

    def private_memory(self, pool):
        stream.refuse("another stream")
        return contextlib.nullcontext()
