"""Downloads that can be trusted: gone on with after a break, checked, and put in place only when whole.

The transfer itself is pooch's; this file adds the going on, the mirrors and the check.
"""

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress

from ..errors import DataFileError, DownloadError, FileWriteError, missing_library
from ..files import flush_folder, locked

TIMEOUT = (10, 30)  # seconds to wait for a connection, and for the next bytes
CHUNK = 1 << 16  # bytes taken at once
WINDOWS = os.name == "nt"  # where an open file can be neither renamed nor removed


class UnfitAnswerError(Exception):
    """A server's answer that does not go on where the partial file ends."""


def fetch(urls, path, check):
    """Download one file from the first mirror that has it.

    The bytes gather in ``path.partial``. A broken connection or Ctrl-C leaves them there, and the
    next try goes on where they end, from the same mirror or another. Only content that passes the
    check is renamed to ``path``; wrong content is thrown away.

    Parameters
    ----------
    urls : list of str
        The mirrors, in the order to try them.
    path : str
        Where the file goes, in a folder that exists; an old file there is replaced.
    check : function(bytes)
        Raises DataFileError if the whole content is not what it should be.

    Returns
    -------
    What ``check`` returned.

    Raises
    ------
    DownloadError
        No mirror gave the file; says why for each.
    FileWriteError
        The disk is full, or the folder is not to be written to.
    MissingLibraryError
        pooch is not installed.
    """
    try:
        import pooch  # noqa: F401 (used by ``download``)
        from requests import RequestException
    except ImportError as error:
        raise missing_library("downloading a data set", "pooch") from error
    failures = []
    try:
        with partial_file(path) as file:
            for url in urls:
                try:
                    result = from_mirror(url, file, check)
                except (RequestException, UnfitAnswerError, ValueError) as error:
                    failures.append(f"{url} ({reason(error)})")
                    continue
                file.flush()
                os.fsync(file.fileno())
                if WINDOWS:
                    file.close()
                os.replace(file.name, path)  # before the lock is given up
                flush_folder(os.path.dirname(path))
                return result
    except OSError as error:  # not the network's: those are caught above
        raise FileWriteError(
            f"cannot write {path}: {error.strerror or error}. Make room or get leave to write there, then run again."
        ) from error
    raise DownloadError("; ".join(failures))


def from_mirror(url, file, check):
    """What ``check`` makes of the content, after as much of the file as is missing has been downloaded."""
    start = file.seek(0, os.SEEK_END)
    try:
        start = download(url, file, start)
        file.seek(0)
        return check(file.read())
    except (UnfitAnswerError, DataFileError):
        file.truncate(0)
        if start == 0:
            raise
    # the beginning came from an earlier try, perhaps from another mirror: once more, all from this one
    return from_mirror(url, file, check)


def download(url, file, start):
    """Append what the server has from byte ``start`` on.

    Returns
    -------
    int
        Where the server's bytes begin in the file: ``start``, or 0 if it sent the file from its beginning.
    """
    import pooch

    bar = Bar(url)
    headers = {"Accept-Encoding": "identity"}  # the file as it is: compressed once more, it could not be gone on with
    if start:
        headers["Range"] = f"bytes={start}-"

    def fit(answer, **_):
        nonlocal start
        if answer.status_code == 200:
            start = 0
        elif start and answer.status_code == 206:
            given = answer.headers.get("Content-Range", "nothing")
            if not given.startswith(f"bytes {start}-") or "Content-Encoding" in answer.headers:
                raise UnfitAnswerError(f"asked for the bytes from {start} on, it sent {given}")
        elif start and answer.status_code == 416:
            raise UnfitAnswerError(f"it has no bytes from {start} on")
        else:
            return  # a redirect, or an error that pooch raises
        file.truncate(start)
        bar.start = start

    try:
        pooch.HTTPDownloader(
            progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT, headers=headers, hooks={"response": fit}
        )(url, file, None)
    finally:
        bar.close()
    return start


@contextmanager
def partial_file(path):
    """The file ``path.partial``, opened to be read and written on.

    While another process writes it, a file of our own instead, which is removed at the end.
    """
    own = None
    file = open(f"{path}.partial", "a+b")  # noqa: SIM115 (closed below)
    if not locked(file):
        file.close()
        handle, own = tempfile.mkstemp(suffix=".partial", dir=os.path.dirname(path))
        os.close(handle)
        file = open(own, "a+b")  # noqa: SIM115
    try:
        yield file
    finally:
        useless = own is not None or not file.closed and os.fstat(file.fileno()).st_size == 0
        if WINDOWS:
            file.close()
        if useless:
            with suppress(OSError):
                os.unlink(file.name)
        file.close()


def reason(error):
    """Why a mirror failed, in a few words."""
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"HTTP {answer.status_code} {answer.reason}"
    inner = error.args[0] if error.args else error  # urllib3 keeps the cause inside, in one of two places
    causes = [getattr(inner, "reason", None), *getattr(inner, "args", ())[-1:]]
    inner = next((cause for cause in causes if isinstance(cause, Exception)), inner)
    text = str(inner)
    if isinstance(inner, Exception) and ": " in text:
        text = text.split(": ", 1)[1]  # without the name of a connection object
    return text if len(text) <= 200 else f"{text[:197]}..."


class Bar:
    """What pooch reports its progress to: a bar on a terminal or in a notebook, one line in a pipe or a log file."""

    def __init__(self, url):
        self.url, self.start, self.bar = url, 0, None
        notebook = "ipykernel" in sys.modules
        self.draws = False
        with suppress(OSError, ValueError):  # a closed pipe
            self.draws = sys.stderr is not None and (notebook or sys.stderr.isatty())
        # a terminal that reports its size as 0 x 0, as some containers do, would show nothing
        self.columns = None if notebook else shutil.get_terminal_size().columns
        if sys.stderr is not None and not self.draws:
            with suppress(OSError, ValueError):
                print(f"downloading {url}", file=sys.stderr, flush=True)

    @property
    def total(self):
        """Bytes of the whole file; pooch sets what the answer says it brings."""
        return None if self.bar is None else self.bar.total

    @total.setter
    def total(self, size):
        if self.draws:
            from tqdm.auto import tqdm

            self.bar = tqdm(
                desc=f"downloading {self.url.rpartition('/')[2]}", total=self.start + size if size else None,
                initial=self.start, unit="B", unit_scale=True, ncols=self.columns,
            )  # fmt: skip

    def update(self, size):
        """So many bytes more; pooch counts the last piece, and at the end the whole, as more than there is."""
        if self.bar is not None:
            self.bar.update(size if self.bar.total is None else min(size, self.bar.total - self.bar.n))

    def reset(self):
        """Pooch would count anew at the end, to fill the bar; ``update`` fills it."""

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
