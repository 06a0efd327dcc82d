"""A cupy of NumPy arrays, for the tests of the backend on machines without a GPU.

Only what ``cupy_backend.py`` uses is here, under CuPy's names, with CuPy's errors and what CuPy refuses while a stream is
captured. It computes at once where a GPU computes later; what is captured is kept, and computed by each launch. The
``Machine`` behind it is what a test sets up and asks: its devices, what fails, and a log of what was asked in which order.
"""

import contextlib
import itertools
import sys
import types
from ctypes import c_double, c_float

import numpy as np

from tinyae import backend, cupy_trouble
from tinyae.kernels import cublas


class CUDARuntimeError(RuntimeError):
    pass


class CUDADriverError(RuntimeError):
    pass


class CompileException(Exception):
    pass


class OutOfMemoryError(MemoryError):
    pass


class Machine:
    """What there is: GPUs, a driver, and the kernels that RawModule finds in a text."""

    def __init__(self, devices=1, driver=13000, runtime=12090, capability=(9, 0)):
        self.devices, self.driver, self.runtime, self.capability = devices, driver, runtime, capability
        self.log = []
        self.failing = {}  # name of a function -> the error that it raises
        self.kernels = {}  # name -> Python function of the arguments
        self.compiled = []  # (text, options) of RawModules
        self.null = Stream(self, 0)
        self.current, self.allocators = [self.null], []
        self.ratio = 64  # of the speed of float32 to that of float64
        self.free, self.kept = 1 << 30, 100  # bytes that are nobody's, and that CuPy keeps for later
        self.streams = {}

    def enter(self, name):
        if name in self.failing:
            raise self.failing[name]

    def do(self, what):
        """Compute now, or note it where the current stream is captured."""
        self.do_on(self.current[-1], what)

    def do_on(self, stream, what):
        if stream.captured is None:
            what()
        else:
            stream.captured.append(what)

    def refuse_capturing(self):
        """What waits for the GPU is an error during a capture, and spoils it."""
        stream = self.current[-1]
        if stream.captured is not None:
            stream.invalid = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
            )

    def empty(self, shape, dtype=float):
        self.enter("malloc")
        self.log.append(("malloc", self.allocators[-1] if self.allocators else "default", self.current[-1].ptr))
        return ndarray(self, np.full(shape, 77).astype(dtype))


class ndarray:
    """An array of the device."""

    __array_ufunc__ = None

    def __init__(self, machine, array):
        self.machine, self.array = machine, array
        self.dtype, self.shape, self.ndim, self.size = array.dtype, array.shape, array.ndim, array.size
        self.flags = array.flags
        self.data = types.SimpleNamespace(ptr=array.ctypes.data)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        value = value.array if isinstance(value, ndarray) else value
        self.machine.do(lambda: self.array.__setitem__(index, value))

    def __add__(self, other):
        self.machine.enter("add")
        result = self.machine.empty(self.shape, self.dtype)
        result.fill(0)
        self.machine.do(lambda: result.array.__iadd__(self.array + other))
        return result

    def __iadd__(self, other):
        self.machine.do(lambda: self.array.__iadd__(other))
        return self

    @property
    def T(self):
        return ndarray(self.machine, self.array.T)

    def fill(self, value):
        self.machine.do(lambda: self.array.fill(value))

    def item(self):
        self.machine.enter("item")
        self.machine.refuse_capturing()
        return self.array.item()

    def set(self, source):
        assert source.dtype == self.dtype and source.shape == self.shape and self.flags.c_contiguous
        self.machine.refuse_capturing()
        self.machine.log.append(("set", source.nbytes))
        self.array[...] = source


class Stream:
    numbers = itertools.count(100)

    def __init__(self, machine, ptr=None):
        self.machine, self.ptr = machine, next(self.numbers) if ptr is None else ptr
        self.captured, self.invalid = None, False

    def __enter__(self):
        self.machine.current.append(self)
        return self

    def __exit__(self, *exception):
        self.machine.current.pop()

    def synchronize(self):
        self.machine.enter("synchronize")
        self.machine.refuse_capturing()

    def wait_event(self, event):
        assert self.captured is None, "waits for what is not captured: cudaErrorStreamCaptureIsolation"
        self.machine.log.append(("wait", self.ptr, event.recorded_on))

    def begin_capture(self):
        self.machine.enter("begin_capture")
        assert self.ptr != 0, "cannot capture on the default (legacy) stream"
        self.machine.log.append(("begin", self.ptr))
        self.captured, self.invalid = [], False

    def end_capture(self):
        captured, self.captured = self.captured, None
        self.machine.log.append(("end", self.ptr))
        if self.invalid:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error")
        return Graph(self.machine, captured)


