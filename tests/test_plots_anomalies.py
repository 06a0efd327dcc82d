"""Pictures of anomalies: what stands in them."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="it draws")
from tinyae.plots import anomalies as pictures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written."""
    figures = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def test_the_line_parts_the_rows_that_are_called_anomalies(drawn, rng):
    scores = -rng.lognormal(size=500)
    pictures.draw_scores(scores, -3.0, "p.png", scores < -2.5, "title")
    (axis,) = drawn[0].axes
    assert axis.lines[0].get_xdata()[0] == 3.0
    said = [text.get_text() for text in axis.get_legend().get_texts()]
    assert f"threshold: {(scores < -3).sum()} of 500 rows lie right of it" in said
    assert f"normal: {(scores >= -2.5).sum()}" in said
    assert sum(patch.get_height() for patch in axis.patches) == 500  # all rows are in a bar
    pictures.draw_scores(np.full(5, -1.0), -1.0, "p.png")  # all alike


def test_images_stand_over_their_maps(drawn, rng):
    x = rng.random((3, 8, 8, 1))
    pictures.draw_worst(x, x / 2, x**2, ["a", "b", "c"], "p.png", "title")
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes[:3]] == ["a", "b", "c"]
    np.testing.assert_allclose(axes[6].images[0].get_array(), x[0, ..., 0])  # the root of the squares
    assert [axes[i].get_ylabel() for i in (0, 3, 6)] == ["given", "reconstruction", "error map"]


def test_a_table_shows_the_features_that_are_strangest(drawn, rng):
    x, errors = rng.normal(size=(4, 30)), np.zeros((4, 30))
    errors[1, 17], errors[2, 29] = 100, 25
    pictures.draw_worst(x, x, errors, list("abcd"), "p.png", "title")
    axis = drawn[0].axes[0]
    features = [int(text.get_text()) for text in axis.get_xticklabels()]
    assert len(features) == pictures.DRAWN_FEATURES and {17, 29} <= set(features) and features == sorted(features)
    shown = axis.images[0].get_array()
    assert shown[1, features.index(17)] == 10 and shown[2, features.index(29)] == 5
    assert f"{x[1, 17]:.3g}" in {text.get_text() for text in axis.texts} and "16 of 30 features" in axis.get_title()
