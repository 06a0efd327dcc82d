"""CuPy as a backend: the same array code on an NVIDIA GPU, and what only a GPU has: kernels in CUDA C, captured graphs.

The only module that imports CuPy, and ``backend.py`` imports it when somebody asks for ``"cupy"``. What does not work on
this machine is found out here, once, and told with its cure; why a library or a driver does not work is looked
up in ``cupy_trouble.py``.

Everything runs on CuPy's current stream, as the user's own CuPy code does. One process uses one GPU: the one that is
CUDA's current device when the backend is made, which is the first that CUDA shows. Arrays of a second one would need
``with Device(1)`` around each line of array code, in every thread anew.
"""

import contextlib
import os
import threading
import warnings
import weakref
from importlib import import_module

import numpy as np

from .backend import FLOATS, Backend, SlowFloat64Warning
from .cupy_trouble import cannot_compute, cannot_import, no_device, one_line, one_package, version_text
from .errors import BackendError, brief

NULL = np.uintp(0)


class CupyBackend(Backend):
    """CuPy on the current GPU.

    Raises
    ------
    BackendError
        CuPy, CUDA's libraries, the driver or a GPU is missing, or they do not fit together; says which and what to do.
    """

    name = "cupy"
    is_device = True
    twins_in = ".kernels.gpu"

    def __init__(self):
        package = one_package()
        try:
            import cupy
        except Exception as error:  # whatever a library raises that is installed by half
            raise cannot_import(error, package) from error
        self.package, self.xp, self.array_type = package, cupy, cupy.ndarray
        self.reads = self.writes = 0
        try:
            self.index = cupy.cuda.runtime.getDevice() if cupy.cuda.runtime.getDeviceCount() else None
        except Exception as error:
            raise no_device(cupy, package, error) from error
        if self.index is None:
            raise no_device(cupy, package, None)
        try:  # drivers, compiler and headers are only found out about when they are needed
            (cupy.zeros(1, np.uint32) + np.uint32(1)).item()
        except Exception as error:
            raise cannot_compute(cupy, package, error) from error
        about = cupy.cuda.runtime.getDeviceProperties(self.index)
        self.capability = 10 * about["major"] + about["minor"]
        self._kernels = {}  # (file, dtype, kernel) -> RawKernel
        self._tickets, self._workspaces = {}, {}  # of each stream: two that run at a time must not share them
        self._cublas = None
        self._lock = threading.Lock()
        self._local = threading.local()  # capturing: is this thread in the middle of it?
        self._told_of_double = False

    # ------------------------------------------------------------ between host and device

    def asarray(self, data, dtype=None):
        if not isinstance(data, self.array_type):
            self._refuse_while_capturing("asarray", "copies an array from the host")
            self.writes += 1
        return self.xp.asarray(data, dtype=dtype)

    def to_host(self, array):
        """A copy on the host. Waits until it is computed."""
        self._refuse_while_capturing("to_host", "copies an array to the host")
        self.reads += 1
        with told("to_host"):
            return self.xp.asnumpy(array)

    def read(self, array):
        self._refuse_while_capturing("read", "reads a number of the device")
        self.reads += 1
        with told("read"):
            return array.item()

    def copy_into(self, target, source):
        if isinstance(source, self.array_type):
            target[...] = source
            return
        self._refuse_while_capturing("copy_into", "copies an array from the host")
        self.writes += 1
        source = np.asarray(source, target.dtype, order="C")
        if source.shape == target.shape and target.flags.c_contiguous:
            target.set(source)  # straight there; what the host has may be changed as soon as this returns
        else:
            target[...] = self.xp.asarray(source)

    def synchronize(self):
        self._refuse_while_capturing("synchronize", "waits for the device")
        with told("synchronize"):
            self.xp.cuda.get_current_stream().synchronize()

    def address(self, array):
        return array.data.ptr

    def erf(self, array):
        from cupyx.scipy.special import erf

        return erf(array)

    # ------------------------------------------------------------ kernels

    def launch(self, file, kernel, dtype, blocks, threads, *arguments):
        key = file, np.dtype(dtype), kernel
        try:
            function = self._kernels.get(key) or self._compiled(*key)
            grid = blocks if type(blocks) is tuple else (blocks,)
            block = threads if type(threads) is tuple else (threads,)
            function(grid, block, tuple([self._argument(x) for x in arguments]))
        except (MemoryError, BackendError):
            raise
        except Exception as error:
            raise BackendError(
                f"launch: the kernel {kernel} of {file}.cu, {np.dtype(dtype)}, with {blocks} blocks of {threads} threads: "
                f"{one_line(error, 2000)}. ta.use_kernels('reference') does without kernels."
            ) from error

    def _compiled(self, file, dtype, kernel):
        """A kernel, compiled for this GPU; CuPy keeps what it compiled for the next process."""
        cuda = import_module(".kernels.cuda", __package__)  # kernels stand on a floor above
        function = self.xp.RawModule(code=cuda.source(file, dtype), options=cuda.OPTIONS).get_function(kernel)
        self._kernels[file, dtype, kernel] = function
        return function

    def _argument(self, x):
        """An argument as CuPy passes it on in the right size: NULL and bools are not among what it takes so."""
        if isinstance(x, self.array_type):
            if not x.flags.c_contiguous:
                raise BackendError(f"launch: {brief(x)} is not C-contiguous, which kernels rely on.")
            return x
        if x is None:
            return NULL
        return int(x) if type(x) is bool else x

    def ticket(self):
        stream = self.xp.cuda.get_current_stream().ptr
        ticket = self._tickets.get(stream)
        if ticket is None:
            ticket = self._tickets[stream] = self.xp.zeros(1, np.uint32)
        return ticket

    def matmul(self, A, B, transpose_a=False, transpose_b=False):
        fits = A.ndim == B.ndim == 2 and A.dtype == B.dtype and A.dtype in FLOATS
        if not fits or not (A.flags.c_contiguous and B.flags.c_contiguous):
            raise BackendError(
                f"matmul: {brief(A)} and {brief(B)}; expected two C-contiguous matrices of one float type."
            )
        (M, K), (L, N) = A.shape[:: -1 if transpose_a else 1], B.shape[:: -1 if transpose_b else 1]
        if K != L:
            raise BackendError(f"matmul: {M} x {K} by {L} x {N}; the second number and the third must be the same.")
        C = self.xp.empty((M, N), A.dtype)
        if not (C.size and K):
            C.fill(0)
            return C
        stream = self.xp.cuda.get_current_stream().ptr
        cublas, workspace = self._blas(), self._workspace(stream)
        operands = [(x.data.ptr, *x.shape) for x in (A, B, C)]
        cublas.multiply(A.dtype, *operands, stream, (workspace.data.ptr, workspace.size), transpose_a, transpose_b)
        return C

    def _blas(self):
        """The handle of cuBLAS, made when the first matrices are multiplied, and kept."""
        if self._cublas is None:
            with self._lock:
                if self._cublas is None:
                    module = import_module(".kernels.cublas", __package__)
                    major = self.xp.cuda.runtime.runtimeGetVersion() // 1000
                    cure = f"Install it with pip install 'cupy-cuda{major}x[ctk]'."
                    self._cublas = module.Cublas(module.load(major, cure))
        return self._cublas

    def _workspace(self, stream):
        """The memory in which cuBLAS works on this stream."""
        workspace = self._workspaces.get(stream)
        if workspace is None:
            size = import_module(".kernels.cublas", __package__).workspace_bytes(self.capability)
            workspace = self._workspaces[stream] = self.xp.empty(size, np.uint8)
        return workspace

    def _forget(self, stream):
        """A stream of ours is gone, and its number may be given to another."""
        self._tickets.pop(stream, None)
        self._workspaces.pop(stream, None)
        if self._cublas is not None:
            self._cublas.forget(stream)

    # ------------------------------------------------------------ graphs

    def pool(self):
        """Memory of its own, and a stream, for ``private_memory`` and ``capture``."""
        pool = Pool(self.xp.cuda, self.release)
        weakref.finalize(pool, self._forget, pool.stream.ptr).atexit = False
        return pool

    @contextlib.contextmanager
    def private_memory(self, pool):
        """Inside, new arrays lie in the pool's memory, and what is asked of the GPU runs on the pool's stream.

        It begins when all that was asked before is done, and what is asked afterwards waits for it. A step that runs here
        once before it is captured leaves the blocks of memory that the capture then needs.
        """
        self._refuse_while_capturing("private_memory", "goes to another stream")
        cuda = self.xp.cuda
        outside = cuda.get_current_stream()
        follow(cuda, pool.stream, outside)
        try:
            with pool.stream, cuda.using_allocator(pool.memory.malloc):
                yield
        except BaseException:
            with contextlib.suppress(Exception):  # the first error counts
                follow(cuda, outside, pool.stream)
            raise
        follow(cuda, outside, pool.stream)

    def capture(self, function, pool=None):
        """Call a function without doing what it asks of the GPU; returns (Graph, what the function returned).

        The arrays that it makes lie in the pool (a new one, if none is given), which the graph keeps; their values are
        there once the graph was launched. What it reads besides, and what it writes to, must stay where it is as long as the
        graph is used: the caller keeps it. Do not use the pool for anything else from then on.

        The function cannot read values, nor copy anything from or to the host: that is a BackendError here. After an
        error, also one of its own, nothing is captured and the process goes on as before.
        """
        if self.is_capturing:
            raise BackendError("capture: a step is being captured already; capture the outer one only.")
        pool = pool or self.pool()
        stream = pool.stream
        with self.private_memory(pool):
            # what is made during a capture is not there before the graph is launched
            self.ticket()
            with contextlib.suppress(BackendError):  # if it is missing: whoever multiplies matrices is told so
                self._blas()
                self._workspace(stream.ptr)
            with told("capture"):
                stream.begin_capture()  # in CUDA's relaxed mode: the pool may ask for memory
            self._local.capturing = True
            try:
                result = function()
            except BaseException:
                with contextlib.suppress(Exception):  # may fail as well: the error can have made the capture invalid
                    stream.end_capture()
                raise
            finally:
                self._local.capturing = False
            with told("capture"):
                graph = stream.end_capture()
        return Graph(graph, pool), result

    @property
    def is_capturing(self):
        """Is this thread's stream being captured?"""
        return getattr(self._local, "capturing", False)

    def _refuse_while_capturing(self, name, what):
        if self.is_capturing:
            raise BackendError(
                f"{name}: while a step is captured, nothing is computed, but this {what}. Do it before or after the step."
            )

    # ------------------------------------------------------------ the device

    def memory(self):
        free, total = self.xp.cuda.runtime.memGetInfo()
        return free + self.xp.get_default_memory_pool().free_bytes(), total  # what the pool keeps unused can be had too

    def release(self):
        self.xp.get_default_memory_pool().free_all_blocks()

    def check_index(self, index):
        count, wanted = self.xp.cuda.runtime.getDeviceCount(), int(index) if index.isdecimal() else None
        if wanted is None:
            raise BackendError(
                f"backend 'cupy:{index}': expected the number of a GPU after the colon, such as 'cupy:0'."
            )
        if wanted >= count:
            known = "only cupy:0" if count == 1 else f"cupy:0 to cupy:{count - 1}"
            raise BackendError(f"backend 'cupy:{index}': there is no such GPU. CUDA shows {known}: {self._devices()}.")
        if wanted != self.index:
            shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            number = shown[wanted].strip() if wanted < len(shown) and shown != [""] else wanted
            raise BackendError(
                f"backend 'cupy:{index}': a process computes on one GPU, and this one on cupy:{self.index}. "
                f"Start Python with CUDA_VISIBLE_DEVICES={number} to have the other one, and call it 'cupy'."
            )

    def note_double(self):
        if self._told_of_double:
            return
        self._told_of_double = True
        runtime = self.xp.cuda.runtime
        rate = runtime.deviceGetAttribute(runtime.cudaDevAttrSingleToDoublePrecisionPerfRatio, self.index)
        warnings.warn(
            f"a float64 model was moved to the GPU. It works, but slowly: this GPU does one operation of float64 in the time of "
            f"{rate} of float32, and has no faster matrix products for it. For training use model.astype('float32').",
            SlowFloat64Warning,
            stacklevel=3,
        )

    def about(self):
        runtime = self.xp.cuda.runtime
        return (
            f"CuPy {self.xp.__version__}, CUDA {version_text(runtime.runtimeGetVersion())}, driver for CUDA "
            f"{version_text(runtime.driverGetVersion())}, {self._devices()}"
        )

    def _devices(self):
        """All GPUs with memory and compute capability."""
        runtime = self.xp.cuda.runtime
        found = [runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())]
        return ", ".join(
            f"cupy:{i} {about['name'].decode()} ({about['totalGlobalMem'] / 2**30:.3g} GiB, compute capability "
            f"{about['major']}.{about['minor']})"
            for i, about in enumerate(found)
        )


