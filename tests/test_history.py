"""The history: as numbers, as JSON lines, as a picture, in TensorBoard."""

import json

import pytest

import tinyae as ta
from tinyae.errors import MissingLibraryError, StateError

from .conftest import made, quick


@pytest.fixture
def history(images):
    return quick(made(), images, 3, validation_data=images)


def test_it_is_written_and_read_as_json_lines(history, tmp_path):
    history.save(tmp_path / "h.jsonl")
    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    again = ta.History.load(tmp_path / "h.jsonl")
    assert again.records == history.records and again["val_loss"] == history["val_loss"]


@pytest.mark.parametrize("text, line", [("{", 1), ('{"epoch": 1}\n[]', 2), ('{"epoch": 1}\n{"loss": 2}', 2)])
def test_lines_that_are_no_records(text, line):
    with pytest.raises(StateError, match=f"line {line} is"):
        ta.History.from_jsonl(text)


def test_it_is_drawn(history, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    figure = history.plot()
    (axis,) = figure.axes
    assert [list(line.get_ydata()) for line in axis.lines] == [history["loss"], history["val_loss"]]
    history.plot(tmp_path / "h.png", title="mine")
    assert (tmp_path / "h.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(StateError, match="no whole epoch to draw"):
        ta.History().plot()


def test_title_and_name_of_the_loss_are_as_given(history):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    (axis,) = history.plot(title="mine", loss_name="error").axes
    assert axis.get_title() == "mine" and axis.get_ylabel() == "error"


def scalars(folder):
    """{name: {step: value}} of the event files in a folder, as TensorBoard reads them."""
    from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401 (skips where it is missing)
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            size = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_tensorboard_gets_every_number(images, tmp_path):
    pytest.importorskip("tensorboardX", reason="TensorBoard files need tensorboardX")
    history = quick(made(), images, 3, validation_data=images, callbacks=[ta.TensorBoard(tmp_path)])
    written = scalars(tmp_path)
    assert set(written) == {"loss", "val_loss", "lr", "seconds"}
    assert list(written["val_loss"]) == [1, 2, 3]
    assert list(written["val_loss"].values()) == pytest.approx(history["val_loss"], rel=1e-6)


def test_without_tensorboardx_the_cure_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(MissingLibraryError, match="TensorBoard needs tensorboardX.*pip install tensorboardX"):
        ta.TensorBoard(tmp_path)
