"""The command line, run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae.recipes import get_recipe

from .conftest import tinyae as in_this_process

FILES = {"model.safetensors", "history.jsonl", "settings.json", "result.json", "run.checkpoint", "reconstructions.png",
         "loss.png", "gradients.png"}  # fmt: skip
KEPT = FILES | {"run.checkpoint.previous"}


def tinyae(*arguments, cwd, **options):
    command = [sys.executable, "-c", "import sys; from tinyae.cli import main; sys.exit(main())", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **options)


def test_the_main_job(tmp_path):
    """`tinyae train`, as it stands in the README: better than PCA by half, and everything written."""
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    done = tinyae("train", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["val_mse"] <= 0.0125
    assert result["recipe"] == result["data"] == "digits" and result["backend"] == "numpy"
    assert result["epochs"] == 80 and result["out"] == os.path.join("runs", "digits-1")
    assert np.isclose(result["val_loss"], result["val_mse"], rtol=1e-5)
    for part in (
        "37,448 parameters",
        "a compression ratio of 8",
        "3,600 steps of adam",
        "PCA with 8 components",
        "0.0245",
        "mean image",
        "0.0740",
        "digits-1",
    ):
        assert part in done.stdout
    folder = tmp_path / result["out"]
    assert {p.name for p in folder.iterdir()} == KEPT
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert len(history) == 80 and history[-1]["loss"] == result["train_loss"]
    (_, _), (x, _) = ta.datasets.load_digits()
    model = ta.load(folder)
    assert np.isclose(((model.reconstruct(x) - x) ** 2).mean(), result["val_mse"], rtol=1e-5)
    assert model.encode(x).shape == (360, 8)
    for picture in ("reconstructions.png", "loss.png"):
        assert (folder / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_new_folders_are_numbered_and_old_ones_kept(here, monkeypatch, capsys):
    def train(options):
        return in_this_process(f"train --epochs 1 {options}", monkeypatch, capsys)

    for number in (1, 2):
        assert train("--json")[1]["out"] == os.path.join("runs", f"digits-{number}")
    code, _, _, error = train("--out runs/digits-1")
    assert code == 2 and "exists" in error and "--overwrite" in error
    assert train("--seed 3 --out runs/digits-1 --overwrite")[0] == 0
    assert json.loads(Path("runs/digits-1/settings.json").read_text())["seed"] == 3
    assert train("--out a/b/c")[0] == 0
    assert {p.name for p in Path("a/b/c").iterdir()} == FILES


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "momentum", "adagrad", "rmsprop", "adam"])
def test_options_arrive(optimizer, here, monkeypatch, capsys):
    size = "" if optimizer == "gd" else "--batch-size 100"
    line = f"train digits --optimizer {optimizer} --lr 0.01 --epochs 2 --seed 4 {size} --json"
    _, result, _, _ = in_this_process(line, monkeypatch, capsys)
    assert (result["optimizer"], result["lr"], result["epochs"], result["seed"]) == (optimizer, 0.01, 2, 4)
    assert result["batch_size"] == (1437 if optimizer == "gd" else 100)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for out in ("a", "b"):
        tinyae("train", "--epochs", 2, "--seed", 9, "--out", out, cwd=tmp_path)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_errors_leave_the_program_without_a_traceback(tmp_path):
    done = tinyae("train", "--lr", -1, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("tinyae: Adam: lr is -1.0") and len(done.stderr.splitlines()) == 1


def test_a_backend_without_its_library_or_device(tmp_path):
    done = tinyae("train", "--backend", "cupy", "--epochs", 1, cwd=tmp_path)
    if done.returncode == 0:
        pytest.skip("there is a GPU here")
    assert done.returncode == 2 and "backend 'cupy'" in done.stderr
    assert "pip install" in done.stderr or "nvidia-smi" in done.stderr


def test_help_and_version(tmp_path):
    assert f"tinyae {ta.__version__}" in tinyae("--version", cwd=tmp_path).stdout
    assert "train" in tinyae("--help", cwd=tmp_path).stdout
    recipe = get_recipe("digits")
    usage = " ".join(tinyae("train", "-h", cwd=tmp_path).stdout.split())
    assert "--batch-size" in usage
    assert (
        f"{recipe.epochs} epochs, batches of {recipe.batch_size}, adam with learning rate {recipe.lr['adam']}." in usage
    )


def test_a_reader_that_goes_away_gets_no_traceback(tmp_path):
    command = [sys.executable, "-c", "import sys; from tinyae.cli import main; sys.exit(main())", "recipes"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait() == 1 and b"Traceback" not in process.stderr.read()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_saves_the_model_and_exits_with_130(tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys; from tinyae.cli import main; sys.exit(main())",
        "train",
        "--epochs",
        "100000",
        "--json",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "runs/digits-1").exists():
        time.sleep(0.05)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    result = json.loads(out.splitlines()[-1])
    assert result["interrupted"] and "interrupted by Ctrl-C" in out
    assert ta.load(tmp_path / "runs/digits-1").parameter_count() == 37448


def test_without_click_the_cure_is_named(tmp_path):
    program = "import sys; sys.modules['click'] = None; from tinyae.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == (
        "tinyae: the command line needs click, which is not installed. Install it with: pip install click\n"
    )
