"""Data sets: well-known ones, checked, and one's own."""

from .digits import load_digits
from .mnist import load_fashion_mnist, load_kmnist, load_mnist
from .own import load

__all__ = ["load", "load_digits", "load_fashion_mnist", "load_kmnist", "load_mnist"]
