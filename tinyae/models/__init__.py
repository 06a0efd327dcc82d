"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .variational import VariationalAutoencoder

__all__ = ["Autoencoder", "VariationalAutoencoder"]
