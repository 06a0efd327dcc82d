r"""The denoising autoencoder: it is given a corrupted picture, and learns to say the clean one.

.. math:: \tilde x \sim q(\tilde x \mid x), \qquad \min_{f, g} \; L(g(f(\tilde x)), x)

To copy its input would be wrong now, so even a code larger than the input must learn what pictures look like.
Vincent et al., "Extracting and composing robust features with denoising autoencoders" (2008), section 2.3, and
"Stacked denoising autoencoders" (2010), section 3; Goodfellow et al. (2016), section 14.5.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import backend_of
from ..data import as_data
from ..errors import DtypeError, ShapeError, brief
from ..image_quality import psnr_of_each
from ..metrics import cross_entropy_error, squared_error
from ..nn.module import Module
from ..nn.noise import Noise, make_noise
from ..nn.sequential import Sequential
from ..tensor import Tensor
from .autoencoder import Autoencoder

HELD_OUT_SEED = 0  # of the noise on held-out examples: the same after each epoch
MEASURES = {"mse": "squared error", "psnr": "PSNR, dB,", "bce": "cross-entropy"}


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder whose input is corrupted in training; the clean one is the target.

    Shapes: (N, ...) -> code (N, ...) -> (N, ...), the shape of the input. In evaluation nothing is corrupted:
    ``reconstruct(noisy)`` is the denoised picture, ``encode(x)`` the code of x as it is.

    In ``fit``, ``val_loss`` measures denoising where the held-out examples are given alone: they are corrupted with
    noise that is the same after each epoch, and held to the clean ones. So it is comparable with ``loss``, and early
    stopping and ``Checkpoint`` heed what the model is for, which copying clean examples is not. Of a pair,
    ``validation_data=(noisy, clean)``, the examples are taken as they are. (In training it adds its noise to whatever it
    is given. Who has pairs of noisy and clean pictures trains a plain Autoencoder on them: ``ta.fit(model, noisy, clean, ...)``.)

    Parameters
    ----------
    encoder, decoder : Module
        Usually a Sequential each.
    noise : Noise
        ``GaussianNoise(0.4, clip=(0, 1))``, ``MaskingNoise(0.25)``, ``SaltAndPepper(0.1)``, or one of your own.
    """

    def __init__(self, encoder: Module, decoder: Module, noise: Noise) -> None:
        super().__init__(encoder, decoder)
        if not isinstance(noise, Noise):
            raise DtypeError(
                f"DenoisingAutoencoder: the noise is {brief(noise)}, a {type(noise).__name__}; expected a noise, such as "
                "GaussianNoise(0.4, clip=(0, 1)), MaskingNoise(0.25) or SaltAndPepper(0.1)."
            )
        self.noise = noise

    @classmethod
    def from_parts(
        cls, encoder: Sequence[Module], decoder: Sequence[Module], *, noise: str = "gaussian", **settings: Any
    ) -> "DenoisingAutoencoder":
        """The model from the layers of an encoder and of a decoder, as recipes have them, and a noise by its name;
        settings as in ``make_noise``: ``strength``, and ``clip`` for "gaussian"."""
        return cls(Sequential(*encoder), Sequential(*decoder), make_noise(noise, **settings))

    def forward(self, x: Any) -> Tensor:
        return super().forward(self.noise(x))  # which does nothing in evaluation

    def before_sigmoid(self, x: Any) -> Tensor:
        return super().before_sigmoid(self.noise(x))

    def objective(self, x, y, loss):
        if x is y and not self.training:
            x = self.noise.corrupted(x, HELD_OUT_SEED)
        return {"loss": loss(self, x, y)}

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        found = denoising_errors(
            {"noisy": lambda x: x, "denoised": self.reconstruct}, x_test, self.noise, HELD_OUT_SEED
        )
        result: dict[str, Any] = {"noise on the held-out examples": repr(self.noise)}
        for measure, title in MEASURES.items():
            if measure in found["noisy"]:
                result |= {f"{title} of the {which} ones": errors[measure] for which, errors in found.items()}
        return result

    def config(self) -> dict[str, Any]:
        return {**super().config(), "noise": self.noise}


def denoising_errors(
    denoisers: Mapping[str, Callable[[Any], Any]], x: Any, noise: Noise, seed: int = 0
) -> dict[str, dict[str, float]]:
    """How far from clean examples is what each denoiser makes of the same noisy ones?

    Parameters
    ----------
    denoisers : dict
        {name: function}, such as ``{"noisy": lambda x: x, "denoised": model.reconstruct}``. Each gets arrays (n, ...)
        on the backend of x, and gives others of that shape.
    x : array (N, ...)
        The clean examples. They may be larger than memory.
    noise : Noise
        What they are corrupted with; ``seed`` fixes it.

    Returns
    -------
    dict
        For each name ``mse``, the mean over all elements. If the clean examples are within [0, 1] also ``psnr``, in dB,
        the mean over examples; and ``bce``, the mean over all elements (a guess of 0 or 1 counts as 1e-7 or 1 - 1e-7).

    Raises
    ------
    ShapeError
        A denoiser gives another shape.
    """
    x = as_data("denoising_errors", x)
    totals = {name: {"mse": 0.0, "psnr": 0.0, "bce": 0.0} for name in denoisers}
    are_pixels = True
    for start, stop, noisy in noise.corrupted_pieces(x, seed):
        clean = in_float64(x[start:stop])
        are_pixels = are_pixels and bool(0 <= clean.min() and clean.max() <= 1)
        for name, denoiser in denoisers.items():
            guess = in_float64(denoiser(noisy))
            if guess.shape != clean.shape:
                raise ShapeError(f"denoising_errors: '{name}' made {guess.shape} of noisy examples {clean.shape}.")
            totals[name]["mse"] += squared_error(guess, clean).sum() / x.size
            totals[name]["psnr"] += psnr_of_each(guess, clean, 1.0).sum() / len(x)
            totals[name]["bce"] += cross_entropy_error(guess, clean).sum() / x.size
    measures = MEASURES if are_pixels else ["mse"]
    return {name: {measure: float(total[measure]) for measure in measures} for name, total in totals.items()}


def in_float64(array):
    """An array of any backend on the host."""
    return np.asarray(backend_of(array).to_host(array), np.float64)
