r"""The variational autoencoder: a code with a distribution, so that new examples can be drawn.

The encoder gives a normal distribution of codes for each x, and the decoder a distribution of x for each code:

.. math:: q(z|x) = N(\mu(x), \sigma^2(x)), \qquad p(z) = N(0, 1), \qquad p(x|z)

What is minimised is the negative of the evidence lower bound (ELBO), in nats per example:

.. math:: -\ln p(x) \; \le \; E_{q(z|x)}[-\ln p(x|z)] + KL(q(z|x) \,\|\, p(z))

The first part is the reconstruction: how well x is told from its code. The second is how much the code tells of x.
The gradient goes through the sample (the reparameterisation trick), as the noise is drawn apart from it:

.. math:: z = \mu + e^{\frac12 \ln \sigma^2} \odot \epsilon, \qquad \epsilon \sim N(0, 1)

Kingma and Welling, "Auto-encoding variational Bayes" (2014), eq. 7 and appendix B; with a weight :math:`\beta` before KL:
Higgins et al., "beta-VAE" (2017), eq. 4.
"""

import math
from collections.abc import Sequence
from typing import Any

from ..callbacks import Callback
from ..context import draw, own
from ..errors import DtypeError, RangeError, ShapeError, brief, known_name, require_integer, require_number
from ..losses import bce_with_logits_loss, gaussian_kl, mse_loss
from ..metrics import mean_baseline
from ..nn.layers import Dense
from ..nn.module import Module
from ..nn.sequential import Sequential, flat, through
from ..random import Generator
from ..tensor import Tensor, wrap
from .active_units import ACTIVE, WatchActiveUnits, active_units
from .autoencoder import Autoencoder
from .likelihood import elbo, log_likelihood

EXAMPLES, DRAWN = 500, 50  # for the report of a run, which should not take long
LOSS_OF = {"bernoulli": "bce", "gaussian": "mse"}  # what -ln p(x|z) is computed from


