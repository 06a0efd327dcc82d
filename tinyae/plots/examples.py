"""Examples beside what a model makes of them."""

import numpy as np

from .figure import new_figure, save_figure


def draw_reconstructions(originals, reconstructions, path, note=""):
    """Originals over their reconstructions, as many as fit side by side, about ten.

    Shapes: two arrays (N, ...). (N, H, W), (N, H, W, 1) are drawn as images from 0 (black) to 1 (white),
    (N, H, W, 3 or 4) as colours; all else as curves over the index of the number, one scale for all.
    """
    originals, reconstructions = np.asarray(originals), np.asarray(reconstructions)
    are_images = is_images(originals.shape)
    figure = new_figure((1.0 if are_images else 1.4) * len(originals) + 1.6, 2.7)
    axes = figure.subplots(2, len(originals), squeeze=False)
    low, high = (0, 1) if are_images else (min(originals.min(), reconstructions.min()), originals.max())
    for row, (label, examples) in enumerate([("original", originals), ("reconstruction", reconstructions)]):
        for axis, example in zip(axes[row], examples):
            if are_images:
                draw_image(axis, example)
            else:
                axis.plot(example.ravel(), linewidth=1, color=f"C{row}")
                axis.set(ylim=(low, high + 1e-9))
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    figure.suptitle(note, fontsize=11)
    save_figure(figure, path)


def is_images(shape):
    """Is an array (N, ...) of this shape a batch of images?"""
    return (len(shape) == 4 and shape[3] in (1, 3, 4)) or (len(shape) == 3 and min(shape[1:]) > 1)


def draw_image(axis, image):
    """One image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with values from 0 to 1."""
    image = np.clip(np.squeeze(image, axis=2) if image.ndim == 3 and image.shape[2] == 1 else image, 0, 1)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def draw_confusion(matrix, path, note=""):
    """A confusion matrix (classes, classes): rows what it is, columns what it was taken for."""
    figure = new_figure(5.6, 5.2)
    axis = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count and len(matrix) <= 20:
            colour = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    ticks = range(len(matrix)) if len(matrix) <= 20 else []
    axis.set(
        xlabel="what it was taken for",
        ylabel="what it is",
        title=f"{note}\nnumbers: how many; colour: share of the row",
        xticks=ticks,
        yticks=ticks,
    )
    save_figure(figure, path)
