r"""Gradient clipping: a bound on the step that one bad batch can make.

By norm, the direction stays: :math:`g \leftarrow g \min(1, c / \|g\|)`, the norm taken over all
parameters together. By value, each number is cut to :math:`[-c, c]` for itself, which turns the
direction. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013),
algorithm 1.
"""

import math
from collections.abc import Iterable

from .callbacks import Callback
from .context import unrepeatable
from .errors import require_number
from .tensor import Tensor


def clip_by_norm(params: Iterable[Tensor], limit: float) -> float:
    """Scale all gradients together so that their norm is at most ``limit``; returns the norm they had.

    A norm that is NaN or infinite leaves the gradients alone: scaling would hide it.
    """
    limit = require_number("clip_by_norm", "limit", limit, above=0)
    unrepeatable("clips gradients, for which there is no kernel")
    graded = with_gradients(params)
    norm = math.sqrt(math.fsum(p.backend.read(square_sum(g)) for p, g in graded))
    if limit < norm < math.inf:
        for p, g in graded:
            p.grad = g * p.dtype.type(limit / norm)
    return norm


def clip_on_device(params, limit):
    """The same where to look at the norm would be to wait for it: the device decides, and writes over the gradients.

    A step that does this can be captured.
    """
    graded = with_gradients(params)
    if not graded:
        return
    xp = graded[0][0].backend.xp
    norm = xp.sqrt(xp.stack([square_sum(g) for _, g in graded]).sum())
    share = xp.where((norm > limit) & (norm < math.inf), limit / norm, 1.0)
    for p, g in graded:
        g *= share.astype(p.dtype)


def with_gradients(params):
    """(parameter, its gradient) of those that have one."""
    return [(p, g) for p in params if (g := p.grad) is not None]


def square_sum(gradient):
    """In float64: the sum of squares of large float32 gradients would overflow."""
    return (gradient.astype("float64") ** 2).sum()


def clip_by_value(params: Iterable[Tensor], limit: float) -> None:
    """Cut every number of every gradient to [-limit, limit]."""
    limit = require_number("clip_by_value", "limit", limit, above=0)
    unrepeatable("clips gradients, for which there is no kernel", by_calls_only=True)
    for p, g in with_gradients(params):
        if p.backend.is_device:  # in place, so that a captured step finds it there
            g[...] = p.backend.xp.clip(g, -limit, limit)
        else:
            p.grad = p.backend.xp.clip(g, -limit, limit)


class ClipNorm(Callback):
    """``clip_by_norm`` in ``fit``, between the backward pass and the step."""

    def __init__(self, limit: float) -> None:
        self.limit = require_number("ClipNorm", "limit", limit, above=0)

    def on_gradients(self, batch: int) -> None:
        clip = clip_on_device if self.trainer.place.is_device else clip_by_norm
        clip(self.trainer.optimizer.params, self.limit)


class ClipValue(Callback):
    """``clip_by_value`` in ``fit``, between the backward pass and the step."""

    def __init__(self, limit: float) -> None:
        self.limit = require_number("ClipValue", "limit", limit, above=0)

    def on_gradients(self, batch: int) -> None:
        clip_by_value(self.trainer.optimizer.params, self.limit)
