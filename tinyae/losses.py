r"""Losses: how far a prediction is from its target, in one number.

Every loss is an operation like those in ``ops/``: it computes N terms :math:`E_n` and reduces them to
one number L by ``"mean"`` (the default) or ``"sum"``; ``"none"`` leaves them as they are. What the
mean is taken over, elements or rows, is the first thing each docstring says: it changes the size of
every gradient, and with it the learning rate that works.

The gradient that reaches each term is :math:`\bar E`, in the code ``gE``: :math:`\bar L / N` after a
mean, :math:`\bar L` after a sum. ``spread`` computes it.
"""

import math
from typing import Any

from .apply import apply
from .backend import FLOATS, NUMPY
from .errors import DtypeError, RangeError, ShapeError, lookup
from .operands import checked_array
from .ops.activations import logistic
from .ops.op import Op, op
from .tensor import Tensor, as_tensor

REDUCTIONS = ("mean", "sum", "none")


def reduce(E, reduction):
    """The terms of a loss as one number, or as they are."""
    if reduction == "mean":
        return E.mean()
    return E.sum() if reduction == "sum" else E


def spread(gL, E_shape, reduction):
    """The gradient that reaches each term: gL / N after a mean, gL after a sum."""
    return gL / math.prod(E_shape) if reduction == "mean" else gL


# ---------------------------------------------------------------- regression


@op(
    "mse_loss",
    r"L = \operatorname{reduce} E, \quad E = (P - T)^2",
    {"P": r"2 (P - T) \odot \bar E", "T": r"-2 (P - T) \odot \bar E"},
    letters={"reduction": "reduce"},
)
class MSE(Op):
    """Squared error of each element. P and T have one shape: a loss that broadcasts hides mistakes."""

    @staticmethod
    def forward(xp, save, P, T, reduction):
        D = P - T
        save(D, reduction)
        return reduce(D * D, reduction)

    @staticmethod
    def backward(xp, saved, gL):
        D, reduction = saved
        gP = (2 * spread(gL, D.shape, reduction)) * D
        return gP, -gP


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Mean squared error, the mean over all elements.

    Shapes: prediction and target alike, any shape. Bishop, *Pattern Recognition and Machine
    Learning* (2006), eq. 1.2, up to the factor.
    """
    prediction, target = _pair("mse_loss", prediction, target, reduction)
    return apply(MSE, prediction, target, reduction=reduction)


# ---------------------------------------------------------------- binary cross-entropy


@op(
    "bce_with_logits_loss",
    r"L = \operatorname{reduce} E, \quad E = \ln(1 + e^Z) - Z \odot T",
    {"Z": r"(\sigma(Z) - T) \odot \bar E", "T": r"-Z \odot \bar E"},
    letters={"reduction": "reduce"},
)
class BCEWithLogits(Op):
    r"""Binary cross-entropy of each element, from the logit Z, the value before the sigmoid.

    With :math:`P = \sigma(Z)`, :math:`-T \ln P - (1 - T) \ln(1 - P) = \ln(1 + e^Z) - Z T`. The
    logarithm of a probability is never taken, and the gradient is simply :math:`P - T`. Computed
    as :math:`\max(Z, 0) - Z T + \ln(1 + e^{-|Z|})`, which cannot overflow.
    """

    @staticmethod
    def forward(xp, save, Z, T, reduction):
        save(Z, T, reduction)
        return reduce(xp.maximum(Z, 0) - Z * T + xp.log1p(xp.exp(-xp.abs(Z))), reduction)

    @staticmethod
    def backward(xp, saved, gL):
        Z, T, reduction = saved
        gE = spread(gL, Z.shape, reduction)
        return (logistic(xp, Z) - T) * gE, -Z * gE


def bce_with_logits_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy from logits, the mean over all elements.

    Shapes: logits and targets alike; targets in [0, 1]. For a target strictly between 0 and 1 the
    smallest possible value is that target's own entropy, not 0. Bishop (2006), eq. 4.90.
    """
    prediction, target = _pair("bce_with_logits_loss", prediction, target, reduction)
    _check_range("bce_with_logits_loss", "target", target)
    return apply(BCEWithLogits, prediction, target, reduction=reduction)


@op(
    "binary_cross_entropy",
    r"L = \operatorname{reduce} E, \quad E = -T \odot \ln P - (1 - T) \odot \ln(1 - P)",
    {
        "P": r"\left(\frac{1 - T}{1 - P} - \frac{T}{P}\right) \odot \bar E",
        "T": r"(\ln(1 - P) - \ln P) \odot \bar E",
    },
    letters={"reduction": "reduce"},
)
class BinaryCrossEntropy(Op):
    """Binary cross-entropy of each element from probabilities P.

    Each logarithm is clamped at -100; where it is, its derivative is 0.
    """

    @staticmethod
    def forward(xp, save, P, T, reduction):
        A, B = clamped_log(xp, P), clamped_log(xp, 1 - P)
        save(P, T, A, B, reduction)
        return reduce(-T * A - (1 - T) * B, reduction)

    @staticmethod
    def backward(xp, saved, gL):
        P, T, A, B, reduction = saved
        gE = spread(gL, P.shape, reduction)
        smallest = float(xp.finfo(P.dtype).tiny)  # 1 / P must not overflow
        dA = xp.where(A > -100, 1 / xp.maximum(P, smallest), 0)
        dB = xp.where(B > -100, 1 / xp.maximum(1 - P, smallest), 0)
        return ((1 - T) * dB - T * dA) * gE, (B - A) * gE


