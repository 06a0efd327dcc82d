"""The kernels' threads beside all else that has threads or processes: Python's, BLAS, OpenMP, forks."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.kernels import threads as kernel_threads

from .conftest import program

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def usual_threads():
    before = ta.get_num_threads()
    yield before
    kernel_threads._used = before


def trained(which="fast", threads=None, seed=0, steps=5):
    """All weights after a short training that is cut into as many parts as there are threads."""
    if threads:
        ta.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    with ta.use_kernels(which):
        ta.manual_seed(seed)
        model = ta.Sequential(ta.Dense(60, 50, "relu"), ta.Dense(50, 60, "sigmoid"))
        x = ta.Tensor(rng.random((200, 60), dtype=np.float32))
        optimizer = ta.Adam(model.parameters(), 0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            ta.mse_loss(model(x), x).backward()
            optimizer.step()
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, True, 10**6, 10**30])
def test_a_wrong_number_of_threads_is_refused(wrong, usual_threads):
    with pytest.raises(RangeError, match=r"^set_num_threads: ") as error:
        ta.set_num_threads(wrong)
    message = str(error.value)
    if isinstance(wrong, int) and wrong > 1:
        assert f"this process can use {kernel_threads.most_threads()}" in message and "NUMBA_NUM_THREADS" in message
    else:
        assert "expected an integer >= 1" in message
    assert ta.get_num_threads() == usual_threads


def test_one_thread_computes_the_same(usual_threads):
    expected = trained("reference")
    for threads in {1, usual_threads}:
        assert np.abs(trained(threads=threads) - expected).max() <= 1e-5 * np.abs(expected).max()
        assert ta.get_num_threads() == threads


def test_the_same_number_of_threads_gives_the_same_bits(usual_threads):
    for threads in {1, usual_threads}:
        assert np.array_equal(trained(threads=threads), trained(threads=threads))


def test_threads_may_change_between_forward_and_backward(usual_threads, rng):
    layers = ta.Sequential(ta.Dense(60, 50, "relu"), ta.Dense(50, 60))
    x = ta.Tensor(rng.random((200, 60), dtype=np.float32))
    found = []
    for forward, backward in [(1, usual_threads), (usual_threads, 1), (1, 1)]:
        for p in layers.parameters():
            p.grad = None
        ta.set_num_threads(forward)
        L = ta.mse_loss(layers(x), x)
        ta.set_num_threads(backward)
        L.backward()
        found.append([p.grad for p in layers.parameters()])
    for gradients in found[1:]:
        assert all(np.allclose(a, b, atol=1e-7) for a, b in zip(gradients, found[0]))


def test_work_is_cut_into_parts_that_are_worth_it(monkeypatch):
    monkeypatch.setattr(kernel_threads, "_used", 8)
    assert kernel_threads.parts_of(0) == kernel_threads.parts_of(10) == 1
    assert kernel_threads.parts_of(3 * kernel_threads.GRAIN + 5) == 3
    assert kernel_threads.parts_of(10**12) == 8
    monkeypatch.setattr(kernel_threads, "_used", 1)
    assert kernel_threads.parts_of(10**12) == 1


# ---------------------------------------------------------------- Python's threads


def test_threads_of_python_that_train_at_once():
    """Each has its own model; all get what they would get alone."""
    seeds = range(4)
    expected = [trained("reference", seed=seed, steps=20) for seed in seeds]
    found, errors, start = {}, [], threading.Barrier(len(seeds))

    def work(seed):
        try:
            start.wait()
            found[seed] = trained(seed=seed, steps=20)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    for seed in seeds:
        assert np.abs(found[seed] - expected[seed]).max() <= 1e-5 * np.abs(expected[seed]).max()


def test_predictions_of_one_model_from_several_threads(rng):
    model = ta.Sequential(ta.Dense(60, 50, "relu"), ta.Dense(50, 60, "tanh"))
    inputs = [rng.random((50 + i, 60), dtype=np.float32) for i in range(8)]
    with ta.use_kernels("reference"):
        expected = [model(ta.Tensor(x)).numpy() for x in inputs]
    wrong = []

    def work(i):
        for _ in range(50):
            y = model(ta.Tensor(inputs[i])).numpy()
            if not np.allclose(y, expected[i], atol=1e-5):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_the_first_calls_of_two_threads():
    """What is loaded late is loaded once, and numba's setting of the cache folder is what it was."""
    code = """
    import threading, numba
    before, errors = numba.config.CACHE_DIR, []

    def work():
        try:
            start.wait()
            right()
        except BaseException as error:
            errors.append(repr(error))

    start = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(errors, numba.config.CACHE_DIR == before)
    """
    assert program(code) == "[] True"


