"""What codes are good for, measured: known values, what must not matter, and planted faults."""

import itertools

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError

pytest.importorskip("sklearn", reason="clusters, neighbours and probes are scikit-learn's")

from tinyae.evaluation.code_quality import cluster_measures, linear_accuracy, neighbour_measures
from tinyae.evaluation.mapping import same_label_nearby


def blobs(rng, n=60, classes=3, apart=20.0, size=4):
    """Codes in clusters far from each other, and their labels."""
    labels = np.arange(n) % classes
    return (apart * np.eye(classes, size)[labels] + rng.normal(size=(n, size))).astype(np.float32), labels


# ---------------------------------------------------------------- accuracy of clusters


def test_accuracy_of_known_clusters():
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert ta.clustering_accuracy(labels, labels) == 1
    assert np.isclose(ta.clustering_accuracy([5, 5, 5, 5, 5, 5], labels), 3 / 6)
    # a greedy pairing would give cluster 0 its most frequent label 0 (3 right) and be left with 0 of label 1: 3 + 0
    clusters, labels = [0] * 5 + [1] * 2, [0, 0, 0, 1, 1, 0, 0]
    assert np.isclose(ta.clustering_accuracy(clusters, labels), 4 / 7)


def test_two_clusters_may_not_have_one_label():
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert np.isclose(ta.clustering_accuracy([0, 0, 1, 1, 2, 2], labels), 4 / 6)  # else 6 / 6


def test_the_accuracy_is_the_best_of_all_pairings(rng):
    for _ in range(10):
        clusters, labels = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
        best = max(np.mean(np.array(names)[clusters] == labels) for names in itertools.permutations(range(4)))
        assert np.isclose(ta.clustering_accuracy(clusters, labels), best)


def test_the_numbers_of_clusters_and_labels_do_not_matter(rng):
    clusters, labels = rng.integers(0, 5, 80), rng.integers(0, 4, 80)
    renamed = np.array([7, -3, 100, 0, 12])[clusters]
    again = np.array([30, 10, 20, 0])[labels]
    assert ta.clustering_accuracy(renamed, again) == ta.clustering_accuracy(clusters, labels)
    order = rng.permutation(80)
    assert ta.clustering_accuracy(clusters[order], labels[order]) == ta.clustering_accuracy(clusters, labels)


def test_what_has_no_clustering_accuracy():
    with pytest.raises(ShapeError, match="3 clusters and 2 labels"):
        ta.clustering_accuracy([0, 1, 2], [0, 1])
    with pytest.raises(DtypeError, match="whole numbers"):
        ta.clustering_accuracy([0.5, 1.0], [0, 1])


# ---------------------------------------------------------------- k-means


def test_codes_in_clusters_are_perfect_and_random_ones_are_not(rng):
    codes, labels = blobs(rng)
    assert cluster_measures(codes, labels) == {"clustering_accuracy": 1, "nmi": 1, "ari": 1}
    found = cluster_measures(rng.normal(size=(600, 4)), np.arange(600) % 3)
    assert found["clustering_accuracy"] < 0.45 and abs(found["ari"]) < 0.02 and found["nmi"] < 0.02


def test_a_turned_code_has_the_same_clusters_and_a_stretched_one_may_not(rng):
    codes, labels = blobs(rng, apart=6.0)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert cluster_measures(codes @ turn + 3, labels) == cluster_measures(codes, labels)
    stretched = np.column_stack([codes, 1000 * rng.normal(size=len(codes))])
    assert cluster_measures(stretched, labels)["clustering_accuracy"] < 0.8


def test_clusters_are_those_of_the_seed(rng):
    codes = rng.normal(size=(200, 5))
    assert np.array_equal(ta.cluster_codes(codes, 4, 1), ta.cluster_codes(codes, 4, 1))
    state = np.random.get_state()[1].copy()
    ta.cluster_codes(codes, 4, 1)
    assert np.array_equal(np.random.get_state()[1], state)
    with pytest.raises(RangeError, match="9 clusters of 4 codes"):
        ta.cluster_codes(codes[:4], 9)


# ---------------------------------------------------------------- neighbours


def test_the_nearest_are_the_nearest(rng):
    codes, query = rng.normal(size=(50, 3)) + 1e4, rng.normal(size=(7, 3)) + 1e4  # far from 0, where digits are lost
    index, distance = ta.nearest(codes, query, 5)
    true = np.linalg.norm(codes[None] - query[:, None], axis=2)
    assert np.array_equal(index, np.argsort(true, axis=1)[:, :5]) and np.allclose(
        distance, np.sort(true, axis=1)[:, :5]
    )
    images = codes.reshape(50, 3, 1, 1).astype(np.float32)
    assert ta.nearest(ta.Tensor(images), images[:1], 1)[0].tolist() == [[0]]


@pytest.mark.parametrize(
    "codes, query, k, error, message",
    [
        (np.zeros((5, 3)), np.zeros((1, 4)), 1, ShapeError, "a code has 3 numbers, a query 4"),
        (np.zeros((5, 3)), np.zeros((1, 3)), 6, RangeError, "k is 6, but there are 5 codes"),
        (np.zeros((5, 3)), np.zeros((1, 3)), 0, RangeError, "k is 0"),
        (
            np.zeros((5, 3)),
            np.array([[0, np.nan, 0]]),
            1,
            RangeError,
            "query has NaN or infinite numbers, first in row 0",
        ),
        (np.zeros(5), np.zeros((1, 3)), 1, ShapeError, "one entry per example"),
    ],
)
def test_what_has_no_neighbours(codes, query, k, error, message):
    with pytest.raises(error, match=message):
        ta.nearest(codes, query, k)


