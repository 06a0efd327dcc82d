"""What ``peers`` measures, for how long, and on which data."""

import os
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from .architectures import Model, conv_model, dense_model


@dataclass(frozen=True)
class Lengths:
    """How long a case is measured."""

    steps_per_epoch: int = 200
    epochs: int = 5  # of a call of fit, at least: few people train for one
    seconds: float = 0.3  # of a timed block, at least
    fewest_steps: int = 20  # of a timed block
    warm_up: int = 5  # steps before each timed block


CHECKED_STEPS = 5
# a step takes 100 times as long as a small model's: a block has fewer of them, and still takes longer
SLOW = Lengths(steps_per_epoch=100, epochs=2, seconds=1.0, fewest_steps=10, warm_up=2)
SLOWEST = Lengths(steps_per_epoch=20, epochs=2, seconds=1.0, fewest_steps=5, warm_up=2)
FEW = Lengths(steps_per_epoch=39)  # 10,000 images, where few steps are measured
QUICK = Lengths(steps_per_epoch=CHECKED_STEPS, epochs=1, seconds=0.0, fewest_steps=1, warm_up=1)


@dataclass(frozen=True)
class Case:
    """An autoencoder, a batch size, and how long they are measured."""

    model: Model
    batch: int
    lengths: Lengths = Lengths()

    @property
    def title(self):
        return f"{self.model.name}, batches of {self.batch}"

    @property
    def images(self):
        """How many an epoch takes."""
        return self.batch * self.lengths.steps_per_epoch

    def quick(self):
        """The same with the fewest steps."""
        return replace(self, lengths=QUICK)


SMALL, DEEP = (784, 32, 784), (784, 128, 64, 32, 64, 128, 784)
CASES = {
    "small-32": Case(dense_model(SMALL), 32),
    "small-256": Case(dense_model(SMALL), 256),
    "deep-32": Case(dense_model(DEEP), 32),
    "deep-256": Case(dense_model(DEEP), 256),
    "conv-32": Case(conv_model(), 32, SLOW),
    "conv-256": Case(conv_model(), 256, SLOWEST),
}


# ---------------------------------------------------------------- data


@cache
def numbers(*shape, kind="normal"):
    """The same float32 numbers each time and in every process, normal or uniform in [0, 1)."""
    rng = np.random.default_rng(0)
    return rng.random(shape, np.float32) if kind == "uniform" else rng.standard_normal(shape, np.float32)


def load_images(n):
    """n rows of 784 numbers in [0, 1], float32, and what they are, in words."""
    if os.environ.get("TINYAE_DATA"):
        import tinyae as ta

        (images, _), _ = ta.datasets.load_mnist()
        return np.ascontiguousarray(images[:n].reshape(-1, 784)), "MNIST's training images"
    rng = np.random.default_rng(1)  # mixtures, for of numbers without a pattern no model could learn anything
    mixtures = rng.dirichlet(np.ones(16), n) @ rng.random((16, 784))
    return mixtures.astype(np.float32), "mixtures of 16 random images (for MNIST set TINYAE_DATA)"


def shaped(images, shape):
    """Rows of 784 numbers as examples of a model's shape, a larger image by repeating each pixel.

    Shapes: (N, 784) -> (N, 784) or (N, side, side, 1), the side a multiple of 28.
    """
    if len(shape) == 1:
        return images
    square, times = images.reshape(-1, 28, 28, 1), shape[0] // 28
    return square if times == 1 else square.repeat(times, axis=1).repeat(times, axis=2)
