"""ta.evaluate: what it gives for models that are known through and through, and what it refuses."""

import json

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.metrics import bce, entropy_floor, mean_baseline, pca_baseline

pytest.importorskip("sklearn", reason="the probes are scikit-learn's")


class Identity(ta.Module):
    """A layer that does nothing."""

    def forward(self, x):
        return x

    def config(self):
        return {}


class Known(ta.Autoencoder):
    """An autoencoder whose code and reconstruction are what it is told, for arrays."""

    def __init__(self, code=lambda x: x, made=lambda x: x, sigmoid=True):
        super().__init__(Identity(), Identity())
        self.made_code, self.made, self.sigmoid = code, made, sigmoid

    def encode(self, x):
        return self.made_code(np.asarray(x))

    def reconstruct(self, x):
        return self.made(np.asarray(x))

    def ends_in_sigmoid(self):
        return self.sigmoid


def examples(rng, n=120, classes=3):
    """Images 6x6 in [0, 1] whose class can be seen, and labels."""
    labels = np.arange(n) % classes
    x = rng.uniform(0, 0.3, (n, 6, 6, 1))
    for row, label in zip(x, labels):
        row[2 * label : 2 * label + 2] += 0.6
    return x.astype(np.float32), labels


def first_columns(k):
    return lambda x: x.reshape(len(x), -1)[:, :k]


def middle(result, measure, who="model"):
    return result["measures"][measure][who]["median"]


# ---------------------------------------------------------------- reconstructions


def test_a_perfect_reconstruction(rng):
    x, _ = examples(rng)
    result = ta.evaluate(Known(first_columns(4)), x, probes=False)
    assert middle(result, "mse") == 0 and middle(result, "psnr") == 100
    assert middle(result, "bce_above_floor") == 0 and np.isclose(middle(result, "bce"), entropy_floor(x))
    if "ssim" in result["measures"]:
        assert np.isclose(middle(result, "ssim"), 1) and result["settings"]["ssim_window"] == "5x5, uniform"


def test_known_errors_beside_pca_and_the_mean(rng):
    x, y = examples(rng)
    x_test, made = x[:50], lambda x: np.clip(x + 0.05, 0, 1)
    result = ta.evaluate(Known(first_columns(4), made), x_test, train=(x[50:], None))
    assert np.isclose(middle(result, "mse"), ((made(x_test) - x_test) ** 2).mean(), rtol=1e-5)
    assert np.isclose(middle(result, "bce"), bce(made(x_test), x_test), rtol=1e-6)
    assert np.isclose(middle(result, "mse", "pca"), pca_baseline(x[50:], x_test, 4))
    assert np.isclose(middle(result, "mse", "mean"), mean_baseline(x[50:], x_test))
    assert np.isclose(middle(result, "bce", "mean"), mean_baseline(x[50:], x_test, "bce"))
    assert np.isclose(middle(result, "psnr"), ta.psnr(made(x_test), x_test))
    assert "pca" not in result["measures"]["bce"]  # it leaves [0, 1]


def test_without_a_sigmoid_there_is_no_cross_entropy(rng):
    x, _ = examples(rng)
    assert "bce" not in ta.evaluate(Known(first_columns(4), sigmoid=False), x, probes=False)["measures"]
    result = ta.evaluate(Known(first_columns(4)), 10 * x - 5, probes=False)  # nor of data that are no pixels
    assert "bce" not in result["measures"] and 8 < result["settings"]["peak"] < 10


def test_plain_vectors_have_no_ssim(rng):
    x = rng.random((40, 7), dtype=np.float32)
    result = ta.evaluate(Known(first_columns(2)), x)
    assert {"mse", "bce", "bce_above_floor", "psnr"} == set(result["measures"]) and result["numbers"] == "values"
    assert "Without labels" in result["remarks"][-1]


def test_in_pieces_and_from_rows_it_is_the_same(rng, monkeypatch):
    x, y = examples(rng)
    model = Known(first_columns(4), lambda x: x * 0.9)
    whole = ta.evaluate(model, x, y, seeds=0)
    monkeypatch.setattr("tinyae.metrics.PIECE", 100)
    pieces = ta.evaluate(model, ta.Rows(x), y, seeds=0)
    for measure, found in whole["measures"].items():
        for who, spread in found.items():
            assert np.isclose(spread["median"], pieces["measures"][measure][who]["median"], rtol=1e-6), (measure, who)


def test_a_real_model_and_the_digits():
    (x, y), (x_test, y_test) = ta.datasets.load_digits()
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 8)), ta.Sequential(ta.Dense(8, 64, "sigmoid"), ta.Reshape(8, 8, 1))
    )
    model.fit(x, 15, 32, lr=1e-2, progress=False)
    result = ta.evaluate(model, x_test, y_test, train=(x, y))
    assert np.isclose(middle(result, "mse"), ((model.reconstruct(x_test) - x_test) ** 2).mean(), rtol=1e-5)
    assert round(middle(result, "mse", "pca"), 4) == 0.0245  # as in test_metrics
    assert middle(result, "knn_accuracy", "raw") > 0.97 and middle(result, "knn_accuracy") > 0.85
    assert middle(result, "linear_accuracy", "raw") > middle(result, "linear_accuracy", "pca") > 0.85
    assert result["remarks"] == [] or "SSIM needs" in result["remarks"][0]