# ---------------------------------------------------------------- processes


@needs_fork
def test_forked_processes():
    """After a fork the pool's threads are gone, and OpenMP ends a child that asks for them: a child uses one thread."""
    code = """
    import multiprocessing, os, traceback

    def child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def fresh():
        right()
        assert ta.get_num_threads() == 1
        child(right)  # and its children

    child(fresh)  # before a kernel ran
    right()
    threads = ta.get_num_threads()
    x = ta.Tensor(np.random.default_rng(0).random((200, 40), dtype=np.float32))
    layer = ta.Dense(40, 40, "tanh")
    L = ta.mse_loss(layer(x), x)

    def after():
        right()
        L.backward()  # a tape that the parent has recorded
        ours, layer.weight.grad = layer.weight.grad, None
        with ta.use_kernels("reference"):
            ta.mse_loss(layer(x), x).backward()
        assert np.allclose(ours, layer.weight.grad, atol=1e-7)
        assert ta.get_num_threads() == 1
        try:
            ta.set_num_threads(2)
        except ValueError as error:
            assert "a forked process can use one" in str(error)

    child(after)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map(train, ["fast", "fast", "reference"])
    assert all(np.allclose(result, results[-1], atol=1e-6) for result in results)
    assert right() and ta.get_num_threads() == threads  # the parent is as before
    print("right")
    """
    assert program(code) == "right"


def test_spawned_processes(tmp_path):
    """A new process that is sent a model and data; what was pickled is as good for kernels as what was not."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing
import numpy as np
import tinyae as ta

def work(model, optimizer, x):
    y = model(ta.Tensor(x))
    assert y._node.op.__module__ == "tinyae.kernels.cpu"
    ta.mse_loss(y, x).backward()
    return model.layers[0].weight.grad, y._node is not None

if __name__ == "__main__":
    ta.manual_seed(0)
    model = ta.Sequential(ta.Dense(40, 30, "relu"), ta.Dense(30, 40))
    x = np.random.default_rng(0).random((200, 40), dtype=np.float32)
    optimizer = ta.Adam(model.parameters())
    ta.mse_loss(model(x), x).backward()
    ours = model.layers[0].weight.grad
    optimizer.step()
    optimizer.zero_grad()
    with ta.use_kernels("reference"):
        ta.mse_loss(model(x), x).backward()
    expected = model.layers[0].weight.grad
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, _ = pool.apply(work, (model, optimizer, x))
    assert np.allclose(found, expected, atol=1e-7)
    print("right")
"""
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.strip() == "right", done.stderr


# ---------------------------------------------------------------- numba's settings


