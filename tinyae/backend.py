"""The array library as one object: NumPy on the host, CuPy on a GPU.

An operation is written once, in array code on ``xp``; ``xp`` is the module of the backend its
arrays live on. The backend travels with the array: there is no global "current device". Arrays
never move by themselves. What concerns a GPU is in ``cupy_backend.py``, which is imported when it is first asked for.
"""

import ctypes
import math
from contextvars import ContextVar
from importlib import import_module

import numpy as np

from .errors import BackendError, known_name

LINE = 64  # bytes that a processor's cache moves at a time
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
KERNELS = ("fast", "reference")  # what use_kernels may be told
PRECISIONS = ("float32", "tf32")  # what set_matmul_precision may be told
kernels = ContextVar("tinyae.kernels", default="fast")
matmul_precision = ContextVar("tinyae.matmul_precision", default="float32")


class SlowFloat64Warning(UserWarning):
    """A float64 model was moved to a GPU."""


def set_matmul_precision(precision: str) -> None:
    """How exactly a GPU multiplies float32 matrices, from here on in this thread: ``"float32"``, the default, or ``"tf32"``.

    TF32 is the format of the tensor cores of NVIDIA's A100 and later GPUs: as large a range as float32, but 10 bits behind
    the point instead of 23. Both factors are rounded to it, an error of up to 0.1 % in each; products are then added up in
    float32. It applies to matrix products and convolutions of float32, forward and backward, and makes large ones
    faster. Trainings seldom suffer from it. Finite differences, and runs that are to be compared with the
    CPU's number by number, do: leave it off there. Nothing else changes: not float64, not the sums of losses and
    optimizers, and nothing at all on the CPU or on a GPU that has no TF32.

    Raises
    ------
    RangeError
        Another name.
    """
    matmul_precision.set(known_name("matmul precision", precision, PRECISIONS))


def get_matmul_precision() -> str:
    """What ``set_matmul_precision`` was told in this thread; ``"float32"`` if nothing."""
    return matmul_precision.get()


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
    is_device : bool
        Do its arrays live on a device, where reading a number makes the host wait?
    reads : int
        How many times values were read from the device to the host; 0 for ever where there is no device.
    writes : int
        How many times arrays were brought from the host to the device.
    is_capturing : bool
        Is what this thread asks of the device noted instead of done, inside ``capture``?
    capability : int
        What a GPU can do, 90 for NVIDIA's version 9.0; 0 where there is none.
    """

    name = "numpy"
    xp = np
    array_type = np.ndarray
    is_device = False
    is_capturing = False
    reads = writes = capability = 0
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
        """The number in an array of one element, as Python's own; on a device it waits, and counts in ``reads``."""
        return array.item()

    def copy_into(self, target, source):
        """Write an array of this backend, or of the host, into another one, which stays where it is in memory."""
        target[...] = source

    def erf(self, array):
        """The error function, which NumPy leaves to SciPy."""
        from scipy.special import erf

        return erf(array)

    def address(self, array):
        """Where in memory the array begins."""
        return array.__array_interface__["data"][0]

    def synchronize(self):
        """Wait until the device has finished all that was asked of it."""

    # ------------------------------------------------------------ what only a device has

    def launch(self, file, kernel, dtype, blocks, threads, *arguments):
        """Run a kernel of ``kernels/cuda``: ``kernel`` out of ``file``.cu, compiled for a float type.

        ``blocks`` and ``threads`` are numbers, or tuples of up to three. An array is handed over as its address and must be
        C-contiguous, None as the null pointer, an int or a bool as a ``long long``, a float as a ``double``, a
        structured NumPy array of one element as a ``struct``.
        """
        raise BackendError(f"launch: the backend '{self.name}' has no kernels in CUDA C; {kernel} runs on a GPU only.")

    def ticket(self):
        """A uint32 on the device, 0 between kernels: how ``is_last_block`` in ``common.cuh`` counts."""
        raise BackendError(f"ticket: the backend '{self.name}' has no kernels in CUDA C.")

    def matmul(self, A, B, transpose_a=False, transpose_b=False):
        """op(A) @ op(B) in a new array; A and B are C-contiguous matrices of one float type, op may transpose."""
        return (A.T if transpose_a else A) @ (B.T if transpose_b else B)

    def capture(self, function, pool=None):
        """Call a function without doing what it asks of the device; returns (graph, what the function returned).

        ``graph.launch()`` does all of it, as often as it is called, in the same memory.
        """
        raise BackendError(f"capture: the backend '{self.name}' has no graphs; capturing is for a GPU.")

    def memory(self) -> tuple[int, int] | None:
        """(free, all) bytes of a device's memory, or None: who asks about the host asks ``memory.py``."""
        return None

    def release(self):
        """Give memory that is kept for later, and unused, back to the device."""

    def check_index(self, index):
        """Refuse the ``index`` in ``get_backend("name:index")`` if that is not the device in use."""
        raise BackendError(
            f"backend '{self.name}:{index}': {self.name} has no devices to choose from. Leave ':{index}' out."
        )

    def note_double(self):
        """A float64 model was moved here: say so once if that is slow."""

    # ------------------------------------------------------------ what it is

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


def _make_cupy():
    return import_module(".cupy_backend", __package__).CupyBackend()


BACKENDS = ("numpy", "cupy")  # those that tinyae brings
NUMPY = HostBackend()
_makers = {"numpy": lambda: NUMPY, "cupy": _make_cupy}
_made: dict[str, Backend] = {"numpy": NUMPY}


def get_backend(name: "str | Backend") -> "Backend":
    """The backend of that name (a Backend passes unchanged).

    ``"cupy"`` is the GPU that CUDA shows first. A process uses one; ``"cupy:0"`` says which one it should be, and is refused
    if it is another. To use another one, start Python with ``CUDA_VISIBLE_DEVICES=1``.

    Raises
    ------
    RangeError
        The name is unknown.
    BackendError
        Its library or its device is missing; the message says which, and how to install it.
    """
    if isinstance(name, Backend):
        return name
    given, colon, index = name.partition(":") if isinstance(name, str) else (name, "", "")
    known: str = known_name("backend", given, _makers)
    if known not in _made:
        _made[known] = _makers[known]()
    if colon:
        _made[known].check_index(index)
    return _made[known]


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
