"""What a detector finds: the scores of all rows, and where the strangest ones are strange."""

import numpy as np

from .examples import draw_image, is_images
from .figure import new_figure, save_figure

DRAWN_ROWS = 12  # the strangest rows of a table
DRAWN_FEATURES = 16  # a table with more has only those drawn that are strangest
DRAWN_IMAGES = 8


def draw_scores(scores, threshold, path, labels=None, title=""):
    """How strange the rows are, as a histogram; right of the line they are called anomalies.

    Shapes: scores (N,), higher for normal, all below 0; they are drawn as strangeness, minus the score. labels (N,) bool, the
    known anomalies, or None.
    """
    figure = new_figure(7, 4.2)
    axis = figure.subplots()
    strange = np.maximum(-np.asarray(scores), 1e-12)
    low, high = strange.min(), strange.max()
    edges = np.geomspace(low, max(high, low * 1.001), 41)
    groups = [("all rows", np.ones(len(strange), bool), "C0")]
    if labels is not None:
        groups = [("normal", ~labels, "C0"), ("anomalies, by their labels", labels, "C3")]
    for name, which, colour in groups:
        axis.hist(strange[which], edges, color=colour, alpha=0.6, label=f"{name}: {which.sum():,}")
    line = f"threshold: {(strange > -threshold).sum():,} of {len(strange):,} rows lie right of it"
    axis.axvline(max(-threshold, low), color="black", linestyle="--", label=line)
    axis.set(xscale="log", xlabel="strangeness (minus the score)", ylabel="rows", title=title)
    axis.xaxis.set_major_formatter("{x:g}")
    if high < 30 * low:
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="minor", labelsize=8)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=1, frameon=False)
    save_figure(figure, path)


def draw_worst(examples, reconstructions, errors, names, path, title=""):
    """The strangest examples and where they are strange.

    Shapes: examples, reconstructions and errors alike, (N, ...); errors as ``AnomalyDetector.error_map`` has them, drawn as
    square roots. names are N texts. Images (N, H, W) or (N, H, W, C) are drawn over their reconstruction and their map of
    errors; all else as a table of rows and features.
    """
    if is_images(examples.shape):
        draw_worst_images(examples, reconstructions, errors, names, path, title)
    else:
        draw_worst_rows(examples.reshape(len(examples), -1), errors.reshape(len(errors), -1), names, path, title)


def draw_worst_images(examples, reconstructions, errors, names, path, title):
    """Each image, what the model makes of it, and where the two differ."""
    off = np.sqrt(errors if errors.ndim == 3 else errors.mean(axis=3))
    n = len(examples)
    figure = new_figure(1.15 * n + 2.4, 4.4)
    axes = figure.subplots(3, n, squeeze=False)
    shown = None
    for k in range(n):
        draw_image(axes[0, k], examples[k])
        draw_image(axes[1, k], reconstructions[k])
        shown = axes[2, k].imshow(off[k], cmap="inferno", vmin=0, vmax=off.max(), interpolation="nearest")
        axes[0, k].set_title(names[k], fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, label in zip(axes[:, 0], ("given", "reconstruction", "error map")):
        axis.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    figure.colorbar(shown, ax=axes[2], label="error, in units\nof the usual one", aspect=10, pad=0.01)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def draw_worst_rows(examples, errors, names, path, title):
    """A table: the rows that are strangest, the features in which they are, the values in the boxes."""
    off = np.sqrt(errors)
    features = np.arange(off.shape[1])
    if len(features) > DRAWN_FEATURES:
        features = np.sort(np.argsort(-off.max(axis=0), kind="stable")[:DRAWN_FEATURES])
        title += f"\nthe {DRAWN_FEATURES} of {off.shape[1]} features in which they are strangest"
    off, examples = off[:, features], examples[:, features]
    figure = new_figure(0.62 * len(features) + 3.2, 0.36 * len(off) + 1.8)
    axis = figure.subplots()
    most = max(4.0, min(20.0, float(off.max())))
    shown = axis.imshow(off, cmap="YlOrRd", vmin=0, vmax=most, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(examples):
        colour = "white" if off[row, column] > 0.65 * most else "black"
        axis.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color=colour)
    axis.set(xlabel="feature (counted from 0)", xticks=range(len(features)), yticks=range(len(off)))
    axis.set_xticklabels(features, fontsize=8)
    axis.set_yticklabels(names, fontsize=8)
    more = "max" if off.max() > most else "neither"
    figure.colorbar(shown, ax=axis, label="error, in units of the usual one", extend=more, pad=0.02)
    axis.set_title(title, fontsize=11)
    save_figure(figure, path)
