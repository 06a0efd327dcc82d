"""Layers in a row: Sequential, and how x goes through it."""

from collections.abc import Iterator
from typing import Any

from ..context import layer_calls
from ..errors import DtypeError, brief
from ..tensor import Tensor, as_tensor
from .images import Crop2D
from .joining import group_at, joined_groups
from .layers import Flatten, Reshape
from .module import Module


class Sequential(Module):
    """Layers applied one after the other. Parts are named by their place: ``0``, ``1``, ..."""

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            layers = tuple(layers[0])
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise DtypeError(
                    f"Sequential: argument {i} is {brief(layer)}, a {type(layer).__name__}; expected layers (Modules)."
                )
        self.layers = list(layers)

    def forward(self, x: Any) -> Tensor:
        return through(self.layers, x)

    def before_sigmoid(self, x):
        return (
            through(self.layers, x, before_sigmoid=True) if before_reshaping(self.layers) else super().before_sigmoid(x)
        )

    def ends_in_sigmoid(self):
        n = before_reshaping(self.layers)
        return n > 0 and self.layers[n - 1].ends_in_sigmoid()

    def joined(self):
        return joined_groups(flat(self.layers))

    def parts(self):
        return [(str(i), layer) for i, layer in enumerate(self.layers)]

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers}

    @classmethod
    def from_config(cls, layers):
        return cls(*layers)

    def __getitem__(self, i: int) -> Module:
        return self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def through(layers, x, before_sigmoid=False):
    """x through the layers one after the other; those that ``joining.py`` puts together, in one operation.

    That works across the parts of a model. ``forward`` of a joined layer is not called; that of a subclass, or one that was
    put on the layer, is. With ``before_sigmoid`` the last layer that is not a reshaping one gives its value before the sigmoid.
    """
    watched = layer_calls.get() is not None  # somebody wants to see every call
    layers = layers if watched else flat(layers)
    last = before_reshaping(layers) - 1 if before_sigmoid else -1
    done = 0
    while done < len(layers):
        group = None if watched else group_at(layers, done)
        if group is None:
            x = layers[done].before_sigmoid(x) if done == last else layers[done](x)
            done += 1
            continue
        done += len(group.layers)
        if done - 1 == last and not group.layers[-1].ends_in_sigmoid():
            group.layers[-1].before_sigmoid(x)  # says what is wrong
        x = group.run(x if type(x) is Tensor else as_tensor(x, group.layers[0].label()), done - 1 == last)
    return x


def flat(layers):
    """The layers, those inside a Sequential too."""
    found = []
    for layer in layers:
        if type(layer) is Sequential and "forward" not in vars(layer):
            found += flat(layer.layers)
        else:
            found.append(layer)
    return found


def before_reshaping(layers):
    """How many layers there are before those at the end that compute nothing, and so commute with a sigmoid."""
    n = len(layers)
    while n and isinstance(layers[n - 1], (Flatten, Reshape, Crop2D)):
        n -= 1
    return n
