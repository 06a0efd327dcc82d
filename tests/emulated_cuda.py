"""The GPU's kernels on the CPU: CUDA C compiled by g++ with ``cuda_on_cpu.h``, called through ctypes.

Arguments are checked as nobody checks them on a GPU: how many, and each against the type in the kernel's text. Device arrays
lie between guard bands, which are looked at after each launch, and begin full of 0xFF, which is NaN.
"""

import ctypes
import functools
import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
COMPILER = shutil.which("g++")
OPTIONS = ["-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-DEMULATED", f"-I{HEADER.parent}"]
CHECKS = ["-fsanitize=bounds,null,alignment,integer-divide-by-zero"]
POINTEES = {
    "float": "float32", "double": "float64", "bool": "bool", "char": "int8", "signed char": "int8",
    "unsigned char": "uint8", "short": "int16", "unsigned short": "uint16", "int": "int32", "unsigned int": "uint32",
    "unsigned": "uint32", "long long": "int64", "unsigned long long": "uint64",
}  # fmt: skip
VECTOR = re.compile(r"(float|double|int|uint|uchar|longlong|ulonglong)([234])")
ELEMENTS = {
    "uint": "unsigned int",
    "uchar": "unsigned char",
    "longlong": "long long",
    "ulonglong": "unsigned long long",
}
KERNEL = re.compile(r'extern\s*"C"\s*__global__\s*([^{;]*?)\bvoid\b\s*([^{;]*?)(\w+)\s*\(([^)]*)\)\s*\{')
BOUNDS = re.compile(r"__launch_bounds__\s*\(\s*([^,()]*(?:\([^()]*\)[^,()]*)*)")
one_at_a_time = threading.Lock()  # a library has one set of fibers


class LaunchError(Exception):
    """A kernel was called in a way, or did something, that would fail or go unnoticed on a GPU."""


class Pointer(NamedTuple):
    """A device array, as an argument of a kernel."""

    array: np.ndarray


# ---------------------------------------------------------------- memory

BAND = 512  # bytes of guard band before and after; arrays begin at a multiple of it, as CuPy's do
GUARD = np.full(BAND, 0xA5, np.uint8)
guarded = weakref.WeakValueDictionary()  # address of an array -> its memory


class Memory(np.ndarray):
    """The bytes of a device array between its guard bands."""


def empty(shape, dtype):
    """A new array between guard bands, full of 0xFF."""
    dtype = np.dtype(dtype)
    shape = tuple(shape) if np.iterable(shape) else (shape,)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 3 * BAND, np.uint8).view(Memory)
    start = -raw.ctypes.data % BAND
    memory = raw[start : start + size + 2 * BAND]
    memory[:BAND], memory[BAND : BAND + size], memory[BAND + size :] = GUARD, 0xFF, GUARD
    guarded[memory.ctypes.data + BAND] = memory
    # the array's base is the memory, so it lives as long as any view
    return np.ndarray(shape, dtype, memory, BAND)


def damaged(address):
    """What is wrong with the guard bands of the array there, or None."""
    memory = guarded.get(address)
    if memory is None:
        return None
    for band, where in ((memory[:BAND], "before the first"), (memory[-BAND:], "behind the last")):
        if (off := np.flatnonzero(band != GUARD)).size:
            band[:] = GUARD
            return f"has written {off.size} bytes {where} element"
    return None


def start_of(array):
    """The address of the memory that an array is a view of."""
    while isinstance(array.base, np.ndarray) and not isinstance(array.base, Memory):
        array = array.base
    return array.__array_interface__["data"][0]


# ---------------------------------------------------------------- compiling


class Parameter(NamedTuple):
    """A kernel's parameter: its type without const, and whether it is a pointer to that."""

    type: str
    name: str
    pointer: bool


def parameter_of(text):
    """A parameter from its declaration."""
    text = re.sub(r"\b(const|__restrict__|__restrict|volatile|struct)\b", " ", text)
    found = re.fullmatch(r"\s*(.*?)(\w+)\s*", text, re.S)
    kind = " ".join(found[1].replace("*", " * ").split())
    return Parameter(kind.removesuffix("*").strip(), found[2], kind.endswith("*"))


