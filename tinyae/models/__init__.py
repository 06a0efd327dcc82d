"""The models, made of the parts that exist."""

from .autoencoder import Autoencoder
from .quantised import QuantisedAutoencoder

__all__ = ["Autoencoder", "QuantisedAutoencoder"]
