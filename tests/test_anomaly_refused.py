"""What the detector refuses: data, settings, other rows than those it learnt."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import AnomalyDetector
from tinyae.errors import DtypeError, RangeError, ShapeError, StateError
from tinyae.history import History

from .anomaly_cases import FEW_HELD_OUT, model, quick, surface

pytestmark = FEW_HELD_OUT


@pytest.fixture(scope="module")
def fitted():
    return quick(epochs=1).fit(surface(np.random.default_rng(0), 100))


def gaps(rows):
    x = surface(np.random.default_rng(0), 20)
    x[rows, 3] = np.nan
    return x


@pytest.mark.parametrize(
    "data, error, words",
    [
        (np.ones((1, 4)), ShapeError, ["1 sample", "at least two"]),
        (np.ones(5), ShapeError, ["(5,)", "reshape(-1, 1)"]),
        (np.ones((5, 3)), RangeError, ["all rows are equal"]),
        (gaps([3, 17]), RangeError, ["2 of 20 rows have NaN", "3, 17", "isfinite", "SimpleImputer"]),
        (gaps(range(12)), RangeError, ["12 of 20 rows", "8, 9, ..."]),
        ([["a", "b"]], DtypeError, ["expected float32"]),
        (np.ones((3, 2)) * 1j, DtypeError, ["complex"]),
        (np.zeros((0, 3)), ShapeError, ["empty"]),
    ],
)
def test_data_that_teach_nothing_are_refused(data, error, words):
    with pytest.raises(error) as caught:
        quick().fit(data)
    assert all(word in str(caught.value) for word in ["AnomalyDetector.fit", *words])


@pytest.mark.parametrize("asked", ["score_samples", "decision_function", "predict", "error_map", "code_distance",
                                   "reconstruct", "scaled", "set_threshold"])  # fmt: skip
def test_a_detector_that_was_never_fitted_says_so(asked):
    with pytest.raises(StateError, match="never fitted. Call fit"):
        getattr(AnomalyDetector(), asked)(np.ones((2, 2)))


def test_threshold_size_and_file_of_an_unfitted_detector(tmp_path):
    for asked in (lambda d: d.threshold, lambda d: d.code_size, lambda d: d.save(tmp_path / "d")):
        with pytest.raises(StateError, match="never fitted"):
            asked(AnomalyDetector())
    assert not list(tmp_path.iterdir())


def test_other_rows_than_those_learnt_are_refused(fitted, rng):
    with pytest.raises(ShapeError, match=r"shape \(5,\); the detector was fitted on rows of shape \(8,\)"):
        fitted.score_samples(np.ones((3, 5)))
    x = surface(rng, 5)
    x[2, 0] = np.inf
    with pytest.raises(RangeError, match="1 of 5 rows have NaN or inf: 2"):
        fitted.predict(x)


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({"model": 3}, DtypeError, "expected an autoencoder"),
        ({"model": ta.Dense(2, 2)}, DtypeError, "expected an autoencoder"),
        ({"scale": "minmax"}, RangeError, "unknown scale"),
        ({"score_by": "mse"}, RangeError, "unknown score_by"),
        ({"members": 0}, RangeError, "members is 0"),
        ({"epochs": -1}, RangeError, "epochs is -1"),
        ({"epochs": 0}, RangeError, "no model that is trained"),
        ({"trim": 0.5}, RangeError, "trim is 0.5"),
        ({"held_out": 0}, RangeError, "held_out is 0"),
        ({"false_alarms": 1}, RangeError, "false_alarms is 1"),
        ({"contamination": 0}, RangeError, "contamination is 0"),
        ({"contamination": 0.6}, RangeError, "contamination is 0.6"),
        ({"contamination": float("nan")}, RangeError, "contamination is nan"),
        ({"seed": -1}, RangeError, "seed is -1"),
    ],
)
def test_settings_that_cannot_be(settings, error, words):
    with pytest.raises(error, match=words):
        AnomalyDetector(**settings)


def test_settings_that_contradict_each_other(rng, images):
    with pytest.raises(RangeError, match="each sets the threshold"):
        quick(contamination=0.1).fit(surface(rng, 20), held_out=surface(rng, 20))
    with pytest.raises(RangeError, match="is trained already. Give scale='none'"):
        AnomalyDetector(model(), epochs=0, scale="features").fit(surface(rng, 20))
    with pytest.raises(RangeError, match="ends in a sigmoid"):
        AnomalyDetector(model(last="sigmoid"), scale="features").fit(surface(rng, 20))
    with pytest.raises(RangeError, match=r"can only reach \[0, 1\]"):
        AnomalyDetector(model(images.shape[1:], "sigmoid")).fit(images * 255)


def test_what_fails_leaves_the_detector_as_it_was(rng, monkeypatch):
    x = surface(rng, 60)
    detector = quick(epochs=2).fit(x)
    before = detector.score_samples(x)
    with pytest.raises(RangeError):
        detector.fit(gaps([0]))
    stopped = History()
    stopped.interrupted = True
    monkeypatch.setattr(ta.Autoencoder, "fit", lambda *a, **b: stopped)
    with pytest.raises(KeyboardInterrupt):  # what was learnt by half is no measure
        detector.fit(x)
    np.testing.assert_array_equal(detector.score_samples(x), before)
