"""CuPy as a backend, shown on a cupy of NumPy arrays: what is asked of it, and in which order."""

import contextlib
import gc
import threading
import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import NUMPY
from tinyae.errors import BackendError
from tinyae.kernels import cublas, cuda

from . import fake_cupy
from .fake_cupy import CUDARuntimeError, Machine, OutOfMemoryError


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def gpu(machine, monkeypatch):
    """The backend on that machine."""
    fake_cupy.install(monkeypatch, machine)
    return ta.get_backend("cupy")


@pytest.fixture
def blas(machine, monkeypatch):
    """The cuBLAS that is found there."""
    return fake_cupy.found_cublas(monkeypatch, machine)


@pytest.fixture
def kernels(machine, monkeypatch, tmp_path):
    """A folder with two kernels, and what they do."""
    (tmp_path / "common.cuh").write_text("// shared\n")
    (tmp_path / "own.cu").write_text('extern "C" __global__ void add_one(REAL *x) {}\nvoid note_all() {}\n')
    (tmp_path / "bad.cu").write_text("#error\n")
    monkeypatch.setattr(cuda, "FOLDER", tmp_path)
    cuda.source.cache_clear()
    machine.kernels["add_one"] = lambda x: x.array.__iadd__(1)
    machine.kernels["note_all"] = lambda *given: machine.log.append(("given", given))
    yield machine.kernels
    cuda.source.cache_clear()


def on(gpu, array):
    return gpu.asarray(np.array(array))


def test_what_it_says_of_itself(gpu):
    assert gpu.about() == (
        "CuPy 14.0.0, CUDA 12.9, driver for CUDA 13.0, cupy:0 Some GPU (8 GiB, compute capability 9.0)"
    )
    assert gpu.memory() == ((1 << 30) + 100, 8 << 30) and gpu.is_device and not NUMPY.is_device
    assert NUMPY.memory() is None


def test_a_float64_model_works_and_says_once_that_it_is_slow(gpu):
    model = ta.Sequential(ta.Dense(3, 2)).astype("float64")
    with pytest.warns(ta.SlowFloat64Warning, match="one operation of float64 in the time of 64 of float32") as caught:
        assert model.to("cupy").dtype == np.float64
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ta.Sequential(ta.Dense(3, 2)).astype("float64").to("cupy")
        ta.Sequential(ta.Dense(3, 2)).to("cupy")


# ---------------------------------------------------------------- between host and device


def test_every_read_is_counted(gpu):
    before, x = gpu.reads, on(gpu, [[1.5, 2.5]])
    assert gpu.to_host(x).tolist() == [[1.5, 2.5]] and gpu.reads == before + 1
    assert gpu.read(on(gpu, 3.5)) == 3.5 and gpu.reads == before + 2
    assert gpu.asarray(x) is x and ta.Tensor([2.0]).to("cupy").numpy().tolist() == [2.0] and gpu.reads == before + 3
    assert NUMPY.read(np.array([3.5])) == 3.5 and NUMPY.reads == 0


def test_copies_go_into_an_array_where_it_is(gpu, machine):
    x = on(gpu, np.zeros((2, 3), np.float32))
    place = gpu.address(x)
    gpu.copy_into(x, np.arange(6).reshape(3, 2).T)
    assert machine.log[-1] == ("set", 24) and x.array.tolist() == [[0, 2, 4], [1, 3, 5]]
    gpu.copy_into(x, on(gpu, np.ones((2, 3))))
    assert x.array.tolist() == [[1, 1, 1]] * 2 and x.dtype == np.float32
    gpu.copy_into(x, np.array([7, 8, 9]))
    assert x.array.tolist() == [[7, 8, 9]] * 2 and gpu.address(x) == place
    y = np.zeros(3)
    NUMPY.copy_into(y, [1, 2, 3])
    assert y.tolist() == [1, 2, 3]


