"""Where normal ends: a threshold for scores that keeps a promise about false alarms."""

import math
from typing import Any

import numpy as np

from .errors import warn


def promised_threshold(scores: Any, share: float) -> float:
    """The largest threshold below which a new normal row falls with a probability of at most ``share``.

    Of m scores and a new one, of rows that were all drawn alike, each is equally likely to be the k-th smallest: so P(new <
    k-th of the m) <= k / (m + 1), whatever the scores' distribution. This is conformal prediction, on average over draws of
    the m rows; Vovk, Gammerman and Shafer, "Algorithmic learning in a random world" (2005).

    Parameters
    ----------
    scores : array (M,)
        Of normal rows that the detector was not fitted on; higher is more normal.
    share : float
        Where M is too small for it, a warning says what can be promised, and the threshold is the lowest score.
    """
    k = math.floor(share * (len(scores) + 1) + 1e-9)  # 29 of 100 is not to become 28 by a rounding
    if k == 0:
        warn(
            f"AnomalyDetector: {len(scores)} held-out rows cannot promise at most {share:.3g} false alarms, only "
            f"{1 / (len(scores) + 1):.3g}: the threshold is their lowest score. Hold out at least "
            f"{math.ceil(1 / share) - 1} rows, or allow more false alarms.",
            UserWarning,
        )
    return just_below(np.sort(scores)[max(k, 1) - 1])


def just_below(score: Any) -> float:
    """A hair lower, so that a row with just this score is not an anomaly, however its score is rounded."""
    return float(score - 1e-9 * abs(score))
