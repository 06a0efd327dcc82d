"""Layers, initial weights, and the Module that holds them."""

from .images import AvgPool2D, Conv2D, Conv2DTranspose, Crop2D, GlobalAvgPool2D, MaxPool2D, UpSampling2D, ZeroPad2D
from .layers import Activation, Dense, Dropout, Flatten, Reshape
from .module import Module
from .noise import GaussianNoise, MaskingNoise, SaltAndPepper
from .normalisation import BatchNorm
from .sequential import Sequential
from .tied import TiedDense

__all__ = [
    "Activation", "AvgPool2D", "BatchNorm", "Conv2D", "Conv2DTranspose", "Crop2D", "Dense", "Dropout", "Flatten",
    "GaussianNoise", "GlobalAvgPool2D", "MaskingNoise", "MaxPool2D", "Module", "Reshape", "SaltAndPepper",
    "Sequential", "TiedDense", "UpSampling2D", "ZeroPad2D",
]  # fmt: skip
