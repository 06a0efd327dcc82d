"""The functions that work on tensors: ``ta.relu(x)``, ``ta.softmax(x)``, ``ta.concatenate(...)``.

Each is one line: the operation of that name, applied. Formulas, derivatives and conventions stand
in ``ops/``. Inputs may be tensors, arrays, lists or numbers; the result is a tensor.
"""

from collections.abc import Sequence
from typing import Any

from . import ops
from .apply import apply
from .context import apart
from .errors import DtypeError, RangeError, ShapeError, brief, known_name, require_integer, require_number
from .ops.convolution import require_kernel
from .ops.linear import JOINED as JOINED
from .ops.resizing import require_images
from .ops.windows import same_padding, transposed_padding
from .tensor import Tensor, as_tensor, wrap

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
    if apart():
        y = affine(x, weight, bias)
        return y if activation is None else ACTIVATIONS[known_name("activation of dense", activation, JOINED)](y)
    return apply(ops.Dense, x, weight, bias, activations=(activation,))


def dense_layers(x: Tensor, layers: Sequence[tuple[Tensor, Tensor, str | None]]) -> Tensor:
    """``dense`` for each (weight, bias, activation); several in one operation where there is a kernel for it."""
    if len(layers) > 1 and not apart() and x.backend.twin(ops.Dense) is not None:
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


# ---------------------------------------------------------------- images (N, H, W, C)

Pair = int | Sequence[int]  # one number for height and width, or one each
Padding = str | int | Sequence[Sequence[int]]  # "same", "valid", rows and columns on all sides, or ((t, b), (l, r))


def conv2d(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Pair = 1,
    padding: Padding = "same",
    dilation: Pair = 1,
) -> Tensor:
    """Convolution. Shapes: (N, H, W, C), (kh, kw, C, O), (O,) -> (N, H', W', O); formulas in ``ops/convolution.py``.

    ``padding`` is ``"same"`` (as Keras has it: ceil(H / stride) rows of output, surplus padding at the bottom and
    right), ``"valid"`` (none), a number for all sides, or ((top, bottom), (left, right)).
    """
    x, weight = as_images("conv2d", x), as_kernel("conv2d", weight)
    stride, dilation = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
    where = resolved_padding("conv2d", padding, x.shape, weight.shape, stride, dilation)
    bias = _or_zeros(bias, weight)
    return apply(ops.Conv2D, x, weight, bias, stride=stride, padding=where, dilation=dilation)


def conv2d_transpose(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Pair = 2,
    padding: Padding = "same",
    output_size: Pair | None = None,
) -> Tensor:
    """Transposed convolution. Shapes: (N, H, W, C), (kh, kw, C, O), (O,) -> (N, H', W', O).

    For a convolution that made images of H x W with this kernel, stride and padding, it leads back to the size they
    were made from. With a stride several sizes are possible: ``output_size`` chooses one, else it is stride * H for
    ``"same"``, and the smallest for others.
    """
    x, weight = as_images("conv2d_transpose", x), as_kernel("conv2d_transpose", weight)
    stride = pair("conv2d_transpose", "stride", stride)
    if output_size is not None:
        output_size = pair("conv2d_transpose", "output_size", output_size)
    if isinstance(padding, str):
        padding = padding_name("conv2d_transpose", padding)
    else:
        padding = sides("conv2d_transpose", "padding", padding)
    where, more = transposed_padding(x.shape[1:3], weight.shape[:2], stride, padding, output_size)
    bias = _or_zeros(bias, weight)
    return apply(ops.Conv2DTranspose, x, weight, bias, stride=stride, padding=where, output_padding=more)


def conv_block(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    upsample: int = 1,
    padding: Padding = "same",
    activation: str | None = None,
    pool: Pair | None = None,
    pool_padding: Padding = "valid",
) -> Tensor:
    """max_pool2d(activation(conv2d(upsample_nearest(x), weight, bias))) as one operation, for relu, sigmoid and tanh.

    ``pool`` is the size of the pooling, which is its stride too, or None; ``upsample`` 1 leaves that out.
    """
    x, weight = as_images("conv_block", x), as_kernel("conv_block", weight)
    upsample = require_integer("conv_block", "upsample", upsample, at_least=1)
    large = (x.shape[0], x.shape[1] * upsample, x.shape[2] * upsample, x.shape[3])
    where, pooling = resolved_padding("conv_block", padding, large, weight.shape), None
    if pool is not None:
        size, ((top, bottom), (left, right)) = pair("conv_block", "pool", pool), where
        convolved = (1, large[1] + top + bottom - weight.shape[0] + 1, large[2] + left + right - weight.shape[1] + 1, 1)
        pooling = (size, resolved_padding("conv_block", pool_padding, convolved, size, size))
    if activation is not None:
        activation = known_name("activation of conv_block", activation, JOINED)
    bias = _or_zeros(bias, weight)
    if apart():
        y = conv2d(x if upsample == 1 else upsample_nearest(x, upsample), weight, bias, padding=where)
        y = y if activation is None else ACTIVATIONS[activation](y)
        return y if pooling is None else max_pool2d(y, pooling[0], padding=pooling[1])
    return apply(ops.ConvBlock, x, weight, bias, upsample=upsample, padding=where, activation=activation, pool=pooling)