# ---------------------------------------------------------------- codes


def test_a_code_that_is_the_label_and_one_that_knows_nothing(rng):
    x, y = examples(rng)
    told = lambda x: np.eye(3)[(x.reshape(len(x), 3, -1).mean(axis=2)).argmax(axis=1)]  # noqa: E731
    result = ta.evaluate(Known(told), x[:60], y[:60], train=(x[60:], y[60:]), k=5)
    for measure in ("knn_accuracy", "linear_accuracy", "clustering_accuracy", "nmi", "ari", "precision"):
        assert middle(result, measure) == 1, measure
    blind = lambda x: np.random.default_rng(0).normal(size=(len(x), 3))  # noqa: E731
    result = ta.evaluate(Known(blind), x[:60], y[:60], train=(x[60:], y[60:]), k=5)
    for measure in ("knn_accuracy", "linear_accuracy", "precision"):
        assert middle(result, measure) < 0.6 < middle(result, measure, "raw"), measure
    assert middle(result, "ari") < 0.2 and middle(result, "clustering_accuracy") < 0.6


def test_probes_are_fitted_on_train_and_clusters_found_in_the_held_out(rng):
    x, y = examples(rng)
    wrong = (y[60:] + 1) % 3
    result = ta.evaluate(Known(first_columns(36)), x[:60], y[:60], train=(x[60:], wrong), k=5)
    assert all(middle(result, name) == 0 for name in ("knn_accuracy", "linear_accuracy", "precision"))
    assert middle(result, "clustering_accuracy") == 1
    lost = rng.integers(0, 3, 60)  # labels that mean nothing
    result = ta.evaluate(Known(first_columns(36)), x[:60], y[:60], train=(x[60:], lost), k=5)
    assert middle(result, "clustering_accuracy") == 1 and middle(result, "knn_accuracy") < 0.6


def test_each_of_several_models_counts_with_its_median_over_the_seeds(rng):
    x, y = rng.random((300, 6, 6, 1), dtype=np.float32), rng.integers(0, 3, 300)
    models = [Known(first_columns(4)), Known(lambda x: first_columns(8)(x)[:, 4:])]
    alone = [ta.evaluate(model, x, y, limit=60)["measures"]["nmi"]["model"] for model in models]
    assert all(one["values"][0] != one["median"] for one in alone)  # else this would show nothing
    together = ta.evaluate(models, x, y, limit=60)["measures"]["nmi"]["model"]
    assert together["values"] == [one["median"] for one in alone]


def test_the_code_is_compared_with_pca_of_its_size(rng):
    x, y = examples(rng)
    from sklearn.decomposition import PCA

    pca = PCA(2).fit(x[60:].reshape(60, -1))
    model = Known(lambda x: pca.transform(x.reshape(len(x), -1)))
    result = ta.evaluate(model, x[:60], y[:60], train=(x[60:], y[60:]))
    assert result["code_size"] == 2
    for measure in ("knn_accuracy", "linear_accuracy", "clustering_accuracy", "precision"):
        assert np.isclose(middle(result, measure), middle(result, measure, "pca"), atol=0.02), measure


def test_images_as_codes_are_flattened_and_codebooks_looked_up(rng):
    x, y = examples(rng)
    maps = ta.evaluate(Known(lambda x: x[:, ::2, ::2]), x, y)
    assert maps["code_size"] == 9

    class Book(Known):
        def lookup(self, index):
            return ta.Tensor(np.eye(5, dtype=np.float32)[index.numpy()].reshape(len(index), -1))

    places = lambda x: (x.reshape(len(x), -1)[:, :2] * 4).astype(np.int64)  # noqa: E731
    result = ta.evaluate(Book(places), x, y)
    assert result["code_size"] == 10 and "codebook" in " ".join(result["remarks"])
    result = ta.evaluate(Known(places), x, y)
    assert result["code_size"] == 2 and "as if they were amounts" in " ".join(result["remarks"])


def test_without_training_examples_the_data_are_halved(rng):
    x, y = examples(rng, 101)
    seen = []
    model = Known(lambda x: seen.append(x[:, 0, 0, 0].tolist()) or first_columns(4)(x))
    result = ta.evaluate(model, x, y, seeds=[3, 4])
    assert (result["settings"]["examples_asked"], result["settings"]["examples_fitted"]) == (51, 50)
    assert "fitted on 50 of these and asked about 51 others" in " ".join(result["remarks"])
    asked, fitted = (set(part) for part in seen[1:3])  # the first was to learn the code's size
    assert len(asked) == 51 and len(fitted) == 50 and not asked & fitted
    assert set(seen[3]) != asked  # another half for another seed


