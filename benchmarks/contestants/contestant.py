"""What the worker asks of every contestant."""

import time
from collections.abc import Callable

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam's, for all


class Contestant:
    """A model, its optimizer and its data in one framework.

    Parameters
    ----------
    model : Model
        Its architecture as data (``architectures.py``).
    weights : list of (W, b)
        Initial weights as NumPy arrays, of the layers that have some: W (inputs, outputs), or of a convolution
        (3, 3, inputs, outputs).
    images : array (N, ...)
        Float32, each of the model's shape, (784,) or (H, W, 1); put into the framework's own array here, once.
    batch : int
        N is a multiple of it.
    """

    whole_epochs = False  # is it timed over whole passes through the data?
    step: Callable  # (where a batch begins) -> its loss

    def __init__(self, model, weights, images, batch):
        self.batch, self.batches = batch, len(images) // batch

    def starts(self, steps):
        """Where the batches of so many steps begin: through the data from the front, again and again."""
        return [(i % self.batches) * self.batch for i in range(steps)]

    def losses(self, steps):
        """The losses of the first steps, from the initial weights, on the first batches in order."""
        return [float(self.step(start)) for start in self.starts(steps)]

    def run(self, steps):
        """Train for so many steps; when it returns, all of them are done."""
        for start in self.starts(steps):
            self.step(start)

    def milliseconds(self, steps):
        """How long so many steps take, all of them."""
        started = time.perf_counter()
        self.run(steps)
        return 1e3 * (time.perf_counter() - started)

    @staticmethod
    def about():
        """Versions {name: version}, threads and precision, the last two in words."""
        raise NotImplementedError


class FitContestant(Contestant):
    """One whose steps are taken by a method of the framework, ``fit(images, epochs)``, shuffled."""

    whole_epochs = True

    def fit(self, images, epochs, **options):
        """Train on these images."""
        raise NotImplementedError

    def run(self, steps):
        epochs, rest = divmod(steps, self.batches)
        if epochs:
            self.fit(self.images, epochs)
        if rest:
            self.fit(self.images[: rest * self.batch], 1)
