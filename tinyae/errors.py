"""The errors tinyae raises, and the few checks that every public function shares.

Each message names the operation, what was given, what was expected, and the cure. Every class is
also the built-in exception a Python programmer would expect, so ``except ValueError`` works.
"""

import math
import numbers
import operator
import os
import sys
import warnings

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class TinyaeError(Exception):
    """The parent of every error that tinyae raises on purpose."""


class ShapeError(TinyaeError, ValueError):
    """Shapes or ranks that do not fit together."""


class DtypeError(TinyaeError, TypeError):
    """A kind of number, or a kind of object, that the operation does not take."""


class RangeError(TinyaeError, ValueError):
    """A value outside the range in which the operation means something."""


class BackendError(TinyaeError, RuntimeError):
    """An array library that is missing, has no device, or is mixed with another one."""


class TapeError(TinyaeError, RuntimeError):
    """A gradient that the tape cannot give, or would give wrongly."""


class NotFiniteError(TinyaeError, ArithmeticError):
    """A NaN or an infinity, found where it arose."""


class FileWriteError(TinyaeError, OSError):
    """A file or folder that cannot be written."""


class StateError(TinyaeError, ValueError):
    """A state dict that does not fit the model or optimizer it is loaded into."""


class ModelFileError(TinyaeError, ValueError):
    """A model file that is damaged, of another version, or not ours."""


class DataFileError(TinyaeError, ValueError):
    """A data file or folder that is missing, damaged, or not what it should be."""


class DownloadError(TinyaeError, OSError):
    """Data that are neither on this machine nor to be had from any mirror."""


class TrainingError(TinyaeError, RuntimeError):
    """A training run that cannot go on, such as one whose loss became NaN; ``history`` has its whole epochs."""

    history = None


class OutOfMemoryError(TinyaeError, MemoryError):
    """A step that needs more memory than is at hand, refused before it is begun."""


class MissingLibraryError(TinyaeError, ImportError):
    """An optional library that is not installed."""


def known_name(kind, given, table):
    """The name as it stands in the table (upper and lower case are one), or the error that lists the names."""
    if isinstance(given, str):
        for name in table:
            if name.lower() == given.lower():
                return name
    raise unknown(kind, given, table)


def lookup(kind, given, table):
    """What the table has under that name."""
    return table[known_name(kind, given, table)]


def brief(value):
    """A value for an error message: what it is, and not all of its numbers."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype} with shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def unknown(kind, given, known):
    """The error for a name that is not in a table; the known names stand nearest first."""
    import difflib

    names = sorted(known)
    if isinstance(given, str):
        close = difflib.get_close_matches(given.lower(), names, n=len(names), cutoff=0.0)
        names = close + [name for name in names if name not in close]
        given = repr(given)
    else:
        given = f"{brief(given)}, a {type(given).__name__}"
    return RangeError(f"unknown {kind} {given}. Known, nearest first: {', '.join(names)}.")


def require_number(owner, name, value, *, above=None, at_least=None, below=None, at_most=None):
    """Check a hyperparameter and return it as a float; NaN and infinity are refused."""
    try:  # NumPy's scalars register as numbers, its bools do not
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        number = float("inf")
    limits = [
        (above, "> {}", lambda bound: number > bound),
        (at_least, ">= {}", lambda bound: number >= bound),
        (below, "< {}", lambda bound: number < bound),
        (at_most, "<= {}", lambda bound: number <= bound),
    ]
    limits = [(text.format(bound), holds(bound)) for bound, text, holds in limits if bound is not None]
    finite = math.isfinite(number)
    if not finite or not all(holds for _, holds in limits):
        wanted = " and ".join(text for text, _ in limits)
        raise RangeError(f"{owner}: {name} is {brief(value)}; expected a finite number {wanted}".rstrip() + ".")
    return number


def require_integer(owner, name, value, *, at_least):
    """Check a count (epochs, sizes, seeds) and return it as an int."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < at_least:
        raise RangeError(f"{owner}: {name} is {brief(value)}; expected an integer >= {at_least}.")
    return number


def require_list(owner, name, values, kind):
    """Check a list (or tuple) of objects of one class, and return it as a list."""
    values = list(values) if isinstance(values, (list, tuple)) else values
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise DtypeError(
            f"{owner}: {name} is {brief(values)}; expected a list of {kind.__name__} objects (made, as in {kind.__name__}(...))."
        )
    return values


def warn(message, category):
    """A warning that points to the user's line: the innermost one outside of this package."""
    frame, level = sys._getframe(), 1
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def missing_library(needed_for, library):
    """The error for an optional library that is not installed."""
    return MissingLibraryError(
        f"{needed_for} needs {library}, which is not installed. Install it with: pip install {library}"
    )
