"""From a loop to machine code: the cache on disk, a machine without numba, and the compiler switched off.

What is compiled anew here is one small loop; all else takes from the usual cache.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import tinyae as ta
from tinyae.kernels import compiling, loading

from .conftest import TRAINING, program

PACKAGE = Path(ta.__file__).parent

# one small kernel, how often its machine code came from disk, and all warnings
RELU = """
import json, tempfile, warnings

def relu():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for sign in (1, -1, 1):
            y = ta.relu(ta.Tensor(np.full((100, 100), sign, np.float32), requires_grad=True))
            assert (y.numpy() == max(sign, 0)).all() and y._node.op.__module__ == "tinyae.kernels.cpu"
    return [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]

def hits():
    from tinyae.kernels.loops import elementwise
    stats = (elementwise.forward.on_all if ta.get_num_threads() > 1 else elementwise.forward.on_one).stats
    return [sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]
"""


def relu(code="print(json.dumps([relu(), hits()]))", **environment):
    return json.loads(program(RELU + code, **environment))


def files(folder):
    """All files in a folder, with what would change if they were written again."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder in which the small loop was compiled once, and what that process said."""
    folder = tmp_path_factory.mktemp("cache")
    said = relu(NUMBA_CACHE_DIR=folder)
    return folder, said


# ---------------------------------------------------------------- the cache


def test_compiled_kernels_are_kept_and_used_by_the_next_process(cache):
    folder, said = cache
    assert said == [[], [0, 1]]
    before = files(folder)
    assert any(path.suffix == ".nbc" for path in before)
    assert all(path.relative_to(folder).parts[:2] == ("tinyae", compiling.fingerprint()) for path in before)
    assert relu(NUMBA_CACHE_DIR=folder) == [[], [1, 0]]
    assert files(folder) == before


