r"""Check this node: the rules of one recorded operation, at its own numbers, against differences.

The operation of a step is run again in float64 on what went in, with a random cotangent :math:`\bar Y`, and every element of
every gradient is compared with the central difference (``check.py``). For the worst element the difference is taken with many
step sizes h: its error falls with :math:`h^2` until rounding, which grows as :math:`1/h`, takes over. A wrong rule shows as a line that
does not fall.
"""

import warnings
from typing import Any

import numpy as np

from ..apply import apply
from ..check import GradientReport, check_gradients
from ..context import no_grad, observing, use
from ..errors import RangeError, TapeError
from ..random import Generator
from ..tensor import Tensor

SIZES = tuple(float(h) for h in np.logspace(0, -12, 49))  # of the steps in the plot


class StepCheck:
    """The answer of ``step.check()``; true when the rules are right.

    Attributes
    ----------
    step : Step
    report : GradientReport
        What was compared, the worst element, elements at a kink; its tensors are counted as in ``symbols``.
    symbols : tuple of str
        The letters of the inputs that were differentiated by.
    errors : dict {h: error}
        The error of the worst element for each step size, relative to its gradient or the largest of its tensor; empty if
        nothing was compared.
    """

    def __init__(self, step: Any, report: GradientReport, symbols: tuple[str, ...], errors: dict[float, float]) -> None:
        self.step, self.report, self.symbols, self.errors = step, report, symbols, errors

    def __bool__(self) -> bool:
        return bool(self.report)

    def __repr__(self):
        text = f"{self.step.name}: {self.report!r}"
        for i, symbol in enumerate(self.symbols):
            text = text.replace(f"tensor {i} at", f"{symbol} at")
        if self.step.operation.by_decision:
            text += f"\n  The rules of {self.step.name} are no derivatives, on purpose: its docstring says what they are for."
        return text

    def plot(self, path: Any = None) -> Any:
        """Draw the error of the worst element against the step size, into a PNG file if a path is given; returns the figure."""
        from ..plots.checking import draw_errors

        return draw_errors(self, path)


def check_step(step: Any, *, tolerance: float = 1e-6, seed: int = 0, max_elements: int = 200) -> StepCheck:
    """Compare the rules of a recorded operation with differences, at the numbers that it was given.

    Parameters
    ----------
    step : Step
        A forward or backward step of a trace.
    tolerance, seed, max_elements
        As in ``check_gradients``.

    Returns
    -------
    StepCheck

    Raises
    ------
    TapeError
        The step is an update, or its inputs were too large to be kept.
    RangeError
        No input can be differentiated by.
    """
    if step.operation is None:
        raise TapeError(
            f"check: step {step.number} is '{step.name}', which has no rules to check; take a forward or backward step."
        )
    if not step.inputs or any(value.array is None for value in step.inputs):
        raise TapeError(
            f"check: the inputs of step {step.number}, {step.name}, were not kept: they were computed before the trace was opened, "
            "or too large. Open the trace earlier, or give it more memory=."
        )
    operation = step.operation
    by = [i for i, v in enumerate(step.inputs) if v.array.dtype.kind == "f" and i not in operation.indices and v.size]
    if not by:
        raise RangeError(
            f"check: no input of step {step.number}, {step.name}, is real; there is nothing to differentiate by."
        )

    def function(*points):
        given = [value.array if value.shape else value.array.item() for value in step.inputs]
        for i, point in zip(by, points):
            given[i] = point * 1  # a copy: an operation such as setitem writes into what it is given
        return apply(operation, *given, **attributes)

    attributes = {name: np.float64 if name == "dtype" else value for name, value in step.attributes.items()}
    points = [Tensor(step.inputs[i].array.astype(np.float64)) for i in by]
    with use(observing, None), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = check_gradients(function, *points, tolerance=tolerance, seed=seed, max_elements=max_elements)
        errors = errors_by_size(function, points, report, seed)
    return StepCheck(step, report, tuple(step.symbols[i] for i in by), errors)


def errors_by_size(function, points, report, seed):
    """{h: error} of the worst element, for many step sizes."""
    if not report.worst:
        return {}
    with no_grad():
        shape = function(*points).shape
        cotangent = np.ones(shape) if report.outputs == 1 else Generator(seed).normal(shape, "sample")  # the report's
        point, index = points[report.worst["tensor"]], report.worst["index"]
        analytic, here = report.worst["analytic"], float(point.data[index])
        largest, found = max(abs(analytic), abs(report.worst["numeric"])), {}
        for h in SIZES:
            sides = []
            for moved in (here + h, here - h):
                point[index] = moved
                sides.append(float((function(*points).data * cotangent).sum()))
            point[index] = here
            slope = (sides[0] - sides[1]) / (2 * h)
            found[h] = abs(slope - analytic) / largest if largest else abs(slope)
    return found
