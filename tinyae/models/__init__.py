"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder

__all__ = ["Autoencoder"]
