"""The stand-in for a GPU itself: what kernels compute there, and what it refuses that goes unnoticed on a GPU."""

import subprocess
import sys

import numpy as np
import pytest

import tinyae as ta
from tinyae.kernels import cuda

from . import emulated_cuda
from .emulated_cuda import LaunchError

pytestmark = pytest.mark.skipif(not emulated_cuda.COMPILER, reason="kernels on the CPU need g++")
COMMON = '#define REAL float\n#line 1 "common.cuh"\n' + (cuda.FOLDER / "common.cuh").read_text() + '#line 1 "test.cu"\n'
strict = ta.get_backend("strict")


def run(text, kernel, blocks, threads, *arguments):
    """Run a kernel whose body is given, on host arrays as device arrays; gives these as they are afterwards."""
    arguments = [strict.asarray(a) if isinstance(a, np.ndarray) and not a.dtype.names else a for a in arguments]
    strict.launch_text(COMMON + text, kernel, blocks, threads, *arguments)
    return [strict.to_host(a) for a in arguments if isinstance(a, strict.array_type)]


def body(text, parameters="float *y"):
    """A kernel called ``test``."""
    return f'extern "C" __global__ void test({parameters}) {{ {text} }}'


def kernel(text, blocks, threads, *arguments, parameters="float *y"):
    return run(body(text, parameters), "test", blocks, threads, *arguments)


def all_of(bodies, parameters):
    """Kernels test0, test1, ... with these bodies and parameters in one text, which is compiled once."""
    both = enumerate(zip(bodies, parameters))
    return "".join(f'extern "C" __global__ void test{i}({given}) {{ {text} }}\n' for i, (text, given) in both)


# ---------------------------------------------------------------- what kernels compute

TOTAL = """
extern "C" __global__ void total(const REAL *x, REAL *parts, REAL *sum, unsigned int *ticket, long long n) {
    __shared__ REAL places[WARP];
    REAL own = 0;
    EACH(i, n) own += x[i];
    own = block_sum(own, places);
    if (threadIdx.x == 0) parts[blockIdx.x] = own;
    if (!is_last_block(ticket)) return;
    own = 0;
    for (int i = threadIdx.x; i < gridDim.x; i += blockDim.x) own += parts[i];
    own = block_sum(own, places);
    if (threadIdx.x == 0) *sum = own;
}"""


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1000, 100_000])
def test_sum_by_all_that_is_shared(n, rng):
    x = rng.normal(size=n).astype("f4")
    nothing = np.full(5, np.nan, "f4")
    total = run(TOTAL, "total", 5, 256, x, nothing, nothing[:1], np.zeros(1, "u4"), n)[2]
    assert np.isclose(total[0], x.sum(dtype="f8"), atol=1e-4)


def test_two_sums_of_a_block_one_after_the_other():
    text = (
        "__shared__ float places[WARP]; y[threadIdx.x] = block_sum(1.0f, places) + block_sum(y[threadIdx.x], places);"
    )
    (y,) = kernel(text, 1, 256, np.arange(256, dtype="f4"))
    assert y[0] == 256 + 255 * 128


def test_every_thread_of_a_grid():
    text = """
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x, size = blockDim.x * blockDim.y * blockDim.z;
    y[block * size + (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x] +=
        1 + threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
    """
    (got,) = kernel(text, (2, 3, 4), (5, 6, 7), np.zeros((4, 3, 2, 7, 6, 5), "f4"))
    z, y, x, c, b, a = np.indices(got.shape)
    assert np.array_equal(got, 1 + a + 10 * b + 100 * c + 1000 * x + 10000 * y + 100000 * z)


