"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .linear import LinearAutoencoder
from .variational import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "LinearAutoencoder",
    "VariationalAutoencoder",
]
