"""TensorBoard: the history as it grows, in a browser. Needs the library tensorboardX, which writes its files."""

import os
from typing import Any

from .callbacks import Callback
from .errors import missing_library


class TensorBoard(Callback):
    """Write every number of every epoch to ``folder``; look at it with ``tensorboard --logdir folder``.

    The norms of the gradients are called ``gradients/encoder.0.weight`` and so on.

    A run that goes on from a checkpoint goes on in the same curves: what was written after the
    checkpoint is marked as void.

    Raises
    ------
    MissingLibraryError
        tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self.writer: Any = None
        try:
            import tensorboardX  # noqa: F401 (better missing here than after an hour of training)
        except ImportError as error:
            raise missing_library("TensorBoard", "tensorboardX") from error

    def on_train_begin(self) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(self.folder, purge_step=self.trainer.epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        gradients = self.trainer.history.records[-1]["gradients"]
        for name, value in {**logs, **{f"gradients/{name}": norm for name, norm in gradients.items()}}.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
