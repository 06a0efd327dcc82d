r"""The adversarial autoencoder: a code that looks like draws from a chosen distribution, here N(0, 1).

A second network, the discriminator D, learns to tell draws p from the prior from codes z = f(x); the encoder learns to
deceive it. It is a game for two, as in generative adversarial networks, but played on the code:

.. math:: \min_{f, g} \; L_{rec}(g(z), x) - \lambda \ln D(z), \qquad
    \min_D \; -\tfrac12 \ln D(p) - \tfrac12 \ln(1 - D(z))

When D can do no better than guess, it says 1/2, its loss is ln 2 = 0.693, and codes are distributed as the prior: then
the decoder makes examples of random numbers. The encoder minimises :math:`-\ln D(z)` rather than :math:`\ln(1 - D(z))`: the
"non-saturating" form, whose gradient does not vanish while D still tells codes easily.

Both are minimised by one step of one optimizer, on one tape: the sum of the terms. Each player's term must then leave the
other alone. The discriminator's gets ``z.detach()``; the encoder's is recorded while the discriminator's weights are held
constant. So the players move *at once*, from the same weights, where the papers let them move in turn: the discriminator
first, then the encoder against the new one. For small steps there is little between the two.

Makhzani, Shlens, Jaitly, Goodfellow and Frey, "Adversarial autoencoders" (2015), section 2; Goodfellow et al., "Generative
adversarial nets" (2014), section 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..callbacks import Callback
from ..context import draw, own
from ..errors import DtypeError, ShapeError, brief, require_integer, require_number, warn
from ..functional import softplus
from ..nn import Dense, Module, Sequential
from ..nn.constant import held_constant
from ..random import Generator
from ..tensor import Tensor, wrap
from .autoencoder import Autoencoder

LOOKED_AT = 2048  # training examples whose codes are compared with the prior
TOLD = 0.9  # share of codes and draws told apart, from which on the prior is not met


class PriorWarning(UserWarning):
    """The codes are not distributed as the prior: what is decoded from draws of it is like no data."""


class AdversarialAutoencoder(Autoencoder):
    """An autoencoder whose codes a discriminator cannot tell from normal random numbers.

    Shapes: (N, ...) -> code (N, J) -> (N, ...).

    Parameters
    ----------
    encoder, decoder : Module
    discriminator : Module
        (N, J) -> (N, 1), ending in a sigmoid: the probability that its input was drawn from the prior.
    strength : float
        Weight of the encoder's term beside the reconstruction's, which is a mean over elements and so a small number.

    Terms of the loss, means over the batch: ``reconstruction``; ``discriminator``, its binary cross-entropy, ln 2 where it
    guesses; ``deception``, -ln D(z) times ``strength``. As in every game their sum need not fall while all goes well.
    ``fit`` adds to the history, each on up to 2,048 of its examples: ``discriminator_accuracy``, 0.5 where it guesses, and
    ``code_mean`` and ``code_variance``, of the mean and the variance of each number of the code that which is farthest from 0
    and from 1.
    """

    prior = "N(0, 1)"
    objective_name = "the sum of both players' terms"

    def __init__(self, encoder: Module, decoder: Module, discriminator: Module, strength: float = 0.01) -> None:
        super().__init__(encoder, decoder)
        if not isinstance(discriminator, Module):
            raise DtypeError(
                f"AdversarialAutoencoder: the discriminator is {brief(discriminator)}, a {type(discriminator).__name__}; "
                "expected a Module."
            )
        if not discriminator.ends_in_sigmoid():
            raise ShapeError(
                f"AdversarialAutoencoder: the discriminator {discriminator!r} does not end in a sigmoid; expected a model from "
                "(N, J) to one probability, such as Sequential(Dense(J, 64, 'relu'), Dense(64, 1, 'sigmoid'))."
            )
        self.discriminator = discriminator
        self.strength = require_number("AdversarialAutoencoder", "strength", strength, at_least=0)

    @classmethod
    def from_parts(
        cls, encoder: Sequence[Module], decoder: Sequence[Module], hidden: Sequence[int] = (64, 64), **settings: Any
    ) -> "AdversarialAutoencoder":
        """From layers, with a dense discriminator whose hidden layers have these widths."""
        if not encoder or not isinstance(encoder[-1], Dense):
            raise ShapeError("AdversarialAutoencoder: the encoder's last layer must be Dense, for a code (N, J).")
        widths = [encoder[-1].out_features, *hidden]
        layers = [Dense(m, n, "relu") for m, n in zip(widths, widths[1:])]
        discriminator = Sequential(*layers, Dense(widths[-1], 1, "sigmoid"))
        return cls(Sequential(*encoder), Sequential(*decoder), discriminator, **settings)

    def objective(self, x: Tensor, y: Tensor, loss: Any) -> dict[str, Tensor]:
        """What both players minimise; with the logit s before D's sigmoid, -ln D = softplus(-s), -ln(1 - D) = softplus(s)."""
        z = self.encoder(x)
        real, made = self._score(self._prior(z)), self._score(z.detach())  # made: no gradient to the encoder
        with held_constant(self.discriminator):
            deceives = self._score(z)  # no gradient to the discriminator
        return {
            "reconstruction": loss(self.decoder, z, y),
            "discriminator": 0.5 * softplus(-real).mean() + 0.5 * softplus(made).mean(),
            "deception": self.strength * softplus(-deceives).mean(),
        }

    def _prior(self, z):
        """Draws from the prior, as many as there are codes: new ones in training, always the same in evaluation."""
        if z.ndim != 2:
            raise ShapeError(
                f"AdversarialAutoencoder: the code has shape {z.shape}; expected (N, J). End the encoder with Flatten and Dense."
            )
        if self.training:
            drawn = draw("normal", z.shape, "sample", z.backend)
        else:
            drawn = Generator(0).normal(z.shape, "sample", 0, z.backend.xp)
        return own(wrap(drawn.astype(z.dtype), z.backend))

    # ------------------------------------------------------------ the prior

    def sample(self, n: int, seed: int = 0) -> Any:
        """Made-up examples (n, ...): codes drawn from N(0, 1), decoded."""
        n, seed = require_integer("sample", "n", n, at_least=1), require_integer("sample", "seed", seed, at_least=0)
        return self.decode(Generator(seed).normal((n, self.code_size), "sample", xp=self.backend.xp))

    def prior_match(self, x: Any) -> dict[str, Any]:
        """How well the codes of x (N, ...) match the prior N(0, 1).

        Returns
        -------
        dict
            ``mean`` and ``variance`` of each number of the code, lists of J, 0 and 1 for the prior; ``correlation``, the
            largest between two numbers of the code, without its sign, 0 for the prior; ``discriminator_accuracy``, the share
            that it tells right of the codes and of as many draws: 0.5, if it cannot tell them.
        """
        z = wrap(self.encode(x), self.backend)
        with self.evaluating():
            right = [self.discriminator(self._prior(z)).data > 0.5, self.discriminator(z).data <= 0.5]
        told = float(np.mean([self.backend.to_host(flags).mean() for flags in right]))
        codes = self.backend.to_host(z.data).astype(np.float64)
        centred = codes - codes.mean(axis=0)
        covariance = centred.T @ centred / len(codes)
        spread = np.sqrt(np.maximum(np.diag(covariance), 1e-30))
        correlation = np.abs(covariance / np.outer(spread, spread) - np.eye(len(spread)))
        return {
            "mean": codes.mean(axis=0).tolist(),
            "variance": np.diag(covariance).tolist(),
            "correlation": float(correlation.max()),
            "discriminator_accuracy": told,
        }

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        match = self.prior_match(x_test)
        means, variances = match["mean"], match["variance"]
        return {
            "means of the held-out codes (prior: 0)": f"{min(means):.2f} to {max(means):.2f}",
            "their variances (prior: 1)": f"{min(variances):.2f} to {max(variances):.2f}",
            "largest correlation between two of them (prior: 0)": match["correlation"],
            "codes and draws that the discriminator tells right (guessing: 0.5)": match["discriminator_accuracy"],
        }

    @property
    def code_size(self) -> int:
        """J: how many numbers the discriminator takes."""
        first = next((part for part in self.discriminator.modules() if isinstance(part, Dense)), None)
        if first is None:
            raise ShapeError(
                f"{type(self).__name__}: how many numbers a code has cannot be seen in {self.discriminator!r}, which has no Dense layer. "
                "Draw codes yourself, and call decode."
            )
        return first.in_features

    def _score(self, z):
        """The logit of each code, before D's sigmoid: (N, 1)."""
        score = self.discriminator.before_sigmoid(z)
        if score.shape != (len(z), 1):
            raise ShapeError(
                f"AdversarialAutoencoder: of codes {z.shape} the discriminator makes {score.shape}; expected one probability for "
                f"each, {(len(z), 1)}. End it with Dense(..., 1, 'sigmoid')."
            )
        return score

    # ------------------------------------------------------------ training and files

    def watchers(self) -> list[Callback]:
        return [PriorWatch(self)]

    def config(self) -> dict[str, Any]:
        return super().config() | {"discriminator": self.discriminator, "strength": self.strength}


class PriorWatch(Callback):
    """Notes after each epoch of ``fit`` how well the codes match the prior, and warns if they do not in the end."""

    def __init__(self, model: AdversarialAutoencoder) -> None:
        self.model = model

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        match = self.model.prior_match(self.trainer.examples(LOOKED_AT))
        self.told = match["discriminator_accuracy"]
        self.trainer.note(
            logs,
            discriminator_accuracy=self.told,
            code_mean=max(match["mean"], key=abs),
            code_variance=max(match["variance"], key=lambda v: abs(v - 1)),
        )

    def on_train_end(self) -> None:
        if getattr(self, "told", 0.5) > TOLD:
            warn(
                f"the discriminator tells {self.told:.0%} of codes and draws from the prior apart: the codes are not distributed as "
                "N(0, 1), and samples will be like no data. Start anew with a larger strength, or train for longer.",
                PriorWarning,
            )
