"""The constants and functions that a formula may use without being given them; and what a given function must be able to do."""

import math

import numpy as np

from ...errors import RangeError
from .tree import Dots, Negative, Number, Power, latex

CONSTANTS = {"e": math.e, r"\pi": math.pi}
FUNCTIONS = {
    r"\ln": np.log,
    r"\exp": np.exp,
    r"\tanh": np.tanh,
    r"\sigma": lambda x: 1 / (1 + np.exp(-x)),
    r"\operatorname{sign}": np.sign,
    r"\operatorname{erf}": np.vectorize(math.erf, otypes=[float]),
    r"\operatorname{mean}": np.mean,
    r"\operatorname{softmax}": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
}
COMPARE = {
    "=": np.equal, r"\ne": np.not_equal, "<": np.less, ">": np.greater,
    r"\le": np.less_equal, r"\leq": np.less_equal, r"\ge": np.greater_equal, r"\geq": np.greater_equal,
}  # fmt: skip


class Function:
    r"""A function that a formula is given as a value, such as the activation f of a dense layer.

    ``forward(*arrays)`` is its value, ``pull(k, arrays, output, cotangent)`` its vjp for argument k. ``name`` is what is
    printed for it where numbers stand in the formula.
    """

    def __init__(self, name, forward, pull):
        self.name, self.forward, self.pull = name, forward, pull


# ---------------------------------------------------------------- functions that only rearrange


def take(owner, X, k):
    """The elements of X at k."""
    return owner.alone(X)[owner.values[k.name]]


def scatter(owner, X, k):
    """Zeros in the shape of the result, with X added at k."""
    found = np.zeros(owner.shape)
    np.add.at(found, owner.values[k.name], owner.alone(X))
    return found


def replaced(owner, X, k, V):
    """X with V at k."""
    found = np.array(owner.alone(X))
    found[owner.values[k.name]] = owner.alone(V)
    return found


def transpose(owner, X, p):
    """The axes of X in the order p, or, for p^{-1}, back from it."""
    if isinstance(p, Power):
        if p.exponent != Negative(Number("1")):
            raise RangeError(f"evaluate: an order of axes has the power -1 alone, which undoes it; not {latex(p)}.")
        return owner.alone(X).transpose(np.argsort(owner.values[p.base.name]))
    return owner.alone(X).transpose(owner.values[p.name])


def concatenate(owner, first, second, dots):
    """X_1, X_2, ... one after the other along the axis a."""
    assert isinstance(dots, Dots)
    return np.concatenate(parts_of(owner, first.name.removesuffix("_1")), axis=owner.values["a"])


def part(owner, X, k):
    """What of X came from the k-th part."""
    axis, number = owner.values["a"], owner.values[k.name]
    lengths = [array.shape[axis] for array in parts_of(owner, owner.name.removeprefix(r"\bar "))]
    start = sum(lengths[: number - 1])
    return np.take(owner.alone(X), range(start, start + lengths[number - 1]), axis=axis)


def parts_of(owner, base):
    """The arrays X_1, X_2, ... of a list."""
    count = 1
    while f"{base}_{count + 1}" in owner.values:
        count += 1
    return [owner.values[f"{base}_{k}"] for k in range(1, count + 1)]


REARRANGE = {
    "reshape": lambda owner, X: owner.alone(X).reshape(owner.shape),
    "cast": lambda owner, X, t: owner.alone(X).astype(owner.values[t.name]),
    "transpose": transpose,
    "take": take,
    "scatter": scatter,
    "replace": replaced,
    "concatenate": concatenate,
    "part": part,
}
