"""Noise: what it does to data, when it does it, and that a seed fixes it."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.nn.noise import NOISES, Noise, make_noise

KINDS = [ta.GaussianNoise(0.4, clip=(0, 1)), ta.GaussianNoise(0.3), ta.MaskingNoise(0.3), ta.SaltAndPepper(0.2)]
kinds = pytest.mark.parametrize("noise", KINDS, ids=repr)


def grey(backend="numpy", shape=(400, 500)):
    """A grey picture, in which every change is seen."""
    return ta.Tensor(np.full(shape, 0.5, np.float32)).to(backend)


def test_gaussian_noise_is_normal(backend):
    y = ta.GaussianNoise(0.2)(grey(backend)).numpy()
    assert np.isclose(y.mean(), 0.5, atol=0.002) and np.isclose(y.std(), 0.2, atol=0.002)
    assert np.isclose((np.abs(y - 0.5) < 0.2).mean(), 0.6827, atol=0.005)


def test_gaussian_noise_can_be_clipped(backend):
    y = ta.GaussianNoise(0.5, clip=(0, 1))(grey(backend)).numpy()
    assert y.min() == 0 and y.max() == 1
    for end in (0, 1):  # half of it is more than a standard deviation away, on both sides: as in a normal distribution
        assert np.isclose((y == end).mean(), 0.1587, atol=0.005)


def test_masking_noise_sets_a_share_to_zero_and_leaves_the_rest(backend):
    y = ta.MaskingNoise(0.3)(grey(backend)).numpy()
    assert np.isclose((y == 0).mean(), 0.3, atol=0.005) and set(np.unique(y)) == {0, 0.5}


def test_salt_and_pepper_sets_as_many_to_zero_as_to_one(backend):
    y = ta.SaltAndPepper(0.2)(grey(backend)).numpy()
    assert set(np.unique(y)) == {0, 0.5, 1}
    assert np.isclose((y == 0).mean(), 0.1, atol=0.004) and np.isclose((y == 1).mean(), 0.1, atol=0.004)


@kinds
def test_noise_is_new_each_time_and_in_training_only(noise, backend):
    x = grey(backend)
    assert not np.array_equal(noise(x).numpy(), noise(x).numpy())
    assert not np.array_equal(x.numpy()[0], noise(x).numpy()[0])
    assert noise.eval()(x) is x
    noise.train()
    assert type(noise)(0.0)(x) is x  # of strength 0


@kinds
def test_noise_on_purpose_is_fixed_by_its_seed_in_every_mode(noise, backend, monkeypatch):
    monkeypatch.setattr("tinyae.nn.noise.PIECE", 1024 * 21)
    x = grey(backend, (1500, 7, 3)).data  # more than a piece, and an odd number of elements
    first = noise.corrupted(x, 3)
    assert type(first) is type(x) and first.shape == x.shape
    noise.eval()
    again, tensor, few = noise.corrupted(x, 3), noise.corrupted(ta.Tensor(x), 3), noise.corrupted(x[:10], 3)
    noise.train()
    first, again, few = map(backend.to_host, (first, again, few))
    assert np.array_equal(first, again) and np.array_equal(first, tensor.numpy()) and np.array_equal(first[:10], few)
    assert not np.array_equal(first[:400], first[1024:1424])  # each piece has its own
    assert not np.array_equal(first, backend.to_host(noise.corrupted(x, 4)))


@kinds
def test_noise_on_purpose_takes_nothing_from_the_current_generator(noise):
    x = grey()
    ta.manual_seed(0)
    first, second = noise(x).numpy(), noise(x).numpy()
    ta.manual_seed(0)
    assert np.array_equal(noise(x).numpy(), first)
    purpose = noise.corrupted(x, 0)
    assert np.array_equal(noise(x).numpy(), second)
    assert not purpose.requires_grad and not np.array_equal(purpose.numpy(), first)  # nor does it repeat a training's


@kinds
def test_the_same_noise_on_every_backend(noise, backend):
    x = grey().data
    assert np.allclose(backend.to_host(noise.corrupted(backend.asarray(x))), noise.corrupted(x), atol=1e-6)


@kinds
def test_gradients_go_through_what_the_noise_leaves(noise):
    x = ta.Tensor(np.random.default_rng(0).uniform(0.2, 0.8, (8, 9)), requires_grad=True, dtype="float64")

    def with_the_same_noise(x):
        ta.manual_seed(1)
        return noise(x)

    assert ta.check_gradients(with_the_same_noise, x)
    y = with_the_same_noise(x)
    y.backward(np.ones((8, 9)))
    replaced = (y.numpy() == 0) | (y.numpy() == 1)
    assert (
        np.array_equal(x.grad, ~replaced)
        and 0 < (~replaced).sum()
        and (isinstance(noise, ta.GaussianNoise) and not noise.clip or replaced.any())
    )


@kinds
def test_integers_become_floats_and_float64_stays(noise):
    x = np.ones((50, 4), int)
    assert noise(x).dtype == np.float32 and len(np.unique(noise(x).numpy())) > 1
    assert noise.corrupted(x).dtype == np.float32
    assert noise(np.ones((3, 4))).dtype == noise.corrupted(np.ones((3, 4))).dtype == np.float64


@kinds
def test_saved_and_loaded(noise, tmp_path):
    model = ta.Sequential(noise, ta.Dense(3, 3))
    ta.save(model, tmp_path / "m.safetensors")
    assert repr(ta.load(tmp_path / "m.safetensors")) == repr(model)


def test_what_was_saved_before_noise_could_be_clipped_still_loads():
    assert ta.GaussianNoise(0.1).config() == {"std": 0.1}  # nor do its checkpoints differ
    assert ta.GaussianNoise.from_config(std=0.1).clip is None


def test_noises_by_name():
    assert set(NOISES) == {"gaussian", "masking", "salt-and-pepper"}
    assert repr(make_noise("Gaussian", 0.4, [0, 1])) == repr(ta.GaussianNoise(0.4, (0, 1)))
    assert repr(make_noise("masking", 0.2, (0, 1))) == repr(ta.MaskingNoise(0.2))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.GaussianNoise(-1), RangeError, "GaussianNoise: std is -1"),
        (lambda: ta.GaussianNoise(0.1, clip=0.5), RangeError, r"clip is 0.5; expected two numbers \(low, high\)"),
        (lambda: ta.GaussianNoise(0.1, clip=(1, 0)), RangeError, r"clip\[1\] is 0; expected a finite number > 1"),
        (lambda: ta.MaskingNoise(1), RangeError, "MaskingNoise: rate is 1; expected a finite number >= 0 and < 1"),
        (lambda: ta.SaltAndPepper(float("nan")), RangeError, "SaltAndPepper: rate is nan"),
        (lambda: make_noise("salt", 0.1), RangeError, "unknown noise 'salt'. Known, nearest first: salt-and-pepper"),
        (lambda: ta.MaskingNoise(0.1).corrupted(3.0), ShapeError, "a single number was given"),
        (lambda: ta.MaskingNoise(0.1).corrupted(["a"]), DtypeError, "MaskingNoise.corrupted: data of type"),
        (lambda: ta.MaskingNoise(0.1).corrupted([1.0], seed=-1), RangeError, "seed is -1"),
        (lambda: Noise().strength, NotImplementedError, "Noise has no strength"),
    ],
)
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
