"""The same training in plain NumPy and float64: what every contestant has to compute.

Forward, layer after layer, X_0 being the images, Y of one layer the X of the next::

    dense               Y = f(X W + b)
    convolution         Y[n,i,j] = f(sum over p, q of X[n,i+p-1,j+q-1] W[p,q] + b), X being 0 outside the image
    pooling             Y[n,i,j] = the largest of X[n,2i+p,2j+q], the first of equal ones
    upsampling          Y[n,i,j] = X[n,i//2,j//2]
    loss = mean over all elements of (X_L - X_0)²

Backward, with gX for ∂loss/∂X; then Adam (Kingma and Ba, Algorithm 1).
"""

import numpy as np

from .architectures import Conv, Dense, MaxPool, UpSampling

PART = 32  # images at once: their arrays stay in the caches
TAPS = [(p, q) for p in range(3) for q in range(3)]


def losses_by_hand(layers, weights, batches, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """The loss of each batch, one step of Adam after each."""
    params = [np.array(array, np.float64) for pair in weights for array in pair]  # W_1, b_1, W_2, b_2, ...
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    losses = []
    for t, x in enumerate(batches, 1):
        loss, gradients = mean_over_parts(layers, params, np.asarray(x, np.float64))
        losses.append(loss)
        for i, g in enumerate(gradients):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            params[i] -= lr * m_hat / (np.sqrt(v_hat) + eps)
    return losses


def mean_over_parts(layers, params, x):
    """Loss and gradients of a batch: the means of those of its parts, weighted by their sizes."""
    loss, gradients = 0.0, [np.zeros_like(p) for p in params]
    for start in range(0, len(x), PART):
        part = x[start : start + PART]
        found, parts_gradients = loss_and_gradients(layers, params, part)
        loss += found * len(part) / len(x)
        for total, g in zip(gradients, parts_gradients):
            total += g * len(part) / len(x)
    return loss, gradients


def loss_and_gradients(layers, params, x):
    """The mean squared error of the reconstruction, and its gradients in the order of the parameters."""
    given, inputs, outputs, y = iter(params), [], [], x
    weights = [(next(given), next(given)) if isinstance(layer, (Dense, Conv)) else () for layer in layers]
    for layer, pair in zip(layers, weights):
        inputs.append(y)
        y = FORWARD[type(layer)](y, *pair)
        if pair:
            y = 1 / (1 + np.exp(-y)) if layer.activation == "sigmoid" else np.maximum(y, 0)
        outputs.append(y)
    gY = 2 * (y - x) / x.size
    gradients = []
    for layer, pair, X, Y in reversed(list(zip(layers, weights, inputs, outputs))):
        if pair:
            gY = gY * (Y * (1 - Y) if layer.activation == "sigmoid" else Y > 0)
        gY, *found = BACKWARD[type(layer)](X, Y, gY, *pair)
        gradients = [*found, *gradients]
    return float(np.mean((y - x) ** 2)), gradients


# ---------------------------------------------------------------- one layer


def dense_backward(X, Y, gY, W, b):
    """gX, gW, gb."""
    return gY @ W.T, X.T @ gY, gY.sum(axis=0)


def conv_forward(X, W, b):
    """One matrix product for each of the nine places of the kernel."""
    N, H, width, _ = X.shape
    framed = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(framed[:, p : p + H, q : q + width] @ W[p, q] for p, q in TAPS) + b


def conv_backward(X, Y, gY, W, b):
    """gX, gW, gb."""
    N, H, width, I = X.shape
    framed = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    g_framed, gW = np.zeros_like(framed), np.empty_like(W)
    for p, q in TAPS:
        seen = np.s_[:, p : p + H, q : q + width]
        g_framed[seen] += gY @ W[p, q].T
        gW[p, q] = framed[seen].reshape(-1, I).T @ gY.reshape(-1, gY.shape[-1])
    return g_framed[:, 1:-1, 1:-1], gW, gY.sum(axis=(0, 1, 2))


def corners(X):
    """The four pixels of each 2x2, as views, in the order in which they are read."""
    return [X[:, p::2, q::2] for p in range(2) for q in range(2)]


def pool_backward(X, Y, gY):
    """The gradient goes to the first pixel that is the largest."""
    gX, open_ = np.zeros_like(X), np.ones(Y.shape, bool)
    for g, x in zip(corners(gX), corners(X)):
        won = open_ & (x == Y)
        g[won] = gY[won]
        open_ &= ~won
    return (gX,)


FORWARD = {
    Dense: lambda X, W, b: X @ W + b,
    Conv: conv_forward,
    MaxPool: lambda X: np.maximum.reduce(corners(X)),
    UpSampling: lambda X: X.repeat(2, axis=1).repeat(2, axis=2),
}
BACKWARD = {
    Dense: dense_backward,
    Conv: conv_backward,
    MaxPool: pool_backward,
    UpSampling: lambda X, Y, gY: (sum(corners(gY)),),
}


def largest_difference(losses, reference):
    """The largest relative difference between two lists of losses; infinite for NaN."""
    differences = [abs(loss - true) / abs(true) for loss, true in zip(losses, reference, strict=True)]
    return max((d if np.isfinite(d) else np.inf) for d in differences)
