"""The files that commands are told to write: of which kind, and never over something by mistake."""

from pathlib import Path

import numpy as np

from ..errors import RangeError
from ..files import writing


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


def write_array(out, pieces, shape, dtype="<f4"):
    """Arrays one after the other as one .npy file, float32 or another little-endian type, whole or not at all.

    ``shape`` is that of all together; so they need not be in memory at once.
    """
    with writing(out) as file:
        header = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype).tobytes())
