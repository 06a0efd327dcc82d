"""Pictures and animations of descents, and the command that makes them."""

import numpy as np
import pytest

from tinyae.explain.surfaces import descend, make_surface
from tinyae.plots import animate_descent, draw_descent
from tinyae.plots.surfaces import STYLES, shown_steps

from .conftest import tinyae

pytest.importorskip("matplotlib", reason="pictures need Matplotlib")


def test_the_picture_tells_the_paths_apart_without_colour(tmp_path):
    surface = make_surface("saddle")
    descents = descend(surface)
    figure = draw_descent(surface, descents, tmp_path / "s.png", surface.heights(15))
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]
    axis = figure.axes[0]
    for descent in descents:
        colour, line, mark = STYLES[descent.name]
        (path,) = [li for li in axis.get_lines() if li.get_color() == colour and len(li.get_xdata())]
        assert np.allclose(path.get_xydata(), descent.points) and path.get_marker() == mark
    for part in (1, 2):
        assert len({str(style[part]) for style in STYLES.values()}) == len(STYLES)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "smallest loss" in legend and any(t.startswith("Adam, learning rate 0.1: loss ") for t in legend)
    assert "start" in [text.get_text() for text in axis.texts]
    assert "Adam on a saddle" in figure.get_suptitle()


def test_a_path_that_leaves_is_said_to(tmp_path):
    surface = make_surface("saddle")
    figure = draw_descent(surface, descend(surface, lr={"gd": 5.0}), None, surface.heights(9))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "too large, infinite after" in legend[0] and "after 80 steps" in legend[1]


def test_an_animation(tmp_path):
    from PIL import Image

    surface = make_surface("valley")
    animate_descent(surface, descend(surface, steps=6), tmp_path / "v.gif", surface.heights(9), frames=4)
    with Image.open(tmp_path / "v.gif") as image:
        first = np.array(image.convert("RGB"))
        assert image.n_frames >= 4
        image.seek(image.n_frames - 1)
        last = np.array(image.convert("RGB"))
    assert first.shape == last.shape and (first != last).any()
    assert [p.name for p in tmp_path.iterdir()] == ["v.gif"]


def test_which_steps_an_animation_shows():
    assert shown_steps(5, 40) == [0, 1, 2, 3, 4, 5]
    shown = shown_steps(1000, 40)
    assert shown[:10] == list(range(10)) and shown[-1] == 1000 and len(shown) <= 41


@pytest.mark.usefixtures("here")
class TestCommand:
    def test_a_picture(self, tmp_path, monkeypatch, capsys):
        pytest.importorskip("click")
        code, result, out, _ = tinyae("descend valley --steps 20 --lr adam=0.3 --json", monkeypatch, capsys)
        assert code == 0 and (tmp_path / "valley.png").read_bytes()[:4] == b"\x89PNG"
        assert [d["optimizer"] for d in result["descents"]] == ["gd", "momentum", "nesterov", "adam"]
        assert result["descents"][3]["lr"] == 0.3 and len(result["descents"][0]["points"]) == 21
        assert "a narrow valley" in out and "written to valley.png" in out
        assert f"{result['descents'][1]['loss']:.4g}" in out

    @pytest.mark.parametrize(
        "line, message",
        [
            ("descend valley --out a.jpg", "--out a.jpg ends in .jpg; expected a picture, FILE.png, or an animation"),
            ("descend vally", "unknown surface 'vally'"),
            ("descend valley --lr adam=fast", "--lr adam=fast; expected a name and a number"),
            ("descend valley --lr sgd=1", "unknown optimizer 'sgd'"),
            ("descend valley --steps 0", "steps is 0"),
            ("descend valley --out there.png", "there.png exists"),
        ],
    )
    def test_wrong(self, line, message, tmp_path, monkeypatch, capsys):
        pytest.importorskip("click")
        (tmp_path / "there.png").write_text("mine")
        code, _, _, error = tinyae(line, monkeypatch, capsys)
        assert code == 2 and message in error
        assert [p.name for p in tmp_path.iterdir()] == ["there.png"] and (tmp_path / "there.png").read_text() == "mine"
