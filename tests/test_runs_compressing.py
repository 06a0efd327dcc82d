"""``tinyae compress``, ``decompress`` and ``rates``: files that decode to what was promised, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.compression import about_file
from tinyae.errors import FileWriteError, RangeError

from .conftest import listing, quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("constriction", reason="entropy coding needs constriction")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
Image = pytest.importorskip("PIL.Image", reason="images need Pillow")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two runs on the digits, a classifier, and data."""
    root = tmp_path_factory.mktemp("world")
    quick_train(root / "run", epochs=3)
    quick_train(root / "other", epochs=1, seed=1)
    quick_train(root / "classifier", "classifier", data="digits", epochs=1)
    (x, _), (x_test, _) = ta.datasets.load_digits()
    np.save(root / "x.npy", x_test[:20])
    pixels = np.rint(255 * x_test[..., 0]).astype(np.uint8)
    np.save(root / "bytes.npy", pixels[:20, ..., None])
    np.save(root / "large.npy", 3 * x_test[:20])
    np.save(root / "flat.npy", x_test[:20].reshape(20, 64))
    np.save(root / "nan.npy", np.where(x_test[:20] > 0.9, np.nan, x_test[:20]))
    (root / "photos").mkdir()
    for i in range(3):
        Image.fromarray(pixels[i]).save(root / "photos" / f"{i}.png")
    Image.fromarray(pixels[0]).resize((9, 8)).save(root / "wide.png")
    Image.fromarray(pixels[0]).convert("RGB").save(root / "colours.png")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nhello")
    (root / "text.tae").write_text("hello")
    runs.compress(root / "run", "digits", str(root / "good.tae"))
    content = (root / "good.tae").read_bytes()
    (root / "cut.tae").write_bytes(content[:-5])
    (root / "changed.tae").write_bytes(content[:300] + b"!" + content[301:])
    return root


@pytest.fixture
def inside(world, monkeypatch):
    """That world as the working folder; afterwards it must be as it was."""
    monkeypatch.chdir(world)
    before = {path: path.read_bytes() for path in world.rglob("*") if path.is_file()}
    yield world
    after = {path: path.read_bytes() for path in world.rglob("*") if path.is_file()}
    assert after == before


def test_there_and_back(world, monkeypatch, capsys):
    code, made, out, _ = tinyae(f"compress {world / 'run'} digits a.tae --json", monkeypatch, capsys)
    size = Path("a.tae").stat().st_size
    assert code == 0 and made["bytes"] == size and made["bits"] == 4 and made["raw_bytes"] == 360 * 64
    assert (
        f"{size:,} bytes" in out
        and f"{8 * size / 360:,.1f} bits for each" in out
        and "360 held-out examples of digits" in out
    )
    code, back, out, _ = tinyae(f"decompress {world / 'run'} a.tae b.npy --json", monkeypatch, capsys)
    _, (x, _) = ta.datasets.load_digits()
    again = np.load("b.npy")
    assert code == 0 and again.dtype == np.float32 and again.shape == x.shape and back["written"] == 360
    assert np.square(again - x.astype(np.float64)).mean() <= back["mse_at_most"] == made["mse_at_most"]
    model = ta.load(world / "run")
    assert np.array_equal(again, ta.decompress(model, "a.tae"))
    assert "as the file promises" in out
    # the ranges come from what the run was trained on
    (trained_on, _), _ = ta.datasets.load_digits()
    ta.compress(model, x, "c.tae", 4, fit_on=trained_on)
    assert Path("c.tae").read_bytes() == Path("a.tae").read_bytes()


@pytest.mark.parametrize("source, n", [("x.npy", 20), ("bytes.npy", 20), ("photos", 3), ("photos/1.png", 1)])
def test_files_folders_and_single_images(world, source, n):
    made = runs.compress(world / "run", str(world / source), "a.tae", bits=6)
    assert made["examples"] == n and str(n) in runs.report_compression(made)
    runs.decompress(world / "run", "a.tae", "a.npy")
    runs.decompress(world / "run", "a.tae", "a.png")
    found, sheet = np.load("a.npy"), np.asarray(Image.open("a.png"))
    assert found.shape == (n, 8, 8, 1)
    assert np.array_equal(sheet[:8, :8], np.rint(255 * found[0, ..., 0]).astype(np.uint8))
    assert sheet.shape == {20: (32, 40), 3: (16, 16), 1: (8, 8)}[n]
    _, (x, _) = ta.datasets.load_digits()
    first = 1 if n == 1 else 0
    assert np.square(found[0] - x[first]).mean() <= about_file("a.tae")["worst_mse_at_most"] * 1.01


def test_the_sheet_has_a_limit(world, monkeypatch):
    monkeypatch.setattr("tinyae.runs.compressing.SHEET", 100)
    result = runs.decompress(world / "run", world / "good.tae", "a.png")
    assert result["written"] == 100 and np.asarray(Image.open("a.png")).shape == (80, 80)
    assert "the first 100 of 360 images" in runs.report_decompression(result)


def test_files_are_replaced_only_where_that_was_asked_for(world):
    for _ in range(2):
        runs.compress(world / "run", "digits", "a.tae", overwrite=True)
        runs.decompress(world / "run", "a.tae", "a.npy", overwrite=True)
    with pytest.raises(RangeError, match=r"a\.tae exists"):
        runs.compress(world / "run", "digits", "a.tae")
    with pytest.raises(RangeError, match=r"a\.npy exists"):
        runs.decompress(world / "run", "a.tae", "a.npy")


