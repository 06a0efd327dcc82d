"""Pictures of training and of what was learnt, drawn with Matplotlib, which is imported only here."""

import io

import numpy as np

from .errors import missing_library
from .files import write_whole


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


# ---------------------------------------------------------------- examples


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


# ---------------------------------------------------------------- histories


def draw_loss(history, path, loss_name, baselines=(), title=""):
    """Training and held-out loss by epoch; baselines [(label, value), ...] as dashed lines. Returns the figure.

    With ``path`` None it is not written.
    """
    figure = new_figure(7, 4.2)
    axis = figure.subplots()
    epochs = [record["epoch"] for record in history.records]
    for name, label, colour in (
        ("loss", "training, mean during the epoch", "C0"),
        ("val_loss", "held out, after the epoch", "C1"),
    ):
        if name in history:
            values = history[name]
            marker = "o" if len(values) == 1 else None
            axis.plot(epochs, values, label=f"{label}: last {values[-1]:.4f}", color=colour, marker=marker)
    lowest = min(min(history[name]) for name in ("loss", "val_loss") if name in history)
    for label, value in baselines:  # named on the line itself, at its right end
        if value < lowest / 100:
            continue  # as good as 0, for data that a simple predictor knows by heart: it would flatten all else
        axis.axhline(value, linestyle="--", linewidth=1, color="0.35")
        axis.text(0.99, value, f"{label}: {value:.4f}", transform=axis.get_yaxis_transform(), ha="right", va="bottom")
    style_epochs(axis, title, loss_name, all(record["loss"] > 0 for record in history.records))
    axis.legend(loc="upper right", bbox_to_anchor=(0.995, 0.8))
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_comparison(panels, path, title=""):
    """Held-out losses of several runs, one panel per loss.

    ``panels`` is a list of (loss name, {run: [held-out loss after each epoch]}); a run has one colour in
    all panels, and its name stands at the end of its line.
    """
    figure = new_figure(6.2 * len(panels), 4.4)
    names = list(dict.fromkeys(name for _, runs in panels for name in runs))
    for axis, (loss_name, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        ends = []
        for name, values in runs.items():
            if not values:
                continue
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, color=f"C{names.index(name)}", marker="o" if len(values) == 1 else None)
            ends.append((values[-1], len(values), name))
        # a run that begins wildly is cut off, so that the others can be told apart
        every = [value for values in runs.values() for value in values]
        axis.set_ylim(0.95 * min(every), 1.1 * np.percentile(every, 97))
        style_epochs(axis, "", loss_name, True)
        label_ends(figure, axis, ends, names)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def label_ends(figure, axis, ends, names):
    """Write each line's name at its end, moved apart where they would cover each other."""
    figure.draw_without_rendering()
    height, last = axis.get_window_extent().height, -np.inf
    for value, epoch, name in sorted(ends):
        place = axis.transAxes.inverted().transform(axis.transData.transform((epoch, value)))
        last = max(place[1], last + figure.dpi * 0.17 / height)
        axis.annotate(
            f"{name} {value:.4f}", xy=(epoch, value), xytext=(1.02, last), textcoords="axes fraction", va="center",
            color=f"C{names.index(name)}", annotation_clip=False, fontsize=9,
        )  # fmt: skip


def style_epochs(axis, title, loss_name, log):
    """Epochs along, a loss upwards, both readable."""
    axis.set(title=title, xlabel="epoch", ylabel=loss_name)
    if log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="y", which="minor", labelsize=8)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.grid(alpha=0.3, which="both")