def test_processes_that_start_at_once_with_an_empty_cache(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_CACHE_DIR": str(tmp_path)}
    code = TRAINING + RELU + "print(relu())"
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0 and out.split() == [b"[]"], err
    assert relu(NUMBA_CACHE_DIR=tmp_path) == [[], [1, 0]]


def test_a_damaged_cache_is_made_anew(cache, tmp_path):
    for suffix, damage in [
        (".nbi", lambda content: b""),
        (".nbi", lambda content: content[: len(content) // 2]),
        (".nbc", lambda content: content[:100]),
        (".nbc", lambda content: b"not a pickle"),
    ]:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(cache[0], folder)
        for path in folder.rglob(f"*{suffix}"):
            path.write_bytes(damage(path.read_bytes()))
        assert relu(NUMBA_CACHE_DIR=folder) == [[], [0, 1]]
        assert relu(NUMBA_CACHE_DIR=folder) == [[], [1, 0]]


@pytest.fixture
def nowhere(tmp_path):
    """A place where no folder can be made, not even by root: below a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


def test_no_place_for_a_cache_is_one_warning(nowhere):
    code = f"tempfile.tempdir = {str(nowhere)!r}\nprint(json.dumps([relu(), hits()]))"
    (warning,), _ = relu(code, NUMBA_CACHE_DIR=nowhere, XDG_CACHE_HOME=nowhere)
    assert "cannot be written" in warning and str(nowhere / "tinyae") in warning
    assert "compiled anew in every run" in warning and "Set NUMBA_CACHE_DIR" in warning


def test_the_next_best_place_is_one_warning(nowhere, tmp_path):
    (warning,), _ = relu(NUMBA_CACHE_DIR=nowhere, XDG_CACHE_HOME=tmp_path / "home")
    assert f"They are kept in {tmp_path / 'home' / 'tinyae' / 'kernels'}" in warning
    assert any(path.suffix == ".nbc" for path in files(tmp_path / "home"))


def test_the_temporary_folder_is_the_last_place(nowhere, tmp_path):
    code = f"tempfile.tempdir = {str(tmp_path)!r}\nprint(json.dumps([relu(), hits()]))"
    (warning,), _ = relu(code, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=nowhere)
    assert f"They are kept in {tmp_path}" in warning
    assert any(path.suffix == ".nbc" for path in files(tmp_path))


def test_a_full_disk_is_one_warning(tmp_path):
    """Folders can be made, but nothing can be written into files."""
    pytest.importorskip("resource")
    code = """
from tinyae.kernels.loading import numba_works
import resource
numba_works(), ta.get_num_threads()  # numba itself wants to write when it is imported
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
sys.stderr.write(json.dumps([relu(), [ta.sigmoid(np.ones((100, 100), np.float32)).numpy()[0, 0].item()]]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING + RELU + code], stderr=subprocess.PIPE, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (warning,), (value,) = json.loads(done.stderr)
    assert "cannot be written" in warning and abs(value - 0.7310586) < 1e-6


def test_where_the_cache_is(monkeypatch, tmp_path):
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    first, second, third = compiling.candidates()
    assert (first, second) == (tmp_path / "numba" / "tinyae", tmp_path / "xdg" / "tinyae" / "kernels")
    assert third.parent == tmp_path / "tmp" and "tinyae" in third.name
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert next(compiling.candidates()) == tmp_path / ".cache" / "tinyae" / "kernels"
    mark = compiling.fingerprint()
    monkeypatch.setattr(numba, "__version__", "0.99.0")
    assert compiling.fingerprint() != mark


def test_changed_sources_are_compiled_anew_and_the_package_is_not_written_to(cache, tmp_path):
    """A copy of the package that cannot be written to works; a change of a helper gives another folder and other numbers."""
    copy = tmp_path / "site" / "tinyae"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [copy.parent, *copy.parent.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = files(copy)
    environment = {"NUMBA_CACHE_DIR": cache[0], "PYTHONDONTWRITEBYTECODE": 1}

    def from_copy(code):
        path = os.pathsep.join([str(copy.parent), *[p for p in sys.path if p and Path(p) != PACKAGE.parent]])
        return program(
            f"assert ta.__file__ == {str(copy / '__init__.py')!r}\n" + RELU + code,
            folder=tmp_path,
            **environment,
            PYTHONPATH=path,
        )

    assert from_copy("print(relu())") == "[]"
    assert files(copy) == before
    folders = set(os.listdir(cache[0] / "tinyae"))
    assert folders == {compiling.fingerprint()}

    helper = copy / "kernels" / "loops" / "activating.py"
    source = helper.read_text()
    changed = source.replace("return like(x, 0) if x < 0 else x", "return like(x, 5) if x < 0 else x")
    assert changed != source
    helper.chmod(0o644)
    helper.write_text(changed)
    os.utime(helper, ns=(before[helper], before[helper]))
    assert from_copy("print(ta.relu(-np.ones((100, 100))).numpy().mean())") == "5.0"
    assert len(set(os.listdir(cache[0] / "tinyae")) - folders) == 1
    for path in [copy.parent, *copy.parent.rglob("*")]:
        path.chmod(0o755)


# ---------------------------------------------------------------- without numba

MISSING = """
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
OLD = """
import types
numba = types.ModuleType("numba")
numba.__version__ = "0.60.1"
sys.modules["numba"] = numba
"""


@pytest.mark.parametrize(
    "stub, reason", [(MISSING, "No module named 'numba'"), (OLD, "numba 0.60.1 is older than 0.64")]
)
def test_without_numba_all_works_and_one_warning_says_what_it_costs(stub, reason):
    code = f"""
{stub}
import warnings
KERNELS = False
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert np.array_equal(train("fast"), train("reference")) or right()
        x = np.random.default_rng(0).random((200, 40), dtype=np.float32)
        ta.Autoencoder(ta.Dense(40, 30, "relu"), ta.Dense(30, 40)).fit(x, 2, progress=False)
        ta.manual_seed(3)
        assert list(ta.batches(x, 50))[0].shape == (50, 40) and ta.softmax(ta.Tensor(np.ones((90, 90)))).numpy()[0, 0] > 0
    assert ta.get_num_threads() == 1
    ta.set_num_threads(1)
    try:
        ta.set_num_threads(2)
    except ValueError as error:
        assert "this process can use 1" in str(error)
print(*[w.message for w in caught if issubclass(w.category, RuntimeWarning)], sep="\\n")
"""
    (warning,) = program(code).splitlines()
    assert reason in warning and "several times slower" in warning and "pip install 'numba>=0.64'" in warning


def test_info_says_that_numba_is_missing():
    out = program(MISSING + "from tinyae.cli import main\nsys.argv = ['tinyae', 'info']\nmain()")
    assert "No module named 'numba'" in out


def test_numba_is_not_imported_before_it_is_needed():
    """Not by tinyae, and not by a program that computes with few numbers."""
    code = """
    assert "numba" not in sys.modules
    model = ta.Autoencoder(ta.Dense(4, 3, "relu"), ta.Dense(3, 4, "sigmoid"))
    x = np.random.default_rng(0).random((10, 4), dtype=np.float32)
    model.fit(x, 3, batch_size=5, progress=False, loss="bce")
    with ta.use_kernels("reference"):
        train("reference")
    print("numba" in sys.modules)
    right()
    print("numba" in sys.modules)
    """
    assert program(code).split() == ["False", "True"]


def test_versions_of_numba_that_will_do(monkeypatch):
    import numba

    for version, good in [("0.64.0", True), ("0.65.0rc1", True), ("1.0.0", True), ("0.63.1", False), ("0.6.0", False)]:
        monkeypatch.setattr(loading, "_works", None)
        monkeypatch.setattr(numba, "__version__", version)
        if good:
            assert loading.numba_works()
        else:
            with pytest.warns(RuntimeWarning, match=f"numba {version} is older than 0.64"):
                assert not loading.numba_works()
            assert not loading.numba_works()  # says it once


# ---------------------------------------------------------------- without the compiler


def test_with_the_compiler_switched_off():
    """Every kernel is Python that can be stepped through: the same numbers, on sizes that one would step through."""
    code = """
    import numba
    assert numba.config.DISABLE_JIT
    from tinyae.kernels import conv_blocks, cpu, dense_layers, images
    cpu.ENOUGH = dense_layers.ENOUGH = conv_blocks.ENOUGH = images.ENOUGH = 1
    rng = np.random.default_rng(0)

    def both(function, *arrays):
        found = []
        for which in ("fast", "reference"):
            with ta.use_kernels(which):
                inputs = [ta.Tensor(a, requires_grad=True) for a in arrays]
                y = function(*inputs)
                assert ("kernels" in y._node.op.__module__) == (which == "fast")
                y.backward(np.cos(np.arange(y.size)).reshape(y.shape))
                found.append([y.numpy(), *(x.grad for x in inputs)])
        for ours, theirs in zip(*found):
            assert ours.dtype == theirs.dtype and np.abs(ours - theirs).max() < (1e-5 if ours.dtype == "f4" else 1e-12)

    for dtype in ("f4", "f8"):
        X, W, b = (rng.normal(size=s).astype(dtype) for s in [(9, 5), (5, 3), 3])
        for f in (None, "relu", "sigmoid", "tanh"):
            both(lambda x, w, b: ta.functional.dense(x, w, b, f), X, W, b)
        image, weight, bias = (rng.normal(size=s).astype(dtype) for s in [(2, 5, 4, 2), (3, 3, 2, 3), 3])
        for given in ({"pool": 2, "activation": "relu"}, {"upsample": 2}):
            both(lambda x, w, b: ta.conv_block(x, w, b, **given), image, weight, bias)
        both(lambda x, w, b: ta.conv2d_transpose(x, w, b), image, weight[..., :1], bias[:1])
        both(ta.max_pool2d, image)
        both(ta.upsample_nearest, image)
        for parts in (1, 3):
            dense_layers.parts_of = lambda work: parts
            both(lambda x, w, b: ta.functional.affine(x, w, b), X[:2], W, b)
            both(ta.matmul, X, W)
        for f in (ta.relu, ta.sigmoid, ta.tanh, ta.softmax):
            both(f, X)
        both(ta.mse_loss, X, X[::-1].copy())
        both(lambda z: ta.bce_with_logits_loss(z, (X > 0).astype(dtype)), X)
        both(lambda z: ta.cross_entropy(z, np.arange(9) % 5), X)
        for make in (lambda p: ta.SGD(p, .1), lambda p: ta.Momentum(p, .1, nesterov=True), ta.AdaGrad, ta.RMSProp, ta.Adam):
            found = []
            for which in ("fast", "reference"):
                with ta.use_kernels(which):
                    w = ta.Tensor(X, requires_grad=True)
                    optimizer = make([w])
                    for _ in range(3):
                        w.grad = X[::-1].copy()
                        optimizer.step()
                    found.append(w.numpy())
            assert np.abs(found[0] - found[1]).max() < (1e-5 if dtype == "f4" else 1e-12)
        assert np.array_equal(cpu.take(X, np.array([2, 0]), X.dtype), X[[2, 0]])
    from tinyae.random import Generator
    fast = Generator(5).bits(9, "noise", 1)
    with ta.use_kernels("reference"):
        assert np.array_equal(fast, Generator(5).bits(9, "noise", 1))
    losses = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            ta.manual_seed(0)
            model = ta.Autoencoder(ta.Dense(6, 3, "relu"), ta.Dense(3, 6, "sigmoid"))
            x = np.abs(np.sin(np.arange(60.0))).reshape(10, 6)
            losses.append(model.fit(x, 3, batch_size=5, progress=False)["loss"])
    assert np.allclose(*losses, rtol=1e-5)
    print("right")
    """
    assert program(code, NUMBA_DISABLE_JIT=1) == "right"


def test_a_temporary_folder_that_others_can_write_to_is_not_used(tmp_path):
    place = tmp_path / "tinyae-kernels-0"
    place.mkdir(mode=0o700)
    compiling.refuse_others(place)
    place.chmod(0o777)
    with pytest.raises(PermissionError, match="others can write"):
        compiling.refuse_others(place)


def test_old_kernels_are_removed(tmp_path):
    new, old, other = tmp_path / ("0" * 16), tmp_path / ("a" * 16), tmp_path / "other"
    for folder in (new, old, other):
        folder.mkdir()
    for folder in (old, other):
        os.utime(folder, (0, 0))
    compiling.remove_old(tmp_path)
    assert new.exists() and other.exists() and not old.exists()
