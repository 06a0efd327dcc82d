"""Matrix products on a GPU by cuBLAS, NVIDIA's library, through a handle of our own.

CuPy's ``@`` calls cuBLAS too, but refuses to while a stream is captured: it cannot know that the memory that cuBLAS
works in will still be there when the graph is launched. Here it can, for this memory is ours: each stream has a piece
of its own, which is set together with the stream and which a graph that was captured on the stream keeps alive. A piece
for each stream also keeps two streams from working in one, and results the same from run to run.

What a function does, and in which cases it may be captured, is in NVIDIA's "cuBLAS" documentation: cublasCreate,
cublasSetStream (which takes the work memory away again), cublasSetWorkspace (with the sizes below), cublasSetMathMode,
cublas<t>gemm, and the sections "Results reproducibility" and "CUDA Graphs Support".
"""

import ctypes
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_size_t, c_void_p

import numpy as np

from ..backend import matmul_precision
from ..errors import BackendError

MATH = {"float32": 0, "tf32": 3}  # CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH
NORMAL, TRANSPOSED = 0, 1  # cublasOperation_t
MAJOR_VERSION = 0  # libraryPropertyType
HOST = 0  # CUBLAS_POINTER_MODE_HOST: alpha and beta are read when the product is asked for, not when it is computed
MOST = 2**31 - 1  # sizes are C's int
MIB = 1 << 20

GEMM = {
    np.dtype(np.float32): ("cublasSgemm_v2", c_float),
    np.dtype(np.float64): ("cublasDgemm_v2", c_double),
}
FUNCTIONS = {  # what they take; all give a cublasStatus_t
    "cublasGetProperty": [c_int, POINTER(c_int)],
    "cublasCreate_v2": [POINTER(c_void_p)],
    "cublasSetPointerMode_v2": [c_void_p, c_int],
    "cublasSetStream_v2": [c_void_p, c_void_p],
    "cublasSetWorkspace_v2": [c_void_p, c_void_p, c_size_t],
    "cublasSetMathMode": [c_void_p, c_int],
    **{
        name: [c_void_p, c_int, c_int, c_int, c_int, c_int, POINTER(number), c_void_p, c_int, c_void_p, c_int,
               POINTER(number), c_void_p, c_int]
        for name, number in GEMM.values()
    },
}  # fmt: skip


class Cublas:
    """A handle of cuBLAS on the current device; for several threads, one after the other.

    Parameters
    ----------
    library : ctypes.CDLL
        What ``load`` found.
    """

    def __init__(self, library):
        self.library = library
        # between setting the stream and using it, no other thread may set another; this one may come to forget() by a
        # garbage collection that takes a graph
        self._lock = threading.RLock()
        self._stream, self._math = None, None  # what the handle is set to
        declare(library)
        self.handle = c_void_p()
        self._call("cublasCreate_v2", byref(self.handle))
        self._call("cublasSetPointerMode_v2", self.handle, HOST)

    def multiply(self, dtype, A, B, C, stream, workspace, transpose_a=False, transpose_b=False):
        """C = op(A) op(B) on a stream, in C-contiguous matrices, each given as (address, rows, columns).

        cuBLAS counts along columns first: what lies in memory as our C, it takes for Cᵀ. As Cᵀ = op(B)ᵀ op(A)ᵀ, it gets
        B first, then A, as they are; nothing is transposed.
        """
        (a, *rows_a), (b, *rows_b), (c, M, N) = A, B, C
        K = rows_a[0] if transpose_a else rows_a[1]
        if max(M, N, K) > MOST:
            raise BackendError(f"matmul: a matrix has {max(M, N, K):,} rows or columns; cuBLAS takes up to {MOST:,}.")
        name, number = GEMM[np.dtype(dtype)]
        math = MATH[matmul_precision.get()]
        with self._lock:
            if stream != self._stream:
                self._stream = None  # which it stays if one of the two fails
                self._call("cublasSetStream_v2", self.handle, stream)
                self._call("cublasSetWorkspace_v2", self.handle, *workspace)
                self._stream = stream
            if math != self._math:
                self._call("cublasSetMathMode", self.handle, math)
                self._math = math
            self._call(
                name, self.handle, TRANSPOSED if transpose_b else NORMAL, TRANSPOSED if transpose_a else NORMAL,
                N, M, K, byref(number(1)), b, max(1, rows_b[1]), a, max(1, rows_a[1]), byref(number(0)), c, max(1, N),
            )  # fmt: skip

    def forget(self, stream):
        """The stream's work memory goes; a later stream may have its number."""
        with self._lock:
            if self._stream == stream:
                self._stream = None

    def _call(self, name, *arguments):
        """One function of the library; what is not success is an error."""
        status = getattr(self.library, name)(*arguments)
        if status:
            raise BackendError(
                f"{name}: cuBLAS answers {status_name(self.library, status)}. {CURES.get(status, '')}".rstrip()
            )


CURES = {
    1: "It found no usable GPU, or too little memory on it to begin: see nvidia-smi.",
    3: "The GPU's memory is used up: a smaller batch_size takes less.",
    13: "A kernel before it may have failed; nothing more can be computed in this process.",
}


def workspace_bytes(capability):
    """How much memory NVIDIA recommends for the work of cuBLAS: more from Hopper (9.0) on."""
    return 32 * MIB if capability >= 90 else 4 * MIB


def declare(library):
    """Tell ctypes what the functions take."""
    for name, arguments in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    for name in ("cublasGetStatusName", "cublasGetStatusString"):
        function = getattr(library, name)
        function.argtypes, function.restype = [c_int], c_char_p


def status_name(library, status):
    """A status as its name, and what it says."""
    name, text = (getattr(library, f"cublasGetStatus{kind}")(status).decode() for kind in ("Name", "String"))
    return f"{name} ({status}: {text})"


def load(major, cure):
    """The cuBLAS library for a major version of CUDA, which must be that of the array library.

    Raises
    ------
    BackendError
        There is none, or only one of another version; ends with ``cure``.
    """
    seen = []
    for path in places(major):
        try:
            library = ctypes.CDLL(path)
            declare(library)
        except (OSError, AttributeError) as error:
            seen.append(f"{path}: {error}")
            continue
        version = c_int()
        library.cublasGetProperty(MAJOR_VERSION, byref(version))
        if version.value == major:
            return library
        seen.append(f"{path} is for CUDA {version.value}")
    raise BackendError(f"matmul: there is no cuBLAS for CUDA {major} ({'; '.join(seen)}). {cure}")


def places(major):
    """Where it may be: in NVIDIA's wheels or what else CuPy looks through, then wherever the system looks."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        yield load_nvidia_dynamic_lib("cublas").abs_path
    except (ImportError, RuntimeError):  # it is not there; what is not found is a RuntimeError
        pass
    yield f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