@pytest.mark.parametrize("name, call", [("item", "read"), ("asnumpy", "to_host"), ("synchronize", "synchronize")])
def test_an_error_of_the_gpu_that_comes_late(name, call, gpu, machine):
    machine.failing[name] = CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
    with pytest.raises(BackendError, match=f"{call}: CUDA reports cudaErrorIllegalAddress.*CUDA_LAUNCH_BLOCKING=1"):
        getattr(gpu, call)(*([] if call == "synchronize" else [on(gpu, 1.0)]))


# ---------------------------------------------------------------- kernels


def test_a_kernel_is_compiled_once_for_each_type(gpu, kernels, machine):
    x = on(gpu, np.zeros(3, np.float32))
    for _ in range(3):
        gpu.launch("own", "add_one", np.float32, 2, (32, 4), x)
    assert x.array.tolist() == [3, 3, 3] and machine.log[-1] == ("add_one", (2,), (32, 4), 0)
    gpu.launch("own", "add_one", "float64", (1, 2, 3), 64, x)
    (first, options), (second, _) = machine.compiled
    assert options == ("-std=c++17",) and "#define REAL float\n" in first and "#define REAL double\n" in second
    assert first == cuda.source("own", np.float32)


def test_what_a_kernel_is_given(gpu, kernels, machine):
    x = on(gpu, [1.0])
    pair = np.zeros(1, np.dtype([("rate", np.float64), ("count", np.int64)], align=True))
    gpu.launch("own", "note_all", np.float32, 1, 32, x, None, 3, True, 0.5, pair)
    array, null, number, yes, real, record = machine.log[-1][1]
    assert array is x and record is pair and (number, real) == (3, 0.5)
    assert null == 0 and null.itemsize == 8  # CuPy takes None for no argument at all
    assert type(yes) is int and yes == 1  # CuPy would hand over one byte
    for wrong, said in (
        (on(gpu, np.ones((2, 2))).T, "not C-contiguous"),
        ("x", "note_all of own.cu, float32, with 1 blocks"),
    ):
        with pytest.raises(BackendError, match=said):
            gpu.launch("own", "note_all", np.float32, 1, 32, wrong)


def test_a_kernel_that_does_not_compile_or_run(gpu, kernels, machine):
    with pytest.raises(BackendError, match='nope of bad.cu, float64.*identifier "nope" is undefined 1 error') as caught:
        gpu.launch("bad", "nope", np.float64, 1, 32)
    assert "ta.use_kernels('reference')" in str(caught.value)
    with pytest.raises(BackendError, match="missing of own.cu.*named symbol not found"):
        gpu.launch("own", "missing", np.float32, 1, 32)
    machine.failing["add_one"] = fake_cupy.CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    with pytest.raises(BackendError, match="with 0 blocks of 2048 threads: CUDA_ERROR_INVALID_VALUE"):
        gpu.launch("own", "add_one", np.float32, 0, 2048, on(gpu, [1.0]))
    machine.failing["add_one"] = OutOfMemoryError("Out of memory allocating 1,024 bytes")
    with pytest.raises(OutOfMemoryError):
        gpu.launch("own", "add_one", np.float32, 1, 32, on(gpu, [1.0]))


def test_each_stream_has_a_ticket_of_its_own(gpu, machine):
    ticket = gpu.ticket()
    assert ticket is gpu.ticket() and ticket.dtype == np.uint32 and ticket.array.tolist() == [0]
    with gpu.xp.cuda.Stream(non_blocking=True):
        assert gpu.ticket() is not ticket
    for wrong in (lambda: NUMPY.ticket(), lambda: NUMPY.launch("own", "add_one", np.float32, 1, 32)):
        with pytest.raises(BackendError, match="the backend 'numpy' has no kernels in CUDA C"):
            wrong()


# ---------------------------------------------------------------- graphs