class Graph:
    def __init__(self, machine, captured):
        self.machine, self.captured = machine, captured

    def launch(self):
        self.machine.enter("graph.launch")
        self.machine.log.append(("launch graph", self.machine.current[-1].ptr))
        for what in self.captured:
            what()


class Kernel:
    """What RawModule.get_function gives."""

    def __init__(self, machine, name):
        self.machine, self.name = machine, name

    def __call__(self, grid, block, arguments):
        assert type(grid) is tuple and type(block) is tuple and type(arguments) is tuple
        self.machine.enter(self.name)
        for x in arguments:
            if not isinstance(x, (ndarray, np.ndarray, np.generic, int, float)):
                raise TypeError(f"Unsupported type {type(x)}")
        self.machine.log.append((self.name, grid, block, self.machine.current[-1].ptr))
        self.machine.do(lambda: self.machine.kernels[self.name](*arguments))


class RawModule:
    def __init__(self, machine, code, options):
        machine.compiled.append((code, options))
        if "#error" in code:
            raise CompileException('kern.cu(7): error: identifier "nope" is undefined\n\n1 error detected')
        self.machine, self.code = machine, code

    def get_function(self, name):
        if name not in self.code:
            raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found")
        return Kernel(self.machine, name)


def module(machine):
    """The module ``cupy`` on such a machine."""
    cupy = types.ModuleType("cupy")
    cupy.__version__, cupy.ndarray = "14.0.0", ndarray

    def device_count():
        machine.enter("getDeviceCount")
        return machine.devices

    properties = {"name": b"Some GPU", "totalGlobalMem": 8 << 30, "major": machine.capability[0],
                  "minor": machine.capability[1]}  # fmt: skip
    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=device_count, getDevice=lambda: 0,
        driverGetVersion=lambda: machine.driver, runtimeGetVersion=lambda: machine.runtime,
        memGetInfo=lambda: (machine.free, 8 << 30), getDeviceProperties=lambda i: properties,
        cudaDevAttrSingleToDoublePrecisionPerfRatio=87, deviceGetAttribute=lambda attribute, i: machine.ratio,
    )  # fmt: skip

    class Event:
        def __init__(self, disable_timing=False):
            assert disable_timing

        def record(self, stream):
            self.recorded_on = stream.ptr

    class MemoryPool:
        def __init__(self, allocate):
            self.allocate = allocate  # what it asks for more

        def malloc(self, size):
            raise AssertionError("only its name is used")

    @contextlib.contextmanager
    def using_allocator(malloc):
        machine.allocators.append(malloc.__self__)
        try:
            yield
        finally:
            machine.allocators.pop()

    def new_stream(non_blocking=False):
        assert non_blocking
        stream = Stream(machine)
        machine.streams[stream.ptr] = stream
        return stream

    machine.streams[0] = machine.null

    def new_memory(size):
        machine.log.append(("cudaMalloc", size))
        if size > machine.free:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        return size

    def free_all_blocks():
        machine.free += machine.kept
        machine.kept = 0

    cupy.cuda = types.SimpleNamespace(
        runtime=runtime, Event=Event, Stream=new_stream, MemoryPool=MemoryPool, using_allocator=using_allocator,
        get_current_stream=lambda: machine.current[-1], Memory=new_memory,
        MemoryPointer=lambda memory, offset: (memory, offset),
    )  # fmt: skip
    pool = types.SimpleNamespace(free_bytes=lambda: machine.kept, free_all_blocks=free_all_blocks)
    cupy.get_default_memory_pool = lambda: pool
    cupy.RawModule = lambda code, options: RawModule(machine, code, options)
    cupy.empty = machine.empty

    def zeros(shape, dtype=float):
        array = machine.empty(shape, dtype)
        array.fill(0)
        return array

    def asarray(data, dtype=None):
        if isinstance(data, ndarray):
            return data
        machine.refuse_capturing()
        return ndarray(machine, np.array(data, dtype=dtype))

    def asnumpy(array):
        machine.enter("asnumpy")
        machine.refuse_capturing()
        return array.array.copy()

    cupy.zeros, cupy.asarray, cupy.asnumpy = zeros, asarray, asnumpy
    return cupy


