"""Augmentation: what is read from where, the same on every backend, in training only."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.augmentation import Augmentation
from tinyae.errors import DtypeError, RangeError, ShapeError

from .conftest import quick


@pytest.fixture
def pictures(rng):
    """20 images of 7x9 with two channels, no two pixels alike."""
    return rng.random((20, 7, 9, 2))


def shifted(image, down, right, fill):
    """One image moved, by slices."""
    H, W = image.shape[:2]
    moved = np.full_like(image, fill)
    moved[max(0, down) : H + min(0, down), max(0, right) : W + min(0, right)] = image[
        max(0, -down) : H - max(0, down), max(0, -right) : W - max(0, right)
    ]
    return moved


def test_a_shift_moves_whole_pixels_and_fills_what_comes_in(pictures):
    ta.manual_seed(0)
    many = np.repeat(pictures[:1], 600, axis=0)
    changed = ta.RandomShift(2, fill=-1.0)(many)
    assert changed.dtype == many.dtype and changed.shape == many.shape
    candidates = {(d, e): shifted(many[0], d, e, -1.0) for d in range(-2, 3) for e in range(-2, 3)}
    found = [[k for k, image in candidates.items() if np.array_equal(image, one)] for one in changed]
    assert all(len(k) == 1 for k in found)
    counts = {k: sum(f[0] == k for f in found) for k in candidates}
    assert min(counts.values()) >= 8 and max(counts.values()) <= 48  # 24 of each are expected: equally likely
    assert np.array_equal(ta.RandomShift(0)(pictures), pictures)


def turned(image, angle, fill):
    """One image turned counter-clockwise about its middle, pixel by pixel as the formula says."""
    H, W = image.shape[:2]
    at = lambda i, j: image[i, j] if 0 <= i < H and 0 <= j < W else np.full(image.shape[2:], fill)  # noqa: E731
    result = np.empty_like(image)
    for i in range(H):
        for j in range(W):
            y, x = i - (H - 1) / 2, j - (W - 1) / 2
            y, x = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
            y, x = y + (H - 1) / 2, x + (W - 1) / 2
            k, l = int(np.floor(y)), int(np.floor(x))
            r, s = y - k, x - l
            result[i, j] = (1 - r) * ((1 - s) * at(k, l) + s * at(k, l + 1)) + r * (
                (1 - s) * at(k + 1, l) + s * at(k + 1, l + 1)
            )
    return result


@pytest.mark.parametrize("degrees, fill", [(20, 0.0), (180, 0.7)])
def test_a_rotation_reads_between_pixels(pictures, degrees, fill):
    ta.manual_seed(3)
    changed = ta.RandomRotation(degrees, fill)(pictures)
    chance = ta.random.Generator(3).uniform((20, 1, 1), "noise").ravel().astype(float)
    angles = np.radians(degrees) * (2 * chance - 1)
    assert np.ptp(angles) > np.radians(degrees) and angles.min() < 0 < angles.max()
    for one, image, angle in zip(changed, pictures, angles):
        assert np.allclose(one, turned(image, angle, fill), atol=1e-12)


def test_positive_is_counter_clockwise_and_a_quarter_turn_is_exact(pictures, monkeypatch):
    square = pictures[:, :, :7]

    def quarter(kind, shape, purpose, backend):
        return np.full(shape, 0.75, np.float32)  # of -180 to 180: 90 degrees

    monkeypatch.setattr("tinyae.augmentation.draw", quarter)
    assert np.allclose(ta.RandomRotation(180)(square), np.rot90(square, axes=(1, 2)), atol=1e-12)


def test_a_constant_stays_constant_where_its_surroundings_are_the_same():
    """The weights of the four pixels sum to 1; outside there is ``fill``."""
    flat = np.full((50, 6, 6), 0.3)
    assert np.allclose(ta.RandomRotation(180, fill=0.3)(flat), 0.3, atol=1e-12)
    assert (ta.RandomRotation(180)(flat) < 0.29).any()
    assert np.array_equal(ta.RandomRotation(0)(flat), flat)


@pytest.mark.parametrize("augment", [ta.RandomShift(2), ta.RandomRotation(25)], ids=repr)
def test_all_backends_draw_the_same(augment, backend, pictures):
    pictures = pictures.astype(np.float32)
    ta.manual_seed(5)
    here = augment(ta.Tensor(pictures))
    ta.manual_seed(5)
    there = augment(ta.Tensor(pictures).to(backend))
    assert there.backend is backend and there.dtype == np.float32
    assert np.allclose(here.numpy(), backend.to_host(there.data), atol=1e-5)
    assert not np.array_equal(here.numpy(), pictures)


def test_no_tape_no_change_of_the_original_and_images_without_channels(pictures):
    x, before = ta.Tensor(pictures, requires_grad=True), pictures.copy()
    for augment in (ta.RandomShift(1), ta.RandomRotation(10)):
        assert not augment(x).requires_grad and np.array_equal(x.numpy(), before)
        ta.manual_seed(1)
        one = augment(pictures[..., 0])
        ta.manual_seed(1)
        assert np.array_equal(one, augment(pictures)[..., 0])
    bytes_ = (pictures * 255).astype(np.uint8)
    assert ta.RandomShift(1)(bytes_).dtype == np.uint8 and ta.RandomRotation(5)(bytes_).dtype == np.float32


def test_fit_augments_in_training_only_and_follows_its_seed(images, digits_model):
    class Watch(Augmentation):
        seen: list = []

        def changed(self, x):
            self.seen.append(x.data.copy())
            return ta.RandomShift(1)(x).data

    def trained(*augment, seed=0):
        ta.manual_seed(0)
        model = ta.Autoencoder(
            ta.Sequential(ta.Flatten(), ta.Dense(64, 4)), ta.Sequential(ta.Dense(4, 64), ta.Reshape(8, 8, 1))
        )
        return quick(model, images, epochs=3, seed=seed, augment=list(augment), validation_data=images)["loss"]

    both = [ta.RandomShift(1), ta.RandomRotation(10)]
    assert trained(*both) == trained(*both) != trained(*both, seed=1)
    assert trained(*both) != trained() and trained(ta.RandomShift(0)) == pytest.approx(trained(), rel=1e-6)
    trained(Watch())
    assert {len(batch) for batch in Watch.seen if len(batch) > 1} == {32, 18}  # none is the held-out 50


def test_wrong_ones(images, digits_model):
    for value in (-1, 1.5, True, "two"):
        with pytest.raises(RangeError, match="RandomShift: pixels is .*; expected an integer >= 0"):
            ta.RandomShift(value)
    for value in (-5, 181, float("nan"), None):
        with pytest.raises(RangeError, match="RandomRotation: degrees is .*; expected a finite number >= 0 and <= 180"):
            ta.RandomRotation(value)
    with pytest.raises(RangeError, match="fill is inf"):
        ta.RandomShift(1, fill=float("inf"))
    with pytest.raises(ShapeError, match=r"RandomRotation: the batch has shape \(5, 64\); expected images"):
        ta.RandomRotation(5)(np.ones((5, 64)))
    with pytest.raises(ShapeError, match="8 pixels are asked for, and the images have 8x8.*at most 7"):
        quick(digits_model, images, augment=[ta.RandomShift(8)])
    with pytest.raises(DtypeError, match="augment"):
        quick(digits_model, images, augment=["shift"])