@pytest.mark.parametrize("threads", [32, 48, 1024])
def test_shuffles(threads):
    text = """
    int i = threadIdx.x, all = blockDim.x;
    unsigned full = 0xffffffffu;
    y[i] = __shfl_sync(full, i, 5);
    y[all + i] = __shfl_down_sync(full, (float)i, 3);
    y[2 * all + i] = __shfl_up_sync(full, (double)i, 3);
    y[3 * all + i] = __shfl_xor_sync(full, (long long)i, 6);
    y[4 * all + i] = __shfl_sync(full, i, 9, 8);
    y[5 * all + i] = __shfl_xor_sync(full, i, 4, 8);
    y[6 * all + i] = __popc(__ballot_sync(full, i % 3 == 0)) + 100 * __any_sync(full, i == 40) + 1000 * __all_sync(full, i < 40);
    """
    (y,) = kernel(text, 1, threads, np.zeros((7, threads), "f4"))
    i = np.arange(threads)
    lane, first = i % 32, i - i % 32
    there = i < threads - threads % 32  # whole warps: in a partial one some lanes read from those that are missing
    expected = [first + 5, np.where(lane < 29, i + 3, i), np.where(lane < 3, i, i - 3), i ^ 6, i - i % 8 + 1, i ^ 4]
    for got, right in zip(y, expected):
        assert np.array_equal(got[there], right[there])
    for warp in range(0, threads, 32):
        own = np.arange(warp, min(warp + 32, threads))
        votes = np.count_nonzero(own % 3 == 0) + 100 * (40 in own) + 1000 * (own < 40).all()
        assert (y[6, own] == votes).all()


def test_part_of_a_warp():
    text = "if (threadIdx.x % 32 >= 8) return; y[threadIdx.x] = __shfl_xor_sync(0xffu, threadIdx.x, 1);"
    (y,) = kernel(text, 1, 64, np.zeros(64, "f4"))
    assert y[:8].tolist() == [1, 0, 3, 2, 5, 4, 7, 6] and y[32] == 33 and not y[8:32].any()


def test_struct_and_null():
    text = """
    struct Given { float *y; long long n; float x[3]; };
    extern "C" __global__ void test(Given given, const float *x, double scale) {
        if (threadIdx.x < given.n) given.y[threadIdx.x] = given.x[threadIdx.x] * scale + (x ? 1 : 0);
    }"""
    given = np.zeros(1, np.dtype([("y", "u8"), ("n", "i8"), ("x", "f4", 3)], align=True))
    y = strict.asarray(np.zeros(3, "f4"))
    given["y"], given["n"], given["x"] = strict.address(y), 3, [[1, 2, 3]]
    run(text, "test", 1, 32, given, None, 0.5)
    assert strict.to_host(y).tolist() == [0.5, 1, 1.5]
    given["n"] = 4  # the guard bands of what a struct points to are looked at, too
    with pytest.raises(LaunchError, match="(?s)has written to 4 bytes behind the last element of given|out of bounds"):
        run(text, "test", 1, 32, given, None, 0.5)


def test_min_and_max_drop_nan_as_cuda_does():
    (y,) = kernel("y[0] = max(y[0], 1.0f); y[1] = min(1.0f, y[1]);", 1, 1, np.full(2, np.nan, "f4"))
    assert y.tolist() == [1, 1]


# ---------------------------------------------------------------- what shows


def test_nothing_is_left_in_shared_memory():
    text = "__shared__ float s[1]; y[2 * blockIdx.x] = s[0]; s[0] = 1; y[2 * blockIdx.x + 1] = s[0];"
    (y,) = kernel(text, 3, 1, np.zeros((3, 2), "f4"))
    assert np.isnan(y[:, 0]).all() and (y[:, 1] == 1).all()


def test_nothing_is_in_shared_memory_of_templates():
    text = """
    template <class T> __device__ void before(T *y) { __shared__ T s[4]; y[blockIdx.x] = s[blockIdx.x]; s[blockIdx.x] = 1; s[2] = 1; }
    extern "C" __global__ void test(float *y) { before(y); }"""
    (y,) = run(text, "test", 3, 1, np.zeros(3, "f4"))
    assert np.isnan(y).all()


def test_lanes_that_cannot_be_read():
    (y,) = kernel("y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 8);", 1, 40, np.zeros(40, "f4"))
    assert (y[:32] == 1).all() and np.isnan(y[32:]).all()


