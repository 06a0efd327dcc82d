"""Halves of documents that are to find each other: the autoencoder beside LSA and plain TF-IDF, on Python's help topics."""

import time

from tinyae.runs.text import TITLES, mates_in_words, search_text, spread

from .row import Row


def measure(seeds, threads=None):
    """One row for each size of the code."""
    rows = []
    for size in (8, 16, 32):
        started = time.perf_counter()
        result = search_text(seeds=seeds, size=size)
        seen = "; ".join(
            f"{TITLES[method]} {spread(found, 'precision_at_1', '.1%')}, {spread(found, 'mean_reciprocal_rank', '.3f')}"
            for method, found in result["mates"].items()
        )
        verdict = next(line for line in mates_in_words(result) if "is best" in line)
        what = f"text: first halves of the {result['source']} found by their second halves, {size} numbers each"
        seen = f"found at once, mean reciprocal rank: {seen}. {verdict}"
        rows.append(Row(what, "", seen, None, time.perf_counter() - started, result))
    return rows