def test_no_more_than_the_limit_is_looked_at(rng):
    (x, _), y = examples(rng, 300), rng.integers(0, 3, 300)
    sizes = []
    model = Known(lambda x: sizes.append(len(x)) or first_columns(4)(x))
    result = ta.evaluate(model, x[:150], y[:150], train=(x[150:], y[150:]), limit=40)
    assert max(sizes) == 40 and result["examples"] == 150
    told = " ".join(result["remarks"])
    assert "40 of the 150 held-out examples" in told and "40 of the 150 training examples" in told
    assert len(set(result["measures"]["nmi"]["raw"]["values"])) > 1  # other examples for each seed


def test_several_models_give_a_median_and_a_range(rng):
    x, y = examples(rng)
    models = [Known(first_columns(4), lambda x, by=by: x * by) for by in (0.5, 0.9, 0.8)]
    result = ta.evaluate(models, x, y)
    alone = [middle(ta.evaluate(model, x, y), "mse") for model in models]
    assert result["measures"]["mse"]["model"]["values"] == alone and middle(result, "mse") == alone[2]
    assert (
        result["measures"]["mse"]["model"]["low"] == alone[1] and result["measures"]["mse"]["model"]["high"] == alone[0]
    )
    assert (
        len(result["measures"]["nmi"]["model"]["values"]) == 3 and len(result["measures"]["mse"]["pca"]["values"]) == 1
    )
    assert "3 models" in str(result) and "median over the 3 models" in str(result)


def test_a_classifier_has_an_accuracy_only(rng):
    x = rng.random((50, 4), dtype=np.float32)
    model = ta.Sequential(ta.Dense(4, 3))
    y = model(x).numpy().argmax(axis=1)
    y[:10] = (y[:10] + 1) % 3
    result = ta.evaluate(model, x, y)
    assert np.isclose(middle(result, "accuracy"), 0.8) and set(result["measures"]) == {"accuracy"}
    assert "0.8000" in str(result)
    with pytest.raises(RangeError, match="classifier, and no labels"):
        ta.evaluate(model, x)


def test_it_is_written_down_and_printed(rng):
    x, y = examples(rng)
    result = ta.evaluate(Known(first_columns(4), lambda x: x * 0.9), x, y)
    assert json.loads(json.dumps(result)) == result
    text = str(result)
    for part in (
        "mean over pixels",
        "PSNR, dB",
        "k-means, NMI",
        "raw pixels",
        "PCA, 4",
        "mean example",
        "0 is perfect",
    ):
        assert part in text
    assert repr(result) == text and max(map(len, text.splitlines())) < 130


def test_labels_may_have_any_numbers_and_any_order(rng):
    x, y = examples(rng)
    names = np.array([70, -2, 9])
    one, two = (ta.evaluate(Known(first_columns(4)), x, labels) for labels in (y, names[y]))
    assert one["measures"] == two["measures"]


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"model": "model"}, DtypeError, "expected a Module"),
        ({"model": []}, RangeError, "at least one model"),
        ({"data": np.zeros(5)}, ShapeError, "one entry per example"),
        ({"data": np.full((120, 6, 6, 1), np.nan)}, RangeError, "NaN or infinite"),
        ({"labels": np.arange(7)}, ShapeError, "120 examples, but there are 7 labels"),
        ({"labels": np.zeros(120)}, DtypeError, "whole numbers"),
        ({"labels": np.zeros(120, int)}, RangeError, "one class"),
        ({"train": np.zeros((9, 6, 6, 1))}, DtypeError, "expected a pair"),
        ({"train": (np.zeros((9, 5, 5, 1)), np.arange(9))}, ShapeError, "they must be equal"),
        ({"train": (np.zeros((9, 6, 6, 1)), None)}, RangeError, "train has none"),
        ({"train": (np.zeros((4, 6, 6, 1)), np.arange(4))}, RangeError, "have 4 examples to be fitted on"),
        ({"clusters": 200}, RangeError, "200"),
        ({"seeds": []}, RangeError, "seeds is empty"),
        ({"seeds": [-1]}, RangeError, "a seed is -1"),
        ({"k": 0}, RangeError, "k is 0"),
        ({"limit": 3}, RangeError, "limit is 3"),
        ({"model": Known(lambda x: np.full((len(x), 2), np.nan))}, RangeError, "the code has NaN"),
        ({"model": [Known(first_columns(2)), Known(first_columns(3))]}, RangeError, "codes have 2, 3 numbers"),
        ({"model": Known(first_columns(2), lambda x: x[:, :3])}, ShapeError, "expected the shape of its input"),
    ],
)
def test_what_cannot_be_evaluated(rng, changes, error, message):
    x, y = examples(rng)
    given = {"model": Known(first_columns(4)), "data": x, "labels": y} | changes
    with pytest.raises(error, match=message):
        ta.evaluate(**given)


def test_one_seed_may_be_any_whole_number(rng):
    x, y = examples(rng)
    assert ta.evaluate(Known(first_columns(4)), x, y, seeds=np.int64(3))["seeds"] == [3]
    with pytest.raises(RangeError, match="a seed is None"):
        ta.evaluate(Known(first_columns(4)), x, y, seeds=None)
