"""Files that are written whole or not at all."""

import os


def write_whole(path, content):
    """Write bytes or text under a temporary name, flush it to the disk, then rename it into place.

    Whatever happens on the way (Ctrl-C, a full disk, a crash), ``path`` holds the old content or the
    new one, never a part. An OSError keeps its kind and names the path.
    """
    import tempfile  # here, not above: `import tinyae` stays fast
    from pathlib import Path

    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
