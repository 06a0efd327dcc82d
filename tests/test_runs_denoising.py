"""tinyae denoise: what it measures, what it draws, what it writes."""

import os
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import RangeError
from tinyae.models.denoising import denoising_errors
from tinyae.nn.noise import Noise
from tinyae.recipes import get_recipe
from tinyae.runs import denoising
from tinyae.runs.denoising import MODEL, NOISY

from .conftest import kept, listing, quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a denoising run in it."""
    path = tmp_path_factory.mktemp("denoising") / "a"
    quick_train(path, "denoising-digits", epochs=4)
    return path


def held_out():
    return ta.datasets.load_digits()[1][0]


def test_it_measures_on_held_out_data_and_draws(trained, monkeypatch, capsys):
    before = listing(trained)
    code, result, out, _ = tinyae(f"denoise {trained} --json", monkeypatch, capsys)
    after = listing(trained)
    assert code == 0 and set(after) - set(before) == {"denoised.png"} and after["denoised.png"][:4] == PNG
    assert all(after[name] == before[name] for name in before)
    model = ta.load(trained)
    denoisers = {NOISY: lambda x: x, MODEL: model.reconstruct}
    expected = denoising_errors(denoisers, held_out(), ta.GaussianNoise(0.4, (0, 1)), seed=0)
    assert {name: result["errors"][name] for name in expected} == expected
    assert result["examples"] == 360 and result["noise"] == repr(model.noise) and result["out"].endswith("denoised.png")
    assert f"{expected[MODEL]['psnr']:.2f}" in out and f"{expected[MODEL]['bce']:.4f}" in out
    gain = expected[MODEL]["psnr"] - expected[NOISY]["psnr"]
    assert gain > 3 and f"gains {gain:.1f} dB" in out
    assert [name.split(",")[0] for name in list(result["errors"])[2:]] == ["Gaussian filter", "median filter", "PCA"]
    assert "PSNR, dB, of the denoised ones" in (trained / "result.json").read_text()


def test_other_noise_and_another_seed(trained):
    one, other = (
        runs.denoise(trained, noise="salt-and-pepper", strength=0.3, seed=seed, out=f"{seed}.png") for seed in (0, 5)
    )
    assert one["noise"] == repr(ta.SaltAndPepper(0.3)) and one["errors"] != other["errors"]
    assert runs.denoise(trained, strength=0.1, out="c.png")["noise"] == repr(ta.GaussianNoise(0.1, (0, 1)))
    assert runs.denoise(trained, noise="masking", out="d.png")["noise"] == repr(ta.MaskingNoise(0.25))
    weak = runs.denoise(trained, noise="gaussian", strength=0.1, out="e.png")["errors"]
    assert weak[NOISY]["psnr"] > one["errors"][NOISY]["psnr"] + 5


def test_all_that_was_denoised_as_an_array(trained):
    noisy = ta.GaussianNoise(0.4, (0, 1)).corrupted(held_out(), 2)
    result = runs.denoise(trained, seed=2, out="b.npy")
    denoised = np.load("b.npy")
    assert denoised.dtype == np.float32 and np.array_equal(denoised, ta.load(trained).reconstruct(noisy))
    assert np.isclose(((denoised - held_out()) ** 2).mean(), result["errors"][MODEL]["mse"])


def test_noisy_examples_of_ones_own_are_taken_as_they_are(trained, monkeypatch, capsys):
    np.save("noisy.npy", ta.MaskingNoise(0.2).corrupted(held_out(), 1))
    code, result, out, _ = tinyae(f"denoise {trained} --data noisy.npy --out clean.npy --json", monkeypatch, capsys)
    assert code == 0 and "errors" not in result and "360 examples" in out
    assert np.array_equal(np.load("clean.npy"), ta.load(trained).reconstruct(np.load("noisy.npy")))
    assert tinyae(f"denoise {trained} --data noisy.npy --out few.png", monkeypatch, capsys)[0] == 0
    assert Path("few.png").read_bytes()[:4] == PNG
    assert tinyae(f"denoise {trained} --data noisy.npy --out clean.npy", monkeypatch, capsys)[0] == 2
    assert tinyae(f"denoise {trained} --data noisy.npy --out clean.npy --overwrite", monkeypatch, capsys)[0] == 0


def test_clean_examples_of_ones_own_are_corrupted_if_that_is_said(trained):
    np.save("mine.npy", held_out()[:100])
    result = runs.denoise(trained, data="mine.npy", noise="gaussian", out="a.png")
    assert result["examples"] == 100 and result["which"] == "examples"
    expected = denoising_errors({NOISY: lambda x: x}, held_out()[:100], ta.GaussianNoise(0.4, (0, 1)))
    assert result["errors"][NOISY] == expected[NOISY]


def test_a_plain_autoencoder_and_data_that_are_no_images():
    x = np.random.default_rng(0).random((80, 3), dtype="f") @ np.random.default_rng(1).random((3, 12), dtype="f") / 3
    np.save("x.npy", x)
    quick_train("b", "digits", data="x.npy", epochs=2)
    result = runs.denoise("b")
    assert result["noise"] == repr(ta.GaussianNoise(0.4, (0, 1))) and os.path.exists("b/denoised.png")
    assert list(result["errors"])[:2] == [NOISY, MODEL] and list(result["errors"])[2].startswith("PCA, ")
    assert len(result["errors"]) == 3  # smoothing has no meaning
    named = runs.denoise("b", data="x.npy", noise="masking", out="c.png")
    assert "masking noise of 0.25" in denoising.in_words(ta.MaskingNoise(0.25)) and named["errors"]


def test_a_data_set_by_name_is_clean():
    np.save("x.npy", held_out()[:60])
    quick_train("b", "digits", data="x.npy", epochs=1)
    assert runs.denoise("b", data="digits", out="d.png")["errors"][MODEL]["psnr"] > 0


def test_the_picture_goes_when_the_model_changes():
    quick_train("b", "denoising-digits", epochs=1)
    runs.denoise("b")
    runs.resume("b", epochs=2, progress=False)
    assert not os.path.exists("b/denoised.png")


@pytest.mark.parametrize("recipe", ["denoising-digits", "sparse-digits", "contractive-digits"])
def test_a_run_that_goes_on_has_the_bits_of_one_that_was_never_interrupted(recipe):
    quick_train("whole", recipe, epochs=3)
    quick_train("parts", recipe, epochs=1)
    runs.resume("parts", epochs=3, progress=False)
    assert kept("whole") == kept("parts")


def test_data_in_another_range_have_no_psnr():
    x = held_out()[:50] * 16
    found = denoising_errors({NOISY: lambda x: x, MODEL: lambda x: x}, x, ta.GaussianNoise(2.0))
    assert set(found[MODEL]) == {"mse"}
    result = {
        "recipe": "r",
        "examples": 50,
        "which": "examples",
        "data": "d",
        "noise": "n",
        "seed": 0,
        "errors": found,
        "out": "o",
    }
    assert "PSNR" not in runs.report_denoising(result) and "squared error" in runs.report_denoising(result)


# ---------------------------------------------------------------- the baselines are at their best


def test_baselines_are_chosen_on_training_examples_and_are_the_best_of_those_tried():
    noise = ta.GaussianNoise(0.3, (0, 1))
    (x, _), _ = ta.datasets.load_digits()
    found = denoising.baselines(get_recipe("digits"), noise)
    noisy, clean = noise.corrupted(x[: denoising.TRIED], denoising.TRIED_SEED), x[: denoising.TRIED]

    def error(made):
        return ((made - clean) ** 2).mean()

    widths = {width: error(denoising.gaussian_filtered(noisy, width)) for width in denoising.WIDTHS}
    sides = {side: error(denoising.median_filtered(noisy, side)) for side in denoising.WINDOWS}
    mean = x.reshape(len(x), -1).mean(axis=0, dtype="d")
    vectors = np.linalg.svd(x.reshape(len(x), -1) - mean, full_matrices=False)[2].T
    flat = noisy.reshape(len(noisy), -1) - mean
    pca = {k: error((flat @ vectors[:, :k] @ vectors[:, :k].T + mean).reshape(clean.shape)) for k in range(1, 65)}
    assert list(found) == [
        f"Gaussian filter, width {min(widths, key=widths.get):g} pixels",
        f"median filter, {min(sides, key=sides.get)}x{min(sides, key=sides.get)} pixels",
        f"PCA, {min(pca, key=pca.get)} components",
    ]
    assert widths[min(widths, key=widths.get)] < error(noisy) and 1 < min(pca, key=pca.get) < 64
    best = found[f"PCA, {min(pca, key=pca.get)} components"](noisy)
    assert best.shape == clean.shape and best.min() >= 0 and best.max() <= 1
    assert error(best) <= pca[min(pca, key=pca.get)]  # limited to the range of the data, not worse


def test_filters_leave_examples_and_channels_apart():
    x = np.random.default_rng(0).random((3, 6, 5, 2))
    for made in (denoising.gaussian_filtered(x, 1.0), denoising.median_filtered(x, 3)):
        assert made.shape == x.shape
        for n in range(3):
            for c in range(2):
                alone = x[n : n + 1, :, :, c]
                filtered = [denoising.gaussian_filtered(alone, 1.0), denoising.median_filtered(alone, 3)]
                assert any(np.allclose(made[n, :, :, c], other[0]) for other in filtered)


def test_noise_in_words():
    assert denoising.in_words(ta.GaussianNoise(0.4, (0, 1))) == "Gaussian noise of 0.4, clipped to [0, 1]"
    assert denoising.in_words(ta.GaussianNoise(2.0)) == "Gaussian noise of 2"
    assert denoising.in_words(ta.SaltAndPepper(0.2)) == "salt and pepper noise of 0.2"

    class Mine(Noise):
        def config(self):
            return {}

    assert denoising.in_words(Mine()) == "Mine()"


@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
@pytest.mark.slow
def test_one_epoch_on_mnist_reaches_what_is_asked_of_five():
    quick_train("m", "denoising", epochs=1)
    errors = runs.denoise("m")["errors"]
    assert errors[MODEL]["bce"] <= 0.105 and errors[MODEL]["psnr"] >= errors[NOISY]["psnr"] + 6, errors
    assert all(errors[MODEL]["psnr"] > found["psnr"] + 2 for name, found in errors.items() if name != MODEL)


def test_noisy_examples_with_nan_are_named(trained):
    x = held_out()[:20].copy()
    x[3, 2, 5] = np.nan
    np.save("nan.npy", x)
    with pytest.raises(RangeError, match=r"denoise: .*nan.npy: 1 of 1280 values are NaN .*index \(3, 2, 5, 0\)"):
        runs.denoise(trained, data="nan.npy", out="a.npy")
    assert not Path("a.npy").exists()
