"""The stand-in for a GPU itself: what its kernels compute, and what it refuses."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.kernels import cuda

from . import emulated_cuda

pytestmark = pytest.mark.skipif(not emulated_cuda.COMPILER, reason="kernels on the CPU need g++")
COMMON = '#define REAL float\n#line 1 "common.cuh"\n' + (cuda.FOLDER / "common.cuh").read_text()


@pytest.fixture
def strict():
    return ta.get_backend("strict")


def test_sum_over_blocks(strict, rng):
    text = (
        COMMON
        + """
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
    )
    for n in (1, 31, 32, 33, 1000, 100_000):
        x = rng.normal(size=n).astype("f4")
        parts, total = strict.empty((5,), np.float32), strict.empty((), np.float32)
        strict.launch_text(text, "total", 5, 256, strict.asarray(x), parts, total, strict.ticket(), n)
        assert np.isclose(strict.to_host(total), x.sum(dtype="f8"), atol=1e-4)
