"""What all tests share: the backends they run on, and random arrays."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import register_backend
from tinyae.errors import BackendError

from .strict_device import StrictBackend

register_backend("strict", StrictBackend)


@pytest.fixture(params=["numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    """Each backend in turn; one that this machine lacks is skipped, with the reason."""
    try:
        return ta.get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def digits_model():
    """A small autoencoder for 8x8 digits, always with the same weights."""
    ta.manual_seed(0)
    return ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, 4)),
        ta.Sequential(ta.Dense(4, 16, "relu"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )


@pytest.fixture
def images(rng):
    """Made-up 8x8 images, for tests that only need something to train on."""
    return rng.random((50, 8, 8, 1), dtype=np.float32)


# ---------------------------------------------------------------- for the tests of training


def weights(model):
    """All numbers of a model as bytes, to compare to the last bit."""
    return b"".join(value.tobytes() for value in model.state_dict().values())


def quick(model, x, epochs=2, **options):
    """A short training without a progress bar."""
    return model.fit(x, epochs, progress=False, **options)


def made(seed=0):
    """An autoencoder with dropout and noise, so that all that is random takes part."""
    ta.manual_seed(seed)
    return ta.Autoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dropout(0.2), ta.Dense(16, 4)),
        ta.Sequential(ta.GaussianNoise(0.1), ta.Dense(4, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
    )