def clamped_log(xp, P):
    """ln P, or -100 where it would be smaller: ln 0 would make the loss infinite."""
    return xp.where(P == 0, -100, xp.maximum(xp.log(xp.where(P == 0, 1, P)), -100))


def binary_cross_entropy(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy on probabilities, the mean over all elements: for reading.

    For training use ``bce_with_logits_loss``, which loses no digits near 0 and 1. Shapes:
    probabilities and targets alike, both in [0, 1]. Bishop (2006), eq. 4.90.
    """
    prediction, target = _pair("binary_cross_entropy", prediction, target, reduction)
    _check_range("binary_cross_entropy", "prediction", prediction)
    _check_range("binary_cross_entropy", "target", target)
    return apply(BinaryCrossEntropy, prediction, target, reduction=reduction)


# ---------------------------------------------------------------- classification


@op(
    "cross_entropy",
    r"L = \operatorname{reduce} E, \quad E_n = \ln \sum_k e^{Z_{nk}} - Z_{n t_n}",
    {"Z": r"\bar Z_{nk} = (P_{nk} - [k = t_n]) \bar E_n, \quad P_{nk} = \frac{e^{Z_{nk}}}{\sum_j e^{Z_{nj}}}"},
    letters={"reduction": "reduce"},
    indices=(1,),
)
class CrossEntropy(Op):
    """Cross-entropy of each row of logits Z (N, K) with its label t (N,): -ln softmax(Z)[t]."""

    @staticmethod
    def forward(xp, save, Z, t, reduction):
        shifted = Z - Z.max(axis=1, keepdims=True)
        log_P = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
        save(log_P, t, reduction)
        return reduce(-log_P[xp.arange(len(t)), t], reduction)

    @staticmethod
    def backward(xp, saved, gL):
        log_P, t, reduction = saved
        gE = spread(gL, t.shape, reduction)
        gZ = xp.exp(log_P)
        gZ[xp.arange(len(t)), t] -= 1
        return gZ * gE.reshape(-1, 1), None


def cross_entropy(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits with integer labels, the mean over rows.

    Shapes: logits (N, K), labels (N,) integers from 0 to K - 1; on a GPU the range is not checked here
    (it would have to be waited for), but by ``fit``. Bishop (2006), eq. 4.108.
    """
    logits = as_tensor(prediction, "cross_entropy")
    labels = as_tensor(checked_array(target, "cross_entropy") if isinstance(target, list) else target, "cross_entropy")
    _check_reduction("cross_entropy", reduction)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: logits {logits.shape} and labels {labels.shape}; expected (N, K) and (N,), with one N."
        )
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"cross_entropy: the labels are {labels.dtype}; expected integers, such as an array of int64.")
    if labels.backend is NUMPY and not (0 <= labels.data.min() and labels.data.max() < logits.shape[1]):
        raise RangeError(
            f"cross_entropy: labels from {labels.data.min()} to {labels.data.max()}, but the {logits.shape[1]} logits "
            f"stand for labels 0 to {logits.shape[1] - 1}."
        )
    return apply(CrossEntropy, logits, labels, reduction=reduction)


# ---------------------------------------------------------------- divergences


@op(
    "kl_divergence",
    r"L = \operatorname{reduce} E, \quad E_n = \sum_k P_{nk} \ln \frac{P_{nk}}{Q_{nk}}",
    {
        "P": r"\bar P_{nk} = \left(\ln \frac{P_{nk}}{Q_{nk}} + 1\right) \bar E_n",
        "Q": r"\bar Q_{nk} = -\frac{P_{nk}}{Q_{nk}} \bar E_n",
    },
    letters={"reduction": "reduce"},
)
class KLDivergence(Op):
    """Kullback-Leibler divergence of each row; 0 ln 0 is 0, with derivative taken as 0."""

    @staticmethod
    def forward(xp, save, P, Q, reduction):
        Q1 = xp.where(Q == 0, 1, Q)
        ratio = xp.log(xp.where(P > 0, P, Q1) / Q1)  # 0 where P is 0
        ratio = xp.where((Q == 0) & (P > 0), math.inf, ratio)
        save(P, Q1, ratio, reduction)
        return reduce((P * ratio).sum(axis=1), reduction)

    @staticmethod
    def backward(xp, saved, gL):
        P, Q1, ratio, reduction = saved
        gE = spread(gL, P.shape[:1], reduction).reshape(-1, 1)
        return xp.where(P > 0, ratio + 1, 0) * gE, xp.where(ratio == math.inf, -math.inf, -P / Q1) * gE


