"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .linear import LinearAutoencoder

__all__ = ["Autoencoder", "LinearAutoencoder"]
