r"""What a formula is made of, and how it is written: the nodes of its tree, and the printer back to LaTeX.

The parser in ``formula.py`` makes the tree, ``evaluate.py`` computes it, ``numbers.py`` puts numbers into it. A tree has
no parentheses of its own; the printer sets them where the strength of the operators demands it.
"""

from dataclasses import dataclass, fields, replace
from typing import Any


class Node:
    """The parent of all nodes."""


@dataclass(frozen=True)
class Number(Node):
    r"""A number as it is written: ``2``, ``0.5``, ``(-3)`` as ``-3``, ``\infty``."""

    text: str


@dataclass(frozen=True)
class Name(Node):
    r"""A letter with all that belongs to it: ``X``, ``\bar X``, ``\beta_1``, ``s'``, ``\epsilon``."""

    name: str


@dataclass(frozen=True)
class Index(Node):
    """An element or a part of an array: ``X_{nk}``."""

    base: Name
    subs: tuple


@dataclass(frozen=True)
class Add(Node):
    """A sum or a difference: pairs of a sign and a term."""

    terms: tuple


@dataclass(frozen=True)
class Negative(Node):
    """A change of sign."""

    body: Any


@dataclass(frozen=True)
class Product(Node):
    r"""Two factors and what stands between them: nothing, ``\odot``, ``\cdot`` or ``/``."""

    sign: str
    left: Any
    right: Any


@dataclass(frozen=True)
class Fraction(Node):
    r"""A fraction, ``\frac`` or ``\tfrac``."""

    command: str
    over: Any
    under: Any


@dataclass(frozen=True)
class Power(Node):
    """A power, element by element."""

    base: Any
    exponent: Any


@dataclass(frozen=True)
class Transposed(Node):
    """A matrix with its axes exchanged."""

    base: Any


@dataclass(frozen=True)
class Root(Node):
    """A square root."""

    body: Any


@dataclass(frozen=True)
class Big(Node):
    r"""``\sum``, ``\max`` or ``\operatorname{argmax}`` over indices; ``bounds`` has for each what it stays below, or None."""

    command: str
    indices: tuple
    body: Any
    bounds: tuple = ()


@dataclass(frozen=True)
class Call(Node):
    r"""A function and its arguments. ``sub`` is its subscript, ``mark`` a prime (derivative) or ``\top`` (its vjp)."""

    function: str
    arguments: tuple
    parentheses: bool = True
    sub: Any = None
    mark: str = ""


@dataclass(frozen=True)
class Absolute(Node):
    """An absolute value."""

    body: Any


@dataclass(frozen=True)
class Floor(Node):
    """The next integer below."""

    body: Any


@dataclass(frozen=True)
class Compare(Node):
    """A chain of comparisons, ``a <= X < b``; with one part and no sign, that part's truth."""

    parts: tuple
    signs: tuple


@dataclass(frozen=True)
class Bracket(Node):
    """An Iverson bracket: 1 where its condition holds, 0 elsewhere."""

    condition: Any


@dataclass(frozen=True)
class Tuple(Node):
    """Indices taken together, ``(u, v)``, to be compared with an argmax."""

    items: tuple


@dataclass(frozen=True)
class Cases(Node):
    """Pairs of a value and its condition; None is "else"."""

    rows: tuple


@dataclass(frozen=True)
class Dots(Node):
    """And so on."""

    command: str = r"\ldots"


@dataclass(frozen=True)
class Statement(Node):
    r"""``left = right``, or ``left \leftarrow right``, as an optimizer writes its updates."""

    left: Any
    arrow: str
    right: Any


# ---------------------------------------------------------------- going through a tree


def children(node):
    """The nodes directly below one."""
    found = []

    def gather(value):
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            for part in value:
                gather(part)

    for field in fields(node):
        gather(getattr(node, field.name))
    return found


def walk(node):
    """A node and all nodes below it, from left to right."""
    yield node
    for child in children(node):
        yield from walk(child)


def rebuilt(node, function):
    """The node with ``function`` applied to each node directly below it."""

    def change(value):
        if isinstance(value, Node):
            return function(value)
        return tuple(change(part) for part in value) if isinstance(value, tuple) else value

    return replace(node, **{field.name: change(getattr(node, field.name)) for field in fields(node)})


def changed(node, function):
    """The tree with ``function`` applied to each node, from below."""
    return function(rebuilt(node, lambda part: changed(part, function)))


# ---------------------------------------------------------------- writing it

# how strongly a node holds together: what is weaker than its place demands goes into parentheses
STATEMENT, SUM, PRODUCT, BESIDE, POWER, ATOM = range(6)
TALL = (Fraction, Cases, Big)


def strength(node):
    """The place of a node in the order above."""
    match node:
        case Statement() | Compare():
            return STATEMENT
        case Add() | Negative():
            return SUM
        case Big():
            return PRODUCT
        case Product(sign):
            return BESIDE if sign == "" else PRODUCT
        case Number(text):
            if text.startswith("-"):
                return SUM
            return BESIDE if r"\times" in text else ATOM
        case Call(parentheses=False):
            return BESIDE
        case Power() | Transposed():
            return POWER
    return ATOM


