r"""Formulas as data: from LaTeX to a tree that can be computed, printed, and filled with numbers.

>>> from tinyae.explain.formulas.formula import parse
>>> f = parse(r"Y = X W + b")
>>> f.left, sorted(f.variables())
('Y', ['W', 'X', 'b'])
>>> import numpy as np
>>> values = {"X": np.array([[0.5, -2]]), "W": np.array([[3, 1], [0.25, 4]]), "b": np.array([0.1, 0])}
>>> f.element(values, (0, 1))
'Y_{01} = 0.5 \\cdot 1 + (-2) \\cdot 4 + 0 = -7.5'

**What can be written.** Statements ``left = right`` (or ``left \leftarrow right``, in an optimizer), separated by ``, \quad``.
The first is what the formula says, the others define letters in it. On the right:

- letters, with accent (``\bar X``, ``\hat m``), with primes (``s'``), with a digit (``\beta_1``); numbers; ``e`` and ``\pi``
- ``+ - /``, ``\frac \tfrac \sqrt``, powers, ``|x|``, ``\lfloor x \rfloor``, ``( )``
- ``\ln \exp \tanh \sigma( ) \operatorname{erf}`` and other functions; ``\max( , )`` and ``\min( , )``
- ``\sum_{i,j}``, ``\max_{i,j}``, ``\operatorname{argmax}_{i,j}``: what follows up to the next + or - belongs to them
- ``\begin{cases} x & \text{if } x > 0 \\ 0 & \text{else} \end{cases}``
- Iverson brackets, ``[X > 0]``: 1 where it holds, 0 elsewhere
- the names of functions that move elements and compute nothing: reshape, transpose, take, scatter, replace,
  concatenate, part, cast (``evaluate.py`` has each in a line or two)

**What it means.**

1. *Without indices* a formula is about whole arrays. ``X W``, two arrays side by side, is a matrix product, ``\odot`` and
   ``/`` go element by element, as powers and functions do. A number beside an array multiplies all of it. Shapes
   broadcast as in NumPy.
2. *With indices* it is about one element, and all products are of numbers. Indices count from 0, as in the code. An index
   runs as far as the axis is long on which it stands; one that stands on no axis alone (a place in a window) has its
   range among the values.
3. Subscripts name an array's first axes; axes without a subscript are carried along: ``\sum_n \bar Y_n`` sums rows.
   An operation with an attribute ``axis`` has one index; it counts along that axis, or along several as one.
4. A place outside an array counts as 0, and takes no part in a maximum: that is what padding with zeros means.
5. ``(u, v) = \operatorname{argmax}_{u,v}`` is the first place of the maximum, row by row.
6. A prime marks the same along the width: stride s and s', padding p (above) and p' (to the left).
7. l counts the arrays of a list, such as the weights of a chain of layers, from 1 to L: ``W_l`` is the l-th.
8. ``\bar X`` is :math:`\partial L / \partial X`. A vjp rule without a left side is one for it: ``"X": r"\bar Y W^\top"`` says
   :math:`\bar X = \bar Y W^\top`. In a rule the definitions of the formula hold, and those of the operation's other rules.
9. ``f'(Z)`` is a function's derivative; ``\operatorname{conv}_U^\top \bar Z`` is its vjp: what arrives at U when
   ``\bar Z`` arrives at ``Z = \operatorname{conv}(U, ...)``. If ``L = \operatorname{reduce} E``, then ``\bar E`` is the share of
   ``\bar L`` that arrives at E.
"""

from dataclasses import dataclass
from typing import Any

from ...errors import RangeError
from .functions import CONSTANTS, FUNCTIONS, REARRANGE
from .letters import index_letters, key_of, name_of, plain_name
from .parsing import LETTER_FUNCTIONS, parse_statements
from .tree import Call, Index, Name, Statement, latex, walk

RESERVED = {"l", "L"}  # the number of a layer, and of the last one


