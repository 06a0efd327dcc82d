"""What a codebook needs between the epochs of ``fit``: a start from data, new places for unused entries, a look at its use.

An entry that no vector of the encoder chooses gets no gradient, and so is never chosen: it is dead. Left alone, a codebook
shrinks to a few entries; it has collapsed. Entries are revived at the beginning of an epoch, so that what an epoch ends
with is what was trained and evaluated. Nothing is remembered from epoch to epoch but the model itself: a training that goes on from
a checkpoint does the same.
"""

from typing import Any

from ..callbacks import Callback
from ..errors import warn
from ..failures import CollapseWarning

LOOKED_AT = 2048  # training examples whose codes are counted
FEWEST = 0.1  # of the entries that should be in use


class CodebookCollapseWarning(CollapseWarning):
    """Next to none of a codebook's entries are in use."""


class CodebookCare(Callback):
    """Watches over the codebook of a VQAutoencoder during ``fit``."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def on_train_begin(self) -> None:
        if not self.model.usage.numpy().any():  # else it has begun already, and goes on
            self.model.start_codebook(self.trainer.examples(LOOKED_AT), self.trainer.seed)

    def on_epoch_begin(self, epoch: int) -> None:
        if epoch > 1:
            self.model.revive(self.trainer.examples(LOOKED_AT, epoch), self.trainer.seed + epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.model.count_codes(self.trainer.examples(LOOKED_AT))
        used = int((self.model.frequencies() > 0).sum())
        self.trainer.note(logs, perplexity=self.model.perplexity(), codes_used=used)

    def on_train_end(self) -> None:
        self.model.count_codes(self.trainer.examples(LOOKED_AT))  # early stopping may have put weights back
        used, codes = int((self.model.frequencies() > 0).sum()), self.model.codes
        if used < max(2, FEWEST * codes):
            warn(
                f"of the codebook's {codes} entries {used} {'is' if used == 1 else 'are'} in use: it has collapsed, and a code is "
                "worth fewer bits than it seems. Start anew with a smaller beta or learning rate, or with fewer codes.",
                CodebookCollapseWarning,
            )
