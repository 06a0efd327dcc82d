"""Looking at a computation step by step: the tape as data, text and pages; the anatomy of an optimizer; finding NaN."""

from .anatomy import StepExplanation, explain_step
from .finding import find_nan
from .trace import Trace, trace

__all__ = ["StepExplanation", "Trace", "explain_step", "find_nan", "trace"]
