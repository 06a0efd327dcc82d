"""What the commands do: train, resume, evaluate, reconstruct, inspect, compare."""

from .comparing import compare, comparison_table
from .evaluating import evaluate, report_evaluation
from .inspecting import inspect
from .reporting import report, report_inspection
from .training import resume, train
from .using import reconstruct

__all__ = ["compare", "comparison_table", "evaluate", "inspect", "reconstruct", "report", "report_evaluation",
           "report_inspection", "resume", "train"]  # fmt: skip
