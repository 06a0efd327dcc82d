"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .contractive import ContractiveAutoencoder
from .denoising import DenoisingAutoencoder
from .sparse import SparseAutoencoder

__all__ = ["Autoencoder", "ContractiveAutoencoder", "DenoisingAutoencoder", "SparseAutoencoder"]