def test_without_its_training_data_a_run_still_compresses(world, tmp_path):
    x = np.load(world / "x.npy")
    np.save("own.npy", x)
    quick_train("own", data="own.npy", epochs=1)
    Path("own.npy").unlink()
    made = runs.compress("own", str(world / "x.npy"), "a.tae")
    assert made["ranges_from"] is None and "training data are gone" in runs.report_compression(made)
    assert runs.decompress("own", "a.tae", "a.npy")["written"] == 20


def test_a_full_disk_is_told_before_it_is_full(world, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(FileWriteError, match="takes 90 KiB, but the disk has 1,000 bytes|takes 90 KiB, but"):
        runs.decompress(world / "run", world / "good.tae", "a.npy")
    assert not Path("a.npy").exists()


def test_rates_draws_and_compares(world, monkeypatch, capsys):
    line = f"rates {world / 'run'} {world / 'other'} {world / 'run'} --bits 2,4 --out q --json"
    code, result, out, _ = tinyae(line, monkeypatch, capsys)
    assert code == 0 and sorted(listing("q")) == ["rates.json", "rates.png"]
    assert json.loads(Path("q/rates.json").read_text()) == result
    kinds = [c["kind"] for c in result["curves"]]
    assert kinds == ["autoencoder", "autoencoder", "pca", "JPEG", "PNG", "JPEG", "PNG"]  # a run given twice counts once
    assert [row["run"] for row in result["comparison"]] == [str(world / "run"), str(world / "other")]
    for c in result["curves"]:
        for point in c["points"]:
            assert np.isclose(point["with_model"] - point["bits_per_example"], 8 * c["model_bytes"] / 360)
            assert f"{point['bits_per_example']:,.1f}" in out and f"{point['mse']:.5f}" in out
    model = ta.load(world / "run")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    made = ta.compress(model, x_test, "a.tae", 2, x)
    assert result["curves"][0]["points"][0]["bytes"] == made["bytes"]
    for row in result["comparison"]:
        assert row["wins_everywhere"] == all(pair["mse"] < pair["other_mse"] for pair in row["pairs"])
    with Image.open("q/rates.png") as picture:
        assert picture.size[0] > 1000


def test_rates_of_data_that_are_no_images():
    np.save("x.npy", np.random.default_rng(0).random((60, 30), dtype=np.float32))
    quick_train("own", data="x.npy", epochs=1)
    result = runs.rates(["own"], bits="3", out="q")
    assert [c["kind"] for c in result["curves"]] == ["autoencoder", "pca"]


WRONG = """
compress run digits                                   | Missing argument 'OUT'
compress nothing digits a.tae                         | there is no folder 'nothing'
compress classifier digits a.tae                      | is a classifier and has no decoder
compress run digit a.tae                              | unknown data set 'digit'
compress run missing.npy a.tae                        | there is no file or folder missing.npy
compress run missing.png a.tae                        | there is no file or folder missing.png
compress run flat.npy a.tae                           | trained on examples of shape (8, 8, 1)
compress run nan.npy a.tae                            | NaN
compress run large.npy a.tae                          | the data range from
compress run wide.png a.tae                           | wide.png has (8, 9, 1)
compress run colours.png a.tae                        | colours.png has (8, 8, 3)
compress run broken.png a.tae                         | cannot be read
compress run digits a.tae --bits 0                    | bits is 0; expected an integer >= 1
compress run digits a.tae --bits 17                   | expected 1 to 16
compress run digits a.tae --bits four                 | 'four' is not a valid integer
compress run digits good.tae                          | good.tae exists
compress run digits photos                            | is a folder
compress run digits no/a.tae                          | there is no folder no
decompress run good.tae                               | Missing argument 'OUT'
decompress run good.tae a.jpg                         | ends in .jpg; expected an array
decompress run good.tae a                             | ends in nothing
decompress run good.tae x.npy                         | x.npy exists
decompress run good.tae no/a.npy                      | there is no folder no
decompress run good.tae no/a.png                      | there is no folder no
decompress run missing.tae a.npy                      | missing.tae cannot be read
decompress run photos a.npy                           | photos cannot be read
decompress run text.tae a.npy                         | is no file of compressed codes
decompress run x.npy a.npy                            | is no file of compressed codes
decompress run cut.tae a.npy                          | was changed or cut off
decompress run cut.tae a.png                          | was changed or cut off
decompress run changed.tae a.npy                      | was changed or cut off
decompress other good.tae a.npy                       | was made by another model
decompress other good.tae a.png                       | was made by another model
decompress classifier good.tae a.npy                  | is a classifier
rates                                                 | Missing argument
rates nothing                                         | there is no folder 'nothing'
rates run classifier                                  | is a classifier
rates run --bits 0                                    | bits is 0
rates run --bits 2,99                                 | each from 1 to 16
rates run --bits two                                  | expected whole numbers
rates run --data flat.npy                             | trained on examples of shape (8, 8, 1)
rates run --out photos                                | the folder photos exists
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_wrong_lines_are_refused_and_nothing_is_written(line, inside, monkeypatch, capsys):
    command, said = (part.strip() for part in line.split("|"))
    code, _, out, err = tinyae(command, monkeypatch, capsys)
    assert code == 2 and said in err and not out
    assert "Traceback" not in err
