"""A uniform quantiser: a number becomes the number of the cell it lies in, and comes back as the middle of that cell.

.. math::

    i = \\left\\lfloor \\frac{z - a}{\\Delta} \\right\\rfloor, \\qquad
    \\hat z = a + \\left(i + \\tfrac12\\right) \\Delta, \\qquad \\Delta = \\frac{b - a}{2^B}

Every code unit has a range [a, b] of its own. What lies outside is given the nearest cell. A wide range has wide cells,
a narrow one cuts off the rare large numbers; between the two lies a range with the smallest squared error: Max,
"Quantizing for minimum distortion" (1960). Gray and Neuhoff, "Quantization" (1998), tell the whole story.
"""

from typing import Any

import numpy as np

from ..errors import RangeError, ShapeError, require_integer

MOST_BITS = 16
TAILS = (0.0, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.06, 0.1)  # shares of the numbers that may lie outside, on each side
DIGITS = 6  # of a range's ends, as they are written down


class UniformQuantiser:
    """2**bits cells of one width in the range of each code unit.

    Parameters
    ----------
    low, high : float arrays (K,)
        The range of each unit. Where both are equal, as for a unit that never changes, the value is ``low``.
    bits : int
        From 1 to 16.
    """

    def __init__(self, low: Any, high: Any, bits: int) -> None:
        self.bits = checked_bits(bits)
        self.low, self.high = np.array(low, np.float64), np.array(high, np.float64)
        if self.low.ndim != 1 or self.low.shape != self.high.shape:
            raise ShapeError(
                f"UniformQuantiser: ranges of shapes {self.low.shape} and {self.high.shape}; expected (K,) twice."
            )
        with np.errstate(all="ignore"):
            are_ranges = np.isfinite(self.high - self.low).all() and (self.low <= self.high).all()
        if not are_ranges:
            raise RangeError("UniformQuantiser: a range is not finite, or its low end is above its high end.")
        self.step = (self.high - self.low) / 2**self.bits

    @classmethod
    def fit(cls, codes: Any, bits: int) -> "UniformQuantiser":
        """The ranges for codes (N, K): of those in TAILS, for each unit the one with the smallest squared error."""
        bits, codes = checked_bits(bits), np.asarray(codes, np.float64)
        best, low, high = np.full(codes.shape[1], np.inf), np.zeros(codes.shape[1]), np.zeros(codes.shape[1])
        shares = np.array([*TAILS, *(1 - tail for tail in TAILS)])
        ends = np.reshape(
            [[rounded(end) for end in row] for row in np.quantile(codes, shares, axis=0)], (2, len(TAILS), -1)
        )
        for a, b in zip(ends[0], np.maximum(ends[0], ends[1])):
            tried = cls(a, b, bits)
            error = np.square(tried.values(tried.cells(codes)) - codes).mean(axis=0)
            better = error < best
            best, low, high = (np.where(better, *pair) for pair in ((error, best), (a, low), (b, high)))
        return cls(low, high, bits)

    def cells(self, codes: Any) -> np.ndarray[Any, Any]:
        """Codes (N, K) as the numbers of their cells, uint8 or uint16 (N, K)."""
        width = np.where(self.step > 0, self.step, 1.0)
        place = np.floor((np.asarray(codes, np.float64) - self.low) / width)
        place = np.clip(place, 0, np.where(self.step > 0, 2**self.bits - 1, 0))
        return place.astype(np.uint8 if self.bits <= 8 else np.uint16)

    def values(self, cells: Any) -> np.ndarray[Any, Any]:
        """The middles of cells (N, K), float64: sums and products alone, the same on every machine."""
        return np.where(self.step > 0, self.low + (cells + 0.5) * self.step, self.low)


def checked_bits(bits):
    """How many bits a code unit gets, from 1 to MOST_BITS."""
    bits = require_integer("compress", "bits", bits, at_least=1)
    if bits > MOST_BITS:
        raise RangeError(
            f"compress: bits is {bits}; expected 1 to {MOST_BITS}. With 8 the quantiser hardly adds to the model's error."
        )
    return bits


def rounded(number):
    """A number with few digits, so that it takes little room when it is written down, and is the same when read."""
    return float(f"{number:.{DIGITS}g}")
