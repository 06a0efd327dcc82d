"""What the parts of ``gpu`` share: the processes, who cannot take part and why, what was measured."""

import os
from contextlib import ExitStack
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from .. import cases, report
from ..cases import Lengths
from ..contestants import Worker, WorkerFailed, start_worker
from ..contestants.gpu_names import GPU_CONTESTANTS, ON_GPU
from .bench import GpuBench

DENSE = Lengths(steps_per_epoch=200, epochs=2, seconds=0.2, fewest_steps=20, warm_up=5)
CONV = Lengths(steps_per_epoch=40, epochs=1, seconds=0.3, fewest_steps=5, warm_up=3)
QUICK = Lengths(steps_per_epoch=5, epochs=1, seconds=0.0, fewest_steps=5, warm_up=1)
IMAGES, QUICK_IMAGES = 60_000, 1_000  # in an epoch of ``epoch``
PAUSE = 0.1


def all_cases(quick):
    """The cases of ``peers``, as long as a GPU needs."""
    lengths = {"dense": DENSE, "conv": CONV}
    return {
        name: replace(case, lengths=QUICK if quick else lengths[case.model.kind]) for name, case in cases.CASES.items()
    }


class Session:
    """One call of the command.

    Attributes
    ----------
    results, left_out, agreement : list of dict
        As in every report.
    missing : {contestant: str}
        Who cannot take part at all, and why.
    failed : list of str
        What went wrong although it could have been measured.
    """

    def __init__(self, chosen, rounds, quick):
        self.cases, self.rounds, self.quick = chosen, rounds, quick
        self.results, self.left_out, self.agreement, self.failed = [], [], [], []
        self.workers, self.missing, self.more = {}, {}, {}
        self.references = {}  # key of a case -> its first losses by hand
        self.disagreed, self.pause = False, 0 if quick else PAUSE
        self.device, self.images_in_epoch = None, QUICK_IMAGES if quick else IMAGES

    def __enter__(self):
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(TemporaryDirectory())
        needed = max(self.images_in_epoch, *(case.images for case in self.cases.values()))
        self.images, self.source = cases.load_images(needed)
        np.save(f"{self.folder}/images.npy", self.images)
        return self

    def __exit__(self, *error):
        self.stack.close()

    def start(self, names):
        """Start these contestants' processes, and note who cannot take part."""
        for name in names:
            try:
                worker = self.stack.enter_context(start_worker(name, self.folder, GpuBench))
                worker.ask("use_precision", "float32")
                self.workers[name] = worker
                if name in ON_GPU and self.device is None:
                    self.device = worker.ask("device")
            except WorkerFailed as reason:
                self.missing[name] = self.without_class(reason)
                self.workers.pop(name, None)
        self.left_out += [
            {"case": "everything", "contestant": name, "reason": reason} for name, reason in self.missing.items()
        ]

    @staticmethod
    def without_class(reason):
        """Why, in words: the errors of tinyae and of the contestants speak for themselves."""
        kind, _, text = str(reason).partition(": ")
        return text if kind in ("BackendError", "RuntimeError") else str(reason)

    def fresh(self, name):
        """Another process of a contestant."""
        return start_worker(name, self.folder, GpuBench)

    def other(self, make):
        """A process of another kind, which ends with the session."""
        return self.stack.enter_context(Worker(os.path.join(self.folder, f"{make.__name__}.log"), make))

    def taking_part(self, names):
        """Those of them who can: {contestant: Worker}."""
        return {name: self.workers[name] for name in names if name in self.workers}

    def why_no_gpu(self):
        """Why nothing of tinyae can be measured on the GPU, or None."""
        found = [self.missing[name] for name in ON_GPU if name in self.missing]
        return found[0] if found and not any(name in self.workers for name in ON_GPU) else None

    def why_nobody(self, names):
        """Why none of them is measured, in short: the first lines of the output say it at length."""
        if self.why_no_gpu():
            return "no GPU, see above"
        return "left out, see above" if any(name in self.missing for name in names) else "not chosen"

    def fail(self, what, reason):
        """Note and print what went wrong although it should not have."""
        self.failed.append(f"{what}: {reason}")
        self.left_out.append({"case": what, "contestant": "tinyae", "reason": str(reason)})
        print(f"failed: {what}: {reason}", flush=True)

    def of(self, part, name, **wanted):
        """One result of a part, or an empty dict."""
        wanted |= {"part": part, "contestant": name}
        fitting = (entry for entry in self.results if all(entry.get(key) == value for key, value in wanted.items()))
        return next(fitting, {})

    def ask_about(self):
        """Versions, and {"threads" or "precision": {contestant: text}} of all who take part."""
        versions, about = {}, {"threads": {}, "precision": {}}
        for name, worker in self.workers.items():
            try:
                found = worker.ask("about")
            except WorkerFailed as reason:
                found = {"versions": {}, "threads": "unknown", "precision": f"unknown ({reason})"}
            versions |= found["versions"]
            for part in about:
                about[part][name] = found[part]
        return versions, about

    def made(self, **more):
        """The report."""
        versions, about = self.ask_about()
        settings = {"data": self.source, "rounds": self.rounds, "quick": self.quick, **about}
        return report.new_report(
            "gpu", versions, settings, self.results, agreement=self.agreement, left_out=self.left_out,
            device=self.device, failed=self.failed, **self.more, **more,
        )  # fmt: skip


def label(name):
    """What to call a contestant."""
    return GPU_CONTESTANTS[name].label
