"""tinyae: the loop that its README shows, and ``fit``."""

import sys
import warnings

import numpy as np

import tinyae as ta

from .contestant import BETA1, BETA2, EPS, LR, Contestant


class TinyaeLoop(Contestant):
    """The hand-written loop."""

    def __init__(self, weights, images, batch):
        super().__init__(weights, images, batch)
        self.X = ta.Tensor(images)
        self.model = autoencoder(weights)
        self.optimizer = ta.Adam(self.model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)

    def step(self, start):
        x = self.X[start : start + self.batch]
        self.optimizer.zero_grad()
        loss = ta.mse_loss(self.model(x), x)
        loss.backward()
        self.optimizer.step()
        return loss

    def losses(self, steps):
        return [self.step(start).item() for start in self.starts(steps)]

    def run(self, steps):
        for start in self.starts(steps):
            self.step(start)

    @staticmethod
    def about():
        versions = {"tinyae": ta.__version__, "numpy": np.__version__}
        if "numba" in sys.modules:
            versions["numba"] = sys.modules["numba"].__version__
        threads = f"{ta.get_num_threads()} (tinyae.get_num_threads()), of numba's pool"
        return {"versions": versions, "threads": threads, "precision": "float32"}


class TinyaeFit(Contestant):
    """``fit`` as users call it: shuffled, without a progress bar. Its checks of the data are in the time."""

    whole_epochs = True

    def __init__(self, weights, images, batch):
        super().__init__(weights, images, batch)
        self.images, self.model = images, autoencoder(weights)
        self.optimizer = ta.Adam(self.model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)
        # random numbers have no pattern: their best reconstruction is a constant, and fit would say so
        warnings.simplefilter("ignore", ta.CollapseWarning)

    def fit(self, images, epochs, **options):
        self.model.fit(images, epochs, self.batch, optimizer=self.optimizer, progress=False, **options)

    def losses(self, steps):
        kept = KeepLosses()
        self.fit(self.images[: steps * self.batch], 1, shuffle=False, callbacks=[kept])
        return kept.losses

    def run(self, steps):
        epochs, rest = divmod(steps, self.batches)
        if epochs:
            self.fit(self.images, epochs)
        if rest:
            self.fit(self.images[: rest * self.batch], 1)

    about = staticmethod(TinyaeLoop.about)


class KeepLosses(ta.Callback):
    """Remembers the loss of every batch."""

    def __init__(self):
        self.losses = []

    def on_batch_end(self, batch, logs):
        self.losses.append(logs["loss"])


def autoencoder(weights):
    """A tinyae model with these weights; its code is the narrowest layer."""
    layers = [
        ta.Dense(*W.shape, "sigmoid" if i == len(weights) - 1 else "relu", init="zeros")
        for i, (W, b) in enumerate(weights)
    ]
    middle = min(range(len(weights)), key=lambda i: weights[i][0].shape[1]) + 1
    model = ta.Autoencoder(ta.Sequential(*layers[:middle]), ta.Sequential(*layers[middle:]))
    arrays = [array for pair in weights for array in pair]
    model.load_state_dict(dict(zip(model.state_dict(), arrays, strict=True)))
    return model
