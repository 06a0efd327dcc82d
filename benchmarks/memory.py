"""The most memory that a process holds which trains: 30 steps of 256 images out of 10,000, in a process of its own.

"loaded" is what Python, the framework and the images (31 MB) take before there is a model; "peak" is the most that the
process held until the last step was done. Both are resident memory: of a framework of several hundred MB that part counts
that is used. tinyae imports numba when the first kernel is needed, which is behind "loaded".
"""

from functools import partial

from . import fresh, report
from .contestants import WorkerFailed, start_worker

STEPS, MB = 30, 1e6
PARTS = "loaded", "peak"


def add_arguments(parser):
    """The options of ``python -m benchmarks memory``."""
    fresh.add_arguments(parser)


def main(arguments):
    """Measure, print, write; returns the exit code."""
    steps = 2 if arguments.quick else STEPS
    made = fresh.measure(
        "memory", arguments, PARTS, partial(one_training, steps), partial(report.result_in, "MB"), steps=steps
    )
    return fresh.finish(
        made, arguments, PARTS, "MB of memory", row, ["peak", "before: loaded", "for the training"],
        title="Memory of a training: shorter is less",
        note=f"Resident memory, {steps} steps. Loaded: before there is a model; peak: the most that the process held.",
    )  # fmt: skip


def one_training(steps, name, case, folder, versions):
    """(MB when all is loaded, MB at most) of one training."""
    with start_worker(name, folder) as worker:
        loaded = worker.ask("loaded")
        worker.ask("prepare", case, 1)
        worker.ask("run", case, steps - 1)
        peak = worker.ask("peak_memory")
        versions |= worker.ask("about")["versions"]
    if peak is None:
        raise WorkerFailed("this system does not tell how much memory a process holds")
    return loaded / MB, peak / MB


def row(loaded, peak):
    """The texts of one contestant."""
    return [f"{number:.0f}" for number in (peak, loaded, peak - loaded)]
