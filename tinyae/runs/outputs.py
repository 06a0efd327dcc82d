"""The files that commands are told to write: of which kind, and never over something by mistake."""

from pathlib import Path

from ..errors import RangeError


def checked_out(command, out, overwrite):
    """The ending of ``--out``, ``.png`` or ``.npy``.

    Raises
    ------
    RangeError
        Another ending, or it exists and may not be replaced.
    """
    kind = Path(out).suffix.lower()
    if kind not in (".png", ".npy"):
        raise RangeError(
            f"{command}: --out {out} ends in {kind or 'nothing'}; expected a picture, FILE.png, or an array, FILE.npy."
        )
    refuse_existing(command, out, overwrite)
    return kind


def refuse_existing(command, out, overwrite, called="--out", source=None):
    """A file is only replaced where that was asked for, and what is read from (``source``) never."""
    if not str(out) or Path(out).is_dir():
        raise RangeError(
            f"{command}: {called} {out!r} is {'a folder' if str(out) else 'empty'}; expected the path of a file."
        )
    if not Path(out).exists():
        return
    if source is not None and Path(source).exists() and Path(out).samefile(source):
        raise RangeError(f"{command}: {out} is what is read from. Choose another {called}.")
    if not overwrite:
        raise RangeError(f"{command}: {out} exists. Choose another {called}, or give --overwrite to replace it.")
