"""Clean examples, the same with noise, and what was made of that."""

import numpy as np

from .examples import draw_image, is_images
from .figure import new_figure, save_figure


def draw_denoised(rows, path, note=""):
    """Rows of examples under each other, as many as fit side by side, about ten.

    ``rows`` is a list of (label, examples (N, ...), a short text for each example or None). (N, H, W), (N, H, W, 1) are
    drawn as images from 0 (black) to 1 (white), (N, H, W, 3 or 4) as colours; all else as curves over the index of the
    number, one scale for all.
    """
    rows = [(label, np.asarray(examples), texts) for label, examples, texts in rows]
    first = rows[0][1]
    are_images, texted = is_images(first.shape), any(texts for _, _, texts in rows)
    low, high = min(x.min() for _, x, _ in rows), max(x.max() for _, x, _ in rows)
    width = (1.0 if are_images else 1.4) * max(len(first), 3) + 2.2
    figure = new_figure(width, (1.25 if texted else 1.05) * len(rows) + 0.6)
    axes = figure.subplots(len(rows), len(first), squeeze=False)
    for row, (label, examples, texts) in enumerate(rows):
        for i, (axis, example) in enumerate(zip(axes[row], examples)):
            if are_images:
                draw_image(axis, example)
            else:
                axis.plot(example.ravel(), linewidth=1, color=f"C{row}")
                axis.set(ylim=(low, high + 1e-9))
            axis.set(xticks=[], yticks=[])
            if texts:
                axis.set_xlabel(texts[i], fontsize=8, labelpad=2)
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    figure.suptitle(note, fontsize=11)
    save_figure(figure, path)
