"""A folder of pages, written whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from ...errors import FileWriteError, RangeError, missing_library
from .source import PACKAGE

ASSETS = PACKAGE / "explain" / "assets" / "katex"
OWN = PACKAGE / "explain" / "reading"


def write_pages(out, overwrite=False, home=None):
    """Write the pages into the folder ``out``; returns how many of each kind there are, as {kind: number}.

    ``home`` is an address that all of them lead back to, relative to ``out``, where they are part of something larger.

    They are made in a folder beside it, which takes its place at the end. Until then nothing is touched.

    Raises
    ------
    RangeError
        ``out`` is a file; or a folder with something in it, and ``overwrite`` was not asked for or it is not of such pages.
    FileWriteError
        The folder cannot be made.
    MissingLibraryError
        Pygments or docutils is not installed.
    """
    out = Path(out)
    refuse_existing(out, overwrite)
    try:
        import docutils  # noqa: F401
        import pygments  # noqa: F401
    except ImportError as error:
        raise missing_library("tinyae read", "pygments docutils") from error
    from .pages import index_page, page
    from .subjects import KINDS, subjects

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise FileWriteError(f"read: a folder beside {out} cannot be made: {error.strerror}.") from error
    try:
        for kind in KINDS:
            (made / kind).mkdir()
        for subject in subjects():
            (made / subject.address).write_text(page(subject, home), encoding="utf-8")
        (made / "index.html").write_text(index_page(home), encoding="utf-8")
        shutil.copytree(ASSETS, made / "assets" / "katex")
        for name in ("reading.css", "reading.js", "formulas.js"):
            shutil.copy(OWN / name, made / "assets" / name)
        made.chmod(0o755)
        take_place(made, out)
    except OSError as error:
        raise FileWriteError(f"read: {out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return {kind: sum(subject.kind == kind for subject in subjects()) for kind in KINDS}


def refuse_existing(out, overwrite):
    """Only a folder that is empty, or may be replaced, is written to; and of folders only one of such pages."""
    if out.is_file():
        raise RangeError(f"read: --out {out} is a file; expected a folder, which is made if it is not there.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise RangeError(f"read: {out} is not empty. Choose another --out, or give --overwrite to replace it.")
    from .subjects import KINDS

    if not (out / "assets" / "reading.css").is_file():
        raise RangeError(
            f"read: {out} holds something else than such pages, and --overwrite would delete it. Choose another --out."
        )
    others = sorted({path.name for path in out.iterdir()} - {"index.html", "assets", *KINDS})
    if others:
        raise RangeError(
            f"read: {out} holds {others[0]!r} beside such pages, and --overwrite would delete it. Move it, or choose another --out."
        )


def take_place(made, out):
    """Put the new folder where the old one is; if that fails, the old one is there as before."""
    if not out.exists():
        os.replace(made, out)
        return
    old = made.with_suffix(".old")
    os.replace(out, old)
    try:
        os.replace(made, out)
    except OSError:
        os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
