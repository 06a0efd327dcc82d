r"""One element of a formula, with the numbers that make it: sums term by term, of a matrix product a row times a column.

A :class:`Filler` goes through the tree as the evaluator does, but writes what it finds instead of computing it.
"""

import re
from functools import reduce

import numpy as np

from .evaluate import Evaluator
from .functions import CONSTANTS, FUNCTIONS, REARRANGE, Function
from .grid import Grid
from .letters import name_of, plain_name
from .numbers import digits, renamed
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
    children,
    latex,
    rebuilt,
    walk,
)

TERMS = 8  # of a sum that are written out
FLIPPED = {"+": "-", "-": "+"}
LEADING = re.compile(r"^\((-[\d.]+)\)(?!\^)")


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
        place = owner.view.place(index, owner.shape or whole_shape(owner))
        names = [sub.name for sub in main.left.subs]
        fixed, behind = dict(zip(names, place)), place[len(names) :]
        tree = filler.filled(right, fixed, behind)
        number = filler.number(right, fixed, behind)
    else:
        whole = owner.computed(main)
        places = (
            sources(whole.shape, owner.shape, index) if owner.view.axes is None else [dropped(index, owner, whole.ndim)]
        )
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


def whole_shape(owner):
    """The shape of the arrays that have all axes."""
    return next(v.shape for v in owner.values.values() if isinstance(v, np.ndarray) and v.ndim == owner.view.full)


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
    return tuple(i for axis, i in enumerate(index) if axis not in owner.view.axes) if len(index) > rank else index


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
        if sign == "" and isinstance(second, (Add, Call)) and not isinstance(first, Product):
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
