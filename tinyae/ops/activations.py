r"""Activations: the nonlinearities that make a network more than one matrix.

Shapes: any, kept. All act element by element, but for softmax and log-softmax, which act along one
axis. NaN passes through each of them, so that a broken run is seen and not hidden.

Source of the forms and their derivatives: Goodfellow, Bengio and Courville, *Deep Learning* (2016),
sections 6.2.2 and 6.3; ELU: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network
learning by exponential linear units" (2015), eq. 15; GELU: Hendrycks and Gimpel, "Gaussian error linear
units" (2016), section 2.
"""

import math

from ..backend import backend_of_xp
from .op import Op, op


@op("relu", r"Y = \max(X, 0)", {"X": r"[X > 0] \odot \bar Y"})
class ReLU(Op):
    """Rectifier. The derivative at 0 is taken as 0.

    Saves Y, which is positive exactly where X is.
    """

    @staticmethod
    def forward(xp, save, X):
        Y = xp.maximum(X, 0)
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return xp.where(Y > 0, gY, 0)


@op(
    "leaky_relu",
    r"Y = \begin{cases} X & \text{if } X > 0 \\ s X & \text{else} \end{cases}",
    {"X": r"([X > 0] + s [X \le 0]) \odot \bar Y"},
    letters={"s": "s"},
)
class LeakyReLU(Op):
    """Rectifier that lets a share s (``slope``) through below 0, where the derivative is s, also at 0."""

    @staticmethod
    def forward(xp, save, X, s):
        save(X, s)
        return xp.where(X > 0, X, s * X)

    @staticmethod
    def backward(xp, saved, gY):
        X, s = saved
        return xp.where(X > 0, gY, s * gY)


@op(
    "elu",
    r"Y = \begin{cases} X & \text{if } X > 0 \\ e^X - 1 & \text{else} \end{cases}",
    {"X": r"\min(e^X, 1) \odot \bar Y"},
)
class ELU(Op):
    """Exponential linear unit with alpha = 1: smooth at 0, never below -1."""

    @staticmethod
    def forward(xp, save, X):
        Y = xp.where(X > 0, X, xp.expm1(xp.minimum(X, 0)))
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return gY * xp.minimum(Y + 1, 1)  # below 0, e^X = Y + 1


@op("sigmoid", r"Y = \frac{1}{1 + e^{-X}}", {"X": r"Y \odot (1 - Y) \odot \bar Y"})
class Sigmoid(Op):
    r"""Logistic function.

    Below 0 computed as :math:`e^X / (1 + e^X)`, the same function: neither form can overflow.
    """

    @staticmethod
    def forward(xp, save, X):
        Y = logistic(xp, X)
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return Y * (1 - Y) * gY


@op("tanh", r"Y = \tanh X", {"X": r"(1 - Y^2) \odot \bar Y"})
class Tanh(Op):
    """Hyperbolic tangent."""

    @staticmethod
    def forward(xp, save, X):
        Y = xp.tanh(X)
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return (1 - Y * Y) * gY


@op("softplus", r"Y = \ln(1 + e^X)", {"X": r"\frac{1}{1 + e^{-X}} \odot \bar Y"})
class Softplus(Op):
    r"""A smooth rectifier.

    Computed as :math:`\max(X, 0) + \ln(1 + e^{-|X|})`, the same function, which cannot overflow.
    """

    @staticmethod
    def forward(xp, save, X):
        save(X)
        return xp.maximum(X, 0) + xp.log1p(xp.exp(-xp.abs(X)))

    @staticmethod
    def backward(xp, saved, gY):
        (X,) = saved
        return logistic(xp, X) * gY


@op(
    "gelu",
    r"Y = X \odot \Phi, \quad \Phi = \tfrac12 (1 + \operatorname{erf} \tfrac{X}{\sqrt 2})",
    {"X": r"(\Phi + X \odot \tfrac{1}{\sqrt{2\pi}} e^{-X^2/2}) \odot \bar Y"},
)
class GELU(Op):
    """Gaussian error linear unit, the exact form: X times the normal distribution function of X."""

    @staticmethod
    def forward(xp, save, X):
        Phi = 0.5 * (1 + backend_of_xp(xp).erf(X * math.sqrt(0.5)))
        save(X, Phi)
        return X * Phi

    @staticmethod
    def backward(xp, saved, gY):
        X, Phi = saved
        density = xp.exp(-0.5 * X * X) * (1 / math.sqrt(2 * math.pi))
        return (Phi + X * density) * gY


@op(
    "softmax",
    r"Y_i = \frac{e^{X_i}}{\sum_j e^{X_j}}",
    {"X": r"\bar X_i = Y_i (\bar Y_i - \sum_j \bar Y_j Y_j)"},
    letters={"axis": "i"},
)
class Softmax(Op):
    """Positive numbers that sum to 1 along ``axis``.

    The largest X is subtracted first: numerator and denominator shrink by the same factor, and
    nothing overflows.
    """

    @staticmethod
    def forward(xp, save, X, axis):
        E = xp.exp(X - X.max(axis=axis, keepdims=True))
        Y = E / E.sum(axis=axis, keepdims=True)
        save(Y, axis)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        Y, axis = saved
        return Y * (gY - (gY * Y).sum(axis=axis, keepdims=True))


@op(
    "log_softmax",
    r"Y_i = X_i - \ln \sum_j e^{X_j}",
    {"X": r"\bar X_i = \bar Y_i - e^{Y_i} \sum_j \bar Y_j"},
    letters={"axis": "i"},
)
class LogSoftmax(Op):
    """The logarithm of softmax along ``axis``, without computing softmax: no log of 0."""

    @staticmethod
    def forward(xp, save, X, axis):
        shifted = X - X.max(axis=axis, keepdims=True)
        Y = shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
        save(Y, axis)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        Y, axis = saved
        return gY - xp.exp(Y) * gY.sum(axis=axis, keepdims=True)


def logistic(xp, X):
    """1 / (1 + exp(-X)) without overflow, for the operations whose derivative or value it is."""
    E = xp.exp(-xp.abs(X))
    return xp.where(X >= 0, 1, E) / (1 + E)
