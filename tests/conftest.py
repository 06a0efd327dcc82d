"""What all tests share: the backends they run on, and random arrays."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.backend import register_backend
from tinyae.cli import main
from tinyae.errors import BackendError

from .strict_device import StrictBackend
from .twins import kernels_for_all

register_backend("strict", StrictBackend)


@pytest.fixture(params=["numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    """Each backend in turn; one that this machine lacks is skipped, with the reason."""
    try:
        return ta.get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def device(request):
    """A GPU, and the stand-in for one that runs its kernels on the CPU; else skipped, with the reason."""
    try:
        found = ta.get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))
    if found.twin("gather") is None:
        pytest.skip("needs g++, to run the GPU's kernels on the CPU")
    return found


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def digits_model():
    """A small autoencoder for 8x8 digits, always with the same weights."""
    ta.manual_seed(0)
    return ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, 4)),
        ta.Sequential(ta.Dense(4, 16, "relu"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )


@pytest.fixture
def images(rng):
    """Made-up 8x8 images, for tests that only need something to train on."""
    return rng.random((50, 8, 8, 1), dtype=np.float32)


# ---------------------------------------------------------------- for the tests of training


def weights(model):
    """All numbers of a model as bytes, to compare to the last bit."""
    return b"".join(value.tobytes() for value in model.state_dict().values())


def quick(model, x, epochs=2, **options):
    """A short training without a progress bar."""
    return model.fit(x, epochs, progress=False, **options)


def made(seed=0):
    """An autoencoder with dropout and noise, so that all that is random takes part."""
    ta.manual_seed(seed)
    return ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dropout(0.2), ta.Dense(16, 4)),
        ta.Sequential(ta.GaussianNoise(0.1), ta.Dense(4, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )


# ---------------------------------------------------------------- for the tests of runs and commands


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the test's own, to work in."""
    monkeypatch.chdir(tmp_path)


def tinyae(line, monkeypatch, capsys):
    """A command line in this process: (exit code, last line as JSON if it is, all of stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["tinyae", *line.split()])
    code = main()
    out, err = capsys.readouterr()
    last = out.splitlines()[-1] if out else ""
    return code, json.loads(last) if last.startswith("{") else None, out, err


def quick_train(out, name="digits", epochs=3, **options):
    """A short run without a progress bar."""
    return runs.train(name, epochs=epochs, out=out, progress=False, **options)


def kept(folder):
    """What must be the same in two runs of one recipe."""
    records = [json.loads(line) for line in Path(f"{folder}/history.jsonl").read_text().splitlines()]
    model = Path(f"{folder}/model.safetensors").read_bytes()
    return model, [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def listing(folder):
    """What is in a folder: {name: bytes}."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# ---------------------------------------------------------------- for the tests of data sets


def saved(path, array):
    """Save an array; gives the path."""
    np.save(path, array)
    return path


def refused(path, error, *parts, **options):
    """``ta.datasets.load`` raises this error for this path, with all these parts in its message."""
    with pytest.raises(error) as info:
        ta.datasets.load(path, **options)
    for part in parts:
        assert part in str(info.value), f"{part!r} is not in: {info.value}"


def assert_same(got, expected):
    """Equal in type, shape and every bit."""
    assert got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()


# ---------------------------------------------------------------- for the tests of kernels

# what a program of its own begins with: a short training, and is it right?
TRAINING = """
import sys
import numpy as np
import tinyae as ta

def train(which="fast", steps=3, width=40):
    with ta.use_kernels(which):
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(width, 30, "relu"), ta.Dense(30, width, "sigmoid"))
        x = ta.Tensor(np.random.default_rng(0).random((200, width), dtype=np.float32))
        optimizer = ta.SGD(model.parameters(), 1.0)
        for _ in range(steps):
            optimizer.zero_grad()
            y = model(x)
            node = y._node
            ta.mse_loss(y, x).backward()
            optimizer.step()
    assert ("kernels" in node.op.__module__) == (which == "fast" and KERNELS), node.op
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])

def right(**options):
    ours, theirs = train(**options), train("reference", **options)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max(), np.abs(ours - theirs).max()
    return True

KERNELS = True
"""


def program(code, *arguments, folder=None, timeout=300, **environment):
    """What Python prints that runs TRAINING and then this code; None in the environment takes a variable away."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    variables = {name: str(value) for name, value in variables.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, env=variables, timeout=timeout, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def everywhere():
    """Kernels whatever the size, in memory full of NaN."""
    with kernels_for_all():
        yield
