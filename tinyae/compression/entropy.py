"""Entropy coding: symbols that are frequent get few bits, rare ones many.

A symbol of probability p costs :math:`-\\log_2 p` bits, so N symbols drawn with these probabilities cost N times their
entropy; no code without loss needs less on the average (Shannon, 1948). A range coder comes within a fraction of a
percent of that, as it need not give each symbol a whole number of bits: Martin, "Range encoding" (1979). It is taken
from the library ``constriction`` (Bamler, 2022), which computes with integers once it knows the probabilities. They are
given by counts, which are stored beside the symbols, so that every machine has the same ones.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataFileError, missing_library

LARGEST = 1 << 16  # symbols are numbers below this
MOST = 1 << 40  # the largest count


class EntropyCoder:
    """Encodes and decodes symbols (n, K) by tables of counts: one table for all K columns, or one for each.

    Raises
    ------
    MissingLibraryError
        ``constriction`` is not installed.
    """

    def __init__(self, tables: Sequence[Sequence[int]]) -> None:
        try:
            from constriction import stream
        except ImportError as error:
            raise missing_library("entropy coding", "constriction") from error
        self.queue, model = stream.queue, stream.model.Categorical
        # a symbol that was never seen keeps the smallest probability there is, 2**-24
        self.models = [None if len(t) == 1 else model(np.array(t, np.float64), perfect=False) for t in tables]

    def encode(self, symbols: np.ndarray[Any, Any]) -> bytes:
        """Symbols (n, K), each below the length of its table, as bytes."""
        encoder = self.queue.RangeEncoder()
        for column, model in zip(self._by_table(symbols), self.models):
            if model is not None:  # a table with one symbol leaves nothing to say
                encoder.encode(np.ascontiguousarray(column, np.int32), model)
        return encoder.get_compressed().astype("<u4").tobytes()

    def decode(self, data: bytes, n: int, columns: int) -> np.ndarray[Any, Any]:
        """The symbols (n, columns) in what ``encode`` gave, int32.

        Raises
        ------
        DataFileError
            No such symbols could have been encoded to these bytes.
        """
        symbols = np.zeros((n, columns), np.int32)
        try:
            decoder = self.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
            if len(self.models) == 1:
                if self.models[0] is not None:
                    symbols[:] = decoder.decode(self.models[0], n * columns).reshape(columns, n).T
                return symbols
            for k, model in enumerate(self.models):
                if model is not None:
                    symbols[:, k] = decoder.decode(model, n)
        except (AssertionError, ValueError) as error:
            raise DataFileError(f"decompress: these bytes encode no such symbols: {error}") from error
        return symbols

    def _by_table(self, symbols):
        return [symbols.T.reshape(-1)] if len(self.models) == 1 else symbols.T


def best_tables(symbols: np.ndarray[Any, Any], size: int) -> list[list[int]]:
    """The tables of counts with which symbols (n, K), all below ``size``, and the tables take the fewest bytes together.

    One table for each column says most about the symbols, one for all takes less room, and one that says nothing (all
    counts are 1) takes next to none: the best for a few symbols.
    """
    each = [np.bincount(column, minlength=1) for column in symbols.T]
    everything = np.bincount(symbols.reshape(-1), minlength=1)
    offers = [[np.ones(size, np.int64)], [everything], each]
    return min(([t.tolist() for t in offer] for offer in offers), key=lambda tables: cost(symbols, tables))


def cost(symbols, tables):
    """Bits for the symbols, and for the tables as they are written down."""
    written = 8 * len(zlib.compress(json.dumps(tables, separators=(",", ":")).encode()))
    return ideal_bits(symbols, tables) + written


def ideal_bits(symbols: np.ndarray[Any, Any], tables: Sequence[Sequence[int]]) -> float:
    """Bits that a perfect coder would need: the sum of -log2 p over all symbols (n, K)."""
    parts = [symbols.reshape(-1)] if len(tables) == 1 else symbols.T
    found = 0.0
    for column, table in zip(parts, tables):
        seen = np.bincount(column, minlength=len(table))
        p = np.asarray(table, np.float64) / sum(table)
        found -= float((seen[seen > 0] * np.log2(p[seen > 0])).sum())
    return found


def checked_tables(tables: Any, columns: int) -> list[list[int]]:
    """Tables of counts read from a file, or the ValueError that says what they are not."""
    if not isinstance(tables, list) or len(tables) not in (1, columns):
        raise ValueError(f"expected one table of counts, or {columns}")
    for table in tables:
        if not isinstance(table, list) or not 1 <= len(table) <= LARGEST:
            raise ValueError("a table of counts is no list of 1 to 65,536 numbers")
        if not all(type(count) is int and 0 <= count <= MOST for count in table) or not any(table):
            raise ValueError("a count is no number from 0 to 2**40, or all of a table are 0")
    return tables
