"""The detector: what it scores, and where it draws the line."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import AnomalyDetector
from tinyae.context import current_generator
from tinyae.thresholds import promised_threshold

from .anomaly_cases import FEATURES, FEW_HELD_OUT, mixed, model, quick, surface

pytestmark = FEW_HELD_OUT


def area(normal, odd):
    """The area under the ROC curve: how often an odd row has the lower score."""
    return float(np.mean(odd[:, None] < normal[None]))


@pytest.fixture(scope="module")
def fitted():
    return quick(epochs=30).fit(surface(np.random.default_rng(0), 600))


# ---------------------------------------------------------------- scores


def test_rows_that_belong_together_score_higher_than_mixed_ones(fitted, rng):
    normal, odd = fitted.score_samples(surface(rng, 300)), fitted.score_samples(mixed(rng, 300))
    assert normal.dtype == np.float64 and normal.shape == (300,) and area(normal, odd) > 0.9


def test_the_score_is_that_of_the_formula():
    x = surface(np.random.default_rng(0), 60)
    detector = quick(contamination=0.1, trim=0.0).fit(x)
    scaling, (member,), _ = detector._fitted
    z = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32).astype(np.float64)
    residual, code = z - member.model.reconstruct(z), member.model.encode(z)
    off = code - code.mean(axis=0)
    distance = np.einsum("ni,ij,nj->n", off, np.linalg.inv(off.T @ off / len(x)), off)
    expected = -((residual**2 / (residual**2).mean(axis=0)).sum(axis=1) + distance) / (FEATURES + code.shape[1])
    np.testing.assert_allclose(detector.score_samples(x), expected, rtol=1e-5)
    assert detector.score_samples(x).mean() == pytest.approx(-1, abs=1e-5)  # of the rows trained on, by construction
    np.testing.assert_allclose(detector.code_distance(x), distance / code.shape[1], rtol=1e-5)
    np.testing.assert_allclose(detector.error_map(x), residual**2 / (residual**2).mean(axis=0), rtol=1e-5)
    by_error = quick(contamination=0.1, trim=0.0, score_by="error").fit(x)
    np.testing.assert_allclose(by_error.score_samples(x), -(residual**2).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(by_error.error_map(x), residual**2, rtol=1e-5)


def test_the_scores_of_several_models_are_averaged(rng):
    x = surface(rng, 80)
    detector = quick(members=3, epochs=2).fit(x)
    z = detector.scaled(x)
    each = [detector._of(member, z) for member in detector._fitted[1]]
    np.testing.assert_allclose(detector.score_samples(x), np.mean(each, axis=0))
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(
        detector.scaled(detector.reconstruct(x)),
        np.mean([m.reconstruct(z) for m in detector._fitted[1]], axis=0),
        atol=1e-5,
    )


def test_a_planted_fault_is_found_where_it_is(fitted, rng):
    x, there = surface(rng, 50), []
    for feature in range(FEATURES):
        broken = x.copy()
        broken[:, feature] += 8 * x.std(axis=0)[feature]
        assert (fitted.predict(broken) == -1).mean() > 0.95
        more = fitted.error_map(broken) - fitted.error_map(x)
        assert more.shape == x.shape
        there.append((more.argmax(axis=1) == feature).mean())
    assert min(there) > 0.3 and np.mean(there) > 0.8


def test_an_outlier_that_is_reconstructed_well_is_found_by_its_code(rng):
    line = rng.normal(size=(400, 1)) * np.ones(4) + 0.05 * rng.normal(size=(400, 4))  # one direction, and noise
    linear = ta.Autoencoder(ta.Sequential(ta.Dense(4, 1)), ta.Sequential(ta.Dense(1, 4)))
    for part in linear.parameters():  # the projection onto the line
        part.data[...] = 0.5 if part.ndim == 2 else 0.0
    far = 8 * np.ones((1, 4))  # on the line, but where no row is
    detector = AnomalyDetector(linear, epochs=0).fit(line)
    assert detector.error_map(far).max() < 1e-6 and detector.code_distance(far)[0] > 30
    assert detector.score_samples(far) < detector.score_samples(line).min()


def test_units_of_the_features_change_nothing(rng):
    x, new = surface(rng, 200), mixed(rng, 100)
    scores = quick().fit(x).score_samples(new)
    exact = 2.0 ** rng.integers(-20, 20, FEATURES)  # powers of two round nothing
    np.testing.assert_array_equal(quick().fit(x * exact).score_samples(new * exact), scores)
    units, shift = 10.0 ** rng.integers(-6, 6, FEATURES), rng.normal(size=FEATURES)
    other = quick().fit(x * units + shift).score_samples(new * units + shift)
    ranks = [np.argsort(np.argsort(s)) for s in (scores, other)]
    assert np.corrcoef(*ranks)[0, 1] > 0.99


def test_the_same_row_has_the_same_score_in_any_company(fitted, rng):
    x = surface(rng, 100)
    alone = np.concatenate([fitted.score_samples(row[None]) for row in x])
    np.testing.assert_allclose(alone, fitted.score_samples(x), rtol=1e-10)


def test_what_the_trainings_are_given(rng, monkeypatch):
    seen, train = [], ta.Autoencoder.fit

    def watched(model, x, epochs, *arguments, **options):
        seen.append((x.copy(), epochs, model.state_dict()))
        return train(model, x, epochs, *arguments, **options)

    monkeypatch.setattr(ta.Autoencoder, "fit", watched)
    x = surface(rng, 200)
    detector = quick(epochs=6, trim=0.25).fit(x)
    (first, short, start), (second, long, again) = seen
    assert (len(first), len(second), short, long) == (160, 120, 2, 6)  # 40 held out; a quarter of the rest left out
    assert all((start[name] == again[name]).all() for name in start)  # begun anew
    rows = {row.tobytes() for row in detector.scaled(x)}
    assert {row.tobytes() for row in second} < {row.tobytes() for row in first} < rows
    held_out = [row for row in detector.scaled(x) if row.tobytes() not in {row.tobytes() for row in first}]
    assert len(held_out) == 40
    seen.clear()
    quick(epochs=6, trim=0.0, contamination=0.1).fit(x)
    assert [len(rows) for rows, _, _ in seen] == [200]


def test_outliers_among_the_rows_are_not_learnt(rng):
    x = np.concatenate([surface(rng, 360), mixed(rng, 40)])
    x[360:] += 2 * x.std(axis=0) * rng.normal(size=(40, FEATURES))

    def strangeness(trim):  # of the outliers, in units of the normal rows'
        scores = quick(trim=trim, contamination=0.1, epochs=40).fit(x).score_samples(x)
        assert len(scores) == 400  # scored are all
        return np.median(scores[360:]) / np.median(scores[:360])

    assert strangeness(0.1) > 2 * strangeness(0.0)


# ---------------------------------------------------------------- the threshold


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_new_normal_rows_are_called_anomalies_as_rarely_as_promised(share):
    rng, alarms = np.random.default_rng(5), []
    for seed in range(4):
        detector = quick(seed=seed, false_alarms=share, held_out=0.5, epochs=5).fit(surface(rng, 600))
        alarms.append((detector.predict(surface(rng, 2000)) == -1).mean())
    assert 0.5 * share < np.mean(alarms) < 1.4 * share


@pytest.mark.parametrize("held_out, share", [(19, 0.05), (99, 0.05), (50, 0.1), (30, 0.33)])
def test_the_promise_holds_on_average_over_draws(held_out, share):
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=(4000, held_out))
    thresholds = np.array([promised_threshold(row, share) for row in scores])
    alarms = (1 - np.exp(-thresholds)).mean()  # P(new < threshold), known exactly
    exact = np.floor(share * (held_out + 1) + 1e-9) / (held_out + 1)
    assert alarms <= share + 0.003 and alarms == pytest.approx(exact, abs=0.004)


def test_too_few_rows_for_a_promise_are_said(rng):
    with pytest.warns(
        UserWarning, match=r"20 held-out rows cannot promise at most 0.01 false alarms.*at least 99 rows"
    ):
        detector = quick(false_alarms=0.01, epochs=2).fit(surface(rng, 100))
    assert np.isfinite(detector.threshold)
    with pytest.warns(UserWarning, match="4 rows are too few to hold some out"):
        quick(epochs=2).fit(surface(rng, 4))


def test_held_out_rows_of_ones_own_set_the_threshold(rng):
    x, normal = surface(rng, 200), surface(rng, 150)
    detector = quick().fit(x, held_out=normal)
    assert (detector.score_samples(normal) < detector.threshold).sum() == 6  # the 7th smallest of 150: 7 / 151 <= 5 %
    again = detector.set_threshold(surface(rng, 400), false_alarms=0.2)
    assert again == detector.threshold and 0.1 < (detector.predict(normal) == -1).mean() < 0.35


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_contamination_is_the_share_that_is_found(rng, share):
    x = surface(rng, 200)
    detector = quick(contamination=share, epochs=2)
    assert (detector.fit_predict(x) == -1).sum() == 200 * share
    np.testing.assert_array_equal(detector.predict(x), np.where(detector.decision_function(x) >= 0, 1, -1))
    np.testing.assert_allclose(detector.decision_function(x), detector.score_samples(x) - detector.threshold)


# ---------------------------------------------------------------- chance


def test_the_seed_decides_and_no_other_chance_is_touched(rng):
    x = surface(rng, 100)
    ta.manual_seed(3)
    np.random.seed(3)
    before = np.random.get_state()[1].copy(), current_generator().state_dict()
    first, again, other = (quick(seed=s, epochs=2).fit(x).score_samples(x) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert current_generator().state_dict() == before[1]


# ---------------------------------------------------------------- images, own models


def test_images_have_maps_of_pixels(images):
    detector = quick(epochs=5).fit(images)
    spoilt = images[:3].copy()
    spoilt[:, 2:4, 5:7] = 1 - spoilt[:, 2:4, 5:7]
    assert detector.error_map(spoilt).shape == spoilt.shape and detector.reconstruct(spoilt).shape == spoilt.shape
    assert detector._fitted[0].kind == "whole" and detector._fitted[1][0].variance.shape == ()


def test_a_model_of_ones_own_is_trained_and_one_that_is_trained_is_left_alone(images):
    own = model(images.shape[1:], "sigmoid")
    before = own.state_dict()
    detector = AnomalyDetector(own, epochs=2).fit(images)
    trained = own.state_dict()
    assert any((trained[name] != before[name]).any() for name in before) and detector._fitted[0].kind == "none"
    ready = AnomalyDetector(own, epochs=0).fit(images[:40], held_out=images[40:])
    assert all((own.state_dict()[name] == trained[name]).all() for name in trained)
    assert len(ready._fitted[1]) == 1 and own.dtype == np.float32
    np.testing.assert_allclose(ready.reconstruct(images), own.reconstruct(images), rtol=1e-6)


def test_a_large_code_and_one_that_never_changes(rng):
    x = surface(rng, 50)
    ta.manual_seed(0)
    wide = ta.Autoencoder(ta.Sequential(ta.Dense(FEATURES, 1200)), ta.Sequential(ta.Dense(1200, FEATURES)))
    assert np.isfinite(AnomalyDetector(wide, epochs=1, trim=0.0).fit(x).score_samples(x)).all()
    dead = model()
    dead.encoder.layers[2].weight.data[...] = 0
    detector = AnomalyDetector(dead, epochs=0).fit(x.astype(np.float32))
    np.testing.assert_allclose(detector.code_distance(x), 0, atol=1e-9)


def test_data_that_are_read_piece_by_piece(tmp_path, rng):
    x = surface(rng, 60)
    np.save(tmp_path / "x.npy", x)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        quick(epochs=2).fit(there).score_samples(there), quick(epochs=2).fit(x).score_samples(x)
    )


# ---------------------------------------------------------------- constant features


def test_constant_features_are_said_and_a_departure_is_found(rng):
    x = surface(rng, 300)
    x[:, 2], x[:, 5] = 0.1, 0.0
    with pytest.warns(UserWarning, match=r"2 of 8 features never change \(2, 5\)"):
        detector = quick().fit(x)
    rows = surface(rng, 100)
    rows[:, 2], rows[:, 5] = np.float32(0.1), 0.0  # rounded to float32: no departure
    assert (detector.predict(rows) == -1).mean() < 0.2
    for feature in (2, 5):
        other = rows.copy()
        other[:, feature] += 1e-3
        assert (detector.predict(other) == -1).all()
        assert (detector.error_map(other).argmax(axis=1) == feature).all()


# ---------------------------------------------------------------- real data


@pytest.mark.slow
def test_the_digit_zero_among_all_others():
    (x, y), (x_test, y_test) = ta.datasets.load_mnist()
    detector = AnomalyDetector(members=1, epochs=10).fit(x[y == 0])
    scores = detector.score_samples(x_test)
    assert area(scores[y_test == 0], scores[y_test != 0]) > 0.98
    assert 0.03 < (scores[y_test == 0] < detector.threshold).mean() < 0.08


def test_a_model_on_another_backend(rng, backend):
    x = surface(rng, 100).astype(np.float32)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    ta.manual_seed(0)
    here = model()
    there = ta.Autoencoder.from_config(**here.config()).to(backend)
    detector = AnomalyDetector(there, epochs=2).fit(x)
    assert there.backend is backend and isinstance(detector.score_samples(x), np.ndarray)
    assert detector.error_map(x).shape == x.shape and np.isfinite(detector.threshold)
    assert detector.score_samples(backend.asarray(x)) == pytest.approx(detector.score_samples(x))