class VariationalAutoencoder(Autoencoder):
    r"""A VAE with normal codes of J numbers.

    Shapes: (N, ...) -> code (N, J) -> (N, ...), the shape of the input.

    Parameters
    ----------
    encoder : Module
        (N, ...) -> (N, H), what ``mu`` and ``log_var`` share. A convolutional one ends with ``Flatten()``.
    mu, log_var : Module
        (N, H) -> (N, J): the mean, and the logarithm of the variance :math:`\ln \sigma^2`. Each is, or ends with, a
        ``Dense`` without activation.
    decoder : Module
        (N, J) -> (N, ...). For a Bernoulli likelihood it ends in a sigmoid.
    beta : float
        Weight of the KL, at least 0. With 1 the negative ELBO is minimised. A callback may change it in the course of ``fit``,
        such as to let it rise to 1: then make the model with the beta that it begins with.
    likelihood : str
        ``"bernoulli"``: data in [0, 1], :math:`-\ln p(x|z)` is the binary cross-entropy. (For values between 0 and 1 that is
        the usual choice, though no density: its smallest value is the data's own entropy.) ``"gaussian"``: any numbers,
        :math:`\frac{1}{2 s^2} \|x - \hat x\|^2 + \frac D2 \ln(2 \pi s^2)`, with D numbers per example.
    std : float
        The Gaussian's s, in units of the data: about the error that does not matter. Only for ``"gaussian"``, and needed there.

    ``fit`` records ``reconstruction`` and ``kl``, in nats per example (sum over its numbers and over the code, mean over examples),
    and ``loss``, their sum: the negative ELBO. With another beta a third part ``extra_kl``, (beta - 1) KL, is in the sum;
    the negative ELBO is still reconstruction + kl. Held-out data are treated alike, their z is drawn too.

    In training the reconstruction is made from a drawn z, in evaluation from the mean.
    """

    prior = "N(0, 1)"
    watches_for_collapse = True

    def __init__(
        self,
        encoder: Module,
        mu: Module,
        log_var: Module,
        decoder: Module,
        beta: float = 1.0,
        likelihood: str = "bernoulli",
        std: float | None = None,
    ) -> None:
        super().__init__(encoder, decoder)
        self.code_size = head_size("mu", mu)
        if head_size("log_var", log_var) != self.code_size:
            raise ShapeError(
                f"VariationalAutoencoder: mu gives {self.code_size} numbers, log_var {head_size('log_var', log_var)}; expected "
                "as many: one mean and one variance for each number of the code."
            )
        self.mu, self.log_var = mu, log_var
        self.beta = require_number("VariationalAutoencoder", "beta", beta, at_least=0)
        self.likelihood = known_name("likelihood", likelihood, LOSS_OF)
        if self.likelihood == "bernoulli" and not decoder.ends_in_sigmoid():
            raise RangeError(
                "VariationalAutoencoder: a Bernoulli likelihood needs probabilities, but the decoder does not end in a sigmoid. "
                "End it with activation='sigmoid', or give likelihood='gaussian' and its std."
            )
        if (std is None) != (self.likelihood == "bernoulli"):
            cure = "Leave it out: a Bernoulli distribution has none." if std is not None else (
                "Give one, such as 0.1: the size of the errors that do not matter, in units of the data."
            )  # fmt: skip
            raise RangeError(f"VariationalAutoencoder: likelihood='{self.likelihood}' was given with std={std}. {cure}")
        self.std = None if std is None else require_number("VariationalAutoencoder", "std", std, above=0)

    @classmethod
    def from_parts(cls, encoder: Sequence[Module], decoder: Sequence[Module], **settings: Any) -> Any:
        """The model made of the layers of an autoencoder: the last one of the encoder is ``mu``, and another like it ``log_var``."""
        *shared, mu = encoder
        return cls(Sequential(*shared), mu, type(mu).from_config(**mu.config()), Sequential(*decoder), **settings)

    # ------------------------------------------------------------ the code, and what is made of it

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the logarithm of the variance of q(z|x), (N, J) each."""
        h = self.encoder(x)
        return self.mu(h), self.log_var(h)

    def draw(self, mu: Tensor, log_var: Tensor) -> Tensor:
        """z = mu + sigma eps. Training and evaluation have noise of their own, so that to look changes nothing."""
        noise = draw("normal", mu.shape, "noise" if self.training else "sample", mu.backend)
        return mu + (0.5 * log_var).exp() * own(wrap(noise.astype(mu.dtype), mu.backend))

    def code(self, x: Tensor) -> Tensor:
        """The mean of q(z|x)."""
        return through([self.encoder, self.mu], x)

    def encode(self, x: Any, sample: bool = False) -> Any:
        """The code of x (N, ...): the mean (N, J), or with ``sample`` one drawn from q(z|x), by the current generator
        (``ta.manual_seed``). Arrays and Tensors as in ``Autoencoder.encode``."""
        return self._map((lambda x: self.draw(*self.posterior(x))) if sample else self.code, x, "encode")

    def forward(self, x: Any) -> Tensor:
        return self.decoder(self._to_decode(x))

    def before_sigmoid(self, x: Any) -> Tensor:
        return self.decoder.before_sigmoid(self._to_decode(x))

    def _to_decode(self, x):
        mu, log_var = self.posterior(x)
        return self.draw(mu, log_var) if self.training else mu

    def sample(self, n: int, seed: int = 0) -> Any:
        """n new examples (n, ...), on the model's backend: codes from the prior N(0, 1), decoded. They are the decoder's
        means, as is usual: no noise of p(x|z) is added."""
        n = require_integer("sample", "n", n, at_least=1)
        seed = require_integer("sample", "seed", seed, at_least=0)
        return self.decode(Generator(seed).normal((n, self.code_size), "sample", xp=self.backend.xp))

    # ------------------------------------------------------------ what is minimised

    @property
    def default_loss(self) -> str:
        return LOSS_OF[self.likelihood]

    @property
    def objective_name(self) -> str:  # type: ignore[override]
        if self.beta == 1:
            return "negative ELBO, nats per example"
        return f"reconstruction + {self.beta:g} KL, nats per example"

    def objective(self, x, y, loss):
        mu, log_var = self.posterior(x)
        terms = {
            "reconstruction": self.nats(loss(self.decoder, self.draw(mu, log_var), y), math.prod(y.shape[1:])),
            "kl": gaussian_kl(mu, log_var),
        }
        return terms if self.beta == 1 else {**terms, "extra_kl": (self.beta - 1) * terms["kl"]}

    def nats(self, mean, D):
        r"""-ln p(x|z) of an example with D numbers, from the mean over them of the cross-entropy or the squared error."""
        if self.likelihood == "bernoulli":
            return D * mean
        return D / (2 * self.std**2) * mean + D / 2 * math.log(2 * math.pi * self.std**2)

    def log_p(self, x: Tensor, z: Tensor) -> Tensor:
        """ln p(x|z) of each example, (N,), in nats."""
        if self.likelihood == "bernoulli":
            each = bce_with_logits_loss(self.decoder.before_sigmoid(z), x, "none")
        else:
            each = mse_loss(self.decoder(z), x, "none")
        each = each.reshape(x.shape[0], -1)
        return -self.nats(each.mean(axis=1), each.shape[1])

    def check_loss(self, name: Any) -> None:
        """Refuse a loss that is not the likelihood's."""
        if name != self.default_loss:
            given = f"'{name}'" if isinstance(name, str) else brief(name)
            other = "give likelihood='gaussian' and a std" if name == "mse" else "give likelihood='bernoulli'"
            cure = f", or {other} when the model is made" if name in LOSS_OF.values() else ""
            raise RangeError(
                f"fit: loss {given} was given, but the decoder of this VariationalAutoencoder is {self.likelihood.title()}: its "
                f"-ln p(x|z) is computed from '{self.default_loss}', and with another loss the sum would be no ELBO. Leave loss "
                f"out{cure}."
            )

    # ------------------------------------------------------------ how good it is

    def elbo(self, x: Any, samples: int = 1, seed: int = 0) -> dict[str, float]:
        """``reconstruction``, ``kl`` and ``negative_elbo``, their sum, in nats per example; see ``likelihood.elbo``."""
        return elbo(self, x, samples, seed)

    def log_likelihood(self, x: Any, samples: int = 100, seed: int = 0) -> float:
        """An estimate of ln p(x), in nats, mean over examples; see ``likelihood.log_likelihood``."""
        return log_likelihood(self, x, samples, seed)

    def active_units(self, x: Any, threshold: float = ACTIVE) -> int:
        """How many of the J numbers of the code tell anything about x; see ``active_units.active_units``."""
        return active_units(self, x, threshold)

    def measured(self, x: Any) -> dict[str, float | str]:
        parts, few = self.elbo(x), x[:EXAMPLES]
        return {
            "negative ELBO, nats per example": parts["negative_elbo"],
            "  of it reconstruction": parts["reconstruction"],
            "  of it KL": parts["kl"],
            "active numbers of the code, whose mean varies over examples": f"{self.active_units(x)} of {self.code_size}",
            f"ln p(x), estimated with {DRAWN} codes for each of {len(few):,} examples": self.log_likelihood(few, DRAWN),
        }

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        found = self.measured(x_test)
        if self.beta == 1:  # then the report shows these parts already, as what was minimised
            found = dict(list(found.items())[3:])
        without = self.nats(mean_baseline(x_train, x_test, self.default_loss), math.prod(x_test.shape[1:]))
        return {**found, "-ln p(x) by the mean example, without a code": without}

    def watchers(self) -> list[Callback]:
        return [WatchActiveUnits()]

    # ------------------------------------------------------------ as a module

    def path(self) -> list[Module]:
        return [self.encoder, self.mu, self.decoder]

    def joined(self):
        return Module.joined(self)

    def config(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "mu": self.mu, "log_var": self.log_var, "decoder": self.decoder,
                "beta": self.beta, "likelihood": self.likelihood, "std": self.std}  # fmt: skip


def head_size(name, head):
    """How many numbers ``mu`` or ``log_var`` gives; it must end with a Dense that can give any number."""
    if not isinstance(head, Module):
        raise DtypeError(
            f"VariationalAutoencoder: {name} is {brief(head)}, a {type(head).__name__}; expected a Module, such as Dense(400, 20)."
        )
    last = (flat([head]) or [head])[-1]
    if not isinstance(last, Dense):
        raise ShapeError(
            f"VariationalAutoencoder: {name} ends with {last.label()}; expected a Dense, for codes are rows (N, J). After "
            "convolutions: Flatten() at the end of the encoder, Dense(...) as mu and log_var, Dense(...), Reshape(...) in the decoder."
        )
    if last.activation is not None:
        raise RangeError(
            f"VariationalAutoencoder: {name} has the activation '{last.activation}', but a mean and the logarithm of a variance "
            "may be any number. Leave the activation out."
        )
    return last.out_features
