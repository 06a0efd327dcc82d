r"""The denoising autoencoder: it is given a corrupted picture, and learns to say the clean one.

.. math:: \tilde x \sim q(\tilde x \mid x), \qquad \min_{f, g} \; L(g(f(\tilde x)), x)

To copy its input would be wrong now, so even a code larger than the input must learn what pictures look like.
Vincent et al., "Extracting and composing robust features with denoising autoencoders" (2008), section 2.3, and
"Stacked denoising autoencoders" (2010), section 3; Goodfellow et al. (2016), section 14.5.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import DtypeError, brief
from ..nn.module import Module
from ..nn.noise import Noise, make_noise
from ..nn.sequential import Sequential
from ..tensor import Tensor
from .autoencoder import Autoencoder

HELD_OUT_SEED = 0  # of the noise on held-out examples: the same after each epoch


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder whose input is corrupted in training; the clean one is the target.

    Shapes: (N, ...) -> code (N, ...) -> (N, ...), the shape of the input. In evaluation nothing is corrupted:
    ``reconstruct(noisy)`` is the denoised picture, ``encode(x)`` the code of x as it is.

    In ``fit``, ``val_loss`` measures denoising where the held-out examples are given alone: they are corrupted with
    noise that is the same after each epoch, and held to the clean ones. So it is comparable with ``loss``, and early
    stopping and ``Checkpoint`` heed what the model is for, which copying clean examples is not. Of a pair,
    ``validation_data=(noisy, clean)``, the examples are taken as they are.

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
        cls,
        encoder: Sequence[Module],
        decoder: Sequence[Module],
        noise: str = "gaussian",
        strength: float = 0.4,
        clip: Sequence[float] | None = None,
    ) -> "DenoisingAutoencoder":
        """A model of two lists of layers and a noise by its name: "gaussian", "masking", "salt-and-pepper"."""
        return cls(Sequential(*encoder), Sequential(*decoder), make_noise(noise, strength, clip))

    def forward(self, x: Any) -> Tensor:
        return super().forward(self.noise(x))  # which does nothing in evaluation

    def before_sigmoid(self, x: Any) -> Tensor:
        return super().before_sigmoid(self.noise(x))

    def objective(self, x, y, loss):
        if x is y and not self.training:
            x = self.noise.corrupted(x, HELD_OUT_SEED)
        return {"loss": loss(self, x, y)}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "noise": self.noise}
