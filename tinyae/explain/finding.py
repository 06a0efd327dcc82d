"""The NaN detective: which operation was the first to produce a NaN or an infinity?"""

from typing import Any

import numpy as np

from ..backend import backend_of
from ..errors import NotFiniteError
from ..observer import Watcher
from ..tape import where
from ..tensor import Tensor
from .names import definition_of, symbols_of, users_frame
from .values import value_of


class find_nan(Watcher):
    """Stop at the first operation that produces a NaN or an infinity: ``with ta.find_nan(): ...``.

    Forward, backward or in an optimizer's step; the error names the operation, its inputs with their ranges, and the line of
    the user's program. Every result is looked at, which costs about as much as computing it: for looking for a fault, not
    for training. Inside the block ``fit`` and captured steps run as they are written.

    Parameters
    ----------
    infinities : bool
        Stop at infinities too. Without, only at NaN: for programs that mask by minus infinity.

    Raises
    ------
    NotFiniteError
        At that operation. Where a number was not finite before any operation, the error says which input it was.
    """

    def __init__(self, infinities: bool = True) -> None:
        super().__init__()
        self.infinities = bool(infinities)
        self._given: Any = ()
        self._before: list[Any] = []

    def __enter__(self) -> "find_nan":
        self._before.append(np.seterr(all="ignore"))  # NumPy's own warnings would come too, and name no operation
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        np.seterr(**self._before.pop())

    def begin(self, op, inputs, attributes):
        self._given = tuple(inputs)
        for symbol, x in zip(symbols_of(definition_of(op), len(inputs)), inputs):
            if self._is_bad(
                x.data if isinstance(x, Tensor) else x
            ):  # no operation has made it: that would have stopped
                raise NotFiniteError(
                    f"find_nan: the input {symbol} of {op.name}{users_line()} holds {self._faults(x)} already, and no operation "
                    "in this block has produced it. Look at the data, or at what was computed before the block."
                )

    def note_result(self, op, inputs, result, node):
        given, self._given = self._given, ()
        if self._is_bad(result.data):
            raise NotFiniteError(
                f"find_nan: {op.name}{users_line()} is the first to produce {self._faults(result)}. Its formula is {op.formula}; it was "
                f"given {self._described(op, given)}."
            )

    def note_share(self, source, gradient, before):
        if self._is_bad(gradient):
            self._blame(gradient)

    def note_gradient(self, node, gradient):
        self._node, self._gradient = node, gradient
        if self._is_bad(
            gradient
        ):  # each share was finite, or it would have stopped: their sum is not, or the first gradient
            raise NotFiniteError(
                f"find_nan: in the backward pass the gradient of the output of {node!r} holds {self._faults(gradient)}: the sum of "
                "what reached it, or what backward() was given, is not finite."
            )

    def _blame(self, gradient):
        """The rule of the node that is being gone through made this."""
        op, saved = self._node.op, [self._described_one("", s) for s in self._node.saved or () if hasattr(s, "dtype")]
        rules = "; ".join(f"for {symbol}: {rule}" for symbol, rule in op.vjp.items())
        raise NotFiniteError(
            f"find_nan: the backward rule of {op.name} (recorded at {where(self._node.place)}) is the first to produce "
            f"{self._faults(gradient)}. Its rules are {rules}; it was given {self._described_one('the gradient', self._gradient)}, and had "
            f"saved {', '.join(saved) if saved else 'nothing'}."
        )

    def note_update(self, optimizer, pairs):
        for i, name, array in self._bad_ones(optimizer, pairs, with_gradients=True):
            raise NotFiniteError(
                f"find_nan: step {optimizer.t + 1} of {optimizer!r}{users_line()} is given {self._faults(array)}, in {name} of "
                f"parameter {i}, and no operation in this block has produced it. Look at what was computed before the block, or "
                "at what else writes into gradients and weights."
            )

    def note_updated(self, optimizer, pairs):
        for i, name, array in self._bad_ones(optimizer, pairs):
            tensor = optimizer.params[i]
            raise NotFiniteError(
                f"find_nan: step {optimizer.t} of {optimizer!r}{users_line()} is the first to produce "
                f"{self._faults(array)}, in {name} of parameter {i}, shape {tensor.shape}; its gradient was "
                f"{self._described_one('', tensor.grad)}."
            )

    def _bad_ones(self, optimizer, pairs, with_gradients=False):
        """(number of the parameter, what it is, array) of all of an optimizer's numbers that are not finite."""
        numbers = {id(tensor): i for i, tensor in enumerate(optimizer.params)}
        for tensor, state in pairs:
            arrays = {"the gradient": tensor.grad} if with_gradients else {}
            for name, array in (arrays | {"the parameter": tensor.data, **state}).items():
                if self._is_bad(array):
                    yield numbers[id(tensor)], name, array

    def _is_bad(self, x):
        array = backend_of(x)
        if array is None or x.dtype.kind != "f":
            return False
        xp = array.xp
        return not bool(xp.isfinite(x).all()) if self.infinities else bool(xp.isnan(x).any())

    def _faults(self, x):
        value = summary(x)
        found = [f"{n} {what}" for n, what in ((value.nans, "NaN"), (value.infinities, "infinite")) if n]
        return f"{' and '.join(found)} of {value.size} numbers"

    def _described(self, op, inputs):
        symbols = symbols_of(definition_of(op), len(inputs))
        return ", ".join(self._described_one(symbol, x) for symbol, x in zip(symbols, inputs))

    def _described_one(self, symbol, x):
        if not hasattr(x, "dtype"):
            return f"{symbol} = {x}"
        value = summary(x)
        span = f"{value.low:.4g} to {value.high:.4g}" if value.low == value.low else "no finite number"
        return f"{symbol} {value.dtype} {value.shape}, {span}".strip()


def summary(x):
    """The range of a tensor or an array."""
    array = x.data if isinstance(x, Tensor) else x
    return value_of(backend_of(array).to_host(array), "", "computed", keep=False)


def users_line():
    """Where the user's program is."""
    frame = users_frame()
    return "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