def test_a_captured_step_is_done_by_each_launch(gpu, machine, blas, kernels):
    x, y = on(gpu, np.zeros((2, 2), np.float32)), on(gpu, np.eye(2, dtype=np.float32))

    def step():
        gpu.launch("own", "add_one", np.float32, 1, 32, x)
        return gpu.matmul(x, y)

    graph, result = gpu.capture(step)
    assert x.array.max() == 0 and result.array.max() == 77  # not computed
    for n in (1, 2, 3):
        graph.launch()
        assert x.array.min() == n and gpu.to_host(result).tolist() == [[n, n], [n, n]]
    with gpu.xp.cuda.Stream(non_blocking=True) as other:
        graph.launch()
    assert machine.log[-1] == ("launch graph", other.ptr)


def test_a_capture_is_in_order_with_what_is_asked_around_it(gpu, machine, blas, kernels):
    x, y = on(gpu, np.zeros((2, 2), np.float32)), on(gpu, np.eye(2, dtype=np.float32))
    machine.log.clear()
    graph, _ = gpu.capture(lambda: (gpu.launch("own", "add_one", np.float32, 1, 32, x), gpu.ticket(), gpu.matmul(x, y)))
    stream, pool = graph.pool.stream.ptr, graph.pool.memory
    assert machine.log == [
        ("wait", stream, 0),
        ("malloc", pool, stream),  # the ticket
        ("malloc", pool, stream),  # what cuBLAS works in
        ("begin", stream),
        ("add_one", (1,), (32,), stream),
        ("malloc", pool, stream),
        ("end", stream),
        ("wait", 0, stream),
    ]
    assert machine.current == [machine.null] and not machine.allocators


def test_a_step_can_run_in_the_graphs_memory_before(gpu, machine, kernels):
    x, pool = on(gpu, [0.0]), gpu.pool()
    machine.log.clear()
    with gpu.private_memory(pool):
        gpu.launch("own", "add_one", np.float64, 1, 32, x)
        gpu.empty(3, np.float32)
    assert x.array.tolist() == [1.0]
    stream = pool.stream.ptr
    assert machine.log == [
        ("wait", stream, 0), ("add_one", (1,), (32,), stream), ("malloc", pool.memory, stream), ("wait", 0, stream),
    ]  # fmt: skip
    graph, _ = gpu.capture(lambda: gpu.launch("own", "add_one", np.float64, 1, 32, x), pool)
    assert graph.pool is pool and machine.log[-2] == ("end", stream)


class Oops(Exception):
    pass


def test_an_error_in_a_step_leaves_nothing_captured(gpu, machine, kernels):
    x = on(gpu, [0.0])

    def step(error):
        gpu.launch("own", "add_one", np.float64, 1, 32, x)
        raise error

    for error in (Oops(), KeyboardInterrupt(), OutOfMemoryError("Out of memory allocating 1,024 bytes")):
        with pytest.raises(type(error)) as caught:
            gpu.capture(lambda error=error: step(error))
        assert caught.value is error
        assert machine.current == [machine.null] and not machine.allocators
        assert [entry[0] for entry in machine.log[-2:]] == ["end", "wait"]
    assert x.array.tolist() == [0.0]
    graph, _ = gpu.capture(lambda: gpu.launch("own", "add_one", np.float64, 1, 32, x))
    graph.launch()
    assert x.array.tolist() == [1.0] and gpu.read(x) == 1.0


def test_what_makes_a_capture_invalid_does_not_hide_the_first_error(gpu, machine):
    x = on(gpu, [1.0])
    with pytest.raises(CUDARuntimeError, match="StreamCaptureUnsupported"):
        gpu.capture(x.item)  # past the backend, so that CUDA finds it: ending the capture fails as well
    assert gpu.read(x) == 1.0 and machine.current == [machine.null]

    def swallows():
        with contextlib.suppress(RuntimeError):
            x.item()

    with pytest.raises(BackendError, match="capture: CUDA reports cudaErrorStreamCaptureInvalidated"):
        gpu.capture(swallows)
    machine.failing["begin_capture"] = CUDARuntimeError("cudaErrorIllegalState: no")
    with pytest.raises(BackendError, match="capture: CUDA reports cudaErrorIllegalState"):
        gpu.capture(lambda: None)
    assert machine.current == [machine.null] and not machine.allocators


