"""Layers for images: what they compute, how they are saved, and what they say about input that does not fit."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, ShapeError
from tinyae.nn.sizes import lost_pixels

LAYERS = [
    ta.Conv2D(2, 3),
    ta.Conv2D(2, 3, (3, 2), (1, 2), "valid", "gelu", 2, "glorot", False),
    ta.Conv2D(2, 1, 5, padding=[[2, 1], [0, 3]], activation="sigmoid"),
    ta.Conv2D(2, 2, 3, padding=((1, 1), (1, 1)), activation="tanh"),
    ta.Conv2DTranspose(2, 3),
    ta.Conv2DTranspose(2, 3, 4, (2, 1), 1, "relu", "glorot", False),
    ta.Conv2DTranspose(2, 1, 3, 2, "same", "sigmoid", output_size=(11, 9)),
    ta.MaxPool2D(),
    ta.MaxPool2D(3, 1, "same"),
    ta.AvgPool2D((2, 3)),
    ta.GlobalAvgPool2D(),
    ta.UpSampling2D(),
    ta.UpSampling2D((1, 3), "bilinear"),
    ta.BatchNorm(2),
    ta.BatchNorm(2, 0.5, 1e-3),
    ta.ZeroPad2D(),
    ta.ZeroPad2D([[1, 2], [3, 4]]),
    ta.Crop2D(),
    ta.Crop2D(((1, 0), (0, 2))),
]
SHAPES = [  # of what each makes of images of 6x5 with 2 channels
    (6, 5, 3), (2, 2, 3), (5, 4, 1), (6, 5, 2), (12, 10, 3), (12, 6, 3), (11, 9, 1), (3, 2, 2), (6, 5, 2), (3, 1, 2), (2,),
    (12, 10, 2), (6, 15, 2), (6, 5, 2), (6, 5, 2), (8, 7, 2), (9, 12, 2), (4, 3, 2), (5, 3, 2),
]  # fmt: skip


@pytest.mark.parametrize("layer, shape", list(zip(LAYERS, SHAPES)), ids=[layer.label() for layer in LAYERS])
def test_shapes_and_a_file(layer, shape, rng, tmp_path, backend):
    """The same layer comes back from its config and from a file."""
    x = rng.random((3, 6, 5, 2), dtype=np.float32)
    twin = type(layer).from_config(**layer.config())
    assert repr(twin) == repr(layer) and twin.config() == layer.config()
    with layer.evaluating():
        expected = layer(x).numpy()
    assert expected.shape == (3, *shape) and expected.dtype == np.float32
    ta.save(layer, tmp_path / "layer.safetensors")
    loaded = ta.load(tmp_path / "layer.safetensors").to(backend)
    assert repr(loaded) == repr(layer)
    assert [t.requires_grad for _, t in loaded.named_tensors()] == [t.requires_grad for _, t in layer.named_tensors()]
    with loaded.evaluating():
        assert np.allclose(loaded(ta.Tensor(x).to(backend)).numpy(), expected, atol=1e-6)
    assert str(shape) in layer.summary((6, 5, 2)) and layer.label() in layer.summary((6, 5, 2))


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.named_tensors()], ids=lambda layer: layer.label())
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_layers(layer, training, rng):
    layer = type(layer).from_config(**layer.config()).astype("float64").train(training)
    for _, tensor in layer.named_tensors():
        with ta.no_grad():
            tensor += 0.1 + 0.1 * rng.random(tensor.shape)
    x = ta.Tensor(rng.normal(size=(2, 6, 5, 2)))
    report = ta.check_gradients(lambda x, *_: layer(x), x, *layer.parameters(), max_elements=20)
    assert report, report


def test_attributes_have_the_names_of_the_arguments():
    layer = ta.Conv2D(2, 3, 3, (1, 1), ((1, 1), (1, 1)), "ReLU", [2, 2])
    assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) == (2, 3, 3, 1)
    assert (layer.padding, layer.activation, layer.dilation, layer.init) == (1, "relu", 2, "he")
    assert layer.weight.shape == (3, 3, 2, 3) and layer.bias.shape == (3,)
    assert (
        ta.Conv2D(2, 3, [3, 2], padding="SAME").kernel_size == (3, 2)
        and ta.Conv2D(2, 3, padding="SAME").padding == "same"
    )
    pool, up = ta.MaxPool2D(3), ta.UpSampling2D((2, 3))
    assert (pool.size, pool.stride, pool.padding) == (3, 3, "valid")
    assert (up.size, up.interpolation, ta.Crop2D([[1, 1], [1, 1]]).cropping) == ((2, 3), "nearest", 1)


@pytest.mark.parametrize("layer, fan_in, fan_out", [
    (ta.Conv2D, 5 * 4 * 30, 5 * 4 * 20),
    (ta.Conv2DTranspose, 5 * 4 * 30 / 4, 5 * 4 * 20),
])  # fmt: skip
def test_initial_weights(layer, fan_in, fan_out):
    ta.manual_seed(0)
    for init, variance in [("he", 2 / fan_in), ("glorot", 2 / (fan_in + fan_out)), ("pytorch", 1 / (3 * fan_in))]:
        weight = layer(30, 20, (5, 4), 2, init=init).weight.numpy()
        assert weight.shape == (5, 4, 30, 20) and np.isclose(weight.var(), variance, rtol=0.03)
    assert layer(30, 20, init="pytorch").bias.numpy().any() and not layer(30, 20).bias.numpy().any()


@pytest.mark.parametrize("stride", [1, 2])
def test_he_keeps_the_size_of_signals(stride, rng):
    """Through a transposed convolution too, where only every stride-th tap meets a pixel."""
    ta.manual_seed(0)
    x = np.maximum(rng.normal(size=(4, 12, 12, 32)), 0).astype(np.float32)
    for layer in (ta.Conv2D, ta.Conv2DTranspose):
        y = (
            layer(32, 32, 4, stride, "valid")(x).numpy()[:, 4:-4, 4:-4]
            if layer is not ta.Conv2D
            else layer(32, 32, 3)(x).numpy()
        )
        assert 0.7 < y.var() / (2 * (x**2).mean()) < 1.3


def test_logits_and_sigmoid_agree(rng):
    x = ta.Tensor(rng.random((2, 4, 4, 2), dtype=np.float32))
    for layer in (ta.Conv2D(2, 3, activation="sigmoid"), ta.Conv2DTranspose(2, 3, activation="sigmoid"),
                  ta.Conv2D(2, 3, stride=2, activation="sigmoid", bias=False)):  # fmt: skip
        assert layer.ends_in_sigmoid()
        assert np.allclose(ta.sigmoid(layer.before_sigmoid(x)).numpy(), layer(x).numpy(), atol=1e-6)
    for layer in (ta.Conv2D(2, 3, activation="relu"), ta.Conv2DTranspose(2, 3)):
        assert not layer.ends_in_sigmoid()
        with pytest.raises(
            ShapeError, match=f"needs a model that ends in a sigmoid, and {type(layer).__name__} is its last"
        ):
            layer.before_sigmoid(x)


def test_integers_become_floats_as_in_dense_layers():
    x = np.arange(60).reshape(1, 6, 5, 2)
    for layer in LAYERS:
        with layer.evaluating():
            expected = layer(x.astype(np.float32)).numpy()
            for kind in (np.uint8, np.int64):
                y = layer(x.astype(kind)).numpy()
                assert np.array_equal(y, expected), layer


def test_a_block_is_chosen_where_there_is_one(rng):
    x = ta.Tensor(rng.random((2, 6, 6, 2), dtype=np.float32))

    def first(layer):
        return layer(x)._node.op.name

    assert first(ta.Conv2D(2, 3, activation="relu")) == first(ta.Conv2D(2, 3, 5, padding=1)) == "conv_block"
    assert first(ta.Conv2D(2, 3, bias=False)) == "conv_block"
    assert first(ta.Conv2D(2, 3, stride=2)) == first(ta.Conv2D(2, 3, dilation=2)) == "conv2d"
    gelu = ta.Conv2D(2, 3, activation="gelu")(x)._node
    assert gelu.op.name == "gelu" and gelu.inputs[0].op.name == "conv_block"


def test_a_convolutional_autoencoder_learns(rng):
    """All kinds of layers in one model, trained by fit."""
    ta.manual_seed(0)
    x = np.zeros((40, 7, 7, 1), np.float32)
    for image, i, j in zip(x, rng.integers(0, 5, 40), rng.integers(0, 5, 40)):
        image[i : i + 3, j : j + 3] = 1
    model = ta.Autoencoder(
        ta.Sequential(ta.Conv2D(1, 8, bias=False), ta.BatchNorm(8), ta.Activation("relu"), ta.MaxPool2D(2, padding="same"),
                      ta.Conv2D(8, 8, activation="relu")),
        ta.Sequential(ta.Conv2DTranspose(8, 8, activation="relu"), ta.ZeroPad2D(1), ta.Conv2D(8, 1, activation="sigmoid"),
                      ta.Crop2D(((1, 2), (1, 2)))),
    )  # fmt: skip
    with ta.use_kernels("reference"):
        history = model.fit(x, 15, batch_size=8, lr=1e-2, progress=False)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert lost_pixels(model, (7, 7, 1)) == ""


# ---------------------------------------------------------------- bad input

IMAGES = np.zeros((2, 8, 8, 3), np.float32)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.Conv2D(4, 2)(IMAGES), ShapeError,
         r"Conv2D: the input has shape \(2, 8, 8, 3\); expected \(N, height, width, 4\). The images have 3 channels, but the layer has in_channels=4"),
        (lambda: ta.Conv2D(3, 2)(IMAGES.transpose(0, 3, 1, 2)), ShapeError,
         r"Axis 1 has 3: these seem to be images with the channels first \(N, C, H, W\).*: x.transpose\(0, 2, 3, 1\)"),
        (lambda: ta.Conv2DTranspose(1, 2)(IMAGES[..., :1].transpose(0, 3, 1, 2)), ShapeError, "Axis 1 has 1: .*channels first"),
        (lambda: ta.Conv2D(1, 2)(IMAGES[..., 0]), ShapeError, r"The axis of channels is missing: x\[\.\.\., None\] adds it"),
        (lambda: ta.Conv2D(3, 2)(IMAGES[0]), ShapeError, r"A single image needs its batch axis: x\[None\]"),
        (lambda: ta.Conv2D(1, 2)(IMAGES.reshape(2, -1)), ShapeError, r"Reshape\(height, width, channels\) makes images of rows"),
        (lambda: ta.Conv2D(3, 2, 9, padding="valid")(IMAGES), ShapeError, "a kernel of 9x9 is larger than the image of 8x8"),
        (lambda: ta.Conv2D(3, 2, stride=0), RangeError, "Conv2D: stride is 0; expected an integer >= 1"),
        (lambda: ta.Conv2D(3, 2, dilation=0), RangeError, "Conv2D: dilation is 0"),
        (lambda: ta.Conv2D(3, 2, (3, 0)), RangeError, "Conv2D: kernel_size is 0"),
        (lambda: ta.Conv2D(0, 2), RangeError, "Conv2D: in_channels is 0"),
        (lambda: ta.Conv2D(3, 2, padding="full"), RangeError, "unknown padding of Conv2D 'full'"),
        (lambda: ta.Conv2D(3, 2, activation="rellu"), RangeError, "nearest first: relu"),
        (lambda: ta.Conv2DTranspose(3, 2, init="xavier"), RangeError, "unknown initialiser 'xavier'"),
        (lambda: ta.Conv2DTranspose(3, 2, output_size=14)(IMAGES), ShapeError,
         r"output_size \(14, 14\) cannot be reached from images of 8x8 .*possible are 15 to 16 rows"),
        (lambda: ta.Conv2DTranspose(3, 2, output_size=0), RangeError, "Conv2DTranspose: output_size is 0"),
        (lambda: ta.MaxPool2D(9)(IMAGES), ShapeError, "a window of 9x9 is larger than the image of 8x8"),
        (lambda: ta.MaxPool2D(2, 0), RangeError, "MaxPool2D: stride is 0"),
        (lambda: ta.AvgPool2D(0), RangeError, "AvgPool2D: size is 0"),
        (lambda: ta.MaxPool2D(2, padding="both"), RangeError, "unknown padding of MaxPool2D 'both'"),
        (lambda: ta.GlobalAvgPool2D()(IMAGES[0]), ShapeError, r"GlobalAvgPool2D: the input has shape \(8, 8, 3\)"),
        (lambda: ta.UpSampling2D(0), RangeError, "UpSampling2D: size is 0"),
        (lambda: ta.UpSampling2D(2, "cubic"), RangeError, "unknown interpolation 'cubic'"),
        (lambda: ta.ZeroPad2D(-1), RangeError, "ZeroPad2D: padding is -1"),
        (lambda: ta.Crop2D(((1, 2),)), RangeError, "Crop2D: cropping is"),
        (lambda: ta.Crop2D(((4, 4), (0, 0)))(IMAGES), ShapeError,
         r"Crop2D: of images of 8x8 nothing is left without 4 \+ 4 rows and 0 \+ 0 columns"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


# ---------------------------------------------------------------- sizes that do not return


def autoencoder(pools, padding="valid", *last):
    encoder = [layer for _ in range(pools) for layer in (ta.Conv2D(1, 1), ta.MaxPool2D(2, padding=padding))]
    decoder = [ta.UpSampling2D() for _ in range(pools)]
    return ta.Autoencoder(ta.Sequential(*encoder), ta.Sequential(*decoder, ta.Conv2D(1, 1), *last))


def test_the_layer_that_loses_a_pixel_is_named():
    found = lost_pixels(autoencoder(3), (28, 28, 1))
    for part in (
        "Images of 28x28 come out as 24x24",
        "encoder.5 MaxPool2D(2, 2, 'valid') makes 3x3 of 7x7 and loses 1 row and 1 column",
        "padding='same'",
        "Crop2D",
    ):
        assert part in found
    assert "encoder.1" not in found and "encoder.3" not in found


def test_what_is_offered_helps():
    found = lost_pixels(autoencoder(3, "same"), (28, 27, 1))
    assert "28x27 come out as 32x32" in found and "Crop2D(((2, 2), (2, 3))) as the last layer" in found
    mended = autoencoder(3, "same", ta.Crop2D(((2, 2), (2, 3))))
    assert mended.reconstruct(np.zeros((1, 28, 27, 1), np.float32)).shape == (1, 28, 27, 1)
    assert lost_pixels(mended, (28, 27, 1)) == ""
    assert "Crop2D(2) as the last" in lost_pixels(autoencoder(3, "same"), (28, 28, 1))


def test_only_what_loses_is_named():
    found = lost_pixels(ta.Sequential(ta.MaxPool2D((2, 1)), ta.UpSampling2D((2, 1))), (7, 7, 1))
    assert "loses 1 row." in found and "column" not in found
    found = lost_pixels(ta.Sequential(ta.Conv2D(1, 1, 3, padding="valid"), ta.Conv2D(1, 1)), (9, 8, 1))
    assert (
        "0 Conv2D(" in found and "makes 7x6 of 9x8 and loses 2 rows and 2 columns" in found and "1 Conv2D" not in found
    )
    assert "makes 4x4 of 7x7." in lost_pixels(ta.Sequential(ta.Conv2D(1, 1, stride=2), ta.UpSampling2D()), (7, 7, 1))
    assert lost_pixels(autoencoder(2), (28, 28, 1)) == ""
    assert lost_pixels(ta.Sequential(ta.MaxPool2D()), (28, 28, 1)) == ""  # nothing brings it back, and nothing is lost
    assert lost_pixels(ta.Sequential(ta.Flatten(), ta.Dense(4, 2)), (2, 2, 1)) == ""
