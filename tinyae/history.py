"""The history of a training run: one record per epoch."""

import json


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

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {self[name][-1]:.5g}" for name in ("loss", "val_loss") if name in self)
        return f"History({len(self)} epochs{', last ' + last if last else ''}{', ' + self.stop_reason if self.stop_reason else ''})"
