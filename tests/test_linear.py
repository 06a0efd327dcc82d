"""The linear autoencoder: the theorem holds, what it does not say does not, and the check of it can fail."""

import json
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, ShapeError
from tinyae.metrics import mse, pca_baseline, principal_axes
from tinyae.models.linear import angles_between
from tinyae.recipes import RECIPES

from .conftest import tinyae, weights

BOTH = pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])


@pytest.fixture
def x(rng):
    """200 examples of shape (3, 2), float64, far from centred, with well separated variances."""
    mixed = rng.normal(size=(200, 6)) * [3.0, 2.0, 1.2, 0.6, 0.3, 0.1]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return (mixed @ turn + 2.0 * rng.normal(size=6)).reshape(200, 3, 2)


def at_pca(x, code, tied=False, mix=None, turn=0.0):
    """The model that the theorem says is best, by hand; with another basis of the code, or its last direction turned."""
    mean, _, vectors = principal_axes(x)
    U = vectors[:, ::-1]  # the largest first
    basis = U[:, :code].copy()
    basis[:, -1] = np.cos(turn) * U[:, code - 1] + np.sin(turn) * U[:, code]
    G = np.eye(code) if mix is None else mix
    model = ta.LinearAutoencoder(x.shape[1:], code, tied=tied).astype("float64")
    W, V = basis @ G, np.linalg.inv(G) @ basis.T
    state = {"encoder.1.weight": W, "encoder.1.bias": -mean @ W, "decoder.0.bias": mean}
    model.load_state_dict(state if tied else {**state, "decoder.0.weight": V})
    return model


def trained(x, code, tied, seed=0, epochs=15):
    """By L-BFGS in float64, which sees differences that float32 cannot."""
    ta.manual_seed(seed)
    model = ta.LinearAutoencoder(x.shape[1:], code, tied=tied).astype("float64")
    model.fit(x, epochs, optimizer=ta.LBFGS(model.parameters(), iterations=100), progress=False)
    return model


# ---------------------------------------------------------------- what the theorem says


@BOTH
@pytest.mark.parametrize("seed", [0, 1])
def test_training_finds_the_span_and_the_error_of_pca(x, tied, seed):
    model = trained(x, 3, tied, seed)
    assert model.principal_angles(x).shape == (3,) and model.principal_angles(x).max() < 0.2
    assert np.isclose(mse(model.reconstruct(x), x), pca_baseline(x, x, 3), rtol=1e-5)
    found = model.compare_with_pca(x)
    assert abs(found["ratio"] - 1) < 1e-5 and found["principal_angles"] == model.principal_angles(x).tolist()
    # the biases take the mean off and put it back
    mean = x.mean(axis=0, keepdims=True)
    assert np.allclose(model.reconstruct(mean), mean, atol=1e-2)
    # the product of the weights is a projection, and the last D - K eigenvalues are the error
    P = model.encoder[1].weight.numpy() @ model._span().T
    assert np.allclose(P, P.T, atol=1e-2) and np.allclose(P @ P, P, atol=1e-2)
    assert np.isclose(model.pca_mse(x), principal_axes(x)[1][:3].sum() / 6, rtol=1e-10)


def test_the_eigenvectors_are_those_of_numpys_covariance(x):
    mean, values, vectors = principal_axes(x)
    flat = x.reshape(200, 6)
    assert np.allclose(mean, flat.mean(axis=0)) and np.allclose(values, np.linalg.eigvalsh(np.cov(flat.T, bias=True)))
    assert np.allclose(np.cov(flat.T, bias=True) @ vectors, vectors * values)


@BOTH
def test_without_biases_it_is_not_pca(x, tied):
    """The biases are what centres: without them the mean of the data takes a direction of the code."""
    model = ta.LinearAutoencoder(x.shape[1:], 2, tied=tied).astype("float64")
    for layer in (model.encoder[1], model.decoder[0]):
        layer.bias.data[...] = 0
        layer.bias.requires_grad = False
    model.fit(x, 30, optimizer=ta.LBFGS(model.parameters(), iterations=100), progress=False)
    assert model.principal_angles(x).max() > 5 and model.compare_with_pca(x)["ratio"] > 1.05


