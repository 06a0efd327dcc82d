r"""The anatomy of an optimizer: for one weight, every number of its last steps, each with its formula.

>>> import tinyae as ta
>>> w = ta.Tensor([3.0, -2.0], requires_grad=True)
>>> adam = ta.Adam([w], lr=0.1)
>>> with ta.trace(phases="update") as tape:
...     for _ in range(20):
...         adam.zero_grad()
...         (w * w).sum().backward()
...         adam.step()
>>> explained = ta.explain_step(adam, w, 0, steps=3)
>>> [row.t for row in explained.rows], explained.rows[-1].values["m"] == adam.state[0]["m"][0]
([18, 19, 20], np.True_)

The gradient, the weight and what the optimizer keeps (m, v, G) are those that were there, to the last bit; what lies between is
computed from them in the weight's own type of number, by the lines of ``optim.py``.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import backend_of
from ..errors import DtypeError, RangeError, brief, require_integer
from ..tensor import Tensor
from .anatomy_lines import Column, columns_of, switched
from .trace import last_trace

SEE_MORE = "To see the steps one by one, make them inside `with ta.trace(phases='update') as tape:`."
WATCH = "ta.trace(phases='update', watch=[parameter])"


@dataclass(frozen=True, eq=False)
class Row:
    """One step of one weight; a number that is not known is None.

    Attributes
    ----------
    t : int
        The number of the step, from 1.
    values : dict
        Column name -> number, in the weight's own type; ``theta`` is the weight after the step, ``theta_before`` before it.
    known : dict
        Column name -> what its line was computed from: state and weight as they were then, and the settings.
    rounding : dict
        Where a kernel rounds otherwise than the definition: name -> (what the definition gives, how many units in the last
        place the kernel is above it).
    changed : dict
        The same as ``values`` by the changed algorithm; empty without one.
    """

    t: int
    values: dict[str, Any]
    known: dict[str, dict[str, Any]]
    rounding: dict[str, tuple[Any, int]] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StepExplanation:
    """What ``explain_step`` returns: plain data, and ways to show it."""

    optimizer: str  # as it prints itself
    parameter: str
    index: tuple[int, ...]
    columns: list[Column]
    rows: list[Row]
    switches: str  # what was changed, in words; "" for nothing
    changed_columns: list[Column]
    note: str

    def text(self) -> str:
        """The table, and the last step with its numbers, for a terminal."""
        from .anatomy_text import text

        return text(self)

    def latex(self, row: int = -1) -> list[str]:
        """The formulas of one row with its numbers, in order."""
        if not -len(self.rows) <= row < len(self.rows):
            raise RangeError(f"latex: row is {row}; there are {len(self.rows)} rows.")
        chosen = self.rows[row]
        return [
            column.formula if chosen.values[column.name] is None or not complete(chosen.known[column.name], column)
            else column.with_numbers(chosen.known[column.name], chosen.values[column.name])
            for column in self.columns
            if column.formula
        ]  # fmt: skip

    def html(self) -> str:
        """A page with the tables and formulas that needs no network."""
        from .anatomy_text import html

        return html(self)

    def _repr_html_(self) -> str:
        from .anatomy_text import notebook_html

        return notebook_html(self)

    def plot(self, path: Any = None) -> Any:
        """Gradient and state, the step and the weight, step by step; written as PNG. Returns the figure."""
        from ..plots import draw_anatomy

        return draw_anatomy(self, path)

    def __repr__(self):
        return self.text()


def complete(known, column):
    """Are all numbers of a column's formula known?"""
    from .anatomy_lines import NAMES
    from .formulas.formula import parse

    return all(known.get(NAMES.get(letter, letter)) is not None for letter in parse(f"y = {column.right}").variables())


