"""How good a trained model is: its reconstructions, its images, and what its code is good for."""

from .code_quality import cluster_codes, clustering_accuracy
from .mapping import map_codes
from .measuring import Evaluation, evaluate
from .neighbours import nearest

__all__ = ["Evaluation", "cluster_codes", "clustering_accuracy", "evaluate", "map_codes", "nearest"]
