"""Messages: nearest names first, values in few characters, built-in classes as parents."""

import numpy as np
import pytest

from tinyae import errors


def test_every_error_is_ours_and_a_built_in_one():
    for cls in vars(errors).values():
        if isinstance(cls, type) and cls is not errors.TinyaeError:
            assert issubclass(cls, errors.TinyaeError)
            assert issubclass(
                cls, (ValueError, TypeError, RuntimeError, ImportError, OSError, MemoryError, ArithmeticError)
            )


def test_the_nearest_name_comes_first():
    table = {"relu": 1, "tanh": 2, "sigmoid": 3}
    with pytest.raises(errors.RangeError, match="unknown activation 'sigmiod'. Known, nearest first: sigmoid"):
        errors.lookup("activation", "sigmiod", table)
    with pytest.raises(errors.RangeError, match=r"unknown activation \['relu'\], a list"):
        errors.lookup("activation", ["relu"], table)
    assert errors.lookup("activation", "ReLU", table) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "1", b"1", None, True, np.True_, [1], 1j])
def test_what_is_no_number(value):
    with pytest.raises(errors.RangeError, match="f: x is .*expected a finite number > 0"):
        errors.require_number("f", "x", value, above=0)


@pytest.mark.parametrize("value", [1, 2.5, np.float32(2), np.int64(3)])
def test_what_is_one(value):
    assert errors.require_number("f", "x", value, above=0, at_most=3) == float(value)


def test_long_values_are_cut():
    assert errors.brief(np.zeros((100, 100))) == "ndarray of float64 with shape (100, 100)"
    assert len(errors.brief("x" * 1000)) == 80
