"""Batch normalisation as a layer: what it remembers of the batches it has seen."""

from typing import Any

from .. import functional as F
from ..backend import FLOATS
from ..context import unrepeatable
from ..errors import ShapeError, require_integer, require_number
from ..ops.normalisation import moments
from ..tensor import Tensor
from .module import Module


class BatchNorm(Module):
    r"""Each feature (channel) at mean 0 and variance 1, then times ``gamma`` plus ``beta``, which are trained.

    In training mean and variance are those of the batch, over all axes but the last: over N for rows, over N, H and W
    for images. In evaluation they are ``running_mean`` and ``running_var``, so that an example's output does not
    depend on the others of its batch. After each batch in training

    .. math:: running \leftarrow momentum \cdot running + (1 - momentum) \cdot batch

    as Keras counts it; PyTorch's ``momentum`` is 1 minus ours. The batch is normalised by its biased variance,
    divided by m, while ``running_var`` collects the unbiased one, divided by m - 1, as in the paper and in PyTorch
    (Keras 3: biased).

    Shapes: (N, F) or (N, H, W, F), kept; ``gamma``, ``beta``, ``running_mean``, ``running_var`` (F,).

    Parameters
    ----------
    features : int
    momentum : float
        0.9 forgets a batch after about ten others.
    eps : float
        Added to the variance, so that a constant feature is not divided by 0.

    Raises
    ------
    ShapeError
        When called: another number of features; in training, a batch with one value per feature, whose variance is 0.

    Ioffe and Szegedy, "Batch normalization" (2015), Algorithms 1 and 2; gradients in ``ops/normalisation.py``.
    """

    def __init__(self, features: int, momentum: float = 0.9, eps: float = 1e-5) -> None:
        self.features = require_integer("BatchNorm", "features", features, at_least=1)
        self.momentum = require_number("BatchNorm", "momentum", momentum, at_least=0, below=1)
        self.eps = require_number("BatchNorm", "eps", eps, above=0)
        self.gamma, self.beta = Tensor([1.0] * self.features, True), Tensor([0.0] * self.features, True)
        self.running_mean, self.running_var = Tensor([0.0] * self.features), Tensor([1.0] * self.features)

    def forward(self, x: Any) -> Tensor:
        x = self._checked(x if x.dtype in FLOATS else x.astype(FLOATS[0]))
        if not self.training:
            scale = self.gamma / (self.running_var + self.eps).sqrt()
            return x * scale + (self.beta - self.running_mean * scale)
        unrepeatable("updates running statistics", by_calls_only=True)
        m = x.size // self.features
        if m == 1:
            raise ShapeError(
                f"BatchNorm: the input has shape {x.shape}, one value per feature, whose variance is 0: every feature would "
                "become beta. Train with larger batches (batch_size), also the last one of an epoch; or call model.eval() first."
            )
        y = F.batch_norm(x, self.gamma, self.beta, self.eps)
        self._remember(x, m)
        return y

    def _remember(self, x, m):
        """Move the running statistics towards those of a batch with m values per feature."""
        mean, variance = moments(x.data)  # computed a second time: an operation returns Y alone
        for running, batch in ((self.running_mean, mean), (self.running_var, variance * (m / (m - 1)))):
            running.data[...] = self.momentum * running.data + (1 - self.momentum) * batch
            running.mark_changed()

    def _checked(self, x):
        if x.ndim < 2 or x.shape[-1] != self.features:
            cure = "Build it with another number of features."
            if x.ndim == 4 and x.shape[1] == self.features:
                cure = "These seem to be images with the channels first (N, C, H, W); here they come last: x.transpose(0, 2, 3, 1)."
            elif x.ndim == 1:
                cure = "A single example needs its batch axis: x[None]."
            raise ShapeError(f"BatchNorm: the input has shape {x.shape}; expected (N, ..., {self.features}). {cure}")
        return x

    def config(self) -> dict[str, Any]:
        return {"features": self.features, "momentum": self.momentum, "eps": self.eps}
