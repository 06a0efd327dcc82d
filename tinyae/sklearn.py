"""Autoencoders as scikit-learn's estimators: for its pipelines, its grid searches, its cross-validation.

They take tables, (N, D), on the CPU. For images, other models and GPUs there are ``Autoencoder`` and ``AnomalyDetector``.
"""

import copy
from typing import Any

import numpy as np

from .anomaly import AnomalyDetector
from .context import generator, use
from .errors import DtypeError, ShapeError, brief, missing_library, require_integer
from .models import Autoencoder
from .models.dense import dense_autoencoder
from .random import Generator
from .scaling import Scaling

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing_library("tinyae.sklearn", "scikit-learn>=1.6") from error


def seed_of(random_state):
    """A seed for tinyae's generator, drawn as scikit-learn draws: None gives another one each time."""
    return int(check_random_state(random_state).randint(2**31 - 1))


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Rows as codes of a few numbers, and back: PCA with curves.

    Parameters
    ----------
    n_components : int
        Numbers in a code.
    hidden : tuple of int
        Widths of the layers before the code; the decoder has them in reverse. Empty: a linear autoencoder.
    activation : str
        Of the hidden layers.
    scale : str
        ``"features"``: each feature is standardised first; ``"whole"``: all by one mean and one standard deviation;
        ``"none"``.
    epochs, batch_size, lr : int, int, float
        Of the training, with Adam and the mean squared error.
    model : Autoencoder, optional
        One of your own for rows of D numbers; a copy of it is trained, and the parameters above it are not used.
    random_state : int, RandomState or None
        For weights and order. An int gives the same codes each time.

    Attributes
    ----------
    model_ : Autoencoder
        What was trained, in float64, for scaled rows.
    history_ : History
        Its loss, epoch by epoch.
    n_features_in_ : int
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden: tuple[int, ...] = (64,),
        activation: str = "relu",
        scale: str = "features",
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 2e-3,
        model: Autoencoder | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.scale = scale
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.model = model
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "AutoencoderTransformer":
        """Train on X (N, D), N >= 2; y is ignored."""
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        code = require_integer("AutoencoderTransformer", "n_components", self.n_components, at_least=1)
        if not isinstance(self.hidden, (tuple, list)):
            raise DtypeError(
                f"AutoencoderTransformer: hidden is {brief(self.hidden)}; expected a tuple of widths, such as (64,)."
            )
        if self.model is not None and not isinstance(self.model, Autoencoder):
            raise DtypeError(
                f"AutoencoderTransformer: the model is {brief(self.model)}; expected an autoencoder, such as Autoencoder(...)."
            )
        seed = seed_of(self.random_state)
        scaling = Scaling(X, self.scale, "AutoencoderTransformer.fit")
        with use(generator, Generator(seed)):
            if self.model is None:
                model = dense_autoencoder(X.shape[1:], tuple(self.hidden), code, self.activation)
            else:
                model = copy.deepcopy(self.model)
        z = scaling.apply(X)
        history = model.fit(z, self.epochs, self.batch_size, lr=self.lr, seed=seed, progress=False)
        if history.interrupted:  # Ctrl-C ends a grid search too, and what was trained by half does not count as fitted
            raise KeyboardInterrupt
        self.history_ = history
        # in float64 a row's code does not depend on the rows beside it, which float32's rounding does
        self.model_, self.scaling_ = model.astype("float64"), scaling
        self._n_features_out = self._codes(z[:1]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray[Any, Any]:
        """The codes of X (N, D), (N, n_components), in the float type of X."""
        X = self._rows(X)
        return self._codes(self.scaling_.apply(X)).astype(X.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray[Any, Any]:
        """The rows (N, D) that the decoder makes of codes X (N, n_components), in the data's own units."""
        check_is_fitted(self, "model_")
        X = check_array(X, dtype=(np.float64, np.float32))
        if X.shape[1] != self._n_features_out:
            raise ShapeError(
                f"inverse_transform: X has {X.shape[1]} features, but a code has {self._n_features_out}. Give what transform gives."
            )
        codes = np.asarray(X, np.float64).reshape(len(X), *self._code_shape)
        return self.scaling_.undo(self.model_.decode(codes)).astype(X.dtype, copy=False)

    def score(self, X: Any, y: Any = None) -> float:
        r"""The share of the variance of X (N, D) that the reconstruction keeps, 1 at best: higher is better.

        .. math:: R^2 = 1 - \frac{\sum (z - \hat z)^2}{\sum (z - \bar z)^2}

        over all rows and scaled features z, with the mean :math:`\bar z` of the rows given, as ``r2_score`` has it: 0 for a
        model that knows no more than that mean, and below 0 for a worse one.
        """
        z = self.scaling_.apply(self._rows(X)).astype(np.float64)
        error = ((z - self.model_.reconstruct(z)) ** 2).sum()
        whole = ((z - z.mean(axis=0)) ** 2).sum()
        return float(1 - error / whole) if whole > 0 else float(error == 0)

    def _rows(self, X):
        check_is_fitted(self, "model_")
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False)

    def _codes(self, z):
        codes = self.model_.encode(np.asarray(z, np.float64))
        self._code_shape = codes.shape[1:]
        return codes.reshape(len(z), -1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class AutoencoderOutlierDetector(OutlierMixin, BaseEstimator):
    """``tinyae.AnomalyDetector`` as an estimator: its parameters, its scores, its threshold.

    Parameters
    ----------
    model, scale, score_by, members, epochs, batch_size, lr, trim, held_out, false_alarms, contamination
        As those of ``AnomalyDetector``. Of a model given a copy is trained.
    random_state : int, RandomState or None
        For weights, order and split.

    Attributes
    ----------
    detector_ : AnomalyDetector
        The fitted one; it also has ``error_map`` and ``save``.
    offset_ : float
        Its threshold: ``decision_function`` is ``score_samples`` minus it.
    n_features_in_ : int
    """

    def __init__(
        self,
        model: Autoencoder | None = None,
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
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.scale = scale
        self.score_by = score_by
        self.members = members
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.trim = trim
        self.held_out = held_out
        self.false_alarms = false_alarms
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "AutoencoderOutlierDetector":
        """Learn what is normal from X (N, D), N >= 2; y is ignored."""
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        settings = self.get_params(deep=False)
        seed = seed_of(settings.pop("random_state"))
        settings["model"] = copy.deepcopy(settings["model"])
        self.detector_ = AnomalyDetector(seed=seed, **settings).fit(X)
        self.offset_ = self.detector_.threshold
        return self

    def score_samples(self, X: Any) -> np.ndarray[Any, Any]:
        """How normal each row is, float64 (N,): higher is more normal."""
        check_is_fitted(self, "detector_")
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self.detector_.score_samples(X)

    def decision_function(self, X: Any) -> np.ndarray[Any, Any]:
        """The scores minus ``offset_``, float64 (N,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """+1 for normal rows and -1 for outliers, int64 (N,)."""
        return np.where(self.decision_function(X) >= 0, 1, -1)