def test_new_memory_is_full_of_nan():
    assert np.isnan(strict.to_host(strict.empty((3,), np.float32))).all()
    assert (strict.to_host(strict.xp.empty_like(strict.asarray(np.arange(3)))) == -1).all()


# ---------------------------------------------------------------- what ends a launch

FAILURES = {
    "if (threadIdx.x) __syncthreads();": r"deadlock in block .*: of 64 threads 63 wait at __syncthreads, 0 .*, and 1 have",
    "if (threadIdx.x < 32) __syncthreads(); else __syncwarp();": "deadlock",
    "if (threadIdx.x % 32) __syncwarp(); else __syncthreads();": "deadlock",
    "if (threadIdx.x % 32 != 3) y[0] = __shfl_sync(0xfu, 1, 0);": "whose mask, 0xf, leaves it out",
    "if (threadIdx.x % 32 < 16) __shfl_sync(~0u, 1, 0); else __ballot_sync(~0u, 1);": "different operations",
    "__shared__ float s[63]; s[threadIdx.x] = 1; y[threadIdx.x] = s[threadIdx.x];": r"index 63 is out of bounds, in test.cu:[0-9]+",
    "float own[4]; for (int i = 0; i <= y[0]; i++) own[i] = 1; y[0] = own[0];": "index 4 is out of bounds",
    "float *z = y[0] == 4 ? nullptr : y; *z = 1;": "a null pointer",
    "*(float4 *)(y + 1) = make_float4(1, 2, 3, 4);": "a misaligned pointer",
    "y[0] = 1 / (int)(y[0] - 4);": "a division by zero",
    "if (threadIdx.x + blockIdx.x == 0) y[256] = 1;": r"has written to [1-4] bytes behind the last element of y",
    "if (threadIdx.x + blockIdx.x == 0) y[-1] = 1;": "before the first element of y",
}


@pytest.mark.parametrize("i", range(len(FAILURES)), ids=[message.split(",")[0] for message in FAILURES.values()])
def test_failures(i):
    bodies, y = [*FAILURES, "y[threadIdx.x] = 1;"], np.full(256, 4, "f4")
    text = all_of(bodies, ["float *y"] * len(bodies))
    with pytest.raises(LaunchError, match=FAILURES[bodies[i]]):
        run(text, f"test{i}", 2, 64, y)
    assert (run(text, f"test{len(FAILURES)}", 1, 256, y)[0] == 1).all()  # the next launch is as if nothing had been


WRONG = [
    ("const float *x, long long n", (), "was given 0 arguments; expected 2: x, n"),
    ("float *x", (np.zeros(3),), "argument 1, x, is an array of float64; the kernel takes float"),
    ("unsigned int *x", (np.zeros(3, "i8"),), "array of int64; the kernel takes unsigned int"),
    ("const unsigned char *x", (np.zeros(3, "i1"),), "array of int8"),
    ("long long *x", (3,), "is the int 3, which comes as long long; the kernel takes long long [*]"),
    ("long long n", (3.0,), "is the float 3.0, which comes as double; the kernel takes long long"),
    ("int n", (3,), "is the int 3, which comes as long long; the kernel takes int"),
    ("float x", (3.0,), "comes as double; the kernel takes float"),
    ("double x", (3,), "comes as long long; the kernel takes double"),
    ("double x", (None,), "is None; the kernel takes double"),
    ("double x", (np.zeros(1),), "is a device array; the kernel takes double"),
    ("long long n", (np.int64(3),), "is a numpy.int64; expected a device array"),
    ("long long n", ("3",), "is a builtins.str; expected a device array"),
    ("double x", (np.zeros(1, [("x", "f8"), ("y", "f8")]),), "is a struct of 16 bytes; the kernel takes double, of 8"),
]


@pytest.mark.parametrize("i", range(len(WRONG)), ids=[message for _, _, message in WRONG])
def test_wrong_arguments(i):
    text = all_of([""] * len(WRONG), [parameters for parameters, _, _ in WRONG])
    with pytest.raises(LaunchError, match=WRONG[i][2]):
        run(text, f"test{i}", 1, 32, *WRONG[i][1])


