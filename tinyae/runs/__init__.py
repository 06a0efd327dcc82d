"""What the commands do, one file each: train, resume, compare, evaluate, and what a trained model is used for."""

from .anomalies import find_anomalies, report_anomalies
from .comparing import compare, comparison_table
from .compressing import compress, decompress, report_compression, report_decompression
from .denoising import denoise, report_denoising
from .descending import descend_run, descend_table
from .evaluating import evaluate, report_evaluation
from .explaining import explain, report_explanation
from .inspecting import inspect
from .maps import map_run, report_map
from .overfitting import overfit, overfitting_table
from .rates import rates, rates_table
from .reporting import report, report_inspection
from .searching import report_search, search
from .text import search_text, text_report
from .training import resume, train
from .using import reconstruct

__all__ = [
    "compare", "comparison_table", "compress", "decompress", "denoise", "descend_run", "descend_table", "evaluate", "explain", "find_anomalies", "inspect",
    "map_run", "overfit", "overfitting_table", "rates", "rates_table", "reconstruct", "report", "report_anomalies",
    "report_compression", "report_decompression", "report_denoising", "report_evaluation", "report_explanation", "report_inspection",
    "report_map", "report_search", "resume", "search", "search_text", "text_report", "train",
]  # fmt: skip
