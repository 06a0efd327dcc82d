"""The source beside the maths: pages made from docstrings, formulas and the code itself, by ``tinyae read``."""

from .writing import write_pages

__all__ = ["write_pages"]
