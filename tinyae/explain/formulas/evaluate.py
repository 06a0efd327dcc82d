r"""Formulas computed: a small evaluator that knows mathematics and NumPy, and nothing of tinyae's operations.

That is its purpose. ``tests/test_formulas_hold.py`` compares every formula and every vjp rule with the code beside it;
the comparison would be worth nothing if both sides ran the same lines. So this file imports no operation and no kernel,
uses no trick against overflow, and takes no care of speed.

How it works: a statement with indices is computed on a **grid** with one axis per index letter. ``X_{nk}`` picks from X on
that grid, a product multiplies there, a sum over k adds along the axis of k. Axes of an array that have no index stand
behind the grid's and are carried along. A statement without indices has a grid without axes: plain array algebra.
The conventions are those of ``formula.py``.
"""

import math

import numpy as np

from ...errors import RangeError
from .functions import COMPARE, CONSTANTS, FUNCTIONS, REARRANGE, Function
from .grid import Grid, View, long_axes, unbroadcast
from .letters import index_letters, key_of, letters_of, name_of, plain_name
from .parsing import readable
from .ranges import Ranges
from .tree import (
    Absolute,
    Add,
    Big,
    Bracket,
    Call,
    Cases,
    Floor,
    Fraction,
    Index,
    Name,
    Negative,
    Number,
    Power,
    Product,
    Root,
    Statement,
    Transposed,
    Tuple,
    walk,
)  # fmt: skip


def evaluate(formula, values, shape=None):
    r"""The left side of a formula's first statement, computed from the values of its letters.

    Parameters
    ----------
    formula : Formula
        From ``parse`` or ``rule``.
    values : dict
        Letter -> array or number, as ``bindings`` makes it. ``"axes"``, if it is there: the axes, as one, that the first
        subscript of an array of full rank stands for.
    shape : tuple, optional
        The shape of the result: where the formula does not say how far an index of the left side runs, and for what was
        stretched by broadcasting, over which a gradient is summed. For a rule, that of the input by default.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    RangeError
        For a letter without a value, an index without a range, and an index with two.
    """
    return Evaluator(formula, values, shape).result()


def evaluate_all(formula, values):
    r"""All letters after a formula's statements, taken in their order: for an optimizer's lines with ``\leftarrow``."""
    values = dict(values)
    for statement in formula.statements:
        values[statement.left.name] = Evaluator(formula, values).computed(statement)
    return values


