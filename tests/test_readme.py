"""What the README says must run as it stands."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinyae import CaptureWarning
from tinyae.context import generator

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_in_the_readme_runs_and_says_what_it_claims(capsys, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    monkeypatch.chdir(tmp_path)
    programs = []
    generator.set(None)  # as in a new program
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        if "import tinyae as ta\n" in block:  # a program of its own; the other blocks go on with the one before
            programs.append({})
        exec(compile(block, "README.md", "exec"), programs[-1])
    names, stepped = programs
    assert len(stepped["tape"].steps()) == 11 and (tmp_path / "steps.html").exists()
    out = capsys.readouterr().out
    by_hand = float(re.search(r"held-out error ([\d.]+)", out).group(1))
    assert by_hand < 0.02 and np.isclose(names["history"]["val_loss"][-1], by_hand, rtol=1e-6)
    for a, b in zip(names["model"].state_dict().values(), names["twin"].state_dict().values()):
        assert np.array_equal(a, b)  # "the same weights, to the last bit"
    assert "gradients right" in out and "37,448 parameters" in out
    x = names["x"].numpy()
    assert np.allclose(names["x"].grad, np.tanh(x) + x * (1 - np.tanh(x) ** 2))
    (for_a_gpu,) = re.findall(r"```py\n(.*?)```", README, re.DOTALL)  # what needs a GPU runs on the stand-in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        exec(compile(for_a_gpu.replace('"cupy"', '"strict"'), "README.md", "exec"), names)
    assert 0 < float(re.search(r"on the GPU: ([\d.]+)", capsys.readouterr().out).group(1)) < 0.05


def test_every_file_the_readme_names_is_there():
    root = Path(__file__).parent.parent
    for path in re.findall(r"`(tinyae/[\w/]+\.py)`", README) + re.findall(r"\]\(([\w/.]+)\)", README):
        assert (root / path).exists(), path


def test_the_number_of_wrong_rules_is_as_the_readme_says():
    from .test_check import WRONG

    assert f"{len(WRONG)} deliberately wrong rules" in README
