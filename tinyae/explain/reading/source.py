"""A file of the package as text, lines and tree; and what a name in it means, found without running it.

Everything is read by ``ast``: a page shows what stands in the file, and a link leads where the import leads.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A definition: ``file`` is relative to the package, such as ``ops/linear.py``; ``name`` stands at its top level.

    ``name`` is ``"Class.method"`` for a method, and ``""`` for the file as a whole.
    """

    file: str
    name: str


class SourceFile:
    """One Python file: ``lines`` counted from 1 (line 0 is empty), ``tree``, and ``top``, {name: node} of its definitions."""

    def __init__(self, file):
        self.file = file
        self.text = (PACKAGE / file).read_text(encoding="utf-8")
        self.lines = ["", *self.text.splitlines()]
        self.tree = ast.parse(self.text)
        kinds = (ast.FunctionDef, ast.ClassDef)
        self.top = {node.name: node for node in self.tree.body if isinstance(node, kinds)}
        self.imported = {}  # name: the Place or file that an import binds it to
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                self.imported.update(self._bound_by(node))

    def _bound_by(self, node):
        folder = Path(self.file).parent
        for _ in range(node.level - 1):
            folder = folder.parent
        folder = folder.joinpath(*node.module.split(".")) if node.module else folder
        for alias in node.names:
            inner, module = file_of(folder / alias.name), file_of(folder)
            place = Place(inner, "") if inner else Place(module, alias.name) if module else None
            if place:
                yield alias.asname or alias.name, place

    def node(self, name):
        """The class, function or method (``"Class.method"``) called so, or None."""
        first, _, rest = name.partition(".")
        node = self.top.get(first)
        if node is None or not rest:
            return node
        return next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == rest), None)

    def first_line(self, node):
        """Where a definition begins, its decorators included."""
        return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])

    def meaning(self, name):
        """The Place that a name at the top level of this file stands for, or None."""
        if name in self.top:
            return Place(self.file, name)
        found = self.imported.get(name)
        if found is None or not found.name:
            return found
        there = source_file(found.file)
        return found if there is self else there.meaning(found.name)

    def meaning_of(self, node):
        """The Place that an expression of names and dots stands for, such as ``ops.Affine``, or None."""
        if isinstance(node, ast.Name):
            return self.meaning(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        if ast.unparse(node.value) == f"loops.{getattr(node.value, 'attr', '')}":  # imported when first needed
            return Place(f"kernels/loops/{node.value.attr}.py", node.attr)
        owner = self.meaning_of(node.value)
        if owner is None:
            return None
        if not owner.name:
            return source_file(owner.file).meaning(node.attr)
        inside = Place(owner.file, f"{owner.name}.{node.attr}")
        return inside if source_file(owner.file).node(inside.name) is not None else None

    def bases(self, name):
        """The Places of a class's parents, nearest first, those of the package only."""
        node, found = self.top[name], []
        for base in node.bases:
            place = self.meaning_of(base)
            if place and place.name:
                found += [place, *source_file(place.file).bases(place.name)]
        return found


@cache
def source_file(file):
    """The file of the package at this relative path, read once."""
    return SourceFile(file)


def file_of(path):
    """The Python file that a module's path, relative to the package, means; None if there is none."""
    path = Path(path)
    if (PACKAGE / path).with_suffix(".py").is_file():
        return path.with_suffix(".py").as_posix()
    return (path / "__init__.py").as_posix() if (PACKAGE / path / "__init__.py").is_file() else None


def place_of(thing):
    """Where a class or function of the package is defined."""
    module = thing.__module__.split(".")[1:]
    return Place(file_of(Path(*module)), thing.__qualname__)


def docstring_lines(node):
    """(first, last) line of a definition's docstring, or None."""
    if not ast.get_docstring(node):
        return None
    text = node.body[0]
    return text.lineno, text.end_lineno
