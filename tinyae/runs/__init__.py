"""What the commands do: train, resume, evaluate, reconstruct, compare."""

from .comparing import compare, comparison_table
from .reporting import report, report_evaluation
from .training import resume, train
from .using import evaluate, reconstruct

__all__ = ["compare", "comparison_table", "evaluate", "reconstruct", "report", "report_evaluation", "resume", "train"]
