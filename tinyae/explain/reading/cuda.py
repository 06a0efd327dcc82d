"""CUDA C as pieces: what stands between two empty lines outside of braces, with the comment above it.

C has no parser in Python's library, and needs none here: the files in ``kernels/cuda`` have an empty line after each
definition.
"""

import re
from dataclasses import dataclass
from functools import cache

from .source import PACKAGE

FOLDER = "kernels/cuda"
DEFINED = re.compile(r"#define (\w+)|(?:template <.*> )?struct (\w+)|\w[\w \t*&<>,:]*[ *&](\w+)\(.*[{,(\\]$")
KERNEL = re.compile(r"__global__[^;{]*?\b(\w+?)(?:##\w+)?\s*\((?!\w+ \*WARP)", re.DOTALL)
INSTANCE = re.compile(r"^[A-Z_]+\(([a-z]\w*), ([A-Za-z]\w*)\)$", re.MULTILINE)
MOVES = ("load", "store")  # between memory and registers: what every kernel calls
USED = re.compile(r"\b(\w+)<[^<>=;]")


@dataclass(frozen=True)
class Piece:
    """Lines ``first`` to ``last`` of a file; code begins at ``code`` and ends before the comment of the next piece."""

    file: str
    first: int
    code: int
    last: int
    comment: str
    names: tuple  # what it defines
    kernels: tuple  # those of them that a host can launch


class CudaFile:
    """A ``.cu`` or ``.cuh`` file: ``lines`` counted from 1, ``heading`` (its first comment) and ``pieces``."""

    def __init__(self, file):
        self.file = file
        self.text = (PACKAGE / file).read_text(encoding="utf-8")
        self.lines = ["", *self.text.splitlines()]
        self.pieces = []
        start, depth = None, 0
        for n, line in enumerate([*self.lines[1:], ""], start=1):
            if line.strip() and start is None:
                start = n
            code = re.sub(r"//.*", "", line)
            depth += code.count("{") - code.count("}")
            if start is not None and not line.strip() and depth == 0:
                self.pieces.append(self.piece(start, n - 1))
                start = None

    def piece(self, first, last):
        """Comment and code of these lines."""
        code = first
        while code <= last and self.lines[code].startswith("//"):
            code += 1
        comment = "\n".join(line.removeprefix("//").removeprefix(" ") for line in self.lines[first:code])
        text = "\n".join(self.lines[code : last + 1])
        return Piece(self.file, first, code, last, comment, tuple(names_in(text)), tuple(kernels_in(text)))


def names_in(text):
    """What these lines define: functions, structs, macros, kernels."""
    found = {}
    for line in text.splitlines():
        match = DEFINED.match(line)
        if match:
            found[next(group for group in match.groups() if group)] = None
    for name in kernels_in(text):
        found[name] = None
    return [name for name in found if not name.startswith("__")]


def kernels_in(text):
    """The kernels among them; of a name with a place for a number, ``tile_##N``, what stands before it."""
    without = re.sub(r"__launch_bounds__\([^)]*\)", "", text)
    found = dict.fromkeys(KERNEL.findall(without))
    found.update((kernel, None) for kernel, _ in INSTANCE.findall(text))
    found.pop("name", None)  # a macro's parameter
    return found


@cache
def cuda_file(file):
    """The file at this path relative to the package, read once."""
    return CudaFile(file)


def cuda_files():
    """All of them, those that are compiled first."""
    paths = sorted((PACKAGE / FOLDER).glob("*.cu*"), key=lambda path: (path.suffix, path.name))
    return [cuda_file(f"{FOLDER}/{path.name}") for path in paths]


@cache
def pieces_by_name():
    """{name: Piece} of all files."""
    return {name: piece for file in cuda_files() for piece in file.pieces for name in piece.names}


@cache
def kernels_by_name():
    """{name of a kernel: the pieces that compute it}, what its few lines call included."""
    found = {}
    for file in cuda_files():
        for piece in file.pieces:
            text = "\n".join(file.lines[piece.code : piece.last + 1])
            algorithm = dict(INSTANCE.findall(text))
            for name in piece.kernels:
                known = pieces_by_name()
                if name in algorithm:
                    found[name] = (known[algorithm[name]],)
                    continue
                called = [known[word] for word in USED.findall(text) if word in known and word not in MOVES]
                if name.endswith("_"):  # a macro makes several, each of the template called like it
                    called = [known[name.rstrip("_")]]
                found[name] = tuple(dict.fromkeys([piece, *(other for other in called if other != piece)]))
    return found
