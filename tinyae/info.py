"""What tinyae finds on this machine: versions, threads, BLAS, backends. ``tinyae info`` prints it."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .backend import BACKENDS, get_backend
from .cupy_trouble import INSTALL, one_package
from .errors import BackendError
from .kernels.about import kernel_state

LIBRARIES = ("numpy", "numba", "scipy", "safetensors", "tqdm", "click", "scikit-learn", "matplotlib", "pillow",
             "pooch", "tensorboardX", "constriction")  # fmt: skip
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
                   "NUMBA_THREADING_LAYER")  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """All of it as a dict of plain values."""
    return {
        "tinyae": version("tinyae"),
        "python": f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}",
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "libraries": {**{name: installed(name) for name in LIBRARIES}, "cupy": installed_cupy()},
        "cores": {"in the machine": os.cpu_count(), "for this process": usable_cores()},
        "thread settings": {name: os.environ.get(name, "not set") for name in THREAD_SETTINGS},
        "kernels": kernel_state(),
        "blas": blas_libraries(),
        "backends": {name: backend_state(name) for name in BACKENDS},
        "data": os.environ.get("TINYAE_DATA", "TINYAE_DATA is not set; data sets are looked for in the cache folder"),
    }


def installed(name):
    """The version of a library, or how to install it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed (pip install {name})"


def installed_cupy():
    """Which of CuPy's packages is installed, one for each CUDA; or how to install one, or to mend it."""
    try:
        package = one_package()
    except BackendError as error:
        return str(error)
    return f"not installed: {INSTALL}" if package is None else f"{version(package)} ({package})"


def usable_cores():
    """The cores this process may use, which a container can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def blas_libraries():
    """The libraries that multiply matrices, with their threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index, call-overload]
        return [f"{blas['name']} {blas['version']} (threads unknown: pip install threadpoolctl)"]
    return [
        f"{pool['internal_api']} {pool.get('version')}, {pool['num_threads']} threads ({os.path.basename(pool['filepath'])})"
        for pool in threadpool_info()
    ]


def backend_state(name):
    """Is it usable? If not, why, and what to do."""
    try:
        return f"found: {get_backend(name).about()}"
    except BackendError as error:
        return f"not usable: {error}"


def machine_report(about: dict[str, Any]) -> str:
    """The description as text."""
    lines = []
    for name, value in about.items():
        if isinstance(value, dict):
            width = max(len(key) for key in value)
            lines += [f"{name}:", *(f"  {key:{width}}  {text}" for key, text in value.items())]
        elif isinstance(value, list):
            lines += [f"{name}:", *(f"  {text}" for text in value)]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines)
