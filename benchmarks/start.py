"""Seconds from the start of Python to the first finished training step, with nothing compiled before, and once more.

Each contestant runs in a new process, which imports its framework, builds the model and takes one step. First the
folder is empty in which numba (tinyae's kernels) and PyTorch's compiler keep what they compiled; then everything is done again
with what is kept there now. JAX and Keras keep nothing by themselves, so both times are alike.
"""

import os
import tempfile
import time
from contextlib import contextmanager

from . import fresh, report
from .contestants import start_worker

PARTS = "nothing compiled before", "once more"
CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")  # environment variables that name a folder


def add_arguments(parser):
    """The options of ``python -m benchmarks start``."""
    fresh.add_arguments(parser)


def main(arguments):
    """Measure, print, write; returns the exit code."""
    made = fresh.measure("start", arguments, PARTS, one_round, report.result)
    about = made["machine"]
    return fresh.finish(
        made, arguments, PARTS, "seconds to the first finished step", row, PARTS, scale=1e-3,
        title="From the start of Python to the first finished step: shorter is faster",
        note=f"{about['cpu']}, {about['cores']} cores. Each time in a new process.",
    )  # fmt: skip


def one_round(name, case, folder, versions):
    """Milliseconds with an empty cache, and with the one that is full now."""
    with tempfile.TemporaryDirectory(dir=folder) as cache, variables(dict.fromkeys(CACHES, cache)):
        return first_step(name, case, folder, versions), first_step(name, case, folder, versions)


def first_step(name, case, folder, versions):
    """Milliseconds from the start of a process until the first step is done."""
    started = time.perf_counter()
    with start_worker(name, folder) as worker:
        worker.ask("prepare", case, 1)
        seconds = time.perf_counter() - started
        versions |= worker.ask("about")["versions"]
    return 1e3 * seconds


@contextmanager
def variables(values):
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def row(*times_ms):
    """The texts of one contestant."""
    return [f"{time_ms / 1e3:.2f}" for time_ms in times_ms]
