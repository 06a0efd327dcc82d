"""The formulas of a step with the step's own numbers in them, as a whole and element by element."""

import re

import numpy as np

from ..formulas.binding import bindings, formula_of, pull_values, rule
from ..formulas.evaluate import evaluate
from ..formulas.formula import parse
from ..formulas.tree import Index, walk
from .telling import algorithm, settings_told

MATRIX = 144  # numbers of an array that is written into a formula: beyond, there would be little but dots
ELEMENTS = 64  # numbers of a result of which each has its formula written out


class Filled:
    """Formulas with numbers in them, as long as there is room: so many bytes of LaTeX for the whole tape."""

    def __init__(self, room):
        self.room = room

    def forward(self, step):
        """The formula with the inputs in it, without the result; and that of each element of the result, with it. Or None."""
        if any(value.array is None for value in step.inputs):
            return None, None
        return self.both(lambda: (formula_of(step.operation), bound(step)), step.output.array)

    def pull(self, step, pull):
        """The same for the rule of one share."""
        if is_passed_on(pull) or not step.inputs or any(value.array is None for value in (*step.inputs, step.gradient)):
            return None, None

        def made():
            values = bound(step, output=step.output.array, cotangent=step.gradient.array)
            return rule(step.operation, pull.symbol), pull_values(values, pull.symbol)

        return self.both(made, pull.gradient.array)

    def both(self, make, result):
        """The whole and the elements of the formula and the values that ``make`` gives.

        The whole is (LaTeX, is it complete?): in a formula with indices only settings such as the stride are numbers.
        """
        found = attempt(make)
        if found is None or found[0] is None:
            return None, None
        formula, values = found
        large = any(np.size(value) > MATRIX for value in values.values() if isinstance(value, np.ndarray))
        whole = None if large else self.keep(attempt(formula.with_numbers, values))
        if whole is not None and whole == formula.latex().split(r", \quad ")[0]:
            whole = None
        each = None
        if result.size <= ELEMENTS and self.room > 0:
            each = [self.keep(attempt(formula.element, values, i, result[i])) for i in np.ndindex(result.shape)]
            if not any(each) or (result.ndim == 0 and whole and alike(whole, each[0].rpartition("=")[0])):
                each = None
        complete = not any(isinstance(node, Index) for node in walk(formula.statements[0]))
        return (whole, complete) if whole else None, each

    def update(self, step, part):
        """For each element of a parameter, in order, the lines of the algorithm with its numbers; or None."""
        arrays = [part.parameter_before, part.gradient, part.parameter_after, *part.state_before.values()]
        if part.parameter_after.size > ELEMENTS or any(value.array is None for value in arrays) or self.room <= 0:
            return None
        each = [attempt(lines_of_element, step, part, i) for i in np.ndindex(part.parameter_after.shape)]
        return [None if lines is None else [self.keep(line) for line in lines] for lines in each] if any(each) else None

    def keep(self, latex):
        """The text; None for none, and once the room is used up."""
        if not latex or len(latex) > self.room:
            return None
        self.room -= len(latex)
        return latex


def alike(*formulas):
    """Are they the same, but for how a product and spaces are written?"""
    return len({re.sub(r"\\odot|\\cdot|\s", "", text) for text in formulas}) == 1


def is_passed_on(pull):
    """Is the share what arrived, as it is?"""
    return not pull.symbol or re.fullmatch(r"\\bar\s*\w+", pull.rule.strip()) is not None


def lines_of_element(step, part, index):
    """An optimizer's lines for one element: its numbers put in, and what comes out; ``\\theta`` and the state as on the tape."""
    values = {r"\theta": part.parameter_before.array[index], "g": part.gradient.array[index], "t": part.t}
    values |= {name: state.array[index] for name, state in part.state_before.items()}
    values |= {letter: float(text) for letter, _, text in settings_told(step)[:-1] if letter}
    known = {r"\theta": part.parameter_after.array[index]} | {n: s.array[index] for n, s in part.state_after.items()}
    lines = algorithm(step)
    last = {parse(line).left: line for line in lines}
    found = []
    for line in lines:
        formula = parse(line)
        left = formula.left
        result = known[left] if left in known and last[left] == line else evaluate(formula, values, ())
        found.append(formula.element(values, (), float(result)))
        values[left] = result
    return found


def bound(step, **more):
    """The numbers of the formula's letters."""
    return bindings(step.operation, [value.array for value in step.inputs], step.attributes, **more)


def attempt(make, *arguments):
    """What it makes, or None where a formula says things in words, or a letter in it has no number."""
    try:
        with np.errstate(all="ignore"):  # NaN and infinities are shown as what they are
            return make(*arguments)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
