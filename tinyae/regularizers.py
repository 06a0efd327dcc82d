r"""Penalties on the weights, added to the loss in training.

Biases are left alone: they shift, they do not amplify. Goodfellow et al. (2016), section 7.1.
"""

from typing import Any

from .errors import require_number
from .nn.module import Module
from .tensor import Tensor


class Regularizer:
    """The parent of both: a strength, and a penalty per weight."""

    def __init__(self, strength: float) -> None:
        self.strength = require_number(type(self).__name__, "strength", strength, at_least=0)

    def penalty(self, weight: Tensor) -> Tensor:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(strength={self.strength:g})"

    def __call__(self, model: Module) -> Any:
        """The penalty of all weights (parameters of rank 2 or more), as a scalar to add to the loss."""
        return sum(self.penalty(w) for w in model.parameters() if w.ndim > 1)


class L1(Regularizer):
    r""":math:`\lambda \sum |w|`: pulls every weight with the same force, so some become exactly 0."""

    def penalty(self, weight: Tensor) -> Tensor:
        return self.strength * weight.abs().sum()


class L2(Regularizer):
    r""":math:`\lambda \sum w^2`: pulls large weights most. Its gradient is :math:`2 \lambda w`.

    The ``weight_decay`` of SGD and Momentum is the same pull with another convention: its gradient is
    :math:`\lambda \theta`, biases included.
    """

    def penalty(self, weight: Tensor) -> Tensor:
        return self.strength * (weight**2).sum()
