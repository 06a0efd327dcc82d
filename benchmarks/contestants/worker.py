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
from contextlib import suppress

import numpy as np

from ..architectures import initial_weights
from ..cases import shaped
from .load import OtherLoad, peak_memory
from .names import CONTESTANTS

LONGEST_WAIT = 600  # seconds, after which a worker is given up


class WorkerFailed(Exception):
    """A contestant that cannot take part; its text is the reason."""


class Worker:
    """The parent's end. Calls are answered by the method of the same name of what ``make(*arguments)`` gives there.

    ``make`` is a class whose file imports no framework; what the process prints goes into the file ``log``.
    """

    def __init__(self, log, make, *arguments):
        self.log = log
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other_end = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(make, arguments, log, other_end))
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

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def serve(make, arguments, log, pipe):
    """The worker's end: answer until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    bench = make(*arguments)
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
            text = str(error).strip().split("\n")[0][:600]
            pipe.send((False, f"{type(error).__name__}: {text}"))


def start_worker(name, folder, make=None):
    """A process for a contestant; the images are in the folder, as rows of 784 numbers. ``make``: another class than Bench."""
    return Worker(os.path.join(folder, f"{name}.log"), make or Bench, name, os.path.join(folder, "images.npy"))


class Bench:
    """What a contestant's worker can do. Models, data and what is compiled stay until ``release``."""

    contestants = CONTESTANTS  # the table in which its name stands

    def __init__(self, name, images):
        self.name, self.path = name, images
        self.images, self.prepared = None, {}

    def load(self):
        """Import the framework, and read the images; returns the contestant's class."""
        entry = self.contestants[self.name]
        if self.images is None:
            self.images = np.load(self.path)  # once: all cases look at the same numbers
        return getattr(importlib.import_module(f"benchmarks.contestants.{entry.module}"), entry.class_name)

    def loaded(self):
        """``load``, and how much memory that has taken."""
        self.load()
        return peak_memory()

    def prepare(self, case, steps):
        """Build the model of a case; returns the losses of its first steps."""
        make = self.load()
        images = shaped(self.images[: case.images], case.model.shape)
        self.prepared[case] = contestant = make(case.model, initial_weights(case.model.layers), images, case.batch)
        return [float(loss) for loss in contestant.losses(steps)]

    def about(self):
        """Versions, threads, precision: asked when all is loaded."""
        return self.load().about()

    def steps_for(self, case):
        """How many steps are timed together; where steps are taken by fit, a call of at least some whole epochs."""
        contestant = self.prepared[case]
        unit = case.lengths.epochs * contestant.batches if contestant.whole_epochs else 1
        trial = math.ceil(case.lengths.fewest_steps / unit) * unit
        contestant.run(trial)  # what is compiled or allocated only once
        per_step = self.measure(case, trial)[0] / 1e3
        return max(math.ceil(case.lengths.seconds / per_step / unit) * unit, trial)

    def measure(self, case, steps):
        """Milliseconds per step, and the share of the cores that other programs took meanwhile."""
        contestant = self.prepared[case]
        contestant.run(case.lengths.warm_up)
        with OtherLoad() as load:
            milliseconds = contestant.milliseconds(steps)
        return milliseconds / steps, load.share

    def run(self, case, steps):
        """Train for so many steps."""
        self.prepared[case].run(steps)

    def release(self, case):
        """Forget a case."""
        self.prepared.pop(case, None)

    def peak_memory(self):
        """The most memory that this process has held so far, in bytes, or None."""
        return peak_memory()
