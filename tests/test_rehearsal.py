"""Data sets are told apart, so that a run goes on with the data it began with."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import StateError
from tinyae.rehearsal import fingerprint

from .conftest import made, quick


def test_lengths_and_types_give_other_fingerprints():
    hashes = [fingerprint(np.zeros((n, 2), dtype)) for n, dtype in ((100, "f4"), (200, "f4"), (100, "i4"))]
    assert len(set(hashes)) == 3


def test_a_change_in_the_last_of_many_examples_is_noticed(rng, tmp_path):
    x = rng.random((200, 3), dtype=np.float32)

    def train(x):
        quick(ta.Autoencoder(ta.Dense(3, 2), ta.Dense(2, 3)), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])

    train(x)
    x[-1] = 0
    with pytest.raises(StateError, match="training data: was"):
        train(x)


def test_the_same_numbers_of_another_type_are_noticed(tmp_path):
    def train(x):
        quick(made(), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)], batch_size=10)

    train(np.zeros((50, 8, 8, 1), np.float32))
    with pytest.raises(StateError, match="training data: was"):
        train(np.zeros((50, 8, 8, 1), np.float64))
