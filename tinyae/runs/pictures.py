"""Where a picture of a run goes: into its folder, or where it is asked for."""

from contextlib import nullcontext
from pathlib import Path

from ..errors import RangeError
from .folder import RunFolder
from .outputs import refuse_existing


def checked_picture(command, path, out, overwrite):
    """(the file to write, is it in the run's folder?); without ``out`` it is COMMAND.png there, replaced if it exists.

    Raises
    ------
    RangeError
        ``out`` is no .png, or exists and may not be replaced.
    ModelFileError
        There is no run.
    """
    folder = RunFolder.open(command, path)
    if out is None:
        return folder / f"{command}.png", True
    kind = Path(out).suffix.lower()
    if kind != ".png":
        raise RangeError(f"{command}: --out {out} ends in {kind or 'nothing'}; expected a picture, FILE.png.")
    refuse_existing(command, out, overwrite)
    return Path(out), False


def claimed(command, path, inside):
    """Keeps others out of the run's folder while a picture is written into it."""
    if not inside:
        return nullcontext()
    run = RunFolder(path)
    run.claim(command)  # nobody may train in it meanwhile
    return run
