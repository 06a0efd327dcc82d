r"""Noise: layers that corrupt what goes through them in training, and leave it alone in evaluation.

To undo the corruption a model has to know what its data look like. The three kinds are those of Vincent et al.,
"Stacked denoising autoencoders" (2010), section 3.3. They draw every element on its own, where the paper corrupts
exactly that share of each example.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..context import draw, generator, no_grad, own, use
from ..errors import RangeError, ShapeError, brief, lookup, require_number
from ..random import Generator
from ..tensor import Tensor, as_tensor, wrap
from .layers import as_floats
from .module import Module

PIECE = 1 << 20  # elements that are corrupted together


class Noise(Module):
    """The parent of all noise. Shapes: any, kept.

    A subclass has ``corrupt(x, purpose)``, and ``strength``, of which 0 changes nothing.
    """

    @property
    def strength(self) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no strength.")

    def forward(self, x: Any) -> Tensor:
        return self.corrupt(as_floats(x), "noise") if self.training and self.strength > 0 else x

    def corrupt(self, x: Tensor, purpose: str) -> Tensor:
        """x with new noise, whatever the mode; ``purpose`` says from which sequence of random numbers."""
        raise NotImplementedError(f"{type(self).__name__} defines no corrupt(x, purpose).")

    def corrupted(self, x: Any, seed: int = 0) -> Any:
        """x (N, ...) with noise on purpose, whatever the mode: to show it, and to measure what a model makes of it.

        The same seed always gives the same noise, and the first examples get the same however many follow. These
        random numbers are never those of a training, nor does a training's next draw change. An array gives an
        array, a Tensor gives a Tensor without a tape; integers become float32.
        """
        tensor = as_tensor(x, f"{type(self).__name__}.corrupted")
        if tensor.ndim == 0:
            raise ShapeError(f"{type(self).__name__}.corrupted: a single number was given; expected (N, ...).")
        pieces = [piece for _, _, piece in self.corrupted_pieces(tensor.data, seed)]
        data = pieces[0] if len(pieces) == 1 else tensor.backend.xp.concatenate(pieces)
        return wrap(data, tensor.backend) if isinstance(x, Tensor) else data

    def corrupted_pieces(self, x: Any, seed: int = 0) -> Iterator[tuple[int, int, Any]]:
        """(start, stop, ``corrupted(x)[start:stop]``), so that x may be larger than memory."""
        chance = Generator(seed)
        rows = max(1, PIECE // math.prod(x.shape[1:]))
        for start in range(0, len(x), rows):
            piece = as_floats(as_tensor(x[start : start + rows], "corrupted"))
            with no_grad(), use(generator, chance):
                piece = self.corrupt(piece, "sample")
            yield start, start + len(piece), piece.data


class GaussianNoise(Noise):
    r""":math:`x + \sigma \epsilon`, with :math:`\epsilon` standard normal for every element.

    Parameters
    ----------
    std : float
        :math:`\sigma`, in units of the data.
    clip : (low, high), optional
        Limit the result to the range of the data: ``(0, 1)`` for pixels. What is cut off has no gradient.
    """

    def __init__(self, std: float, clip: Sequence[float] | None = None) -> None:
        self.std = require_number("GaussianNoise", "std", std, at_least=0)
        self.clip = None if clip is None else checked_limits(clip)

    @property
    def strength(self) -> float:
        return self.std

    def corrupt(self, x: Tensor, purpose: str) -> Tensor:
        epsilon = draw("normal", x.shape, purpose, x.backend).astype(x.dtype)
        x = x + own(wrap(epsilon * self.std, x.backend))
        return x if self.clip is None else x.clip(*self.clip)

    def config(self) -> dict[str, Any]:
        return {"std": self.std} if self.clip is None else {"std": self.std, "clip": list(self.clip)}


class MaskingNoise(Noise):
    """Elements set to 0, each with probability ``rate``: what is there must be filled in from the rest.

    Unlike Dropout it does not scale what is left: a picture with holes is as bright between them as it was.
    """

    def __init__(self, rate: float) -> None:
        self.rate = require_number("MaskingNoise", "rate", rate, at_least=0, below=1)

    @property
    def strength(self) -> float:
        return self.rate

    def corrupt(self, x: Tensor, purpose: str) -> Tensor:
        kept = draw("uniform", x.shape, purpose, x.backend) >= self.rate
        return x * own(wrap(kept.astype(x.dtype), x.backend))

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}


class SaltAndPepper(Noise):
    """Elements set to 0 or to 1, each with probability ``rate`` / 2: for data from 0 to 1."""

    def __init__(self, rate: float) -> None:
        self.rate = require_number("SaltAndPepper", "rate", rate, at_least=0, below=1)

    @property
    def strength(self) -> float:
        return self.rate

    def corrupt(self, x: Tensor, purpose: str) -> Tensor:
        chance = draw("uniform", x.shape, purpose, x.backend)
        kept, salt = chance >= self.rate, chance < self.rate / 2
        kept, salt = (own(wrap(mask.astype(x.dtype), x.backend)) for mask in (kept, salt))
        return x * kept + salt

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}


NOISES: dict[str, type[GaussianNoise] | type[MaskingNoise] | type[SaltAndPepper]] = {
    "gaussian": GaussianNoise, "masking": MaskingNoise, "salt-and-pepper": SaltAndPepper,
}  # fmt: skip


def make_noise(kind: str, strength: float = 0.4, clip: Sequence[float] | None = None) -> Noise:
    """A noise by its name in NOISES: its standard deviation or rate is ``strength``.

    ``clip`` is for Gaussian noise alone, as the others leave no range.

    Raises
    ------
    RangeError
        An unknown name, or a strength that cannot be.
    """
    found = lookup("noise", kind, NOISES)
    return GaussianNoise(strength, clip) if found is GaussianNoise else found(strength)


def checked_limits(clip):
    """(low, high) as floats."""
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise RangeError(f"GaussianNoise: clip is {brief(clip)}; expected two numbers (low, high), such as (0, 1).")
    low = require_number("GaussianNoise", "clip[0]", clip[0])
    return low, require_number("GaussianNoise", "clip[1]", clip[1], above=low)
