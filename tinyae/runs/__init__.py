"""What the commands do: train, resume, evaluate, reconstruct, inspect, compare, map, search."""

from .comparing import compare, comparison_table
from .evaluating import evaluate, report_evaluation
from .inspecting import inspect
from .maps import map_run, report_map
from .reporting import report, report_inspection
from .searching import report_search, search
from .training import resume, train
from .using import reconstruct

__all__ = [
    "compare",
    "comparison_table",
    "evaluate",
    "inspect",
    "map_run",
    "reconstruct",
    "report",
    "report_evaluation",
    "report_inspection",
    "report_map",
    "report_search",
    "resume",
    "search",
    "train",
]
