"""One training step of a recipe's model on a few examples of its data: the program that ``tinyae explain RECIPE`` shows."""

import tinyae as ta


def step_by_step(model, optimizer, loss, x, y):
    """One training step, traced: forward, backward, update.

    ``loss`` is a function of prediction and target; y is x where the model reconstructs, and the labels where it classifies.
    """
    x = ta.Tensor(x)
    target = x if y is None else ta.Tensor(y)

    with ta.trace() as tape:
        first, *others = model.objective(x, target, loss).values()  # a variational autoencoder's has two terms
        total = sum(others, first)
        total.backward()
        optimizer.step()
    return tape
