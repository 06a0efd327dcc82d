r"""How probable data are under a variational autoencoder: its lower bound, and a tighter one.

With codes :math:`z_1, \dots, z_k` drawn from the encoder's q(z|x),

.. math:: \ln p(x) \; \ge \; E \ln \frac1k \sum_{i=1}^k w_i \; \ge \; \text{ELBO},
          \qquad w_i = \frac{p(x|z_i) \, p(z_i)}{q(z_i|x)}

The middle is the importance-weighted bound of Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), eq. 8.
It grows with k, towards :math:`\ln p(x)`; with k = 1 it is the ELBO.
"""

import math
from typing import Any

from ..context import generator, use
from ..data import as_data, check_values
from ..errors import require_integer
from ..losses import gaussian_kl
from ..nn.module import model_input
from ..random import Generator
from ..tensor import wrap

AT_ONCE = 1 << 22  # numbers of drawn reconstructions that are looked at together


def elbo(model: Any, x: Any, samples: int = 1, seed: int = 0) -> dict[str, float]:
    """The two parts of the negative ELBO on data, in nats per example: sums over numbers and code, means over examples.

    Parameters
    ----------
    model : VariationalAutoencoder
    x : array (N, ...)
    samples : int
        Codes drawn for each example; one, as is usual, is exact enough for some thousand examples.
    seed : int
        For these draws.

    Returns
    -------
    dict
        ``reconstruction``, ``kl`` and ``negative_elbo``, their sum. Without beta: it weighs what is minimised, not this.

    Raises
    ------
    RangeError
        NaN or infinity among the data; or a Bernoulli decoder, and values outside of [0, 1].
    """
    samples = require_integer("elbo", "samples", samples, at_least=1)
    reconstruction = kl = 0.0
    count = 0
    for batch in batches_of("elbo", model, x, samples, seed):
        mu, log_var = model.posterior(batch)
        kl += gaussian_kl(mu, log_var, "sum").item()
        repeated = [repeat(tensor, samples) for tensor in (batch, mu, log_var)]
        given = model.log_p(repeated[0], model.draw(*repeated[1:]))
        reconstruction -= given.astype("float64").sum().item() / samples
        count += len(batch.data)
    reconstruction, kl = reconstruction / count, kl / count
    return {"reconstruction": reconstruction, "kl": kl, "negative_elbo": reconstruction + kl}


def log_likelihood(model: Any, x: Any, samples: int = 100, seed: int = 0) -> float:
    """The importance-weighted estimate of ln p(x), in nats, mean over examples. It is a lower bound on average.

    Parameters
    ----------
    model : VariationalAutoencoder
    x : array (N, ...)
    samples : int
        k, codes drawn for each example. The paper takes 5,000, which is slow; 100 are within a nat or so for digits.
    seed : int
        For these draws.

    Raises as ``elbo``.
    """
    samples = require_integer("log_likelihood", "samples", samples, at_least=1)
    total, count = 0.0, 0
    for batch in batches_of("log_likelihood", model, x, samples, seed):
        log_w = log_weights(model, batch, samples)
        total += float((log_mean_exp(model.backend.xp, log_w)).sum())
        count += len(batch.data)
    return total / count


def log_weights(model, x, samples):
    r"""ln p(x|z) + ln p(z) - ln q(z|x) for ``samples`` codes of each example, float64 (N, samples).

    Both normal densities have :math:`(2\pi)^{-J/2}`, which cancels. With :math:`\epsilon = (z - \mu) / \sigma`:
    :math:`\ln p(z) - \ln q(z|x) = \frac12 \sum_j (\epsilon_j^2 + \ln \sigma_j^2 - z_j^2)`.
    """
    mu, log_var = [repeat(tensor, samples) for tensor in model.posterior(x)]
    z = model.draw(mu, log_var)
    eps = (z - mu) / (0.5 * log_var).exp()
    ratio = 0.5 * (eps**2 + log_var - z**2).sum(axis=1)
    log_w = model.log_p(repeat(x, samples), z).data.astype("float64") + ratio.data.astype("float64")
    return log_w.reshape(-1, samples)


def log_mean_exp(xp, log_w):
    r""":math:`\ln \frac1k \sum_i e^{a_i}` of each row, with the largest taken out, so that nothing overflows."""
    largest = log_w.max(axis=1, keepdims=True)
    return xp.log(xp.exp(log_w - largest).mean(axis=1)) + largest[:, 0]


def batches_of(name, model, x, samples, seed):
    """The data as Tensors, so few at a time that ``samples`` reconstructions of each fit, in evaluation mode.

    The codes that are drawn follow ``seed``.
    """
    chance = Generator(require_integer(name, "seed", seed, at_least=0))
    x = as_data(name, x)
    check_values(name, x, unit_interval=model.likelihood == "bernoulli")
    size = max(1, min(1024, AT_ONCE // (samples * math.prod(x.shape[1:]))))
    with model.evaluating(), use(generator, chance):
        for start in range(0, len(x), size):
            yield model_input(model, x[start : start + size], name)


def repeat(tensor, times):
    """Each example ``times`` times in a row: (N, ...) -> (N times, ...)."""
    return tensor if times == 1 else wrap(tensor.data.repeat(times, axis=0), tensor.backend)
