"""Looking at a computation step by step: the tape as data, text and pages; the anatomy of an optimizer; finding NaN."""

from .finding import find_nan
from .trace import Trace, trace

__all__ = ["Trace", "find_nan", "trace"]
