"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .invariant import InvariantAutoencoder

__all__ = ["Autoencoder", "InvariantAutoencoder"]
