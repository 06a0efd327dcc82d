"""The models, made of the parts that exist."""

from .adversarial import AdversarialAutoencoder
from .autoencoder import Autoencoder
from .contractive import ContractiveAutoencoder
from .denoising import DenoisingAutoencoder
from .invariant import InvariantAutoencoder
from .linear import LinearAutoencoder
from .quantised import QuantisedAutoencoder
from .sparse import SparseAutoencoder
from .variational import VariationalAutoencoder
from .vector_quantised import VQAutoencoder

__all__ = [
    "AdversarialAutoencoder",
    "Autoencoder",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "InvariantAutoencoder",
    "LinearAutoencoder",
    "QuantisedAutoencoder",
    "SparseAutoencoder",
    "VQAutoencoder",
    "VariationalAutoencoder",
]
