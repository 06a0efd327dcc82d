"""Files that are written whole or not at all."""

import os
import threading
from contextlib import contextmanager, suppress

from .errors import FileWriteError


def write_whole(path, content, keep=None):
    """Write bytes or text, whole or not at all; arguments and errors as in ``writing``."""
    with writing(path, keep) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing(path, keep=None):
    """A file to write to, under a temporary name; flushed to the disk and renamed into place at the end.

    Whatever happens on the way (Ctrl-C, a full disk, a crash), ``path`` holds the old content or the
    new one, never a part. With ``keep`` the old file is renamed to that first, and so replaces what was
    called so.

    Raises
    ------
    FileWriteError
        The folder is missing, is not to be written to, or the disk is full.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        raise FileWriteError(f"cannot write {path}: there is no folder {folder}. Make it first.")
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        file = open(temporary, "xb")  # noqa: SIM115 (closed below, and removed if anything fails)
    except OSError as error:
        raise FileWriteError(f"cannot write {path}: {error.strerror} (in the folder {folder or '.'}).") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and os.path.exists(path):
            os.replace(path, keep)
        os.replace(temporary, path)
        flush_folder(folder or ".")
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, FileWriteError):
            raise FileWriteError(
                f"cannot write {path}: {error.strerror or error}. What was there is unchanged."
            ) from error
        raise


def flush_folder(folder):
    """Make a renaming last through a power cut; not every system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def locked(file):
    """Keep other processes from writing this file; False if one already does. Windows has no such lock."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    try:
        # between open and lock another process may have finished and renamed it
        return os.fstat(file.fileno()).st_ino == os.stat(file.name).st_ino
    except FileNotFoundError:
        return False
