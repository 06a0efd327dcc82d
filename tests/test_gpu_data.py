"""The GPU's random numbers and batches against ``random.py`` and indexing, on the emulated device."""

from types import SimpleNamespace

import numpy as np
import pytest

import tinyae as ta
from tinyae.backend import NUMPY
from tinyae.kernels import gpu_data, gpu_launching
from tinyae.random import PURPOSES, Generator

from .twins import TYPES, with_odd_places

DEVICE = NUMPY  # the fixture below sets it
SEEDS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64 + 5)
STEPS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**40 + 3)
SIZES = (1, 2, 3, 4, 5, 31, 32, 33, 1023, 1024, 1025)


@pytest.fixture(autouse=True)
def each_device(device):
    """The stand-in, and a GPU where there is one, as DEVICE."""
    global DEVICE
    DEVICE = device


def number(value):
    """An int64 on the device."""
    return DEVICE.asarray(np.array([value], np.int64))


# ---------------------------------------------------------------- random numbers


def test_words_to_the_last_bit():
    for seed in SEEDS:
        for step in STEPS:
            for purpose, code in PURPOSES.items():
                for block, blocks in ((0, 1), (1, 2), (100, 9), (2**31, 3), (2**32 - 1, 3), (2**34, 5)):
                    ours = DEVICE.to_host(gpu_data.words(DEVICE, seed, step, code, block, blocks))
                    with ta.use_kernels("reference"):
                        theirs = Generator(seed).bits(4 * blocks, purpose, step, start=4 * block)
                    assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), (seed, step, purpose, block)


@pytest.mark.parametrize("size", SIZES)
def test_uniform_to_the_last_bit(size):
    for seed, step in ((0, 0), (2**63 + 7, 2**32 + 1)):
        ours = DEVICE.to_host(gpu_data.uniform(DEVICE, size, seed, step, PURPOSES["dropout"]))
        theirs = Generator(seed).uniform((size,), "dropout", step)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_normal_to_rounding(size):
    for seed, step in ((0, 0), (2**63 + 7, 2**32 + 1)):
        ours = DEVICE.to_host(gpu_data.normal(DEVICE, size, seed, step, PURPOSES["noise"]))
        theirs = Generator(seed).normal((size,), "noise", step)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_normal_numbers_are_normal_and_finite():
    x = DEVICE.to_host(gpu_data.normal(DEVICE, 20000, 3, 0, 5)).astype(float)
    assert abs(x.mean()) < 0.03 and abs(x.std() - 1) < 0.03 and np.isfinite(x).all()
    assert abs((x**4).mean() - 3) < 0.3 and abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 0.03


@pytest.mark.parametrize("blocks", [1, 2])
def test_threads_that_draw_several_blocks(blocks, monkeypatch):
    monkeypatch.setattr(gpu_launching, "MOST_BLOCKS", blocks)
    words = DEVICE.to_host(gpu_data.words(DEVICE, 5, 6, 1, 7, 700))
    assert np.array_equal(words, Generator(5).bits(2800, "init", 6, start=28))
    assert np.array_equal(
        DEVICE.to_host(gpu_data.uniform(DEVICE, 2801, 5, 6, 1)), Generator(5).uniform((2801,), "init", 6)
    )


def test_a_step_that_is_counted_on_the_device():
    """The same launch draws the next numbers each time; the number beside it tells draws of one step apart."""
    start = 2**32 - 3  # over the edge of the low half
    counter = number(start)
    for turn in range(3):
        for offset in range(2):
            step, given = start + 2 * turn + offset, (7, (counter, offset))
            ours = [
                gpu_data.words(DEVICE, *given, PURPOSES["sample"], 0, 2),
                gpu_data.uniform(DEVICE, 9, *given, PURPOSES["sample"]),
                gpu_data.normal(DEVICE, 9, *given, PURPOSES["sample"]),
            ]
            g = Generator(7)
            theirs = g.bits(8, "sample", step), g.uniform((9,), "sample", step), g.normal((9,), "sample", step)
            for mine, other in zip(ours, theirs):
                assert np.allclose(DEVICE.to_host(mine), other, rtol=1e-6, atol=1e-9)
        gpu_data.advance(DEVICE, counter, 2)
    assert DEVICE.to_host(counter)[0] == start + 6


# ---------------------------------------------------------------- batches


def gathered(data, order, cursor, rows, shift=0):
    """A batch as the kernel takes it; ``shift``: data and batch begin so many numbers behind a multiple of 16 bytes."""
    memory = DEVICE.asarray(np.concatenate([np.zeros(shift, data.dtype), data.ravel()]))
    out = DEVICE.empty((rows * data[0].size + shift,), data.dtype)
    placed, batch = memory[shift:].reshape(data.shape), out[shift:].reshape((rows, *data.shape[1:]))
    longer = DEVICE.asarray(np.concatenate([[0], order, [0]]).astype(np.int64))  # beyond its ends it would be right too
    gpu_data.gather(DEVICE, placed, longer[1:-1], number(cursor), batch)
    return DEVICE.to_host(batch)