def explain_step(
    optimizer: Any, parameter: Any, index: Any, *, steps: int = 10, bias_correction: bool = True, eps_inside: bool = False,
    tape: Any = None,
) -> StepExplanation:  # fmt: skip
    """Explain the last steps that an optimizer made with one weight.

    Parameters
    ----------
    optimizer : Optimizer
        One that has stepped: inside ``ta.trace()``, which keeps the steps. Without a trace, the last step is read from the
        optimizer's state and the gradient, if that is still there.
    parameter : Tensor, int or str
        One of the optimizer's parameters, its position among them, or its name in the trace, such as ``"encoder.0.weight"``.
    index : int or tuple of ints
        Which weight of it; ``()`` for a parameter of a single number.
    steps : int
        So many steps at most, the last ones.
    bias_correction : bool
        False: beside the real steps, what Adam would have done without dividing m and v by 1 - beta^t.
    eps_inside : bool
        True: beside the real steps, what would have happened with epsilon inside the root.
    tape : Trace, optional
        By default the last trace that saw this optimizer.

    The changed algorithm starts from the same weight at the first recorded step and is given the same gradients.

    Returns
    -------
    StepExplanation

    Raises
    ------
    RangeError
        The optimizer has not stepped, has no such parameter or weight, or is SciPy's; there is nothing to switch.
    DtypeError
        It is no optimizer; the index is no integers.
    """
    owner = type(optimizer).__name__
    if not (hasattr(optimizer, "params") and hasattr(optimizer, "state_names")):
        raise DtypeError(f"explain_step: optimizer is {brief(optimizer)}; expected an optimizer, such as ta.Adam(...).")
    if optimizer.needs_closure:
        raise RangeError(
            f"explain_step: the steps of {owner} are made by SciPy, which does not show them. Explain another optimizer, such as ta.Adam."
        )
    steps = require_integer("explain_step", "steps", steps, at_least=1)
    trace = last_trace(optimizer) if tape is None else tape
    updates = [
        u
        for s in ([] if trace is None else trace.steps())
        if s.phase == "update" and s.name == owner
        for u in s.updates
    ]
    tensor = chosen_parameter(optimizer, parameter, updates)
    place = checked_index(tensor, index)
    formulas = optimizer.formulas()
    changed, switches = switched(owner, formulas, bias_correction, eps_inside)
    columns = columns_of(formulas, optimizer.state_names)
    if optimizer.t == 0:
        raise RangeError(
            f"explain_step: this {owner} has not made a step yet. Compute a loss, call loss.backward() and optimizer.step() first."
        )
    mine = [update for update in updates if update.parameter() is tensor]
    if mine:
        rows, label = [row_of(optimizer, columns, update, place) for update in mine], mine[-1].label
        note = (
            ""
            if mine[-1].t == optimizer.t
            else f"The trace saw steps up to {mine[-1].t}; {optimizer.t} have been made. "
        )
        note += trace.note
    elif tape is not None:
        raise RangeError(
            f"explain_step: the tape has no step of this {owner} with this parameter. Open the trace around "
            f"optimizer.step(), for long loops as {WATCH}. {tape.note}".rstrip()
        )
    else:
        rows, label = [last_row(optimizer, columns, tensor, place)], f"parameter {position(optimizer, tensor)}"
        note = (
            "Read from the optimizer's own state after its last step; g is the gradient that the parameter holds now, and the weight "
            f"before the step is not known. {SEE_MORE}"
        )
    other = []
    if switches:
        if rows[0].values["theta_before"] is None:
            raise RangeError(f"explain_step: a changed algorithm needs the steps as they were made. {SEE_MORE}")
        other = columns_of(changed, optimizer.state_names)
        run_changed(other, rows)
    return StepExplanation(repr(optimizer), label, place, columns, rows[-steps:], switches, other, note.strip())


def chosen_parameter(optimizer, parameter, updates):
    """The Tensor that is meant: itself, its position, or its name in the trace."""
    owner, count = type(optimizer).__name__, len(optimizer.params)
    if isinstance(parameter, Tensor):
        if not any(parameter is mine for mine in optimizer.params):
            raise RangeError(
                f"explain_step: the parameter, {brief(parameter)}, is none of the {count} of this {owner}. Give one of optimizer.params."
            )
        return parameter
    if isinstance(parameter, str):
        named = {update.label: update.parameter() for update in updates}
        if named.get(parameter) is None:
            known = (
                f"the trace knows {', '.join(named)}" if named else "names are known from a trace, and there is none"
            )
            raise RangeError(
                f"explain_step: there is no parameter called {parameter!r}; {known}. Or give the Tensor or its position."
            )
        return named[parameter]
    if not isinstance(parameter, (int, np.integer)):
        raise DtypeError(
            f"explain_step: parameter is {brief(parameter)}; expected one of optimizer.params, its position or its name in a trace."
        )
    number = require_integer("explain_step", "parameter", parameter, at_least=0)
    if number >= count:
        raise RangeError(f"explain_step: parameter is {number}; this {owner} has {count}, counted from 0.")
    return optimizer.params[number]


def position(optimizer, tensor):
    """Which of the optimizer's parameters a Tensor is."""
    return next(i for i, mine in enumerate(optimizer.params) if mine is tensor)


