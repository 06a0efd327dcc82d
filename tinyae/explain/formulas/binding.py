r"""From an operation to its formula's letters: which letter is which input, and which attribute.

An input's letter is its name in ``forward``: X, W, b, and gamma for :math:`\gamma`. For attributes an operation says it beside
its formula, as ``letters``: the attribute's name, and the letter or, if the attribute is a tuple, a tuple of letters ("" for
what the formula does not use)::

    letters={"stride": ("s", "s'"), "padding": (("p", ""), ("p'", ""))}

``"X.shape"`` stands for an input's shape. The letter of ``axis`` is an index: it counts along that axis. Operations made of
others (dense, conv_block) get these as functions, each computed by its own formula.
"""

import inspect
import math

import numpy as np

from ...errors import RangeError
from ...ops.op import OPERATIONS
from .evaluate import evaluate
from .formula import Formula, definitions, parse, parse_rule
from .functions import Function

GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "theta", "mu", "sigma")
ALL_BUT_LAST = "axes but the last"  # in ``letters``: what an index counts along


def letter(name):
    r"""The LaTeX of a parameter's name: ``\gamma`` for gamma."""
    return f"\\{name}" if name in GREEK else name


def symbols(op, count=None):
    """The letters of an operation's inputs in their order; ``count`` says how many there are, where it takes a list.

    >>> from tinyae.ops import OPERATIONS
    >>> symbols(OPERATIONS["affine"]), symbols(OPERATIONS["dense"], 5)
    (('X', 'W', 'b'), ('X', 'W_1', 'b_1', 'W_2', 'b_2'))
    """
    found = []
    for name, parameter in list(inspect.signature(op.forward).parameters.items())[2:]:  # after xp and save
        if parameter.kind is parameter.VAR_POSITIONAL:
            lists = [key.split("_")[0] for key in op.vjp if "_" in key] or [name.rstrip("s")]
            many = (count or len(found) + 2 * len(lists)) - len(found)
            found += [f"{lists[k % len(lists)]}_{k // len(lists) + 1}" for k in range(many)]
        elif parameter.kind is not parameter.KEYWORD_ONLY and name not in attribute_names(op):
            found.append(letter(name))
    return tuple(found)


def attribute_names(op):
    """The parameters of forward that are told by keyword: those in ``letters``, and what no rule is for."""
    names = list(inspect.signature(op.forward).parameters)[2:]
    ruled = {key.split("_")[0] for key in op.vjp}
    indices = {names[k] for k in op.indices}
    return {name for name in names if name not in ruled and name not in indices}


def formula_of(op) -> Formula:
    """An operation's formula."""
    return parse(op.formula)


def rule(op, symbol) -> Formula | None:
    r"""An operation's vjp rule for one input, as a formula for ``\bar X``; None if it has none (labels, masks).

    For one of a list, ``W_2``, it is the rule of ``W_l``.
    """
    key = next((key for key in op.vjp if symbol in (key, letter(key))), None)
    if key is None and "_" in symbol:
        key = next((key for key in op.vjp if key.split("_")[0] == symbol.split("_")[0] and "_" in key), None)
    if key is None:
        return None
    given = list(definitions(formula_of(op)))
    for other, text in op.vjp.items():
        given += definitions(parse_rule(letter(other), text))
    return parse_rule(letter(key), op.vjp[key], tuple(given), formula_of(op).statements[:1], op.broadcasts)


def bindings(op, arrays, attributes=None, output=None, cotangent=None) -> dict:
    r"""The value of each letter in an operation's formula and rules.

    Parameters
    ----------
    op : subclass of Op
    arrays : sequence of arrays or numbers
        The inputs, in their order.
    attributes : dict
        The rest that forward was told: axis, stride, reduction ...
    output, cotangent : array, optional
        The result Y and the gradient ``\bar Y`` that reaches it, for the rules.
    """
    attributes = dict(attributes or {})
    names = symbols(op, len(arrays))
    values = dict(zip(names, (np.asarray(array) for array in arrays)))
    for key, letters in op.letters.items():
        if key == ALL_BUT_LAST:
            values["axes"] = tuple(range(values["X"].ndim - 1))
        elif key == "axis" and letters == "i":
            values["axes"] = axes_of(attributes["axis"], values["X"].ndim)
        else:
            name, _, part = key.partition(".")
            bind(values, letters, getattr(values[name], part) if part else attributes[name])
    if op.name == "clip":  # None is no limit
        values |= {"a": -math.inf if values["a"] is None else values["a"]}
        values |= {"b": math.inf if values["b"] is None else values["b"]}
    if op.name == "transpose" and values["p"] is None:
        values["p"] = tuple(range(values["X"].ndim))[::-1]
    if isinstance(values.get("p"), tuple):
        values["p"] = tuple(axis % values["X"].ndim for axis in values["p"])
    if "reduce" in values:
        values["reduce"] = REDUCTIONS[values["reduce"]]
    if op.name == "dense":
        values |= {"f": [activation(name) for name in values["f"]], "L": len(values["f"])}
    if op.name == "conv_block":
        values |= parts_of_block(attributes)
    left = formula_of(op).left
    if output is not None:
        values[left] = np.asarray(output)
    if cotangent is not None:
        values[rf"\bar {left}"] = np.asarray(cotangent)
    if op.name == "matmul":
        vectors_as_matrices(values)
    return values


