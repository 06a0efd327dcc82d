"""Paths of optimizers on a surface: a picture, and an animation."""

import io

import numpy as np

from ..files import write_whole
from .figure import new_figure, save_figure

# colours that the colour-blind can tell apart (Okabe and Ito), and a line and a mark for those who see none
STYLES = {
    "gd": ("#000000", "-", "o"),
    "momentum": ("#D55E00", (0, (5, 1.5)), "s"),
    "nesterov": ("#0072B2", (0, (1.2, 1.2)), "^"),
    "adam": ("#CC2F88", (0, (6, 1.5, 1.2, 1.5)), "D"),
}
LEVELS, MARKS = 18, 8  # contours; marks along a path
DPI, FRAME, END = 80, 120, 2500  # of an animation; how long a frame and its last one are shown, in milliseconds


def draw_descent(surface, descents, path, heights=None):
    """The paths on the surface, and beside it the loss by step. Returns the figure; with ``path`` None it is not written.

    ``surface`` and ``descents`` as ``explain.surfaces`` has them; ``heights`` (a, b, loss (B, A)) if they are known.
    """
    figure, left, right = prepared(surface, descents, heights or surface.heights())
    for descent in descents:
        draw_path(left, descent, len(descent.points) - 1)
        draw_losses(right, descent, len(descent.points) - 1)
    if path is not None:
        save_figure(figure, path)
    return figure


def animate_descent(surface, descents, path, heights=None, frames=60):
    """The same as an animated GIF of about so many frames: all walk at the same time, step by step."""
    figure, left, right = prepared(surface, descents, heights or surface.heights())
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)  # all that does not move is drawn once
    counter = right.text(0.98, 0.97, "", transform=right.transAxes, ha="right", va="top")
    pictures, shown = [], shown_steps(descents[0].steps, frames)
    for step in shown:
        canvas.restore_region(still)
        counter.set_text(f"step {step}")
        right.draw_artist(counter)
        for axis, draw in ((left, draw_walker), (right, draw_losses)):
            for descent in descents:
                for line in draw(axis, descent, step):
                    axis.draw_artist(line)
                    line.remove()
        pictures.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB").quantize(128))
    durations = [FRAME] * (len(shown) - 1) + [END]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    write_whole(path, buffer.getvalue())


def shown_steps(steps, frames):
    """Which steps an animation shows: the first ones all, for there most happens, then in equal strides to the last."""
    if steps < frames:
        return list(range(steps + 1))
    first = frames // 4
    return sorted({*range(first), *np.linspace(first, steps, frames - first).round().astype(int).tolist()})


def prepared(surface, descents, heights):
    """The figure with contours, start, axes and legend, still without the paths."""
    figure = new_figure(11, 5.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    draw_surface(figure, left, surface, heights, descents[0].points[0])
    right.set(xlabel="step", yscale="log", xlim=(0, descents[0].steps))
    right.set_title("loss, step by step", fontsize=10)
    shown = np.concatenate([positive(descent.losses) for descent in descents])
    highest = min(shown.max(), 10 * heights[2].max())  # a path that leaves for infinity leaves the picture too
    right.set_ylim(max(shown.min(), highest * 1e-8) * 0.7, highest * 1.5)
    right.grid(alpha=0.3)
    if highest < 100 * shown.min():  # too few powers of ten to read by
        right.yaxis.set_major_formatter("{x:g}")
        right.yaxis.set_minor_formatter("{x:g}")
        right.tick_params(axis="y", which="minor", labelsize=8)
    right.xaxis.get_major_locator().set_params(integer=True)
    left.set_title("from the same start, by exact gradients", fontsize=10)
    handles = [left.plot([], [], **style(descent), label=words(descent))[0] for descent in descents]
    named = left.get_legend_handles_labels()[0]
    handles += [handle for handle in named if handle not in handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=4)
    note = f"\n{surface.note}" if surface.note else ""
    names = [descent.label for descent in descents]
    who = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    figure.suptitle(f"{who[0].upper()}{who[1:]} on {surface.about}{note}", fontsize=11)
    return figure, left, right


def draw_surface(figure, axis, surface, heights, start):
    """Contours at equal steps of the logarithm, the bottoms, the real training's path, the start."""
    a, b, losses = heights
    high = losses.max()
    levels = np.geomspace(max(losses.min(), high * 1e-4), high, LEVELS)
    drawn = np.clip(losses, levels[0], levels[-1])
    shaded = axis.contourf(a, b, drawn, levels, cmap="Greys", norm="log", alpha=0.45)
    axis.contour(a, b, drawn, levels, colors="0.55", linewidths=0.6)
    bar = figure.colorbar(shaded, ax=axis, fraction=0.05)
    bar.ax.set_title("loss", fontsize=10)
    bar.set_ticks(levels[::3], labels=[f"{level:.2g}" if level < 100 else f"{level:.0f}" for level in levels[::3]])
    bar.minorticks_off()
    if len(surface.trained):
        axis.plot(*surface.trained.T, color="white", linewidth=3.5)
        axis.plot(*surface.trained.T, color="0.45", linewidth=1.2, label="the real training, in all weights")
    for i, bottom in enumerate(surface.bottoms):
        label = None if i else "the trained weights" if len(surface.trained) else "smallest loss"
        axis.plot(
            *bottom, "*", color="white", markeredgecolor="black", markersize=15, zorder=4, label=label, linestyle=""
        )
    axis.plot(*start, "X", color="white", markeredgecolor="black", markersize=11, zorder=6)
    axis.annotate("start", start, xytext=(-9, 0), textcoords="offset points", ha="right", va="center", zorder=7)
    axis.set(
        xlabel=surface.axes[0], ylabel=surface.axes[1], xlim=surface.window[:2], ylim=surface.window[2:], aspect="equal"
    )


def draw_path(axis, descent, step):
    """The first steps of a path, with marks along it. The lines drawn."""
    points = descent.points[: step + 1]
    return axis.plot(*points.T, **style(descent), markevery=max(1, len(descent.points) // MARKS), zorder=5)


def draw_walker(axis, descent, step):
    """The same, with a large mark where it stands."""
    look = style(descent) | {"markersize": 9, "markeredgecolor": "white", "linestyle": ""}
    return draw_path(axis, descent, step) + axis.plot(*descent.points[: step + 1][-1:].T, **look, zorder=6)


def draw_losses(axis, descent, step):
    """The losses of the first steps."""
    losses = positive(descent.losses[: step + 1])
    return axis.plot(losses, **style(descent), markevery=max(1, len(descent.losses) // MARKS))


def style(descent):
    """How an optimizer is drawn everywhere."""
    colour, line, mark = STYLES[descent.name]
    return {"color": colour, "linestyle": line, "marker": mark, "markersize": 5, "linewidth": 1.6}


def words(descent):
    """An optimizer for the legend: its learning rate, and how far it got."""
    steps = len(descent.points) - 1
    if steps < descent.steps:
        return f"{descent.label}, learning rate {descent.lr:g}: too large, infinite after {steps + 1} steps"
    return f"{descent.label}, learning rate {descent.lr:g}: loss {descent.losses[-1]:.2g} after {steps} steps"


def positive(losses):
    """What can be drawn on a logarithmic axis: nothing is at or below 0."""
    return np.maximum(losses, 1e-30)