def test_nothing_crosses_between_host_and_device_during_a_capture(gpu, machine):
    x, before = on(gpu, [1.0]), gpu.reads
    crossings = {
        "read": lambda: gpu.read(x),
        "to_host": lambda: gpu.to_host(x),
        "asarray": lambda: gpu.asarray(np.ones(1)),
        "synchronize": gpu.synchronize,
        "copy_into": lambda: gpu.copy_into(x, np.ones(1)),
        "capture": lambda: gpu.capture(lambda: None),
        "private_memory": lambda: gpu.private_memory(gpu.pool()).__enter__(),
    }
    for name, crossing in crossings.items():
        with pytest.raises(BackendError, match=f"^{name}: "):
            gpu.capture(crossing)
    assert gpu.reads == before
    graph, y = gpu.capture(lambda: (gpu.copy_into(x, gpu.asarray(x) + 1), x)[1])
    graph.launch()
    assert gpu.read(y) == 2.0
    with pytest.raises(BackendError, match="capture: the backend 'numpy' has no graphs"):
        NUMPY.capture(lambda: None)


def test_another_thread_may_read_meanwhile(gpu):
    x, seen = on(gpu, [4.0]), []

    def step():
        thread = threading.Thread(target=lambda: seen.append(gpu.is_capturing))
        thread.start()
        thread.join()

    gpu.capture(step)
    assert seen == [False] and gpu.read(x) == 4.0


def test_a_graph_keeps_its_memory_and_nothing_is_left_of_it(gpu, machine, blas):
    x = on(gpu, np.eye(2))
    gpu.matmul(x, x)
    gpu.ticket()
    tickets, workspaces = set(gpu._tickets), set(gpu._workspaces)
    graph, result = gpu.capture(lambda: gpu.matmul(x, x))
    stream = graph.pool.stream.ptr
    assert stream in gpu._tickets and stream in gpu._workspaces
    del graph
    gc.collect()
    assert set(gpu._tickets) == tickets and set(gpu._workspaces) == workspaces
    assert gpu._cublas._stream != stream  # a new stream could be given the same number


def test_without_cublas_what_multiplies_nothing_is_captured(gpu, machine, kernels, monkeypatch):
    def missing(major, cure):
        raise BackendError(f"matmul: there is no cuBLAS. {cure}")

    monkeypatch.setattr(cublas, "load", missing)
    x = on(gpu, np.zeros((1, 1)))
    gpu.capture(lambda: gpu.launch("own", "add_one", np.float64, 1, 32, x))[0].launch()
    assert gpu.read(x) == 1.0
    with pytest.raises(BackendError, match="there is no cuBLAS. Install it with pip install"):
        gpu.capture(lambda: gpu.matmul(x, x))


def test_memory_that_cupy_keeps_is_there_for_a_graph(gpu, machine):
    allocate = gpu.pool().memory.allocate
    machine.log.clear()
    assert allocate(1 << 20) == (1 << 20, 0) and machine.kept == 100
    assert allocate((1 << 30) + 100) == ((1 << 30) + 100, 0) and machine.kept == 0
    with pytest.raises(CUDARuntimeError, match="out of memory"):
        allocate(1 << 31)
    assert [size for _, size in machine.log] == [1 << 20, *[(1 << 30) + 100] * 2, *[1 << 31] * 2]


def test_a_graph_that_fails(gpu, machine):
    graph, _ = gpu.capture(lambda: None)
    machine.failing["graph.launch"] = CUDARuntimeError("cudaErrorLaunchFailure: unspecified launch failure")
    with pytest.raises(BackendError, match="launch of a graph: CUDA reports cudaErrorLaunchFailure"):
        graph.launch()
