"""The same training in plain NumPy and float64: what every contestant of ``peers`` has to compute.

Forward, for layers l = 1 ... L, with relu after each but the last, and a sigmoid after that::

    A_l = X_(l-1) W_l + b_l,    X_l = relu(A_l),    loss = mean over all elements of (X_L - X_0)²

Backward, with gX for ∂loss/∂X; then Adam (Kingma and Ba, Algorithm 1).
"""

import numpy as np


def losses_by_hand(weights, batches, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """The loss of each batch, one step of Adam after each."""
    params = [np.array(array, np.float64) for pair in weights for array in pair]  # W_1, b_1, W_2, b_2, ...
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    losses = []
    for t, x in enumerate(batches, 1):
        loss, gradients = loss_and_gradients(params, np.asarray(x, np.float64))
        losses.append(loss)
        for i, g in enumerate(gradients):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            params[i] -= lr * m_hat / (np.sqrt(v_hat) + eps)
    return losses


def loss_and_gradients(params, x):
    """The mean squared error of the reconstruction, and its gradients in the order of the parameters."""
    layers = list(zip(params[::2], params[1::2]))
    inputs, y = [], x
    for W, b in layers:
        inputs.append(y)
        y = y @ W + b
        y = 1 / (1 + np.exp(-y)) if len(inputs) == len(layers) else np.maximum(y, 0)
    gA = 2 * (y - x) / x.size * y * (1 - y)  # of the loss, then of the sigmoid
    gradients = []
    for (W, _), X in zip(reversed(layers), reversed(inputs)):
        gradients = [X.T @ gA, gA.sum(axis=0), *gradients]
        gA = (gA @ W.T) * (X > 0)  # of the relu that made X
    return float(np.mean((y - x) ** 2)), gradients


def largest_difference(losses, reference):
    """The largest relative difference between two lists of losses; infinite for NaN."""
    differences = [abs(loss - true) / abs(true) for loss, true in zip(losses, reference, strict=True)]
    return max((d if np.isfinite(d) else np.inf) for d in differences)
