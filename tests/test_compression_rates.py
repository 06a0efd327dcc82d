"""Bits against error: PCA as a model, curves compared, JPEG and PNG, all from real files."""

import io
import math

import numpy as np
import pytest

import tinyae as ta
from tinyae.compression import compress, decompress
from tinyae.compression.rates import (
    PrincipalComponents,
    at_equal_bits,
    decoder_bytes,
    error_at,
    image_files,
    principal_components,
    rate_distortion,
    tiled,
    untiled,
)
from tinyae.errors import DataFileError
from tinyae.metrics import pca_baseline

from .test_compression import Digital

pytest.importorskip("constriction", reason="entropy coding needs constriction")


def test_pca_as_a_model_is_pca(images, tmp_path):
    models = principal_components(images, (3, 8, 3, 64, 99), False)
    assert sorted(models) == [3, 8, 64]
    for k, model in models.items():
        z = model.encode(images)
        assert z.shape == (50, k)
        error = np.square(model.decode(z).astype(np.float64) - images).mean()
        assert np.isclose(error, pca_baseline(images, images, k), rtol=1e-3, atol=1e-9)
        assert decoder_bytes(model) == 4 * (64 + 64 * k)
        assert np.allclose(z.std(axis=0), np.sort(z.std(axis=0))[::-1], rtol=1e-3, atol=1e-5)  # the largest first
    clipped = principal_components(images, (3,), True)[3]
    z = 30 * models[3].encode(images)
    assert np.array_equal(clipped.decode(z), np.clip(models[3].decode(z), 0, 1))
    compress(models[8], images, tmp_path / "x")
    with pytest.raises(DataFileError, match="another model"):
        decompress(models[3], tmp_path / "x")
    assert isinstance(models[3], PrincipalComponents)


def test_a_curve_has_the_sizes_of_files_and_the_errors_of_what_they_decode_to(digits_model, images, tmp_path):
    points = rate_distortion(digits_model, images, (2, 6))
    for point, bits in zip(points, (2, 6)):
        made = compress(digits_model, images, tmp_path / "x", bits)
        assert point["bits"] == bits and point["bytes"] == (tmp_path / "x").stat().st_size
        assert math.isclose(point["bits_per_example"], 8 * made["bytes"] / 50)
        assert math.isclose(
            point["mse"],
            np.square(decompress(digits_model, tmp_path / "x") - images.astype(np.float64)).mean(),
            rel_tol=1e-9,
        )
    assert points[0]["mse"] > points[1]["mse"]
    whole = rate_distortion(Digital(4), images.reshape(-1, 4)[:40], (2, 6))
    assert [point["bits"] for point in whole] == [2]


def test_a_broken_promise_is_told(digits_model, images, monkeypatch):
    monkeypatch.setattr("tinyae.compression.coding.rounded_up", lambda error: 0.5 * error)
    with pytest.raises(DataFileError, match="promised an error"):
        rate_distortion(digits_model, images, (4,))


def test_what_a_decoder_needs(digits_model):
    assert decoder_bytes(digits_model) == 4 * (4 * 16 + 16 + 16 * 64 + 64)
    digits_model.decoder.layers[0] = digits_model.encoder  # shared parts are needed
    whole = digits_model.encoder.parameter_count() + 16 * 64 + 64
    assert decoder_bytes(digits_model) == 4 * whole


def test_what_the_decoders_of_others_need():
    ta.manual_seed(0)
    encoder, decoder = (
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16)),
        ta.Sequential(ta.Dense(8, 64), ta.Reshape(8, 8, 1)),
    )
    discrete = ta.VQAutoencoder(encoder, decoder, codes=32, size=2)
    discrete.encoder.layers[1] = ta.Dense(64, 8)
    assert decoder_bytes(discrete) == 4 * (8 * 64 + 64 + 32 * 2)  # the codebook too, but not how often it was used
    variational = ta.VariationalAutoencoder(encoder, ta.Dense(8, 3), ta.Dense(8, 3), ta.Dense(3, 64, "sigmoid"))
    assert decoder_bytes(variational) == 4 * (3 * 64 + 64)


