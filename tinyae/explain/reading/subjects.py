"""What has a page: every operation, loss, layer, optimizer and kernel of the package, and the address of each.

Nothing is listed by hand. A new operation has its page because it is a subclass of ``Op``.
"""

import ast
from dataclasses import dataclass
from functools import cache

from ... import losses, nn, ops, optim
from ...nn.module import Module
from .cuda import cuda_files
from .source import PACKAGE, Place, place_of, source_file

KINDS = {  # in the order of the index
    "operations": "Operations",
    "losses": "Losses",
    "layers": "Layers",
    "optimizers": "Optimizers",
    "kernels": "Kernels",
    "files": "Files",
}
READ = ("ops/*.py", "losses.py", "optimizer.py", "optim.py", "functional.py", "nn/*.py", "tape.py", "apply.py")
KERNEL_FILES = ("kernels/*.py", "kernels/loops/*.py")


@dataclass(frozen=True)
class Subject:
    """A page: ``name`` as it is called, ``thing`` the class (None for a file), ``place`` where it is defined."""

    kind: str
    name: str
    place: Place
    thing: type | None = None

    @property
    def address(self):
        """The page, relative to the folder that is written."""
        name = self.name if self.thing else self.name.rpartition(".")[0].removeprefix("kernels/").replace("/", "-")
        return f"{self.kind}/{name}.html"


def operations():
    """All operations, those of the losses and of the models too: subclasses of Op that are not kernels."""
    found, waiting = [], list(ops.Op.__subclasses__())
    while waiting:
        cls = waiting.pop(0)
        waiting += cls.__subclasses__()
        inside = cls.__module__.startswith("tinyae.") and not cls.__module__.startswith("tinyae.kernels")
        if inside and "forward" in vars(cls):
            found.append(cls)
    known = list(ops.OPERATIONS.values())
    return sorted(found, key=lambda cls: known.index(cls) if cls in known else len(known))


def layers():
    """All layers, those that others are built of too."""
    found = dict.fromkeys(getattr(nn, name) for name in nn.__all__)
    for cls in list(found):
        found.update(dict.fromkeys(parent for parent in cls.__mro__ if issubclass(parent, Module)))
    return [cls for cls in found if cls.__module__.startswith("tinyae.nn.")]


@cache
def subjects():
    """All pages, as a tuple of Subjects."""
    found = []
    for cls in operations():
        kind = "losses" if cls.__module__ == losses.__name__ else "operations"
        found.append(Subject(kind, cls.name, place_of(cls), cls))
    found += [Subject("layers", cls.__name__, place_of(cls), cls) for cls in layers()]
    found += [Subject("optimizers", cls.__name__, place_of(cls), cls) for cls in optim.OPTIMIZERS.values()]
    for kind, patterns in (("kernels", KERNEL_FILES), ("files", READ)):
        paths = [path.relative_to(PACKAGE).as_posix() for pattern in patterns for path in sorted(PACKAGE.glob(pattern))]
        found += [Subject(kind, path, Place(path, "")) for path in paths if not path.endswith("__init__.py")]
    found += [Subject("kernels", file.file, Place(file.file, "")) for file in cuda_files()]
    return tuple(found)


@cache
def addresses():
    """{Place: address} of everything that a link may lead to."""
    found = {}
    for subject in subjects():
        if subject.thing is None:
            found[subject.place] = subject.address
            if subject.name.endswith(".py"):
                for name in source_file(subject.name).top:
                    found[Place(subject.name, name)] = f"{subject.address}#{name}"
    for subject in subjects():
        if subject.thing is not None:
            found[subject.place] = subject.address
    for place, cls in functions_of_operations().items():
        found[place] = found[place_of(cls)]
    return found


def address_of(place):
    """The page about a definition, relative to the folder that is written; None if there is none."""
    known = addresses()
    return known.get(place) or known.get(Place(place.file, place.name.split(".")[0]))


@cache
def functions_of_operations():
    """{Place of a function or method that applies one operation: its class}, of functional, losses and Tensor."""
    by_place = {place_of(cls): cls for cls in operations()}
    found = {}
    for file in ("functional.py", "losses.py", "operators.py"):
        source = source_file(file)
        for name, node in source.top.items():
            bodies = {name: node}
            if isinstance(node, ast.ClassDef):
                bodies = {f"{name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)}
            for inner, body in bodies.items():
                if Place(file, inner) in by_place:
                    continue
                used = [by_place[place] for place in places_in(source, body) if place in by_place]
                if len(set(used)) == 1:
                    found[Place(file, inner)] = used[0]
    return found


def places_in(source, node):
    """What the names in a piece of a tree mean, in the order of the text."""
    parts = [part for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute))]
    parts.sort(key=lambda part: (part.lineno, part.col_offset))
    return [place for part in parts if (place := source.meaning_of(part)) is not None]


@cache
def public_names():
    """{name: address} for names in prose: functions first, then classes; of two with one name the layer is meant."""
    found = {}
    for subject in subjects():
        if subject.thing is not None:
            found.setdefault(subject.thing.__name__, subject.address)
        else:
            found.setdefault(subject.name.split("/")[-1], subject.address)
            found[subject.name] = subject.address
    found.update({subject.name: subject.address for subject in subjects() if subject.kind == "layers"})
    for place in functions_of_operations():
        if place.file != "operators.py":
            found[place.name] = address_of(place)
    return found
