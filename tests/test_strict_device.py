"""The stand-in for a GPU: what moves between host and device, and graphs that are noted and launched."""

import contextlib
import gc

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import BackendError

from . import emulated_cuda
from .emulated_cuda import LaunchError

strict = ta.get_backend("strict")
xp = strict.xp
needs_compiler = pytest.mark.skipif(not emulated_cuda.COMPILER, reason="kernels on the CPU need g++")
TWICE = 'extern "C" __global__ void twice(const float *x, float *y, double more) { int i = threadIdx.x; y[i] = 2 * x[i] + more; }'


def device(values, dtype=np.float32):
    return strict.asarray(np.array(values, dtype))


def host(array):
    return strict.to_host(array).tolist()


# ---------------------------------------------------------------- between host and device


def test_every_read_is_counted():
    x, before = device(3.0), (strict.reads, strict.silent_reads)
    reads = [strict.to_host, strict.read]
    silent = [
        float,
        int,
        bool,
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.tobytes(),
        lambda x: x.max().item(),
    ]
    for read in reads + silent:
        read(x)
    assert (strict.reads, strict.silent_reads) == (before[0] + 9, before[1] + 7)


def test_arrays_do_not_mix():
    x, y = device([1.0, 2.0]), np.ones(2, np.float32)
    mixed = [
        lambda: x + y,
        lambda: y + x,
        lambda: np.exp(x),
        lambda: xp.exp(y),
        lambda: x.dot(y),
        lambda: x.__setitem__(0, y),
    ]
    for mix in [*mixed, lambda: np.asarray(x), lambda: xp.concatenate([x, y]), lambda: xp.where(x > 0, x, y)]:
        with pytest.raises(TypeError):
            mix()
    for name in ("data", "ctypes", "flat", "__array_interface__"):
        assert not hasattr(x, name)


def test_memory_is_that_of_cupy():
    """All begin at a multiple of 512 bytes; a copy has no base, a view has one; reductions are arrays."""
    x = device(np.ones((4, 6)))
    for made in (
        x,
        x + 1,
        x.T + 1,
        x.sum(),
        x.copy(),
        x.astype("f8"),
        xp.zeros(3),
        strict.empty((3,), int),
        xp.exp(x)[None],
    ):
        assert strict.address(made) % 512 == 0
    assert (x + 1).base is None and x[1:].base is not None and x.sum().shape == ()
    assert (x.T + 1).flags.f_contiguous and xp.empty_like(x).shape == x.shape
    assert xp.may_share_memory(x[1:], x) and not xp.may_share_memory(x + 1, x)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matmul(rng, transpose_a, transpose_b):
    A, B = rng.normal(size=(7, 5)), rng.normal(size=(5, 3))
    a, b = A.T.copy() if transpose_a else A, B.T.copy() if transpose_b else B
    Y = strict.matmul(strict.asarray(a), strict.asarray(b), transpose_a, transpose_b)
    assert Y.flags.c_contiguous and np.allclose(strict.to_host(Y), A @ B)


def test_matmul_refuses():
    x, single = device(np.ones((4, 4)), np.float64), device(np.ones((4, 4)))
    for A, B in [(x, single), (x, x[0]), (x.T[:3], x), (x, x[:, ::2]), (device([[1]], int), device([[1]], int))]:
        with pytest.raises(BackendError, match="expected C-contiguous arrays of rank 2 and of one float type"):
            strict.matmul(A, B)
    with pytest.raises(BackendError, match=r"was given a ndarray; expected a device array"):
        strict.matmul(x, np.ones((4, 4)))


# ---------------------------------------------------------------- graphs


@needs_compiler
def test_a_graph_computes_when_it_is_launched():
    x = device(np.ones((2, 2)))

    def step():
        y = strict.empty((2, 2), np.float32)
        strict.launch_text(TWICE, "twice", 1, 4, x, y, 1.0)
        return strict.matmul(y, x), xp.exp(y - 3).sum(axis=0), y

    graph, results = strict.capture(step)
    assert [r.shape for r in results] == [(2, 2), (2,), (2, 2)]
    assert all(np.isnan(strict.to_host(r)).all() for r in results)
    graph.launch()
    assert [host(r) for r in results] == [[[6, 6], [6, 6]], [2, 2], [[3, 3], [3, 3]]]
    x[...] = 2
    graph.launch()
    assert host(results[0]) == [[20, 20], [20, 20]] and host(results[2]) == [[5, 5], [5, 5]]


def test_what_is_changed_in_place():
    x, y, n = device([1, 2, 3, 4]), device([0, 0, 0, 0]), device([3, 0], np.int64)

    def step():
        x[1:] += 10
        y[...] = x
        y[n] = -1
        y[0] *= 5
        xp.add.at(y, n, 100)
        xp.multiply(x, 0.5, out=x[:])
        y.reshape(2, 2).T[0] -= 1
        strict.copy_into(y[1:2], y[2:3])

    graph, _ = strict.capture(step)
    assert host(x) == [1, 2, 3, 4] and host(y) == [0, 0, 0, 0]
    graph.launch()
    assert host(x) == [0.5, 6, 6.5, 7] and host(y) == [94, 12, 12, 99]
    graph.launch()
    assert host(x) == [0.25, 8, 8.25, 8.5]


