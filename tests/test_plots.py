"""Pictures are drawn, whole, and without touching Matplotlib's global state."""

import numpy as np
import pytest

from tinyae.history import History
from tinyae.plots import draw_comparison, draw_loss, draw_reconstructions, new_figure

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