def test_wrong_struct():
    text = "struct Given { double x[3]; }; " + body("", "Given given")
    with pytest.raises(LaunchError, match="is a struct of 16 bytes; the kernel takes Given, of 24 bytes"):
        run(text, "test", 1, 32, np.zeros(1, [("x", "f8", 2)]))


def test_wrong_arrays():
    y = strict.asarray(np.zeros((4, 6), "f4"))
    with pytest.raises(LaunchError, match="has strides .* kernels take C-contiguous arrays"):
        strict.launch_text(body(""), "test", 1, 32, y.T)
    with pytest.raises(LaunchError, match="no multiple of 16 bytes"):
        strict.launch_text(body("", "float4 *y"), "test", 1, 32, y[1])
    with pytest.raises(LaunchError, match="is a numpy.ndarray; expected a device array"):
        strict.launch_text(body(""), "test", 1, 32, np.zeros(3, "f4"))


@pytest.mark.parametrize(
    "blocks, threads, message",
    [
        (0, 32, "blocks must be 1 to 3 ints of 1 or more"),
        (1, 32.0, "threads must be"),
        ((1, 1, 1, 1), 32, "blocks must be"),
        (1, 1025, "no GPU takes"),
        ((1, 65536), 32, "no GPU takes"),
        (1, 256, "256, 1, 1. threads, but its __launch_bounds__ are 128"),
    ],
)
def test_wrong_sizes(blocks, threads, message):
    text = '#define MOST 64\nextern "C" __global__ void __launch_bounds__(2 * MOST, 1) test() {}'
    with pytest.raises(LaunchError, match=message):
        run(text, "test", blocks, threads)


def test_wrong_texts():
    with pytest.raises(LaunchError, match="there is no kernel wrong.* there are test"):
        run(body(""), "wrong", 1, 32)
    with pytest.raises(LaunchError, match="(?s)g\\+\\+ refuses these kernels.*test.cu"):
        kernel("y[0] = z;", 1, 1, np.zeros(1, "f4"))
    with pytest.raises(LaunchError, match="(?s)refuses these kernels.*frame size"):  # larger than a fiber's stack
        kernel("volatile char own[1 << 16]; own[(int)y[0]] = 1; y[0] = own[0];", 1, 1, np.zeros(1, "f4"))


def test_kernels_made_by_macros():
    text = '#define MAKE(name, x) extern "C" __global__ void name(REAL *y) { *y = x; }\nMAKE(one, 1) MAKE(two, 2)'
    assert run(text, "two", 1, 1, np.zeros(1, "f4"))[0] == 2


def test_slow_switches(monkeypatch):
    """Where there is no short way from fiber to fiber, the system's is taken."""
    monkeypatch.setattr(emulated_cuda, "OPTIONS", [*emulated_cuda.OPTIONS, "-DSLOW_SWITCH"])
    y = strict.asarray(np.zeros(64, "f4"))
    text = body(
        "__shared__ float s[64]; s[threadIdx.x] = threadIdx.x; __syncthreads(); y[threadIdx.x] = s[63 - threadIdx.x];"
    )
    for watched in (False, True):
        launch = emulated_cuda.Kernels(text, watched).launch("test", 1, 64, [emulated_cuda.Pointer(y._array)])
        launch.run(launch.memories)
    assert strict.to_host(y).tolist() == list(range(63, -1, -1))


def test_several_processes_compile_at_once(tmp_path, monkeypatch):
    """None of them loads what another has written by half."""
    code = (
        "import os, tempfile; tempfile.tempdir = os.environ['PLACE']\n"
        "import tests.conftest\nfrom tests.test_cuda_on_cpu import *\n"
        "print(kernel('y[threadIdx.x] = threadIdx.x;', 1, 32, np.zeros(32, 'f4'))[0].sum())"
    )
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, text=True) for _ in range(3)]
    assert [p.communicate(timeout=120)[0].strip() for p in processes] == ["496.0"] * 3
    assert len(list(tmp_path.rglob("*"))) == 3  # the folder, and two files
