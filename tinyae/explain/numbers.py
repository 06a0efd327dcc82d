r"""Formulas with numbers in them: a whole one with matrices for letters, or one element with each of its terms.

Both make a new tree, with numbers where letters stood, and leave the writing to ``tree.py``. Numbers have 4 significant
digits, whole numbers all of theirs; what is behind the last = is computed from unrounded ones.
"""

import math
import re
from functools import reduce

import numpy as np

from .evaluate import Evaluator
from .functions import CONSTANTS, FUNCTIONS, REARRANGE, Function
from .grid import Grid
from .letters import name_of, plain_name
from .tree import (
    Add,
    Big,
    Bracket,
    Call,
    Cases,
    Dots,
    Floor,
    Fraction,
    Index,
    Name,
    Number,
    Product,
    Statement,
    Transposed,
    Tuple,
    changed,
    children,
    latex,
    rebuilt,
    walk,
)

TERMS = 8  # of a sum that are written out
SIDE = 6  # rows and columns of a matrix that are written out
FLIPPED = {"+": "-", "-": "+"}
LEADING = re.compile(r"^\((-[\d.]+)\)(?!\^)")


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
        right = unfolded(right, owner)

    def filled(node):
        if isinstance(node, Call):
            return renamed(node, owner)
        if not isinstance(node, Name):
            return tidy(node) if indexed else node
        if node.name in CONSTANTS or node.name in owner.indices or node.name in ("l", "L"):
            return node
        value = owner.value(node.name) if known(owner, node.name) else None
        if not isinstance(value, np.ndarray | int | float | np.generic) or (indexed and np.ndim(value)):
            return node
        text = matrix(value)
        return node if text is None else Number(text)

    text = latex(replaced(right, filled))
    if isinstance(main, Statement):
        text = f"{latex(main.left)} {main.arrow} {text}"
    shown_result = None if result is None else matrix(result)
    return text if shown_result is None or text.endswith(f" {shown_result}") else f"{text} = {shown_result}"


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


# ---------------------------------------------------------------- one element


def element(formula, values, index, result=None):
    """One element with its numbers: see ``Formula.element``."""
    main = formula.statements[0]
    right = main.right if isinstance(main, Statement) else main
    if any(isinstance(node, Call) and plain_name(node.function) in REARRANGE for node in walk(right)):
        return None
    owner = Evaluator(formula, values)
    index = tuple(int(i) for i in index)
    filler = Filler(owner)
    if isinstance(main.left, Index) and not owner.is_list(main.left.base.name):
        place = owner.seen_from(owner.name, index)
        names = [sub.name for sub in main.left.subs]
        fixed, behind = dict(zip(names, place)), place[len(names) :]
        tree = filler.filled(right, fixed, behind)
        number = filler.number(right, fixed, behind)
    else:
        whole = owner.computed(main)
        places = sources(whole.shape, owner.shape, index) if owner.axes is None else [dropped(index, owner, whole.ndim)]
        tree = joined([("+", filler.filled(right, {}, place)) for place in places[: TERMS + 1]])
        number = Number(digits(sum(whole[place] for place in places)))
    if result is not None:
        number = Number(digits(result))
    left = written(main.left, index)
    text = LEADING.sub(r"\1", latex(tree))  # a minus in front needs no parentheses
    return f"{left} {main.arrow} {text}" if text == number.text else f"{left} {main.arrow} {text} = {number.text}"


def written(left, index):
    """The letter of the left side with the element's own indices, counted from 0."""
    name = name_of(left)
    if (
        isinstance(left, Index)
        and len(left.subs) == 1
        and isinstance(left.subs[0], Name)
        and left.subs[0].name in ("l", "L")
    ):
        name = rf"({latex(left)})"
    if not index:
        return name
    return f"{name}_{{{','.join(map(str, index))}}}" if max(index) > 9 else f"{name}_{{{''.join(map(str, index))}}}"


def sources(shape, wanted, index):
    """Which elements of an array of this shape add up to this element of one that was stretched to it."""
    if wanted is not None and len(index) < len(wanted):  # a vector that counts as a matrix
        index = (
            (*index, 0, 0)
            if len(wanted) - len(index) == 2
            else (*index, 0)
            if wanted[-1] == 1
            else (*index[:-1], 0, index[-1])
        )
    if wanted is None or len(index) > len(shape) or tuple(wanted) == tuple(shape):
        return [index]
    before = len(shape) - len(wanted)
    ranges = [range(n) for n in shape[:before]]
    ranges += [range(n) if m == 1 and n != 1 else [i] for i, m, n in zip(index, wanted, shape[before:])]
    return [tuple(place) for place in np.array(np.meshgrid(*ranges, indexing="ij")).reshape(len(shape), -1).T]