def test_addresses_and_numbers_are_frozen():
    numbers, x = {"more": 1.0}, device([1.0])
    held = {"x": x}

    def step():
        return held["x"] + numbers["more"]

    graph, y = strict.capture(step)
    numbers["more"], held["x"] = 5.0, device([100.0])
    graph.launch()
    assert host(y) == [2]
    x += 1
    graph.launch()
    assert host(y) == [3]


def test_indices_that_are_not_there_yet():
    """Found out during the capture, they would be out of bounds."""
    x, order = device([1, 2, 3]), device([2, 0], np.int64)

    def step():
        index = order + 0
        return x[index], xp.take_along_axis(x, index[1:], 0), xp.where(x > index[1], x, 0)

    graph, results = strict.capture(step)
    graph.launch()
    assert [host(r) for r in results] == [[3, 1], [1], [1, 2, 3]]


def test_new_memory_is_new_in_every_launch():
    seen = device([0.0])

    def step():
        own = strict.empty((1,), np.float32)
        seen[...] = own
        own[...] = 1
        return own

    graph, own = strict.capture(step)
    for _ in range(2):
        graph.launch()
        assert np.isnan(strict.to_host(seen)[0]) and host(own) == [1]


def test_memory_that_is_gone():
    held = [device([1.0])]
    graph, _ = strict.capture(lambda: held[0] + 1)
    graph.launch()
    held.clear()
    gc.collect()
    with pytest.raises(LaunchError, match="that was made before it and that is gone"):
        graph.launch()


REFUSED = {
    "float": lambda x, y: float(y.sum()),
    "int": lambda x, y: int(y.sum()),
    "bool": lambda x, y: bool(y.sum() > 0),
    "item": lambda x, y: y.sum().item(),
    "tolist": lambda x, y: y.tolist(),
    "if": lambda x, y: 1 if y[0] > 0 else 0,
    "to_host": lambda x, y: strict.to_host(y),
    "read": lambda x, y: strict.read(y[0]),
    "asarray": lambda x, y: strict.asarray([1.0]),
    "xp.asarray": lambda x, y: xp.asarray(1.0),
    "copy_into": lambda x, y: strict.copy_into(y, np.ones(2)),
    "list": lambda x, y: y[[0, 1]],
    "mask": lambda x, y: y[y > 0],
    "nonzero": lambda x, y: xp.nonzero(y),
    "where": lambda x, y: xp.where(y > 0),
    "synchronize": lambda x, y: strict.synchronize(),
    "tensor": lambda x, y: ta.Tensor(y).sum().item(),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("swallowed", [False, True])
def test_refused_while_capturing(name, swallowed):
    x, reads = device([1.0, 2.0]), strict.reads

    def step():
        x[...] = 7
        with contextlib.suppress(RuntimeError) if swallowed else contextlib.nullcontext():
            REFUSED[name](x, x * 2)

    text = "cudaErrorStreamCaptureInvalidated" if swallowed else "operation not permitted when stream is capturing"
    with pytest.raises(BackendError if swallowed else RuntimeError, match=text):
        strict.capture(step)
    assert strict.reads == reads and host(x) == [1, 2]  # nothing was done, and all works again
    REFUSED[name](x, x * 2)


def test_an_error_of_the_function_passes():
    x = device([1.0])

    def step():
        x[...] = 7
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        strict.capture(step)
    with pytest.raises(BackendError, match="capture the outer one"):
        strict.capture(lambda: strict.capture(lambda: None))
    with pytest.raises(ValueError, match="broadcast"):
        strict.capture(lambda: x.__setitem__(slice(None), xp.zeros(2)))
    assert host(x) == [1] and strict.capture(lambda: 3)[1] == 3


@needs_compiler
def test_wrong_launches_are_refused_when_noted():
    x = device(np.ones(4))
    with pytest.raises(LaunchError, match="argument 3, more, is the int 1"):
        strict.capture(lambda: strict.launch_text(TWICE, "twice", 1, 4, x, x, 1))
    graph, _ = strict.capture(lambda: strict.launch_text(TWICE, "twice", 1, 5, x, x, 1.0))
    with pytest.raises(LaunchError, match="behind the last element of x"):
        graph.launch()


MODELS = {
    "dense": lambda: [ta.Dense(8, 5, "tanh"), ta.BatchNorm(5), ta.Dense(5, 8)],
    "images": lambda: [
        ta.Conv2D(1, 3, activation="relu"),
        ta.MaxPool2D(2),
        ta.UpSampling2D(2),
        ta.Conv2D(3, 1),
    ],
}


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step(name):
    """By the definitions: every operation, its gradient and the update, in a graph and without one."""

    def trained(capture):
        ta.manual_seed(0)
        model = ta.Sequential(*MODELS[name]()).to("strict")
        optimizer = ta.Momentum(model.parameters(), 0.01)
        batches = np.random.default_rng(0).random((4, 4, 8, 8, 1) if name == "images" else (4, 4, 8), dtype=np.float32)
        x = ta.Tensor(batches[0]).to("strict")

        def step():
            optimizer.zero_grad()
            loss = ta.mse_loss(model(x), x)
            loss.backward()
            optimizer.step()
            return loss

        losses, graph = [], None
        for i, batch in enumerate(batches):
            strict.copy_into(x.data, batch)
            if capture and i == 1:  # the first step makes the optimizer's state
                graph, loss = strict.capture(step)
            if graph is None:
                loss = step()
            else:
                graph.launch()
            losses.append(loss.item())
        return losses, {name: value.tobytes() for name, value in model.state_dict().items()}

    with ta.use_kernels("reference"):
        assert trained(capture=True) == trained(capture=False)