class Evaluator:
    """A formula and values for its letters; each letter that the formula defines is computed once."""

    def __init__(self, formula, values, shape=None):
        self.main, self.stretched = formula.statements[0], formula.stretched
        if not isinstance(self.main, Statement):
            raise RangeError(f"evaluate: {readable(self.main)} has no left side; expected a statement such as Y = X W.")
        self.name = name_of(self.main.left)
        self.values = {name: value if not_array(value) else np.asarray(value) for name, value in values.items()}
        input_name = self.name.removeprefix(r"\bar ")
        if shape is None and input_name != self.name and isinstance(self.values.get(input_name), np.ndarray):
            shape = self.values[input_name].shape
        if shape is None and isinstance(self.values.get(self.name), np.ndarray):
            shape = self.values[self.name].shape
        self.shape = shape
        statements = [*formula.statements, *formula.given, *formula.forward]
        self.definitions = {}
        for statement in statements:
            if isinstance(statement, Statement) and statement.arrow == "=":
                self.definitions.setdefault(key_of(statement.left), statement)
        self.indices = index_letters(statements)
        self.nodes = [node for statement in statements for node in walk(statement)]
        self.view = View(
            values.get("axes"),
            max((value.ndim for value in self.values.values() if isinstance(value, np.ndarray)), default=0),
            {node.base.name for node in self.nodes if isinstance(node, Index)},
        )
        self.computing, self.ready, self.outside = [], {}, 0
        self.ranges = Ranges(self)

    def result(self):
        """The main statement, in the shape that was asked for."""
        found = self.computed(self.main)
        if self.shape is None:
            return found
        found, shape = self.view.back(self.name, found, self.shape), tuple(self.shape)
        if self.stretched:
            return unbroadcast(found, shape)
        if found.shape == ():  # one number for all
            return np.broadcast_to(found, shape)
        if long_axes(found.shape) == long_axes(shape):
            return found.reshape(shape)
        raise RangeError(
            f"evaluate: {readable(self.main)} has shape {found.shape}, expected {shape}: a sum or an index is missing."
        )

    # ------------------------------------------------------------ letters

    def value(self, name):
        """What a letter stands for."""
        if name in self.ready:
            return self.ready[name]
        if name in self.values:
            found = self.values[name]
            found = self.view.of(name, found) if isinstance(found, np.ndarray) else found
        elif name in self.definitions:
            found = self.computed(self.definitions[name])
        elif self.is_list(name.rpartition("_")[0]):
            found = self.numbered(*name.rsplit("_", 1))
        elif name in CONSTANTS:
            found = np.asarray(CONSTANTS[name])
        elif name.startswith(r"\bar ") and (call := self.call_of(name.removeprefix(r"\bar "))):
            found = self.pulled(call, 0)  # the gradient of what a function was given
        else:
            raise RangeError(f"evaluate: no value was given for {name}, and the formula does not define it.")
        if name != "l":  # which counts
            self.ready[name] = found
        return found

    def call_of(self, name):
        """The statement in which a function that is among the values takes this letter alone, such as L = reduce E."""
        for statement in self.definitions.values():
            right = statement.right
            if (
                isinstance(right, Call)
                and right.arguments == (Name(name),)
                and plain_name(right.function) in self.values
            ):
                return statement
        return None

    def pulled(self, statement, k):
        """The gradient of argument k of the function on the right of a statement."""
        call = statement.right
        arrays = [self.alone(argument) for argument in call.arguments]
        return self.function(call).pull(
            k, arrays, self.alone(statement.left), self.alone(Name(rf"\bar {name_of(statement.left)}"))
        )

    def alone(self, node):
        """A node without indices."""
        return self.node(node, Grid((), {}))

    # ------------------------------------------------------------ statements

    def computed(self, statement, fixed=None):
        """A statement's value: an axis for each index on its left, and behind them what is carried along."""
        name = key_of(statement.left) if isinstance(statement, Statement) else ""
        name = (*name, self.values.get("l")) if isinstance(name, tuple) else name
        if name in self.computing:
            raise RangeError(f"evaluate: {readable(statement)} defines its left side by itself.")
        right = statement.right if isinstance(statement, Statement) else statement
        fixed = fixed or {}
        grid = Grid(letters_of(statement, self.indices), fixed, self)
        self.computing.append(name)
        try:
            found = np.asarray(self.node(right, grid))
        finally:
            self.computing.pop()
        left = (
            [sub.name for sub in statement.left.subs if sub.name in grid.axis]
            if isinstance(statement.left, Index)
            else []
        )
        return grid.gathered(found, left)

    def numbered(self, base, number):
        """The array of a list that has this number: ``W_2``, or by the rule for all of them, or by that for the last."""
        name, number = f"{base}_{number}", int(number)
        if name in self.values or name in self.definitions or name in self.ready:
            return self.value(name)
        last = self.definitions.get((base, "L"))
        if last is not None and number == self.values.get("L"):
            found = self.computed(last)
        elif (base, "l") in self.definitions:
            before, self.values["l"] = self.values.get("l"), number
            try:
                found = self.computed(self.definitions[base, "l"])
            finally:
                self.values["l"] = before
        else:
            raise RangeError(f"evaluate: no value was given for {name}, and the formula does not define it.")
        self.ready[name] = found
        return found

    # ------------------------------------------------------------ nodes

    def node(self, node, grid):
        """A node's value on a grid."""
        match node:
            case Number(text):
                return grid.spread(
                    np.asarray(math.inf if text == r"\infty" else float(text) if "." in text else int(text))
                )
            case Name(name):
                if name in grid.axis:
                    return grid.along(name)
                found = self.value(name)
                return grid.spread(found) if isinstance(found, np.ndarray | int | float | np.generic) else found
            case Index():
                return self.picked(node, grid)
            case Add(terms):
                total = self.node(terms[0][1], grid) * (1 if terms[0][0] == "+" else -1)
                for sign, term in terms[1:]:
                    total, part = grid.met(total, self.node(term, grid))
                    total = total + part if sign == "+" else total - part
                return total
            case Negative(body):
                return -self.node(body, grid)
            case Product(sign, left, right):
                return self.multiplied(sign, left, right, grid)
            case Fraction(_, over, under):
                return self.divided(self.node(over, grid), self.node(under, grid), grid)
            case Power(base, exponent):
                a, b = grid.met(self.node(base, grid), self.node(exponent, grid))
                return np.power(a.astype(float) if a.dtype.kind in "iu" else a, b)
            case Transposed(base):
                return np.swapaxes(self.node(base, grid), -1, -2)
            case Root(body):
                return np.sqrt(self.node(body, grid))
            case Big():
                return self.big(node, grid)
            case Call():
                return self.called(node, grid)
            case Absolute(body):
                return np.abs(self.node(body, grid))
            case Floor(body):
                return np.floor(self.node(body, grid)).astype(int)
            case Bracket(condition):
                return self.truth(condition, grid).astype(float)
            case Cases(rows):
                found = self.node(rows[-1][0], grid)
                for value, condition in reversed(rows[:-1]):
                    holds, value, found = grid.met(self.truth(condition, grid), self.node(value, grid), found)
                    found = np.where(holds, value, found)
                return found
            case Tuple(items):
                number = 0  # as argmax counts: row by row
                for item in items:
                    number = number * self.ranges.of(item.name) + grid.along(item.name)
                return number
        raise RangeError(f"evaluate: {readable(node)} cannot be computed here.")

    def picked(self, node, grid):
        """Elements of an array; a place outside of it counts as 0, and takes no part in a maximum."""
        array, places, inside = self.located(node, grid)
        if not places:
            return grid.spread(array)
        found = array[tuple(np.clip(place, 0, n - 1) for place, n in zip(places, array.shape))]
        if inside.all():
            return found
        return np.where(inside.reshape(inside.shape + (1,) * (found.ndim - inside.ndim)), found, self.outside)

    def located(self, node, grid):
        """An array, the places in it that its subscripts name, and which of them lie inside."""
        base, subs = node.base.name, node.subs
        if self.is_list(base):
            array, subs = self.numbered(base, int(self.alone(subs[0]))), subs[1:]
        else:
            array = self.value(base)
        if not subs:
            return array, (), np.asarray(True)
        if len(subs) > array.ndim:
            raise RangeError(f"evaluate: {readable(node)} has {len(subs)} indices, {base} has shape {array.shape}.")
        places = np.broadcast_arrays(*(np.asarray(self.node(sub, grid)) for sub in subs))
        inside = np.ones(places[0].shape, bool)
        for place, n in zip(places, array.shape):
            if place.dtype.kind not in "iu":
                raise RangeError(f"evaluate: an index in {readable(node)} is not an integer.")
            inside &= (place >= 0) & (place < n)
        return array, places, inside

    def is_list(self, base):
        return (base, "l") in self.definitions or (base, "L") in self.definitions or f"{base}_1" in self.values

    def multiplied(self, sign, left, right, grid):
        a, b = self.node(left, grid), self.node(right, grid)
        if sign == "/":
            return self.divided(a, b, grid)
        if sign == "" and not grid.axis and np.ndim(a) and np.ndim(b) and not isinstance(left, Bracket):
            return np.matmul(a, b)  # letters side by side, in a formula without indices
        a, b = grid.met(a, b)
        return a * b

    def divided(self, a, b, grid):
        a, b = grid.met(a, b)
        return a / b

    def big(self, node, grid):
        axes = tuple(grid.axis[letter] for letter in node.indices)
        before = self.outside
        self.outside = 0 if node.command == r"\sum" else -math.inf
        try:
            body = np.asarray(self.node(node.body, grid))
        finally:
            self.outside = before
        wanted = [grid.length[k] if k in axes else n for k, n in enumerate(body.shape)]
        body = np.broadcast_to(body, wanted)
        if node.command == r"\operatorname{argmax}":
            last = np.moveaxis(body, axes, range(-len(axes), 0))
            first = last.reshape(*last.shape[: -len(axes)], -1).argmax(axis=-1)
            return np.expand_dims(first, axes)
        reduce = {r"\sum": np.sum, r"\max": np.max, r"\min": np.min}[node.command]
        return reduce(body, axis=axes, keepdims=True)

    def truth(self, condition, grid):
        parts = [self.node(part, grid) for part in condition.parts]
        if not condition.signs:
            return np.asarray(parts[0]) != 0
        holds = True
        for a, sign, b in zip(parts, condition.signs, parts[1:]):
            a, b = grid.met(a, b)
            holds = holds & COMPARE[sign](a, b)
        return np.asarray(holds)

    # ------------------------------------------------------------ functions

    def function(self, call):
        """The value of a letter that is a function: f, or the l-th of a list."""
        found = self.values[plain_name(call.function)]
        if isinstance(found, (list, tuple)):
            found = found[int(self.alone(call.sub)) - 1]
        return found

    def called(self, call, grid):
        name = plain_name(call.function)
        if name in self.values:
            if call.mark == "top":
                return self.from_above(call, name)
            function, arrays = self.function(call), [self.node(argument, grid) for argument in call.arguments]
            if call.mark == "'":
                output = function.forward(*arrays)
                return function.pull(0, arrays, output, np.ones(output.shape))
            return function.forward(*arrays)
        if call.function in (r"\max", r"\min"):
            choose = np.maximum if call.function == r"\max" else np.minimum
            found = self.node(call.arguments[0], grid)
            for argument in call.arguments[1:]:
                found = choose(*grid.met(found, self.node(argument, grid)))
            return found
        if call.function in FUNCTIONS:
            return FUNCTIONS[call.function](self.node(call.arguments[0], grid))
        if name in REARRANGE:
            return REARRANGE[name](self, *(argument for argument in call.arguments))
        raise RangeError(
            f"evaluate: the function {call.function} is not known. Known are {', '.join([*FUNCTIONS, *REARRANGE])}, and those "
            "that are given as values."
        )

    def from_above(self, call, name):
        r"""``\operatorname{conv}_U^\top \bar Z``: the gradient of the argument U of conv, whose output is Z."""
        for statement in self.definitions.values():
            right = statement.right
            if isinstance(right, Call) and plain_name(right.function) == name and not right.mark:
                k = 0 if call.sub is None else right.arguments.index(call.sub)
                return self.pulled(statement, k)
        raise RangeError(f"evaluate: {readable(call)} stands in a formula that never applies {name}.")


def not_array(value):
    """Is a value none that is computed with, such as an index, a shape or a function?"""
    return (
        value is None or isinstance(value, (tuple, list, str, type, np.dtype, slice, Function, int)) or callable(value)
    )
