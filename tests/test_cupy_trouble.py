"""Why CuPy does not work here: every way in which it does not, and what is advised."""

import sys

import pytest

import tinyae as ta
from tinyae.cupy_trouble import one_line
from tinyae.errors import BackendError, RangeError

from . import fake_cupy
from .fake_cupy import CUDARuntimeError, Machine, OutOfMemoryError

INSUFFICIENT = CUDARuntimeError(
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
)
NO_NVRTC = RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.12')
NO_HEADERS = RuntimeError("Failed to auto-detect CUDA root directory. Please specify `CUDA_PATH` environment variable.")


def refused(monkeypatch, *parts, machine=None, packages=("cupy-cuda12x",), name="cupy"):
    """The backend cannot be had, and the message has all these parts."""
    fake_cupy.install(monkeypatch, machine or Machine(), packages)
    with pytest.raises(BackendError) as caught:
        ta.get_backend(name)
    for part in ("backend 'cupy", *parts):
        assert part in str(caught.value), caught.value
    return str(caught.value)


def failing(**errors):
    machine = Machine()
    machine.failing = errors
    return machine


def test_no_cupy(monkeypatch):
    fake_cupy.install(monkeypatch, Machine(), packages=())
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(BackendError, match=r"not installed. Install .* pip install 'cupy-cuda12x\[ctk\]' or") as caught:
        ta.get_backend("cupy")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


class Broken:
    """Finds cupy, which then does not load."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name == "cupy":
            raise self.error


@pytest.mark.parametrize(
    "error, said",
    [
        (ImportError("\n====\nFailed to import CuPy.\n\nIf you ...\n\nOriginal error:\n  ImportError: libnvrtc.so.12: cannot "
                     "open shared object file\n====\n"), "(ImportError: libnvrtc.so.12: cannot open shared object file)"),
        (ModuleNotFoundError("No module named 'cuda'", name="cuda"), "(No module named 'cuda')"),
        (AttributeError("_ARRAY_API not found"), "(_ARRAY_API not found)"),
    ],
)  # fmt: skip
def test_a_cupy_that_does_not_load(error, said, monkeypatch):
    fake_cupy.install(monkeypatch, Machine())
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    with pytest.raises(BackendError, match="cupy-cuda12x is installed, but does not load") as caught:
        ta.get_backend("cupy")
    assert said in str(caught.value) and "pip uninstall cupy-cuda12x, then pip install" in str(caught.value)


def test_two_cupys(monkeypatch):
    refused(
        monkeypatch, "2 CuPy packages are installed, cupy-cuda12x and cupy-cuda13x",
        "pip uninstall cupy-cuda12x cupy-cuda13x", "nvidia-smi shows the CUDA version",
        packages=("cupy-cuda13x", "cupy_cuda12x"),
    )  # fmt: skip


def test_no_driver(monkeypatch):
    machine = failing(getDeviceCount=INSUFFICIENT)
    machine.driver = 0
    refused(monkeypatch, "no usable GPU: no NVIDIA driver is loaded", "nvidia-smi", "'numpy'", machine=machine)


@pytest.mark.parametrize(
    "package, driver, runtime, parts",
    [
        ("cupy-cuda13x", 12040, 13000, ["is for CUDA 12.4, and cupy-cuda13x for CUDA 13.0. Update the driver, or",
                                        "pip uninstall cupy-cuda13x and pip install 'cupy-cuda12x[ctk]'"]),
        ("cupy-cuda12x", 11080, 12090, ["is for CUDA 11.8, and cupy-cuda12x for CUDA 12.9. Update the driver."]),
    ],
)  # fmt: skip
def test_a_driver_too_old(package, driver, runtime, parts, monkeypatch):
    machine = failing(getDeviceCount=INSUFFICIENT)
    machine.driver, machine.runtime = driver, runtime
    refused(monkeypatch, "no usable GPU: the NVIDIA driver is too old", *parts, machine=machine, packages=[package])


@pytest.mark.parametrize(
    "machine",
    [Machine(devices=0), failing(getDeviceCount=CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device"))],
)
def test_no_device(machine, monkeypatch):
    assert "CUDA_VISIBLE" not in refused(monkeypatch, "no usable GPU (", "nvidia-smi", "'numpy'", machine=machine)
    fake_cupy.install(monkeypatch, machine)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(BackendError, match="CUDA_VISIBLE_DEVICES is '7'. Set it to the number of a GPU"):
        ta.get_backend("cupy")


@pytest.mark.parametrize(
    "error, parts",
    [
        (NO_NVRTC, ["a part of CUDA is missing, or for another version (Failure finding", "[ctk]"]),
        (NO_HEADERS, ["a part of CUDA is missing", "[ctk]"]),
        (fake_cupy.CompileException('cannot open source file "cuda_fp16.h"'), ["a part of CUDA is missing", "cuda_fp16.h"]),
        (ImportError("libcudart.so.13: cannot open shared object file"), ["a part of CUDA is missing", "[ctk]"]),
        (OutOfMemoryError("Out of memory allocating 512 bytes"), ["its memory is used up", "nvidia-smi shows by whom"]),
        (CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"), ["its memory is used up"]),
        (PermissionError(13, "Permission denied", "/.cupy"), ["cannot keep what it compiles (", "Set CUPY_CACHE_DIR"]),
        (CUDARuntimeError("cudaErrorUnknown: unknown error"), ["(cudaErrorUnknown: unknown error). Check the driver"]),
    ],
)  # fmt: skip
def test_a_gpu_that_cannot_compute(error, parts, monkeypatch):
    refused(monkeypatch, "finds a GPU, but cannot compute on it", *parts, machine=failing(add=error))


def test_after_an_error_it_is_tried_again(monkeypatch):
    machine = failing(add=NO_NVRTC)
    refused(monkeypatch, machine=machine)
    machine.failing = {}
    assert ta.get_backend("cupy").name == "cupy"


def test_the_number_of_a_gpu(monkeypatch):
    fake_cupy.install(monkeypatch, Machine(devices=2))
    assert ta.get_backend("cupy:0") is ta.get_backend("cupy") is ta.get_backend("CuPy")
    refused(monkeypatch, "'cupy:2': there is no such GPU. CUDA shows cupy:0 to cupy:1: cupy:0 Some GPU (8 GiB",
            machine=Machine(devices=2), name="cupy:2")  # fmt: skip
    refused(monkeypatch, "CUDA shows only cupy:0", name="cupy:1")
    for wrong in ("", "x", "-1", "0.5"):
        refused(monkeypatch, f"'cupy:{wrong}': expected the number of a GPU", name=f"cupy:{wrong}")
    refused(monkeypatch, "one GPU, and this one on cupy:0. Start Python with CUDA_VISIBLE_DEVICES=1",
            machine=Machine(devices=2), name="cupy:1")  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    with pytest.raises(BackendError, match="CUDA_VISIBLE_DEVICES=5"):
        ta.get_backend("cupy:1")
    with pytest.raises(BackendError, match="numpy has no devices to choose from"):
        ta.get_backend("numpy:0")
    with pytest.raises(RangeError, match="unknown backend 'cupi'"):
        ta.get_backend("cupi:0")


def test_an_error_in_one_line():
    assert one_line(RuntimeError()) == "RuntimeError" and len(one_line("x" * 500)) == 300
    assert one_line(ValueError("two\n  lines.")) == "two lines"