@pytest.mark.parametrize(
    "environment, threads",
    [
        ({"NUMBA_NUM_THREADS": 1}, "1"),
        ({"NUMBA_NUM_THREADS": 7}, "7"),  # more than there are cores, or examples
        (
            {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": 4},
            "1",
        ),  # its threads must not be used twice at once
        ({"NUMBA_THREADING_LAYER": "nonsense"}, "1"),
        ({"OMP_NUM_THREADS": 1, "NUMBA_NUM_THREADS": 2}, "2"),
    ],
    ids=str,
)
def test_settings_of_numba(environment, threads):
    code = """
    import threading

    def narrow(which):  # fewer examples than threads, fewer inputs than examples
        with ta.use_kernels(which):
            ta.manual_seed(1)
            model = ta.Sequential(ta.Dense(2, 400, "tanh"), ta.Dense(400, 400, "relu"), ta.Dense(400, 3))
            x = ta.Tensor(np.random.default_rng(0).random((4, 2), dtype=np.float32), requires_grad=True)
            model(x).sum().backward()
            return [x.grad, *(p.grad for p in model.parameters())]

    for ours, theirs in zip(narrow("fast"), narrow("reference")):
        assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(theirs).max(), 1)
    workers = [threading.Thread(target=right) for _ in range(3)]
    for worker in workers: worker.start()
    right()
    for worker in workers: worker.join()
    print(ta.get_num_threads())
    """
    assert program(code, **environment) == threads


def test_numba_of_the_user_is_left_alone():
    """His thread count holds for his functions, not for ours; his cache folder and settings stay."""
    code = """
    import numba
    if numba.config.NUMBA_NUM_THREADS > 1:
        numba.set_num_threads(1)
    settings = {name: getattr(numba.config, name) for name in dir(numba.config) if name.isupper()}
    right()
    after = {name: getattr(numba.config, name) for name in settings}
    print(numba.get_num_threads(), {n: (settings[n], after[n]) for n in settings if settings[n] != after[n]})
    """
    assert program(code, NUMBA_NUM_THREADS=2) == "1 {}"


def test_other_pools_and_the_environment_stay_as_they_are():
    pytest.importorskip("threadpoolctl", reason="needs threadpoolctl to see the pools")
    code = """
    import os, threadpoolctl, scipy.linalg
    np.ones((50, 50)) @ np.ones((50, 50))
    train("reference")

    def pools():
        return [(p["filepath"], p["num_threads"]) for p in threadpoolctl.threadpool_info()]

    environment, before = dict(os.environ), pools()
    right()
    assert dict(os.environ) == environment
    assert [pool for pool in pools() if pool in before] == before and before
    with threadpoolctl.threadpool_limits(1):
        limited = [pool for pool in pools()]
        right()
        assert pools() == limited
    assert [pool for pool in pools() if pool in before] == before
    print("same")
    """
    assert program(code) == "same"


def test_subnormal_numbers_are_as_before(usual_threads):
    """A kernel has the processor count them as 0 for as long as it runs, in each of its threads, and not longer."""
    numba = pytest.importorskip("numba")

    @numba.njit(parallel=True)
    def tenths(x, out):
        for i in numba.prange(len(out)):
            out[i] = x / np.float32(10)

    def check():
        assert np.float32(1e-38) / np.float32(10) != 0 and np.float64(1e-308) / 10 != 0
        assert (np.full(1000, 1e-38, np.float32) / np.float32(10) != 0).all()
        out = np.zeros(10_000, np.float32)
        tenths(np.float32(1e-38), out)
        assert (out != 0).all()

    check()
    for threads in {1, usual_threads}:
        trained(threads=threads)
        check()


def test_beside_scikit_learn():
    """Both in one process, in turns: both right."""
    decomposition = pytest.importorskip("sklearn.decomposition", reason="needs scikit-learn")
    from sklearn.cluster import KMeans

    x = np.random.default_rng(0).random((300, 40))
    expected = trained("reference")

    def theirs():
        pca = decomposition.PCA(5, random_state=0).fit(x)
        clusters = KMeans(3, n_init=2, random_state=0).fit(x)
        return pca.explained_variance_, clusters.inertia_

    before = theirs()
    for _ in range(3):
        assert np.abs(trained() - expected).max() <= 1e-5 * np.abs(expected).max()
        assert all(np.allclose(a, b) for a, b in zip(theirs(), before))


@pytest.mark.parametrize("first", ["torch", "tinyae"])
def test_beside_torch(first):
    """Two libraries with OpenMP in one process, whichever is loaded first."""
    pytest.importorskip("torch", reason="needs torch")
    code = """
    if sys.argv[1] == "torch":
        import torch
    right()
    import torch
    before = torch.get_num_threads()
    for _ in range(3):
        a = torch.arange(90_000, dtype=torch.float32, requires_grad=True)
        loss = (a.reshape(300, 300) / 1e5 @ torch.ones(300, 300)).sum()
        loss.backward()
        assert torch.allclose(a.grad, torch.full_like(a, 3e-3))
        right()
    t = torch.from_numpy(train())  # memory goes over without a copy, and stays
    kept = t.clone()
    right()
    assert torch.equal(t, kept) and torch.get_num_threads() == before
    print("right")
    """
    assert program(code, first) == "right"
