r"""Gradient checking: is a derivative right? Ask the function itself.

The slope of f along one element is estimated by the central difference

.. math:: \frac{f(x + h) - f(x - h)}{2 h} = f'(x) + O(h^2)

in float64, and compared with what the backward pass says. A large h errs by its :math:`h^2`, a
small one by rounding, so several are tried and each element is judged by the best.

A function with many outputs is reduced to one number by a **random cotangent** c,
:math:`\sum_k c_k f_k(x)`. A sum (a cotangent of ones) would not do: the outputs of a softmax sum to
1 whatever its input, so a backward pass that returns zeros would pass.
"""

import math

import numpy as np

from .context import no_grad
from .errors import DtypeError, TapeError, TinyaeError
from .random import Generator
from .tensor import Tensor

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
    message : str
        Why the backward pass failed, if it raised an error.
    checked : int
        How many elements were compared.
    tolerance : float
        Largest accepted error, relative to the size of the gradient (absolute below 1).
    """

    def __init__(self, tolerance):
        self.ok, self.worst, self.kinks, self.message = True, {}, [], ""
        self.checked, self.tolerance = 0, tolerance

    def __bool__(self):
        return self.ok

    def __repr__(self):
        if self.message:
            return f"gradients WRONG: {self.message}"
        lines = [
            f"gradients {'right' if self.ok else 'WRONG'}: {self.checked} elements compared, tolerance {self.tolerance:g}"
        ]
        if self.worst:
            w = self.worst
            lines.append(
                f"  worst: tensor {w['tensor']} at {w['index']}: backward says {w['analytic']:.10g}, differences say {w['numeric']:.10g}"
            )
            lines.append("  error by step size: " + ", ".join(f"h={h:g}: {e:.1e}" for h, e in w["errors"].items()))
        if self.kinks:
            lines.append(f"  {len(self.kinks)} at a kink, the first: tensor {self.kinks[0][0]} at {self.kinks[0][1]}")
        return "\n".join(lines)


def check_gradients(fn, *tensors, tolerance=1e-6, seed=0, max_elements=200):
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
        Largest error accepted, relative to the gradient's size (absolute where that is below 1).
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
        An integer tensor was given.
    TapeError
        The result does not depend on the tensors through the tape.
    """
    chance = Generator(seed)
    points = [_as_float64(fn, i, x) for i, x in enumerate(tensors)]
    report = GradientReport(tolerance)
    saved = [(point.requires_grad, point.grad) for point in points]
    try:
        for point in points:
            point.requires_grad, point.grad = True, None
        output = fn(*points)
        if not isinstance(output, Tensor) or not output.requires_grad:
            raise TapeError(
                f"check_gradients: the function returned {output!r}, which does not depend on the given tensors through the "
                "tape. It must compute with the tensors it is given, and return a Tensor."
            )
        cotangent = chance.normal(output.shape, "sample").astype(np.float64)
        xp = output.backend.xp
        device_cotangent = output.backend.asarray(cotangent)
        try:
            output.backward(device_cotangent)
        except (TinyaeError, ValueError, IndexError) as error:
            report.ok, report.message = False, f"the backward pass failed: {error}"
            return report

        def value():
            with no_grad():
                return float(xp.sum(fn(*points).data * device_cotangent))

        for i, point in enumerate(points):
            analytic = np.zeros(point.shape) if point.grad is None else point.backend.to_host(point.grad)
            chosen = np.sort(chance.permutation(point.size)[:max_elements])
            for flat in chosen:
                index = tuple(int(k) for k in np.unravel_index(flat, point.shape))
                _check_element(report, value, point, i, index, float(analytic[index]))
    finally:
        for point, (wanted, grad) in zip(points, saved):
            point.requires_grad, point.grad = wanted, grad
    return report


def _as_float64(fn, i, x):
    tensor = x if isinstance(x, Tensor) else Tensor(x)
    if tensor.dtype.kind != "f":
        raise DtypeError(
            f"check_gradients: tensor {i} is of type {tensor.dtype}; only floats have gradients. Let the function close over it instead."
        )
    return tensor if tensor.dtype == np.float64 and tensor is x else Tensor(tensor.data.astype(np.float64))


def _check_element(report, value, point, tensor, index, analytic):
    """Compare one element, over all step sizes."""
    original = point.data[index].copy()
    here = value()
    errors, numeric, best = {}, math.nan, math.inf
    for h in STEPS:
        sides = []
        for moved in (original + h, original - h):
            point.data[index] = moved
            point.mark_changed()
            sides.append(value())
        point.data[index] = original
        point.mark_changed()
        slope = (sides[0] - sides[1]) / (2 * h)
        right, left = (sides[0] - here) / h, (here - sides[1]) / h
        error = abs(slope - analytic) / max(1.0, abs(slope), abs(analytic))
        errors[h] = error
        if not error >= best:  # NaN counts as an error, and is kept only if nothing is better
            numeric, best = slope, error if error == error else math.inf
    report.checked += 1
    low, high = min(left, right), max(left, right)
    bent = high - low > 1e-3 * max(1.0, abs(low), abs(high))  # one-sided slopes at the smallest step
    margin = 1e-4 * max(1.0, abs(low), abs(high))
    if best > report.tolerance and bent and low - margin <= analytic <= high + margin:
        report.kinks.append((tensor, index))
        return
    if not best <= report.tolerance:
        report.ok = False
    if not report.worst or not best <= report.worst["error"]:
        report.worst = {
            "tensor": tensor,
            "index": index,
            "analytic": analytic,
            "numeric": numeric,
            "error": best,
            "errors": errors,
        }