def latex(node, at_least=STATEMENT):
    """A node as LaTeX, in parentheses if it holds together less than ``at_least``."""
    text = plain(node)
    if strength(node) >= at_least:
        return text
    tall = any(isinstance(part, TALL) for part in walk(node)) or r"\begin" in text
    return rf"\left({text}\right)" if tall else f"({text})"


def plain(node):
    """A node as LaTeX, without parentheses around it."""
    match node:
        case Statement(left, arrow, right):
            return f"{latex(left)} {arrow} {latex(right)}"
        case Number(text):
            return text
        case Name(name):
            return name
        case Index(base, subs):
            return (
                f"{base.name}_{{{subscripts(subs)}}}"
                if len(subs) > 1 or len(latex(subs[0])) > 1
                else (f"{base.name}_{latex(subs[0])}")
            )
        case Add(terms):
            return summed(terms)
        case Negative(body):
            return f"-{latex(body, PRODUCT)}"
        case Product(sign, left, right):
            return multiplied(sign, left, right)
        case Fraction(command, over, under):
            return f"{command}{{{latex(over)}}}{{{latex(under)}}}"
        case Power(base, exponent):
            return f"{latex(base, ATOM)}^{grouped(latex(exponent))}"
        case Transposed(base):
            return rf"{latex(base, ATOM)}^\top"
        case Root(body):
            return rf"\sqrt{{{latex(body)}}}"
        case Big(command, indices, body, bounds):
            return f"{command}_{grouped(limits(indices, bounds))} {latex(body, PRODUCT)}"
        case Call():
            return called(node)
        case Absolute(body):
            return rf"\left|{latex(body)}\right|"
        case Floor(body):
            return rf"\lfloor {latex(body)} \rfloor"
        case Compare(parts, signs):
            texts = [latex(part) for part in parts]
            return " ".join([texts[0], *(f"{sign} {text}" for sign, text in zip(signs, texts[1:]))])
        case Bracket(condition):
            return f"[{latex(condition)}]"
        case Tuple(items):
            return f"({', '.join(latex(item) for item in items)})"
        case Cases(rows):
            lines = [
                rf"{latex(value)} & \text{{else}}"
                if condition is None
                else rf"{latex(value)} & \text{{if }} {latex(condition)}"
                for value, condition in rows
            ]
            return r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}"
        case Dots(command):
            return command
    raise TypeError(f"no formula is made of {type(node).__name__}")


def summed(terms):
    """Terms with their signs; a plus in front is left out, and what begins with a minus goes into parentheses."""
    text = ""
    for k, (sign, term) in enumerate(terms):
        part = latex(term, PRODUCT)
        if k == 0 and sign == "+" and isinstance(term, Number):
            text = term.text
        elif k == 0:
            text = part if sign == "+" else f"-{part}"
        else:
            text += f" {sign} {part}"
    return text


def multiplied(sign, left, right):
    """A product; where two numbers would run into each other, a dot stands between them."""
    first = latex(left, BESIDE if sign == "" else PRODUCT)
    second = latex(right, POWER if sign == "" else BESIDE)
    if isinstance(left, Big) and not first.startswith(r"\left("):
        first = rf"\left({first}\right)"
    if sign == "" and isinstance(right, (Call, Big)):
        second = latex(right, PRODUCT)
    if sign == "" and second[0].isdigit():
        sign = r"\cdot"
    between = " / " if sign == "/" else f" {sign} " if sign else " "
    return first + between + second


def called(node):
    """A function with its subscript, its mark and its arguments."""
    name = node.function
    if node.sub is not None:
        name += f"_{grouped(latex(node.sub))}"
    name += {"": "", "'": "'", "top": r"^\top"}[node.mark]
    texts = [latex(argument) for argument in node.arguments]
    if node.parentheses:
        tall = any(isinstance(part, TALL) for argument in node.arguments for part in walk(argument))
        inside = ", ".join(texts)
        tall = tall or r"\begin" in inside or r"\left" in inside
        return rf"{name}\left({inside}\right)" if tall else f"{name}({inside})"
    argument = latex(node.arguments[0], PRODUCT if isinstance(node.arguments[0], Big) else POWER)
    return f"{name} {argument}"


def subscripts(subs):
    """Letters and digits side by side; with commas, where one of them is longer."""
    texts = [latex(sub) for sub in subs]
    short = all(isinstance(sub, (Name, Index)) or (isinstance(sub, Number) and len(sub.text) == 1) for sub in subs)
    if not short:
        return r",\, ".join(texts)
    return "".join(text + (" " if k + 1 < len(texts) and "\\" in text else "") for k, text in enumerate(texts))


def limits(indices, bounds):
    """What stands below a sum: its indices, and how far they run where that is said."""
    texts = [letter if bound is None else f"{letter}<{latex(bound)}" for letter, bound in zip(indices, bounds)]
    return (r",\, " if any(bounds) else ",").join(texts)


def grouped(text):
    """In braces, unless it is a single character."""
    return text if len(text) == 1 else f"{{{text}}}"
