"""The autoencoder that heeds no small moves: what a move is, when it happens, and what it does to the code."""

import os

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import generator, use
from tinyae.errors import RangeError, ShapeError
from tinyae.models.invariant import moved
from tinyae.random import Generator


class Fixed(Generator):
    """Gives the chance that it is told, 0.5 being no move: shift down, right, turn, scale, slant."""

    def __init__(self, *chance):
        super().__init__(0)
        self.chance = chance

    def uniform(self, shape, purpose, step=None, xp=np):
        assert purpose == "noise" and shape[1:] == (5, 1, 1)
        return np.broadcast_to(np.reshape(self.chance, (1, 5, 1, 1)), shape).astype(np.float32)


def move(x, down=0.0, right=0.0, turn=0.0, scale=0.0, slant=0.0):
    """x moved by exactly that much."""
    sizes = {"shift": 4.0, "angle": 90.0, "scale": 0.5, "slant": 1.0}
    chance = [0.5 + by / (2 * most) for by, most in zip((down, right, turn, scale, slant), (4, 4, 90, 0.5, 1))]
    with use(generator, Fixed(*chance)):
        return moved(ta.Tensor(np.asarray(x, np.float32)), **sizes).numpy()


@pytest.fixture
def image(rng):
    """One image 9x9 with its weight in the middle."""
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[0, 3:6, 3:6, 0] = rng.random((3, 3))
    return x


def test_no_move_changes_nothing(image):
    assert np.allclose(move(image), image, atol=1e-6)
    assert np.allclose(moved(ta.Tensor(image), 0, 0, 0, 0).numpy(), image, atol=1e-6)


def test_whole_shifts_and_quarter_turns_are_exact(image):
    assert np.allclose(move(image, down=2), np.roll(image, -2, axis=1), atol=1e-6)
    assert np.allclose(move(image, right=-1), np.roll(image, 1, axis=2), atol=1e-6)
    quarter = move(image, turn=90)
    assert np.allclose(quarter, np.rot90(image, 1, axes=(1, 2)), atol=1e-5) or np.allclose(
        quarter, np.rot90(image, -1, axes=(1, 2)), atol=1e-5
    )


def test_half_a_pixel_is_the_mean_of_two(image):
    assert np.allclose(move(image, down=0.5), (image + np.roll(image, -1, axis=1)) / 2, atol=1e-6)


def test_a_scale_and_a_slant():
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[0, 2:7, 4] = 1  # an upright line
    larger = move(x, scale=0.5)
    assert larger.sum() > 1.6 * x.sum()
    slanted = move(x, slant=1)
    found = [(i, int(slanted[0, i, :, 0].argmax())) for i in range(2, 7)]
    assert found == [(i, 8 - i) for i in range(2, 7)]  # each row by its distance from the middle
    assert np.isclose(slanted.sum(), x.sum())


