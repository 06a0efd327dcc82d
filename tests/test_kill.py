"""Runs killed without warning go on from the last whole epoch, and end with the same bits."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinyae.archive import read_archive

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")

EPOCHS = 10
TINYAE = [sys.executable, "-c", "import sys; from tinyae.cli import main; sys.exit(main())"]
TRAIN = [*TINYAE, "train", "--epochs", str(EPOCHS), "--batch-size", "4", "--out"]


def checkpoint(folder):
    """The state in the newest good checkpoint, without its times; None if there is none."""
    for name in ("run.checkpoint", "run.checkpoint.previous"):
        if (folder / name).exists():
            about, arrays = read_archive(folder / name, "tinyae.checkpoint")  # a torn one would raise
            for record in about["state"]["history"]:
                record.pop("seconds")
            return about["state"], {name: array.tobytes() for name, array in arrays.items()}
    return None


def outcome(folder):
    """All that must be equal."""
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    records = [{name: value for name, value in record.items() if name != "seconds"} for record in history]
    return (folder / "model.safetensors").read_bytes(), checkpoint(folder), records


def run_and_kill(command, folder, log, delay):
    """Start a command and kill it that many seconds after its folder is there; returns the last epoch it reported."""
    with open(log, "w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        while not (folder / "settings.json").exists() and process.poll() is None and delay >= 0:
            time.sleep(0.002)
        time.sleep(abs(delay))
        process.send_signal(signal.SIGKILL)
        process.wait()
    return max((int(epoch) for epoch in re.findall(r"epoch (\d+)/", log.read_text())), default=0)


def check_kills(count, tmp_path):
    """Kill ``count`` runs at random moments, one in three also while it is resumed; returns what was seen."""
    whole = tmp_path / "whole"
    started = time.monotonic()
    process = subprocess.Popen([*TRAIN, str(whole)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (whole / "settings.json").exists():
        time.sleep(0.002)
    begun = time.monotonic()
    assert process.wait() == 0
    start_up, duration = begun - started, time.monotonic() - begun
    expected, chance, kills, at = outcome(whole), random.Random(0), 0, []
    for number in range(count):
        folder, log = tmp_path / f"run-{number}", tmp_path / "log"
        # mostly while it trains and writes, sometimes while it starts
        early = chance.random() < 0.15
        delay = -chance.uniform(0, start_up) if early else chance.uniform(0, 1.1 * duration)
        reported = run_and_kill([*TRAIN, str(folder)], folder, log, delay)
        kills += 1
        if not (folder / "settings.json").exists():
            assert reported == 0
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([*TRAIN, str(folder)], check=True, capture_output=True)
            at.append(-1)
        else:
            saved = checkpoint(folder)
            epoch = saved[0]["epoch"] if saved else 0
            assert reported - 1 <= epoch <= reported + 1, f"run {number}: epoch {reported} was done, {epoch} is saved"
            at.append(epoch)
            if chance.random() < 1 / 3:
                run_and_kill([*TINYAE, "resume", str(folder)], folder, log, chance.uniform(0, start_up + duration))
                kills += 1
            done = subprocess.run([*TINYAE, "resume", str(folder)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        assert outcome(folder) == expected, f"run {number} differs"
        left = [path.name for path in folder.iterdir() if "partial" in path.name]
        assert all(name.startswith(".") for name in left)
        shutil.rmtree(folder)
    print(f"{kills} kills of {count} runs, checkpoints at epochs {dict(zip(*np.unique(at, return_counts=True)))}")


def test_killed_runs_end_with_the_same_bits(tmp_path):
    check_kills(3, tmp_path)


@pytest.mark.slow
def test_fifty_killed_runs_end_with_the_same_bits(tmp_path):
    check_kills(50, tmp_path)
