"""What the commands do: train, resume, evaluate, reconstruct, inspect, compare."""

from .comparing import compare, comparison_table
from .inspecting import inspect
from .reporting import report, report_evaluation, report_inspection
from .text import search_text, text_report
from .training import resume, train
from .using import evaluate, reconstruct

__all__ = ["compare", "comparison_table", "evaluate", "inspect", "reconstruct", "report", "report_evaluation",
           "report_inspection", "resume", "search_text", "text_report", "train"]  # fmt: skip
