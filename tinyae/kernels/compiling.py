"""From a loop in Python to machine code: numba's options, the cache on disk, and what happens without.

Every kernel exists twice: for all cores and for one. Neither is compiled before it is first called, and
what is compiled is kept on disk. The folder's name holds a fingerprint of the loops' sources: numba itself
would notice a change of a kernel's own file only, not of what it calls.
"""

import hashlib
import inspect
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numba

from ..context import observing
from .threads import get_num_threads

# NaN and infinity keep their meaning; sums may be reordered, a product and a sum be rounded together
MATHS = {"contract", "reassoc", "arcp", "nsz", "afn"}
KEPT_FOR = 90 * 24 * 3600  # seconds
TEMPORARY = "tinyae-kernels-"  # and the user's number: a folder among those of all users
ONLY_PRANGE = {"comprehension": False, "reduction": False, "inplace_binop": False, "setitem": False, "numpy": False,
               "stencil": False, "fusion": False, "prange": True}  # fmt: skip


def inner(function):
    """Decorator for what kernels call: it becomes part of them.

    numba would compile it anew for every constant that it is called with; this once for all of a type.
    """
    compiled = numba.njit(fastmath=MATHS, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    if not numba.config.DISABLE_JIT:
        resolve = compiled.get_call_template
        compiled.get_call_template = lambda args, kws: resolve(tuple(map(numba.types.unliteral, args)), kws)
    return compiled


def merged(function):
    """Decorator for what one or two kernels call: its lines become lines of theirs.

    What ``inner`` makes is optimised for itself, and again with each function around it: for the largest that took as
    long as all else.
    """
    return numba.njit(inline="always", fastmath=MATHS, error_model="numpy")(function)


_lock = threading.Lock()  # numba's setting of the folder is changed for a moment; and one compilation is enough


class Kernel:
    """A loop, compiled for all cores and for one, each when it is first needed.

    The function's last argument is the number of parts that it cuts its work into.
    """

    def __init__(self, loop):
        self.loop, self.name, self.__doc__ = loop, loop.__name__, loop.__doc__
        self.parameters = list(inspect.signature(loop).parameters)
        self._on_all = self._on_one = None

    @property
    def on_all(self):
        """The function that works in several threads."""
        with _lock:
            if self._on_all is None:
                self._on_all = compiled(self.loop, ONLY_PRANGE, "all")
        return self._on_all

    @property
    def on_one(self):
        """The function that works in the calling thread."""
        with _lock:
            if self._on_one is None:
                self._on_one = compiled(self.loop, False, "one")
        return self._on_one

    @property
    def function(self):
        """The one of the two that is used now."""
        return (self._on_all or self.on_all) if get_num_threads() > 1 else (self._on_one or self.on_one)

    def __call__(self, *arguments):
        """Run it; the last argument is the number of parts."""
        observer = observing.get()
        if observer is not None:
            observer.note_kernel(self, arguments)
        self.function(*arguments)


def kernel(loop):
    """Decorator: make a Kernel of a loop over ``prange(parts)``."""
    return Kernel(loop)


def compiled(loop, parallel, kind):
    """numba's function for a loop, kept on disk if there is a place for it."""
    options = {"parallel": parallel, "fastmath": MATHS, "error_model": "numpy", "no_cfunc_wrapper": True}
    folder = cache_folder()
    if folder is None or numba.config.DISABLE_JIT:
        return numba.njit(**options)(loop)
    # numba asks for its folder where a function is decorated: it gets ours, and has its own back afterwards
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = os.path.join(folder, kind)
    try:
        function = numba.njit(cache=True, **options)(loop)
        forgive(function._cache)
        return function
    except (RuntimeError, OSError) as error:
        complain(error)
        return numba.njit(**options)(loop)
    finally:
        numba.config.CACHE_DIR = before


# ---------------------------------------------------------------- the cache on disk

_folder = None
_searched = False
_complained = False


def cache_folder():
    """The folder for compiled kernels, or None if nothing can be written anywhere; says so once.

    The first that can be written to: ``NUMBA_CACHE_DIR``, the user's cache folder, the system's temporary folder.
    """
    global _folder, _searched
    if not _searched:
        _searched = True
        tried = []
        for place in candidates():
            folder = place / fingerprint()
            try:
                is_new = not folder.exists()
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                if place.name.startswith(TEMPORARY):
                    refuse_others(place)
                folder.mkdir(exist_ok=True)
                if is_new:
                    remove_old(place)
                with tempfile.TemporaryFile(dir=folder):
                    _folder = str(folder)
                    break
            except OSError as error:
                tried.append(f"{place} ({error.strerror or error})")
        if tried:
            complain(f"no place in {', '.join(tried)}", _folder)
    return _folder


def refuse_others(place):
    """A folder that somebody else can write to may hold what they want us to run."""
    about = place.stat()
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o022):
        raise PermissionError(0, "it is another user's, or others can write to it", str(place))


def remove_old(place):
    """Remove kernels of older sources and other versions; a folder's time is that of its last new kernel."""
    for folder in place.glob("[0-9a-f]" * 16):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_FOR:
                shutil.rmtree(folder)


def forgive(cache):
    """Make the cache of a function go on where numba's would stop a training: a damaged file is made anew, a full disk told."""
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*arguments):
        try:
            return load(*arguments)
        except Exception:  # whatever unpickling a damaged file raises
            with suppress(OSError):
                cache.flush()
            return None

    def save_overload(*arguments):
        try:
            save(*arguments)
        except OSError as error:
            complain(error)

    cache.load_overload, cache.save_overload = load_overload, save_overload


def candidates():
    """Where compiled kernels may be kept, the best place first."""
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / "tinyae"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    yield Path(home) / "tinyae" / "kernels"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"{TEMPORARY}{user}"


def fingerprint():
    """A short hash of all that the kernels are made from."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def complain(reason, instead=None):
    """Say once that compiled kernels cannot be kept where they belong."""
    global _complained
    if _complained:
        return
    _complained = True
    then = f"They are kept in {instead}" if instead else "They are compiled anew in every run, which takes some seconds"
    warnings.warn(
        f"kernels: the cache of compiled kernels cannot be written: {reason}. {then}. "
        "Set NUMBA_CACHE_DIR to a folder that can be written to.",
        RuntimeWarning,
        stacklevel=2,
    )
