"""Matrix products on a GPU: what cuBLAS is told, on one that computes on the CPU and counts along columns as it does."""

import sys
import threading
import types

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import NUMPY, matmul_precision
from tinyae.errors import BackendError, RangeError
from tinyae.kernels import cublas

from . import fake_cupy
from .fake_cupy import Machine


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


def on(gpu, array):
    return gpu.asarray(np.array(array))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("M, K, N", [(2, 3, 5), (7, 1, 1), (1, 4, 1), (1, 1, 6)])
def test_matrix_products(dtype, transpose_a, transpose_b, M, K, N, gpu, blas, rng):
    a = rng.normal(size=(K, M) if transpose_a else (M, K)).astype(dtype)
    b = rng.normal(size=(N, K) if transpose_b else (K, N)).astype(dtype)
    expected = NUMPY.matmul(a, b, transpose_a, transpose_b)
    result = gpu.matmul(on(gpu, a), on(gpu, b), transpose_a, transpose_b)
    assert result.shape == expected.shape == (M, N) and result.dtype == dtype
    assert np.allclose(result.array, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_nothing_to_multiply(gpu, blas):
    assert gpu.matmul(on(gpu, np.ones((2, 0))), on(gpu, np.ones((0, 3)))).array.tolist() == [[0] * 3] * 2
    assert gpu.matmul(on(gpu, np.ones((0, 2))), on(gpu, np.ones((2, 3)))).shape == (0, 3) and blas.calls == []


@pytest.mark.parametrize("capability, size", [((9, 0), 32 << 20), ((10, 0), 32 << 20), ((8, 6), 4 << 20)])
def test_the_handle_is_set_only_where_something_changed(capability, size, monkeypatch):
    machine = Machine(capability=capability)
    fake_cupy.install(monkeypatch, machine)
    library, gpu = fake_cupy.found_cublas(monkeypatch, machine), ta.get_backend("cupy")
    x = on(gpu, np.eye(3, dtype=np.float32))
    gpu.matmul(x, x)
    create = ["cublasCreate_v2", "cublasSetPointerMode_v2"]
    stream = ["cublasSetStream_v2", "cublasSetWorkspace_v2"]
    assert library.calls == [*create, *stream, "cublasSetMathMode", "cublasSgemm_v2"]
    first = library.workspace
    assert first[1] == size and library.stream == 0
    library.calls.clear()
    gpu.matmul(x, x)
    assert library.calls == ["cublasSgemm_v2"]
    library.calls.clear()
    with gpu.xp.cuda.Stream(non_blocking=True) as other:
        gpu.matmul(x, x)
    assert library.calls == [*stream, "cublasSgemm_v2"] and library.stream == other.ptr
    assert library.workspace[0] != first[0]
    gpu.matmul(x, x)
    assert library.workspace == first


def test_a_graph_may_be_collected_in_the_middle_of_a_product(gpu, blas):
    """Python looks for garbage when it likes; a stream that is forgotten then is not waited for."""
    x = on(gpu, np.eye(2))
    gpu.matmul(x, x)
    does = blas.gemm
    blas.gemm = lambda *given: (gpu._forget(0), does(*given))
    done = []
    thread = threading.Thread(target=lambda: done.append(gpu.matmul(x, x)), daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert done and done[0].array.tolist() == [[1, 0], [0, 1]]


def test_precision(gpu, blas):
    x, y = (on(gpu, np.eye(2, dtype=dtype)) for dtype in (np.float32, np.float64))
    assert ta.get_matmul_precision() == matmul_precision.get() == "float32"
    seen = []
    try:
        for name in ("float32", "TF32", "float32"):
            ta.set_matmul_precision(name)
            gpu.matmul(x, x)
            seen.append((ta.get_matmul_precision(), blas.math))
        assert seen == [("float32", 0), ("tf32", 3), ("float32", 0)]
        gpu.matmul(y, y)
        with pytest.raises(RangeError, match="unknown matmul precision 'tf16'. Known, nearest first: tf32, float32"):
            ta.set_matmul_precision("tf16")
        ta.set_matmul_precision("tf32")
        other = []
        thread = threading.Thread(target=lambda: other.append(ta.get_matmul_precision()))
        thread.start()
        thread.join()
        assert other == ["float32"]
    finally:
        ta.set_matmul_precision("float32")


def test_matrices_that_cannot_be_multiplied(gpu, blas):
    x = on(gpu, np.ones((2, 3)))
    for a, b in ((x, on(gpu, np.ones((3, 2), np.float32))), (x, on(gpu, np.ones(3))), (x, x.T),
                 (on(gpu, np.ones((2, 3), int)), on(gpu, np.ones((3, 2), int)))):  # fmt: skip
        with pytest.raises(BackendError, match="expected two C-contiguous matrices of one float type"):
            gpu.matmul(a, b)
    with pytest.raises(BackendError, match="2 x 3 by 2 x 3"):
        gpu.matmul(x, x)
    handle = cublas.Cublas(blas)
    with pytest.raises(BackendError, match="2,147,483,648 rows or columns"):
        handle.multiply(np.float32, (0, 2**31, 1), (0, 1, 1), (0, 2**31, 1), 0, (256, 1))


def test_what_cublas_answers_is_told(gpu, blas):
    x = on(gpu, np.ones((2, 2)))
    blas.failing["cublasCreate_v2"] = 3
    with pytest.raises(
        BackendError, match=r"cublasCreate_v2: cuBLAS answers CUBLAS_STATUS_OF_TEST \(3: it is a test\). The"
    ):
        gpu.matmul(x, x)
    blas.failing = {"cublasSetWorkspace_v2": 7}
    for _ in range(2):  # the stream is not taken for set
        with pytest.raises(BackendError, match=r"cublasSetWorkspace_v2: cuBLAS answers .*\(7: it is a test\).$"):
            gpu.matmul(x, x)
    blas.failing = {"cublasDgemm_v2": 13}
    with pytest.raises(BackendError, match="cublasDgemm_v2: .* nothing more can be computed in this process"):
        gpu.matmul(x, x)
    blas.failing = {}
    assert gpu.matmul(x, x).array.tolist() == [[2, 2], [2, 2]]


def test_no_cublas_or_one_for_another_cuda(gpu, machine, monkeypatch):
    x = on(gpu, np.ones((2, 2)))
    libraries = {"one": fake_cupy.Cublas(machine, version=13), "other": fake_cupy.Cublas(machine)}
    del libraries["other"].cublasSetMathMode

    def find(path):
        if path not in libraries:
            raise OSError(f"{path}: cannot open shared object file")
        return libraries[path]

    monkeypatch.setattr(cublas, "places", lambda major: iter(["one", f"libcublas.so.{major}", "other"]))
    monkeypatch.setattr(cublas, "ctypes", types.SimpleNamespace(CDLL=find))
    with pytest.raises(BackendError) as caught:
        gpu.matmul(x, x)
    for part in ("no cuBLAS for CUDA 12", "one is for CUDA 13", "libcublas.so.12: libcublas.so.12: cannot open",
                 "cublasSetMathMode", "pip install 'cupy-cuda12x[ctk]'"):  # fmt: skip
        assert part in str(caught.value)
    libraries["libcublas.so.12"] = fake_cupy.Cublas(machine)
    assert gpu.matmul(x, x).array.tolist() == [[2, 2], [2, 2]]


def test_where_cublas_is_looked_for(monkeypatch):
    found = types.ModuleType("cuda.pathfinder")
    found.load_nvidia_dynamic_lib = lambda name: types.SimpleNamespace(abs_path=f"/wheels/lib{name}.so")
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", found)
    monkeypatch.setattr(sys, "platform", "linux")
    assert list(cublas.places(12)) == ["/wheels/libcublas.so", "libcublas.so.12"]
    monkeypatch.delitem(sys.modules, "cuda.pathfinder")
    monkeypatch.setattr(sys, "platform", "win32")
    assert list(cublas.places(13)) == ["cublas64_13.dll"]
