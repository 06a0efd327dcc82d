r"""Which numbers of a variational autoencoder's code tell anything, and a warning when hardly any does.

A unit whose mean is the same for every example is not used: its q(z|x) has become the prior. It is active if its mean
varies over the data, :math:`\operatorname{Var}_x(\mu_j(x)) > 0.01`; Burda, Grosse and Salakhutdinov (2016), section 5.2 and
appendix C.

When (nearly) all units are inactive, the decoder does without the code, and the KL is close to 0. That is called
posterior collapse: Bowman et al., "Generating sentences from a continuous space" (2016).
"""

from typing import Any

import numpy as np

from ..callbacks import Callback
from ..errors import RangeError, require_number, warn

ACTIVE = 0.01  # variance of a unit's mean over the data
HARDLY_ANY = 0.1  # share of the units
LOOKED_AT = 1024  # examples, at the end of a training


class PosteriorCollapseWarning(UserWarning):
    """Hardly any unit of the code tells anything about the data."""


def unit_variances(model: Any, x: Any) -> Any:
    """Var over x (N, ...) of each number of the code, the mean of q(z|x): float64 (J,), on the host."""
    means = model.backend.to_host(model.encode(x)).astype(np.float64)
    if len(means) < 2:
        raise RangeError(
            "active_units: one example was given; expected several, for what counts is how the code varies."
        )
    return means.var(axis=0)


def active_units(model: Any, x: Any, threshold: float = ACTIVE) -> int:
    """How many numbers of the code have a mean that varies by more than ``threshold`` (a variance) over x (N, ...)."""
    threshold = require_number("active_units", "threshold", threshold, at_least=0)
    return int((unit_variances(model, x) > threshold).sum())


class WatchActiveUnits(Callback):
    """Looks at the end of a training whether the code is used, and warns if hardly any of it is."""

    def on_train_end(self) -> None:
        trainer = self.trainer
        if not trainer.history.records or len(trainer.x) < 2:
            return
        model = trainer.model
        n = len(trainer.x)
        spread_evenly = np.arange(min(LOOKED_AT, n)) * n // min(LOOKED_AT, n)  # the data may be sorted
        x, _ = trainer.batch(trainer.x, trainer.y, spread_evenly)
        active = active_units(model, x.data)
        if active > HARDLY_ANY * model.code_size:
            return
        last = trainer.history.records[-1]
        spread = "" if model.std is None else f", a smaller std of the decoder (it is {model.std:g})"
        warn(
            f"after epoch {trainer.epoch} {active} of the {model.code_size} numbers of the code are active: the mean of hardly any "
            f"varies over the data (variance > {ACTIVE}), and the KL is {last['kl']:.3g} nats per example. The posterior has "
            f"collapsed to the prior: the decoder does without the code. Try a smaller beta (it is {model.beta:g}){spread}, more "
            "epochs, another learning rate, or beta=0 and a callback that lets model.beta rise during the first epochs.",
            PosteriorCollapseWarning,
        )
