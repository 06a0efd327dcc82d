"""The functions that work on tensors: ``ta.relu(x)``, ``ta.softmax(x)``, ``ta.concatenate(...)``.

Each is one line: the operation of that name, applied. Formulas, derivatives and conventions stand
in ``ops/``. Inputs may be tensors, arrays, lists or numbers; the result is a tensor.
"""

from collections.abc import Sequence
from typing import Any

from . import ops
from .apply import apply
from .errors import DtypeError, ShapeError, require_number
from .ops.linear import JOINED as JOINED
from .tensor import Tensor, as_tensor

TensorLike = Any  # a Tensor, an array, a list or a number


def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    return apply(ops.ReLU, x)


def leaky_relu(x: TensorLike, slope: float = 0.01) -> Tensor:
    """x where x > 0, else slope * x; the derivative at 0 is the slope."""
    return apply(ops.LeakyReLU, x, s=require_number("leaky_relu", "slope", slope))


def elu(x: TensorLike) -> Tensor:
    """x where x > 0, else e**x - 1."""
    return apply(ops.ELU, x)


def gelu(x: TensorLike) -> Tensor:
    """x times the normal distribution function of x (the exact form, not the tanh approximation)."""
    return apply(ops.GELU, x)


def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + e**-x)."""
    return apply(ops.Sigmoid, x)


def tanh(x: TensorLike) -> Tensor:
    """The hyperbolic tangent."""
    return apply(ops.Tanh, x)


def softplus(x: TensorLike) -> Tensor:
    """ln(1 + e**x)."""
    return apply(ops.Softplus, x)


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """e**x, scaled to sum to 1 along ``axis``."""
    return apply(ops.Softmax, x, axis=_one_axis("softmax", x, axis))


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """The logarithm of softmax along ``axis``."""
    return apply(ops.LogSoftmax, x, axis=_one_axis("log_softmax", x, axis))


def affine(x: TensorLike, weight: TensorLike, bias: TensorLike) -> Tensor:
    """x @ weight + bias. Shapes: (N, I), (I, O), (O,) -> (N, O)."""
    return apply(ops.Affine, x, weight, bias)


def dense(x: TensorLike, weight: TensorLike, bias: TensorLike, activation: str | None = None) -> Tensor:
    """activation(affine(x, weight, bias)) as one operation, for relu, sigmoid and tanh."""
    return apply(ops.Dense, x, weight, bias, activations=(activation,))


def dense_layers(x: Tensor, layers: Sequence[tuple[Tensor, Tensor, str | None]]) -> Tensor:
    """``dense`` for each (weight, bias, activation); several in one operation where there is a kernel for it."""
    if len(layers) > 1 and x.backend.twin(ops.Dense) is not None:
        parameters = [tensor for weight, bias, _ in layers for tensor in (weight, bias)]
        return apply(ops.Dense, x, *parameters, activations=tuple([activation for _, _, activation in layers]))
    for weight, bias, activation in layers:
        x = dense(x, weight, bias, activation)
    return x


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product, with NumPy's rules for ranks other than 2."""
    return apply(ops.MatMul, x, y)


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """The larger of two, element by element; at a tie the gradient goes to x."""
    return apply(ops.Maximum, x, y)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """x where the condition (bools) holds, else y."""
    return apply(ops.Where, condition, x, y)


def concatenate(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors one after the other along an axis they have."""
    return apply(ops.Concatenate, *_several("concatenate", tensors), axis=axis)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    tensors = [as_tensor(x, "stack") for x in _several("stack", tensors)]
    shape = tensors[0].shape
    for k, x in enumerate(tensors):
        if x.shape != shape:
            raise ShapeError(f"stack: tensor {k} has shape {x.shape}, tensor 0 {shape}; all must be equal.")
    if not isinstance(axis, int) or not -len(shape) - 1 <= axis <= len(shape):
        raise ShapeError(
            f"stack: axis {axis!r} given for tensors of rank {len(shape)}; expected {-len(shape) - 1} to {len(shape)}."
        )
    axis %= len(shape) + 1
    return concatenate([x.reshape(*shape[:axis], 1, *shape[axis:]) for x in tensors], axis=axis)


ACTIVATIONS = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "gelu": gelu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "softmax": softmax,
    "log_softmax": log_softmax,
}


def _several(name, tensors):
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)):
        raise DtypeError(f"{name}: expected a list or tuple of tensors, not a {type(tensors).__name__}.")
    if not tensors:
        raise ShapeError(f"{name}: the list is empty; expected at least one tensor.")
    return tensors


def _one_axis(name, x, axis):
    rank = as_tensor(x, name).ndim
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ShapeError(
            f"{name}: axis {axis!r} given for a tensor of rank {rank}; expected an int from {-rank} to {rank - 1}."
        )
    return axis