def test_scipy_agrees(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.zeros((1, 20, 16, 1), np.float32)
    x[0, 6:14, 5:11, 0] = rng.random((8, 6))
    angle, scale, slant = np.radians(20), 1.1, 0.3
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale @ [[1, 0], [slant, 1]]
    middle = np.array([9.5, 7.5])
    expected = ndimage.affine_transform(x[0, ..., 0], matrix, middle - matrix @ middle + [1.5, -2], order=1)
    assert np.allclose(move(x, 1.5, -2, 20, 0.1, 0.3)[0, ..., 0], expected, atol=1e-5)


def test_what_leaves_the_image_is_gone_and_nothing_comes_in():
    x = np.ones((1, 5, 5, 1), np.float32)
    assert np.allclose(move(x, down=4)[0, :, :, 0], np.arange(5)[:, None] == 0)


def test_each_image_has_a_move_of_its_own_and_channels_move_together(rng):
    one = np.repeat(rng.random((1, 8, 8, 1)), 3, axis=0)
    x = np.concatenate([one, 2 * one], axis=3).astype(np.float32)
    ta.manual_seed(0)
    made = moved(ta.Tensor(x), 2, 10, 0.1, 0.1).numpy()
    assert not np.allclose(made[0], made[1]) and np.allclose(made[..., 1], 2 * made[..., 0], atol=1e-6)
    grey = moved(ta.Tensor(x[..., 0]), 2, 10, 0.1, 0.1).numpy()
    assert grey.shape == (3, 8, 8) and grey.min() >= 0 and grey.max() <= x[..., 0].max() + 1e-6


# ---------------------------------------------------------------- the model


def small(**moves):
    ta.manual_seed(1)
    return ta.InvariantAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 32, "relu"), ta.Dense(32, 4)),
        ta.Sequential(ta.Dense(4, 32, "relu"), ta.Dense(32, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        **moves,
    )


def test_images_move_in_training_only_and_targets_never():
    seen = []

    def loss(module, x, y):
        seen.append((x.numpy(), y.numpy()))
        return ta.mse_loss(module(x), y)

    model, x = small(), np.random.default_rng(0).random((6, 8, 8, 1), dtype=np.float32)
    model.objective(ta.Tensor(x), ta.Tensor(x), loss)
    model.objective(ta.Tensor(x), ta.Tensor(1 - x), loss)  # as of ta.fit(model, x, y)
    model.eval()
    model.objective(ta.Tensor(x), ta.Tensor(x), loss)
    (moved_x, target), (_, other_target), (plain_x, plain_target) = seen
    assert np.array_equal(other_target, 1 - x)
    assert not np.allclose(moved_x, x) and np.array_equal(target, x)
    assert np.array_equal(plain_x, x) and np.array_equal(plain_target, x)
    assert np.array_equal(model.encode(x), model.encode(x))


def test_without_moves_it_is_the_plain_one():
    x = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
    still = small(shift=0, angle=0, scale=0, slant=0)
    ta.manual_seed(1)
    plain = ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 32, "relu"), ta.Dense(32, 4)),
        ta.Sequential(ta.Dense(4, 32, "relu"), ta.Dense(32, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )
    losses = [model.fit(x, 3, 10, progress=False)["loss"] for model in (still, plain)]
    assert np.allclose(*losses, rtol=1e-4)


def test_the_code_of_a_moved_digit_stays_nearer():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()

    def unrest(model):
        """How far a shift by a pixel moves the code, beside how far apart codes are."""
        codes, shifted = model.encode(x_test), model.encode(np.roll(x_test, 1, axis=2))
        return (
            np.linalg.norm(shifted - codes, axis=1).mean() / np.linalg.norm(codes - codes.mean(axis=0), axis=1).mean()
        )

    found = []
    for model in (small(shift=1.0, angle=10, scale=0.1, slant=0.1), small(shift=0, angle=0, scale=0, slant=0)):
        model.fit(x, 40, 32, lr=3e-3, progress=False)
        found.append(unrest(model))
    assert found[0] < 0.7 * found[1]


def test_one_seed_gives_one_model_and_a_file_brings_it_back(tmp_path):
    x = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
    one, two, other = small(), small(), small()
    for model, seed in ((one, 0), (two, 0), (other, 1)):
        model.fit(x, 2, 10, seed=seed, progress=False)
    assert np.array_equal(one.encode(x), two.encode(x)) and not np.array_equal(one.encode(x), other.encode(x))
    ta.save(small(slant=0.4), tmp_path / "m.safetensors")
    back = ta.load(tmp_path / "m.safetensors")
    assert type(back) is ta.InvariantAutoencoder and back.moves() == {
        "shift": 3,
        "angle": 15,
        "scale": 0.15,
        "slant": 0.4,
    }


def test_what_cannot_be_moved():
    model = ta.InvariantAutoencoder(ta.Dense(64, 4), ta.Dense(4, 64))
    with pytest.raises(ShapeError, match="expected images"):
        model.fit(np.zeros((10, 64), np.float32), 1, progress=False)
    for setting in ({"shift": -1}, {"angle": 200}, {"scale": 1}, {"slant": float("nan")}):
        with pytest.raises(RangeError, match=next(iter(setting))):
            small(**setting)


@pytest.mark.slow
@pytest.mark.skipif("TINYAE_DATA" not in os.environ, reason="needs MNIST: set TINYAE_DATA to a folder that has mnist/")
def test_the_recipes_code_falls_into_the_digits():
    from tinyae.evaluation.code_quality import cluster_measures
    from tinyae.recipes import get_recipe

    (x, _), (x_test, y_test) = ta.datasets.load_mnist()
    recipe = get_recipe("clusters")
    ta.manual_seed(0)
    model = recipe.build((28, 28, 1))
    model.fit(x, 4, recipe.batch_size, lr=recipe.lr["adam"], progress=False)  # of its 10 epochs, for time
    found = cluster_measures(model.encode(x_test), y_test)
    assert model.encode(x_test).shape == (10_000, 10) and found["clustering_accuracy"] >= 0.70 and found["nmi"] >= 0.65
