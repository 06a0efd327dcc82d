"""Weights held constant: a module as a fixed function inside a block, through which gradients pass to its input."""

from collections.abc import Iterator
from contextlib import contextmanager

from .module import Module


@contextmanager
def held_constant(module: Module) -> Iterator[Module]:
    """Inside the block the module's parameters ask for no gradients; afterwards they do again.

    What is recorded inside has them as constants, for a node of the tape notes only the inputs that ask for gradients
    when it is made. So the backward pass may come later, outside of the block: it goes through the module to its input
    and leaves the parameters alone.
    """
    parameters = module.parameters()
    for parameter in parameters:
        parameter.requires_grad = False
    try:
        yield module
    finally:
        for parameter in parameters:
            parameter.requires_grad = True
