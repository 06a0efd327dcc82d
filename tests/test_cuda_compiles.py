"""Every kernel of the GPU, compiled by NVRTC for four generations of GPUs: no driver and no GPU is needed for that.

A kernel that keeps more numbers than a thread has registers spills them to slow memory, in silence; here that is a
failure, and so is every warning.
"""

import ctypes
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from tempfile import NamedTemporaryFile

import pytest

from tinyae.kernels import cuda

from .emulated_cuda import cache_folder

GENERATIONS = ["sm_75", "sm_80", "sm_90", "sm_100"]  # Turing, Ampere, Hopper, Blackwell
OPTIONS = [*cuda.OPTIONS, "-ftz=true", "--device-as-default-execution-space"]  # the last two are added by CuPy
NAME, SPILLS = re.compile(r"'(\w+)'"), re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used \d+ registers.*")


@pytest.fixture(scope="module")
def nvrtc():
    """NVIDIA's compiler as a library, from its wheel."""
    reason = "NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 cuda-pathfinder"
    pathfinder = pytest.importorskip("cuda.pathfinder", reason=reason)
    try:
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("nvrtc").abs_path)
    except pathfinder.DynamicLibNotFoundError:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def reports(nvrtc, request):
    """{(file, dtype, generation): Future of NVRTC's report} of all that was asked for; compiled on all cores."""
    given = [item.callspec.params for item in request.session.items if item.name.startswith("test_kernels[")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wanted = [(given["file"], given["dtype"], given["generation"]) for given in given]
        yield {key: pool.submit(once_compiled, nvrtc, cuda.source(*key[:2]), key[2]) for key in wanted}


def once_compiled(nvrtc, text, generation):
    """NVRTC's report, from the day when it was told the same."""
    version = (ctypes.c_int * 2)()
    nvrtc.nvrtcVersion(version, ctypes.byref(version, ctypes.sizeof(ctypes.c_int)))
    key = repr([text, generation, *version, OPTIONS])
    path = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.log"
    if not path.exists():
        report = compiled(nvrtc, text, generation)
        with NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(report)
        os.replace(file.name, path)
    return path.read_text()


def compiled(nvrtc, text, generation):
    """NVRTC's report; an AssertionError with its message if it refuses the text."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None) == 0
    try:
        flags = [f"-arch={generation}", "--ptxas-options=-v", *OPTIONS]
        flags = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        status = nvrtc.nvrtcCompileProgram(program, len(flags), flags)
        assert nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
        log = ctypes.create_string_buffer(size.value)
        assert nvrtc.nvrtcGetProgramLog(program, log) == 0
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    report = log.value.decode()
    assert status == 0, f"NVRTC refuses this for {generation}:\n{report}"
    return report


def assert_clean(report):
    """No spills, no warnings; gives the kernels' names."""
    assert "warning" not in report, report
    names = []
    for part in report.split("Compiling entry function ")[1:]:
        name, (stores, loads), used = NAME.match(part)[1], SPILLS.search(part).groups(), USED.search(part)[0]
        assert stores == loads == "0", f"{name} spills {stores} bytes and reads {loads} back. {used}"
        names.append(name)
    return names


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("file", cuda.files())
def test_kernels(reports, file, dtype, generation):
    kernels = assert_clean(reports[file, dtype, generation].result())
    assert kernels, f'{file}.cu has no extern "C" __global__ function'


def test_all_files_are_there():
    assert cuda.files()


# ---------------------------------------------------------------- the check itself finds what it is for

SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) spills(const float *x, float *y) {
    float own[96];
#pragma unroll
    for (int i = 0; i < 96; i++) own[i] = x[threadIdx.x + 1024 * i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 96; i++) y[threadIdx.x + 1024 * i] = own[i];
}"""


def test_spills_are_found(nvrtc):
    with pytest.raises(AssertionError, match=r"spills spills \d+ bytes .* Used \d+ registers"):
        assert_clean(compiled(nvrtc, SPILLING, "sm_75"))


def test_warnings_are_found(nvrtc):
    text = 'extern "C" __global__ void waste(float *y) { int nothing = 1; *y = 1; }'
    with pytest.raises(AssertionError, match="nothing"):
        assert_clean(compiled(nvrtc, text, "sm_75"))


@pytest.mark.parametrize(
    "text",
    [
        'extern "C" __global__ void large(double *y) { __shared__ double x[6145]; x[threadIdx.x] = *y; *y = x[0]; }',
        'extern "C" __global__ void wrong(float *y) { *y = z; }',
    ],
)
def test_what_no_gpu_takes(nvrtc, text):
    with pytest.raises(AssertionError, match="NVRTC refuses"):
        compiled(nvrtc, text, "sm_75")
