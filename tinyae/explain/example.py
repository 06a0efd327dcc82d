"""A network of 2-3-1 units and one step of its training, small enough that every number fits on the screen.

This is the program that ``tinyae explain`` shows beside its steps. Two examples go in; the first should come out as 1, the
second as 0.
"""

import numpy as np

import tinyae as ta
from tinyae.functional import affine


def step_by_step(seed=0):
    """One training step, traced: forward, backward, update. The seed draws the weights."""
    random = np.random.default_rng(seed)

    x = ta.Tensor([[1.0, 0.5], [-0.5, 2.0]])  # two examples, two numbers each
    target = ta.Tensor([[1.0], [0.0]])

    W1 = ta.Tensor(random.normal(size=(2, 3)).round(1).tolist(), requires_grad=True)
    b1 = ta.Tensor([0.1, 0.0, -0.1], requires_grad=True)
    W2 = ta.Tensor(random.normal(size=(3, 1)).round(1).tolist(), requires_grad=True)
    b2 = ta.Tensor([0.0], requires_grad=True)
    optimizer = ta.SGD([W1, b1, W2, b2], lr=0.5)

    with ta.trace() as tape:
        hidden = ta.tanh(affine(x, W1, b1))
        output = ta.sigmoid(affine(hidden, W2, b2))
        error = ta.mse_loss(output, target)
        penalty = 0.01 * (W2**2).sum()  # keeps these weights small: their second use
        loss = error + penalty
        loss.backward()
        optimizer.step()
    return tape
