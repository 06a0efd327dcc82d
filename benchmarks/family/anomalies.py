"""Anomalies found without labels: three public data sets beside PCA and PyOD's autoencoder, and a digit among others.

The data sets are cardio, ionosphere and letter of the ODDS collection (Rayana, 2016), in the folder anomaly of TINYAE_DATA.
PyOD brings PyTorch with it, so it may live in an environment of its own: TINYAE_PYOD_PYTHON names that Python.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

import tinyae as ta
from tinyae.datasets.mat_file import read_mat
from tinyae.metrics import pca, projected, squared_error
from tinyae.scaling import Scaling

from .row import Row

SETS = ("cardio", "ionosphere", "letter")
SEEDS = (0, 1, 2, 3, 4)  # "the mean of 5 seeds"
SHARE = 0.1  # PyOD's default; it moves only the threshold, and the area under the curve has none

PYOD = """
import json, sys, time
import numpy, pyod, torch
from pyod.models.auto_encoder import AutoEncoder
from scipy.io import loadmat
from sklearn.metrics import roc_auc_score
torch.set_num_threads(int(sys.argv[1]))
found, started = {}, time.perf_counter()
for path in sys.argv[3:]:
    about = loadmat(path)
    for seed in range(int(sys.argv[2])):
        detector = AutoEncoder(random_state=seed, verbose=0)
        detector.fit(about["X"].astype(float))
        found.setdefault(path, []).append(roc_auc_score(about["y"].ravel(), detector.decision_scores_))
print(json.dumps({"auroc": found, "seconds": time.perf_counter() - started, "version": pyod.__version__}))
"""


def measure(seeds, threads=None):
    """The three data sets with five seeds, whatever ``seeds`` says; the digit with ``seeds``."""
    if threads is not None:
        ta.set_num_threads(threads)
    return [three_sets(threads), one_digit(seeds)]


# ---------------------------------------------------------------- three data sets


def three_sets(threads):
    """Fitted and scored on all rows, no labels seen, the same defaults for all three."""
    what = f"anomalies in {', '.join(SETS)}, mean AUROC"
    asked = "at least PCA's error with as many components, and PyOD's AutoEncoder"
    folder = os.path.join(os.environ.get("TINYAE_DATA", ""), "anomaly")
    paths = [os.path.join(folder, f"{name}.mat") for name in SETS]
    if not all(map(os.path.isfile, paths)):
        return Row(what, asked, f"no {', '.join(SETS)} (.mat) in the folder anomaly of TINYAE_DATA", None, 0.0)
    started, numbers = time.perf_counter(), {}
    for name, path in zip(SETS, paths):
        x, y = read_mat(path)
        x, y = x.astype(np.float64), y.ravel() == 1
        detectors = [ta.AnomalyDetector(contamination=SHARE, seed=seed).fit(x) for seed in SEEDS]
        numbers[name] = {
            "tinyae": [auroc(y, -detector.score_samples(x)) for detector in detectors],
            "components": detectors[0].code_size,
            "pca": auroc(y, pca_errors(x, detectors[0].code_size)),
        }
    seconds = time.perf_counter() - started
    peer = pyod(paths, threads or 1)
    if peer is not None:
        for name, path in zip(SETS, paths):
            numbers[name]["pyod"] = peer["auroc"][path]
        numbers["pyod"] = {"version": peer["version"], "seconds": peer["seconds"]}
    ours, plain = mean_of(numbers, "tinyae"), mean_of(numbers, "pca")
    theirs = None if peer is None else mean_of(numbers, "pyod")
    each = ", ".join(f"{name} {np.mean(numbers[name]['tinyae']):.3f}" for name in SETS)
    seen = f"{ours:.3f} ({each}); PCA {plain:.3f}; "
    seen += "PyOD not installed" if theirs is None else f"PyOD {peer['version']} {theirs:.3f}"
    reached = False if ours < plain else None if theirs is None else ours >= theirs
    return Row(what, asked, seen, reached, seconds, numbers)


def mean_of(numbers, who):
    """The mean over the data sets of the mean over the seeds."""
    return statistics.fmean(float(np.mean(numbers[name][who])) for name in SETS)


def pca_errors(x, components):
    """PCA's squared reconstruction error of each standardised row (N, D)."""
    z = Scaling(x).apply(x).astype(np.float64)
    mean, vectors = pca(z)
    return squared_error(projected(z, mean, vectors[:, -components:]), z).mean(axis=1)


def pyod(paths, threads):
    """The same by PyOD's AutoEncoder with its defaults, in a process of its own; None if it is not installed."""
    python = os.environ.get("TINYAE_PYOD_PYTHON", sys.executable)
    arguments = [python, "-W", "ignore", "-c", PYOD, str(threads), str(len(SEEDS)), *paths]
    done = subprocess.run(
        arguments, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
    )
    if done.returncode:
        if "No module named 'pyod'" in done.stderr or "No module named 'torch'" in done.stderr:
            return None
        raise RuntimeError(f"PyOD's process ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- one digit


def one_digit(seeds):
    """Trained on the zeros of MNIST's training part; the test part's zeros against all its other digits."""
    (x, y), (x_test, y_test) = ta.datasets.load_mnist()
    started, numbers = time.perf_counter(), {}
    for seed in seeds:
        detector = ta.AnomalyDetector(seed=seed).fit(x[y == 0])
        scores = detector.score_samples(x_test)
        numbers[str(seed)] = {
            "auroc": auroc(y_test != 0, -scores),
            "false_alarms": float((scores[y_test == 0] < detector.threshold).mean()),
            "found": float((scores[y_test != 0] < detector.threshold).mean()),
        }
    middle = {name: statistics.median(n[name] for n in numbers.values()) for name in ("auroc", "false_alarms", "found")}
    each = ", ".join(f"{n['auroc']:.4f}" for n in numbers.values())
    seen = (
        f"AUROC {middle['auroc']:.4f} (seed by seed {each}); {100 * middle['false_alarms']:.1f} % of the zeros called "
        f"anomalies (5 % allowed), {100 * middle['found']:.1f} % of the others"
    )
    what = "MNIST's digit 0 as normal, trained on zeros only"
    return Row(what, "AUROC >= 0.97", seen, middle["auroc"] >= 0.97, time.perf_counter() - started, numbers)


def auroc(y, strangeness):
    """The area under the ROC curve: how often an anomaly is stranger than a normal row."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, strangeness))
