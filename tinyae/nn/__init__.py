"""Layers, initial weights, and the Module that holds them."""

from .layers import Activation, Dense, Dropout, Flatten, GaussianNoise, Reshape, Sequential
from .module import Module

__all__ = ["Activation", "Dense", "Dropout", "Flatten", "GaussianNoise", "Module", "Reshape", "Sequential"]
