"""What the commands do: train, resume, evaluate, reconstruct, inspect, compare, anomalies."""

from .anomalies import anomalies, report_anomalies
from .comparing import compare, comparison_table
from .inspecting import inspect
from .reporting import report, report_evaluation, report_inspection
from .training import resume, train
from .using import evaluate, reconstruct

__all__ = ["anomalies", "compare", "comparison_table", "evaluate", "inspect", "reconstruct", "report", "report_anomalies", "report_evaluation",
           "report_inspection", "resume", "train"]  # fmt: skip
