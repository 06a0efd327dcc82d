"""Recipes: what they say arrives in model and optimizer, what they refuse, and what they reach on MNIST."""

import json
import os

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.backend import NUMPY
from tinyae.errors import RangeError, ShapeError, StateError
from tinyae.history import by_layer
from tinyae.recipes import RECIPES, Recipe
from tinyae.runs.training import build

from .conftest import kept, quick_train, tinyae

pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_built_at_the_width_of_the_data(name):
    recipe = RECIPES[name]
    model = recipe.build((28, 28, 1), classes=10)
    widths = [784, *recipe.widths]
    layers = [part for part in model.modules() if hasattr(part, "out_features")]
    expected = widths if recipe.task == "classify" else [*widths, *widths[-2::-1]]
    if not recipe.encoder and recipe.model == "Autoencoder":
        assert [layers[0].in_features, *(layer.out_features for layer in layers)] == expected
    assert Recipe.from_settings(json.loads(json.dumps(recipe.settings()))) == recipe
    shape = model(np.zeros((2, 28, 28, 1), np.float32)).shape
    assert shape == ((2, 10) if recipe.task == "classify" else (2, 28, 28, 1))
    rng = np.random.default_rng(0)
    np.savez("own.npz", x=rng.random((60, 10, 10, 1), dtype=np.float32), y=np.arange(60) % 4)
    result = quick_train("a", name, epochs=1, data="own.npz")
    assert result["input_size"] == 100
    if recipe.task == "reconstruct":
        code = ta.load("a").encode(np.zeros((1, 10, 10, 1), np.float32))
        assert code.shape[1:] == recipe.code_shape((10, 10, 1)) == tuple(result["code_shape"])
        assert code.size == recipe.code_size((10, 10, 1)) == result["code_size"]
    name_of = {"mse": "val_mse", "bce": "val_bce"}.get(recipe.loss)
    if name_of and recipe.model == "Autoencoder":
        assert np.isclose(result[name_of], result["val_loss"], rtol=1e-4)
    elif name_of and "reconstruction" in result["terms"] and "nats" not in (result["objective"] or ""):
        assert np.isclose(result[name_of], result["terms"]["reconstruction"]["val"], rtol=1e-4)


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


# ---------------------------------------------------------------- convolutions


def kinds(part):
    """A model's layers in few words."""
    words = {ta.Conv2D: "out_channels", ta.MaxPool2D: "size", ta.UpSampling2D: "size"}
    return [f"{type(layer).__name__} {getattr(layer, words[type(layer)])}" for layer in part]


def test_conv_is_the_tutorials_model():
    recipe = RECIPES["conv"]
    model = recipe.build((28, 28, 1))
    assert kinds(model.encoder) == ["Conv2D 32", "MaxPool2D 2", "Conv2D 32", "MaxPool2D 2"]
    assert kinds(model.decoder) == ["Conv2D 32", "UpSampling2D 2", "Conv2D 32", "UpSampling2D 2", "Conv2D 1"]
    convs = [part for part in model.modules() if isinstance(part, ta.Conv2D)]
    assert [c.activation for c in convs] == ["relu"] * 4 + ["sigmoid"] and {c.init for c in convs} == {"he"}
    assert all(c.kernel_size == 3 and c.stride == 1 and c.padding == "same" for c in convs)
    assert model.parameter_count() == 28353
    assert (recipe.loss, recipe.optimizer, recipe.lr["adam"], recipe.batch_size) == ("mse", "adam", 1e-3, 256)
    assert recipe.code_shape((28, 28, 1)) == (7, 7, 32) and recipe.code_size((28, 28, 1)) == 1568
    same = {**recipe.settings(), "loss": "bce"}
    other = RECIPES["conv-bce"].settings()
    assert {k for k in same if same[k] != other[k]} <= {"name", "about", "expected", "source", "lr"}