@dataclass(frozen=True)
class Formula:
    """Statements, the first of which is what is said; ``given`` are definitions from elsewhere that hold in it."""

    text: str
    statements: tuple
    given: tuple = ()
    forward: tuple = ()  # of a rule: what the operation's formula says
    stretched: bool = False  # of a rule: inputs broadcast, and a gradient is summed over what was stretched

    @property
    def left(self) -> str:
        """The letter on the left of the first statement, without subscripts; "" for a formula without a left side."""
        return name_of(self.statements[0].left) if isinstance(self.statements[0], Statement) else ""

    def variables(self) -> set[str]:
        """The letters that must be given a value: no indices, no constants, and nothing that is defined here."""
        every = [*self.statements, *self.given]
        defined = {name_of(s.left) for s in every if isinstance(s, Statement) and s.arrow == "="}
        indices = set(index_letters(every))
        queue = list(self.statements[:1] if self.given or self.forward else self.statements)
        reached, used = [], set()
        while queue:  # of what is given only the definitions that are made use of
            statement = queue.pop()
            reached.append(statement)
            names = used_in(statement.right if isinstance(statement, Statement) else statement)
            for name in [name for name in names if name.startswith(r"\bar ") and name not in defined]:
                if source := taking(
                    name.removeprefix(r"\bar "), [*every, *self.forward]
                ):  # from \bar L, if L = reduce E
                    names = names - {name} | {plain_name(source.right.function), rf"\bar {name_of(source.left)}"}
            used |= names
            wanted = names | {name.rpartition("_")[0] for name in names}
            queue += [
                s for s in every if isinstance(s, Statement) and name_of(s.left) in wanted and s not in reached + queue
            ]
        free = {name for name in used if name not in defined and name.rpartition("_")[0] not in defined}
        return free - indices - set(CONSTANTS) - RESERVED

    def latex(self) -> str:
        """The formula, printed from its tree."""
        return r", \quad ".join(latex(statement) for statement in self.statements)

    def with_numbers(self, values: dict[str, Any], result: Any = None) -> str:
        """The first statement with numbers in place of its letters: arrays of rank 1 and 2 as matrices.

        Of a matrix larger than 6 x 6 the corners are shown. In a formula with indices the letters of arrays stay, for one
        element has the numbers: see ``element``. ``result`` is what comes out, if it is to be shown.
        """
        from .numbers import with_numbers

        return with_numbers(self, values, result)

    def element(self, values: dict[str, Any], index: tuple[int, ...], result: Any = None) -> str | None:
        """One element of the left side, with its numbers and what comes out; sums up to 8 terms, then dots.

        None, where a formula only moves elements (reshape, transpose and the like) and nothing is computed.

        Parameters
        ----------
        values : dict
            As for ``evaluate``.
        index : tuple of ints
            Which element of the result.
        result : number, optional
            What stands behind the last sign of equality; by default it is computed from the formula.
        """
        from .elements import element

        return element(self, values, index, result)


def parse(text: str) -> Formula:
    """A formula from LaTeX.

    Raises
    ------
    RangeError
        Names what in it is not understood.
    """
    if not isinstance(text, str) or not text.strip():
        raise RangeError(f"parse: the formula is {text!r}; expected LaTeX, such as r'Y = X W + b'.")
    return Formula(text, parse_statements(text))


def parse_rule(symbol: str, text: str, given: tuple = (), forward: tuple = (), stretched: bool = False) -> Formula:
    r"""A vjp rule from LaTeX, with ``\bar X =`` in front if it has no left side; ``given`` are the definitions that hold."""
    formula = parse(text)
    first = formula.statements[0]
    if not isinstance(first, Statement):
        left = parse_statements(rf"\bar {symbol}")[0]
        text = rf"\bar {symbol} = {text}"
        formula = Formula(text, (Statement(left, "=", first), *formula.statements[1:]))
    base = symbol.split("_")[0]
    if name_of(formula.statements[0].left) not in (rf"\bar {symbol}", rf"\bar {base}"):
        raise RangeError(f"parse_rule: the rule for {symbol} is {text!r}; expected its left side to be \\bar {symbol}.")
    return Formula(formula.text, formula.statements, tuple(given), tuple(forward), stretched)


def definitions(formula: Formula) -> tuple:
    """The statements of a formula but for the first: what its letters mean."""
    return tuple(s for s in formula.statements[1:] if isinstance(s, Statement) and key_of(s.left))


def used_in(node):
    """The letters in a node, and the functions that need a value."""
    names = {part.name for part in walk(node) if isinstance(part, Name)}
    names |= {part.base.name for part in walk(node) if isinstance(part, Index)}
    return names | {plain_name(part.function) for part in walk(node) if isinstance(part, Call) and given_function(part)}


def taking(name, statements):
    """The statement in which a given function takes this letter alone, such as L = reduce E."""
    for statement in statements:
        right = statement.right if isinstance(statement, Statement) else None
        if isinstance(right, Call) and right.arguments == (Name(name),) and given_function(right) and not right.mark:
            return statement
    return None


def given_function(call):
    """Is the function of this call a letter that needs a value, and none that everybody knows?"""
    if call.function in FUNCTIONS or call.function in (r"\max", r"\min") or plain_name(call.function) in REARRANGE:
        return False
    return call.function in LETTER_FUNCTIONS or call.function.startswith(r"\operatorname") or call.mark == "'"
