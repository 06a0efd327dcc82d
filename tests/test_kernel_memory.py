"""The memory of kernels: used again when nobody holds it, and never while somebody does."""

import gc
import os
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import NUMPY
from tinyae.kernels import buffers
from tinyae.kernels.buffers import Buffers, empty, take

from .conftest import program

F4 = np.dtype(np.float32)


@pytest.fixture
def model():
    """Large enough for kernels at 64 examples."""
    ta.manual_seed(1)
    return ta.Sequential(ta.Dense(40, 30, "relu"), ta.Dense(30, 40, "sigmoid"))


@pytest.fixture
def x(rng):
    return ta.Tensor(rng.random((64, 40), dtype=np.float32))


def steps(model, x, n=5):
    """Training steps that want memory of the same sizes, with other numbers each time."""
    optimizer = ta.Momentum(model.parameters(), 0.1)
    for _ in range(n):
        optimizer.zero_grad()
        y = model(x)
        assert y._node.op.__module__ == "tinyae.kernels.cpu"
        ta.mse_loss(y, x).backward()
        optimizer.step()
        ta.relu(ta.softmax(y.detach()))


def torch_of(array):
    return pytest.importorskip("torch", reason="needs torch to hold memory by").from_numpy(array)


HOLDERS = {
    "the tensor": lambda t: t,
    "its array": lambda t: t.data,
    "numpy()": lambda t: t.numpy(),
    "detach()": lambda t: t.detach(),
    "a tensor's view": lambda t: t.reshape(-1)[5:],
    "a view": lambda t: t.data[:, 3],
    "a view of a view": lambda t: t.data[2:, 3:].T[1:],
    "a memoryview": lambda t: memoryview(t.data),
    "a part of a memoryview": lambda t: memoryview(t.data)[3:],
    "asarray": lambda t: np.asarray(t.data),
    "asarray of a tensor": lambda t: np.asarray(t.detach(), copy=None),
    "ravel": lambda t: t.data.ravel(),
    "another type's view": lambda t: t.data.view(np.int32),
    "frombuffer": lambda t: np.frombuffer(t.data, np.float32),
    "broadcast": lambda t: np.broadcast_to(t.data[:1], (9, t.shape[1])),
    "strides": lambda t: np.lib.stride_tricks.sliding_window_view(t.data, 3, axis=1),
    "an iterator": lambda t: t.data.flat,
    "rows in a list": lambda t: list(t.data),
    "a subclass": lambda t: t.data.view(np.matrix),
    "a pickle buffer": lambda t: pickle.PickleBuffer(t.data),
    "a ctypes array": lambda t: np.ctypeslib.as_ctypes(t.data),
    "dlpack": lambda t: np.from_dlpack(t.data),
    "torch": lambda t: torch_of(t.data),
    "a closure": lambda t: lambda array=t.data: array,
}


def numbers_of(held):
    """A copy of all that a holder shows."""
    if isinstance(held, ta.Tensor):
        return held.data.copy()
    if isinstance(held, list):
        return np.array(held)
    if callable(held) and not hasattr(held, "shape"):
        return held().copy()
    if type(held).__name__ == "flatiter":
        return held.base.copy()
    return np.asarray(held).copy()


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name", HOLDERS)
def test_an_output_that_is_held_is_not_overwritten(name, model, x):
    held = HOLDERS[name](model(x))
    before = numbers_of(held)
    steps(model, x)
    assert np.array_equal(numbers_of(held), before)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize(
    "name", [name for name in HOLDERS if "tensor" not in name and name not in ("numpy()", "detach()")]
)
def test_a_gradient_that_is_held_is_not_overwritten(name, model, x):
    class Stand:
        """What holders ask of a tensor."""

    ta.mse_loss(model(x), x).backward()
    stand = Stand()
    stand.data = model[1].weight.grad
    stand.shape = stand.data.shape
    held = HOLDERS[name](stand)
    del stand
    before = numbers_of(held)
    steps(model, x)
    assert np.array_equal(numbers_of(held), before)


