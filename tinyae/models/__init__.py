"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .invariant import InvariantAutoencoder
from .linear import LinearAutoencoder

__all__ = ["Autoencoder", "InvariantAutoencoder", "LinearAutoencoder"]
