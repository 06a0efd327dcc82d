"""MATLAB files."""

import numpy as np
import pytest
from scipy.io import savemat

from tinyae.datasets import load
from tinyae.datasets.own import load_for_evaluation
from tinyae.errors import DataFileError, DtypeError, ShapeError


def test_data_and_labels(tmp_path, rng):
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, (20, 1)).astype(np.uint8)
    for names, given in ((("X", "y"), y), (("x", "Y"), y.T), (("data", "labels"), y)):  # standing and lying
        savemat(tmp_path / "a.mat", dict(zip(names, (x, given))))
        got, labels = load_for_evaluation(tmp_path / "a.mat")
        np.testing.assert_array_equal(got[:], x)
        np.testing.assert_array_equal(labels, y.ravel())
    (train, _), (test, _) = load(str(tmp_path / "a.mat"))
    assert (len(train), len(test)) == (18, 2)
    savemat(tmp_path / "b.mat", {"X": x})
    assert load_for_evaluation(tmp_path / "b.mat")[1] is None


def refuse(path, error, *words):
    with pytest.raises(error) as caught:
        load_for_evaluation(path)
    assert all(word in str(caught.value) for word in words)


def test_files_that_are_none(tmp_path, rng):
    path = tmp_path / "a.mat"
    savemat(path, {"A": rng.normal(size=(5, 2)), "note": "hello"})
    refuse(path, DataFileError, "no array called X", "A (5, 2)")
    savemat(path, {"X": rng.normal(size=(50, 2))}, do_compression=True)
    path.write_bytes(path.read_bytes()[:300])
    refuse(path, DataFileError, str(path), "Use another copy")
    path.write_text("hello")
    refuse(path, DataFileError, str(path))
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 500)
    refuse(path, DataFileError, "7.3", "-v7")
    savemat(path, {"X": rng.normal(size=(5, 2)), "y": np.arange(4)})
    refuse(path, ShapeError, "labels")
    savemat(path, {"X": np.array(["a", "b"], object)})
    refuse(path, DtypeError, "object")
