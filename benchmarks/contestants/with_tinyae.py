"""tinyae: the loop that its README shows, the same with its step captured, and ``fit``."""

import sys
import warnings

import numpy as np

import tinyae as ta

from ..architectures import Conv, Dense, MaxPool, UpSampling
from .contestant import BETA1, BETA2, EPS, LR, Contestant, FitContestant


class TinyaeLoop(Contestant):
    """The hand-written loop."""

    backend = "numpy"  # where model and data are

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.X = ta.Tensor(images).to(self.backend)
        self.model = autoencoder(model, weights).to(self.backend)
        self.optimizer = ta.Adam(self.model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)

    def step(self, start):
        return self.step_on(self.X[start : start + self.batch])

    def step_on(self, x):
        self.optimizer.zero_grad()
        loss = ta.mse_loss(self.model(x), x)
        loss.backward()
        self.optimizer.step()
        return loss

    @staticmethod
    def about():
        versions = {"tinyae": ta.__version__, "numpy": np.__version__}
        if "numba" in sys.modules:
            versions["numba"] = sys.modules["numba"].__version__
        threads = f"{ta.get_num_threads()} (tinyae.get_num_threads()), of numba's pool"
        return {"versions": versions, "threads": threads, "precision": "float32"}


class TinyaeCaptured(TinyaeLoop):
    """The same loop; the step is captured by one line before it."""

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.captured = ta.capture(self.step_on)

    def step(self, start):
        return self.captured(self.X[start : start + self.batch])


class TinyaeFit(FitContestant):
    """``fit`` as users call it: shuffled, without a progress bar. Its checks of the data are in the time."""

    backend = "numpy"

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.images = images if self.backend == "numpy" else ta.Tensor(images).to(self.backend)
        self.model = autoencoder(model, weights).to(self.backend)
        self.optimizer = ta.Adam(self.model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)
        # after a few steps a model may not tell examples apart yet, and fit would say so
        warnings.simplefilter("ignore", ta.CollapseWarning)

    def fit(self, images, epochs, **options):
        self.model.fit(images, epochs, self.batch, optimizer=self.optimizer, progress=False, **options)

    def losses(self, steps):
        kept = KeepLosses()
        self.fit(self.images[: steps * self.batch], 1, shuffle=False, callbacks=[kept])
        return kept.losses

    about = staticmethod(TinyaeLoop.about)


class KeepLosses(ta.Callback):
    """Remembers the loss of every batch."""

    def __init__(self):
        self.losses = []

    def on_batch_end(self, batch, logs):
        self.losses.append(logs["loss"])


LAYERS = {  # "zeros", for the weights are given
    Dense: lambda layer: ta.Dense(layer.inputs, layer.outputs, layer.activation, init="zeros"),
    Conv: lambda layer: ta.Conv2D(layer.inputs, layer.outputs, 3, activation=layer.activation, init="zeros"),
    MaxPool: lambda layer: ta.MaxPool2D(layer.size),
    UpSampling: lambda layer: ta.UpSampling2D(layer.factor),
}


def autoencoder(model, weights):
    """A tinyae model with these weights."""
    encoder, decoder = ([LAYERS[type(layer)](layer) for layer in part] for part in (model.encoder, model.decoder))
    made = ta.Autoencoder(ta.Sequential(encoder), ta.Sequential(decoder))
    arrays = [array for pair in weights for array in pair]
    made.load_state_dict(dict(zip(made.state_dict(), arrays, strict=True)))
    return made