def kl_divergence(p: Any, q: Any, reduction: str = "mean") -> Tensor:
    r"""Kullback-Leibler divergence :math:`KL(p \| q)` of distributions in rows, the mean over rows.

    Shapes: p and q (N, K), each row summing to 1. It is no similarity and no distance: it is 0 for
    equal rows, grows as they differ, and :math:`KL(p \| q) \ne KL(q \| p)`. Infinite where q is 0
    and p is not. Bishop (2006), eq. 1.113.
    """
    p, q = _pair("kl_divergence", p, q, reduction, names=("p", "q"))
    _check_rank_2("kl_divergence", "p", p)
    for name, rows in (("p", p), ("q", q)):
        _check_range("kl_divergence", name, rows)
        if rows.backend is NUMPY and abs(rows.data.sum(axis=1) - 1).max() > 1e-3:
            sums = rows.data.sum(axis=1)
            raise RangeError(
                f"kl_divergence: the rows of {name} sum to {sums.min():.4g} .. {sums.max():.4g}; expected 1. Use softmax."
            )
    return apply(KLDivergence, p, q, reduction=reduction)


@op(
    "gaussian_kl",
    r"L = \operatorname{reduce} E, \quad E_n = \tfrac12 \sum_j (e^{V_{nj}} + M_{nj}^2 - 1 - V_{nj})",
    {"M": r"\bar M_{nj} = M_{nj} \bar E_n", "V": r"\bar V_{nj} = \tfrac12 (e^{V_{nj}} - 1) \bar E_n"},
    letters={"reduction": "reduce"},
)
class GaussianKL(Op):
    """KL of N(M, e**V) against N(0, 1), summed over the code; V is the logarithm of the variance."""

    @staticmethod
    def forward(xp, save, M, V, reduction):
        variance = xp.exp(V)
        save(M, variance, reduction)
        return reduce(0.5 * (variance + M * M - 1 - V).sum(axis=1), reduction)

    @staticmethod
    def backward(xp, saved, gL):
        M, variance, reduction = saved
        gE = spread(gL, M.shape[:1], reduction).reshape(-1, 1)
        return M * gE, 0.5 * (variance - 1) * gE


def gaussian_kl(mu: Any, log_var: Any, reduction: str = "mean") -> Tensor:
    r"""KL of :math:`N(\mu, \sigma^2)` against N(0, 1), summed over the code, the mean over rows.

    Shapes: mu and log_var (N, J), with ``log_var`` :math:`= \ln \sigma^2`. In nats per row.
    Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix B.
    """
    mu, log_var = _pair("gaussian_kl", mu, log_var, reduction, names=("mu", "log_var"))
    _check_rank_2("gaussian_kl", "mu", mu)
    return apply(GaussianKL, mu, log_var, reduction=reduction)


# ---------------------------------------------------------------- checks


def _pair(name, prediction, target, reduction, names=("prediction", "target")):
    _check_reduction(name, reduction)
    prediction = as_tensor(prediction, name)
    if prediction.dtype not in FLOATS:
        prediction = prediction.astype(FLOATS[0])
    if not isinstance(target, Tensor):  # arrays, lists and numbers take the prediction's type
        target = as_tensor(checked_array(target, name).astype(prediction.dtype), name)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{name}: {names[0]} has shape {prediction.shape}, {names[1]} {target.shape}; they must be equal. "
            "Losses do not broadcast: reshape one of them."
        )
    return prediction, target


def _check_reduction(name, reduction):
    if reduction not in REDUCTIONS:
        lookup(f"reduction (in {name})", reduction, dict.fromkeys(REDUCTIONS))


def _check_rank_2(name, which, x):
    if x.ndim != 2:
        raise ShapeError(f"{name}: {which} has shape {x.shape}; expected rank 2, one row per example.")


def _check_range(name, which, x):
    # on a GPU the answer would have to be waited for, so there the check is left to `fit`
    if x.backend is NUMPY and (x.data.min() < -1e-6 or x.data.max() > 1 + 1e-6):
        raise RangeError(
            f"{name}: the {which} ranges from {x.data.min():.8g} to {x.data.max():.8g}; expected values in [0, 1]. "
            "Divide pixels by 255, or use mse_loss."
        )


# ---------------------------------------------------------------- losses by name, for fit

# (model, x, y) -> scalar Tensor. The targets were checked once for the whole data set, so the
# operations are applied without the checks of the public functions.
LOSSES = {
    "mse": lambda model, x, y: apply(MSE, *same_shape(model(x), y), reduction="mean"),
    "bce": lambda model, x, y: apply(BCEWithLogits, *same_shape(model.before_sigmoid(x), y), reduction="mean"),
    "cross_entropy": lambda model, x, y: cross_entropy(model(x), y),
}


def same_shape(prediction, target):
    """Both, if the model's output can be compared with its target."""
    if prediction.shape != target.shape:
        raise ShapeError(
            f"fit: the model's output has shape {prediction.shape}, its target {target.shape}; they must be equal. "
            "End the model with a Reshape(...) to the shape of one example, or give flat data."
        )
    return prediction, target


def loss_function(loss):
    """A loss by name, or a function (prediction, target) -> scalar Tensor."""
    if callable(loss):
        return lambda model, x, y: loss(model(x), y)
    return lookup("loss", loss, LOSSES)