class Pool:
    """Memory that nobody else takes from, and the stream on which it is used.

    CuPy's pools keep the free blocks of each stream apart, so one belongs to the other.
    """

    def __init__(self, cuda, release):
        def allocate(size):
            try:
                return cuda.MemoryPointer(cuda.Memory(size), 0)
            except cuda.runtime.CUDARuntimeError:
                release()  # CuPy frees what this pool keeps, not what the arrays of others left behind
                return cuda.MemoryPointer(cuda.Memory(size), 0)

        self.memory = cuda.MemoryPool(allocate)
        self.stream = cuda.Stream(non_blocking=True)  # others cannot be captured beside the default stream


class Graph:
    """What a captured function asked of the GPU, to be done again and again; keeps the memory in which it is done."""

    def __init__(self, graph, pool):
        self._graph, self.pool = graph, pool

    def launch(self):
        """Do it, on the current stream. Does not wait for it."""
        with told("launch of a graph"):
            self._graph.launch()


def follow(cuda, later, earlier):
    """What is asked of one stream from now on waits for what was asked of the other until now."""
    event = cuda.Event(disable_timing=True)
    event.record(earlier)
    later.wait_event(event)


class told:
    """An error of CUDA inside becomes a BackendError that names the operation; the GPU's errors come late."""

    def __init__(self, operation):
        self.operation = operation

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, RuntimeError) and not isinstance(error, BackendError):
            raise BackendError(
                f"{self.operation}: CUDA reports {one_line(error)}. It may come from an operation before this one, for a GPU "
                "computes behind; CUDA_LAUNCH_BLOCKING=1 in the environment has it reported where it happens."
            ) from error
