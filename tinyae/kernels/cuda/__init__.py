"""The GPU's kernels in CUDA C, one ``.cu`` file for each kind of operation, and how their text is put together.

Every file is compiled once for each float type: ``REAL`` stands for ``float`` or ``double``. ``common.cuh`` comes first in
each. Nothing is included, so a file can be compiled by NVRTC on any machine, and, with a header that plays the
GPU, by a C++ compiler.
"""

from functools import cache
from pathlib import Path

import numpy as np

REAL = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17",)  # what NVRTC is told besides the GPU's generation


def files():
    """The names of all files, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@cache
def source(file, dtype):
    """The text of a file for one float type, ready to be compiled."""
    common, own = (FOLDER / "common.cuh").read_text(), (FOLDER / f"{file}.cu").read_text()
    return f'#define REAL {REAL[np.dtype(dtype)]}\n#line 1 "common.cuh"\n{common}#line 1 "{file}.cu"\n{own}'
