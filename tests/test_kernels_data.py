"""Random numbers, batches and the look through a data set, by kernel and by definition; see ``test_kernels.py``."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import data as data_module
from tinyae.backend import NUMPY
from tinyae.errors import RangeError
from tinyae.kernels import cpu
from tinyae.random import PURPOSES, Generator

from .twins import (
    TYPES,
    kernels_for_all,
    spread_out,
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


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("parts", [1, 3, 16])
def test_survey(dtype, parts, rng):
    with kernels_for_all(parts):
        for shape in [(1,), (5,), (63,), (64,), (65,), (7, 11), (1000,), (3, 5, 700)]:
            x = spread_out(rng, shape).astype(dtype)
            assert cpu.survey(x) == (x.min(), x.max())
            for odd in (np.nan, np.inf, -np.inf):
                assert cpu.survey(with_odd_places(rng, x, [odd])) is None
        for x in (np.array([np.finfo(dtype).max, np.finfo(dtype).min]), np.full(70, np.finfo(dtype).max)):
            assert cpu.survey(x.astype(dtype)) == (x.min(), x.max())
        assert cpu.survey(np.arange(5)) is None and cpu.survey(np.ones((4, 4)).T[::2]) is None


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("chunk", [1 << 24, 60])
def test_check_values_says_the_same(dtype, chunk, rng, everywhere, monkeypatch):
    """Answers and messages, also for a data set that is looked through in pieces."""
    monkeypatch.setattr(data_module, "CHUNK", chunk)
    good = rng.random((20, 3, 4)).astype(dtype)
    cases = [good, -good, good * 300, good + 0.1]
    for place in [(0, 0, 0), (19, 2, 3), (7, 1, 2)]:
        for value in (np.nan, np.inf, -np.inf, -0.5, 1.5, 1 + 9e-7, 1 + 2e-6, -9e-7, -2e-6):
            cases.append(good.copy())
            cases[-1][place] = value
    cases.append(with_odd_places(rng, good, [np.nan, np.inf, 3, 4, np.nan, -7]))
    for case in cases:
        for unit_interval in (True, False):
            answers = []
            for which in ("fast", "reference"):
                with ta.use_kernels(which):
                    try:
                        answers.append(data_module.check_values("fit", case, unit_interval))
                    except RangeError as error:
                        answers.append(str(error))
            assert answers[0] == answers[1]
