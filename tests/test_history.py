"""The history: as numbers, as JSON lines, as a picture, in TensorBoard."""

import json

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import MissingLibraryError, StateError
from tinyae.history import by_layer, gradient_norms

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
    gradients = {f"gradients/{name}" for name in history["gradients"][0]}
    assert len(gradients) == 6 and set(written) == {"loss", "val_loss", "lr", "seconds", *gradients}
    last = written["gradients/encoder.1.weight"][3]
    assert last == pytest.approx(history["gradients"][2]["encoder.1.weight"], rel=1e-6)
    assert list(written["val_loss"]) == [1, 2, 3]
    assert list(written["val_loss"].values()) == pytest.approx(history["val_loss"], rel=1e-6)


def test_without_tensorboardx_the_cure_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(MissingLibraryError, match="TensorBoard needs tensorboardX.*pip install tensorboardX"):
        ta.TensorBoard(tmp_path)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_the_norms_are_those_of_the_epochs_last_batch(kernels, images, digits_model):
    """At a learning rate of next to nothing the gradients can be computed again; 7 equal batches, so steps are captured."""
    x = images[:49]
    with ta.use_kernels(kernels):
        history = quick(digits_model, x, 2, batch_size=7, optimizer="sgd", lr=1e-30, seed=3)
        *_, last = ta.batches(x, 7, seed=3, epoch=1)
        digits_model.zero_grad()
        ta.mse_loss(digits_model(last), last).backward()
    expected = {name: float(np.linalg.norm(p.grad)) for name, p in digits_model.named_parameters()}
    assert len(expected) == 8 and min(expected.values()) > 0
    assert history["gradients"][1] == pytest.approx(expected, rel=1e-5)
    assert history["gradients"][0] != pytest.approx(expected, rel=1e-2)


def test_gradients_are_recorded_on_every_backend(images, backend):
    (norms,) = quick(made().to(backend), images, 1)["gradients"]
    assert norms == pytest.approx(quick(made(), images, 1)["gradients"][0], rel=1e-3)


def test_they_are_written_and_read(history, tmp_path):
    history.save(tmp_path / "h.jsonl")
    assert ta.History.load(tmp_path / "h.jsonl")["gradients"] == history["gradients"]
    assert "gradients" in history and set(history["gradients"][0]) == {n for n, _ in made().named_parameters()}


def test_what_is_not_trained_has_none(images, digits_model):
    digits_model.encoder[1].weight.requires_grad = False
    optimizer = ta.Adam(digits_model.decoder.parameters())  # the encoder's other parameters get gradients, but no step
    history = quick(digits_model, images, optimizer=optimizer)
    assert list(history["gradients"][0]) == ["decoder.0.weight", "decoder.0.bias", "decoder.1.weight", "decoder.1.bias"]


def test_norms_that_are_tiny_huge_or_none():
    tensors = {
        name: ta.Tensor(np.zeros(4, dtype), True)
        for name, dtype in (("a", "f4"), ("b", "f8"), ("c", "f4"), ("d", "f4"))
    }
    tensors["a"].grad = np.full(4, 1e-30, np.float32)
    tensors["b"].grad = np.full(4, 1e200)
    tensors["c"].grad = np.array([1, np.nan, 0, 0], np.float32)
    norms = gradient_norms(tensors.items(), tensors.values())
    assert norms == pytest.approx({"a": 2e-30}, rel=1e-5)


def test_a_layer_is_all_of_its_parameters_from_first_to_last():
    layers = by_layer({"encoder.1.weight": 3.0, "encoder.1.bias": 4.0, "decoder.0.weight": 1.0, "scale": 2.0})
    assert list(layers.items()) == [("encoder.1", 5.0), ("decoder.0", 1.0), ("scale", 2.0)]


def test_gradients_are_drawn_with_their_layers_names_and_without_those_of_older_runs(history):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    del history.records[0]["gradients"]  # of a run that an older tinyae began
    assert "gradients" in history
    (axis,) = history.plot_gradients(title="mine").axes
    last = by_layer(history["gradients"][-1])
    assert axis.get_title() == "mine" and axis.get_yscale() == "log" and len(axis.lines) == len(last) == 3
    for line, norm in zip(axis.lines, last.values()):
        assert list(line.get_xdata()) == [2, 3] and line.get_ydata()[-1] == norm
    assert {text.get_text().split()[0] for text in axis.texts} == set(last)
    for record in history.records:
        record["gradients"] = {}
    with pytest.raises(StateError, match="no epoch with gradients to draw"):
        history.plot_gradients()


def test_a_norm_of_zero_is_drawn_at_the_lower_edge(history):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    for record in history.records:
        record["gradients"] = {"0.weight": 0.0, "1.weight": 0.1}
    (axis,) = history.plot_gradients().axes
    dead, alive = axis.lines
    assert 0 < max(dead.get_ydata()) < min(alive.get_ydata()) and {t.get_text() for t in axis.texts} == {
        "0  0",
        "1  0.1",
    }