def command(*arguments):
    done = subprocess.run([COMPILER, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise LaunchError(f"g++ refuses these kernels:\n{done.stderr[:5000]}")
    return done.stdout


def folder():
    """Where compiled kernels are kept: one that nobody else can write to."""
    place = Path(tempfile.gettempdir()) / f"tinyae-emulated-{getattr(os, 'getuid', int)()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and place.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp())
    return place


class Kernels:
    """All kernels of one text, compiled."""

    def __init__(self, text):
        self.text = text
        key = "\0".join([text, HEADER.read_text(), Path(__file__).read_text(), *OPTIONS])
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        library, plain = folder() / f"{name}.so", folder() / f"{name}.txt"
        if not (library.exists() and plain.exists()):
            self.build(library, plain)
        self.parameters, self.bounds = {}, {}
        for before, between, kernel, parameters in KERNEL.findall(plain.read_text()):
            declared = [] if parameters.strip() in ("", "void") else parameters.split(",")
            self.parameters[kernel] = [parameter_of(p) for p in declared]
            if bound := BOUNDS.search(before + between):
                self.bounds[kernel] = bound[1].strip()
        self.library = ctypes.CDLL(str(library))
        self.ready = {}

    def build(self, library, plain):
        """Compile; others may be doing the same, so both files are written elsewhere and then moved."""
        with tempfile.TemporaryDirectory(dir=library.parent) as work:
            work = Path(work)
            (work / "kernels.cpp").write_text(self.text)
            # macros expanded, so that their kernels are found too; CUDA's own words stay
            text = command("-E", "-P", "-std=c++17", "-DEMULATED", work / "kernels.cpp")
            (work / "plain").write_text(text)
            calls = "\n".join(launcher(*kernel) for kernel in KERNEL.findall(text))
            # all inside is of this file alone, so that shared memory in templates can be given a section
            (work / "all.cpp").write_text(
                f'#include "cuda_on_cpu.h"\nnamespace {{\n#line 1 "kernels.cu"\n{self.text}\n#line 1 "launchers"\n}}\n{calls}'
            )
            command(*OPTIONS, *CHECKS, "-c", work / "all.cpp", "-o", work / "all.o")
            command("-shared", work / "all.o", "-o", work / "all.so")
            os.replace(work / "plain", plain)
            os.replace(work / "all.so", library)

    def launch(self, name, blocks, threads, arguments):
        """Check and run: a list of Pointers, None, ints, floats and structs."""
        self.prepared(name, blocks, threads, arguments)()

    def prepared(self, name, blocks, threads, arguments):
        """A checked launch with these very arguments, as a function that runs it."""
        if name not in self.parameters:
            raise LaunchError(
                f'there is no kernel {name}, extern "C" __global__; there are {", ".join(self.parameters)}.'
            )
        grid, block = sizes(name, "blocks", blocks), sizes(name, "threads", threads)
        if math.prod(block) > 1024 or grid[1] > 65535 or grid[2] > 65535:
            raise LaunchError(f"{name}: {grid} blocks of {block} threads are more than a GPU takes.")
        if name in self.bounds:
            bound = ctypes.c_longlong.in_dll(self.library, f"bound_of_{name}").value
            if math.prod(block) > bound:
                raise LaunchError(f"{name}: {block} threads, but its __launch_bounds__ are {bound}.")
        parameters = self.parameters[name]
        if len(arguments) != len(parameters):
            names = ", ".join(p.name for p in parameters)
            raise LaunchError(f"{name}: was given {len(arguments)} arguments; expected {len(parameters)}: {names}.")
        sizes_of = (ctypes.c_longlong * (len(parameters) + 1)).in_dll(self.library, f"sizes_of_{name}")
        values = [
            packed(f"{name}: argument {i + 1}, {p.name},", p, size, value)
            for i, (p, size, value) in enumerate(zip(parameters, sizes_of, arguments))
        ]
        places = (ctypes.c_void_p * max(len(values), 1))(*(ctypes.addressof(v) for v in values))
        function = getattr(self.library, f"launch_{name}")
        function.restype = ctypes.c_char_p
        grid, block = (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block)
        arrays = [a.array for a in arguments if isinstance(a, Pointer)]
        starts = [(start_of(a.array), p.name) for a, p in zip(arguments, parameters) if isinstance(a, Pointer)]

        def run(keep=(values, arrays)):
            with one_at_a_time:
                message = function(grid, block, places)
            if message:
                raise LaunchError(f"{name}: {message.decode()}")
            for start, parameter in starts:
                if wrong := damaged(start):
                    raise LaunchError(f"{name}: {wrong} of {parameter}.")

        return run


def launcher(before, between, name, parameters):
    """C++ that calls a kernel with arguments given as pointers to them."""
    declared = [] if parameters.strip() in ("", "void") else parameters.split(",")
    declared = [parameter_of(p) for p in declared]
    types = [f"{p.type} *" if p.pointer else p.type for p in declared]
    values = ", ".join(f"*({kind} *)values[{i}]" for i, kind in enumerate(types))
    sizes = ", ".join([*(f"sizeof({p.type})" for p in declared), "0"])
    bound = BOUNDS.search(before + between)
    return (
        f'extern "C" const char *launch_{name}(const unsigned *grid, const unsigned *block, void **values) {{\n'
        f"    return cuda_on_cpu::run(grid, block, [](void *data) {{ void **values = (void **)data; {name}({values}); }}, values);\n}}\n"
        f'extern "C" {{ long long sizes_of_{name}[] = {{{sizes}}}; }}\n'
        + (f'extern "C" {{ long long bound_of_{name} = {bound[1]}; }}\n' if bound else "")
    )


def sizes(name, what, given):
    """Blocks or threads as three numbers."""
    given = (given,) if isinstance(given, (int, np.integer)) else tuple(given)
    if not 1 <= len(given) <= 3 or any(type(n) is not int or n < 1 for n in given):
        raise LaunchError(f"{name}: {what} must be 1 to 3 ints of 1 or more, not {given!r}.")
    return given + (1,) * (3 - len(given))


def packed(what, parameter, size, value):
    """An argument as ctypes hands it over; a LaunchError if it is not what the kernel takes."""
    declared = f"the kernel takes {parameter.type}{' *' if parameter.pointer else ''}"
    if isinstance(value, Pointer):
        if not parameter.pointer:
            raise LaunchError(f"{what} is a device array; {declared}.")
        return ctypes.c_void_p(pointer_to(what, declared, parameter, size, value.array))
    if value is None:
        if not parameter.pointer:
            raise LaunchError(f"{what} is None; {declared}.")
        return ctypes.c_void_p(None)
    if type(value) in (int, bool):
        if parameter.pointer or parameter.type != "long long":
            raise LaunchError(f"{what} is the {type(value).__name__} {value}, which comes as long long; {declared}.")
        return ctypes.c_longlong(value)
    if type(value) is float:
        if parameter.pointer or parameter.type != "double":
            raise LaunchError(f"{what} is the float {value}, which comes as double; {declared}.")
        return ctypes.c_double(value)
    if isinstance(value, (np.ndarray, np.void)) and value.dtype.names and value.size == 1:
        if parameter.pointer or parameter.type in POINTEES or value.dtype.itemsize != size:
            raise LaunchError(f"{what} is a struct of {value.dtype.itemsize} bytes; {declared}, of {size} bytes.")
        return (ctypes.c_char * size).from_buffer_copy(value.tobytes())
    kind = f"{type(value).__module__}.{type(value).__name__}"
    raise LaunchError(f"{what} is a {kind}; expected a device array, None, an int, a float or a struct.")


def pointer_to(what, declared, parameter, size, array):
    """The address of an array that fits the kernel's pointer."""
    if not array.flags.c_contiguous:
        raise LaunchError(
            f"{what} has strides {array.strides} for its shape {array.shape}; kernels take C-contiguous arrays."
        )
    vector = VECTOR.fullmatch(parameter.type)
    element = ELEMENTS.get(vector[1], vector[1]) if vector else parameter.type
    expected = POINTEES.get(element)
    if expected is None:  # a struct, or a pointer: the array holds its bytes
        fits = array.dtype.kind in "uV" or array.dtype == np.int64
    else:
        fits = array.dtype == expected or (array.dtype == bool and expected == "uint8")
    if not fits:
        raise LaunchError(f"{what} is an array of {array.dtype}; {declared}.")
    address = array.__array_interface__["data"][0]
    if vector and address % (size if size in (2, 4, 8, 16) else 16 if size == 32 else 1):
        raise LaunchError(f"{what} begins at an address that is no multiple of {size} bytes; {declared}.")
    return address


@functools.cache
def kernels_of(text):
    """The kernels of a text; compiled once."""
    return Kernels(text)
