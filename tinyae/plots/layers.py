"""What a model has learnt and what it computes: the first layer's weights as images, the outputs of all layers."""

import numpy as np

from .examples import draw_image, is_images
from .figure import new_figure, save_figure

LARGEST = 64  # weights that are drawn
DIVERGING = "RdBu_r"  # white is 0
OF_MAPS = "Each small image is one channel: black is 0, white the layer's largest number; or red above 0, blue below."
OF_UNITS = "Each bar is one unit."


def draw_filters(filters, path, note=""):
    """Weights as images, all with one scale around 0. Returns the figure; with ``path`` None it is not written.

    Shapes: (K, H, W, C). With C = 1 red is positive and blue negative; with C = 3 they are drawn in colours, grey being
    0; else each channel is an image of its own. The first LARGEST are drawn.
    """
    filters = np.asarray(filters)
    in_colour = filters.shape[3] == 3
    if filters.shape[3] == 1 or in_colour:
        pictures = [(str(k), image) for k, image in enumerate(filters)]
    else:
        pictures = [(f"{k}, channel {c}", f[..., c : c + 1]) for k, f in enumerate(filters) for c in range(f.shape[2])]
    drawn = pictures[:LARGEST]
    most = max(float(np.abs(filters).max()), 1e-12)
    columns = min(8, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = new_figure(1.05 * columns + 1.2, 1.15 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False)
    shown = None
    for axis, (label, image) in zip(axes.flat, drawn):
        if in_colour:
            axis.imshow(np.clip(0.5 + image / (2 * most), 0, 1), interpolation="nearest")
        else:
            shown = axis.imshow(image[..., 0], cmap=DIVERGING, vmin=-most, vmax=most, interpolation="nearest")
        axis.set_title(label, fontsize=8, pad=2)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis in list(axes.flat)[len(drawn) :]:
        axis.set_visible(False)
    if shown is not None:
        figure.colorbar(shown, ax=axes, label="weight", shrink=min(1.0, 2.5 / rows), aspect=20)
    else:
        note += "\ncolours: the weights of red, green and blue; grey is 0"
    if len(drawn) < len(pictures):
        note += f" (the first {len(drawn)} of {len(pictures)})"
    figure.suptitle(note, fontsize=11)
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_maps(rows, path, note=""):
    """What the layers make of one example. Returns the figure; with ``path`` None it is not written.

    ``rows`` is {name: [(title, array), ...]}: one row for the encoder, one for the decoder. An array (H, W, C) is
    drawn as C images side by side with one scale from 0, or around 0 where there are negative values; one number for
    each unit, (D,), as bars. The first and the last of all are examples: (H, W, 1 or 3) from 0 to 1.
    """
    columns = max(map(len, rows.values()))
    figure = new_figure(2.35 * columns + 0.3, 2.95 * len(rows) + 0.8)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    ends = [next(iter(rows.values()))[0], list(rows.values())[-1][-1]]
    for line, (name, row) in zip(axes, rows.items()):
        for axis in line[len(row) :]:
            axis.set_visible(False)
        for axis, panel in zip(line, row):
            title, array = panel
            low, high = float(array.min()), float(array.max())
            size = " x ".join(map(str, array.shape))
            if any(panel is end for end in ends) and is_images((1, *array.shape)):
                draw_image(axis, array)
            elif array.ndim == 1:
                axis.bar(np.arange(len(array)), array, width=0.8 if len(array) <= 64 else 1.0, color="C0")
                axis.axhline(0, color="black", linewidth=0.6)
                axis.tick_params(labelsize=7)
                axis.set_box_aspect(1)
                size += " units"
            else:
                draw_grid(axis, array if array.ndim == 3 else array[..., None], low, high)
                size += f"\n{low:.2g} to {high:.2g}"
            if array.ndim > 1:
                axis.set(xticks=[], yticks=[])
            axis.set_title(f"{title}\n{size}", fontsize=9)
        line[0].set_ylabel(name, fontsize=12)
    figure.suptitle(note, fontsize=12)
    units = any(array.ndim == 1 for row in rows.values() for _, array in row)
    figure.supxlabel(OF_UNITS if units else OF_MAPS, fontsize=9)
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_grid(axis, maps, low, high):
    """Feature maps (H, W, C) as a square of images with lines between them, all with one scale."""
    fine = -(-24 // max(maps.shape[:2]))  # dots for a pixel, so that a line is thin beside the smallest map
    maps = maps.repeat(fine, axis=0).repeat(fine, axis=1)
    H, W, C = maps.shape
    columns = int(np.ceil(np.sqrt(C * H / W)))
    rows = -(-C // columns)
    gap = max(1, round(max(H, W) / 12))
    canvas = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap), np.nan)
    for c in range(C):
        top, left = (c // columns) * (H + gap), (c % columns) * (W + gap)
        canvas[top : top + H, left : left + W] = maps[..., c]
    axis.set_facecolor("#3b6ea5")
    if low >= 0:
        axis.imshow(canvas, cmap="gray", vmin=0, vmax=max(high, 1e-12), interpolation="nearest")
    else:
        most = max(-low, high)
        axis.imshow(canvas, cmap=DIVERGING, vmin=-most, vmax=most, interpolation="nearest")
