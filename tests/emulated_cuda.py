"""The GPU's kernels on the CPU: CUDA C compiled by g++ with ``cuda_on_cpu.h``, called through ctypes.

Arguments are checked as nobody checks them on a GPU: how many, and each against the type in the kernel's text. Device arrays
lie between guard bands, which are looked at after each launch, and begin full of 0xFF, which is NaN.

The threads and blocks of a kernel run forwards in its first launch, backwards in the second, then in other orders, drawn by
the number of the launch. EMULATED_ORDER=n in the environment has every launch run in the order n. Besides, ``cuda_races.cpp``
watches every launch: a race is an error, whatever comes out in that order. EMULATED_RACES=0 does without.
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
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
OPTIONS = ["-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-DEMULATED", f"-I{HERE}"]
# what would end the process, or go unnoticed, ends the launch; a thread's stack has 65 KiB
CHECKS = ["-Werror=frame-larger-than=32768", "-fsanitize=bounds,null,alignment,integer-divide-by-zero"]
# each access to memory is told to cuda_races.cpp; without the second, not those that g++ believes no other thread can make
WATCHED = ["-fsanitize=thread", "-fno-tree-pta", "-g1", "-DRACES"]
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
LOCATION = re.compile(r"\+(0x[0-9a-f]+)\.$")  # in a message
settings = SimpleNamespace(order=os.environ.get("EMULATED_ORDER"), races=os.environ.get("EMULATED_RACES") != "0")
launches = Counter()  # of each kernel, by name
one_at_a_time = threading.Lock()  # a library has one set of fibers


class LaunchError(Exception):
    """A kernel was called in a way, or did something, that would fail or go unnoticed on a GPU."""


class Pointer(NamedTuple):
    """A device array, as an argument of a kernel."""

    array: np.ndarray


# ---------------------------------------------------------------- memory

BAND = 512  # bytes of guard band before and after; arrays begin at a multiple of it, as CuPy's do
GUARD = np.full(BAND, 0xA5, np.uint8)
memories = weakref.WeakValueDictionary()  # address of the first element -> Memory


class Memory(np.ndarray):
    """The bytes of a device array with its guard bands."""


def empty(shape, dtype):
    """A new array between guard bands, full of 0xFF."""
    dtype = np.dtype(dtype)
    shape = tuple(shape) if np.iterable(shape) else (shape,)
    size = math.prod(shape) * dtype.itemsize
    raw = Memory(size + 3 * BAND, np.uint8)  # no plain array: NumPy would make that the base of the array below
    start = -raw.__array_interface__["data"][0] % BAND
    memory = raw[start : start + size + 2 * BAND]
    memory[:BAND] = memory[BAND + size :] = GUARD
    fill(memory)
    memories[memory.__array_interface__["data"][0] + BAND] = memory
    return np.ndarray(shape, dtype, memory, BAND)  # which holds the memory, and so does every view of it


def fill(memory):
    """Make it what nobody can have wanted: NaN, or -1."""
    memory[BAND:-BAND] = 0xFF


def memory_of(array):
    """The Memory that an array is in, or None if NumPy has made it elsewhere."""
    while array is not None and not isinstance(array, Memory):
        array = array.base if isinstance(array, np.ndarray) else None
    return array


def damage(memory):
    """What has been written to the guard bands, or None; they are mended."""
    for band, where in ((memory[:BAND], "before the first"), (memory[-BAND:], "behind the last")):
        if written := np.count_nonzero(band != GUARD):
            band[:] = GUARD
            return f"has written to {written} bytes {where} element"
    return None


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


def command(*arguments, tool=COMPILER):
    """What a program prints; a LaunchError if it fails."""
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise LaunchError(f"g++ refuses these kernels:\n{done.stderr[:5000]}")
    return done.stdout


@functools.cache
def cache_folder():
    """Where compiled kernels are kept: one that nobody else can write to."""
    place = Path(tempfile.gettempdir()) / f"tinyae-emulated-{getattr(os, 'getuid', int)()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and place.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp())
    return place


class Kernels:
    """All kernels of one text, compiled; ``watched``: so that races are found."""

    def __init__(self, text, watched):
        self.text, self.watched = text, watched
        key = "\0".join(
            [
                text,
                *(path.read_text() for path in [*sorted(HERE.glob("cuda_*")), Path(__file__)]),
                *OPTIONS,
                str(watched),
            ]
        )
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        library, plain = cache_folder() / f"{name}.so", cache_folder() / f"{name}.txt"
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
            (work / "all.cpp").write_text(
                f'#include "cuda_on_cpu.h"\nnamespace {{\n#line 1 "kernels.cu"\n{self.text}\n#line 1 "launchers"\n}}\n{calls}'
            )
            objects = [work / "all.o"]
            command(*OPTIONS, *CHECKS, *(WATCHED if self.watched else []), "-c", work / "all.cpp", "-o", objects[0])
            if self.watched:
                objects.append(work / "races.o")
                command("-std=c++17", "-O2", "-fPIC", "-c", HERE / "cuda_races.cpp", "-o", objects[1])
            command("-shared", *objects, "-o", work / "all.so")
            os.replace(work / "plain", plain)
            os.replace(work / "all.so", library)

    def launch(self, name, blocks, threads, arguments):
        """A checked launch of a kernel; it is done by its method ``run``."""
        if name not in self.parameters:
            raise LaunchError(
                f'there is no kernel {name}, extern "C" __global__; there are {", ".join(self.parameters)}.'
            )
        grid, block = sizes(name, blocks, threads)
        if name in self.bounds:
            bound = ctypes.c_longlong.in_dll(self.library, f"bound_of_{name}").value
            if math.prod(block) > bound:
                raise LaunchError(f"{name}: {block} threads, but its __launch_bounds__ are {bound}.")
        parameters = self.parameters[name]
        if len(arguments) != len(parameters):
            names = ", ".join(p.name for p in parameters)
            raise LaunchError(f"{name}: was given {len(arguments)} arguments; expected {len(parameters)}: {names}.")
        bytes_each = (ctypes.c_longlong * (len(parameters) + 1)).in_dll(self.library, f"sizes_of_{name}")
        values, memories = [], []
        for i, (parameter, size, given) in enumerate(zip(parameters, bytes_each, arguments)):
            values.append(packed(f"{name}: argument {i + 1}, {parameter.name},", parameter, size, given))
            memories += [(parameter.name, memory) for memory in memories_in(given)]
        return Launch(self.library, name, grid, block, values, memories)


class Launch:
    """A kernel with its arguments: numbers and addresses, which stay what they are, as in a CUDA graph."""

    def __init__(self, library, name, grid, block, values, memories):
        self.library, self.name, self.values, self.memories = library, name, values, memories
        self.function = getattr(library, f"launch_{name}")
        self.function.restype = ctypes.c_char_p
        self.grid, self.block = (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block)
        self.places = (ctypes.c_void_p * (len(values) + 1))(*map(ctypes.addressof, values))

    def run(self, memories):
        """Run it; the arrays that it was given are in these memories, whose guard bands are looked at."""
        with one_at_a_time:
            order = launches[self.name] if settings.order is None else int(settings.order)
            launches[self.name] += 1
            message = self.function(self.grid, self.block, order, self.places)
        if message:
            found = LOCATION.sub(lambda place: line_of(self.library._name, place[1]), message.decode())
            raise LaunchError(f"{self.name}, in the order {order}: {found}")
        for parameter, memory in memories:
            if wrong := damage(memory):
                raise LaunchError(f"{self.name}: {wrong} of {parameter}.")


def line_of(library, place):
    """A place in a library as file and line, if it is known."""
    tool = shutil.which("addr2line")
    return f"{command('-s', '-e', library, place, tool=tool).split()[0]}." if tool else f"{place}."


def memories_in(given):
    """The memories that an argument gives to a kernel, also by addresses in a struct."""
    if isinstance(given, Pointer):
        return [memory_of(given.array)]
    if isinstance(given, np.ndarray) and given.nbytes % 8 == 0:
        words = np.frombuffer(given.tobytes(), np.uint64).tolist()
        return [memories[word] for word in words if word in memories]
    return []


def launcher(before, between, name, parameters):
    """C++ that calls a kernel with arguments given as pointers to them."""
    declared = [] if parameters.strip() in ("", "void") else parameters.split(",")
    declared = [parameter_of(p) for p in declared]
    types = [f"{p.type} *" if p.pointer else p.type for p in declared]
    values = ", ".join(f"*({kind} *)values[{i}]" for i, kind in enumerate(types))
    sizes = ", ".join([*(f"sizeof({p.type})" for p in declared), "0"])
    bound = BOUNDS.search(before + between)
    return (
        f'extern "C" const char *launch_{name}(const unsigned *grid, const unsigned *block, unsigned order, void **values) {{\n'
        f"    return cuda_on_cpu::run(\n        grid, block, order, [](void *data) {{ void **values = (void **)data; {name}({values}); }}, values);\n}}\n"
        f'extern "C" {{ long long sizes_of_{name}[] = {{{sizes}}}; }}\n'
        + (f'extern "C" {{ long long bound_of_{name} = {bound[1]}; }}\n' if bound else "")
    )


def sizes(name, blocks, threads):
    """Blocks and threads as three numbers each, of which a GPU can run so many."""
    grid, block = three(name, "blocks", blocks), three(name, "threads", threads)
    if math.prod(block) > 1024 or block[2] > 64 or max(grid[1:]) > 65535 or grid[0] >= 1 << 31:
        raise LaunchError(f"{name}: no GPU takes {grid} blocks of {block} threads.")
    return grid, block


def three(name, what, given):
    """Blocks or threads as three numbers."""
    given = tuple(given) if isinstance(given, (tuple, list)) else (given,)
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
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
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
    if vector and address % min(size & -size, 16):
        raise LaunchError(
            f"{what} begins at an address that is no multiple of {min(size & -size, 16)} bytes; {declared}."
        )
    return address


def kernels_of(text):
    """The kernels of a text; compiled once."""
    return compiled(text, settings.races)


@functools.cache
def compiled(text, watched):
    return Kernels(text, watched)
