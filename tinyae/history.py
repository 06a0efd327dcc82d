"""The history of a training run: one record per epoch."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, overload

import numpy as np

from .errors import StateError, brief
from .files import write_whole
from .plots import draw_gradients, draw_loss


class History:
    """What happened, epoch by epoch.

    ``history["loss"]`` and ``history["val_loss"]`` are lists with one number per epoch; ``records``
    holds one dict per epoch, with ``epoch``, ``loss``, ``lr``, ``gradients``, ``seconds``. With regularizers,
    ``loss`` is the data's part and ``penalty`` what they add.

    ``history["gradients"]`` is a list with one dict per epoch, {parameter: norm}, such as {"encoder.0.weight": 0.012}:
    the L2 norm of the gradient in the epoch's last batch, as the optimizer used it (after clipping). A parameter
    without a gradient, or with one that is not finite, is left out. ``tinyae.history.by_layer`` makes layers of them.

    Attributes
    ----------
    stop_reason : str or None
        Why training ended before its last epoch.
    interrupted : bool
        It was Ctrl-C.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.stop_reason: str | None = None
        self.interrupted = False

    @overload
    def __getitem__(self, name: Literal["gradients"]) -> list[dict[str, float]]: ...  # type: ignore[overload-overlap]

    @overload
    def __getitem__(self, name: str) -> list[float]: ...

    def __getitem__(self, name: str) -> list[Any]:
        values = [record[name] for record in self.records if name in record]
        if not values:
            raise KeyError(f"the history has no {name!r}; it has {', '.join(self.keys()) or 'no whole epoch'}")
        return values

    def __contains__(self, name: str) -> bool:
        return name in self.keys()

    def keys(self) -> list[str]:
        """The names of what was recorded."""
        return list(dict.fromkeys(name for record in self.records for name in record))

    def __len__(self) -> int:
        return len(self.records)

    def to_jsonl(self) -> str:
        """One JSON object per line and epoch."""
        return "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)

    @classmethod
    def from_jsonl(cls, text: str) -> "History":
        """The records that ``to_jsonl`` wrote.

        Raises
        ------
        StateError
            A line is no record of an epoch; the message has its number.
        """
        history = cls()
        for number, line in enumerate(text.splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict) or "epoch" not in record:
                raise StateError(
                    f"History: line {number} is {brief(line)}; expected a JSON object with 'epoch', as to_jsonl writes it."
                )
            history.records.append(record)
        return history

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_jsonl()`` to a file, whole or not at all."""
        write_whole(path, self.to_jsonl())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "History":
        """The history in a file that ``save`` wrote."""
        with open(path, encoding="utf-8") as file:
            return cls.from_jsonl(file.read())

    def plot(self, path: str | os.PathLike[str] | None = None, title: str = "", loss_name: str = "loss") -> Any:
        """Training and held-out loss by epoch, as a Matplotlib figure, which a notebook shows.

        With a path it is written there too, as PNG.

        Raises
        ------
        StateError
            There is no whole epoch to draw.
        MissingLibraryError
            Matplotlib is not installed.
        """
        if not self.records:
            raise StateError("History.plot: there is no whole epoch to draw.")
        return draw_loss(self, path, loss_name, title=title)

    def plot_gradients(self, path: str | os.PathLike[str] | None = None, title: str = "") -> Any:
        """The norm of each layer's gradient by epoch, as a Matplotlib figure; arguments and errors as in ``plot``."""
        records = [record for record in self.records if record.get("gradients")]
        if not records:
            raise StateError("History.plot_gradients: there is no epoch with gradients to draw.")
        return draw_gradients([r["epoch"] for r in records], [by_layer(r["gradients"]) for r in records], path, title)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {self[name][-1]:.5g}" for name in ("loss", "val_loss") if name in self)
        return f"History({len(self)} epochs{', last ' + last if last else ''}{', ' + self.stop_reason if self.stop_reason else ''})"


def gradient_norms(parameters: Iterable[tuple[str, Any]], trained: Iterable[Any]) -> dict[str, float]:
    """{name: L2 norm} of the gradients of (name, Tensor) pairs; of those that there are, and are finite.

    Only of Tensors that are ``trained`` by the optimizer: it never clears the gradients of others, which add up.
    """
    known = set(map(id, trained))
    found = [(name, tensor) for name, tensor in parameters if tensor.grad is not None and id(tensor) in known]
    if not found:
        return {}
    squares, backend = [], found[0][1].backend
    for _, tensor in found:
        gradient = tensor.grad.astype("float64")  # the square of 1e-23 is 0 in float32
        with np.errstate(over="ignore"):
            squares.append((gradient * gradient).sum())
    # all at once: on a GPU each look at a number has to be waited for
    sums = backend.to_host(backend.xp.stack(squares)).tolist()
    return {name: math.sqrt(square) for (name, _), square in zip(found, sums) if math.isfinite(square)}


def by_layer(gradients: Mapping[str, float]) -> dict[str, float]:
    """{layer: norm} of {parameter: norm}, from the first layer to the last.

    A layer's gradient is that of all of its parameters together: its norm is the root of the sum of their squares.
    """
    layers: dict[str, float] = {}
    for name, norm in gradients.items():
        layer = name.rpartition(".")[0] or name  # a model that is a single layer has no name for it
        layers[layer] = math.hypot(layers.get(layer, 0.0), norm)
    return layers
