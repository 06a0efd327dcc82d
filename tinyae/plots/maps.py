"""Codes as points of a plane, coloured by label."""

import numpy as np

from .figure import new_figure, save_figure

MOST_NAMED = 20  # classes that get a colour and a name of their own


def draw_code_maps(panels, labels, path, note=""):
    """Maps side by side.

    ``panels`` is a list of (title, points (N, 2), (name of the x axis, name of the y axis) or None where axes mean
    nothing). ``labels`` are integers (N,), or None: then all points have one colour.
    """
    figure = new_figure(5.6 * len(panels) + (0.9 if labels is not None else 0), 5.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    classes = [] if labels is None else np.unique(labels)
    size = float(np.clip(9000 / max(1, len(panels[0][1])), 3, 30))
    colours = class_colours(len(classes))
    shown = None
    for axis, (title, points, names) in zip(axes, panels):
        if labels is None:
            axis.scatter(*points.T, s=size, color="C0", alpha=0.7, linewidths=0)
        elif len(classes) > MOST_NAMED:
            shown = axis.scatter(*points.T, s=size, c=labels, cmap="viridis", alpha=0.8, linewidths=0)
        else:
            order = np.random.default_rng(0).permutation(len(points))  # no class lies on top of all others
            place = np.searchsorted(classes, labels)
            axis.scatter(*points[order].T, s=size, color=colours[place[order]], alpha=0.8, linewidths=0)
            for colour, value in zip(colours, classes):
                middle = np.median(points[labels == value], axis=0)
                axis.text(*middle, str(value), fontsize=12, weight="bold", ha="center", va="center", color="black",
                          bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85})  # fmt: skip
        axis.set_title(title, fontsize=10)
        if names is None:
            axis.set(xticks=[], yticks=[], xlabel="axes and scale mean nothing here; who is near whom does")
        else:
            axis.set(xlabel=names[0], ylabel=names[1])
            axis.set_aspect("equal", adjustable="datalim")  # distances can be seen
            axis.grid(alpha=0.3)
    if shown is not None:
        figure.colorbar(shown, ax=list(axes), label="label", shrink=0.8)
    elif labels is not None:
        dots = [
            axes[-1].scatter([], [], s=30, color=colour, label=str(value)) for colour, value in zip(colours, classes)
        ]
        figure.legend(handles=dots, loc="outside right center", title="label")
    figure.suptitle(note, fontsize=11)
    save_figure(figure, path)


def class_colours(count):
    """A colour for each of up to MOST_NAMED classes, (count, 4)."""
    from matplotlib import colormaps

    return np.array([colormaps["tab10" if count <= 10 else "tab20"](i) for i in range(min(count, MOST_NAMED))]).reshape(
        -1, 4
    )
