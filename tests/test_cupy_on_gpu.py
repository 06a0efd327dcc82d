"""The backend on a real GPU; everywhere else it is skipped, and ``test_cupy_backend.py`` shows what is asked of CuPy."""

import gc

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import BackendError

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu():
    try:
        return ta.get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("dtype, near", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matrix_products(dtype, near, transpose_a, transpose_b, gpu, rng):
    for M, K, N in ((1, 1, 1), (33, 784, 129), (256, 31, 1)):
        a = rng.normal(size=(K, M) if transpose_a else (M, K)).astype(dtype)
        b = rng.normal(size=(N, K) if transpose_b else (K, N)).astype(dtype)
        expected = gpu.to_host(gpu.matmul(gpu.asarray(a), gpu.asarray(b), transpose_a, transpose_b))
        exact = (a.T if transpose_a else a).astype(float) @ (b.T if transpose_b else b).astype(float)
        assert np.abs(expected - exact).max() <= near * K**0.5 * np.abs(a).max() * np.abs(b).max()


def test_a_captured_product_follows_what_it_reads(gpu, rng):
    x, y = (gpu.asarray(rng.normal(size=(64, 64)).astype(np.float32)) for _ in range(2))
    pool = gpu.pool()
    with gpu.private_memory(pool):
        gpu.matmul(x, y)
    graph, result = gpu.capture(lambda: gpu.matmul(x, y), pool)
    for _ in range(3):
        gpu.copy_into(x, rng.normal(size=(64, 64)).astype(np.float32))
        graph.launch()
        assert np.array_equal(gpu.to_host(result), gpu.to_host(gpu.matmul(x, y)))


def test_an_error_in_a_capture_leaves_the_process_usable(gpu):
    x = gpu.asarray(np.ones(3, np.float32))
    for wrong in (lambda: gpu.read(x[:1]), lambda: x[:1].item(), lambda: 1 / 0):
        with pytest.raises((BackendError, RuntimeError, ZeroDivisionError)):
            gpu.capture(lambda wrong=wrong: (x + 1, wrong()))
    graph, y = gpu.capture(lambda: x + 1)
    graph.launch()
    assert gpu.to_host(y).tolist() == [2, 2, 2]


def test_graphs_leave_no_memory_behind(gpu):
    x = gpu.asarray(np.ones((256, 256), np.float32))

    def once():
        graph, y = gpu.capture(lambda: gpu.matmul(x, x))
        graph.launch()
        return gpu.read(y[:1, :1])

    once()
    free = gpu.memory()[0]
    for _ in range(20):
        once()
    assert gpu.memory()[0] >= free - (64 << 20)


def test_running_out_of_memory_leaves_the_process_usable(gpu):
    with pytest.raises(MemoryError):
        gpu.empty((gpu.memory()[1],), np.float32)  # four times what there is
    gpu.release()
    assert gpu.read(gpu.asarray(np.ones(1))) == 1.0


def test_tf32_is_near_and_float32_is_exact(gpu, rng):
    a, b = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    exact = a.astype(float) @ b.astype(float)

    def off():
        return np.abs(gpu.to_host(gpu.matmul(gpu.asarray(a), gpu.asarray(b))) - exact).max()

    try:
        ta.set_matmul_precision("tf32")
        rounded = off()
    finally:
        ta.set_matmul_precision("float32")
    assert off() < 1e-3 and rounded < 0.2


@pytest.mark.parametrize("way", ["as it is", "captured", "fit"])
def test_memory_does_not_grow_over_1000_steps(way, gpu, rng):
    ta.manual_seed(0)
    model = ta.Sequential(ta.Dense(50, 20, "relu"), ta.Dropout(0.1), ta.Dense(20, 50, "sigmoid")).to("cupy")
    optimizer, images = ta.Adam(model.parameters()), rng.random((320, 50), dtype=np.float32)
    x = ta.Tensor(images[:32]).to("cupy")

    def step(x):
        optimizer.zero_grad()
        loss = ta.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        return loss

    run = {"as it is": step, "captured": ta.capture(step), "fit": None}[way]

    def steps(n):
        if run is None:
            ta.fit(model, images, images, n // 10, 32, optimizer=optimizer, progress=False)
        else:
            for _ in range(n):
                run(x)
        gpu.synchronize()
        gc.collect()
        gpu.release()
        return gpu.xp.get_default_memory_pool().used_bytes(), gpu.memory()[0]

    steps(20)
    used, free = steps(20)
    used_later, free_later = steps(1000)
    assert used_later <= used and free_later >= free - 2**22
