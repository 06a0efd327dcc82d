"""Files that are written whole or not at all."""

import os

from .errors import FileWriteError


def write_whole(path, content):
    """Write bytes or text under a temporary name, flush it to the disk, then rename it into place.

    Whatever happens on the way (Ctrl-C, a full disk, a crash), ``path`` holds the old content or the
    new one, never a part.

    Raises
    ------
    FileWriteError
        The folder is missing, is not to be written to, or the disk is full.
    """
    import tempfile  # here, not above: `import tinyae` stays fast
    from pathlib import Path

    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    if not path.parent.is_dir():
        raise FileWriteError(f"cannot write {path}: there is no folder {path.parent}. Make it first.")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise FileWriteError(f"cannot write {path}: {error.strerror} (in the folder {path.parent}).") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            raise FileWriteError(
                f"cannot write {path}: {error.strerror or error}. What was there is unchanged."
            ) from error
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
