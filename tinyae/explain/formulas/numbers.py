r"""Formulas with numbers in them: a whole one with matrices for letters, or one element with each of its terms.

Both make a new tree, with numbers where letters stood, and leave the writing to ``tree.py``. Numbers have 4 significant
digits, whole numbers all of theirs; what is behind the last = is computed from unrounded ones.
"""

import math
from dataclasses import replace

import numpy as np

from .evaluate import Evaluator
from .functions import CONSTANTS, Function
from .letters import plain_name
from .tree import (
    Add,
    Call,
    Dots,
    Index,
    Name,
    Number,
    Product,
    Statement,
    changed,
    latex,
    rebuilt,
    walk,
)

SIDE = 6  # rows and columns of a matrix that are written out


def digits(x, significant=4):
    r"""A number as LaTeX: ``0.5``, ``-3``, ``1.2 \times 10^{-5}``, ``\infty``, ``\text{NaN}``.

    >>> [digits(x) for x in (0.123456, 2.0, 1.2e-5, float("-inf"))]
    ['0.1235', '2', '1.2 \\times 10^{-5}', '-\\infty']
    """
    x = x.item() if isinstance(x, np.generic | np.ndarray) else x
    if isinstance(x, (bool, int)):
        return str(int(x))
    if math.isnan(x):
        return r"\text{NaN}"
    if math.isinf(x):
        return r"\infty" if x > 0 else r"-\infty"
    if x == int(x) and abs(x) < 10**6:
        return str(int(x))
    text = f"{x:.{significant}g}"
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else text


def matrix(array, side=SIDE):
    """An array of rank 0, 1 (a row) or 2 as LaTeX, of a large one the corners; None for a higher rank."""
    array = np.asarray(array)
    if array.ndim == 0:
        return digits(array)
    if array.ndim > 2:
        return None
    rows, columns = (shown(n, side) for n in (array.reshape(-1, array.shape[-1]).shape))
    table = array.reshape(-1, array.shape[-1])
    lines = []
    for i in rows:
        dots = r"\vdots" if i is None else r"\cdots"
        cells = [dots if i is None or j is None else digits(table[i, j]) for j in columns]
        if i is None:
            cells = [r"\ddots" if j is None else cell for j, cell in zip(columns, cells)]
        lines.append(" & ".join(cells))
    return r"\begin{bmatrix} " + r" \\ ".join(lines) + r" \end{bmatrix}"


def shown(n, side):
    """Which of n rows are written: all, or the first ones and the last, with None for the dots between."""
    return list(range(n)) if n <= side else [*range(side - 2), None, n - 1]


# ---------------------------------------------------------------- the whole formula


def with_numbers(formula, values, result=None):
    """The first statement with numbers for letters: see ``Formula.with_numbers``."""
    owner = Evaluator(formula, values, None if result is None else np.shape(result))
    main = owner.main
    right = main.right if isinstance(main, Statement) else main
    indexed = any(isinstance(node, Index) and not owner.is_list(node.base.name) for node in walk(main))
    if not indexed:
        right = unfolded(changed(right, listed(owner)), owner)

    def filled(node):
        if isinstance(node, Call):
            return renamed(node, owner)
        if not isinstance(node, Name):
            return tidy(node) if indexed else node
        if node.name in CONSTANTS or node.name in owner.indices or node.name in ("l", "L"):
            return node
        value = owner.value(node.name) if known(owner, node.name) else None
        if (words := worded(value)) is not None:
            return Number(words)
        if not isinstance(value, np.ndarray | int | float | np.generic) or (indexed and np.ndim(value)):
            return node
        text = matrix(value)
        return node if text is None else Number(text)

    text = latex(replaced(right, filled))
    if isinstance(main, Statement):
        text = f"{latex(main.left)} {main.arrow} {text}"
    shown_result = None if result is None else matrix(result)
    return text if shown_result is None or text.endswith(f" {shown_result}") else f"{text} = {shown_result}"


def listed(owner):
    r"""Replaces ``X_1, X_2, \ldots`` by all there are."""

    def listing(node):
        if not isinstance(node, Call) or node.arguments[-1] != Dots():
            return node
        base = node.arguments[0].name.partition("_")[0]
        names = [name for name in owner.values if name.partition("_")[0] == base and "_" in name]
        return replace(node, arguments=tuple(Name(name) for name in names))

    return listing


def worded(value):
    """An order of axes, a type, or an index as it is written in Python; None for what is a number or an array."""
    if isinstance(value, np.dtype | type):
        return rf"\text{{{np.dtype(value).name}}}"
    if isinstance(value, tuple) and value and all(isinstance(part, int) for part in value):
        return f"({', '.join(map(str, value))})"
    if isinstance(value, tuple | slice) or value is Ellipsis:
        parts = value if isinstance(value, tuple) else (value,)
        return rf"\text{{[{', '.join(map(index_part, parts))}]}}"
    return None


def index_part(part):
    """One part of an index: ``1:3``, ``:``, ``...``, ``2``; an array of places by its numbers, if they are few."""
    if isinstance(part, slice):
        ends = ["" if end is None else str(end) for end in (part.start, part.stop, part.step)]
        return ":".join(ends[:2] if part.step is None else ends)
    if part is Ellipsis:
        return "..."
    if isinstance(part, np.ndarray):
        return str(part.tolist()) if part.size <= SIDE else f"{part.size} places"
    return str(part)


def unfolded(node, owner):
    """The definitions of letters in place of the letters, where nothing has indices."""

    def unfold(part):
        if isinstance(part, Name) and part.name not in owner.values and part.name in owner.definitions:
            definition = owner.definitions[part.name]
            if isinstance(definition.left, Name) and not any(composed(inner, owner) for inner in walk(definition)):
                return unfolded(definition.right, owner)
        return part

    return changed(node, unfold)


def composed(node, owner):
    """A part with indices, or an operation inside another, which are no clearer when they are written out."""
    return isinstance(node, Index) or (
        isinstance(node, Call) and (node.mark or plain_name(node.function) in owner.values.keys() - {"f", "reduce"})
    )


def tidy(node):
    """Without factors of 1 and terms of 0, which attributes such as a stride of 1 leave behind."""
    if isinstance(node, Product) and node.sign == "" and node.left == Number("1"):
        return node.right
    if isinstance(node, Add):
        terms = tuple((sign, term) for sign, term in node.terms if term != Number("0"))
        return terms[0][1] if len(terms) == 1 and terms[0][0] == "+" else Add(terms or node.terms)
    return node


def replaced(node, function):
    """As ``changed``, but the base of an element keeps its letter."""
    if isinstance(node, Index):
        return Index(node.base, tuple(replaced(sub, function) for sub in node.subs))
    return function(rebuilt(node, lambda part: replaced(part, function)))


def known(owner, name):
    """Has a letter a value, given or by a definition without indices?"""
    definition = owner.definitions.get(name)
    implied = name.startswith(r"\bar ") and owner.call_of(name.removeprefix(r"\bar ")) is not None
    return name in owner.values or implied or (definition is not None and isinstance(definition.left, Name))


def renamed(call, owner):
    """A function that was given as a value, under its own name; the one that changes nothing disappears."""
    found = owner.values.get(plain_name(call.function))
    if not isinstance(found, Function):
        return call
    if not found.name and not call.mark:
        return call.arguments[0]
    return Call(found.name, call.arguments, True, call.sub, call.mark)
