"""Pictures are drawn, whole, and without touching Matplotlib's global state."""

import numpy as np
import pytest

from tinyae.history import History
from tinyae.plots import draw_comparison, draw_filters, draw_loss, draw_maps, draw_reconstructions, new_figure

matplotlib = pytest.importorskip("matplotlib", reason="pictures need Matplotlib")


def read(path):
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_the_loss_is_drawn(epochs, tmp_path):
    history = History()
    history.records = [
        {"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "lr": 0.1, "seconds": 1.0} for e in range(1, epochs + 1)
    ]
    draw_loss(history, tmp_path / "loss.png", "error", [("PCA", 0.3)], "title")
    picture = read(tmp_path / "loss.png")
    assert picture.shape[0] > 300 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


def test_the_terms_of_a_loss_say_that_they_are_of_the_held_out_one():
    terms = {"reconstruction": 3.0, "kl": 1.0, "val_reconstruction": 4.0, "val_kl": 1.5}
    history = History()
    history.records = [{"epoch": e, "loss": 4.0, "val_loss": 5.5, **terms} for e in (1, 2)]
    axis = draw_loss(history, None, "error").axes[0]
    labels = [line.get_label() for line in axis.get_lines()]
    assert "held out, of it reconstruction: last 4.0000" in labels and "held out, of it kl: last 1.5000" in labels


def test_images_keep_one_grey_scale(tmp_path):
    """A black, a grey and a white image come out as such: nothing is stretched."""
    images = np.stack([np.full((8, 8, 1), v, np.float32) for v in (0.0, 0.5, 1.0)])
    draw_reconstructions(images, images[::-1], tmp_path / "r.png", "note")
    greys = read(tmp_path / "r.png")[..., 0]
    counts = {level: np.isclose(greys, level, atol=0.01).sum() for level in (0.0, 0.5)}
    assert min(counts.values()) > 2 * 80 * 80


def test_an_optimizer_has_one_colour_in_all_panels_and_its_last_loss_beside_it(monkeypatch):
    drawn = []
    monkeypatch.setattr("tinyae.plots.histories.save_figure", lambda figure, path: drawn.append(figure))
    draw_comparison([("a", {"sgd": [3.0, 2.0]}), ("b", {"adam": [2.0, 1.0], "sgd": [4.0, 3.0]})], None)
    left, right = drawn[0].axes
    assert left.lines[0].get_color() == right.lines[1].get_color() != right.lines[0].get_color()
    assert [text.get_text() for text in right.texts] == ["adam 1.0000", "sgd 3.0000"]


def test_the_global_state_is_left_alone(tmp_path):
    import sys

    before = "matplotlib.pyplot" in sys.modules
    new_figure(2, 2)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_without_matplotlib_the_cure_is_named(monkeypatch):
    import sys

    from tinyae.errors import MissingLibraryError

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingLibraryError, match="drawing needs matplotlib.*pip install matplotlib"):
        new_figure(1, 1)


# ---------------------------------------------------------------- the inside of a model


def pictures(figure):
    """The axes with something to see, without the scale of colours."""
    return [axis for axis in figure.axes if axis.get_visible() and axis.images and axis.get_label() != "<colorbar>"]


def test_filters_share_one_scale_around_zero(rng, tmp_path):
    filters = rng.normal(size=(5, 3, 3, 1))
    axes = pictures(draw_filters(filters, tmp_path / "f.png", "note"))
    assert [axis.get_title() for axis in axes] == ["0", "1", "2", "3", "4"]
    for axis, one in zip(axes, filters):
        (image,) = axis.images
        assert np.array_equal(image.get_array(), one[..., 0])
        assert image.get_clim() == (-np.abs(filters).max(), np.abs(filters).max())
    assert read(tmp_path / "f.png").shape[0] > 100


def test_filters_of_colours_and_of_more_channels(rng):
    filters = rng.normal(size=(2, 3, 3, 3))
    axes = pictures(draw_filters(filters, None))
    expected = 0.5 + filters / (2 * np.abs(filters).max())
    assert all(np.allclose(axis.images[0].get_array(), one) for axis, one in zip(axes, expected)) and len(axes) == 2
    axes = pictures(draw_filters(rng.normal(size=(2, 3, 3, 2)), None))
    assert [axis.get_title() for axis in axes] == ["0, channel 0", "0, channel 1", "1, channel 0", "1, channel 1"]


def test_no_more_than_64_filters_are_drawn(rng):
    figure = draw_filters(rng.normal(size=(100, 2, 2, 1)), None, "note")
    assert len(pictures(figure)) == 64 and figure.get_suptitle() == "note (the first 64 of 100)"


def test_every_map_is_where_it_belongs(rng):
    image, maps, code = rng.random((6, 6, 1)), rng.random((3, 3, 5)), rng.normal(size=(2, 2, 2))
    rows = {"encoder": [("input", image), ("layer", maps), ("code", code)], "decoder": [("out", image / 2)]}
    first, layer, middle, last = pictures(draw_maps(rows, None, "note"))
    assert np.array_equal(first.images[0].get_array(), image[..., 0])
    assert np.array_equal(last.images[0].get_array(), image[..., 0] / 2)
    assert first.images[0].get_clim() == last.images[0].get_clim() == (0, 1)
    assert layer.images[0].get_clim() == (0, maps.max()) and "3 x 3 x 5" in layer.get_title()
    canvas = layer.images[0].get_array().filled(np.nan)
    fine, gap = 8, 2
    for c, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        top, left = row * (24 + gap), column * (24 + gap)
        block = canvas[top : top + 24, left : left + 24]
        assert np.array_equal(block[fine // 2 :: fine, fine // 2 :: fine], maps[..., c])
    assert np.isnan(canvas[24:26]).all() and np.isnan(canvas[26:, 52:]).all()
    low, high = middle.images[0].get_clim()  # negative numbers: around 0
    assert low == -high == -np.abs(code).max()


def test_units_are_bars():
    figure = draw_maps({"": [("input", np.ones((4, 4, 1))), ("Dense", np.array([1.0, -2.0, 0.5]))]}, None)
    assert [bar.get_height() for bar in figure.axes[1].patches] == [1.0, -2.0, 0.5]
    assert "3 units" in figure.axes[1].get_title()
