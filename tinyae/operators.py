"""Python's operators and the usual methods, as operations: ``x + y`` is ``apply(ops.Add, x, y)``.

Each line names the operation, or two; formulas are in ``ops/``.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from . import ops
from .errors import DtypeError, RangeError
from .operands import as_ints

T = TypeVar("T", bound="Operators")
Axis = int | tuple[int, ...] | None


class Operators:
    """What a Tensor can do with ``+``, ``@``, ``.sum()`` and so on."""

    __slots__ = ()
    __array_ufunc__ = None  # array * tensor is left to the tensor
    __hash__ = object.__hash__  # == compares elements, but a tensor in a dict is itself
    _apply: Callable[..., Any]
    _change: Callable[..., Any]
    _compare: Callable[..., Any]
    _plain_index: Callable[..., Any]
    _rows: Callable[..., Any]
    _accept_own_part: Callable[..., Any]

    # ------------------------------------------------------------ arithmetic

    def __add__(self: T, other: Any) -> T:
        return self._apply(ops.Add, self, other)

    def __radd__(self: T, other: Any) -> T:
        return self._apply(ops.Add, other, self)

    def __sub__(self: T, other: Any) -> T:
        return self._apply(ops.Subtract, self, other)

    def __rsub__(self: T, other: Any) -> T:
        return self._apply(ops.Subtract, other, self)

    def __mul__(self: T, other: Any) -> T:
        return self._apply(ops.Multiply, self, other)

    def __rmul__(self: T, other: Any) -> T:
        return self._apply(ops.Multiply, other, self)

    def __truediv__(self: T, other: Any) -> T:
        return self._apply(ops.Divide, self, other)

    def __rtruediv__(self: T, other: Any) -> T:
        return self._apply(ops.Divide, other, self)

    def __neg__(self: T) -> T:
        return self._apply(ops.Negative, self)

    def __pos__(self: T) -> T:
        return self

    def __pow__(self: T, exponent: Any) -> T:
        """x**p for a number p; for a tensor p, e^(p ln x), which needs x > 0."""
        exponent = exponent.item() if isinstance(exponent, np.generic) else exponent
        if isinstance(exponent, (int, float)):
            return self._apply(ops.Power, self, p=exponent)
        return self._apply(ops.Exp, self._apply(ops.Multiply, exponent, self.log()))

    def __rpow__(self: T, base: Any) -> T:
        """b**x as e^(x ln b), which needs b > 0."""
        if isinstance(base, (int, float, np.generic)):
            with np.errstate(all="ignore"):  # NaN for b < 0, as NumPy has it
                log_base = float(np.log(base))
        else:
            log_base = self._apply(ops.Log, base).data
        return self._apply(ops.Exp, self._apply(ops.Multiply, self, log_base))

    def __matmul__(self: T, other: Any) -> T:
        return self._apply(ops.MatMul, self, other)

    def __rmatmul__(self: T, other: Any) -> T:
        return self._apply(ops.MatMul, other, self)

    def exp(self: T) -> T:
        """e**x, element by element."""
        return self._apply(ops.Exp, self)

    def log(self: T) -> T:
        """The natural logarithm."""
        return self._apply(ops.Log, self)

    def sqrt(self: T) -> T:
        """The square root."""
        return self._apply(ops.Sqrt, self)

    def abs(self: T) -> T:
        """The absolute value; its derivative at 0 is 0."""
        return self._apply(ops.Abs, self)

    __abs__ = abs

    def clip(self: T, low: float | None = None, high: float | None = None) -> T:
        """Values limited to [low, high], two numbers or None; the derivative is 0 outside."""
        low, high = (end.item() if isinstance(end, np.generic) else end for end in (low, high))
        for end in (low, high):
            if end is not None and not isinstance(end, (int, float)):
                raise DtypeError(f"clip: an end is {end!r}; expected a number or None.")
        if low is not None and high is not None and not low <= high:
            raise RangeError(f"clip: low is {low}, high {high}; expected low <= high.")
        return self._apply(ops.Clip, self, low=low, high=high)

    # ------------------------------------------------------------ changes in place, known to the tape

    def __setitem__(self, index: Any, value: Any) -> None:
        index = self._plain_index(index)
        self._accept_own_part(index, value)
        self._change("setitem", lambda x, v: self._apply(ops.SetItem, x, v, index=index), value)

    def __iadd__(self: T, other: Any) -> T:
        return self._change("+=", operator.add, other)

    def __isub__(self: T, other: Any) -> T:
        return self._change("-=", operator.sub, other)

    def __imul__(self: T, other: Any) -> T:
        return self._change("*=", operator.mul, other)

    def __itruediv__(self: T, other: Any) -> T:
        return self._change("/=", operator.truediv, other)

    def __ipow__(self: T, other: Any) -> T:
        return self._change("**=", operator.pow, other)

    def __imatmul__(self: T, other: Any) -> T:
        return self._change("@=", operator.matmul, other)

    # ------------------------------------------------------------ comparison: bools, no gradients

    def __eq__(self: T, other: Any) -> T:  # type: ignore[override]
        return self._compare(other, operator.eq)

    def __ne__(self: T, other: Any) -> T:  # type: ignore[override]
        return self._compare(other, operator.ne)

    def __lt__(self: T, other: Any) -> T:
        return self._compare(other, operator.lt)

    def __le__(self: T, other: Any) -> T:
        return self._compare(other, operator.le)

    def __gt__(self: T, other: Any) -> T:
        return self._compare(other, operator.gt)

    def __ge__(self: T, other: Any) -> T:
        return self._compare(other, operator.ge)

    # ------------------------------------------------------------ reductions

    def sum(self: T, axis: Axis = None, keepdims: bool = False) -> T:
        """The sum over ``axis`` (None: all; int; tuple of ints)."""
        return self._apply(ops.Sum, self, axis=axis, keepdims=keepdims)

    def mean(self: T, axis: Axis = None, keepdims: bool = False) -> T:
        """The mean over ``axis``."""
        return self._apply(ops.Mean, self, axis=axis, keepdims=keepdims)

    def max(self: T, axis: Axis = None, keepdims: bool = False) -> T:
        """The largest element over ``axis``; of equal ones the first receives the gradient."""
        return self._apply(ops.Max, self, axis=axis, keepdims=keepdims)

    # ------------------------------------------------------------ shapes

    def reshape(self: T, *shape: Any) -> T:
        """The same elements in another shape; one axis may be -1."""
        return self._apply(ops.Reshape, self, shape=as_ints("reshape", shape))

    def transpose(self: T, *axes: Any) -> T:
        """The axes in another order; without arguments, reversed."""
        return self._apply(ops.Transpose, self, axes=as_ints("transpose", axes) if axes and axes != (None,) else None)

    def __getitem__(self: T, index: Any) -> T:
        rows = self._rows(index) if type(index) is slice else None
        return self._apply(ops.GetItem, self, index=self._plain_index(index)) if rows is None else rows
