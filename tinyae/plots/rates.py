"""Rate-distortion curves: what an example costs in bits, and what error is left for it."""

from .figure import new_figure, save_figure

COLOURS = {"autoencoder": "#1f5fbf", "pca": "#d9730d", "JPEG": "0.5", "PNG": "0.2"}
NAMES = {"autoencoder": "autoencoder", "pca": "PCA, same quantiser and coder"}
PANELS = (
    ("bits_per_example", "The files alone"),
    ("with_model", "The files, and each example's share of the model that decodes them"),
)


def draw_rates(result, path=None):
    """Two panels, bits per example along and mean squared error upwards: without and with the model's bytes. Returns the figure.

    ``result`` is what ``runs.rates`` returns. What has a far smaller error than the models, as a PNG without any, is
    shown at the lower edge.
    """
    n, curves = result["examples"], result["curves"]
    figure = new_figure(13, 5.8)
    axes = figure.subplots(1, 2, sharey=True, sharex=True)
    errors = [point["mse"] for c in curves if c["kind"] in NAMES for point in c["points"]]
    low, high = min(errors) / 1.5, 1.25 * max(errors)
    for axis, (rate, title) in zip(axes, PANELS):
        axis.set(xscale="log", yscale="log", ylim=(low, high), title=title)
        for c in curves:
            draw_curve(axis, c, rate, low)
        style_axes(axis, f"bits for each example ({result['numbers']:,} numbers), from the sizes of files")
    axes[0].set_ylabel("mean squared error of what they decode to")
    for axis in axes:
        axis.text(
            0.015,
            0.02,
            "better: to the left and down",
            transform=axis.transAxes,
            color="0.4",
            style="italic",
            fontsize=9,
        )
    figure.suptitle(
        f"{short_name(result['data'])}: {n:,} {result['which']} compressed; each point is a file, decoded again",
        fontsize=12,
    )
    figure.legend(*legend_of(curves), loc="outside lower center", ncols=2, fontsize=9)
    if path is not None:
        save_figure(figure, path)
    return figure


def draw_curve(axis, c, rate, low):
    """One curve; at its end stands how many numbers a model's code has, or the name of a format."""
    colour, kind = COLOURS[c["kind"]], c["kind"]
    points = sorted(c["points"], key=lambda point: point[rate])
    along, up = [p[rate] for p in points], [p["mse"] for p in points]
    if kind in NAMES:
        axis.plot(
            along, up, color=colour, marker="o", markersize=3.5, linewidth=1.6, linestyle="--" if kind == "pca" else "-"
        )
        axis.annotate(str(c["code_size"]), (along[-1], up[-1]), xytext=(5, 0), textcoords="offset points", va="center",
                      color=colour, fontsize=9, fontweight="bold")  # fmt: skip
        return
    is_sheet = "sheet" in c["label"]
    name, side = f"{kind}, {'one sheet' if is_sheet else 'a file each'}", "right" if is_sheet else "left"
    told = {"textcoords": "offset points", "fontsize": 8, "color": colour, "zorder": 1,
            "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # fmt: skip
    if max(up) < low:  # without loss, or nearly: an arrow points down to where it would be
        arrow = {"arrowstyle": "->", "color": colour}
        axis.annotate("", (along[0], low), xytext=(0, 24), textcoords="offset points", arrowprops=arrow)
        axis.annotate(f"{name}:\nno error", (along[0], low), xytext=(-4 if is_sheet else 4, 6), ha=side, **told)
        return
    axis.plot(along, up, color=colour, marker="s", markersize=3, linewidth=1)
    axis.annotate(name, (along[0], up[0]), xytext=(6, 3), ha="left", **told)


def style_axes(axis, along):
    """Bits and errors readable at a glance, both by logarithms."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_xlabel(along)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
        one.set_major_formatter("{x:g}")
        one.set_minor_formatter(NullFormatter())
    axis.margins(x=0.1)
    axis.grid(alpha=0.3)


def legend_of(curves):
    """Handles and labels: one for each kind of model."""
    from matplotlib.lines import Line2D

    kinds = [kind for kind in NAMES if any(c["kind"] == kind for c in curves)]
    lines = [
        Line2D([], [], color=COLOURS[kind], marker="o", markersize=4, linestyle="--" if kind == "pca" else "-")
        for kind in kinds
    ]
    return lines, [f"{NAMES[kind]} (how many numbers its code has stands at the end)" for kind in kinds]


def short_name(data):
    """A path by its last part."""
    return str(data).rstrip("/").rsplit("/", 1)[-1]
