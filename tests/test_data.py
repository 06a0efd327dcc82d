"""Data sets: looked through before a training, in pieces of any size."""

import re

import numpy as np
import pytest

from tinyae import data
from tinyae.data import check_values, spread_evenly
from tinyae.errors import RangeError


@pytest.mark.parametrize("chunk", [1, 12, 60, 1 << 24])  # elements that are read together
@pytest.mark.parametrize("in_cache", [1, 12, 30, 1 << 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_checked_in_pieces(chunk, in_cache, dtype, rng, monkeypatch):
    monkeypatch.setattr(data, "CHUNK", chunk)
    monkeypatch.setattr(data, "IN_CACHE", in_cache)
    good = rng.random((20, 3, 4)).astype(dtype)
    check_values("x", good, unit_interval=True)
    check_values("x", good * -300)
    for place in [(0, 0, 0), (7, 1, 2), (19, 2, 3)]:
        for value in (np.nan, np.inf, -np.inf):
            bad = good.copy()
            bad[place] = value
            bad[-1, -1, -1] = np.nan
            wrong = 2 - (place == (19, 2, 3))
            message = f"x: {wrong} of 240 values are NaN or infinite, the first at index {place}"
            with pytest.raises(RangeError, match=re.escape(message)):
                check_values("x", bad)
        for value in (-0.5, 1.5, 1 + 2e-6, -2e-6):
            bad = good.copy()
            bad[place] = value
            check_values("x", bad)
            low, high = min(bad.min(), value), max(bad.max(), value)
            with pytest.raises(RangeError, match=re.escape(f"range from {low:.6g} to {high:.6g}")):
                check_values("x", bad, unit_interval=True)


@pytest.mark.parametrize("n, most", [(1, 1), (1, 9), (9, 9), (10, 9), (11, 2), (1000, 7)])
def test_some_examples_from_first_to_last(n, most):
    chosen = spread_evenly(n, most)
    assert len(chosen) == min(n, most) and (chosen[0], chosen[-1]) == (0, n - 1)
    steps = np.diff(chosen)
    assert (steps > 0).all() and np.ptp([*steps, *steps[:1]] or [0]) <= 1