def max_pool2d(x: TensorLike, size: Pair = 2, stride: Pair | None = None, padding: Padding = "valid") -> Tensor:
    """The largest number of each window. Shapes: (N, H, W, C) -> (N, H', W', C).

    ``stride`` is ``size`` if not given; ``padding`` as in ``conv2d``; padded places never win.
    """
    return _pool(ops.MaxPool2D, "max_pool2d", x, size, stride, padding)


def avg_pool2d(x: TensorLike, size: Pair = 2, stride: Pair | None = None, padding: Padding = "valid") -> Tensor:
    """The mean of each window; padded places are not counted. Arguments and shapes as in ``max_pool2d``."""
    return _pool(ops.AvgPool2D, "avg_pool2d", x, size, stride, padding)


def upsample_nearest(x: TensorLike, factor: Pair = 2) -> Tensor:
    """Every pixel as a block of equal ones. Shapes: (N, H, W, C) -> (N, f H, f W, C)."""
    return apply(ops.UpsampleNearest, x, factor=pair("upsample_nearest", "factor", factor))


def upsample_bilinear(x: TensorLike, factor: Pair = 2) -> Tensor:
    """Linear interpolation with half-pixel centres. Shapes: (N, H, W, C) -> (N, f H, f W, C)."""
    return apply(ops.UpsampleBilinear, x, factor=pair("upsample_bilinear", "factor", factor))


def pad2d(x: TensorLike, padding: int | Sequence[Sequence[int]]) -> Tensor:
    """Zeros around images: a number for all sides, or ((top, bottom), (left, right))."""
    return apply(ops.Pad2D, x, padding=sides("pad2d", "padding", padding))


def batch_norm(x: TensorLike, gamma: TensorLike, beta: TensorLike, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * gamma + beta, with mean and variance over all axes but the last."""
    return apply(ops.BatchNorm, x, gamma, beta, eps=require_number("batch_norm", "eps", eps, above=0))


def _pool(op, name, x, size, stride, padding):
    x, size = as_images(name, x), pair(name, "size", size)
    stride = size if stride is None else pair(name, "stride", stride)
    return apply(op, x, size=size, stride=stride, padding=resolved_padding(name, padding, x.shape, size, stride))


def _or_zeros(bias, weight):
    return wrap(weight.backend.xp.zeros(weight.shape[3], dtype=weight.dtype), weight.backend) if bias is None else bias


def as_images(name, x):
    """Data as a tensor with the rank of images."""
    x = as_tensor(x, name)
    require_images(name, x.shape)
    return x


def as_kernel(name, weight):
    """Weights of a convolution as a tensor with their rank."""
    weight = as_tensor(weight, name)
    require_kernel(name, weight.shape)
    return weight


def pair(owner, name, value, at_least=1):
    """One number for height and width, or one each, as a tuple of two ints."""
    numbers = (value, value) if not isinstance(value, (tuple, list)) else value
    if len(numbers) != 2:
        raise RangeError(f"{owner}: {name} is {brief(value)}; expected one integer, or two: (height, width).")
    return tuple([require_integer(owner, name, n, at_least=at_least) for n in numbers])


def sides(owner, name, value):
    """One number for all sides, or ((top, bottom), (left, right)), as the latter."""
    if not isinstance(value, (tuple, list)):
        n = require_integer(owner, name, value, at_least=0)
        return (n, n), (n, n)
    if len(value) != 2 or not all(isinstance(part, (tuple, list)) and len(part) == 2 for part in value):
        raise RangeError(
            f"{owner}: {name} is {brief(value)}; expected one integer for all sides, or ((top, bottom), (left, right))."
        )
    (top, bottom), (left, right) = [[require_integer(owner, name, n, at_least=0) for n in part] for part in value]
    return (top, bottom), (left, right)


def padding_name(owner, padding):
    """``"same"`` or ``"valid"``."""
    return known_name(f"padding of {owner}", padding, ("same", "valid"))


def resolved_padding(owner, padding, shape, kernel, stride=(1, 1), dilation=(1, 1)):
    """Padding in numbers, ((top, bottom), (left, right)), for images of this shape."""
    if not isinstance(padding, str):
        return sides(owner, "padding", padding)
    if padding_name(owner, padding) == "valid":
        return (0, 0), (0, 0)
    return tuple([same_padding(n, k, s, d) for n, k, s, d in zip(shape[1:3], kernel, stride, dilation)])


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