@pytest.mark.parametrize("make", [ta.relu, ta.sigmoid, ta.tanh, ta.softmax])
def test_what_activations_return_is_nobody_elses(make, x, rng):
    wide = ta.Tensor(rng.normal(size=(100, 100)), requires_grad=True)
    held = make(wide)
    before = held.numpy().copy()
    held.backward(np.ones((100, 100)))
    grad, grad_before = wide.grad, wide.grad.copy()
    for _ in range(5):
        other = ta.Tensor(rng.normal(size=(100, 100)), requires_grad=True)
        make(other).sum().backward()
    assert np.array_equal(held.numpy(), before) and np.array_equal(grad, grad_before)


def test_all_outputs_of_a_loop_are_kept(model, x):
    """The usual way to collect results."""
    with ta.no_grad():
        codes = [model(x + float(i)).data for i in range(20)]
        for i, code in enumerate(codes):
            with ta.use_kernels("reference"):
                assert np.allclose(code, model(x + float(i)).numpy(), atol=1e-5)
    assert len({NUMPY.address(code) for code in codes}) == 20


def test_batches_that_are_kept(rng):
    data = rng.random((1000, 50))
    kept = [batch.numpy() for batch in ta.batches(data, 100, shuffle=False)]
    assert np.array_equal(np.concatenate(kept), data.astype(np.float32))


def test_gradients_accumulate_over_steps(model, x):
    """Two backward passes without zero_grad in between are the sum, and the optimizer's kernel sees it."""
    ta.mse_loss(model(x), x).backward()
    once = [p.grad.copy() for p in model.parameters()]
    ta.mse_loss(model(x), x).backward()
    for p, g in zip(model.parameters(), once):
        assert np.allclose(p.grad, 2 * g)