def of_step(step, pull=None):
    r"""The formula of a recorded step and the values of its letters; with one of its pulls, the rule that was used.

    Returns
    -------
    Formula, dict
        None for the dict where an array was too large to be kept, and for both in a step that has no formula, or (an
        operation of the user's own) one that is not understood.
    """
    if step.operation is None:
        return None, None
    try:
        formula = formula_of(step.operation) if pull is None else rule(step.operation, pull.symbol)
    except RangeError:
        formula = None
    if formula is None:
        return None, None
    arrays = [value.array for value in step.inputs]
    output = None if step.output is None else step.output.array
    cotangent = None if step.gradient is None else step.gradient.array
    if any(array is None for array in arrays) or (pull is not None and (output is None or cotangent is None)):
        return formula, None
    values = bindings(step.operation, arrays, step.attributes, output, cotangent)
    return formula, values if pull is None else pull_values(values, pull.symbol)


def bind(values, letters, given):
    """A letter's value; for a tuple of letters those of the parts."""
    if isinstance(letters, str):
        if letters:
            values[letters] = given
        return
    for part, value in zip(letters, given):
        bind(values, part, value)


def pull_values(values, symbol):
    """The values for the rule of one input: for ``W_2``, with l = 2."""
    _, _, number = symbol.partition("_")
    return {**values, "l": int(number)} if number else values


def pulled(op, symbol, values, shape):
    """A rule of an operation, computed: the gradient of one input, in its shape."""
    formula = rule(op, symbol)
    if formula is None:
        return None
    given = values[symbol].shape if symbol in values else shape
    return evaluate(formula, pull_values(values, symbol), given).reshape(shape)


def axes_of(axis, rank):
    """An attribute ``axis`` (None, an int, a tuple) as a tuple of axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    return tuple(sorted(a % rank for a in (axis if isinstance(axis, tuple) else (axis,))))


def vectors_as_matrices(values):
    """A matrix product takes a vector on the left as a row, on the right as a column; so do its rules."""
    row, column = values["X"].ndim == 1, values["W"].ndim == 1
    if row:
        values["X"] = values["X"][None, :]
    if column:
        values["W"] = values["W"][:, None]
    for name in ("Y", r"\bar Y"):
        if name in values and column:
            values[name] = values[name][..., None]
        if name in values and row:
            values[name] = values[name][..., None, :]


# ---------------------------------------------------------------- operations inside others, as functions

REDUCTIONS = {
    "mean": Function(
        r"\operatorname{mean}", lambda E: np.mean(E), lambda k, a, L, gL: np.full(a[0].shape, gL / a[0].size)
    ),
    "sum": Function(r"\operatorname{sum}", lambda E: np.sum(E), lambda k, a, L, gL: np.full(a[0].shape, gL)),
    "none": Function("", lambda E: E, lambda k, a, L, gL: gL),
}
IDENTITY = Function("", lambda X: X, lambda k, arrays, Y, gY: gY)


def as_function(op, shown, shape, **attributes):
    """An operation as a function for a formula, computed by its own formula; ``shape`` finds that of its output."""

    def forward(*arrays):
        return evaluate(formula_of(op), bindings(op, arrays, attributes), shape(*arrays))

    def pull(k, arrays, output, cotangent):
        values = bindings(op, arrays, attributes, output, cotangent)
        return pulled(op, symbols(op)[k], values, arrays[k].shape)

    return Function(shown, forward, pull)


def activation(name):
    """An activation by its name, None for none."""
    if name is None:
        return IDENTITY
    return as_function(OPERATIONS[name], rf"\operatorname{{{name}}}", np.shape)


def windows(sizes, kernel, stride, padding):
    """How many windows fit along height and width."""
    return tuple((n + sum(pad) - k) // s + 1 for n, k, s, pad in zip(sizes, kernel, stride, padding))


def parts_of_block(attributes):
    """The four functions of conv_block."""
    factor, padding, pool = attributes["upsample"], attributes["padding"], attributes["pool"]

    def up_shape(X):
        return X.shape[0], factor * X.shape[1], factor * X.shape[2], X.shape[3]

    def conv_shape(X, W, b):
        return X.shape[0], *windows(X.shape[1:3], W.shape[:2], (1, 1), padding), W.shape[3]

    parts = {"up": IDENTITY, "pool": IDENTITY, "f": activation(attributes["activation"])}
    if factor != 1:
        parts["up"] = as_function(
            OPERATIONS["upsample_nearest"], r"\operatorname{up}", up_shape, factor=(factor, factor)
        )
    parts["conv"] = as_function(
        OPERATIONS["conv2d"], r"\operatorname{conv}", conv_shape, stride=(1, 1), padding=padding, dilation=(1, 1)
    )
    if pool is not None:
        size, margin = pool

        def pool_shape(X):
            return X.shape[0], *windows(X.shape[1:3], size, size, margin), X.shape[3]

        parts["pool"] = as_function(
            OPERATIONS["max_pool2d"], r"\operatorname{pool}", pool_shape, size=size, stride=size, padding=margin
        )
    return parts
