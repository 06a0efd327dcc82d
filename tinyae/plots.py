"""Pictures of a training run, drawn with Matplotlib, which is imported only here."""

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


def draw_reconstructions(originals, reconstructions, path, note=""):
    """Originals over their reconstructions, in one grey scale from 0 (black) to 1 (white).

    Shapes: two arrays (N, H, W, 1), as many as fit side by side, about ten.
    """
    figure = new_figure(1.0 * len(originals) + 1.6, 2.7)
    axes = figure.subplots(2, len(originals), squeeze=False)
    for row, (label, images) in enumerate([("original", originals), ("reconstruction", reconstructions)]):
        for axis, image in zip(axes[row], images):
            axis.imshow(np.asarray(image)[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    figure.suptitle(note, fontsize=11)
    save_figure(figure, path)


def draw_loss(history, path, loss_name, baselines=(), title=""):
    """Training and held-out loss by epoch; baselines [(label, value), ...] as dashed lines."""
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
    for label, value in baselines:  # named on the line itself, at its right end
        axis.axhline(value, linestyle="--", linewidth=1, color="0.35")
        axis.text(0.99, value, f"{label}: {value:.4f}", transform=axis.get_yaxis_transform(), ha="right", va="bottom")
    axis.set(title=title, xlabel="epoch", ylabel=loss_name, yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="y", which="minor", labelsize=8)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.grid(alpha=0.3, which="both")
    axis.legend(loc="upper right", bbox_to_anchor=(0.995, 0.8))
    save_figure(figure, path)
