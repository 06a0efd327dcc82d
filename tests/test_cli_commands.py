"""The smaller commands and options: recipes, info, completion, --quiet, --json, Ctrl-C."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tinyae as ta
from tinyae.cli import main
from tinyae.recipes import RECIPES

from .conftest import tinyae

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


def test_recipes_are_listed_with_what_to_expect(monkeypatch, capsys):
    code, _, out, _ = tinyae("recipes", monkeypatch, capsys)
    assert code == 0
    for recipe in RECIPES.values():
        assert f"{recipe.name}: " in out and recipe.expected in out and recipe.source in out


def test_recipes_as_json(monkeypatch, capsys):
    _, _, out, _ = tinyae("recipes --json", monkeypatch, capsys)
    assert [r["name"] for r in json.loads(out.splitlines()[-1])["recipes"]] == list(RECIPES)


def test_info_says_what_is_here_and_how_to_get_what_is_not(monkeypatch, capsys):
    code, about, out, _ = tinyae("info --json", monkeypatch, capsys)
    assert code == 0 and about["tinyae"] == ta.__version__ and about["libraries"]["numpy"] == np.__version__
    assert about["backends"]["numpy"].startswith("found") and "cores" in out and "blas" in out
    assert (
        "found" in about["backends"]["cupy"]
        or "pip install" in about["backends"]["cupy"]
        or "nvidia-smi" in about["backends"]["cupy"]
    )
    assert "cupy-cuda" in about["libraries"]["cupy"]  # the one that is installed, or how to get one
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    code, about, _, _ = tinyae("info --json", monkeypatch, capsys)
    assert code == 0 and "pip install threadpoolctl" in about["blas"][0]


@pytest.mark.parametrize(
    "packages, said",
    [
        ([], "not installed: pip install 'cupy-cuda12x[ctk]'"),
        (["cupy-cuda12x"], "14.2.0 (cupy-cuda12x)"),
        (["cupy-cuda12x", "cupy-cuda13x"], "2 CuPy packages are installed"),
    ],
)
def test_info_says_which_cupy_is_installed(packages, said, monkeypatch):
    from importlib import metadata

    from tinyae import info

    found = [SimpleNamespace(metadata={"Name": name}) for name in packages]
    monkeypatch.setattr(metadata, "distributions", lambda: found)
    monkeypatch.setattr(info, "version", lambda name: "14.2.0")
    assert said in info.installed_cupy()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, monkeypatch, capsys):
    code, _, out, _ = tinyae(f"completion {shell}", monkeypatch, capsys)
    assert code == 0 and "_TINYAE_COMPLETE" in out


def test_names_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("_TINYAE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "tinyae train d")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setattr(sys, "argv", ["tinyae"])
    with pytest.raises(SystemExit):
        main()
    found = [line.split(",")[1] for line in capsys.readouterr().out.split()]
    assert {"digits", "dense32", "deep"} <= set(found) and all(name.startswith("d") for name in found)


def test_quiet_and_json(monkeypatch, capsys):
    code, result, out, err = tinyae("train --epochs 1 --out a --quiet --json", monkeypatch, capsys)
    assert code == 0 and err == "" and len(out.splitlines()) == 1 and result["epochs"] == 1
    assert tinyae("train --epochs 1 --out b --quiet", monkeypatch, capsys)[2:] == ("", "")


def test_an_optimizer_may_be_written_in_capitals_beside_its_learning_rate(monkeypatch, capsys):
    line = "compare --optimizers sgd,adam --losses mse --lr SGD=0.5 --epochs 1 --json"
    assert tinyae(line, monkeypatch, capsys)[1]["runs"][0]["lr"] == 0.5


def test_ctrl_c_before_anything_is_written_says_so(monkeypatch, capsys):
    def interrupted(*a, **k):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyae.runs.train", interrupted)
    code, _, out, err = tinyae("train", monkeypatch, capsys)
    assert (code, out, err) == (130, "", "\ntinyae: interrupted; nothing was written\n")
