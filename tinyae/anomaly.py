"""Anomalies: rows that an autoencoder, trained on what is normal, does not know how to say again.

Scores first: every row gets a number, higher for more normal. Where normal ends is a second question, answered by rows
that took no part in the training, or by the share of outliers that is expected.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .archive import read_archive, write_archive
from .context import generator, use
from .data import as_data, check_values, place_of, refuse_gaps
from .errors import (
    DtypeError,
    ModelFileError,
    RangeError,
    ShapeError,
    StateError,
    brief,
    known_name,
    require_integer,
    require_number,
    warn,
)
from .models.dense import default_autoencoder
from .nn.module import Module
from .random import Generator
from .residuals import Residuals, in_pieces
from .saving import checked_path, put_together, take_apart
from .scaling import KINDS, Scaling
from .thresholds import just_below, promised_threshold

SCORED_BY = ("likelihood", "error")
SCALES = ("auto", *KINDS)
SETTINGS = (
    "scale", "score_by", "members", "epochs", "batch_size", "lr", "trim", "held_out", "false_alarms", "contamination", "seed",
)  # fmt: skip


class AnomalyDetector:
    r"""Finds rows that are unlike the others, or unlike those that are known to be normal.

    An autoencoder learns to reconstruct the rows. With D numbers in a row and K in its code z, the score is

    .. math:: s(x) = -\frac{1}{D + K} \left(\sum_j \frac{(x_j - \hat x_j)^2}{\sigma_j^2}
              + (z - \mu)^\top \Sigma^{-1} (z - \mu)\right)

    where :math:`\sigma_j^2`, :math:`\mu` and :math:`\Sigma` are those of the rows trained on: about -1 for normal rows,
    far below for others. The methods are those of scikit-learn's outlier detectors.

    Parameters
    ----------
    model : Module, optional
        An autoencoder for rows of your shape, such as Autoencoder(...); it is trained in place. By default three dense ones,
        D-H-K-H-D with relu, K = D / 4 (1 to 32), H = 2 D (64 to 256), whose scores are averaged: the same for all data.
    scale : str
        What is done to the data first. ``"features"``: each standardised, the default for tables (N, D). ``"whole"``: all
        numbers by one mean and one standard deviation, the default for images. ``"none"``: the default for a model that
        ends in a sigmoid, and for one already trained.
    score_by : str
        ``"likelihood"``, the formula above; or ``"error"``, minus the mean squared error of the scaled row.
    members : int
        How many default models; one that you give is alone.
    epochs : int
        0 for a model that is trained already: then only its usual errors are measured, and the threshold.
    batch_size : int
    lr : float
        Of Adam.
    trim : float
        Outliers among the rows should not be learnt. So after a first training, a third as long, this share with the lowest
        scores is left out of the second, which begins again. They are scored like all others. Rousseeuw, "Least median of
        squares regression" (1984) has the idea.
    held_out : float
        The share of rows set aside to find the threshold; not used if ``contamination`` is given.
    false_alarms : float
        The share of normal rows that may be called anomalies. The threshold is the quantile of the scores held out that
        keeps this promise for new normal rows (on average over draws of the data), as in conformal prediction; Vovk et
        al. (2005).
    contamination : float, optional
        The share of anomalies among the rows given to ``fit``, above 0 and at most 0.5. Then nothing is held out, and the
        threshold is that quantile of the scores of these rows.
    seed : int
        For weights, order and split. No other random numbers are touched.
    progress : bool
        Show a progress bar for each training.

    Attributes
    ----------
    threshold : float
        Rows with a score below it are anomalies.
    """

    def __init__(
        self,
        model: Module | None = None,
        *,
        scale: str = "auto",
        score_by: str = "likelihood",
        members: int = 3,
        epochs: int = 30,
        batch_size: int = 32,
        lr: float = 2e-3,
        trim: float = 0.1,
        held_out: float = 0.2,
        false_alarms: float = 0.05,
        contamination: float | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        name = "AnomalyDetector"
        if model is not None and not (isinstance(model, Module) and hasattr(model, "reconstruct")):
            raise DtypeError(f"{name}: the model is {brief(model)}; expected an autoencoder, such as Autoencoder(...).")
        self.model = model
        self.scale = known_name("scale", scale, dict.fromkeys(SCALES))
        self.score_by = known_name("score_by", score_by, dict.fromkeys(SCORED_BY))
        self.members = require_integer(name, "members", members, at_least=1)
        self.epochs = require_integer(name, "epochs", epochs, at_least=0)
        if self.epochs == 0 and model is None:
            raise RangeError(
                f"{name}: epochs is 0, but there is no model that is trained already. Give one, or epochs."
            )
        self.batch_size = require_integer(name, "batch_size", batch_size, at_least=1)
        self.lr = require_number(name, "lr", lr, above=0)
        self.trim = require_number(name, "trim", trim, at_least=0, below=0.5)
        self.held_out = require_number(name, "held_out", held_out, above=0, below=1)
        self.false_alarms = require_number(name, "false_alarms", false_alarms, above=0, below=1)
        self.contamination = contamination
        if contamination is not None:
            self.contamination = require_number(name, "contamination", contamination, above=0, at_most=0.5)
        self.seed = require_integer(name, "seed", seed, at_least=0)
        self.progress = bool(progress)
        self._fitted: tuple[Scaling, list[Residuals], float] | None = None

    # ------------------------------------------------------------ learning what is normal

    def fit(self, x: Any, y: Any = None, held_out: Any = None) -> "AnomalyDetector":
        """Learn what is normal.

        Parameters
        ----------
        x : array (N, ...)
            Normal rows, or rows with some anomalies among them; at least two. Held in memory.
        y : ignored
            There for scikit-learn's sake.
        held_out : array (M, ...), optional
            Normal rows for the threshold; then none of x are set aside.

        Raises
        ------
        ShapeError
            Fewer than two rows.
        RangeError
            Rows with NaN or infinity, which are named; all rows equal; values that the model cannot have.
        """
        x = self._rows("fit", x, None)
        if len(x) < 2:
            raise ShapeError(
                "AnomalyDetector.fit: 1 sample (row) was given; what is usual cannot be seen in one. Give at least two, "
                "better hundreds."
            )
        if (x == x[:1]).all():
            raise RangeError(
                "AnomalyDetector.fit: all rows are equal; there is nothing to learn. Give rows that differ."
            )
        if held_out is not None and self.contamination is not None:
            raise RangeError(
                "AnomalyDetector.fit: held_out and contamination were given; each sets the threshold. Give one of them."
            )
        rest = None if held_out is None else self._rows("fit (held_out)", held_out, x.shape[1:])
        train = x
        if held_out is None and self.contamination is None:
            order, n = Generator(self.seed).permutation(len(x)), int(self.held_out * len(x))
            if n and len(x) - n >= 2 and (x[order[n:]] != x[order[n]]).any():
                train, rest = x[np.sort(order[n:])], x[order[:n]]
        scaling = self._scaling(train)
        z = scaling.apply(train)
        members = [self._train(z, number) for number in range(1 if self.model is not None else self.members)]
        if self.contamination is not None:
            scores = self._scores(scaling, members, x)
            threshold = just_below(np.quantile(scores, self.contamination))
        elif rest is not None:
            threshold = promised_threshold(self._scores(scaling, members, rest), self.false_alarms)
        else:
            warn(
                f"AnomalyDetector.fit: {len(x)} rows are too few to hold some out: the threshold is that of the rows "
                "trained on, and new normal rows may be called anomalies. Give more rows, or held_out=rows.",
                UserWarning,
            )
            threshold = just_below(np.quantile(self._scores(scaling, members, train), self.false_alarms))
        self._fitted = scaling, members, threshold
        return self

    def set_threshold(self, normal: Any, false_alarms: float | None = None) -> float:
        """Another threshold for the trained detector, from normal rows (M, ...) that it was not fitted on.

        ``false_alarms`` is the share of normal rows that may be called anomalies, by default as the detector was made.
        Returns the threshold.
        """
        scaling, members, _ = self._known("set_threshold")
        share = self.false_alarms
        if false_alarms is not None:
            share = require_number("set_threshold", "false_alarms", false_alarms, above=0, below=1)
        threshold = promised_threshold(self.score_samples(normal), share)
        self._fitted = scaling, members, threshold
        return threshold

    def _scaling(self, x):
        """How the data are scaled; see ``scale`` above."""
        ready = self.model is not None and (self.epochs == 0 or self.model.ends_in_sigmoid())
        kind = self.scale
        if kind == "auto":
            kind = "none" if ready else "features" if x.ndim == 2 else "whole"
        if kind != "none" and ready:
            why = "is trained already" if self.epochs == 0 else "ends in a sigmoid, so in [0, 1]"
            raise RangeError(f"AnomalyDetector: scale is '{kind}', but the model {why}. Give scale='none'.")
        if ready and self.model.ends_in_sigmoid():
            check_values("AnomalyDetector.fit", x, unit_interval=True)
        return Scaling(x, kind, "AnomalyDetector.fit")

    def _train(self, z, number):
        """One trained model and its usual errors on the scaled rows z."""
        seed = self.seed * self.members + number
        by_feature = z.ndim == 2
        with use(generator, Generator(seed)):
            model = default_autoencoder(z.shape[1:]) if self.model is None else self.model
            if self.epochs == 0:
                return Residuals(model, z, by_feature)
            if len(z) * (1 - self.trim) >= 2 and self.trim:
                start = model.snapshot()
                self._fit_model(model, z, max(1, self.epochs // 3), seed)
                scores = self._of(Residuals(model, z, by_feature), z)
                kept = scores >= np.quantile(scores, self.trim)
                model.restore(start)
            else:
                kept = np.ones(len(z), bool)
            self._fit_model(model, z[kept], self.epochs, seed)
        if self.model is None and model.backend.name == "numpy":
            model.astype("float64")  # the rounding of float32 depends on how many rows are computed at once
        return Residuals(model, z[kept], by_feature)

    def _fit_model(self, model, z, epochs, seed):
        history = model.fit(z, epochs, self.batch_size, lr=self.lr, seed=seed, progress=self.progress)
        if history.interrupted:  # Ctrl-C: what was learnt by half is no measure of what is usual
            raise KeyboardInterrupt

    # ------------------------------------------------------------ what is found

    @property
    def threshold(self) -> float:
        """Rows with a score below it are anomalies."""
        return self._known("threshold")[2]

    def score_samples(self, x: Any) -> np.ndarray[Any, Any]:
        """How normal each row of x (N, ...) is, float64 (N,): higher is more normal."""
        scaling, members, _ = self._known("score_samples")
        return self._scores(scaling, members, self._rows("score_samples", x, scaling.shape))

    def decision_function(self, x: Any) -> np.ndarray[Any, Any]:
        """The scores minus the threshold, float64 (N,): negative for anomalies."""
        return self.score_samples(x) - self.threshold

    def predict(self, x: Any) -> np.ndarray[Any, Any]:
        """+1 for normal rows and -1 for anomalies, int64 (N,)."""
        return np.where(self.decision_function(x) >= 0, 1, -1)

    def fit_predict(self, x: Any, y: Any = None) -> np.ndarray[Any, Any]:
        """``fit(x)``, then ``predict(x)``."""
        return self.fit(x).predict(x)

    def error_map(self, x: Any) -> np.ndarray[Any, Any]:
        """Where each row of x (N, ...) is unlike the normal ones, float64 in the shape of x.

        The squared residual of each feature or pixel, with score_by="likelihood" in units of what is usual: 1 is usual, 100 is
        ten standard deviations off. The mean of the default models.
        """
        scaling, members, _ = self._known("error_map")
        z = scaling.apply(self._rows("error_map", x, scaling.shape))
        return np.concatenate([np.mean([self._map(m, m(piece)[0]) for m in members], axis=0) for piece in in_pieces(z)])

    def reconstruct(self, x: Any) -> np.ndarray[Any, Any]:
        """What the models make of each row of x (N, ...), float64 in the shape and the units of x; their mean."""
        scaling, members, _ = self._known("reconstruct")
        z = scaling.apply(self._rows("reconstruct", x, scaling.shape))
        seen = [np.mean([member.reconstruct(piece) for member in members], axis=0) for piece in in_pieces(z)]
        return scaling.undo(np.concatenate(seen))

    def scaled(self, x: Any) -> np.ndarray[Any, Any]:
        """The rows of x (N, ...) as the models are given them, float32."""
        scaling, _, _ = self._known("scaled")
        return scaling.apply(self._rows("scaled", x, scaling.shape))

    @property
    def code_size(self) -> int:
        """How many numbers there are in a code."""
        return len(self._known("code_size")[1][0].centre)

    def code_distance(self, x: Any) -> np.ndarray[Any, Any]:
        """How far the code of each row is from those of normal rows: squared Mahalanobis distance over K, float64 (N,)."""
        scaling, members, _ = self._known("code_distance")
        z = scaling.apply(self._rows("code_distance", x, scaling.shape))
        return np.concatenate(
            [np.mean([m(piece)[1] / len(m.centre) for m in members], axis=0) for piece in in_pieces(z)]
        )

    def _scores(self, scaling, members, x):
        z = scaling.apply(x)
        return np.mean([self._of(member, z) for member in members], axis=0)

    def _of(self, member, z):
        """The scores of scaled rows by one model."""
        return np.concatenate([self._score(member, *member(piece)) for piece in in_pieces(z)])

    def _score(self, member, error, distance):
        each = self._map(member, error).reshape(len(error), -1)
        if self.score_by == "error":
            return -each.mean(axis=1)
        return -(each.sum(axis=1) + distance) / (each.shape[1] + len(member.centre))

    def _map(self, member, error):
        return error * member.variance if self.score_by == "error" else error

    # ------------------------------------------------------------ checks

    def _known(self, asked):
        if self._fitted is None:
            raise StateError(
                f"AnomalyDetector.{asked}: the detector was never fitted. Call fit(x) with normal rows first."
            )
        return self._fitted

    def _rows(self, asked, x, shape):
        """The data as an array in memory, its rows checked."""
        x = as_data(f"AnomalyDetector.{asked}", x)
        x = place_of(x).to_host(x[:])
        if x.ndim < 2:
            raise ShapeError(
                f"AnomalyDetector.{asked}: the data have shape {x.shape}; expected (N, ...), rows of one number or more. "
                "Reshape one feature by x.reshape(-1, 1), one row by x.reshape(1, -1)."
            )
        if shape is not None and x.shape[1:] != shape:
            raise ShapeError(
                f"AnomalyDetector.{asked}: the rows have shape {x.shape[1:]}; the detector was fitted on rows of shape "
                f"{shape}. Give the same features."
            )
        refuse_gaps(f"AnomalyDetector.{asked}", x)
        return x

    def __repr__(self) -> str:
        known = "not fitted" if self._fitted is None else f"threshold={self._fitted[2]:.4g}"
        return f"AnomalyDetector({known})"

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector with its models, whole or not at all; errors as in ``tinyae.save``."""
        scaling, members, threshold = self._known("save")
        path = checked_path("save", path)
        about: dict[str, Any] = {
            "settings": {name: getattr(self, name) for name in SETTINGS},
            "own_model": self.model is not None,
            "scaling": {"kind": scaling.kind, "shape": list(scaling.shape)},
            "threshold": threshold,
            "members": [],
        }
        arrays = {f"scaling.{name}": array for name, array in scaling.state().items()}
        for i, member in enumerate(members):
            model, state = take_apart(member.model)
            about["members"].append(model)
            arrays |= {f"{i}.model.{name}": array for name, array in state.items()}
            arrays |= {f"{i}.{name}": array for name, array in member.state().items()}
        write_archive(path, "tinyae.detector", about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], classes: Sequence[type[Module]] = ()) -> "AnomalyDetector":
        """The detector in a file that ``save`` wrote; ``classes`` and errors as in ``tinyae.load``."""
        path = checked_path("load", path)
        about, arrays = read_archive(path, "tinyae.detector")

        def below(prefix):
            return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}

        try:
            models = [put_together(m, below(f"{i}.model."), path, classes) for i, m in enumerate(about["members"])]
            members = [Residuals.from_state(model, below(f"{i}.")) for i, model in enumerate(models)]
            detector = cls(models[0] if about["own_model"] else None, **about["settings"])
            scaling = Scaling.from_state(state=below("scaling."), **about["scaling"])
            detector._fitted = scaling, members, float(about["threshold"])
        except ModelFileError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelFileError(f"load: {path}: what is in it does not fit together: {error}") from error
        return detector
