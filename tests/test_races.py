"""Kernels in which threads meet without a barrier: the stand-in for a GPU shows it by what they compute, and says where."""

import re

import numpy as np
import pytest

from . import emulated_cuda
from .emulated_cuda import LaunchError
from .test_cuda_on_cpu import all_of, run

pytestmark = pytest.mark.skipif(not emulated_cuda.COMPILER, reason="kernels on the CPU need g++")
ORDERS = range(8)
THREADS, BLOCKS = 96, 5

# {what it is: kernel}, in which {} is what is missing in one of two versions, and what it is given in the other; by them
# a thread reads what another one wrote, or writes what another one is still to read
SHARED = {
    "__syncthreads after one has written": "if (i == 40) s[0] = 3; {__syncthreads();} y[i] = s[0];",
    "__syncthreads after all have written": "s[i] = i; {__syncthreads();} y[i] = s[(i + 50) % 96];",
    "__syncthreads before the next round writes": """
        for (int round = 0; round < 3; round++) {
            s[i] = i + round; __syncthreads(); y[i] += s[(i + 33) % 96]; {__syncthreads();}
        }""",
    "__syncthreads before a place is used again": """
        if (i == 0) s[0] = 1; __syncthreads(); y[i] = s[0]; {__syncthreads();} if (i == 50) s[0] = 2;""",
    "__syncwarp between lanes": "s[i] = i; {__syncwarp();} y[i] = s[i ^ 5];",
    "__syncwarp before the next round writes": """
        for (int round = 0; round < 3; round++) { s[i] = i + round; __syncwarp(); y[i] += s[i ^ 1]; {__syncwarp();} }""",
    "__syncwarp, for a shuffle is no barrier": "s[i] = i; __shfl_sync(~0u, i, 0); {__syncwarp();} y[i] = s[i ^ 5];",
    "all of a mask": "if (i & 1) return; s[i] = i; __syncwarp({0x55555555}); y[i] = s[i ^ 2];",
    "an atomic operation": "if (i < 2) s[i] = 0; __syncthreads(); {atomicAdd(s + i % 2, (float)i)}; __syncthreads(); y[i] = s[i % 2];",
    "__syncthreads, for other warps": "s[i] = i; {__syncthreads();} __syncwarp(); y[i] = s[(i + 32) % 96];",
}
NO_ORDER_SHOWS = ["__syncwarp, for a shuffle is no barrier", "an atomic operation"]  # both keep threads apart here
MISSING = {"all of a mask": "1u << i % 32", "an atomic operation": "s[i % 2] = s[i % 2] + i"}
# threads of different blocks; whatever such a kernel does about it, but for atomic operations and fences, it is a race
GLOBAL = {
    "a neighbouring block's number": "long long k = blockIdx.x * 96 + i; y[k] = k; __syncthreads(); y[480 + k] = y[(k + 96) % 480];",
    "a sum without atomic operations": "if (i == 0) y[0] += 1;",
    "in place, from where another thread writes": "long long k = blockIdx.x * 96 + i; y[k] = y[(k + 1) % 480] + 1;",
}
# the block that comes last adds up; `last` is atomicAdd's answer
LAST = """
    __shared__ bool last;
    if (i == 1) y[blockIdx.x] = blockIdx.x;
    {before} __syncthreads();
    if (i == 0) { {release} last = atomicAdd((unsigned *)y + 100, 1u) == {count}; {acquire} }
    {together}
    if (last && i < 5) y[10 + i] = y[4 - i];"""
RIGHT = {
    "before": "", "release": "__threadfence();", "acquire": "__threadfence();", "together": "__syncthreads();",
    "count": "4",
}  # fmt: skip
WRONG = {
    "no fence before": {"release": ""},
    "no fence after": {"acquire": ""},
    "no barrier after": {"together": ""},
    "a fence of each thread for itself": {"before": "__threadfence();", "release": ""},
    "a block that is not the last": {"count": "2"},
}


def version(text, right, missing=""):
    """A kernel with what is in braces as a statement of its own, or without."""
    pattern = r"\{([^{};]*;?)\}"
    return "int i = threadIdx.x; __shared__ float s[96]; " + re.sub(pattern, r"\1" if right else missing, text)


def filled(changes):
    given = RIGHT | changes
    return "int i = threadIdx.x; " + re.sub(r"\{(\w+)\}", lambda name: given[name[1]], LAST)


BODIES = {f"{name}: right": version(text, True) for name, text in SHARED.items()}
BODIES |= {f"{name}: wrong": version(text, False, MISSING.get(name, "")) for name, text in SHARED.items()}
BODIES |= {name: "int i = threadIdx.x; " + text for name, text in GLOBAL.items()}
BODIES |= {name: filled(changes) for name, changes in {"last": {}, **WRONG}.items()}
TEXT, NUMBERS = all_of(BODIES.values(), ["float *y"] * len(BODIES)), {name: i for i, name in enumerate(BODIES)}


