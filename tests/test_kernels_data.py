"""Random numbers, batches and the look through a data set, by kernel and by definition; see ``test_kernels.py``."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import data as data_module
from tinyae.backend import NUMPY
from tinyae.kernels import cpu
from tinyae.random import PURPOSES, Generator

from .twins import (
    TYPES,
    with_odd_places,
)

# ---------------------------------------------------------------- random numbers, batches, data sets


def test_philox_to_the_last_bit(everywhere):
    seeds = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64 + 5)
    steps = (0, 1, 2**32 - 1, 2**32, 2**40 + 3)
    for seed in seeds:
        for step in steps:
            for purpose in PURPOSES:
                for start, size in ((0, 1), (0, 4), (4, 7), (400, 33), (2**34, 9), (2**33 - 8, 40)):
                    fast = Generator(seed).bits(size, purpose, step, start=start)
                    with ta.use_kernels("reference"):
                        plain = Generator(seed).bits(size, purpose, step, start=start)
                    assert fast.dtype == plain.dtype and np.array_equal(fast, plain), (seed, step, purpose, start, size)


def test_draws_are_the_same_with_and_without_kernels():
    for draw in (
        lambda g: g.uniform((100, 200), "dropout"),
        lambda g: g.normal((101, 101), "noise"),
        lambda g: g.permutation(10007),
    ):
        fast = draw(Generator(7))
        with ta.use_kernels("reference"):
            assert np.array_equal(fast, draw(Generator(7)))


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (50, 7), (20, 3, 5, 1), (9, 2000)])
def test_take_is_indexing(source, target, shape, rng, everywhere):
    data = with_odd_places(rng, rng.normal(size=shape).astype(source), [np.nan, np.inf])
    for size in (1, 2, 30):
        index = rng.integers(0, shape[0], size)
        ours = cpu.take(data, index, np.dtype(target))
        assert ours.dtype == target and np.array_equal(ours, data[index].astype(target), equal_nan=True)
        tensor = data_module.take(data, index, NUMPY, np.dtype(target))
        assert np.array_equal(tensor.numpy(), ours, equal_nan=True)


def test_take_has_no_kernel_for_other_data(rng, everywhere):
    index = np.array([2, 0])
    for data in (
        np.arange(12).reshape(3, 4),
        np.asfortranarray(rng.normal(size=(3, 4))),
        rng.normal(size=3),
        rng.normal(size=(3, 4)).astype(np.float16),
    ):
        assert cpu.take(data, index, np.dtype(np.float32)) is None
        if data.dtype != np.float16:
            taken = data_module.take(data, index, NUMPY, np.dtype(np.float32))
            assert np.array_equal(taken.numpy(), data[index].astype(np.float32))
    data = rng.normal(size=(3, 4))
    assert cpu.take(data, index.astype(np.int32), np.dtype(np.float32)) is None


def test_batches_are_the_same_with_and_without_kernels(rng):
    x, y = rng.random((300, 40)), rng.integers(0, 5, 300)
    fast = [(a.numpy(), b.numpy()) for a, b in ta.batches(x, 128, y, seed=3)]
    with ta.use_kernels("reference"):
        plain = [(a.numpy(), b.numpy()) for a, b in ta.batches(x, 128, y, seed=3)]
    assert len(fast) == 3
    for (a, b), (c, d) in zip(fast, plain):
        assert np.array_equal(a, c) and np.array_equal(b, d) and a.dtype == c.dtype == np.float32
