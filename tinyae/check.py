r"""Gradient checking: is a derivative right? Ask the function itself.

The slope of f along one element is estimated by the central difference

.. math:: \frac{f(x + h) - f(x - h)}{2 h} = f'(x) + O(h^2)

in float64, and compared with what the backward pass says. A large h errs by its :math:`h^2`, a
small one by rounding, so several are tried and each element is judged by the best.

A function with many outputs is reduced to one number by a **random cotangent** c,
:math:`\sum_k c_k f_k(x)`; what is reported are derivatives of that number. (One output stays as it
is: c = 1.) A sum (a cotangent of ones) would not do: the outputs of a softmax sum to
1 whatever its input, so a backward pass that returns zeros would pass.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .context import no_grad
from .errors import DtypeError, RangeError, TapeError, brief, require_integer, require_number
from .random import Generator
from .tape import run_backward
from .tensor import Tensor, as_tensor

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)


class GradientReport:
    """The answer of ``check_gradients``; true when every gradient is right.

    Attributes
    ----------
    ok : bool
    worst : dict
        The element with the largest error: ``tensor`` (its position among the arguments), ``index``,
        ``analytic`` (from the backward pass), ``numeric``, ``error``, and ``errors``, the error for each
        step size. Empty if nothing could be compared.
    kinks : list of (tensor, index)
        Elements at a kink: the slopes to the left and to the right differ, and the backward pass
        returned one of them or a value between; that is accepted.
    undecided : list of (tensor, index)
        Elements whose gradient is so small beside the function's value that rounding hides it. Not right
        until shown to be: take a constant off the function, or scale its parts.
    message : str
        Why the backward pass failed, if it raised an error.
    outputs : int
        How many numbers the function returned; several are reduced by a random cotangent.
    checked : int
        How many elements were compared.
    tolerance : float
        Largest accepted error, relative to the element's gradient or the largest of its tensor, if that is larger.
    """

    def __init__(self, tolerance: float) -> None:
        self.ok, self.message = True, ""
        self.worst: dict[str, Any] = {}
        self.kinks: list[tuple[int, tuple[int, ...]]] = []
        self.undecided: list[tuple[int, tuple[int, ...]]] = []
        self.outputs, self.checked, self.tolerance = 1, 0, tolerance

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        if self.message:
            return f"gradients WRONG: {self.message}"
        of = "" if self.outputs == 1 else f" of sum c f, {self.outputs} outputs f with random c,"
        verdict = "right" if self.ok else "WRONG"
        lines = [f"gradients{of} {verdict}: {self.checked} elements compared, tolerance {self.tolerance:g}"]
        if self.worst:
            w = self.worst
            lines.append(
                f"  worst: tensor {w['tensor']} at {w['index']}: backward says {w['analytic']:.10g}, differences say {w['numeric']:.10g}"
            )
            lines.append("  error by step size: " + ", ".join(f"h={h:g}: {e:.1e}" for h, e in w["errors"].items()))
        if self.undecided:
            position, index = self.undecided[0]
            lines.append(
                f"  {len(self.undecided)} cannot be told, the first: tensor {position} at {index}: the function's value is so "
                "large that rounding hides the gradient"
            )
        if self.kinks:
            lines.append(f"  {len(self.kinks)} at a kink, the first: tensor {self.kinks[0][0]} at {self.kinks[0][1]}")
        return "\n".join(lines)


def check_gradients(
    fn: Callable[..., Tensor], *tensors: Any, tolerance: float = 1e-6, seed: int = 0, max_elements: int = 200
) -> GradientReport:
    """Compare the gradients of a function with differences of its values.

    Parameters
    ----------
    fn : function
        Takes the tensors, returns one Tensor of any shape. It must give the same values every time:
        seed or leave out dropout and noise.
    tensors : Tensors, arrays or lists
        What to differentiate by. Float64 tensors are used themselves, moved by h and put back, so fn
        may also reach them through a model. Others are replaced by float64 copies.
    tolerance : float
        Largest error accepted, relative to the element's gradient or the largest of its tensor.
    seed : int
        For the random cotangent and the choice of elements.
    max_elements : int
        Of a larger tensor, so many elements are chosen at random.

    Returns
    -------
    GradientReport
        Truthy when right; print it to see the worst element.

    Raises
    ------
    DtypeError
        An integer tensor was given, or the function computes in float32.
    TapeError
        The result does not depend on the tensors through the tape.
    """
    if not callable(fn) or isinstance(fn, Tensor):
        raise DtypeError(f"check_gradients: the first argument is {brief(fn)}; expected a function of the tensors.")
    tolerance = require_number("check_gradients", "tolerance", tolerance, above=0)
    max_elements = require_integer("check_gradients", "max_elements", max_elements, at_least=1)
    chance = Generator(seed)
    points = [_as_float64(i, x) for i, x in enumerate(tensors)]
    report = GradientReport(tolerance)
    wanted = [point.requires_grad for point in points]
    try:
        for point in points:
            point.requires_grad = True
        output = fn(*points)
        if not isinstance(output, Tensor) or output._node is None:
            raise TapeError(
                f"check_gradients: the function returned {brief(output)}, which does not depend on the given tensors through the "
                "tape. It must compute with the tensors it is given, and return a Tensor."
            )
        report.outputs = output.size
        cotangent = np.ones(output.shape) if output.size == 1 else chance.normal(output.shape, "sample")
        xp = output.backend.xp
        device_cotangent = output.backend.asarray(cotangent.astype(output.dtype))
        try:
            gradients = dict(run_backward(output._node, device_cotangent, keep_tape=False))  # leaves every .grad alone
        except TapeError as error:
            report.ok, report.message = False, f"the backward pass failed: {error}"
            return report
        if not any(point in gradients for point in points):
            raise TapeError(
                "check_gradients: the result does not depend on the tensors that the function was given. Tensors that are "
                "not float64 are replaced by float64 copies: compute with those, or call model.astype('float64') first."
            )
        if output.dtype != np.float64:
            raise DtypeError(
                "check_gradients: the function returned float32; differences need float64 throughout. Leave out .astype('float32'), "
                "or call model.astype('float64') first."
            )

        def value():
            with no_grad(), np.errstate(all="ignore"):  # a step may leave the domain: then it counts as NaN
                return float(xp.sum(fn(*points).data * device_cotangent))

        # what rounding of the function's values alone does to a difference at the largest h
        noise = 1e-12 * float(xp.abs(output.data * device_cotangent).sum())
        for i, point in enumerate(points):
            analytic = point.backend.to_host(gradients[point]) if point in gradients else np.zeros(point.shape)
            largest = float(np.abs(analytic).max())
            chosen = np.sort(chance.permutation(point.size)[:max_elements])
            for flat in chosen:
                index = tuple(int(k) for k in np.unravel_index(flat, point.shape))
                _check_element(report, value, point, i, index, float(analytic[index]), largest, noise)
    finally:
        for point, asked in zip(points, wanted):
            point.requires_grad = asked
    return report


def _as_float64(i, x):
    tensor = as_tensor(x, "check_gradients")
    if tensor.dtype.kind != "f":
        raise DtypeError(
            f"check_gradients: tensor {i} is of type {tensor.dtype}; only floats have gradients. "
            "Let the function close over it instead."
        )
    return tensor if tensor.dtype == np.float64 and tensor is x else Tensor(tensor.data.astype(np.float64))


def _slopes(value, point, index):
    """For each step size the slopes to the left and to the right of one element."""
    original = point.data[index].copy()
    here, slopes = value(), {}
    size = abs(float(original))
    near_zero = [s * size for s in (1e-3, 1e-4, 1e-5)] if 0 < size < 1e-2 else []  # 1/x at 1e-4 needs a smaller h
    try:
        for h in (*STEPS, *near_zero):
            sides = []
            for moved in (original + h, original - h):
                point.data[index] = moved
                point.mark_changed()
                try:
                    sides.append(value())
                except RangeError:  # outside of where the function is defined
                    sides.append(math.nan)
            slopes[h] = ((here - sides[1]) / h, (sides[0] - here) / h)
    finally:
        point.data[index] = original
        point.mark_changed()
    return slopes


def _check_element(report, value, point, position, index, analytic, largest, noise):
    """Compare one element, over all step sizes; ``largest`` is the largest gradient of its tensor."""
    slopes = _slopes(value, point, index)
    numeric, best, errors = math.nan, math.inf, {}
    for h, (left, right) in slopes.items():
        slope = (left + right) / 2  # the central difference
        size = max(abs(slope), abs(analytic), largest)
        error = abs(slope - analytic) / size if size > 0 else 0.0
        errors[h] = math.inf if math.isnan(error) else error
        if errors[h] < best or math.isnan(numeric):
            numeric, best = slope, errors[h]
    report.checked += 1
    if best > report.tolerance and abs(numeric - analytic) <= noise:
        if abs(analytic) <= 1e-3 * noise and noise < 1e-6:
            return  # zero, and the difference is no more than rounding
        report.undecided.append((position, index))
    elif best > report.tolerance and _is_kink(slopes, analytic):
        report.kinks.append((position, index))
        return
    report.ok = report.ok and best <= report.tolerance
    if not report.worst or best > report.worst["error"]:
        report.worst = {
            "tensor": position,
            "index": index,
            "analytic": analytic,
            "numeric": numeric,
            "error": best,
            "errors": errors,
        }


def _is_kink(slopes, analytic):
    """Do the slopes left and right differ by the same amount at two step sizes, with the gradient between them?

    Curvature makes them differ in proportion to h, rounding in proportion to 1/h, a kink by a constant.
    """
    (left, right), (left2, right2) = slopes[1e-4], slopes[1e-5]
    bend, bend2 = right - left, right2 - left2
    size = max(abs(left), abs(right))
    margin = 1e-3 * size
    constant = abs(bend) > margin and abs(bend - bend2) < 0.1 * abs(bend)
    return constant and min(left, right) - margin <= analytic <= max(left, right) + margin
