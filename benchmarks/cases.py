"""The models, batch sizes, data and initial weights of ``peers``."""

import os
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """A dense autoencoder and a batch size."""

    dims: tuple
    batch: int

    @property
    def title(self):
        return f"{'-'.join(map(str, self.dims))}, batches of {self.batch}"


SMALL, DEEP = (784, 32, 784), (784, 128, 64, 32, 64, 128, 784)
CASES = {
    "small-32": Case(SMALL, 32),
    "small-256": Case(SMALL, 256),
    "deep-32": Case(DEEP, 32),
    "deep-256": Case(DEEP, 256),
}


def initial_weights(dims):
    """[(W, b), ...] in float32, the same in every process: uniform on ±sqrt(6 / inputs), biases 0."""
    rng = np.random.default_rng(0)
    pairs = []
    for inputs, outputs in zip(dims, dims[1:]):
        W = rng.uniform(-1, 1, (inputs, outputs)) * np.sqrt(6 / inputs)
        pairs.append((W.astype(np.float32), np.zeros(outputs, np.float32)))
    return pairs


def load_images(n):
    """n rows of 784 numbers in [0, 1], float32, and what they are, in words."""
    if os.environ.get("TINYAE_DATA"):
        import tinyae as ta

        (images, _), _ = ta.datasets.load_mnist()
        return np.ascontiguousarray(images[:n].reshape(-1, 784)), "MNIST's training images"
    numbers = np.random.default_rng(1).random((n, 784), dtype=np.float32)
    return numbers, "random numbers in [0, 1] (for MNIST set TINYAE_DATA)"
