"""What the commands do: train, resume, evaluate, reconstruct, denoise, inspect, compare."""

from .comparing import compare, comparison_table
from .denoising import denoise, report_denoising
from .inspecting import inspect
from .reporting import report, report_evaluation, report_inspection
from .training import resume, train
from .using import evaluate, reconstruct

__all__ = ["compare", "comparison_table", "denoise", "evaluate", "inspect", "reconstruct", "report", "report_denoising",
           "report_evaluation", "report_inspection", "resume", "train"]  # fmt: skip
