"""A figure and the file it is written to. Matplotlib is imported only here."""

import io

from ..errors import missing_library
from ..files import write_whole


def new_figure(width, height):
    """A Matplotlib figure that needs no screen and touches no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_library("drawing", "matplotlib") from error
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def save_figure(figure, path):
    """Write a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())