def test_conv_small_is_the_classic_example():
    recipe = RECIPES["conv-small"]
    model = recipe.build((28, 28, 1))
    assert kinds(model.encoder) == ["Conv2D 16", "MaxPool2D 2", "Conv2D 8", "MaxPool2D 2", "Conv2D 8", "MaxPool2D 2"]
    assert kinds(model.decoder)[-4:] == ["UpSampling2D 2", "Conv2D 16", "UpSampling2D 2", "Conv2D 1"]
    assert model.decoder[4].padding == "valid" and model.parameter_count() == 4385
    assert (
        recipe.code_shape((28, 28, 1)) == (4, 4, 8) and model.reconstruct(np.zeros((2, 28, 28, 1), "f")).shape[1] == 28
    )


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].encoder])
@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (9, 14, 1), (2, 2, 1), (5, 30, 3), (17, 16), (8, 8, 4)])
def test_images_of_any_size_return(name, shape):
    recipe = RECIPES[name]
    model = recipe.build(shape)
    x = np.zeros((2, *shape), np.float32)
    code = model.encode(x)
    assert code.shape[1:] == recipe.code_shape(shape) and model.decode(code).shape == x.shape
    assert model.ends_in_sigmoid() and model.before_sigmoid(x).shape == x.shape
    cropped = any(isinstance(layer, ta.Crop2D) for layer in model.decoder)
    assert cropped == any(n % 4 for n in shape[:2]) or name == "conv-small"


def test_a_code_that_expands_is_allowed_where_it_is_said_and_said_again(monkeypatch, capsys):
    for name in ("conv", "conv-bce"):
        recipe = RECIPES[name]
        recipe.refuse_what_makes_no_sense((28, 28, 1), None)
        assert "1,568" in recipe.about and "larger" in recipe.about and "expands" in recipe.about
    np.save("x.npy", np.random.default_rng(0).random((12, 8, 8, 1), dtype=np.float32))
    _, result, out, _ = tinyae("train conv --data x.npy --epochs 1 --out a --json", monkeypatch, capsys)
    assert result["code_size"] == 128 and result["code_shape"] == [2, 2, 32]
    assert "64 numbers become 128 (2 x 2 x 32), a compression ratio of 0.5: the code is no smaller" in out
    assert "PCA" not in out and list(result["baselines"]) == ["mean image"]
    _, _, out, _ = tinyae("recipes", monkeypatch, capsys)
    assert RECIPES["conv"].about in out


def test_where_nothing_is_said_a_code_that_expands_is_refused():
    with pytest.raises(ShapeError, match="its code has 8 numbers, an example of these data 4: nothing.*larger images"):
        RECIPES["conv-small"].refuse_what_makes_no_sense((2, 2, 1), None)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((64,), r"it has convolutions, and an example of these data has shape \(64,\); expected images.*dense recipe, such as digits"),
        ((1, 28), "expected images"),
        ((3, 4, 5, 6), "expected images"),
        ((1, 28, 28), r"looks like channels first.*x.transpose\(0, 2, 3, 1\)"),
        ((3, 28, 28), "looks like channels first"),
    ],
)  # fmt: skip
def test_what_are_no_images_is_refused(shape, message):
    with pytest.raises(ShapeError, match=message):
        RECIPES["conv"].refuse_what_makes_no_sense(shape, None)


def test_settings_of_runs_from_before_convolutions_are_read():
    settings = json.loads(json.dumps(RECIPES["digits"].settings()))
    for name in ("encoder", "decoder", "may_expand"):
        del settings[name]
    assert Recipe.from_settings(settings) == RECIPES["digits"]
    del settings["widths"]
    with pytest.raises(StateError, match="missing or unknown entries: .*widths"):
        Recipe.from_settings(settings)


@pytest.mark.parametrize(
    "layer, message",
    [(["dense", 3], "unknown kind of layer 'dense'"), (["conv", 0], "expected .kind, number"), (["pool", 2, "full"], "expected"),
     (["conv"], "expected"), ([], "unknown kind"), (["up", 2.0], "expected")],
)  # fmt: skip
def test_layers_that_are_none_are_refused(layer, message):
    settings = json.loads(json.dumps(RECIPES["conv"].settings()))
    settings["decoder"][0] = layer
    with pytest.raises(RangeError, match=message):
        Recipe.from_settings(settings)


