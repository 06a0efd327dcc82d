"""Activations that stand alone, and softmax. All arrays are C-contiguous; elementwise ones come flat."""

from numba import prange

from ..compiling import kernel
from .activating import RELU, SIGMOID, hyperbolic_tangent, like, relu, sigmoid
from .losses import shifted_exponentials


@kernel
def forward(X, activation, Y, parts):
    """Y <- f(X)."""
    for part in prange(parts):
        start, stop = part * X.size // parts, (part + 1) * X.size // parts
        x, y = X[start:stop], Y[start:stop]
        if activation == RELU:
            for i in range(x.size):
                y[i] = relu(x[i])
        elif activation == SIGMOID:
            for i in range(x.size):
                y[i] = sigmoid(x[i])
        else:
            for i in range(x.size):
                y[i] = hyperbolic_tangent(x[i])


@kernel
def backward(Y, gY, activation, gX, parts):
    """gX <- f'(X) gY, from Y = f(X)."""
    zero, one = like(Y[0], 0), like(Y[0], 1)
    for part in prange(parts):
        start, stop = part * Y.size // parts, (part + 1) * Y.size // parts
        y, gy, gx = Y[start:stop], gY[start:stop], gX[start:stop]
        if activation == RELU:
            for i in range(y.size):
                gx[i] = gy[i] if y[i] > zero else zero
        elif activation == SIGMOID:
            for i in range(y.size):
                gx[i] = y[i] * (one - y[i]) * gy[i]
        else:
            for i in range(y.size):
                gx[i] = (one - y[i] * y[i]) * gy[i]


@kernel
def softmax(X, Y, parts):
    """Y <- softmax of each row. X and Y (N, K)."""
    for part in prange(parts):
        for n in range(part * X.shape[0] // parts, (part + 1) * X.shape[0] // parts):
            y = Y[n]
            _, total = shifted_exponentials(X[n], y)
            for k in range(y.size):
                y[k] /= total


@kernel
def softmax_backward(Y, gY, gX, parts):
    """gX <- Y (gY - sum_k gY[k] Y[k]) of each row."""
    for part in prange(parts):
        for n in range(part * Y.shape[0] // parts, (part + 1) * Y.shape[0] // parts):
            y, gy, gx = Y[n], gY[n], gX[n]
            dot = like(Y[0, 0], 0)
            for k in range(y.size):
                dot += gy[k] * y[k]
            for k in range(y.size):
                gx[k] = y[k] * (gy[k] - dot)