@pytest.mark.parametrize("loss", [ta.mse_loss, ta.bce_with_logits_loss])
def test_a_kept_tape_gives_the_same_gradients_again(loss, model, x):
    L = loss(model(x), x)
    L.backward(keep_tape=True)
    first = [p.grad.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad *= 7  # the user's own: nothing that was saved may change with it
        p.grad = None
    steps(ta.Sequential(ta.Dense(40, 30, "relu"), ta.Dense(30, 40, "sigmoid")), x)
    L.backward()
    assert all(np.array_equal(p.grad, g) for p, g in zip(model.parameters(), first))


@pytest.mark.parametrize("loss", [ta.mse_loss, ta.bce_with_logits_loss, lambda z, t: ta.cross_entropy(z, LABELS)])
def test_a_gradient_is_not_what_the_tape_saved(loss, rng):
    """The gradient of a loss is saved with it, and handed on as a view: a leaf gets a copy of its own."""
    z, t = ta.Tensor(rng.normal(size=(100, 60)), requires_grad=True), ta.Tensor(rng.random((100, 60)))
    L = loss(z, t)
    L.backward(keep_tape=True)
    first = z.grad.copy()
    z.grad[...] = 0
    z.grad = None
    L.backward()
    assert np.array_equal(z.grad, first)


LABELS = np.arange(100) % 60


def test_two_tapes_at_a_time(model, x):
    """Both forward passes come before both backward passes."""
    with ta.use_kernels("reference"):
        expected = []
        for shift in (0.0, 0.5):
            for p in model.parameters():
                p.grad = None
            ta.mse_loss(model(x + shift), x).backward()
            expected.append([p.grad for p in model.parameters()])
    losses = [ta.mse_loss(model(x + shift), x) for shift in (0.0, 0.5)]
    for L, gradients in zip(losses, expected):
        for p in model.parameters():
            p.grad = None
        L.backward()
        for p, g in zip(model.parameters(), gradients):
            assert np.allclose(p.grad, g, atol=1e-6)


# ---------------------------------------------------------------- no other memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's mmap and mprotect")
@pytest.mark.parametrize("side", ["behind", "before"])
def test_kernels_touch_only_their_own_memory(side):
    """Every array lies against a page that nobody may touch: a kernel that reads or writes one number too far ends the program."""
    code = """
    import ctypes, faulthandler, math, mmap
    from tinyae import ops
    from tinyae.backend import NUMPY
    from tinyae.kernels import cpu, dense_layers
    faulthandler.enable()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    PAGE = mmap.PAGESIZE

    def guarded(shape, dtype):
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        pages = -(-max(size, 1) // PAGE) * PAGE
        start = libc.mmap(None, pages + 2 * PAGE, 3, 0x22, -1, 0)  # read and write; private and anonymous
        assert start not in (None, ctypes.c_void_p(-1).value)
        for guard in (start, start + PAGE + pages):
            assert libc.mprotect(guard, PAGE, 0) == 0
        first = start + PAGE if sys.argv[1] == "before" else start + PAGE + pages - size
        memory = (ctypes.c_char * size).from_address(first) if size else bytearray(1)
        return np.ndarray(shape, dtype, memory)

    def own(array, dtype):
        copy = guarded(array.shape, dtype)
        copy[...] = array
        return copy

    NUMPY.empty = guarded
    cpu.ENOUGH = dense_layers.ENOUGH = 1
    rng = np.random.default_rng(0)
    activations = (None, "relu", "sigmoid", "tanh")
    for dtype in ("f4", "f8"):
        for parts in (1, 3, 16):
            cpu.parts_of = dense_layers.parts_of = lambda work: parts
            for N, widths in [(1, [1, 1]), (3, [7, 9, 17]), (9, [33, 5, 31]), (65, [8, 16, 3]), (130, [15, 1, 47]), (8, [129, 64]),
                              (4, [140, 200, 3]), (20, [8, 256, 256]), (5, [300, 150])]:
                parameters = [ta.Tensor(a, requires_grad=True, dtype=dtype) for I, O in zip(widths, widths[1:])
                              for a in (rng.normal(size=(I, O)), rng.normal(size=O))]
                f = tuple(activations[(i + N) % 4] for i in range(len(widths) - 1))
                for wanted in (True, False):
                    x = ta.Tensor(rng.normal(size=(N, widths[0])), requires_grad=wanted, dtype=dtype)
                    y = ta.apply(ops.Dense, x, *parameters, activations=f)
                    assert y._node.op is cpu.Dense
                    saved, needed = y._node.saved, [wanted] + [True] * len(parameters)
                    cpu.Dense.backward(np, saved, own(rng.normal(size=y.shape), dtype), needed)
                for parameter in parameters:
                    parameter.grad = own(rng.normal(size=parameter.shape), dtype)
                for make in (lambda p: ta.SGD(p, .1), lambda p: ta.Momentum(p, .1), ta.AdaGrad, ta.RMSProp, ta.Adam):
                    make(parameters).step()
            for shape in [(1, 1), (3, 5), (2, 513), (70, 9), (1, 64)]:
                for f in (ta.relu, ta.sigmoid, ta.tanh, ta.softmax):
                    x = ta.Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype)
                    y = f(x)
                    y._node.op.backward(np, y._node.saved, own(rng.normal(size=shape), dtype))
                t = ta.Tensor(rng.random(shape), dtype=dtype)
                ta.mse_loss(x, t).backward()
                ta.bce_with_logits_loss(x, t).backward()
                ta.cross_entropy(x, np.arange(shape[0]) % shape[1]).backward()
                assert cpu.take(x.data, np.array([shape[0] - 1, 0]), np.dtype("f4")) is not None
    print("done")
    """
    assert program(code, side) == "done"


# ---------------------------------------------------------------- used again, and given back


def test_memory_is_used_again_when_nothing_is_held(model, x):
    addresses = set()
    for _ in range(30):
        y = model(x)
        ta.mse_loss(y, x).backward()
        addresses.add((NUMPY.address(y.data), *(NUMPY.address(p.grad) for p in model.parameters())))
        for p in model.parameters():
            p.grad = None
        del y
    assert len(addresses) <= 2


def test_memory_of_a_group_waits_for_its_last_array():
    group = take(((3, 1), (1, 7), (5,)), F4)
    address, kept = group.addresses.tolist(), group.arrays[1]
    del group
    other = take(((3, 1), (1, 7), (5,)), F4)
    assert set(other.addresses.tolist()).isdisjoint(address)
    del kept
    third = take(((3, 1), (1, 7), (5,)), F4)
    assert third.addresses.tolist() == address  # the arrays of `other` are held by nobody, but these come first


def test_arrays_fit_what_was_asked_for():
    for shapes in (((3, 5),), ((0,), (2, 2)), ((), (1,)), ((7,), (7,))):
        group = take(shapes, F4)
        assert [array.shape for array in group.arrays] == list(shapes)
        assert all(array.flags.c_contiguous and array.flags.writeable and array.dtype == F4 for array in group.arrays)
        assert group.addresses.tolist() == [array.__array_interface__["data"][0] for array in group.arrays]
        assert all(address % 64 == 0 for array, address in zip(group.arrays, group.addresses) if array.size)
    assert empty((2, 3), np.dtype(np.float64)).dtype == np.float64


def test_an_array_in_a_reference_cycle_is_held_until_the_cycle_is_collected():
    array = empty((11, 13), F4)
    array[...] = 3
    cycle = [array]
    cycle.append(cycle)
    address, alive = NUMPY.address(array), weakref.ref(array)
    del array, cycle
    assert NUMPY.address(empty((11, 13), F4)) != address and (alive() == 3).all()
    gc.collect()
    assert address in {NUMPY.address(held) for held in [empty((11, 13), F4) for _ in range(2)]}


def test_what_was_not_asked_for_in_a_long_time_is_given_back(monkeypatch):
    monkeypatch.setattr(buffers, "PATIENCE", 10)
    own = Buffers()
    own.take(((1000,),), F4)
    for _ in range(20):
        own.take(((3,),), F4)
    assert list(own.groups) == [(((3,),), F4)]


def test_of_one_size_not_more_than_some_are_remembered():
    own, held = Buffers(), []
    for _ in range(30):
        held.append(own.take(((10,),), F4).arrays[0])
    ((known,),) = [own.groups.values()]
    assert len(known) == buffers.ALIKE and own.kept == buffers.ALIKE * 40
    assert len({id(array) for array in held}) == 30


def test_not_more_is_kept_than_allowed(monkeypatch):
    monkeypatch.setattr(buffers, "KEPT", 100_000)
    own = Buffers()
    for n in range(1, 200):
        own.take(((1000 + n,),), F4)
        assert sum(g.nbytes for known in own.groups.values() for g in known) <= 100_000 + 4 * (1000 + n)
    own.take(((10**6,),), F4)
    assert own.groups[((10**6,),), F4] == []


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc to see how much memory is in use")
def test_memory_does_not_grow_over_300_steps(rng):
    model = ta.Sequential(ta.Dense(200, 300, "tanh"), ta.Dense(300, 200))
    x = ta.Tensor(rng.random((200, 200), dtype=np.float32))
    steps(model, x, 20)
    gc.collect()
    before = resident()
    steps(model, x, 300)
    assert resident() - before < 4 << 20  # 300 outputs alone have 48 MB


def test_many_batch_sizes_do_not_pile_up(rng, monkeypatch):
    monkeypatch.setattr(buffers, "KEPT", 1 << 22)
    model = ta.Sequential(ta.Dense(40, 30, "relu"), ta.Dense(30, 40))

    def train():
        for n in range(20, 220):
            x = ta.Tensor(np.ones((n, 40), np.float32))
            ta.mse_loss(model(x), x).backward()
        kept = buffers._threads.buffers
        return sum(g.nbytes for known in kept.groups.values() for g in known)

    assert train() < (1 << 22) + (1 << 20)


def test_two_threads_do_not_share():
    found, both = {}, threading.Barrier(2)

    def work(name):
        array = empty((64, 64), F4)
        found[name] = NUMPY.address(array)
        both.wait()
        del array
        both.wait()
        again = empty((64, 64), F4)
        assert NUMPY.address(again) == found[name]
        both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found.values())) == 2


def test_an_array_outlives_the_thread_that_made_it(rng):
    made = []

    def work():
        layer = ta.Dense(40, 30, "relu")
        y = layer(ta.Tensor(np.ones((100, 40), np.float32)))
        made.append((y, y.numpy().copy()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    work()
    (y, before), _ = made
    assert np.array_equal(y.numpy(), before)
    y.sum().backward()  # and its tape goes back in another thread


def test_a_count_that_a_tracer_disturbs_only_costs_memory(model, x):
    """A debugger's tracer holds on to local variables: memory is then not used again, but never handed out twice."""
    held = model(x).data
    before, seen = held.copy(), []

    def trace(frame, event, argument):
        seen.append(dict(frame.f_locals))
        del seen[:-3]
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        steps(model, x, 2)
    finally:
        sys.settrace(previous)
    assert np.array_equal(held, before)
