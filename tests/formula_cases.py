"""Inputs of random shapes for every operation, for ``test_formulas_hold.py``: name -> function of rng, or several.

Each gives (arrays, attributes), as ``forward`` takes them. Numbers lie where the formula itself means something: the docstrings
say what is done beyond, such as the logarithm of 0 in binary_cross_entropy.
"""

import numpy as np


def shape(r, rank=None):
    return tuple(int(n) for n in r.integers(1, 5, size=r.integers(1, 4) if rank is None else rank))


def normal(r):
    return [r.normal(size=shape(r))], {}


def positive(r):
    return [r.random(shape(r)) + 0.1], {}


def whole(r):
    """Whole numbers, so that kinks and ties occur."""
    return [r.integers(-2, 3, size=shape(r)).astype(float)], {}


def several(count):
    """Arrays that broadcast: axes left out in front, or of length 1."""

    def make(r):
        full = shape(r, 3)
        cut = [full, full[1:], (full[0], 1, full[2]), (1, *full[1:]), full[2:]]
        return [r.normal(size=cut[k]) for k in r.permutation(len(cut))[:count]], {}

    return make


def choosing(r):
    (X, Y), _ = several(2)(r)
    return [r.random(np.broadcast_shapes(X.shape, Y.shape)) < 0.5, X, Y], {}


def with_attributes(make, attributes):
    return lambda r: (make(r)[0], attributes(r))


def one_axis(r):
    size = shape(r)
    return [r.normal(size=size)], {"axis": int(r.integers(-len(size), len(size)))}


def reduction(values):
    """For sum, mean and max: any axes, kept or not; ``values`` makes numbers of a shape."""

    def make(r):
        axis = [None, 0, -1, 1, (0, 2), (2, 1)][r.integers(6)]
        return [values(r, shape(r, 3))], {"axis": axis, "keepdims": bool(r.integers(2))}

    return make


def affine(r):
    N, I, O = shape(r, 3)
    return [r.normal(size=(N, I)), r.normal(size=(I, O)), r.normal(size=O)], {}


def dense(r):
    N, *widths = shape(r, 4)
    arrays = [r.normal(size=(N, widths[0]))]
    for i, o in zip(widths, widths[1:]):
        arrays += [r.normal(size=(i, o)), r.normal(size=o)]
    choices = [None, "relu", "sigmoid", "tanh"]
    return arrays, {"activations": tuple(choices[k] for k in r.integers(4, size=2))}


def matmul(r):
    N, I, O, B = shape(r, 4)
    left = [(N, I), (I,), (B, N, I), (B, 1, N, I)][r.integers(4)]
    right = [(I, O), (I,), (1, I, O), (B, I, O)][r.integers(4)]
    return [r.normal(size=left), r.normal(size=right)], {}


def images(r, least=3):
    return tuple(int(n) for n in (r.integers(1, 3), *r.integers(least, 6, size=2), r.integers(1, 3)))


def pair(r, low, high):
    return tuple(int(n) for n in r.integers(low, high, size=2))


def margins(r, high=2):
    return pair(r, 0, high), pair(r, 0, high)


def convolution(r):
    size, kernel, O = images(r), pair(r, 1, 4), int(r.integers(1, 3))
    dilation = tuple(1 if k == 3 else 2 for k in kernel)
    arrays = [r.normal(size=size), r.normal(size=(*kernel, size[3], O)), r.normal(size=O)]
    return arrays, {"stride": pair(r, 1, 3), "padding": margins(r), "dilation": dilation}


def transposed(r):
    size, kernel, O, stride = images(r, 2), pair(r, 2, 4), int(r.integers(1, 3)), pair(r, 1, 3)
    arrays = [r.normal(size=size), r.normal(size=(*kernel, size[3], O)), r.normal(size=O)]
    more = tuple(int(r.integers(0, s)) for s in stride)
    return arrays, {"stride": stride, "padding": margins(r), "output_padding": more}


def block(r):
    size, kernel, O = images(r), pair(r, 1, 4), int(r.integers(1, 3))
    arrays = [r.normal(size=size), r.normal(size=(*kernel, size[3], O)), r.normal(size=O)]
    activation = [None, "relu", "sigmoid", "tanh"][r.integers(4)]
    pool = [None, ((2, 2), ((0, 1), (1, 0)))][r.integers(2)]
    return arrays, {
        "upsample": int(r.integers(1, 3)),
        "padding": ((1, 1), (1, 1)),
        "activation": activation,
        "pool": pool,
    }


def pooling(values):
    def make(r):
        return [values(r, images(r))], {"size": pair(r, 2, 4), "stride": pair(r, 1, 3), "padding": margins(r)}

    return make


def distinct(r, size):
    return r.permutation(int(np.prod(size))).reshape(size) / 7


