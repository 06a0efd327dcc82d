"""Codes as points of a plane, to be looked at."""

from typing import Any

import numpy as np

from ..errors import RangeError, known_name, missing_library, require_integer
from .neighbours import flat_rows, nearest

WAYS = {"model": "the code itself", "pca": "PCA", "tsne": "t-SNE"}
FEWEST = 5  # examples of which a map is drawn
NEIGHBOURS = 5  # in a map, whose labels are compared


def map_codes(codes: Any, by: str = "tsne", seed: int = 0) -> np.ndarray:
    """A point of the plane for each code.

    Shapes: codes (N, ...) -> points float64 (N, 2).

    Parameters
    ----------
    by : str
        "tsne": neighbours stay neighbours, as far as that can be; distances between far points and the axes mean
        nothing. van der Maaten and Hinton, "Visualizing data using t-SNE" (2008). "pca": the plane of largest
        variance; all distances are shadows of the true ones. "model": codes of two numbers are points already.
    seed : int
        For t-SNE, which begins with PCA.

    Raises
    ------
    RangeError
        An unknown way; fewer than five codes; "model" for codes that do not have two numbers; codes that are all equal.
    MissingLibraryError
        scikit-learn is not installed.
    """
    by, seed = known_name("way to map codes", by, WAYS), require_integer("map_codes", "seed", seed, at_least=0)
    codes = flat_rows("map_codes", "codes", codes).astype(np.float64)
    if len(codes) < FEWEST:
        raise RangeError(
            f"map_codes: {len(codes)} codes; expected at least {FEWEST}, for there is nothing to see in so few."
        )
    if by == "model":
        if codes.shape[1] != 2:
            raise RangeError(
                f"map_codes: the codes have {codes.shape[1]} numbers, and only those of 2 are points of a plane. Use 'tsne' or 'pca'."
            )
        return codes
    if np.ptp(codes, axis=0).max() == 0:
        raise RangeError(
            "map_codes: all codes are equal: the model makes the same of everything. Train one that does not."
        )
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise missing_library("map_codes", "scikit-learn") from error
    if codes.shape[1] < 2:  # one number: points on a line
        codes = np.column_stack([codes, np.zeros(len(codes))])
    if by == "pca":
        return PCA(2, random_state=seed % 2**32).fit_transform(codes)
    perplexity = min(30.0, (len(codes) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(codes).astype(np.float64)


def same_label_nearby(points: Any, labels: Any, neighbours: int = NEIGHBOURS) -> float:
    """The share of each point's nearest other points that have its label, the mean: how well a map keeps labels
    together."""
    labels = np.asarray(labels)
    index, _ = nearest(points, points, min(neighbours + 1, len(labels)))
    others = index != np.arange(len(labels))[:, None]  # of points at one place, a point need not be its own nearest
    others[others.all(axis=1), -1] = False
    same = (labels[index] == labels[:, None]) & others
    return float(same.sum() / others.sum())