def curve(*points):
    return [{"bits_per_example": rate, "mse": mse} for rate, mse in points]


def test_curves_are_compared_at_equal_bits():
    other = curve((10, 0.04), (20, 0.01), (40, 0.01))
    assert error_at(other, 9.9) is None and error_at([], 5) is None
    assert math.isclose(error_at(other, 15), 0.02)  # halfway by the logarithm
    assert math.isclose(error_at(other[::-1], 20), 0.01) and math.isclose(error_at(other, 99), 0.01)
    found = at_equal_bits(curve((5, 0.5), (15, 0.03), (20, 0.005)), other)
    assert [round(p["other_mse"], 9) for p in found] == [0.02, 0.01]
    assert [p["mse"] < p["other_mse"] for p in found] == [False, True]


@pytest.mark.parametrize("n", [1, 2, 5, 9, 10])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_can_be_taken_apart(n, channels, rng):
    images = rng.random((n, 4, 3, channels))
    sheet = tiled(images)
    assert sheet.ndim == 3 and abs(sheet.shape[0] // 4 - sheet.shape[1] // 3) <= 1
    assert np.array_equal(untiled(sheet, n, 4, 3), images)
    assert np.array_equal(sheet[:4, :3], images[0])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_and_png_are_measured(channels, rng):
    Image = pytest.importorskip("PIL.Image")
    images = (np.add.outer(np.arange(12), np.arange(16)) / 28)[None, ..., None] * rng.random((30, 1, 1, channels))
    images = (np.rint(255 * images) / 255).astype(np.float32)
    found = image_files(images)
    kinds = ["PNG"] if channels == 4 else ["JPEG", "PNG"]
    assert sorted({label.split(",")[0] for label in found}) == kinds and len(found) == 2 * len(kinds)
    for label, points in found.items():
        if label.startswith("PNG"):
            assert len(points) == 1 and points[0]["mse"] < 1e-12
        else:
            assert [p["quality"] for p in points] == sorted(p["quality"] for p in points)
            assert (
                points[0]["mse"] > points[-1]["mse"] and points[0]["bits_per_example"] < points[-1]["bits_per_example"]
            )
    assert (
        found["PNG, one sheet of all images"][0]["bits_per_example"]
        < found["PNG, one file for each image"][0]["bits_per_example"]
    )
    sizes = []
    for image in images:  # by hand
        file = io.BytesIO()
        pixels = np.rint(255 * image).astype(np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG", optimize=True)
        sizes.append(len(file.getvalue()))
    assert math.isclose(found["PNG, one file for each image"][0]["bits_per_example"], 8 * np.mean(sizes))


def test_autoencoders_decode_better_than_pca_at_equal_bits():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    ta.manual_seed(0)
    model = ta.QuantisedAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 128, "relu"), ta.Dense(128, 8)),
        ta.Sequential(ta.Dense(8, 128, "relu"), ta.Dense(128, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )
    model.fit(x, epochs=20, lr=3e-3, progress=False)
    bits = (2, 3, 4, 6)
    own = rate_distortion(model, x_test, bits, x)
    pca = rate_distortion(principal_components(x, (8,), True)[8], x_test, bits, x)
    pairs = at_equal_bits(own, pca)
    assert len(pairs) >= 3 and all(pair["mse"] < 0.9 * pair["other_mse"] for pair in pairs)


@pytest.mark.slow
def test_a_short_training_beats_pca_on_mnist():
    """Three of the recipe's ten epochs are enough."""
    from tinyae.recipes import get_recipe

    (x, _), (x_test, _) = ta.datasets.load_mnist()
    pca = rate_distortion(principal_components(x, (8,), True)[8], x_test, (2, 4, 8), x)
    ta.manual_seed(0)
    model = get_recipe("code8").build((28, 28, 1))
    model.fit(x, 3, 128, progress=False)
    own = rate_distortion(model, x_test, (2, 4, 8), x)
    pairs = at_equal_bits(own, pca)
    assert len(pairs) >= 2 and all(pair["mse"] < 0.85 * pair["other_mse"] for pair in pairs)
