"""Rate-distortion curves: what an example costs in bits, and what error is left for it."""

import numpy as np

from .figure import new_figure, save_figure

COLOURS = {"autoencoder": "#1f5fbf", "pca": "#e07b1a", "JPEG": "0.45", "PNG": "0.2"}
NAMES = {"autoencoder": "autoencoder", "pca": "PCA, same quantiser and coder"}
PANELS = (("bits_per_example", "The files alone"), ("with_model", "The files, and the model that decodes them"))


def draw_rates(result, path=None):
    """Two panels, bits per example along and mean squared error upwards: without and with the model's bytes. Returns the figure.

    ``result`` is what ``runs.rates`` returns.
    """
    n, curves = result["examples"], result["curves"]
    figure = new_figure(13, 5.6)
    axes = figure.subplots(1, 2, sharey=True, sharex=True)
    errors = [point["mse"] for c in curves for point in c["points"] if point["mse"] > 1e-6]
    for axis, (rate, title) in zip(axes, PANELS):
        for c in curves:
            draw_curve(axis, c, rate, min(errors))
        axis.set(title=title, xscale="log", yscale="log", xlabel=f"bits per example ({result['numbers']:,} numbers), from the sizes of files")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(alpha=0.3, which="major")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="y", which="minor", labelsize=7)
    axes[0].set_ylabel("mean squared error")
    axes[0].text(0.02, 0.02, "better: left and down", transform=axes[0].transAxes, color="0.4", style="italic")
    figure.suptitle(f"{short_name(result['data'])}: {n:,} {result['which']} compressed. Each point is a file, decoded again", fontsize=12)
    figure.legend(*legend_of(axes[0]), loc="outside lower center", ncols=4, fontsize=9)
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_curve(axis, c, rate, least):
    """One curve, its name (for a model: how many numbers its code has) at its end."""
    colour, kind = COLOURS[c["kind"]], c["kind"]
    points = sorted(c["points"], key=lambda point: point[rate])
    along, up = [p[rate] for p in points], np.maximum([p["mse"] for p in points], least)
    style = {"marker": "o", "markersize": 3.5, "linewidth": 1.6}
    if kind == "pca":
        style |= {"linestyle": "--"}
    elif kind != "autoencoder":
        style = {"marker": "*" if kind == "PNG" else "s", "markersize": 9 if kind == "PNG" else 3.5, "linewidth": 1.0}
        style["linestyle"] = ":" if "each" in c["label"] else "-"
    axis.plot(along, up, color=colour, **style)
    if kind in NAMES:
        axis.annotate(str(c["code_size"]), (along[-1], up[-1]), xytext=(5, 0), textcoords="offset points", va="center",
                      color=colour, fontsize=8, fontweight="bold")  # fmt: skip
    else:
        text = {"JPEG": "JPEG", "PNG": "PNG: no error"}[kind] + (",\neach image a file" if "each" in c["label"] else ",\none sheet")
        high = kind == "PNG"
        axis.annotate(text, (along[-1], up[-1]), xytext=(0, 9 if high else -4), textcoords="offset points", fontsize=7,
                      va="bottom" if high else "top", ha="center", color=colour)  # fmt: skip


def legend_of(axis):
    """Handles and labels: one for each kind of curve."""
    from matplotlib.lines import Line2D

    own = Line2D([], [], color=COLOURS["autoencoder"], marker="o", markersize=4)
    pca = Line2D([], [], color=COLOURS["pca"], marker="o", markersize=4, linestyle="--")
    return [own, pca], [f"{name}; the number: how many numbers its code has" for name in NAMES.values()]


def short_name(data):
    """A path by its last part."""
    return str(data).rstrip("/").rsplit("/", 1)[-1]