@pytest.mark.parametrize("dtype", [*TYPES, np.int64])
@pytest.mark.parametrize("shape", [(1, 1), (9,), (7, 3), (20, 4), (6, 2, 3, 5), (5, 31), (5, 32), (3, 784), (2, 5000)])
def test_gather_is_indexing(shape, dtype, rng):
    data = (100 * rng.normal(size=shape)).astype(dtype)
    if dtype != np.int64:
        data = with_odd_places(rng, data, [np.nan, np.inf])
    order = rng.integers(len(data), size=40)
    for cursor, rows, shift in ((0, 1, 0), (3, 37, 0), (7, 33, 0), (39, 1, 0), (5, 32, 1)):
        ours = gathered(data, order, cursor, rows, shift)
        assert ours.dtype == dtype
        assert np.array_equal(ours, data[order[cursor : cursor + rows]], equal_nan=dtype != np.int64)


@pytest.mark.parametrize("shape", [(700, 1), (70, 4), (3, 5000)])
def test_few_blocks_copy_all_rows(shape, monkeypatch, rng):
    monkeypatch.setattr(gpu_data, "MOST_BLOCKS", 2)
    data, order = rng.normal(size=shape), rng.permutation(len(np.empty(shape)))
    assert np.array_equal(gathered(data, order, 0, len(order)), data[order])


@pytest.mark.parametrize("dtype", [*TYPES, np.int64])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_examples_that_do_not_exist_are_marked(width, dtype, rng):
    """And nothing is read or written elsewhere, which the guard bands of the emulated device would notice."""
    data = np.ones((5, width), dtype)
    missing = -1 if dtype == np.int64 else np.nan
    order = np.array([0, 5, 4, -1, 2**40, 3, -(2**62)])
    expected = np.where(np.isin(order, range(5))[:, None], data[:1], missing)
    assert np.array_equal(gathered(data, order, 0, 7), expected, equal_nan=dtype != np.int64)
    for cursor in (4, 7, 2**40, -3, -(2**40)):
        places = cursor + np.arange(7)
        inside = np.isin(places, range(7)) & np.isin(order[places.clip(0, 6)], range(5))
        expected = np.where(inside[:, None], data[:1], missing)
        assert np.array_equal(gathered(data, order, cursor, 7), expected, equal_nan=dtype != np.int64)


@pytest.mark.parametrize("dtype", TYPES)
def test_an_epoch_that_goes_on_by_itself(dtype, rng):
    """The same two launches for each batch, as a captured step has them."""
    data, labels = rng.normal(size=(50, 6)).astype(dtype), rng.integers(5, size=50)
    order = rng.permutation(50)
    place, cursor, losses = number(0), number(0), DEVICE.asarray(np.zeros((2, 6)))
    on_device = [DEVICE.asarray(array) for array in (data, labels, order)]
    batch, targets = DEVICE.empty((8, 6), dtype), DEVICE.empty((8,), np.int64)
    for step in range(6):
        gpu_data.gather(DEVICE, on_device[0], on_device[2], cursor, batch)
        gpu_data.gather(DEVICE, on_device[1], on_device[2], cursor, targets)
        index = order[8 * step : 8 * step + 8]
        assert np.array_equal(DEVICE.to_host(batch), data[index])
        assert np.array_equal(DEVICE.to_host(targets), labels[index])
        loss = DEVICE.asarray(np.array(0.1 * step, dtype))
        gpu_data.end_of_batch(DEVICE, loss, loss, losses, place, cursor, 8)
    assert DEVICE.to_host(place)[0] == 6 and DEVICE.to_host(cursor)[0] == 48
    assert np.array_equal(DEVICE.to_host(losses), 2 * [(0.1 * np.arange(6)).astype(dtype).astype(float)])
    for outside in (6, -1, 2**40):
        place[...] = outside
        gpu_data.end_of_batch(DEVICE, loss, loss, losses, place, cursor, 8)
        assert DEVICE.to_host(place)[0] == outside + 1
    assert np.array_equal(DEVICE.to_host(losses), 2 * [(0.1 * np.arange(6)).astype(dtype).astype(float)])


# ---------------------------------------------------------------- how the work is divided


@pytest.mark.parametrize("rows", [1, 32, 256, 4096, 10**7])
@pytest.mark.parametrize("width", [1, 3, 4, 784, 3 * 224 * 224, 10**8])
def test_every_grid_is_one_that_a_gpu_takes(rows, width):
    """Sizes that would take too long to run: the launch itself is looked at."""
    seen = []
    device = SimpleNamespace(address=lambda array: 0, launch=lambda *arguments: seen.append(arguments))
    batch = type("Batch", (), {"__len__": lambda self: rows, "size": rows * width, "dtype": np.dtype(np.float32)})()
    gpu_data.gather(device, batch, batch, None, batch)
    (across, pieces), (x, y) = seen[0][3:5]
    items = width // 4 if width % 4 == 0 else width
    assert x * y == 256 and 1 <= pieces <= 1024 and 1 <= across <= 1024 and across * pieces <= 1024
    assert x * pieces >= min(items, 256) and (x < 2 * items)
