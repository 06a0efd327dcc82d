"""What the README says must run as it stands."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_in_the_readme_runs_and_says_what_it_claims(capsys):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    with warnings.catch_warnings():
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    out = capsys.readouterr().out
    assert float(re.search(r"held-out error ([\d.]+)", out).group(1)) < 0.02
    assert "gradients right" in out
    x = names["x"].numpy()
    assert np.allclose(names["x"].grad, np.tanh(x) + x * (1 - np.tanh(x) ** 2))


def test_fit_gives_the_same_bits_as_the_loop_in_the_readme():
    ta = pytest.importorskip("tinyae")
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0].replace("range(20)", "range(2)")
    ta.manual_seed(0)
    names = {}
    exec(block, names)
    ta.manual_seed(0)
    exec(block.split("optimizer =")[0], twin := {})
    twin["model"].fit(twin["x_train"], epochs=2, batch_size=32, lr=2e-3, progress=False)
    for a, b in zip(names["model"].state_dict().values(), twin["model"].state_dict().values()):
        assert np.array_equal(a, b)


def test_every_file_the_readme_names_is_there():
    root = Path(__file__).parent.parent
    for path in re.findall(r"`(tinyae/[\w/]+\.py)`", README) + re.findall(r"\]\(([\w/.]+)\)", README):
        assert (root / path).exists(), path


def test_the_number_of_wrong_rules_is_as_the_readme_says():
    from .test_check import WRONG

    assert f"{len(WRONG)} deliberately wrong rules" in README
