"""`tinyae anomalies`: what it writes and says, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import tinyae as ta
from tinyae.errors import FileWriteError
from tinyae.runs import find_anomalies
from tinyae.runs.anomalies import plainly

from .conftest import quick_train, tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("matplotlib", reason="it draws")
pytest.importorskip("sklearn", reason="the bundled digits, and AUROC")
pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.filterwarnings("ignore:AnomalyDetector")]
WRITTEN = ["detector.safetensors", "result.json", "scores.csv", "scores.png", "worst.png"]


def table(rng, n=200, odd=20):
    """Rows of 6 numbers of which the last ``odd`` are unlike the others."""
    x = np.tanh(rng.normal(size=(n, 2)) @ rng.normal(size=(2, 6))) + 0.1 * rng.normal(size=(n, 6))
    x[n - odd :] += rng.normal(size=(odd, 6)) * 2
    return x, (np.arange(n) >= n - odd).astype(int)


def test_a_matlab_file_with_labels(rng, monkeypatch, capsys):
    x, y = table(rng)
    savemat("a.mat", {"X": x, "y": y})
    code, result, out, _ = tinyae("anomalies a.mat --contamination 0.1 --out found --json", monkeypatch, capsys)
    assert code == 0 and sorted(path.name for path in Path("found").iterdir()) == WRITTEN
    assert result["auroc"] > 0.9 and result["anomalies"] == 20 and result["labelled_anomalies"] == 20
    assert result["pca"]["components"] == 2 and 0.5 < result["pca"]["auroc"] <= 1
    lines = Path("found/scores.csv").read_text().splitlines()
    assert lines[0] == "row,score,anomaly,label" and len(lines) == 201
    values = np.array([line.split(",") for line in lines[1:]], float)
    np.testing.assert_array_equal(values[:, 2], values[:, 1] < result["threshold"])
    np.testing.assert_array_equal(values[:, 3], y)
    detector = ta.AnomalyDetector.load("found/detector.safetensors")
    np.testing.assert_allclose(detector.score_samples(x), values[:, 1], rtol=1e-6)
    normal, odd = values[y == 0, 1], values[y == 1, 1]
    assert result["auroc"] == pytest.approx((odd[:, None] < normal).mean(), abs=1e-6)
    assert result["worst"][0][0] == values[:, 1].argmin()
    assert result["found_share"] == (values[y == 1, 2]).mean()
    assert f"AUROC {result['auroc']:.4f}" in out and "PCA's error, 2 components" in out
    assert json.loads(Path("found/result.json").read_text()) == {**result, "out": "found"}


def test_normal_rows_of_their_own_and_labels_of_their_own(rng, monkeypatch, capsys):
    x, y = table(rng)
    np.save("good.npy", x[:150])
    np.savetxt("new.csv", x[150:], delimiter=",")
    np.savetxt("labels.csv", y[150:], fmt="%d")
    code, result, _, _ = tinyae(
        "anomalies new.csv --train good.npy --labels labels.csv --false-alarms 0.1 --epochs 20 --json",
        monkeypatch,
        capsys,
    )
    assert code == 0 and result["out"] == str(Path("runs/anomalies-1")) and result["auroc"] > 0.9
    assert result["rows"] == {"learnt_from": 150, "scored": 50} and result["false_alarms"] == 0.1


def test_without_labels_nothing_is_said_of_them(rng, monkeypatch, capsys):
    np.save("a.npy", table(rng)[0])
    code, result, out, _ = tinyae("anomalies a.npy --epochs 2 --json -q", monkeypatch, capsys)
    assert code == 0 and "auroc" not in result and out.count("\n") == 1
    assert Path("runs/anomalies-1/scores.csv").read_text().startswith("row,score,anomaly\n0,")


def test_one_digit_is_normal(monkeypatch, capsys):
    code, result, out, _ = tinyae("anomalies digits --normal 0 --epochs 10 --json", monkeypatch, capsys)
    assert code == 0 and result["auroc"] > 0.98 and result["normal"] == [0]
    assert result["rows"]["learnt_from"] < 200 and result["rows"]["scored"] == 360
    assert "rows of digits with label 0" in out


def test_classes_are_no_anomalies(monkeypatch, capsys):
    code, result, _, _ = tinyae("anomalies digits --epochs 1 --json", monkeypatch, capsys)
    assert code == 0 and "auroc" not in result


def test_the_model_of_a_run(monkeypatch, capsys):
    quick_train("run", epochs=5)
    before = Path("run/model.safetensors").read_bytes()
    code, result, out, _ = tinyae("anomalies digits --run run --json", monkeypatch, capsys)
    assert code == 0 and result["run"] == "run" and "with the model of run" in out
    assert Path("run/model.safetensors").read_bytes() == before
    detector = ta.AnomalyDetector.load("runs/anomalies-1/detector.safetensors")
    (x, _), _ = ta.datasets.load_digits()
    np.testing.assert_allclose(detector.reconstruct(x[:5]), ta.load("run").reconstruct(x[:5]), rtol=1e-6)
    assert detector.threshold == result["threshold"] and result["rows"]["learnt_from"] == 1437


@pytest.mark.parametrize(
    "line, message",
    [
        ("nothing.csv", "there is no file or folder nothing.csv"),
        ("digit", "unknown data set 'digit'"),
        ("x.npy --contamination 0", "contamination is 0"),
        ("x.npy --contamination 0.1 --false-alarms 0.1", "each set the threshold"),
        ("x.npy --contamination 0.1 --train x.npy", "taken to be normal"),
        ("x.npy --false-alarms 2", "false_alarms is 2"),
        ("x.npy --epochs 0", "epochs is 0"),
        ("x.npy --seed -1", "seed is -1"),
        ("x.npy --normal 1", "x.npy has none"),
        ("x.npy --labels few.csv", "labels"),
        ("x.npy --labels classes.csv", "expected 1 for an anomaly"),
        ("x.npy --labels classes.csv --normal 9", "--normal 9, but"),
        ("x.npy --train digits", "has shape (6,), those learnt from, digits, have (8, 8, 1)"),
        ("x.npy --out there", "the folder there exists"),
        ("x.npy --run nowhere", "there is no folder 'nowhere'"),
        ("x.npy --run there --epochs 3", "--run takes a trained model as it is"),
        ("gaps.npy", "2 of 200 rows have NaN or inf: 5, 9"),
        ("one.npy", "1 sample"),
        ("equal.npy", "all rows are equal"),
    ],
)
def test_what_is_wrong_gets_one_message_and_leaves_nothing(line, message, rng, monkeypatch, capsys):
    x, _ = table(rng)
    np.save("x.npy", x)
    np.save("one.npy", x[:1])
    np.save("equal.npy", np.ones((20, 3)))
    np.savetxt("few.csv", np.zeros(3), fmt="%d")
    np.savetxt("classes.csv", np.arange(200) % 5, fmt="%d")
    x[[5, 9], 2] = np.nan
    np.save("gaps.npy", x)
    Path("there").mkdir()
    before = sorted(Path().rglob("*"))
    code, _, out, err = tinyae(f"anomalies {line}", monkeypatch, capsys)
    assert (code, out) == (2, "") and message in err and "Traceback" not in err
    assert sum(text.startswith(("tinyae: ", "Error: ")) for text in err.splitlines()) == 1
    assert sorted(path for path in Path().rglob("*")) == before


def test_ctrl_c_leaves_nothing(rng, monkeypatch, capsys):
    np.save("x.npy", table(rng)[0])

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(ta.Autoencoder, "fit", stop)
    code, _, _, err = tinyae("anomalies x.npy", monkeypatch, capsys)
    assert code == 130 and "nothing was written" in err and not Path("runs").exists()


def test_a_full_disk_leaves_nothing(rng, monkeypatch):
    np.save("x.npy", table(rng)[0])

    def full(*arguments):
        raise FileWriteError("no space left on device")

    monkeypatch.setattr("tinyae.runs.anomalies.draw_worst", full)  # when scores and one picture are there
    with pytest.raises(FileWriteError):
        find_anomalies("x.npy", epochs=1, out="found", progress=False)
    assert not Path("found").exists()


def test_numbers_are_plain():
    assert [plainly(number) for number in (0.012345, 12.345, 2280.4, -1e6)] == ["0.0123", "12.3", "2,280", "-1,000,000"]
