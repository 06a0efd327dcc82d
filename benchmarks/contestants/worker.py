"""A contestant in a process of its own, and the pipe to it.

Frameworks keep pools of threads that spin for a while when they have nothing to do. Two pools in one
process take the cores from each other, so each contestant gets a process; the others wait at their
pipe while one runs.

The processes are spawned, not forked, so each begins as a new Python and imports its own framework only.
"""

import importlib
import math
import multiprocessing
import os
import signal
import time
from contextlib import suppress

import numpy as np

from ..cases import CASES, initial_weights
from .load import OtherLoad
from .names import CONTESTANTS

WARM_UP = 5  # steps before each timed block
EPOCHS = 5  # of a call of fit, at least: few people train for one
LONGEST_WAIT = 600  # seconds, after which a worker is given up


class WorkerFailed(Exception):
    """A contestant that cannot take part; its text is the reason."""


class Worker:
    """The parent's end. Calls are answered by the method of ``Bench`` of the same name."""

    def __init__(self, name, folder, steps_per_epoch):
        self.log = os.path.join(folder, f"{name}.log")
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other_end = spawn.Pipe()
        images = os.path.join(folder, "images.npy")
        self.process = spawn.Process(target=serve, args=(name, images, steps_per_epoch, self.log, other_end))
        self.process.start()
        other_end.close()

    def ask(self, question, *arguments):
        """Have the worker do something, and return its answer."""
        try:
            self.pipe.send((question, arguments))
            if not self.pipe.poll(LONGEST_WAIT):
                raise WorkerFailed(f"no answer to {question!r} within {LONGEST_WAIT} seconds")
            fine, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(5)
            raise WorkerFailed(f"its process ended (exit code {self.process.exitcode}): {self.last_words()}") from error
        if not fine:
            raise WorkerFailed(answer)
        return answer

    def last_words(self):
        """The end of what the process printed."""
        with suppress(OSError), open(self.log, errors="replace") as file:
            lines = file.read().split("\n")
            return " / ".join(line for line in lines[-4:] if line.strip()) or "it printed nothing"
        return "it printed nothing"

    def close(self):
        """End the process, whatever it is doing."""
        self.pipe.close()  # a waiting worker ends by itself
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(name, images, steps_per_epoch, log, pipe):
    """The worker's end: answer until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    bench = Bench(name, images, steps_per_epoch)
    while True:
        try:
            question, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(bench, question)(*arguments)))
        except ModuleNotFoundError as error:
            pipe.send((False, f"{error.name} is not installed (pip install {error.name})"))
        except Exception as error:  # whatever a framework raises is a reason to leave it out
            text = str(error).strip().split("\n")[0][:300]
            pipe.send((False, f"{type(error).__name__}: {text}"))


class Bench:
    """What a worker can do."""

    def __init__(self, name, images, steps_per_epoch):
        self.name, self.path, self.steps_per_epoch = name, images, steps_per_epoch
        self.images, self.prepared = None, {}

    def prepare(self, case_name, steps):
        """Build the model of a case; returns the losses of its first steps."""
        entry = CONTESTANTS[self.name]
        make = getattr(importlib.import_module(f"benchmarks.contestants.{entry.module}"), entry.class_name)
        case = CASES[case_name]
        if self.images is None:
            self.images = np.load(self.path)  # once: all cases look at the same numbers
        images = self.images[: self.steps_per_epoch * case.batch]
        self.prepared[case_name] = contestant = make(initial_weights(case.dims), images, case.batch)
        return [float(loss) for loss in contestant.losses(steps)]

    def about(self):
        """Versions, threads, precision: asked when all is loaded."""
        return next(iter(self.prepared.values())).about()

    def steps_for(self, case_name, seconds, at_least):
        """How many steps take so long; where steps are taken by fit, a call of at least some whole epochs."""
        contestant = self.prepared[case_name]
        unit = EPOCHS * contestant.batches if contestant.whole_epochs else 1
        trial = math.ceil(at_least / unit) * unit
        contestant.run(trial)  # what is compiled or allocated only once
        per_step = self.measure(case_name, trial)[0] / 1e3
        return max(math.ceil(seconds / per_step / unit) * unit, trial)

    def measure(self, case_name, steps):
        """Milliseconds per step, and the share of the cores that other programs took meanwhile."""
        contestant = self.prepared[case_name]
        contestant.run(WARM_UP)
        with OtherLoad() as load:
            started = time.perf_counter()
            contestant.run(steps)
            seconds = time.perf_counter() - started
        return seconds / steps * 1e3, load.share
