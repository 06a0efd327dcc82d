"""Which loops and which CUDA kernels compute an operation in place of its definition, found in the text of the twins.

A twin (``kernels/cpu.py``, ``kernels/gpu.py``) is a class with the operation's two methods, or, for optimizers, a function.
From there the names are followed through ``kernels/``: a name ``loops.FILE.FUNCTION`` is a loop for numba, and a word that a
``.cu`` file defines as a kernel is that kernel.
"""

import ast
from dataclasses import dataclass
from functools import cache

from .cuda import kernels_by_name
from .source import Place, place_of, source_file


@dataclass(frozen=True)
class Twin:
    """What stands in for one method, or for an update: ``method`` launches ``kernels``, Places of loops or Pieces of CUDA."""

    method: Place
    kernels: tuple


@cache
def twins_of(thing):
    """{"numba": {"forward": Twin, ...}, "CUDA": {...}} for an operation or an optimizer; a backend without a twin is left out."""
    from ...kernels import cpu, gpu

    found = {}
    for backend, table in (("numba", cpu.TWINS), ("CUDA", gpu.TWINS)):
        twin = table.get(thing)
        if twin is None:
            continue
        if isinstance(twin, type):
            methods = {name: method_of(place_of(twin), name) for name in ("forward", "backward")}
        else:
            methods = {"update": place_of(twin)}
        classes = []  # backward is handed objects that forward made
        found[backend] = {name: Twin(at, reached(at, backend, thing, classes)) for name, at in methods.items()}
    return found


def method_of(place, name):
    """Where a class's method is defined: there, or in a parent."""
    source = source_file(place.file)
    for owner in (place, *source.bases(place.name)):
        found = Place(owner.file, f"{owner.name}.{name}")
        if source_file(owner.file).node(found.name) is not None:
            return found
    raise LookupError(f"{place.name} in {place.file} has no method {name}")


def reached(start, backend, thing, classes):
    """The kernels that are named on the way from a definition, in the order in which they are met.

    ``classes``: those met so far, of which a method may be called; new ones are added.
    """
    seen, waiting, called, found = set(), [start], set(), {}
    while waiting:
        place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        source = source_file(place.file)
        node = source.node(place.name)
        if isinstance(node, ast.ClassDef):
            classes.append((place, node))
        else:
            compared = {
                id(inner) for part in ast.walk(node) if isinstance(part, ast.Compare) for inner in ast.walk(part)
            }
            for part in ast.walk(node):
                if id(part) in compared:
                    continue
                if isinstance(part, ast.Attribute):
                    called.add(part.attr)
                kernel = kernel_in(part, source, backend, thing)
                found.update(dict.fromkeys(kernel))
                target = source.meaning_of(part) if isinstance(part, (ast.Name, ast.Attribute)) else None
                if target and is_helper(target):
                    waiting.append(target)
        for owner, body in classes:  # of a class only the methods that are called
            for part in body.body:
                if isinstance(part, ast.FunctionDef) and part.name in called:
                    waiting.append(Place(owner.file, f"{owner.name}.{part.name}"))
    return tuple(found)


def is_helper(place):
    """Is it a definition in kernels/ that is followed, not a loop?"""
    inside = place.name and place.file.startswith("kernels/") and "/loops/" not in place.file
    return inside and source_file(place.file).node(place.name) is not None


def kernel_in(part, source, backend, thing):
    """The kernels that this piece of a tree names."""
    if backend == "numba" and isinstance(part, ast.Attribute):
        place = source.meaning_of(part)
        return [place] if place and place.file.startswith("kernels/loops/") else []
    if isinstance(part, ast.Name) and part.id == "UPDATES":  # {algorithm: (the name of its kernel, ...)}
        from ...kernels import cpu, gpu_updates

        if backend == "numba":
            return [Place("kernels/loops/updates.py", cpu.UPDATES[thing][0])]
        return list(kernels_by_name()[gpu_updates.UPDATES[thing][0]])
    if backend == "numba":
        return []
    known = kernels_by_name()
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return list(known.get(part.value, ()))
    if isinstance(part, ast.JoinedStr) and isinstance(part.values[0], ast.Constant):  # f"tile_{n}"
        begin = str(part.values[0].value)
        return [piece for name in known if len(begin) > 4 and name.startswith(begin) for piece in known[name]]
    return []
