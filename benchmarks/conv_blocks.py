"""The convolutions, poolings and upsamplings of ``kernels`` as data, for tinyae's process and PyTorch's.

They are those of the convolutional autoencoder of ``peers``, at the sizes of its layers.
"""

from dataclasses import dataclass, field

import numpy as np

from .cases import numbers

BATCH, SMALL_BATCH = 256, 32
FORWARD, DATA, WEIGHTS = "forward", "data gradient", "weight gradient"


@dataclass(frozen=True)
class Block:
    """A 3x3 "same" convolution, with what may stand before it (upsampling) and behind it (activation, pooling).

    Shapes: (N, side / upsample, side / upsample, inputs) -> (N, side, side, outputs), or half the side after pooling.
    """

    side: int  # of the image that is convolved
    inputs: int
    outputs: int
    upsample: int = 1
    activation: str | None = None
    pool: bool = False
    batch: int = field(default_factory=lambda: BATCH)

    @property
    def title(self):
        parts = ["up"] * (self.upsample > 1) + [f"{self.inputs}-{self.outputs}"]
        parts += [self.activation] * bool(self.activation) + ["pool"] * self.pool
        return f"conv {', '.join(parts)} at {self.side}x{self.side}, batch {self.batch}"

    @property
    def alone(self):
        return self.upsample == 1 and not self.activation and not self.pool

    @property
    def parts(self):
        """What is measured; the gradient of the images themselves is never asked for."""
        return (FORWARD, DATA, WEIGHTS) if self.inputs > 1 else (FORWARD, WEIGHTS)

    @property
    def work(self):
        """Additions and multiplications of the convolution, forward or for one of the two gradients."""
        return 2 * self.batch * self.side**2 * 9 * self.inputs * self.outputs

    def arrays(self):
        """X (N, H, W, inputs), W (3, 3, inputs, outputs), b (outputs,)."""
        small = self.side // self.upsample
        X = numbers(self.batch, small, small, self.inputs, kind="uniform")
        W = numbers(3, 3, self.inputs, self.outputs) * np.float32(np.sqrt(2 / (9 * self.inputs)))
        return X, W, numbers(self.outputs)

    def wanted(self, part):
        """Of which of X, W and b a gradient is asked for."""
        return part == DATA, part == WEIGHTS, part == WEIGHTS


@dataclass(frozen=True)
class Pool:
    """Max pooling, 2x2. Shapes: (N, side, side, channels) -> (N, side / 2, side / 2, channels)."""

    side: int = 28
    channels: int = 32
    batch: int = field(default_factory=lambda: BATCH)

    @property
    def title(self):
        return f"max pooling {self.side}x{self.side}x{self.channels}, batch {self.batch}"

    @property
    def nbytes(self):
        """Of the large image and the small one."""
        return 4 * self.batch * self.side**2 * self.channels * 5 // 4

    def array(self):
        return numbers(self.batch, self.side, self.side, self.channels)


class UpSample(Pool):
    """Nearest upsampling, 2x2. Shapes: (N, side / 2, side / 2, channels) -> (N, side, side, channels)."""

    @property
    def title(self):
        return f"upsampling to {self.side}x{self.side}x{self.channels}, batch {self.batch}"

    def array(self):
        return numbers(self.batch, self.side // 2, self.side // 2, self.channels)


def blocks():
    """Convolutions alone, then as the model has them."""
    return [
        Block(28, 1, 32),
        Block(14, 32, 32),
        Block(14, 32, 32, batch=SMALL_BATCH),
        Block(7, 32, 32),
        Block(28, 1, 32, activation="relu", pool=True),
        Block(14, 32, 32, activation="relu", pool=True),
        Block(14, 32, 32, upsample=2, activation="relu"),
        Block(28, 32, 1, upsample=2, activation="sigmoid"),
    ]
