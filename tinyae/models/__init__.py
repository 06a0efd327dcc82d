"""The models, made of the parts that exist."""

from .adversarial import AdversarialAutoencoder
from .autoencoder import Autoencoder
from .vector_quantised import VQAutoencoder

__all__ = ["AdversarialAutoencoder", "Autoencoder", "VQAutoencoder"]
