"""Layers, initial weights, and what a Module knows about itself."""

import copy

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError, StateError
from tinyae.nn.init import INITIALISERS, initial_weight

ACTIVATE = {None: lambda x: x, **ta.functional.ACTIVATIONS}
EXPECTED_VARIANCE = {
    "he": 2 / 300,
    "he_normal": 2 / 300,
    "glorot": 2 / 500,
    "glorot_normal": 2 / 500,
    "pytorch": 1 / 900,
    "zeros": 0,
}


@pytest.mark.parametrize("init", INITIALISERS)
def test_initial_weights_have_the_variance_of_their_formula(init):
    ta.manual_seed(0)
    weight = initial_weight(init, (300, 200), 300, 200)
    assert weight.dtype == np.float32 and weight.shape == (300, 200)
    assert np.isclose(weight.var(), EXPECTED_VARIANCE[init], rtol=0.02)
    assert abs(weight.mean()) <= 4 * np.sqrt(EXPECTED_VARIANCE[init] / weight.size)
    if init in ("he", "glorot", "pytorch"):
        assert np.abs(weight).max() <= np.sqrt(3 * EXPECTED_VARIANCE[init]) * (1 + 1e-6)


def test_biases_start_at_zero_but_for_pytorch():
    assert not ta.Dense(9, 50).bias.numpy().any()
    bias = ta.Dense(9, 500, init="pytorch").bias.numpy()
    assert bias.any() and np.abs(bias).max() <= 1 / 3


@pytest.mark.parametrize("activation", [None, *ta.functional.ACTIVATIONS])
def test_dense_is_its_formula(activation, rng, backend):
    layer = ta.Dense(4, 3, activation).to(backend)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    expected = ACTIVATE[activation](ta.Tensor(x @ backend.to_host(layer.weight.data))).numpy()
    assert np.allclose(layer(ta.Tensor(x).to(backend)).numpy(), expected, atol=1e-6)
    assert ta.Dense(4, 3, bias=False).bias is None


def test_dropout_keeps_the_expected_value(backend):
    layer, x = ta.Dropout(0.3), ta.Tensor(np.ones((400, 500), np.float32)).to(backend)
    y = layer(x).numpy()
    assert np.isclose((y == 0).mean(), 0.3, atol=0.005)
    assert np.allclose(y[y != 0], 1 / 0.7) and np.isclose(y.mean(), 1, atol=0.01)
    assert not np.array_equal(y, layer(x).numpy())
    assert layer.eval()(x) is x


def test_noise_only_in_training(backend):
    layer, x = ta.GaussianNoise(0.5), ta.Tensor(np.zeros((400, 500), np.float32)).to(backend)
    assert np.isclose(layer(x).numpy().std(), 0.5, atol=0.005)
    assert layer.eval()(x) is x


def test_flatten_and_reshape_are_inverse(rng):
    x = rng.random((5, 8, 8, 1), dtype=np.float32)
    flat = ta.Flatten()(x)
    assert flat.shape == (5, 64)
    assert np.array_equal(ta.Reshape(8, 8, 1)(flat).numpy(), x)
    assert ta.Reshape((8, 8, 1)).shape == (8, 8, 1)


def test_names_order_and_counts(digits_model):
    names = [name for name, _ in digits_model.named_parameters()]
    assert names == [
        f"{part}.{tensor}" for part in ("encoder.1", "encoder.2", "decoder.0", "decoder.1") for tensor in ("weight", "bias")
    ]  # fmt: skip
    assert digits_model.parameter_count() == 64 * 16 + 16 + 16 * 4 + 4 + 4 * 16 + 16 + 16 * 64 + 64
    assert digits_model.encoder[1].weight.shape == (64, 16)


def test_a_shared_layer_is_one_parameter():
    layer = ta.Dense(3, 3)
    model = ta.Sequential(layer, ta.Activation("relu"), layer)
    assert len(model.parameters()) == 2 and list(model.state_dict()) == ["0.weight", "0.bias"]


def test_a_tensor_that_asks_for_no_gradient_is_a_buffer():
    class Scale(ta.Module):
        def __init__(self):
            self.factor = ta.Tensor([2.0])

        def forward(self, x):
            return x * self.factor

    model = ta.Sequential(ta.Dense(2, 2), Scale())
    assert "1.factor" in model.state_dict() and len(model.parameters()) == 2
    assert "1 numbers not trained" in model.summary((2,))


def test_state_dict_round_trip_and_independence(digits_model, images):
    state = digits_model.state_dict()
    before = digits_model.reconstruct(images)
    for p in digits_model.parameters():
        with ta.no_grad():
            p += 1
    assert not np.array_equal(before, digits_model.reconstruct(images))
    digits_model.load_state_dict(state)
    assert np.array_equal(before, digits_model.reconstruct(images))


