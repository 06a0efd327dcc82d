"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .contractive import ContractiveAutoencoder
from .denoising import DenoisingAutoencoder
from .invariant import InvariantAutoencoder
from .linear import LinearAutoencoder
from .sparse import SparseAutoencoder
from .variational import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "InvariantAutoencoder",
    "LinearAutoencoder",
    "SparseAutoencoder",
    "VariationalAutoencoder",
]
