"""The detector's file: what comes back from it, and files that are none."""

import json

import numpy as np
import pytest

import tinyae as ta
from tinyae import AnomalyDetector
from tinyae.errors import ModelFileError

from .anomaly_cases import FEW_HELD_OUT, model, quick, surface

pytestmark = FEW_HELD_OUT


def test_a_detector_comes_back_from_its_file(tmp_path, rng):
    x = surface(rng, 100)
    detector = AnomalyDetector(epochs=2, contamination=0.07, seed=4).fit(x)
    detector.save(tmp_path / "d.safetensors")
    again = AnomalyDetector.load(tmp_path / "d.safetensors")
    np.testing.assert_array_equal(again.score_samples(x), detector.score_samples(x))
    np.testing.assert_array_equal(again.error_map(x), detector.error_map(x))
    assert again.threshold == detector.threshold and repr(again) == repr(detector)
    np.testing.assert_array_equal(again.fit(x).score_samples(x), detector.score_samples(x))  # with all its settings
    (tmp_path / "e.safetensors").write_bytes(b"")
    again.save(tmp_path / "e.safetensors")
    assert (tmp_path / "e.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


def test_a_detector_of_images_with_a_model_of_ones_own(tmp_path, images):
    detector = AnomalyDetector(model(images.shape[1:], "sigmoid"), epochs=1).fit(images)
    detector.save(tmp_path / "d")
    again = AnomalyDetector.load(tmp_path / "d")
    np.testing.assert_allclose(again.score_samples(images), detector.score_samples(images), rtol=1e-6)
    assert again.model is again._fitted[1][0].model


def test_files_that_are_no_detector(tmp_path, rng):
    x = surface(rng, 60)
    detector = quick(epochs=1).fit(x)
    path = tmp_path / "d"
    detector.save(path)
    whole = path.read_bytes()
    with pytest.raises(ModelFileError, match="AnomalyDetector.load"):
        ta.load(path)
    for changed in (
        whole[: len(whole) // 2],
        whole[:-8] + b"\0\1\2\3\4\5\6\7",
        whole.replace(b'\\"features', b'\\"featurez'),
    ):
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="damaged"):
            AnomalyDetector.load(path)
    ta.save(model(), path)
    with pytest.raises(ModelFileError, match="is a tinyae model, not a detector"):
        AnomalyDetector.load(path)
    with pytest.raises(ModelFileError, match="no file"):
        AnomalyDetector.load(tmp_path / "nothing")


@pytest.mark.parametrize("wrong", ["members", "threshold", "scaling", "settings"])
def test_a_file_that_says_what_cannot_be(tmp_path, rng, wrong, monkeypatch):
    from tinyae import anomaly

    detector, caught = quick(epochs=1).fit(surface(rng, 60)), {}
    monkeypatch.setattr(
        anomaly, "write_archive", lambda path, kind, about, arrays: caught.update(about=about, arrays=arrays)
    )
    detector.save(tmp_path / "d")
    about, arrays = json.loads(json.dumps(caught["about"])), caught["arrays"]
    if wrong == "members":
        arrays.pop("0.centre")
    elif wrong == "scaling":
        arrays["scaling.shift"] = np.zeros(3)
    elif wrong == "settings":
        about["settings"]["colour"] = "red"
    else:
        about["threshold"] = "high"
    monkeypatch.setattr(anomaly, "read_archive", lambda path, kind: (about, arrays))
    with pytest.raises(ModelFileError, match="load: "):
        AnomalyDetector.load(tmp_path / "d")