def test_a_state_dict_that_does_not_fit_lists_everything_and_changes_nothing(digits_model):
    before, state = digits_model.state_dict(), digits_model.state_dict()
    del state["encoder.1.bias"], state["decoder.0.bias"]
    state["extra"] = np.ones(3)
    state["encoder.2.weight"] = np.ones((2, 2))
    state["decoder.1.bias"] = np.array(["a"] * 64)
    with pytest.raises(StateError) as caught:
        digits_model.load_state_dict(state)
    for part in (
        "missing: encoder.1.bias (16,)",
        "missing: decoder.0.bias (16,)",
        "extra: extra (3,)",
        "misshapen: encoder.2.weight is (2, 2), expected (16, 4)",
        "not numbers: decoder.1.bias",
    ):
        assert part in str(caught.value)
    with pytest.raises(StateError, match="misshapen"):
        digits_model.load_state_dict(state, strict=False)
    del state["encoder.2.weight"], state["decoder.1.bias"]
    digits_model.load_state_dict(state, strict=False)
    assert all(np.array_equal(before[name], value) for name, value in digits_model.state_dict().items())


def test_train_and_eval_reach_every_part(digits_model):
    digits_model.eval()
    assert not any(module.training for module in digits_model.modules())
    digits_model.encoder.train()
    with digits_model.evaluating():
        assert not digits_model.encoder[1].training
    assert digits_model.encoder[1].training and not digits_model.decoder.training


def test_summary_shows_layers_shapes_and_parameters(digits_model):
    text = digits_model.summary((8, 8, 1))
    assert "encoder.1 Dense(64, 16, 'relu', 'he', True)" in text
    assert "(16,)" in text and "1,040" in text and "2,276 parameters" in text
    assert "(8, 8, 1)" in text


def test_moving_keeps_the_tensors_and_their_values(digits_model, backend, images):
    tensors, before = digits_model.parameters(), digits_model.reconstruct(images)
    digits_model.to(backend)
    assert all(a is b and a.backend is backend for a, b in zip(tensors, digits_model.parameters()))
    after = digits_model.reconstruct(backend.asarray(images))
    assert np.allclose(before, backend.to_host(after), atol=1e-6)


def test_a_copy_is_independent(digits_model, images):
    twin = copy.deepcopy(digits_model)
    before = twin.reconstruct(images)
    for p in digits_model.parameters():
        with ta.no_grad():
            p *= 0.5
    assert np.array_equal(before, twin.reconstruct(images))
    assert not np.array_equal(before, digits_model.reconstruct(images))


def test_logits_and_sigmoid_agree(digits_model, images):
    assert digits_model.ends_in_sigmoid()
    logits = digits_model.before_sigmoid(ta.Tensor(images))
    assert np.allclose(ta.sigmoid(logits).numpy(), digits_model(images).numpy(), atol=1e-6)
    separate = ta.Sequential(ta.Dense(3, 3), ta.Activation("sigmoid"), ta.Reshape(3, 1))
    x = ta.Tensor(np.ones((2, 3), np.float32))
    assert np.allclose(ta.sigmoid(separate.before_sigmoid(x)).numpy(), separate(x).numpy(), atol=1e-6)


def test_encode_of_an_array_leaves_no_tape_and_of_a_tensor_does(digits_model, images):
    code = digits_model.encode(images)
    assert isinstance(code, np.ndarray) and code.shape == (50, 4)
    assert np.array_equal(digits_model.decode(code), digits_model.reconstruct(images))
    taped = digits_model.encode(ta.Tensor(images))
    assert isinstance(taped, ta.Tensor) and taped.requires_grad
    assert np.allclose(
        digits_model.reconstruct((images * 255).astype(np.uint8)[:3].astype(np.float64) / 255).dtype.itemsize, 4
    )