# ---------------------------------------------------------------- what it does not say


def test_any_mix_of_the_code_is_as_good_and_ties_leave_rotations(x, rng):
    best, mix = at_pca(x, 3), rng.normal(size=(3, 3))
    mixed = at_pca(x, 3, mix=mix)
    assert np.allclose(best.reconstruct(x), mixed.reconstruct(x), atol=1e-8)
    assert mixed.principal_angles(x).max() < 1e-4 and not np.allclose(best.encode(x), mixed.encode(x), atol=0.1)
    rotation = np.linalg.qr(mix)[0]
    assert np.allclose(at_pca(x, 3, tied=True, mix=rotation).reconstruct(x), best.reconstruct(x), atol=1e-8)
    assert not np.allclose(at_pca(x, 3, tied=True, mix=mix).reconstruct(x), best.reconstruct(x), atol=0.1)
    W = trained(x, 3, tied=True).encoder[1].weight.numpy()
    assert np.allclose(W.T @ W, np.eye(3), atol=1e-2)
    V = trained(x, 3, tied=False).decoder[0].weight.numpy()
    assert not np.allclose(V @ V.T, np.eye(3), atol=0.05)
    # the eigenvectors of the codes' covariance bring PCA's axes back
    codes = at_pca(x, 3, mix=rotation).encode(x)
    values = np.linalg.eigvalsh(np.cov(codes.T, bias=True))
    assert np.allclose(values, principal_axes(x)[1][3:], rtol=1e-9)


@pytest.mark.parametrize("degrees", [0.001, 1.0, 30.0, 90.0])
def test_what_a_turned_direction_costs(x, degrees):
    """sin² of the angle times the eigenvalues' difference, by D: the formula of the docs and of the report."""
    model = at_pca(x, 3, turn=np.radians(degrees))
    angles = model.principal_angles(x)
    assert np.isclose(angles[0], degrees, rtol=1e-4) and angles[1:].max() < 1e-4
    found = model.compare_with_pca(x)
    values = principal_axes(x)[1][::-1]
    assert found["eigenvalues"] == pytest.approx([values[2], values[3]])
    assert np.isclose(found["most_at_stake"], (values[2] - values[3]) / 6)
    cost = np.sin(np.radians(degrees)) ** 2 * found["most_at_stake"]
    assert np.isclose(found["mse"] - found["pca_mse"], cost, rtol=1e-4, atol=1e-12)


# ---------------------------------------------------------------- the check itself


def test_the_check_is_not_satisfied_by_other_spans(x):
    untrained = ta.LinearAutoencoder((3, 2), 3)
    assert untrained.principal_angles(x).max() > 10 and untrained.compare_with_pca(x)["ratio"] > 1.5
    dead = ta.LinearAutoencoder((3, 2), 2, init="zeros")
    assert dead.principal_angles(x).tolist() == [90, 90]
    one = at_pca(x, 2)
    one.decoder[0].weight.data[1] = 2 * one.decoder[0].weight.data[0]  # two rows, one direction
    assert np.allclose(one.principal_angles(x), [90, 0], atol=1e-5)
    whole = ta.LinearAutoencoder((3, 2), 6)
    assert whole.principal_angles(x).max() < 1e-4 and whole.compare_with_pca(x)["eigenvalues"][1] == 0
    assert np.allclose(angles_between(np.eye(3)[:, :1], np.array([[1.0], [1.0], [0.0]])), 45)


