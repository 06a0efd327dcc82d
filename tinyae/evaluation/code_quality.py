"""What a code is good for: classes found again by neighbours, by planes, by clusters, by search.

None of these measures trains anything but itself. Each takes codes as rows of numbers, and labels, so the same can be
asked of raw pixels, or of PCA. scikit-learn computes them.
"""

import warnings
from typing import Any

import numpy as np

from ..errors import DtypeError, RangeError, ShapeError, missing_library, require_integer
from ..operands import checked_array
from .neighbours import flat_rows, nearest

STARTS = 10  # of each k-means; the best of them, by its own criterion and without labels, is taken


def clustering_accuracy(clusters: Any, labels: Any) -> float:
    """The share of examples whose cluster is that of their label, clusters being named as fits best.

    Shapes: clusters and labels, whole numbers (N,). Each cluster stands for at most one label and each label for at
    most one cluster; of all such pairings the best is taken (the Hungarian method, by SciPy). Yang, Xu, Nie, Yan and
    Zhuang, "Image clustering using local discriminant models and global integration" (2010). The numbers of the
    clusters mean nothing.

    Raises
    ------
    ShapeError, DtypeError
        The two are not as long, or no whole numbers.
    """
    from scipy.optimize import linear_sum_assignment

    clusters, labels = checked_labels("clustering_accuracy", clusters), checked_labels("clustering_accuracy", labels)
    if len(clusters) != len(labels):
        raise ShapeError(f"clustering_accuracy: {len(clusters)} clusters and {len(labels)} labels; expected as many.")
    (_, cluster), (_, label) = (np.unique(which, return_inverse=True) for which in (clusters, labels))
    together = np.zeros((cluster.max() + 1, label.max() + 1), np.int64)
    np.add.at(together, (cluster, label), 1)
    best = linear_sum_assignment(together, maximize=True)
    return float(together[best].sum() / len(labels))


def cluster_codes(codes: Any, clusters: int, seed: int = 0) -> np.ndarray:
    """The cluster of each code by k-means, int (N,): the best of ten starts, by the sum of squared distances.

    Lloyd, "Least squares quantization in PCM" (1982), begun as by Arthur and Vassilvitskii, "k-means++" (2007).
    """
    codes = flat_rows("cluster_codes", "codes", codes)
    clusters = require_integer("cluster_codes", "clusters", clusters, at_least=1)
    seed = require_integer("cluster_codes", "seed", seed, at_least=0)
    if clusters > len(codes):
        raise RangeError(f"cluster_codes: {clusters} clusters of {len(codes)} codes; expected at most as many.")
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise missing_library("cluster_codes", "scikit-learn") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than clusters
        return KMeans(clusters, n_init=STARTS, random_state=seed % 2**32).fit_predict(codes)


def cluster_measures(codes: Any, labels: Any, seed: int = 0, clusters: int | None = None) -> dict[str, float]:
    """k-means on the codes against the labels: accuracy, normalised mutual information, adjusted Rand index.

    ``clusters`` is by default the number of different labels. NMI is divided by the mean of both entropies.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    labels = checked_labels("cluster_measures", labels)
    found = cluster_codes(codes, clusters or len(np.unique(labels)), seed)
    return {
        "clustering_accuracy": clustering_accuracy(found, labels),
        "nmi": float(normalized_mutual_info_score(labels, found)),
        "ari": float(adjusted_rand_score(labels, found)),
    }


def neighbour_measures(
    codes: Any, labels: Any, train_codes: Any, train_labels: Any, neighbours: int = 5, k: int = 10
) -> dict[str, float]:
    """Nearest training codes of each code: the accuracy of their vote, and the precision of a search.

    ``knn_accuracy``: the ``neighbours`` nearest vote on the label; among equals the smallest label wins.
    ``precision``: the share of the ``k`` nearest that have the label of the one they were searched for, the mean.
    """
    labels, train_labels = checked_labels("labels", labels), checked_labels("train", train_labels)
    index, _ = nearest(train_codes, codes, max(neighbours, k))
    names, place = np.unique(train_labels, return_inverse=True)
    votes = np.zeros((len(labels), len(names)), np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], place[index[:, :neighbours]]), 1)
    return {
        "knn_accuracy": float((names[votes.argmax(axis=1)] == labels).mean()),
        "precision": float((train_labels[index[:, :k]] == labels[:, None]).mean()),
    }


def linear_accuracy(codes: Any, labels: Any, train_codes: Any, train_labels: Any) -> float:
    """The accuracy of a linear probe: logistic regression on training codes, each number scaled to variance 1.

    Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2017).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, train_labels = checked_labels("labels", labels), checked_labels("train", train_labels)
    if len(np.unique(train_labels)) < 2:
        raise RangeError(
            f"linear_accuracy: all labels that the probe is fitted on are {train_labels[0]}: there is one class, and nothing to "
            "be told apart. Give examples of two classes or more."
        )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # by then the answers no longer change
        probe.fit(flat_rows("linear_accuracy", "codes", train_codes), train_labels)
    return float(probe.score(flat_rows("linear_accuracy", "codes", codes), labels))


def checked_labels(owner, labels):
    """Labels as integers (N,)."""
    labels = np.asarray(checked_array(labels, owner))
    if labels.ndim != 1:
        raise ShapeError(f"{owner}: labels of shape {labels.shape}; expected (N,), one per example.")
    if labels.dtype.kind not in "iub":
        raise DtypeError(f"{owner}: labels of type {labels.dtype}; expected whole numbers, such as int64.")
    return labels.astype(np.int64, copy=False)
