"""What a trace keeps of each operation: plain data."""

from dataclasses import dataclass, field
from typing import Any

from .values import Value


@dataclass(frozen=True, eq=False)
class Pull:
    """One share of a gradient: what flows back from an operation to one of its inputs.

    ``symbol`` is the input's letter in the formula and ``rule`` the LaTeX of the rule; ``target`` the label of the value it flows
    to. ``before`` is the sum of what had arrived there, None if nothing had; ``after`` is the new sum.
    """

    symbol: str
    rule: str
    target: str
    gradient: Value
    before: Value | None
    after: Value


@dataclass(frozen=True, eq=False)
class Update:
    """What an optimizer did to one parameter in its step number ``t``; the states are dicts of Values."""

    label: str
    parameter: Any  # weak reference to the Tensor
    t: int
    settings: dict[str, Any]
    gradient: Value
    parameter_before: Value
    parameter_after: Value
    state_before: dict[str, Value]
    state_after: dict[str, Value]


@dataclass(frozen=True, eq=False)
class Step:
    """One operation, forward or backward, or one update by an optimizer.

    Attributes
    ----------
    number : int
        Its place among all that was seen, from 1.
    phase : str
        ``"forward"``, ``"backward"`` or ``"update"``.
    name : str
        The operation's name; of an update, the optimizer's class.
    operation : subclass of Op, or None
        The definition; ``implementation`` says what ran: ``"definition"``, or a kernel such as ``kernels.cpu.Dense``.
    formula : str or None
        LaTeX; the rules of a backward step stand in its ``pulls``.
    inputs, symbols : tuples of Value and of str
        What went in, and the formula's letter for each.
    attributes : dict
        What else the operation was told: axes, shapes, constants.
    output : Value or None, ``output_symbol`` : str
    source : int or None
        Of a backward step, the number of the forward step; None if that was before the trace.
    gradient : Value or None
        Of a backward step, the complete gradient of the output.
    pulls : tuple of Pull
    updates : tuple of Update
    layer : str
        The part of the model that was running, such as ``encoder.0``.
    file, line, code
        The user's own line.
    """

    number: int
    phase: str
    name: str
    operation: Any
    implementation: str
    formula: str | None
    inputs: tuple[Value, ...] = ()
    symbols: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    output: Value | None = None
    output_symbol: str = ""
    source: int | None = None
    gradient: Value | None = None
    pulls: tuple[Pull, ...] = ()
    updates: tuple[Update, ...] = ()
    layer: str = ""
    file: str = ""
    line: int = 0
    code: str = ""

    def check(self, **settings: Any) -> Any:
        """Compare the rules of this operation, at these numbers, with differences: see ``checking.check_step``."""
        from .checking import check_step

        return check_step(self, **settings)

    def __repr__(self):
        where = f" at {self.file}:{self.line}" if self.file else ""
        return f"<step {self.number}: {self.phase} {self.name}{where}>"
