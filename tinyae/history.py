"""The history of a training run: one record per epoch."""

import json
import os
from typing import Any

from .errors import StateError, brief
from .files import write_whole
from .plots import draw_loss


class History:
    """What happened, epoch by epoch.

    ``history["loss"]`` and ``history["val_loss"]`` are lists with one number per epoch; ``records``
    holds one dict per epoch, with ``epoch``, ``loss``, ``lr``, ``seconds``. With regularizers,
    ``loss`` is the data's part and ``penalty`` what they add.

    Attributes
    ----------
    stop_reason : str or None
        Why training ended before its last epoch.
    interrupted : bool
        It was Ctrl-C.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []
        self.stop_reason: str | None = None
        self.interrupted = False

    def __getitem__(self, name: str) -> list[float]:
        values = [record[name] for record in self.records if name in record]
        if not values:
            raise KeyError(f"the history has no {name!r}; it has {', '.join(self.keys()) or 'no whole epoch'}")
        return values

    def __contains__(self, name: str) -> bool:
        return name in self.keys()

    def keys(self) -> list[str]:
        """The names of what was recorded."""
        return list(self.records[0]) if self.records else []

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

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {self[name][-1]:.5g}" for name in ("loss", "val_loss") if name in self)
        return f"History({len(self)} epochs{', last ' + last if last else ''}{', ' + self.stop_reason if self.stop_reason else ''})"
