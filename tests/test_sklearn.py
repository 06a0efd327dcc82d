"""The estimators, as scikit-learn wants them."""

import pickle
import warnings

import numpy as np
import pytest

import tinyae as ta

pytest.importorskip("sklearn", reason="tinyae.sklearn needs scikit-learn")
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer

pytestmark = pytest.mark.filterwarnings("ignore:AnomalyDetector")


@parametrize_with_checks(
    [
        AutoencoderTransformer(epochs=3),
        AutoencoderOutlierDetector(members=1, epochs=3),
    ]  # quick; the slow test is as made
)
def test_it_passes_a_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [AutoencoderTransformer(), AutoencoderOutlierDetector()], ids=repr)
def test_it_passes_all_checks_with_its_defaults(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skipped checks, and small data, of which our own warnings speak
        check_estimator(estimator)


def wine():
    x, y = load_wine(return_X_y=True)
    return x, y


def test_codes_and_what_comes_back():
    x, _ = wine()
    coder = AutoencoderTransformer(5, hidden=(32,), epochs=60, random_state=0)
    codes = coder.fit_transform(x)
    assert codes.shape == (178, 5) and codes.dtype == np.float64
    back = coder.inverse_transform(codes)
    z, y = (x - x.mean(axis=0)) / x.std(axis=0), (back - x.mean(axis=0)) / x.std(axis=0)
    expected = 1 - ((z - y) ** 2).sum() / (z**2).sum()
    assert (
        coder.score(x) == pytest.approx(expected, abs=1e-5) and expected > 0.6
    )  # in the data's own units, all features
    assert list(coder.get_feature_names_out()) == [f"autoencodertransformer{i}" for i in range(5)]
    assert coder.transform(x.astype(np.float32)).dtype == np.float32


def test_more_components_score_higher_and_none_scores_about_nothing():
    x, _ = wine()
    scores = [AutoencoderTransformer(k, epochs=60, random_state=0).fit(x).score(x) for k in (1, 4, 10)]
    assert scores == sorted(scores) and scores[0] > 0.2
    untrained = AutoencoderTransformer(2, epochs=1, lr=1e-9, random_state=0).fit(x)
    assert untrained.score(x) < 0.05
    assert untrained.score(np.tile(x[:1], (3, 1))) == 0.0  # rows without any variance


def test_a_linear_one_is_pca():
    from sklearn.decomposition import PCA

    x, _ = wine()
    z = StandardScaler().fit_transform(x)
    coder = AutoencoderTransformer(3, hidden=(), epochs=300, lr=3e-3, random_state=0).fit(x)
    assert coder.score(x) == pytest.approx(PCA(3).fit(z).explained_variance_ratio_.sum(), abs=5e-3)


def test_in_a_pipeline_and_a_grid_search():
    x, y = wine()
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(3, epochs=10, random_state=0), LinearSVC())
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.6
    search = GridSearchCV(AutoencoderTransformer(epochs=20, random_state=0), {"n_components": [1, 6]}, cv=3).fit(x)
    assert search.best_params_ == {"n_components": 6}  # by its own score
    found = GridSearchCV(
        AutoencoderOutlierDetector(members=1, epochs=3, random_state=0), {"trim": [0.0, 0.1]}, cv=2,
        scoring=lambda estimator, x, y=None: estimator.score_samples(x).mean(),
    ).fit(x)  # fmt: skip
    assert found.best_params_["trim"] in (0.0, 0.1)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, AutoencoderOutlierDetector])
def test_random_states_are_those_of_scikit_learn(kind):
    x, _ = wine()

    def numbers(state):
        fitted = kind(epochs=2, random_state=state).fit(x)
        return fitted.transform(x) if hasattr(fitted, "transform") else fitted.score_samples(x)

    np.testing.assert_array_equal(numbers(3), numbers(3))
    assert not np.allclose(numbers(3), numbers(4))
    state = np.random.RandomState(0)
    assert not np.allclose(numbers(state), numbers(state))  # goes on
    np.random.seed(0)
    first = numbers(None)
    assert not np.allclose(first, numbers(None))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, AutoencoderOutlierDetector])
def test_models_of_ones_own_are_copied_cloned_and_pickled(kind):
    x, _ = wine()
    model = ta.Autoencoder(
        ta.Sequential(ta.Dense(13, 20, "tanh"), ta.Dropout(0.1), ta.Dense(20, 4)),
        ta.Sequential(ta.Dense(4, 20, "tanh"), ta.Dense(20, 13)),
    )
    before = model.state_dict()
    fitted = kind(model=model, epochs=3, random_state=0).fit(x)
    assert fitted.model is model and all((before[name] == value).all() for name, value in model.state_dict().items())
    numbers = fitted.transform if hasattr(fitted, "transform") else fitted.score_samples
    again = pickle.loads(pickle.dumps(fitted))
    same = again.transform if hasattr(again, "transform") else again.score_samples
    np.testing.assert_array_equal(same(x), numbers(x))
    fresh = clone(fitted).fit(x)
    np.testing.assert_array_equal(
        (fresh.transform if hasattr(fresh, "transform") else fresh.score_samples)(x), numbers(x)
    )
    with pytest.raises(NotFittedError):
        (getattr(clone(fitted), numbers.__name__))(x)


def test_an_unpickled_model_is_alive():
    x, _ = wine()
    model = pickle.loads(pickle.dumps(AutoencoderTransformer(epochs=2, random_state=0).fit(x))).model_
    before = model.state_dict()
    model.fit(x[:32] / 1000, 1, progress=False)
    assert model.backend is ta.get_backend("numpy")
    assert any((before[name] != value).any() for name, value in model.state_dict().items())


def test_the_detector_is_that_of_tinyae():
    x, y = wine()
    estimator = AutoencoderOutlierDetector(contamination=0.1, epochs=3, random_state=0).fit(x)
    np.testing.assert_array_equal(estimator.score_samples(x), estimator.detector_.score_samples(x))
    assert (estimator.predict(x) == -1).sum() == 18 and estimator.offset_ == estimator.detector_.threshold
    assert estimator.detector_.error_map(x).shape == x.shape


def test_what_is_refused():
    x, _ = wine()
    with pytest.raises(RangeError, match="n_components is 0"):
        AutoencoderTransformer(0).fit(x)
    with pytest.raises(DtypeError, match="hidden is 4; expected a tuple"):
        AutoencoderTransformer(3, hidden=4).fit(x)
    with pytest.raises(DtypeError, match="the model is 3"):
        AutoencoderTransformer(model=3).fit(x)
    fitted = AutoencoderTransformer(3, epochs=1).fit(x)
    with pytest.raises(ShapeError, match="X has 2 features, but a code has 3"):
        fitted.inverse_transform(np.ones((2, 2)))
    with pytest.raises(ValueError, match="1 sample"):
        AutoencoderOutlierDetector().fit(x[:1])
    with pytest.raises(ValueError, match="NaN"):
        AutoencoderOutlierDetector().fit(np.where(x == x[0, 0], np.nan, x))
    with pytest.raises(RangeError, match="contamination is 0.7"):
        AutoencoderOutlierDetector(contamination=0.7).fit(x)


def test_a_training_that_was_stopped_leaves_nothing_fitted(monkeypatch):
    stopped = ta.History()
    stopped.interrupted = True
    monkeypatch.setattr(ta.Autoencoder, "fit", lambda *a, **b: stopped)
    x, _ = wine()
    estimator = AutoencoderTransformer(3, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(x)
    with pytest.raises(NotFittedError):
        estimator.transform(x)
