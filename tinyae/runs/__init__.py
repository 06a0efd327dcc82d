"""What the commands do: train, resume, evaluate, reconstruct, inspect, compare, compress."""

from .comparing import compare, comparison_table
from .compressing import compress, decompress, report_compression, report_decompression
from .inspecting import inspect
from .rates import rates, rates_table
from .reporting import report, report_evaluation, report_inspection
from .training import resume, train
from .using import evaluate, reconstruct

__all__ = ["compare", "comparison_table", "compress", "decompress", "evaluate", "inspect", "rates", "rates_table",
           "reconstruct", "report", "report_compression", "report_decompression", "report_evaluation", "report_inspection",
           "resume", "train"]  # fmt: skip