def result(name, order, monkeypatch, races=False, blocks=1):
    """What a kernel computes in this order."""
    monkeypatch.setattr(emulated_cuda.settings, "order", order)
    monkeypatch.setattr(emulated_cuda.settings, "races", races)
    return run(TEXT, f"test{NUMBERS[name]}", blocks, THREADS, np.zeros(1000, "f4"))[0].tobytes()


def results(name, monkeypatch, **options):
    return {result(name, order, monkeypatch, **options) for order in ORDERS}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_missing_shows_in_some_order(name, monkeypatch):
    assert len(results(f"{name}: right", monkeypatch)) == 1
    if name not in NO_ORDER_SHOWS:
        assert len(results(f"{name}: wrong", monkeypatch)) > 1


@pytest.mark.parametrize("name", SHARED)
def test_what_is_missing_is_a_race_in_every_order(name, monkeypatch):
    assert len(results(f"{name}: right", monkeypatch, races=True)) == 1
    for order in ORDERS:
        message = (
            r"in the order \d: thread \(\d+, 0, 0\) of block .* a race: (reads|writes), in shared memory, .* test.cu:"
        )
        with pytest.raises(LaunchError, match=message):
            result(f"{name}: wrong", order, monkeypatch, races=True)


@pytest.mark.parametrize("name", GLOBAL)
def test_blocks_that_meet(name, monkeypatch):
    if name != "a sum without atomic operations":
        assert len(results(name, monkeypatch, blocks=BLOCKS)) > 1
    for order in ORDERS:
        with pytest.raises(LaunchError, match=r"a race: (reads|writes) what thread .* has (read|written), and nothing"):
            result(name, order, monkeypatch, races=True, blocks=BLOCKS)


def test_the_block_that_comes_last(monkeypatch):
    assert len(results("last", monkeypatch, races=True, blocks=BLOCKS)) == 1


@pytest.mark.parametrize("name", WRONG)
def test_the_block_that_comes_last_without_what_it_needs(name, monkeypatch):
    for order in ORDERS:
        with pytest.raises(LaunchError, match="a race"):
            result(name, order, monkeypatch, races=True, blocks=BLOCKS)


def test_accesses_of_any_size_and_place(monkeypatch):
    """Bytes of one word are places of their own; a load of 16 bytes meets a store of one."""
    bodies = [
        "((unsigned char *)y)[threadIdx.x] = 1;",
        "((unsigned char *)y)[threadIdx.x] = 1; if (threadIdx.x == 50) *(float4 *)(y + 40) = *(float4 *)(y + 4);",
        "((unsigned char *)y)[threadIdx.x] = 1; if (threadIdx.x == 50) *(float4 *)(y + 4) = *(float4 *)(y + 40);",
        "if (threadIdx.x % 2) ((double *)y)[threadIdx.x] = 1; else y[2 * threadIdx.x + 1] = 1;",
        "if (threadIdx.x % 2) ((double *)y)[threadIdx.x] = 1; else y[2 * threadIdx.x + 3] = 1;",
    ]
    text = all_of(bodies, ["float *y"] * len(bodies))
    for order in ORDERS:
        monkeypatch.setattr(emulated_cuda.settings, "order", order)
        for i in (0, 3):
            run(text, f"test{i}", 1, THREADS, np.zeros(200, "f4"))
        for i in (1, 2, 4):
            with pytest.raises(LaunchError, match="a race"):
                run(text, f"test{i}", 1, THREADS, np.zeros(200, "f4"))


TABLE = """
struct Table {
    float factor, own[96];
    __device__ void fill(float x) { factor = x; for (int i = 0; i < 96; i++) own[i] = i * x; }
};
template <class T> __device__ __forceinline__ void scale(float *y, const float *x, bool waits) {
    __shared__ T table;
    auto last = [&] { if (threadIdx.x == 95) table.fill(x[0]); };
    last();
    if (waits) __syncthreads();
    y[threadIdx.x] = table.factor + table.own[threadIdx.x];
}
extern "C" __global__ void test(float *y, const float *x, long long waits) { scale<Table>(y, x, waits); }"""


def test_shared_memory_in_templates():
    """There g++ puts it elsewhere, and sees that its address is given to nobody."""
    y, _ = run(TABLE, "test", 1, 96, np.zeros(96, "f4"), np.full(1, 2, "f4"), 1)
    assert np.array_equal(y, 2 + 2 * np.arange(96))
    with pytest.raises(LaunchError, match="a race: (reads|writes), in shared memory"):
        run(TABLE, "test", 1, 96, np.zeros(96, "f4"), np.full(1, 2, "f4"), 0)


def test_every_launch_of_a_kernel_has_another_order():
    text = "int all = blockDim.x * gridDim.x; y[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(y + all, 1.0f);"
    emulated_cuda.launches["test0"] = 0
    seen = [run(all_of([text], ["float *y"]), "test0", 5, 96, np.zeros(481, "f4"))[0][:480] for _ in range(6)]
    assert np.array_equal(seen[0], np.arange(480)) and np.array_equal(seen[1], np.arange(480)[::-1])
    assert len({order.tobytes() for order in seen}) == 6 and all(
        np.array_equal(np.sort(order), seen[0]) for order in seen
    )
