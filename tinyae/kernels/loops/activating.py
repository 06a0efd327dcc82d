"""The activations that are joined to a matrix product, on single numbers.

``np.exp`` inside a loop keeps the compiler from working on several numbers at once: it is a call of a
library. A polynomial does not. With it a float32 sigmoid is off by less than 5 units in the last place; float64 keeps
the library's.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from ..compiling import inner

RELU, SIGMOID, TANH = 1, 2, 3  # the numbers by which kernels are told; 0 is none

f4 = np.float32


def like(x, value):
    """A constant in x's own type; a bare 0 would make a float64 of a float32."""
    return type(x)(value)


@overload(like)
def _like(x, value):
    kind = x
    return lambda x, value: kind(value)


def exponential(x):
    """e ** x for x <= 0, which is all that is needed here."""
    return np.exp(x)


@inner
def polynomial_exponential(x):
    """e ** x as 2 ** n times e ** r with |r| < 0.35: the first from the exponent's bits, the second by a polynomial.

    For x <= 0; below -87, just before float32 begins to lose digits, it is 0. Moshier, *Methods and Programs for
    Mathematical Functions* (1989), the Cephes library's expf.
    """
    bounded = f4(-87) if x < f4(-87) else x
    n = np.floor(bounded * f4(1.44269504) + f4(0.5))
    r = bounded - n * f4(0.693359375)
    r = r - n * f4(-2.12194440e-4)
    p = f4(1.9875691500e-4)
    p = p * r + f4(1.3981999507e-3)
    p = p * r + f4(8.3334519073e-3)
    p = p * r + f4(4.1665795894e-2)
    p = p * r + f4(1.6666665459e-1)
    p = p * r + f4(5.0000001201e-1)
    p = p * r * r + r + f4(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return f4(0) if x < f4(-87) else p * power


@overload(exponential)
def _exponential(x):
    if x == types.float32:
        return lambda x: polynomial_exponential(x)
    return lambda x: math.exp(x)


@inner
def sigmoid(x):
    """1 / (1 + e ** -x), by the form that cannot overflow."""
    e = exponential(-abs(x))
    one = like(x, 1)
    return (one if x >= 0 else e) / (one + e)


@inner
def relu(x):
    """max(x, 0); NaN is not smaller than 0, and stays."""
    return like(x, 0) if x < 0 else x


def hyperbolic_tangent(x):
    """tanh x."""
    return np.tanh(x)


@inner
def rational_tangent(x):
    """tanh x near 0 by a polynomial, elsewhere as (1 - e ** -2|x|) / (1 + e ** -2|x|) with x's sign; Cephes' tanhf."""
    z = x * x
    p = f4(-5.70498872745e-3)
    p = p * z + f4(2.06390887954e-2)
    p = p * z + f4(-5.37397155531e-2)
    p = p * z + f4(1.33314422036e-1)
    p = p * z + f4(-3.33332819422e-1)
    size = abs(x)
    e = polynomial_exponential(-size - size)
    far = (f4(1) - e) / (f4(1) + e)
    return p * z * x + x if size < f4(0.625) else (far if x > f4(0) else -far)


@overload(hyperbolic_tangent)
def _hyperbolic_tangent(x):
    if x == types.float32:
        return lambda x: rational_tangent(x)
    return lambda x: math.tanh(x)


@inner
def activate(y, activation):
    """y <- f(y), for a row of numbers."""
    if activation == RELU:
        for o in range(y.size):
            y[o] = relu(y[o])
    elif activation == SIGMOID:
        for o in range(y.size):
            y[o] = sigmoid(y[o])
    elif activation == TANH:
        for o in range(y.size):
            y[o] = hyperbolic_tangent(y[o])


@inner
def through_activation(y, gy, activation, gz):
    """gz <- f'(z) gy from y = f(z), for a row of numbers."""
    zero, one = like(y[0], 0), like(y[0], 1)
    if activation == RELU:
        for o in range(y.size):
            gz[o] = gy[o] if y[o] > zero else zero
    elif activation == SIGMOID:
        for o in range(y.size):
            gz[o] = y[o] * (one - y[o]) * gy[o]
    elif activation == TANH:
        for o in range(y.size):
            gz[o] = (one - y[o] * y[o]) * gy[o]
    else:
        for o in range(y.size):
            gz[o] = gy[o]
