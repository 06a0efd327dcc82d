"""Why CuPy cannot be used on this machine, and what to do about it: each answer is a BackendError to raise."""

import os
import re
from importlib import metadata

from .errors import BackendError

PACKAGES = re.compile(r"cupy(-cuda\d+x?|-rocm-[\d-]+)?")  # all of them install the same files
INSTALL = "pip install 'cupy-cuda12x[ctk]' or pip install 'cupy-cuda13x[ctk]' (one of them, not both)"
WHICH = "nvidia-smi shows the CUDA version of the driver in its first lines"
INSUFFICIENT_DRIVER, NO_DEVICE = "cudaErrorInsufficientDriver", "cudaErrorNoDevice"
# what a message has in it if a library of CUDA, or a header, is not found
LIBRARIES = ("Failure finding", "nvrtc", "cudart", "libcu", ".dll", "DLL", "CUDA root", "CUDA_PATH", "cannot open source file",
             "could not open source file", "No such file")  # fmt: skip


def one_package():
    """The name of the installed CuPy package, or None; two are an error."""
    found = {(d.metadata["Name"] or "").lower().replace("_", "-") for d in metadata.distributions()}
    found = sorted(name for name in found if PACKAGES.fullmatch(name))
    if len(found) > 1:
        raise BackendError(
            f"backend 'cupy': {len(found)} CuPy packages are installed, {' and '.join(found)}, which overwrite each "
            f"other's files. Remove all with pip uninstall {' '.join(found)}, then install the one for your driver, {INSTALL}; "
            f"{WHICH}."
        )
    return found[0] if found else None


def cannot_import(error, package):
    """CuPy is not there, or does not load."""
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        return BackendError(
            f"backend 'cupy': the CuPy library is not installed. Install it for your CUDA version with {INSTALL}; {WHICH}."
        )
    return BackendError(
        f"backend 'cupy': {package or 'CuPy'} is installed, but does not load ({one_line(error)}). {reinstall(package)}"
    )


def no_device(cupy, package, error):
    """There is no GPU that CUDA can use; ``error`` is what CUDA says, or None if it counts none."""
    text = one_line(error) if error is not None else "CUDA reports no device"
    start = f"backend 'cupy': CuPy {cupy.__version__} is installed, but there is no usable GPU"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if INSUFFICIENT_DRIVER in text:
        driver, wanted = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
        if not driver:
            return BackendError(
                f"{start}: no NVIDIA driver is loaded. Install the driver (nvidia-smi shows whether it works), or use the "
                "backend 'numpy'."
            )
        other = driver // 1000
        fits = f", or install the CuPy for it with {swap(package, other)}" if other >= 12 else ""
        return BackendError(
            f"{start}: the NVIDIA driver is too old. It is for CUDA {version_text(driver)}, and {package or 'this CuPy'} for "
            f"CUDA {version_text(wanted)}. Update the driver{fits}."
        )
    if error is None or NO_DEVICE in text:
        if shown is not None:
            return BackendError(
                f"{start} ({text}): CUDA_VISIBLE_DEVICES is {shown!r}. Set it to the number of a GPU that nvidia-smi lists, or "
                "take it away."
            )
        return BackendError(
            f"{start} ({text}). Check with nvidia-smi that the driver sees it, or use the backend 'numpy'."
        )
    return cannot_compute(cupy, package, error)


def cannot_compute(cupy, package, error):
    """A GPU is there, but the first thing that was asked of it failed."""
    text = one_line(error)
    start = f"backend 'cupy': CuPy {cupy.__version__} finds a GPU, but cannot compute on it"
    if isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in text:
        return BackendError(f"{start}: its memory is used up ({text}). nvidia-smi shows by whom.")
    if isinstance(error, OSError) and not isinstance(error, ImportError):
        return BackendError(
            f"{start}: it cannot keep what it compiles ({text}). Set CUPY_CACHE_DIR to a folder that can be written to."
        )
    if any(part in text for part in LIBRARIES):
        return BackendError(
            f"{start}: a part of CUDA is missing, or for another version ({text}). {reinstall(package)}"
        )
    return BackendError(f"{start} ({text}). Check the driver with nvidia-smi. {reinstall(package)}")


def reinstall(package):
    """The command that brings CUDA's own libraries and headers along."""
    if package is None or not re.fullmatch(r"cupy-cuda\d+x", package):
        return f"Install CuPy together with CUDA's libraries: {INSTALL}; {WHICH}."
    return (
        f"Install CUDA's libraries with it: pip install --force-reinstall '{package}[ctk]'. If the driver is for another "
        f"version of CUDA, first pip uninstall {package}, then {INSTALL}; {WHICH}."
    )


def swap(package, major):
    """The commands for another CuPy."""
    new = f"pip install 'cupy-cuda{major}x[ctk]'"
    return f"pip uninstall {package} and {new}" if package else new


def version_text(number):
    """12090, as CUDA counts, as "12.9"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def one_line(error, most=300):
    """What an error says, in one line; of CuPy's long ones, what was the matter to begin with."""
    text = str(error)
    if "Original error:" in text:
        text = text.rsplit("Original error:", 1)[1].strip("= \n")
    text = " ".join(text.split()).rstrip(".") or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3]}..."