def tied(r, size):
    return r.integers(0, 3, size=size).astype(float)


def resizing(r):
    return [r.normal(size=images(r, 1))], {"factor": pair(r, 1, 4)}


def batch_norm(r):
    size = shape(r, int(r.choice([2, 4])))
    size = (size[0] + 1, *size[1:])
    return [r.normal(size=size), r.normal(size=size[-1]), r.normal(size=size[-1])], {"eps": 0.01}


def indexed(r):
    index = [1, (slice(None), [0, 1, 1]), (slice(None, None, -1), 1), (..., None, 0)][r.integers(4)]
    index = (slice(None), np.array([0, 1, 1])) if isinstance(index, tuple) and isinstance(index[1], list) else index
    return [r.normal(size=(3, 2))], {"index": index}


def overwritten(r):
    index, size = [(1, (2,)), ((slice(None), 1), ()), (slice(0, 2), (1, 2))][r.integers(3)]
    return [r.normal(size=(3, 2)), r.normal(size=size)], {"index": index}


def concatenated(r):
    rows, *lengths = shape(r, 1 + int(r.integers(2, 5)))
    return [r.normal(size=(rows, n, 2)) for n in lengths], {"axis": [1, -2][r.integers(2)]}


def loss(first, second):
    """Two arrays of one shape, and any reduction."""

    def make(r):
        size = shape(r, 2)
        return [first(r, size), second(r, size)], {"reduction": ["mean", "sum", "none"][r.integers(3)]}

    return make


def gauss(r, size):
    return r.normal(size=size)


def inside(r, size):
    return 0.1 + 0.8 * r.random(size)


def distributions(r, size):
    P = r.random(size) + 0.1
    return P / P.sum(axis=1, keepdims=True)


def labelled(r):
    N, K = shape(r, 2)
    return [r.normal(size=(N, K)), r.integers(K, size=N)], {"reduction": ["mean", "sum", "none"][r.integers(3)]}


FORMULA_CASES = {
    **{
        name: [normal, whole]
        for name in ("relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "negative", "exp", "abs")
    },
    "leaky_relu": [with_attributes(normal, lambda r: {"s": 0.2}), with_attributes(whole, lambda r: {"s": 0.2})],
    "softmax": [one_axis],
    "log_softmax": [one_axis],
    **{name: [several(2)] for name in ("add", "subtract", "multiply", "divide")},
    "maximum": [several(2), lambda r: ([tied(r, (3, 4)), tied(r, (3, 4))], {})],
    "power": [
        with_attributes(positive, lambda r: {"p": 2.5}),
        with_attributes(normal, lambda r: {"p": int(r.integers(1, 4))}),
    ],
    "log": [positive],
    "sqrt": [positive],
    "clip": [
        with_attributes(whole, lambda r: {"low": -1, "high": 1}),
        with_attributes(normal, lambda r: {"low": None, "high": 0.5}),
    ],
    "where": [choosing],
    "affine": [affine],
    "dense": [dense],
    "matmul": [matmul],
    "sum": [reduction(gauss)],
    "mean": [reduction(gauss)],
    "max": [reduction(distinct), reduction(tied)],
    "reshape": [lambda r: ([r.normal(size=(2, 6))], {"shape": [(3, 4), (12,), (-1, 2, 3)][r.integers(3)]})],
    "transpose": [
        lambda r: ([r.normal(size=shape(r, 3))], {"axes": [None, (2, 0, 1), (0, -1, 1)][r.integers(3)]}),
    ],
    "getitem": [indexed],
    "setitem": [overwritten],
    "concatenate": [concatenated],
    "astype": [with_attributes(normal, lambda r: {"dtype": np.dtype("float32")})],
    "conv2d": [convolution],
    "conv2d_transpose": [transposed],
    "conv_block": [block],
    "max_pool2d": [pooling(distinct), pooling(tied)],
    "avg_pool2d": [
        pooling(gauss),
        lambda r: ([gauss(r, (1, 5, 4, 1))], {"size": (3, 2), "stride": (2, 2), "padding": ((1, 2), (1, 1))}),
    ],
    "upsample_nearest": [resizing],
    "upsample_bilinear": [resizing],
    "pad2d": [lambda r: ([r.normal(size=images(r, 1))], {"padding": margins(r, 3)})],
    "batch_norm": [batch_norm],
    "mse_loss": [loss(gauss, gauss)],
    "bce_with_logits_loss": [loss(gauss, inside)],
    "binary_cross_entropy": [loss(inside, inside)],
    "cross_entropy": [labelled],
    "kl_divergence": [loss(distributions, distributions)],
    "gaussian_kl": [loss(gauss, gauss)],
    "straight_through": [lambda r: ([gauss(r, (2, 3)), gauss(r, (2, 3))], {})],
}
