"""The calculus: each operation's formula, forward and backward in one place.

Begin with ``arithmetic.py``, then ``linear.py`` and ``activations.py``.
"""

from .activations import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from .arithmetic import Add, Divide, Multiply, Negative, Power, Subtract
from .elementwise import Abs, Clip, Exp, Log, Maximum, Sqrt, Where
from .linear import Affine, Dense, MatMul
from .op import OPERATIONS, Op, op
from .reductions import Max, Mean, Sum
from .shaping import AsType, Concatenate, GetItem, Reshape, SetItem, Transpose

__all__ = [
    "ELU", "GELU", "OPERATIONS", "Abs", "Add", "Affine", "AsType", "Clip", "Concatenate", "Dense", "Divide", "Exp",
    "GetItem", "LeakyReLU", "Log", "LogSoftmax", "MatMul", "Max", "Maximum", "Mean", "Multiply", "Negative",
    "Op", "Power", "ReLU", "Reshape", "SetItem", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Subtract", "Sum",
    "Tanh", "Transpose", "Where", "op",
]  # fmt: skip
