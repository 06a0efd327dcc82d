"""The GPU that is measured: which it is, and the libraries that drive it."""

import subprocess

import numpy as np

import tinyae as ta

BACKEND = "cupy"  # tests put a stand-in here


def backend():
    """tinyae's backend on the GPU; a BackendError says what is missing, and how to install it."""
    return ta.get_backend(BACKEND)


def versions():
    """{library: version} of what runs on the device."""
    xp = backend().xp
    return {getattr(xp, "__name__", BACKEND): getattr(xp, "__version__", np.__version__)}


def description():
    """What a report says of the device: its name, memory, generation, driver and CUDA, as far as the backend knows them."""
    found = {"backend": BACKEND, "about": str(backend().about())}
    cuda = getattr(backend().xp, "cuda", None)
    if not hasattr(cuda, "Device"):
        return found
    device = cuda.Device()
    properties = cuda.runtime.getDeviceProperties(device.id)
    free, total = cuda.runtime.memGetInfo()
    return found | {
        "gpu": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "processors": properties["multiProcessorCount"],
        "memory": f"{total / 1e9:.1f} GB, free {free / 1e9:.1f} GB",
        "driver": driver(device.id),
        "CUDA": f"{cuda_version(cuda.runtime.runtimeGetVersion())}, the driver allows up to "
        f"{cuda_version(cuda.runtime.driverGetVersion())}",
    }


def cuda_version(number):
    """12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"


def driver(device):
    """The driver's own version, as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", f"--id={device}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown (nvidia-smi did not answer)"


def free_memory():
    """Bytes of the device that nobody holds, or None where the backend cannot tell."""
    found = backend().memory()
    return None if found is None else found[0]