def test_large_data_are_encoded_in_pieces(digits_model, rng):
    x = rng.random((2500, 8, 8, 1), dtype=np.float32)
    assert np.allclose(digits_model.encode(x)[2400:], digits_model.encode(x[2400:]), atol=1e-6)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.Dense(4, 3)(np.ones((2, 5), "f")), ShapeError, r"Dense: the input has shape \(2, 5\); expected \(N, 4\)"),
        (lambda: ta.Dense(4, 3)(np.ones((2, 2, 2), "f")), ShapeError, r"Put a Flatten\(\) before it"),
        (lambda: ta.Dense(4, 3)(np.ones(4, "f")), ShapeError, r"expected \(N, 4\)"),
        (lambda: ta.Dense(0, 3), RangeError, "in_features is 0; expected an integer >= 1"),
        (lambda: ta.Dense(4, 2.5), RangeError, "out_features is 2.5"),
        (lambda: ta.Dense(4, 3, "rellu"), RangeError, "unknown activation 'rellu'. Known, nearest first: relu"),
        (lambda: ta.Dense(4, 3, 7), RangeError, "unknown activation 7"),
        (lambda: ta.Dense(4, 3, init="xavier"), RangeError, "unknown initialiser 'xavier'"),
        (lambda: ta.Activation("sigmod"), RangeError, "nearest first: sigmoid"),
        (lambda: ta.Dropout(1), RangeError, "Dropout: rate is 1; expected a finite number >= 0 and < 1"),
        (lambda: ta.Dropout(float("nan")), RangeError, "rate is nan"),
        (lambda: ta.GaussianNoise(-1), RangeError, "std is -1"),
        (lambda: ta.Sequential(ta.Dense(2, 2), "relu"), DtypeError, "argument 1 is 'relu', a str; expected layers"),
        (lambda: ta.Autoencoder(ta.Dense(2, 2), None), DtypeError, "the decoder is None"),
        (lambda: ta.Reshape(3, 3)(np.ones((2, 8), "f")), ShapeError, r"reshape: X has shape \(2, 8\)"),
        (lambda: ta.Dense(2, 2).before_sigmoid(ta.Tensor([[1.0, 1.0]])), ShapeError, "ends in a sigmoid"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_parts_in_lists_and_dicts_are_found():
    class Branches(ta.Module):
        def __init__(self):
            self.listed = [ta.Dense(2, 2), ta.Dense(2, 2)]
            self.named = {"left": ta.Dense(2, 2)}

    assert [name for name, _ in Branches().named_parameters()][::2] == [
        "listed.0.weight",
        "listed.1.weight",
        "named.left.weight",
    ]


def test_noise_on_integers_is_noise_on_floats():
    x = np.ones((50, 4), int)
    for layer in (ta.GaussianNoise(0.5), ta.Dropout(0.5)):
        y = layer(x)
        assert y.dtype == np.float32 and len(np.unique(y.numpy())) > 1
    assert len(np.unique(ta.GaussianNoise(0.5)(x).numpy())) > 50


def test_a_view_of_a_parameter_is_not_written_while_the_tape_records():
    layer = ta.Dense(3, 3)
    before = layer.weight.numpy().copy()
    view = layer.weight[0]
    with pytest.raises(ta.errors.TapeError, match="shares the memory of"):
        view *= 0
    assert np.array_equal(layer.weight.numpy(), before)


def test_values_that_do_not_fit_the_type_are_listed():
    layer = ta.Dense(2, 1)
    with pytest.raises(StateError, match="out of range: weight has values that float32 cannot hold"):
        layer.load_state_dict({"weight": np.full((2, 1), 1e300), "bias": np.zeros(1)})
    with pytest.raises(StateError, match="expected a dict"):
        layer.load_state_dict(None)


@pytest.mark.parametrize("data", [None, 3, {"a": 1}, {1, 2}, [[1.0], [1.0, 2.0]], "text"])
def test_encode_of_what_is_no_data(digits_model, data):
    with pytest.raises(ta.errors.TinyaeError, match="encode: "):
        digits_model.encode(data)


def test_names_in_any_case():
    layer = ta.Dense(2, 2, "ReLU", init="He")
    assert layer.activation == "relu" and layer.init == "he"
    assert ta.Activation("Sigmoid").ends_in_sigmoid()


def test_tensors_and_modules_in_nested_lists_are_found():
    class Nested(ta.Module):
        def __init__(self):
            self.weights = [ta.Tensor([1.0], requires_grad=True)]
            self.blocks = [[ta.Dense(1, 1)], {"a": (ta.Dense(1, 1),)}]

    names = [name for name, _ in Nested().named_parameters()]
    assert names == ["weights.0", "blocks.0.0.weight", "blocks.0.0.bias", "blocks.1.a.0.weight", "blocks.1.a.0.bias"]


@pytest.mark.parametrize("layer", [ta.GaussianNoise(0.5), ta.Dropout(0.5)])
def test_float64_stays_float64(layer):
    assert layer(np.ones((3, 4))).dtype == np.float64


def test_values_that_are_loaded_or_restored_are_changes_in_place():
    layer = ta.Dense(2, 1)
    for change in (lambda: layer.load_state_dict(layer.state_dict()), lambda: layer.restore(layer.snapshot())):
        loss = (layer.weight * layer.weight).sum()
        change()
        with pytest.raises(ta.errors.TapeError, match="changed in place"):
            loss.backward()
