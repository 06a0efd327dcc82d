r"""The sparse autoencoder: of the many units of its code only a few may be active for one example.

.. math:: \min_{f, g} \; L(g(z), x) + \lambda \, \Omega(z), \qquad z = f(x)

So the code may have more units than it needs: each becomes the sign of something that few examples have.
Goodfellow et al. (2016), section 14.2.1 (L1); Ng, "Sparse autoencoder", CS294A lecture notes (2011), section 3 (KL).
"""

import math
from typing import Any

from ..errors import RangeError, brief, known_name, require_number
from ..nn.module import Module
from ..tensor import Tensor
from .activity import Activity, activity_of
from .autoencoder import Autoencoder

PENALTIES = ("l1", "kl")
TINY = 1e-6  # keeps the logarithms finite, and a gradient alive, where a unit is always 0 or always 1


def l1_penalty(z: Tensor) -> Tensor:
    r""":math:`\frac{1}{N} \sum_n \sum_j |z_{nj}|`: the sum over units, the mean over examples.

    Shapes: z (N, ...) -> scalar.
    """
    return z.abs().sum() / len(z)


def kl_penalty(z: Tensor, target: float) -> Tensor:
    r""":math:`\sum_j \rho \ln \frac{\rho}{\hat\rho_j} + (1 - \rho) \ln \frac{1 - \rho}{1 - \hat\rho_j}`, in nats.

    Shapes: z (N, ...), numbers from 0 to 1 -> scalar. :math:`\rho` is the ``target``, :math:`\hat\rho_j` the mean
    activity of unit j over the batch (Ng: over all examples): how far two coins are apart that show heads so often.
    """
    mean = z.reshape(len(z), -1).mean(axis=0) * (1 - 2 * TINY) + TINY
    least = target * math.log(target) + (1 - target) * math.log(1 - target)
    return mean.size * least - (target * mean.log() + (1 - target) * (1 - mean).log()).sum()


class SparseAutoencoder(Autoencoder):
    """An autoencoder that is charged for the activity of its code.

    Shapes: (N, ...) -> code (N, ...) -> (N, ...), the shape of the input. Every number of the code is a unit.

    Parameters
    ----------
    encoder, decoder : Module
        Usually a Sequential each.
    penalty : str
        ``"l1"``: the sum of |z| over the units, the mean over examples. Best with a relu code, whose numbers can be
        exactly 0. A smaller code and a decoder with larger weights would cost less and say the same: ``L2`` among the
        ``regularizers`` of ``fit`` keeps the weights small.
        ``"kl"``: the divergence of each unit's mean activity in the batch from ``target``, the sum over units. Needs a
        code that ends in a sigmoid, and batches large enough for a mean: 50 examples or more.
    strength : float
        What the penalty is multiplied by before it is added to the reconstruction loss, a mean over pixels. Where that
        is half of the sum of squares over D pixels, as in Ng's notes, beta there is ``2 * beta / D`` here.
    target : float
        The mean activity that "kl" asks for.

    Raises
    ------
    RangeError
        A strength below 0, a target that is not between 0 and 1, or "kl" with a code that is not a sigmoid's.
    """

    def __init__(
        self, encoder: Module, decoder: Module, penalty: str = "l1", strength: float = 1e-4, target: float = 0.05
    ) -> None:
        super().__init__(encoder, decoder)
        self.penalty = known_name("penalty of SparseAutoencoder", penalty, PENALTIES)
        self.strength = require_number("SparseAutoencoder", "strength", strength, at_least=0)
        self.target = require_number("SparseAutoencoder", "target", target, above=0, below=1)
        if self.penalty == "kl" and not encoder.ends_in_sigmoid():
            raise RangeError(
                "SparseAutoencoder: penalty 'kl' compares mean activities with a share, and so needs a code from 0 to 1, "
                f"but the encoder does not end in a sigmoid ({brief(encoder)}). "
                "End it with activation='sigmoid', or use penalty='l1'."
            )

    def sparsity(self, z: Tensor) -> Tensor:
        """The penalty of a code (N, ...), before it is multiplied by ``strength``."""
        return l1_penalty(z) if self.penalty == "l1" else kl_penalty(z, self.target)

    def objective(self, x, y, loss):
        z = self.code(x)
        return {"reconstruction": loss(self.decoder, z, y), "sparsity": self.strength * self.sparsity(z)}

    def activity(self, x: Any, threshold: float | None = None) -> Activity:
        """What each unit of the code does over examples x (N, ...): its mean, and how many units are alive.

        Parameters
        ----------
        threshold : float, optional
            A unit is on where |z| is above it: by default 0.5 for a sigmoid's code, else 0, where a relu is off.
        """
        if threshold is None:
            threshold = 0.5 if self.encoder.ends_in_sigmoid() else 0.0
        threshold = require_number("activity", "threshold", threshold, at_least=0)
        return activity_of(self, x, threshold, self.target if self.penalty == "kl" else None)

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        return {"activity of the code, held-out examples": str(self.activity(x_test))}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "penalty": self.penalty, "strength": self.strength, "target": self.target}
