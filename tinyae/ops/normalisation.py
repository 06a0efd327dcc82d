r"""Batch normalisation: each feature is brought to mean 0 and variance 1 over the batch, then scaled and shifted anew.

The gradient of X has three parts, for X acts directly, through the mean and through the variance. With
:math:`\hat X = (X - \mu) / \sigma` they are, for each feature (means over its m values in the batch):

.. math:: \bar X = \frac{\gamma}{\sigma} (\bar Y - \operatorname{mean} \bar Y - \hat X \odot \operatorname{mean}(\bar Y \odot \hat X))

So :math:`\bar X` sums to 0 over the batch and is orthogonal to :math:`\hat X`: neither a shift nor a scaling of the
feature would change Y.

Source: Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
shift" (2015), Algorithm 1 and the gradients of section 3, here with their sums carried out.
"""

from ..errors import ShapeError
from .op import Op, op


@op(
    "batch_norm",
    r"Y_{nf} = \gamma_f \hat X_{nf} + \beta_f, \quad \hat X_{nf} = \frac{X_{nf} - \mu_f}{\sqrt{v_f + \epsilon}}, \quad "
    r"\mu_f = \tfrac1m \sum_n X_{nf}, \quad v_f = \tfrac1m \sum_n (X_{nf} - \mu_f)^2, \quad m = \sum_n 1",
    {
        "X": r"\bar X_{nf} = \frac{\gamma_f}{\sqrt{v_f + \epsilon}} (\bar Y_{nf} - \tfrac1m \sum_k \bar Y_{kf}"
        r" - \tfrac1m \hat X_{nf} \sum_k \bar Y_{kf} \hat X_{kf})",
        "gamma": r"\bar \gamma_f = \sum_n \bar Y_{nf} \hat X_{nf}",
        "beta": r"\bar \beta_f = \sum_n \bar Y_{nf}",
    },
    letters={"eps": r"\epsilon", "axes but the last": "n"},
)
class BatchNorm(Op):
    """Normalisation over all axes but the last, with the biased variance (divided by m, not m - 1).

    In the formula n counts along all these axes as one, and f the features.

    Shapes: X (N, F) or (N, H, W, C), gamma and beta (F,) -> Y as X. Saves X scaled, gamma and the scale.
    """

    @staticmethod
    def forward(xp, save, X, gamma, beta, eps):
        if X.ndim < 2 or gamma.shape != X.shape[-1:] or beta.shape != gamma.shape:
            raise ShapeError(
                f"batch_norm: X has shape {X.shape}, gamma {gamma.shape} and beta {beta.shape}; expected (N, ..., F), (F,) "
                "and (F,)."
            )
        mean, variance = moments(X)
        inverse = 1 / xp.sqrt(variance + eps)
        Xhat = (X - mean) * inverse
        save(Xhat, gamma, inverse)
        return gamma * Xhat + beta

    @staticmethod
    def backward(xp, saved, gY):
        Xhat, gamma, inverse = saved
        axes = tuple(range(gY.ndim - 1))
        along = (gY * Xhat).mean(axis=axes)
        gX = gamma * inverse * (gY - gY.mean(axis=axes) - Xhat * along)
        return gX, (gY * Xhat).sum(axis=axes), gY.sum(axis=axes)


def moments(X):
    """Mean and biased variance over all axes but the last."""
    axes = tuple(range(X.ndim - 1))
    mean = X.mean(axis=axes)
    return mean, ((X - mean) ** 2).mean(axis=axes)