def test_votes_and_precision_of_known_neighbours():
    train, labels = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]), np.array([4, 4, 9, 9, 9, 4])
    found = neighbour_measures(np.array([[0.5], [11.2]]), [4, 9], train, labels, neighbours=3, k=2)
    assert found == {"knn_accuracy": 1, "precision": 0.75}  # of 11.2 the two nearest are 11 (a 9) and 12 (a 4)
    assert neighbour_measures(np.array([[0.5]]), [9], train, labels, neighbours=3, k=3)["precision"] == pytest.approx(
        1 / 3
    )


def test_among_equal_votes_the_smallest_label_wins():
    found = neighbour_measures(np.array([[0.0]]), [3], np.array([[-1.0], [1.5]]), [7, 3], neighbours=2, k=1)
    assert found == {"knn_accuracy": 1, "precision": 0}


def test_perfect_and_random_codes_under_neighbours_and_planes(rng):
    codes, labels = blobs(rng, 90)
    perfect = neighbour_measures(codes[:30], labels[:30], codes[30:], labels[30:])
    assert perfect == {"knn_accuracy": 1, "precision": 1}
    assert linear_accuracy(codes[:30], labels[:30], codes[30:], labels[30:]) == 1
    codes, labels = rng.normal(size=(900, 4)), rng.integers(0, 3, 900)
    by_chance = neighbour_measures(codes[:450], labels[:450], codes[450:], labels[450:])
    assert all(abs(share - 1 / 3) < 0.09 for share in by_chance.values())
    assert abs(linear_accuracy(codes[:450], labels[:450], codes[450:], labels[450:]) - 1 / 3) < 0.09


def test_a_ring_is_for_neighbours_and_not_for_planes(rng):
    angle, labels = rng.uniform(0, 2 * np.pi, 400), np.arange(400) % 2
    codes = np.column_stack([np.cos(angle), np.sin(angle)]) * (1 + 2 * labels)[:, None]
    assert neighbour_measures(codes[:200], labels[:200], codes[200:], labels[200:])["knn_accuracy"] == 1
    assert linear_accuracy(codes[:200], labels[:200], codes[200:], labels[200:]) < 0.7


def test_the_linear_probe_does_not_mind_units(rng):
    codes, labels = rng.normal(size=(300, 3)), rng.integers(0, 2, 300)
    codes[:, 2] += 3 * labels
    units = np.array([1.0, 1e4, 1e-3])
    plain = linear_accuracy(codes[:100], labels[:100], codes[100:], labels[100:])
    assert (
        plain > 0.9 and linear_accuracy(codes[:100] * units, labels[:100], codes[100:] * units, labels[100:]) == plain
    )


def test_one_class_cannot_be_told_from_others():
    with pytest.raises(RangeError, match="one class"):
        linear_accuracy(np.zeros((3, 2)), [1, 1, 1], np.zeros((3, 2)), [1, 1, 1])


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("by", ["pca", "tsne"])
def test_a_map_keeps_far_clusters_apart(rng, by):
    codes, labels = blobs(rng, 90, size=10)
    points = ta.map_codes(codes, by)
    assert points.shape == (90, 2) and same_label_nearby(points, labels) == 1
    assert np.array_equal(points, ta.map_codes(codes, by))  # the same again


def test_codes_of_two_numbers_are_points_already(rng):
    codes = rng.normal(size=(20, 2)).astype(np.float32)
    assert np.array_equal(ta.map_codes(codes, "model"), codes)
    assert ta.map_codes(codes[:, :1], "pca").shape == (20, 2)


def test_pca_is_the_plane_of_largest_variance(rng):
    codes = rng.normal(size=(200, 3)) * [1, 10, 5]
    points = ta.map_codes(codes, "pca")
    assert np.allclose(np.abs(np.corrcoef(points[:, 0], codes[:, 1])[0, 1]), 1, atol=0.02)
    assert np.allclose(np.abs(np.corrcoef(points[:, 1], codes[:, 2])[0, 1]), 1, atol=0.02)


def test_a_point_is_not_its_own_neighbour():
    points, labels = np.array([[0.0, 0], [0, 0], [5, 5], [5, 5]]), np.array([0, 1, 0, 1])
    assert same_label_nearby(points, labels, 1) == same_label_nearby(points, labels.tolist(), 1) == 0


@pytest.mark.parametrize(
    "codes, by, message",
    [
        (np.zeros((20, 3)), "model", "only those of 2"),
        (np.zeros((20, 3)), "pca", "all codes are equal"),
        (np.zeros((4, 3)), "pca", "4 codes; expected at least 5"),
        (np.zeros((20, 3)), "umap", "unknown way to map codes 'umap'"),
        (np.full((20, 3), np.inf), "tsne", "NaN or infinite"),
    ],
)
def test_what_cannot_be_mapped(codes, by, message):
    with pytest.raises(RangeError, match=message):
        ta.map_codes(codes, by)