def dropped(index, owner, rank):
    """An index of a reduced result without the axes that were kept with length 1."""
    return tuple(i for axis, i in enumerate(index) if axis not in owner.axes) if len(index) > rank else index


def joined(terms):
    """Terms as a sum: of more than TERMS the first, and dots."""
    if not terms:
        return Number("0")
    if len(terms) == 1:
        return terms[0][1]
    terms = [
        (sign if inner == "+" else FLIPPED[sign], part)
        for sign, term in terms
        for inner, part in (term.terms if isinstance(term, Add) else [("+", term)])
    ]
    if len(terms) > TERMS:
        terms = [*terms[:TERMS], ("+", Dots(r"\cdots"))]
    return Add(tuple(terms))


class Filler:
    """Puts the numbers of one element into a tree: ``fixed`` has the indices' places, ``behind`` that on the carried axes."""

    def __init__(self, owner):
        self.owner = owner

    def number(self, node, fixed, behind):
        """The value of a node at that place."""
        grid = Grid((*fixed, *(letter for letter in inner_indices(node) if letter not in fixed)), fixed, self.owner)
        found = np.asarray(self.owner.node(node, grid))
        found = found.reshape(found.shape[len(grid.places) :])
        return Number(digits(found[nearest(found.shape, behind)]))

    def filled(self, node, fixed, behind):
        def again(part):
            return self.filled(part, fixed, behind)

        match node:
            case Name(name):
                if name in CONSTANTS and name not in self.owner.values:
                    return node
                return Number(str(fixed[name])) if name in fixed else self.number(node, fixed, behind)
            case Index() | Floor() | Tuple():
                return self.number(node, fixed, behind)
            case Transposed(base):
                return self.filled(base, fixed, (*behind[:-2], behind[-1], behind[-2]))
            case Product(sign, left, right):
                return self.product(sign, left, right, fixed, behind)
            case Big():
                return self.big(node, fixed, behind)
            case Cases(rows):
                for value, condition in rows:
                    if condition is None or self.holds(condition, fixed, behind):
                        return again(value)
            case Call():
                return self.call(node, fixed, behind)
        filled = rebuilt(node, again)
        return joined(list(filled.terms)) if isinstance(filled, Add) else filled

    def holds(self, condition, fixed, behind):
        return self.number(Bracket(condition), fixed, behind).text == "1"

    def product(self, sign, left, right, fixed, behind):
        if sign == "" and not fixed and self.whole(left) and self.whole(right):
            a, b = np.asarray(self.owner.alone(left)), np.asarray(self.owner.alone(right))
            if np.ndim(a) and np.ndim(b):  # a matrix product: a sum over the inner axis
                *front, n, o = behind
                terms = []
                for k in range(min(a.shape[-1], TERMS + 1)):
                    row = self.filled(left, fixed, (*front, n, k))
                    terms.append(("+", Product(r"\cdot", row, self.filled(right, fixed, (*front, k, o)))))
                return joined(terms)
        first, second = self.filled(left, fixed, behind), self.filled(right, fixed, behind)
        if sign == "" and isinstance(second, (Add, Call)):
            return Product("", first, second)
        return Product("/" if sign == "/" else r"\cdot", first, second)

    def whole(self, node):
        """Is this a part of an array formula, one that has no indices?"""
        return not isinstance(node, Bracket) and not any(
            isinstance(part, Big) or (isinstance(part, Index) and not self.owner.is_list(part.base.name))
            for part in walk(node)
        )

    def big(self, node, fixed, behind):
        owner = self.owner
        if node.command == r"\operatorname{argmax}":
            return self.number(node, fixed, behind)
        grid = Grid((*fixed, *node.indices), fixed, owner)
        inside = np.ones(grid.length, bool)
        factors = list(factors_of(node.body))
        for factor in factors:
            if isinstance(factor, Bracket) and not inner_indices(factor):
                holds = owner.truth(factor.condition, grid)
                behind_axes = holds.shape[len(grid.places) :]
                inside = inside & holds[(..., *nearest(behind_axes, behind))] if behind_axes else inside & holds
        for part in outer_nodes(node.body):
            if isinstance(part, Index) and not owner.is_list(part.base.name):
                inside = inside & owner.located(part, grid)[2]
        body = [factor for factor in factors if not (isinstance(factor, Bracket) and not inner_indices(factor))]
        terms = []
        for place in np.argwhere(inside):
            if len(terms) > TERMS:
                break
            here = {**fixed, **dict(zip(node.indices, (int(i) for i in place[len(fixed) :])))}
            if self.weightless(body, here, behind):
                continue
            if len(body) == len(factors):
                terms.append(("+", self.filled(node.body, here, behind)))
            else:  # brackets that hold are not written
                parts = [self.filled(factor, here, behind) for factor in body] or [Number("1")]
                terms.append(("+", reduce(lambda tree, part: Product(r"\cdot", tree, part), parts)))
        if node.command == r"\sum":
            return joined(terms)
        arguments = [term for _, term in terms[:TERMS]] + [Dots(r"\ldots")] * (len(terms) > TERMS)
        return Call(node.command, tuple(arguments)) if len(arguments) > 1 else arguments[0]

    def weightless(self, factors, fixed, behind):
        """Has a term a factor of 0 that the formula itself defines, such as the weight of a far pixel?"""
        weights = [f for f in factors if isinstance(f, Index) and f.base.name in self.owner.definitions]
        return any(self.number(weight, fixed, behind).text == "0" for weight in weights)

    def call(self, node, fixed, behind):
        owner, name = self.owner, plain_name(node.function)
        found = owner.values.get(name)
        if isinstance(found, Function) and name == "reduce" and not node.mark:
            return self.reduced(node, found, behind)
        if isinstance(found, Function) and name == "f" and not node.mark:
            return renamed(rebuilt(node, lambda part: self.filled(part, fixed, behind)), owner)
        pointwise = node.function in (r"\max", r"\min") or (
            node.function in FUNCTIONS and plain_name(node.function) not in ("mean", "softmax")
        )
        if not pointwise:
            return self.number(node, fixed, behind)
        return rebuilt(node, lambda part: self.filled(part, fixed, behind))

    def reduced(self, node, function, behind):
        """The terms of a loss, written out by the definition of E, and what becomes of them."""
        E = self.owner.alone(node.arguments[0])
        if not function.name:  # no reduction
            return self.term(node.arguments[0], behind)
        terms = [("+", self.term(node.arguments[0], place)) for place in list(np.ndindex(E.shape))[: TERMS + 1]]
        total = joined(terms)
        if function.name == r"\operatorname{sum}" or E.size == 1:
            return total
        return Product("", *fraction_and(E.size, total))

    def term(self, letter, place):
        """One term of a loss: its definition with numbers, or its value, if that is a sum of its own."""
        definition = self.owner.definitions.get(name_of(letter))
        place = tuple(int(i) for i in place)
        if definition is None or any(isinstance(part, Big) for part in walk(definition.right)):
            return self.number(letter, {}, place)
        names = [sub.name for sub in definition.left.subs] if isinstance(definition.left, Index) else []
        return self.filled(definition.right, dict(zip(names, place)), place[len(names) :])


def fraction_and(n, total):
    """1/n before a sum."""
    return Fraction(r"\tfrac", Number("1"), Number(str(n))), total if isinstance(total, Add) else Add((("+", total),))


def nearest(shape, place):
    """The element of an array of this shape that stands at a place, where it was stretched along some axes."""
    place = place[len(place) - len(shape) :] if shape else ()
    return tuple(0 if n == 1 else i for i, n in zip(place, shape))


def factors_of(node):
    """The factors of a product in their order."""
    if isinstance(node, Product) and node.sign != "/":
        yield from factors_of(node.left)
        yield from factors_of(node.right)
    else:
        yield node


def outer_nodes(node):
    """A node and those below it, but for what is under a sum of its own."""
    yield node
    for child in children(node) if not isinstance(node, Big) else ():
        yield from outer_nodes(child)


def inner_indices(node):
    """The letters over which something in a node is summed."""
    return tuple(dict.fromkeys(letter for part in walk(node) if isinstance(part, Big) for letter in part.indices))
