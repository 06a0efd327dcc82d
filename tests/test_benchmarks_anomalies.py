"""The rows of the family's table on anomalies: what they compare, and what they say where something is missing."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from benchmarks.family import anomalies

pytest.importorskip("sklearn", reason="AUROC")


@pytest.fixture
def small(tmp_path, monkeypatch, rng):
    """Two small data sets with outliers, in the folder where the real ones would be."""
    (tmp_path / "anomaly").mkdir()
    for name in ("a", "b"):
        x = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(60, 5))
        x[:6] += 3 * rng.normal(size=(6, 5))
        savemat(tmp_path / "anomaly" / f"{name}.mat", {"X": x, "y": (np.arange(60) < 6).astype(float)})
    monkeypatch.setattr(anomalies, "SETS", ("a", "b"))
    monkeypatch.setattr(anomalies, "SEEDS", (0, 1))
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    return tmp_path


def test_beside_pca_and_pyod(small, monkeypatch):
    python = small / "python"  # stands for the other environment's
    paths = [str(small / "anomaly" / f"{name}.mat") for name in ("a", "b")]
    said = json.dumps({"auroc": {path: [0.5, 0.6] for path in paths}, "seconds": 1.0, "version": "9"})
    python.write_text(f"#!/bin/sh\necho '{said}'\n")
    python.chmod(0o755)
    monkeypatch.setenv("TINYAE_PYOD_PYTHON", str(python))
    row = anomalies.three_sets(1)
    ours = np.mean([np.mean(row.numbers[name]["tinyae"]) for name in "ab"])
    plain = np.mean([row.numbers[name]["pca"] for name in "ab"])
    assert row.seen.startswith(f"{ours:.3f} (a ") and f"PCA {plain:.3f}; PyOD 9 0.550" in row.seen
    assert row.reached == (ours >= plain and ours >= 0.55) and all(len(row.numbers[n]["tinyae"]) == 2 for n in "ab")


def test_without_pyod_and_without_data(small, monkeypatch):
    monkeypatch.setattr(anomalies, "PYOD", "raise ModuleNotFoundError(\"No module named 'pyod'\")")
    row = anomalies.three_sets(1)
    assert "PyOD not installed" in row.seen and row.reached in (None, False)
    monkeypatch.setattr(anomalies, "PYOD", "1 / 0")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        anomalies.pyod([], 1)
    monkeypatch.setenv("TINYAE_DATA", str(small / "nowhere"))
    assert "in the folder anomaly of TINYAE_DATA" in anomalies.three_sets(1).seen


def test_pca_is_that_of_scikit_learn(rng):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    x = rng.normal(size=(80, 6)) * np.arange(1, 7)
    z = StandardScaler().fit_transform(x)
    fitted = PCA(2).fit(z)
    expected = ((z - fitted.inverse_transform(fitted.transform(z))) ** 2).mean(axis=1)
    np.testing.assert_allclose(anomalies.pca_errors(x, 2), expected, rtol=1e-4)
    assert anomalies.auroc([0, 1, 0, 1], [0.1, 0.9, 0.3, 0.2]) == 0.75
