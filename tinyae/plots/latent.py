"""What a model makes up: drawn examples, a walk between two, and the plane of a code of two numbers."""

import numpy as np

from .examples import draw_image, is_images
from .figure import new_figure, save_figure

ACROSS = 10  # examples side by side
WIDTH = 9.6  # inches
HEADING = 0.45
MOST_CLASSES = 20  # that colours tell apart
LINES = "#3b6ea5"


def draw_generated(path, note="", samples=None, interpolation=None, plane=None):
    """Any of these, one below the other. Returns the figure; with ``path`` None it is not written.

    Parameters
    ----------
    samples : (title, array (N, ...))
    interpolation : (title, array (N, ...))
    plane : dict, with the arguments of ``draw_plane``
    """
    rows = [pair for pair in (samples, interpolation) if pair is not None]
    heights = [
        HEADING + n * WIDTH / max(ACROSS, across) for n, across in (tiled(len(examples)) for _, examples in rows)
    ]
    heights += [] if plane is None else [WIDTH / 2 + HEADING]
    figure = new_figure(WIDTH, sum(heights) + HEADING)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (title, examples) in zip(parts, rows):
        draw_examples(part, title, np.asarray(examples))
    if plane is not None:
        draw_plane(parts[-1], **plane)
    figure.suptitle(note, fontsize=12)
    if path is not None:
        save_figure(figure, path)
    return figure


def tiled(n):
    """Rows and columns for n examples."""
    columns = n if n <= 1.5 * ACROSS else ACROSS if n <= 6 * ACROSS else int(np.ceil(np.sqrt(2 * n)))
    return -(-n // columns), columns


def draw_examples(figure, title, examples):
    """Examples (N, ...) as images or, if they are none, as curves with one scale."""
    axes = figure.subplots(*tiled(len(examples)), squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    low, high = float(examples.min()), float(examples.max())
    for axis, example in zip(axes.flat, examples):
        if is_images(examples.shape):
            draw_image(axis, example)
        else:
            axis.plot(example.ravel(), linewidth=1)
            axis.set(ylim=(low, high + 1e-9))
        axis.set(xticks=[], yticks=[])
    for axis in axes.flat[len(examples) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)


def draw_plane(figure, pictures, first, second, codes, labels, about):
    """The plane of a code of two numbers: on the left what it is decoded to, on the right where examples lie.

    Parameters
    ----------
    pictures : array (side, side, H, W) or (side, side, H, W, channels)
    first, second : arrays (side,)
        The code's numbers along the columns, and down the rows.
    codes : array (N, 2)
        Of the examples.
    labels : int array (N,) or None
    about : str
        What the examples are.
    """
    left, right = figure.subplots(1, 2)
    side, (height, width) = len(first), pictures.shape[2:4]
    tiles = pictures if pictures.ndim == 5 else pictures[..., None]
    draw_image(left, tiles.transpose(0, 2, 1, 3, 4).reshape(side * height, side * width, -1))
    for k in range(1, side):
        left.axhline(k * height - 0.5, color=LINES, linewidth=0.5)
        left.axvline(k * width - 0.5, color=LINES, linewidth=0.5)
    shown = np.unique(np.linspace(0, side - 1, 5).round().astype(int))
    left.set_title("the plane, decoded", fontsize=10)
    left.set(
        xlabel="first number of the code",
        ylabel="second number of the code",
        xticks=(shown + 0.5) * width - 0.5,
        xticklabels=[f"{first[i]:.2g}" for i in shown],
        yticks=(shown + 0.5) * height - 0.5,
        yticklabels=[f"{second[i]:.2g}" for i in shown],
    )
    scatter_codes(right, codes, labels)
    right.plot(
        [first[0], first[-1], first[-1], first[0], first[0]],
        [second[0], second[0], second[-1], second[-1], second[0]],
        color="0.3", linewidth=1, linestyle="--",
    )  # fmt: skip
    right.set_title(f"the codes of {about}\n(dashed: what the left shows)", fontsize=10)
    right.set(xlabel="first number of the code", ylabel="second number of the code")
    right.set_box_aspect(1)


def scatter_codes(axis, codes, labels):
    """Codes (N, 2) as points, one colour for each label, its name where its points are densest."""
    classes = [] if labels is None else np.unique(labels)
    dots = {"s": 4 if len(codes) > 1000 else 16, "alpha": 0.5, "linewidths": 0}
    if not 0 < len(classes) <= MOST_CLASSES:
        axis.scatter(*codes.T, **dots)
        return
    colours = "tab10" if len(classes) <= 10 else "tab20"
    where = np.searchsorted(classes, labels)
    axis.scatter(*codes.T, c=where, cmap=colours, vmin=-0.5, vmax=9.5 if len(classes) <= 10 else 19.5, **dots)
    for i, name in enumerate(classes):
        place = np.median(codes[where == i], axis=0)
        axis.text(*place, str(name), ha="center", va="center", fontsize=10, weight="bold",
                  bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75})  # fmt: skip
