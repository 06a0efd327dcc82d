"""What was searched for, and what was found."""

import numpy as np

from .examples import draw_image, is_images
from .figure import new_figure, save_figure

RIGHT, WRONG = "#1a7f37", "#b3261e"  # of a label that agrees, or does not


def draw_neighbours(query, rows, path, note=""):
    """One example, and rows of others, the nearest first.

    ``query`` is (title, example, label or None). ``rows`` is {name: [(example, label or None, distance), ...]}; each
    row has as many. Examples are (H, W), (H, W, 1) or (H, W, 3 or 4) from 0 to 1, drawn as images; all else as
    curves. Labels that agree with the query's are green, others red.
    """
    title, example, label = query
    columns = 1 + max(map(len, rows.values()))
    are_images = is_images((1, *np.shape(example)))
    found = [np.asarray(each) for row in rows.values() for each, _, _ in row]
    limits = min(np.min(each) for each in [example, *found]), max(np.max(each) for each in [example, *found])
    figure = new_figure((1.15 if are_images else 1.5) * columns + 1.2, 1.6 * len(rows) + 0.8)
    grid = figure.add_gridspec(len(rows), columns, width_ratios=[1.5, *[1] * (columns - 1)])
    axis = figure.add_subplot(grid[:, 0])
    draw_example(axis, example, are_images, limits)
    axis.set_title(title if label is None else f"{title}\nlabel {label}", fontsize=10)
    for line, (name, row) in enumerate(rows.items()):
        for place, (each, own, distance) in enumerate(row):
            axis = figure.add_subplot(grid[line, 1 + place])
            draw_example(axis, each, are_images, limits)
            colour = "black" if label is None or own is None else RIGHT if own == label else WRONG
            axis.set_title("" if own is None else str(own), fontsize=11, color=colour, pad=3)
            axis.set_xlabel(f"{distance:.3g}", fontsize=8)
            if place == 0:
                axis.set_ylabel(name, fontsize=10)
    figure.suptitle(note, fontsize=11)
    known = label is not None and any(own is not None for row in rows.values() for _, own, _ in row)
    colours = "its label (green: that of the query, red: another); " if known else ""
    figure.supxlabel(f"above each: {colours}below: its distance" if known else "below each: its distance", fontsize=9)
    save_figure(figure, path)


def draw_example(axis, example, as_image, limits):
    """An example as an image, or as a curve over the index of the number."""
    if as_image:
        draw_image(axis, np.asarray(example))
    else:
        axis.plot(np.ravel(example), linewidth=1, color="C0")
        axis.set_ylim(limits[0], limits[1] + 1e-9)
        axis.set_box_aspect(1)
    axis.set(xticks=[], yticks=[])
