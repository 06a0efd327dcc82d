"""Nearest neighbours: which examples are most like another one, as their codes (or their pixels) see it."""

from typing import Any

import numpy as np

from ..data import as_data, place_of
from ..errors import RangeError, ShapeError, missing_library, require_integer


def nearest(codes: Any, query: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The k of the codes that are nearest to each query, the nearest first.

    Shapes: codes (N, ...) and query (Q, ...), the rest alike -> indices int64 (Q, k) into codes, and their Euclidean
    distances float64 (Q, k). All distances are computed (by scikit-learn), none is guessed. Example::

        index, distance = ta.nearest(model.encode(x_train), model.encode(x_test[:1]), k=5)

    Raises
    ------
    ShapeError
        A code and a query differ in their size.
    RangeError
        k is below 1 or above the number of codes; a number is NaN or infinite.
    MissingLibraryError
        scikit-learn is not installed.
    """
    codes, query = flat_rows("nearest", "codes", codes), flat_rows("nearest", "query", query)
    if codes.shape[1] != query.shape[1]:
        raise ShapeError(f"nearest: a code has {codes.shape[1]} numbers, a query {query.shape[1]}; they must be equal.")
    k = require_integer("nearest", "k", k, at_least=1)
    if k > len(codes):
        raise RangeError(f"nearest: k is {k}, but there are {len(codes)} codes; expected 1 to {len(codes)}.")
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise missing_library("nearest", "scikit-learn") from error
    # centred, for |a - b|^2 is computed as |a|^2 - 2ab + |b|^2, which loses digits far from 0
    middle = codes.mean(axis=0)
    distance, index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(codes - middle).kneighbors(query - middle)
    return index.astype(np.int64), distance.astype(np.float64)


def flat_rows(owner, name, array):
    """An array (N, ...) as float (N, D) on the host, with finite numbers only."""
    array = as_data(f"{owner}: {name}", array)
    if array.ndim < 2:
        raise ShapeError(f"{owner}: {name} has shape {tuple(array.shape)}; expected (N, ...), one entry per example.")
    array = place_of(array).to_host(array[:])
    array = array.reshape(len(array), -1)
    array = array.astype(array.dtype if array.dtype in (np.float32, np.float64) else np.float64, copy=False)
    if not np.isfinite(array).all():
        row = int((~np.isfinite(array)).any(axis=1).argmax())
        raise RangeError(
            f"{owner}: {name} has NaN or infinite numbers, first in row {row}. Remove these examples, or train a model "
            "whose codes are finite."
        )
    return array
