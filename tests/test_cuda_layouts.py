"""What the host gives to kernels by value, and what it may not give them: structs, and the sizes of grids."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from tinyae.kernels import cuda, gpu_images, gpu_sweeps, gpu_updates
from tinyae.kernels.gpu_sweeps import Axis, Sweep

from . import emulated_cuda
from .test_cuda_on_cpu import run

needs_compiler = pytest.mark.skipif(not emulated_cuda.COMPILER, reason="kernels on the CPU need g++")
STRUCTS = {
    "Parameters": ("updates", gpu_updates.PARAMETERS),
    "Numbers": ("updates", gpu_updates.VALUES),
    "Axis": ("convolutions", gpu_sweeps.AXIS),
    "Sweep": ("convolutions", gpu_sweeps.SWEEP),
    "Window": ("resampling", gpu_images.WINDOW),
}


@needs_compiler
@pytest.mark.parametrize("name", STRUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_structs_lie_alike_on_host_and_device(name, dtype):
    file, layout = STRUCTS[name]
    text = cuda.source(file, dtype)
    needed = re.findall(rf"^#define (?!WARP|REAL)\w+ +\d+|^struct (?:Axis|{name}) {{.*?^}};", text, re.M | re.S)
    places = "".join(f"y[{i}] = offsetof({name}, {field});" for i, field in enumerate(layout.names))
    kernel = f'extern "C" __global__ void test(long long *y) {{ {places} y[{len(layout)}] = sizeof({name}); }}'
    text = f"#include <stddef.h>\n#undef REAL\n#define REAL {cuda.REAL[np.dtype(dtype)]}\n" + "\n".join(
        [*needed, kernel]
    )
    (y,) = run(text, "test", 1, 1, np.zeros(len(layout) + 1, "i8"))
    assert y.tolist() == [*(layout.fields[field][1] for field in layout.names), layout.itemsize]


def test_structs_fit_among_the_parameters_of_a_kernel():
    assert all(layout.itemsize <= 4000 for _, layout in STRUCTS.values())  # CUDA has room for 4096 bytes


ONE, PLAIN = (1, 1), ((0, 0), (0, 0))


def test_what_ints_cannot_number_is_left_to_the_definition():
    plan = gpu_images.plan_of_convolution
    assert plan((1, 8, 8, 3), (3, 3, 3, 4), ONE, PLAIN, ONE) is not None
    assert plan((1, 1, 1, 1), (1, 1, 1, 65535 * 32), ONE, PLAIN, ONE) is not None
    assert plan((1, 1, 1, 1), (1, 1, 1, 65535 * 32 + 1), ONE, PLAIN, ONE) is None  # more blocks than along y
    assert plan((1, 1, 1, 65535 * 32 + 1), (1, 1, 1, 1), ONE, PLAIN, ONE) is None  # on the way back
    assert plan((1 << 11, 1 << 10, 1 << 10, 1), (1, 1, 1, 1), ONE, PLAIN, ONE) is None
    assert plan((1 << 10, 1 << 10, 1 << 10, 1), (1, 1, 1, 2), ONE, PLAIN, ONE) is None
    window = gpu_images.window_of
    assert window((1, 46339, 46339, 1), (3, 3), ONE, PLAIN) is not None
    assert window((1, 46339, 46339, 1), (3, 3), ONE, ((2, 2), (2, 2))) is None  # of which the output is larger
    assert window((1, 46341, 46341, 1), (3, 3), ONE, PLAIN) is None


@pytest.mark.parametrize("channels", [(4096, 4096), (4095, 4095), (4096, 2), (2, 4096), (65536 * 31, 1)])
def test_grids_of_large_layers(channels):
    """What is launched for layers that are too large to run here."""
    C, O = channels
    grids = []
    array = SimpleNamespace(dtype=np.dtype("f8"), size=1)
    backend = SimpleNamespace(
        xp=SimpleNamespace(empty=lambda shape, dtype: array),
        address=lambda array: 0,
        launch=lambda file, kernel, dtype, blocks, threads, *arguments: grids.append((kernel, blocks, threads)),
    )
    axes = [Axis.convolution(9, 9, 3, 1, 1, 1)] * 2
    gpu_sweeps.swept(backend, Sweep(64, C, O, *axes), array, array, None)
    gpu_sweeps.weight_gradients(backend, Sweep(64, C, O, *axes), array, array)
    assert len(grids) == 3
    for kernel, blocks, threads in grids:
        grid, block = emulated_cuda.sizes(kernel, blocks, threads)
        assert grid[0] > 0 and block == ((256 if kernel == "add_weights" else 128), 1, 1)