def test_a_conv_run_is_resumed_to_the_last_bit_and_reconstructs():
    x = np.random.default_rng(0).random((30, 9, 8, 1), dtype=np.float32)
    np.save("x.npy", x)
    quick_train("a", "conv-small", 4, data="x.npy", batch_size=8)
    quick_train("b", "conv-small", 2, data="x.npy", batch_size=8)
    runs.resume("b", epochs=4, progress=False)
    assert kept("a") == kept("b") and all(record["gradients"] for record in kept("a")[1])
    result = runs.reconstruct("a", out="r.png")
    assert result["examples"] == 3 and os.path.getsize("r.png") > 1000
    assert os.path.getsize("a/gradients.png") > 1000 and os.path.getsize("a/reconstructions.png") > 1000


def test_optimizers_are_compared_on_convolutions():
    np.save("x.npy", np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32))
    result = runs.compare("conv-digits", data="x.npy", optimizers=["sgd", "adam"], epochs=1, progress=False)
    assert [len(run["history"]) for run in result["runs"]] == [1, 1] and not any(
        run["trouble"] for run in result["runs"]
    )


def test_labels_with_large_gaps_are_refused():
    with pytest.raises(RangeError, match="without large gaps"):
        RECIPES["classifier"].refuse_what_makes_no_sense((9,), np.array([0, 1, 3]))


# ---------------------------------------------------------------- on MNIST


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
def test_the_tutorials_model_collapses_as_it_is_written_and_trains_with_he():
    """64 steps are enough to see both: with Glorot's initial weights it ends at the error of predicting 0 everywhere."""
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    x, x_test = x[:256], x_test[:200]
    np.savez("few.npz", x_train=x, x_test=x_test)
    few = {"data": "few.npz", "batch_size": 16}
    with pytest.warns(ta.CollapseWarning) as caught:
        collapsed = quick_train("glorot", "conv", 4, init="glorot", **few)
    zero, mean = (x_test**2).mean(), ((x_test - x.mean(axis=0)) ** 2).mean()
    assert collapsed["val_mse"] == pytest.approx(zero, rel=1e-3)
    text, gradients = str(caught[0].message), ta.History.load("glorot/history.jsonl")["gradients"]
    layers = {name: f"{norm:.1e}" for name, norm in by_layer(gradients[-1]).items()}
    assert list(layers) == ["encoder.0", "encoder.2", "decoder.0", "decoder.2", "decoder.4"]
    assert "a constant, 0 everywhere" in text and f"MSE on the held-out data is {collapsed['val_mse']:.5f}" in text
    assert f"would have {mean:.5f}" in text and "Start anew with init='he'" in text
    assert ", ".join(f"{name} {norm}" for name, norm in layers.items()) in text

    trained = quick_train("he", "conv", 4, **few)
    assert trained["val_mse"] < 0.5 * mean < 0.5 * zero
    alive = by_layer(ta.History.load("he/history.jsonl")["gradients"][-1])
    assert all(alive[name] > 10 * float(norm) for name, norm in layers.items())


# the only one that may collapse, and says so
CONV = pytest.param("conv", "val_mse", 0.0036, 3, marks=pytest.mark.filterwarnings("default::tinyae.CollapseWarning"))


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
@pytest.mark.slow
@pytest.mark.parametrize(
    "name, key, bound, seeds",
    [("dense32", "val_mse", 0.0100, 3), ("deep", "val_mse", 0.0089, 3), ("bce", "val_loss", 0.0767, 3),
     ("classifier", "test_accuracy", 0.972, 9), CONV, ("conv-bce", "val_loss", 0.070, 3)],
)  # fmt: skip
def test_recipes_on_mnist_reach_what_others_reach(name, key, bound, seeds):
    """The median over seeds. One alone depends on rounding, and so on the number of threads: the classifier's accuracy
    varies by half a percent, and with it even the median of three by more than it lies above the bound; and three seeds
    of ten, one of these among them, collapse with ``conv``, as the recipe says."""
    value = float(np.median([runs.train(name, seed=s, out=f"{name}-{s}", progress=False)[key] for s in range(seeds)]))
    assert value >= bound if key == "test_accuracy" else value <= bound
    print(f"{name}: {key} {value:.5f} (to reach: {bound})")


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
def test_an_epoch_on_mnist():
    result = runs.train("dense32", epochs=1, out="a", progress=False)
    assert result["val_mse"] < 0.02 and result["examples"] == {"train": 60000, "val": 10000}