def test_held_out_examples_are_measured_with_the_pca_of_the_training(x):
    model = at_pca(x[:150], 3)
    found = model.compare_with_pca(x[:150], x[150:])
    assert found["pca_mse"] == model.pca_mse(x[:150], x[150:]) == pytest.approx(pca_baseline(x[:150], x[150:], 3))
    assert found["ratio"] == pytest.approx(1) and found["mse"] != model.compare_with_pca(x[:150])["mse"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (((8, 8, 1), 0), "code is 0; expected an integer >= 1"),
        ((64, 65), "a code of 65 numbers for examples of 64; expected at most as many"),
        ((64, 2.5), "code is 2.5"),
        ((64, 2, False, "best"), "unknown initialiser 'best'"),
    ],
)
def test_wrong_sizes(arguments, message):
    with pytest.raises(RangeError, match=message):
        ta.LinearAutoencoder(*arguments)


def test_wrong_questions(x):
    model = ta.LinearAutoencoder((3, 2), 3)
    for ask in (model.principal_angles, model.pca_mse, model.compare_with_pca):
        with pytest.raises(RangeError, match="3 examples have at most 2 principal components, and the code has 3"):
            ask(x[:3])
        with pytest.raises(ShapeError, match=r"shape \(5,\); expected \(3, 2\)"):
            ask(np.ones((9, 5)))
    with pytest.raises(RangeError, match="has no sigmoid at its end. Use 'mse'"):
        model.fit(x / 100, 1, loss="bce", progress=False)
    assert ta.LinearAutoencoder(5000, 2).findings(np.ones((9, 5000), "f"), None) == {}
    with pytest.raises(RangeError, match="5,000 numbers.*at most 4,096"):
        ta.LinearAutoencoder(5000, 2).principal_angles(np.ones((9, 5000), "f"))


def test_layers_that_are_not_linear_are_no_parts_of_it():
    good = [ta.Flatten(), ta.Dense(6, 2)], [ta.Dense(2, 6), ta.Reshape(3, 2)]
    model = ta.LinearAutoencoder.from_parts(*good, tied=True)
    assert (model.shape, model.code_size, model.tied, model.init) == ((3, 2), 2, True, "he")
    for encoder in ([ta.Dense(6, 2, "relu")], [ta.Dense(6, 4), ta.Dense(4, 2)]):
        with pytest.raises(ShapeError, match="expected one Dense without activation in the encoder"):
            ta.LinearAutoencoder.from_parts(encoder, good[1])


@BOTH
def test_a_file_brings_it_back(x, tied, tmp_path):
    model = trained(x, 2, tied, epochs=1)
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert type(loaded) is ta.LinearAutoencoder and loaded.config() == model.config()
    assert weights(loaded) == weights(model) and np.array_equal(loaded.reconstruct(x), model.reconstruct(x))
    assert np.array_equal(loaded.principal_angles(x), model.principal_angles(x))
    assert len(loaded.parameters()) == (3 if tied else 4)


# ---------------------------------------------------------------- real data


def test_the_recipe_shows_the_angles(here, monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    _, result, out, _ = tinyae("train linear --epochs 2 --out a --json", monkeypatch, capsys)
    assert "principal angles to PCA's span, degrees: " in out and "eigenvalues 8 and 9 are 0.1681 and 0.1568" in out
    model = ta.load("a")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    assert type(model) is ta.LinearAutoencoder and model.compare_with_pca(x, x_test)["mse"] == pytest.approx(
        result["val_mse"]
    )
    records = [json.loads(line) for line in Path("a/history.jsonl").read_text().splitlines()]
    assert records[-1]["lr"] < 1e-2 * 0.01  # it falls to 0
    code, *_ = tinyae("resume a --epochs 3", monkeypatch, capsys)
    assert code == 0
    assert tinyae("evaluate a", monkeypatch, capsys)[0] == 0


def test_the_bar_on_the_digits():
    """Every principal angle below 1 degree, the held-out error within 0.5 % of PCA's."""
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    ta.manual_seed(0)
    recipe = RECIPES["linear"]
    model = recipe.build(x.shape[1:])
    model.fit(x, recipe.epochs, recipe.batch_size, lr=recipe.lr["adam"], callbacks=[ta.CosineDecay()], progress=False)
    found = model.compare_with_pca(x, x_test)
    assert max(found["principal_angles"]) < 1 and abs(found["ratio"] - 1) < 0.005
