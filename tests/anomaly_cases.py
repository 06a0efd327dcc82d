"""Rows, detectors and models that several tests of the detector share."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import AnomalyDetector

FEATURES = 8
FEW_HELD_OUT = pytest.mark.filterwarnings("ignore:AnomalyDetector. .* held-out rows cannot promise")


def surface(rng, n, noise=0.1):
    """Normal rows: three numbers bent into eight features, which have units of their own."""
    hidden = np.random.default_rng(7).normal(size=(3, FEATURES))
    units = 10.0 ** np.arange(-3, FEATURES - 3)
    return (np.tanh(rng.normal(size=(n, 3)) @ hidden) + noise * rng.normal(size=(n, FEATURES))) * units + 5 * units


def mixed(rng, n):
    """Rows whose features come from different normal rows: each usual by itself, together they are not."""
    x = surface(rng, n * FEATURES)
    return np.stack([x[i::FEATURES][:n, i] for i in range(FEATURES)], axis=1)


def quick(**settings):
    return AnomalyDetector(**{"members": 1, "epochs": 15, **settings})


def model(shape=(FEATURES,), last=None):
    size = int(np.prod(shape))
    ta.manual_seed(0)
    encoder = ta.Sequential(ta.Flatten(), ta.Dense(size, 16, "relu"), ta.Dense(16, 3))
    return ta.Autoencoder(encoder, ta.Sequential(ta.Dense(3, 16, "relu"), ta.Dense(16, size, last), ta.Reshape(*shape)))
