"""How far a trained autoencoder is usually off, so that what is unusual can be told.

A reconstruction error of 0.1 is much for a feature that is usually met to 0.01, and little for one that is never met.
And an outlier can be so extreme that the model reconstructs it well, from a code that no normal row has. So both are
measured in units of what is usual: the residual of each feature, and the place of the code.
"""

from typing import Any

import numpy as np

from .errors import ModelFileError

LARGEST_CODE = 1024  # numbers in a code whose covariance is computed; of larger ones only the variances
LEAST = 1e-3  # the smallest variance counted, as a part of the mean one: no unit may outweigh all others


class Residuals:
    r"""An autoencoder with code z and reconstruction :math:`\hat x`, and the spread of both on normal rows.

    .. math:: r_j^2 / \sigma_j^2, \quad r = x - \hat x, \qquad
              (z - \mu)^\top \Sigma^{-1} (z - \mu)

    The first is the error map, the second the squared Mahalanobis distance of the code. If residuals and code were normal,
    their sum would be :math:`-2 \ln p`, but for a constant. The idea: Denouden et al., "Improving reconstruction autoencoder
    out-of-distribution detection with Mahalanobis distance" (2018).

    Parameters
    ----------
    model : Module
        Trained, with ``encode`` and ``reconstruct``.
    x : float32 array (N, ...)
        Scaled normal rows.
    by_feature : bool
        One variance for each feature, for tables; else one for all, for images.
    """

    def __init__(self, model: Any, x: Any, by_feature: bool) -> None:
        self.model = model
        total: Any = 0.0  # of the squared residuals, in the shape of one example
        data, codes = 0.0, []
        for piece in in_pieces(x):
            square, code = self._compute(piece)
            total = total + square.sum(axis=0)
            data += float(np.square(piece, dtype=np.float64).sum())
            codes.append(code)
        total, data = total / len(x), data / x.size
        mean = total.mean()
        least = LEAST * mean + 1e-9 * data + 1e-30  # a perfect reconstruction too has a unit
        self.variance = np.maximum(total, least) if by_feature else np.asarray(max(mean, least))
        z = np.concatenate(codes)
        self.centre = z.mean(axis=0)
        z = z - self.centre
        if z.shape[1] <= LARGEST_CODE:
            values, axes = np.linalg.eigh(z.T @ z / len(z))
            self.whiten = axes / np.sqrt(at_least(values))
        else:
            self.whiten = 1 / np.sqrt(at_least((z**2).mean(axis=0)))

    def __call__(self, x: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Of scaled rows x (N, ...): the error map, float64 (N, ...), and the code's squared distance, float64 (N,)."""
        square, z = self._compute(x)
        z = z - self.centre
        z = z @ self.whiten if self.whiten.ndim == 2 else z * self.whiten
        return square / self.variance, (z**2).sum(axis=1)

    def reconstruct(self, x: Any) -> np.ndarray[Any, Any]:
        """The reconstruction of scaled rows, float64 on the host."""
        return self._run(self.model.reconstruct, x)

    def _compute(self, x):
        """The squared residual (N, ...) and the code (N, K), both float64 and on the host."""
        return (x - self.reconstruct(x)) ** 2, self._run(self.model.encode, x).reshape(len(x), -1)

    def _run(self, method, x):
        place = self.model.backend
        there = place.asarray(np.asarray(x, self.model.dtype))
        return np.asarray(place.to_host(method(there)), np.float64)

    # ------------------------------------------------------------ to be written down

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Its numbers, without those of the model, for a file."""
        return {"variance": self.variance, "centre": self.centre, "whiten": self.whiten}

    @classmethod
    def from_state(cls, model: Any, state: dict[str, np.ndarray[Any, Any]]) -> "Residuals":
        """The Residuals of a model that had this ``state()``."""
        made = cls.__new__(cls)
        made.model = model
        made.variance, made.centre, made.whiten = (state[name] for name in ("variance", "centre", "whiten"))
        if made.whiten.shape not in ((len(made.centre),) * 2, made.centre.shape):
            raise ModelFileError(f"load: a code of {len(made.centre)} numbers, but axes of shape {made.whiten.shape}.")
        return made


def at_least(variances):
    """Variances, none of them smaller than LEAST times their mean."""
    return np.maximum(variances, LEAST * variances.mean() + 1e-30)


def in_pieces(x):
    """The rows of x, as many at a time as keep the memory small."""
    rows = max(1, (1 << 22) // max(1, x[0].size))
    return (x[start : start + rows] for start in range(0, len(x), rows))
