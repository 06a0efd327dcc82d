r"""The linear autoencoder: what is left of an autoencoder without its bends, and why that is PCA, nearly.

.. math:: z = x W + b, \qquad \hat x = z V + c, \qquad
          \min_{W, b, V, c} \; \frac{1}{N D} \sum_n \lVert x_n - \hat x_n \rVert^2

**What the theorem says.** Let C be the covariance of the examples, with eigenvalues
:math:`\lambda_1 \ge \dots \ge \lambda_D`, and K the size of the code. There is one smallest loss, and no other local
minimum: all other places where the gradient is 0 are saddles. There :math:`W V` is the orthogonal projection onto the first K
eigenvectors of C (one subspace only, if :math:`\lambda_K > \lambda_{K+1}`), and the biases take the mean off and put it
back. So the *span* of the decoder's rows is that of PCA, and so is the error,
:math:`\tfrac{1}{D} \sum_{j > K} \lambda_j`.

**What it does not say.**

- The axes. For any invertible G the weights :math:`W G` and :math:`G^{-1} V` make the same reconstructions. The units of
  the code need be neither orthogonal, nor uncorrelated, nor in the order of their variances; which G comes out is up to the initial
  weights and the optimizer. Tied weights, :math:`V = W^\top`, leave less: :math:`W W^\top` is a projection only for
  :math:`W = U_K R` with the first K eigenvectors :math:`U_K` and a rotation or reflection R. The eigenvectors of the codes' covariance
  bring PCA's axes back.
- Anything of another loss, or of a model without the biases on data that are not centred: that finds the directions of
  the largest second moments, of which the mean is one.
- How fast. Where the span still holds a direction that is turned by the angle :math:`\theta` from eigenvector K to K + 1, the loss
  is too large by :math:`\sin^2\theta \, (\lambda_K - \lambda_{K+1}) / D` only. If these two eigenvalues are close, the last
  angles shrink slowly, and it matters little.

Baldi and Hornik, "Neural networks and principal component analysis: learning from examples without local minima" (1989);
Bourlard and Kamp, "Auto-association by multilayer perceptrons and singular value decomposition" (1988), also for an encoder
that bends; Bishop (2006), sections 12.1 and 12.4.2.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..data import as_data
from ..errors import RangeError, ShapeError, require_integer
from ..metrics import LARGEST_PCA, pca_error, principal_axes, reconstruction_error
from ..nn.layers import Dense, Flatten, Reshape
from ..nn.module import Module
from ..nn.sequential import Sequential
from ..nn.tied import TiedDense
from ..operands import as_ints
from .autoencoder import Autoencoder


class LinearAutoencoder(Autoencoder):
    """One dense layer to the code and one back, no activations, with biases.

    Shapes: (N, *shape) -> code (N, code) -> (N, *shape).

    Parameters
    ----------
    shape : int or tuple of int
        Of an example: 64, or (8, 8, 1).
    code : int
        The size of the code, at most as many numbers as an example has.
    tied : bool
        The decoder uses the encoder's weight, transposed.
    init : str
        A name in ``init.INITIALISERS``.

    Raises
    ------
    RangeError
        A code of no numbers, or of more than an example has.
    """

    def __init__(self, shape: int | Sequence[int], code: int, tied: bool = False, init: str = "glorot") -> None:
        self.shape = as_ints("LinearAutoencoder", (shape,))
        self.features, self.tied, self.init = prod(self.shape), bool(tied), init
        self.code_size = require_integer("LinearAutoencoder", "code", code, at_least=1)
        if self.code_size > self.features:
            raise RangeError(
                f"LinearAutoencoder: a code of {code} numbers for examples of {self.features}; expected at most as many. "
                "Choose a smaller code."
            )
        into = Dense(self.features, self.code_size, init=init)
        back = TiedDense(into) if self.tied else Dense(self.code_size, self.features, init=init)
        super().__init__(Sequential(Flatten(), into), Sequential(back, Reshape(*self.shape)))

    @classmethod
    def from_parts(cls, encoder: Sequence[Module], decoder: Sequence[Module], **settings: Any) -> "LinearAutoencoder":
        """From the layers of a recipe: a Dense without activation in each, perhaps with Flatten and Reshape."""
        found: list[Any] = [layer for layer in [*encoder, *decoder] if not isinstance(layer, (Flatten, Reshape))]
        if len(found) != 2 or not all(isinstance(layer, Dense) and layer.activation is None for layer in found):
            layers = ", ".join(layer.label() for layer in [*encoder, *decoder])
            raise ShapeError(
                f"LinearAutoencoder: the layers are {layers}; expected one Dense without activation in the encoder and one "
                "in the decoder. Leave the others out, or use Autoencoder."
            )
        into, _ = found
        shapes = [layer.shape for layer in decoder if isinstance(layer, Reshape)]
        return cls(shapes[-1] if shapes else into.in_features, into.out_features, init=into.init, **settings)

    def check_loss(self, name: Any) -> None:
        """Refuse what the model has not: a sigmoid."""
        if name == "bce":
            raise RangeError(
                "LinearAutoencoder: loss 'bce' was given, but a linear model has no sigmoid at its end. Use 'mse', which "
                "the theorem is about, or an Autoencoder that ends in a sigmoid."
            )

    # ------------------------------------------------------------ the theorem, as a check

    def principal_angles(self, x: Any) -> np.ndarray[Any, Any]:
        """The angles between the decoder's span and that of PCA, in degrees, the largest first.

        All 0: every reconstruction is one that PCA can make. 90: the decoder's span has a direction that PCA's has not at
        all. Where the K-th eigenvalue equals the next one, PCA's own span is not determined, and neither are the angles.

        Parameters
        ----------
        x : array (N, *shape)
            The examples that PCA is fitted to: those of the training.

        Returns
        -------
        float64 (code,)

        Raises
        ------
        RangeError, ShapeError
            Too few examples for so many components, or examples of another shape.
        """
        _, _, vectors = self._axes("principal_angles", x)
        return angles_between(self._span(), vectors[:, -self.code_size :])

    def pca_mse(self, x: Any, held_out: Any = None) -> float:
        """The mean squared error, over all elements, of PCA with a code of this size, fitted to x: the theorem's bound.

        It is that of ``held_out``, or of x. Shapes and errors as in ``principal_angles``.
        """
        mean, _, vectors = self._axes("pca_mse", x)
        return pca_error(mean, vectors[:, -self.code_size :], as_data("pca_mse", x if held_out is None else held_out))

    def compare_with_pca(self, x: Any, held_out: Any = None) -> dict[str, Any]:
        """How near the model has come to PCA fitted to x, and what is at stake.

        Returns
        -------
        dict
            ``mse`` and ``pca_mse``, of ``held_out`` or else of x, and ``ratio``, the first by the second;
            ``principal_angles``, degrees, the largest first; ``eigenvalues``, the K-th and the next of the covariance (the
            next is 0 where there is none); ``most_at_stake``, their difference divided by D: how much larger the MSE of x
            is if one direction of the span is that of eigenvector K + 1 instead of K. Errors as in ``principal_angles``.
        """
        mean, eigenvalues, vectors = self._axes("compare_with_pca", x)
        basis = vectors[:, -self.code_size :]
        data = as_data("compare_with_pca", x if held_out is None else held_out)
        mse, bound = reconstruction_error(self, data), pca_error(mean, basis, data)
        last = [float(value) for value in [0.0, *eigenvalues][-self.code_size - 1 :][:2]][::-1]
        return {
            "mse": mse,
            "pca_mse": bound,
            "ratio": mse / bound if bound > 0 else float("inf") if mse > 0 else 1.0,
            "principal_angles": angles_between(self._span(), basis).tolist(),
            "eigenvalues": last,
            "most_at_stake": (last[0] - last[1]) / self.features,
        }

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        """The angles, and what the last of them is worth."""
        if self.features > LARGEST_PCA or len(x_train) <= self.code_size:
            return {}
        found, K = self.compare_with_pca(x_train, x_test), self.code_size
        angles, (last, following) = found["principal_angles"], found["eigenvalues"]
        shown = ", ".join(f"{angle:.2f}" for angle in angles[:8]) + (", ..." if K > 8 else "")
        return {
            "held-out squared error divided by that of PCA": f"{found['ratio']:.5f}",
            "principal angles to PCA's span, degrees": shown,
            "what they are worth": f"the covariance's eigenvalues {K} and {K + 1} are {last:.4g} and {following:.4g}: a direction "
            f"turned by the angle a from the one to the other costs sin(a)^2 x {found['most_at_stake']:.2g} of the squared error",
        }

    def _span(self):
        """The decoder's rows as columns (D, K), float64."""
        back: Any = self.decoder.modules()[1]  # a Dense, or one that is tied
        return back.weight.numpy().T.astype(np.float64)

    def _axes(self, name, x):
        """Mean, eigenvalues and eigenvectors of the examples, if they can be asked for."""
        x = as_data(name, x)
        if prod(x.shape[1:]) != self.features:
            raise ShapeError(
                f"{name}: the examples have shape {x.shape[1:]}; expected {self.shape}, those of the model."
            )
        if len(x) <= self.code_size:
            raise RangeError(
                f"{name}: {len(x)} examples have at most {len(x) - 1} principal components, and the code has "
                f"{self.code_size} numbers; expected more examples than that."
            )
        if self.features > LARGEST_PCA:
            raise RangeError(
                f"{name}: an example has {self.features:,} numbers, and PCA needs a matrix with the square of it; expected at "
                f"most {LARGEST_PCA:,}. Give smaller images."
            )
        return principal_axes(x)

    def config(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "code": self.code_size,
            "tied": self.tied,
            "init": self.init,
        }


def angles_between(span: np.ndarray[Any, Any], basis: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Principal angles in degrees between the spans of two matrices' columns, (D, K) each, the largest first.

    The k-th smallest is the smallest angle that is found when directions are taken that are orthogonal to those of
    the k - 1 before. Columns that depend on each other span fewer than K directions; those that are missing count as 90.
    SciPy's ``subspace_angles``: Knyazev and Argentati (2002), exact for small angles too.
    """
    from scipy.linalg import subspace_angles

    found = np.degrees(subspace_angles(span, basis)) if span.any() else np.empty(0)
    return np.concatenate([np.full(basis.shape[1] - len(found), 90.0), found])
