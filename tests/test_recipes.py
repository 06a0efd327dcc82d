"""Recipes: what they say arrives in model and optimizer, what they refuse, and what they reach on MNIST."""

import json
import os

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.backend import NUMPY
from tinyae.errors import RangeError, ShapeError
from tinyae.recipes import RECIPES, Recipe
from tinyae.runs.training import build

from .conftest import quick_train

pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_built_at_the_width_of_the_data(name):
    recipe = RECIPES[name]
    model = recipe.build((28, 28, 1), classes=10)
    widths = [784, *recipe.widths]
    layers = [part for part in model.modules() if isinstance(part, ta.Dense)]
    expected = widths if recipe.task == "classify" else [*widths, *widths[-2::-1]]
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == expected
    assert Recipe.from_settings(json.loads(json.dumps(recipe.settings()))) == recipe
    shape = model(np.zeros((2, 28, 28, 1), np.float32)).shape
    assert shape == ((2, 10) if recipe.task == "classify" else (2, 28, 28, 1))
    rng = np.random.default_rng(0)
    np.savez("own.npz", x=rng.random((60, 10, 10, 1), dtype=np.float32), y=np.arange(60) % 4)
    result = quick_train("a", name, epochs=1, data="own.npz")
    assert result["input_size"] == 100
    name_of = {"mse": "val_mse", "bce": "val_bce"}.get(recipe.loss)
    if name_of:
        assert np.isclose(result[name_of], result["val_loss"], rtol=1e-4)


def test_what_a_recipe_says_of_its_optimizer_and_weights_arrives():
    x, y = np.zeros((20, 100), np.float32), np.arange(20) % 10
    _, optimizer = build(RECIPES["classifier"], ((x, y), (x, y)), 0, NUMPY)
    assert optimizer.settings()["eps"] == 1e-3 and optimizer.lr == 1e-2
    result = quick_train("a", epochs=1, init="glorot_normal", lr=1e-4, batch_size=50)
    assert (result["init"], result["lr"], result["batch_size"]) == ("glorot_normal", 1e-4, 50)
    ta.manual_seed(0)
    first = RECIPES["digits"].build((8, 8, 1)).encoder[1].weight.numpy()
    assert not np.allclose(ta.load("a").encoder[1].weight.numpy(), first, atol=0.02)


def test_a_code_as_wide_as_the_data_is_refused():
    np.save("x.npy", np.random.default_rng(0).random((40, 8), dtype=np.float32))
    with pytest.raises(ShapeError, match="nothing would be compressed"):
        quick_train("a", data="x.npy")


def test_labels_with_large_gaps_are_refused():
    with pytest.raises(RangeError, match="without large gaps"):
        RECIPES["classifier"].refuse_what_makes_no_sense((9,), np.array([0, 1, 3]))


# ---------------------------------------------------------------- on MNIST


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
@pytest.mark.slow
@pytest.mark.parametrize(
    "name, key, bound, seeds",
    [("dense32", "val_mse", 0.0100, 3), ("deep", "val_mse", 0.0089, 3), ("bce", "val_loss", 0.0767, 3),
     ("classifier", "test_accuracy", 0.972, 9)],
)  # fmt: skip
def test_recipes_on_mnist_reach_what_keras_reaches(name, key, bound, seeds):
    """The median over seeds. One alone depends on rounding, and so on the number of threads: the classifier's accuracy
    varies by half a percent, and with it even the median of three by more than it lies above the bound."""
    value = float(np.median([runs.train(name, seed=s, out=f"{name}-{s}", progress=False)[key] for s in range(seeds)]))
    assert value >= bound if key == "test_accuracy" else value <= bound
    print(f"{name}: {key} {value:.5f} (to reach: {bound})")


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
def test_an_epoch_on_mnist():
    result = runs.train("dense32", epochs=1, out="a", progress=False)
    assert result["val_mse"] < 0.02 and result["examples"] == {"train": 60000, "val": 10000}
