"""The calculus: each operation's formula, forward and backward in one place.

Begin with ``arithmetic.py``, then ``linear.py`` and ``activations.py``; convolution has a page of its own,
``convolution.py``.
"""

from .activations import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from .arithmetic import Add, Divide, Multiply, Negative, Power, Subtract
from .convolution import Conv2D, Conv2DTranspose, ConvBlock
from .elementwise import Abs, Clip, Exp, Log, Maximum, Sqrt, Where
from .linear import Affine, Dense, MatMul
from .normalisation import BatchNorm
from .op import OPERATIONS, Op, op
from .pooling import AvgPool2D, MaxPool2D
from .reductions import Max, Mean, Sum
from .resizing import Pad2D, UpsampleBilinear, UpsampleNearest
from .shaping import AsType, Concatenate, GetItem, Reshape, SetItem, Transpose

__all__ = [
    "ELU", "GELU", "OPERATIONS", "Abs", "Add", "Affine", "AsType", "AvgPool2D", "BatchNorm", "Clip", "Concatenate",
    "Conv2D", "Conv2DTranspose", "ConvBlock", "Dense", "Divide", "Exp", "GetItem", "LeakyReLU", "Log", "LogSoftmax",
    "MatMul", "Max", "MaxPool2D", "Maximum", "Mean", "Multiply", "Negative", "Op", "Pad2D", "Power", "ReLU",
    "Reshape", "SetItem", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Subtract", "Sum", "Tanh", "Transpose",
    "UpsampleBilinear", "UpsampleNearest", "Where", "op",
]  # fmt: skip
