"""Checkpoints: the whole state of a training run in a file, so that it can go on after any interruption.

Written after an epoch: model, optimizer, generator, history, and what callbacks such as EarlyStopping
remember. A run that goes on from it ends with the same numbers, to the last bit, as one that was never
interrupted.
"""

import os
import warnings
from typing import Any

from .archive import flatten, read_archive, unflatten, write_archive
from .callbacks import Callback
from .errors import DtypeError, FileWriteError, ModelFileError, RangeError, StateError, require_integer


class Checkpoint(Callback):
    """Write the state of the training after every ``every``-th whole epoch and after the last.

    The file is written beside and renamed; the one before it is kept as ``path.previous``, and used if
    the newer one turns out to be damaged.

    Parameters
    ----------
    path : str or Path
        The file, by custom ``*.checkpoint``.
    every : int
        Epochs from one checkpoint to the next.
    resume : bool
        Go on from ``path`` if it is there, so that the same program can be run again after a crash.
        Without it, an existing file of another run is refused rather than overwritten.

    Raises
    ------
    RangeError
        The file exists, and ``resume`` was not asked for.
    StateError
        The run in the file had other settings, data, or another model; all differences are listed. Two
        functions of one name (lambdas) are not told apart; of data above 256 MiB some rows are compared.
    ModelFileError
        The file and the one before it are damaged.
    FileWriteError
        It cannot be written, such as onto a full disk. Training ends; the model keeps what it learnt, and
        the last checkpoint is whole.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, resume: bool = False) -> None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path) or os.path.isdir(path):
            raise DtypeError(f"Checkpoint: the path is {path!r}; expected that of a file, such as 'run.checkpoint'.")
        self.path, self.previous = os.fspath(path), f"{os.fspath(path)}.previous"
        self.every = require_integer("Checkpoint", "every", every, at_least=1)
        self.resume = resume
        self.current_is_whole = False  # is what stands at path known to be ours, and whole?

    def start(self) -> dict[str, Any] | None:
        """The state to go on from, or None to begin anew; ``fit`` asks before it changes anything."""
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):  # better now than after the first epoch
            raise FileWriteError(
                f"Checkpoint: nothing can be written in {folder}. Make the folder, or give another path."
            )
        found = [path for path in (self.path, self.previous) if os.path.exists(path)]
        if not self.resume and found and not self.current_is_whole:
            raise RangeError(
                f"Checkpoint: {found[0]} exists. Give Checkpoint(path, resume=True) to go on from it, or another path, "
                "or remove the file to begin anew."
            )
        return self.read() if self.resume and found else None

    def read(self) -> dict[str, Any]:
        """The state in the file or, if that is damaged, in the one before it."""
        try:
            about, arrays = read_archive(self.path, "tinyae.checkpoint")
            self.current_is_whole = True
        except ModelFileError as error:
            if not os.path.exists(self.previous):
                raise
            about, arrays = read_archive(self.previous, "tinyae.checkpoint")
            warnings.warn(f"{error} The checkpoint before it is used: {self.previous}.", UserWarning, stacklevel=2)
        return unflatten(about["state"], arrays)

    def on_epoch_complete(self, epoch: int) -> None:
        trainer = self.trainer
        if epoch % self.every == 0 or epoch == trainer.epochs or trainer.stop_reason:
            data, arrays = flatten(trainer.state_dict())
            # a damaged file must not take the place of the good one before it
            keep = self.previous if self.current_is_whole else None
            try:
                write_archive(self.path, "tinyae.checkpoint", {"state": data}, arrays, keep)
            except TypeError as error:
                raise StateError(
                    f"Checkpoint: a callback's state_dict() returns what cannot be written: {error}. Return numbers, "
                    "strings, NumPy arrays, and lists and dicts of them."
                ) from error
            self.current_is_whole = True


def refuse_other_settings(saved, given):
    """Compare the settings of a run with those it is to go on with."""
    differences = [
        f"{name}: was {saved.get(name)}, is now {given.get(name)}"
        for name in {**saved, **given}
        if saved.get(name) != given.get(name)
    ]
    if differences:
        raise StateError(
            "Checkpoint: the run in the file began with other settings:\n  " + "\n  ".join(differences)
            + "\nGive what it began with, or begin anew with another path."
        )  # fmt: skip
