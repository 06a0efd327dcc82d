"""The GPU's kernels in CUDA C, one ``.cu`` file for each kind of operation, and how their text is put together.

Every file is compiled once for each float type: ``REAL`` stands for ``float`` or ``double``. ``common.cuh`` comes first in
each, and other ``.cuh`` files where a file includes them; all of that is put into one text here. So a file can be
compiled by NVRTC on any machine, and, with a header that plays the GPU, by a C++ compiler.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

REAL = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
FOLDER = Path(__file__).parent
# what NVRTC is told besides the GPU's generation; CuPy adds -ftz=true: in float32, numbers below 1.2e-38 count as zero
OPTIONS = ("-std=c++17",)
INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.M)


def files():
    """The names of all files, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@cache
def source(file, dtype):
    """The text of a file for one float type, ready to be compiled."""
    own = (FOLDER / f"{file}.cu").read_text()
    headers = ["common.cuh", *INCLUDE.findall(own)]
    texts = {name: (FOLDER / name).read_text() for name in headers} | {f"{file}.cu": INCLUDE.sub("", own)}
    return f"#define REAL {REAL[np.dtype(dtype)]}\n" + "".join(f'#line 1 "{k}"\n{text}' for k, text in texts.items())