def install(monkeypatch, machine, packages=("cupy-cuda12x",)):
    """Let ``get_backend("cupy")`` find CuPy, or what stands for its failure, on this machine."""
    monkeypatch.setitem(sys.modules, "cupy", module(machine))
    monkeypatch.setattr(backend, "_made", {"numpy": backend.NUMPY})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = [types.SimpleNamespace(metadata={"Name": name}) for name in ("numpy", *packages, "cupyx-of-others")]
    monkeypatch.setattr(cupy_trouble.metadata, "distributions", lambda: found)


# ---------------------------------------------------------------- cuBLAS


def found_cublas(monkeypatch, machine):
    """Let the backend find this cuBLAS; returns it."""
    library = Cublas(machine)
    monkeypatch.setattr(cublas, "load", lambda major, cure: cublas.declare(library) or library)
    return library


class Function:
    """A function of a C library: checks its arguments as ctypes would, and takes references for what they refer to."""

    argtypes = restype = None

    def __init__(self, body):
        self.body = body

    def __call__(self, *arguments):
        assert len(arguments) == len(self.argtypes)
        for x, kind in zip(arguments, self.argtypes):
            kind.from_param(x)
        return self.body(*(getattr(x, "_obj", x) for x in arguments))


class Cublas:
    """cuBLAS on the CPU: matrices lie in columns, and a status comes back."""

    def __init__(self, machine, version=12):
        self.machine, self.version = machine, version
        self.failing = {}  # function -> status
        self.stream, self.workspace, self.math = None, None, 0
        self.calls = []
        names = ("cublasGetProperty cublasCreate_v2 cublasSetPointerMode_v2 cublasSetStream_v2 cublasSetWorkspace_v2 "
                 "cublasSetMathMode cublasSgemm_v2 cublasDgemm_v2")  # fmt: skip
        for name in names.split():
            setattr(self, name, Function(lambda *given, name=name: self.answer(name, *given)))
        self.cublasGetStatusName = Function(lambda status: b"CUBLAS_STATUS_OF_TEST")
        self.cublasGetStatusString = Function(lambda status: b"it is a test")

    def answer(self, name, *given):
        self.calls.append(name)
        return self.failing.get(name) or getattr(self, name.removesuffix("_v2") + "_does")(*given) or 0

    def cublasGetProperty_does(self, kind, value):
        value.value = self.version

    def cublasCreate_does(self, handle):
        handle.value = 1234

    def cublasSetPointerMode_does(self, handle, mode):
        assert handle.value == 1234 and mode == 0

    def cublasSetStream_does(self, handle, stream):
        self.stream, self.workspace = stream, None  # which is so in cuBLAS

    def cublasSetWorkspace_does(self, handle, address, size):
        assert address and size > 0
        self.workspace = address, size

    def cublasSetMathMode_does(self, handle, mode):
        self.math = mode

    def cublasSgemm_does(self, *given):
        self.gemm(c_float, *given)

    def cublasDgemm_does(self, *given):
        self.gemm(c_double, *given)

    def gemm(self, kind, handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        """C = alpha op(A) op(B) + beta C, columns first; op(A) is m x k, op(B) k x n."""
        assert self.workspace is not None, "cuBLAS would take memory of its own, which a graph must not"
        assert alpha.value == 1 and beta.value == 0 and type(alpha) is kind
        A = columns(kind, a, lda, *((k, m) if op_a else (m, k)))
        B = columns(kind, b, ldb, *((n, k) if op_b else (k, n)))
        C = columns(kind, c, ldc, m, n)
        A, B = A.T if op_a else A, B.T if op_b else B
        self.machine.do_on(self.machine.streams[self.stream], lambda: C.__setitem__(..., A @ B))


def columns(kind, address, leading, rows, cols):
    """A matrix of C that lies in columns, ``leading`` numbers apart."""
    assert leading >= max(1, rows)
    return np.ctypeslib.as_array((kind * (leading * cols)).from_address(address)).reshape(cols, leading).T[:rows]
