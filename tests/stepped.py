"""Computations to step through, for the tests of the page and of the text."""

import json
import re

import numpy as np

import tinyae as ta
from tinyae.explain.stepper import page


def meeting():
    """A tape in which three gradients meet at w, and one at a tensor that is computed; Adam steps twice."""
    w = ta.Tensor([0.5, -1.25, 2.0], requires_grad=True)
    optimizer = ta.Adam([w], lr=0.1)
    with ta.trace() as tape:
        for _ in range(2):
            optimizer.zero_grad()
            y = ta.tanh(w)
            loss = (y * y + y * w + w).sum()
            loss.backward()
            optimizer.step()
    return tape


def images():
    """A small convolutional model on images that are too large to be shown as numbers."""
    ta.manual_seed(0)
    x = ta.Tensor(np.random.default_rng(0).random((2, 16, 16, 1)), dtype="float32")
    model = ta.Sequential(ta.Conv2D(1, 9, 3, activation="relu"), ta.MaxPool2D(2), ta.Conv2D(9, 1, 3))
    with ta.use_kernels("reference"), ta.trace() as tape:
        (model(x) ** 2).mean().backward()
    return tape


def data_of(html):
    """What is embedded in a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def page_data(tape):
    """What is embedded in a tape's page."""
    return data_of(page.html(tape))


def values_of(step):
    """The values that the page shows of a step, in the order in which it shows them; None for what is not there."""
    if step.phase == "forward":
        return [*step.inputs, step.output]
    if step.phase == "update":
        return [
            value
            for part in step.updates
            for value in (
                part.parameter_before,
                *part.state_before.values(),
                part.gradient,
                *part.state_after.values(),
                part.parameter_after,
            )
        ]
    return [step.gradient, step.output, *(v for p in step.pulls for v in shown_of_pull(p))]


def shown_of_pull(pull):
    """Of a share: itself, and where it meets what was there, the sum before and after."""
    return [pull.gradient] if pull.before is None else [pull.before, pull.gradient, pull.after]
