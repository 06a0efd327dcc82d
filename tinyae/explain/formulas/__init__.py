"""Formulas as data: read from LaTeX, computed by an evaluator of their own, written out with numbers."""
