"""The command line, ``tinyae``."""

from .entry import main

__all__ = ["main"]