def checked_index(tensor, index):
    """The index as a tuple of ints from 0 on, or the error that says what it must be."""
    given = index if isinstance(index, tuple | list) else (index,)
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in given):
        raise DtypeError(
            f"explain_step: index is {brief(index)}; expected an integer or a tuple of them, such as (3, 7)."
        )
    if len(given) != len(tensor.shape) or not all(-n <= i < n for i, n in zip(given, tensor.shape)):
        raise RangeError(
            f"explain_step: index is {brief(index)}; expected that of one number of a parameter of shape {tensor.shape}, "
            f"the last being {tuple(n - 1 for n in tensor.shape)}."
        )
    return tuple(int(i) % n for i, n in zip(given, tensor.shape))


# ---------------------------------------------------------------- rows


def row_of(optimizer, columns, update, place):
    """The Row of a recorded update."""

    def at(value):
        if value.array is None:
            raise RangeError(
                f"explain_step: the trace had no room for the numbers of {update.label}, {value.dtype} {value.shape}. Record this "
                f"parameter alone, {WATCH}, or give the trace more memory=."
            )
        return value.array[place]

    before = {name: at(value) for name, value in update.state_before.items()}
    after = {name: at(value) for name, value in update.state_after.items()}
    theta, theta_after, g = at(update.parameter_before), at(update.parameter_after), at(update.gradient)
    row = filled(columns, theta, theta_after, g, before, after, update.settings, update.t)
    row.rounding.update(roundings(optimizer, update, theta, g, before, after | {"theta": theta_after}))
    return row


def last_row(optimizer, columns, tensor, place):
    """The Row of the last step, as far as the state tells."""
    if tensor.grad is None:
        raise RangeError(
            "explain_step: no trace saw this optimizer, and the parameter has no gradient any more. Call explain_step before "
            f"zero_grad(). {SEE_MORE}"
        )
    i = position(optimizer, tensor)
    after = {name: backend_of(array).to_host(array)[place] for name, array in optimizer.state[i].items()}
    g, theta = tensor.backend.to_host(tensor.grad)[place], tensor.backend.to_host(tensor.data)[place]
    before = dict.fromkeys(after)
    return filled(columns, None, theta, g, before, after, optimizer.settings(), optimizer.t)


def filled(columns, theta, theta_after, g, before, after, settings, t):
    """A Row: column by column, each from what is known by then."""
    known = {**named_settings(settings), **before, "theta": theta, "g": g, "t": t}
    values, ingredients = {"theta_before": theta}, {}
    for column in columns:
        ingredients[column.name] = dict(known)
        if column.kept:
            number = after[column.name]
        elif column.name == "delta_theta" and not column.formula:
            number = None if theta is None else theta_after - theta
        else:
            number = column.value(known) if column.formula else g
        values[column.name] = number
        known[column.name.removesuffix("_decayed")] = number
    values["theta"] = theta_after
    return Row(t, values, ingredients)


def named_settings(settings):
    """The settings as the formulas have them: betas as beta1 and beta2."""
    betas = settings.get("betas", ())
    return settings | {f"beta{i}": beta for i, beta in enumerate(betas, 1)}


def roundings(optimizer, update, theta, g, before, after):
    """Where the recorded numbers are not those of the definition, run on this weight alone: see ``Row.rounding``."""
    plain = copy.copy(optimizer)
    plain.t = update.t
    for name, value in update.settings.items():
        setattr(plain, name, value)
    weight, state = np.array([theta]), {name: np.array([number]) for name, number in before.items()}
    with np.errstate(all="ignore"):
        plain.update(np, weight, np.array([g]), **state)
    defined = {name: array[0] for name, array in state.items()} | {"theta": weight[0]}
    return {
        name: (defined[name], units_between(number, defined[name]))
        for name, number in after.items()
        if number != defined[name] and not (np.isnan(number) and np.isnan(defined[name]))
    }


def units_between(a, b):
    """How many floats further a is than b, in units of the last place."""

    def ordered(x):  # the bits of floats, read as integers, are in order; those of negative ones in reverse
        bits = int(np.asarray(x).view(f"i{x.dtype.itemsize}"))
        return bits if bits >= 0 else -(bits & (2 ** (8 * x.dtype.itemsize - 1) - 1))

    return ordered(a) - ordered(b)


def run_changed(columns, rows):
    """The changed algorithm from the first row on; gradients and state are the same, for no line of those was changed."""
    theta = rows[0].values["theta_before"]
    for row in rows:
        known = {**row.known["g"], "theta": theta}
        values = {"theta_before": theta}
        for column in columns:
            number = row.values[column.name] if column.kept or not column.formula else column.value(known)
            values[column.name] = known[column.name.removesuffix("_decayed")] = number
        with np.errstate(all="ignore"):
            theta = values["theta"] = known["theta"] + values["delta_theta"]
        row.changed.update(values)
