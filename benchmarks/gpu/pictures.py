"""The picture of ``gpu``: where the GPU begins to win, how near its kernels come to the roof, and what a step takes."""

import textwrap

from tinyae.plots import new_figure

from ..pictures import INK, OTHERS, OURS, draw_bar, finish, style
from ..report import values
from . import crossover
from .session import label

CPU_COLOUR = "#4a6fa5"
NOT_YET = "not measured yet\n(python -m benchmarks gpu, on a machine with a GPU)"
GROUPS = ["#4a6fa5", "#1b7a6e", "#7570b3", "#b8860b", "#c0498f", "#d95f02", "#444444"]  # colours of kernels, by group


def draw(made, path):
    """Everything in one picture."""
    kernels = [entry for entry in made["results"] if entry["part"] == "kernels"]
    cases = list(dict.fromkeys(entry["case"] for entry in steps_of(made)))
    lines = -(-max(1, len(cases)) // 3)
    heights = [5.4, max(5.4, 0.3 * len(kernels) + 1.6), 4.4 * lines + 0.4]
    figure = new_figure(19, sum(heights) + 1.4)
    first, second, third = figure.subfigures(3, 1, height_ratios=heights)
    draw_crossover(made, first)
    draw_kernels(made, kernels, second, figure)
    draw_steps(made, cases, lines, third)
    device = made["device"] or {}
    gpu = device.get("gpu") or (f"backend {device['backend']}" if device else "no GPU")
    quick = " Made with --quick: these times mean nothing." if made["settings"]["quick"] else ""
    finish(
        figure, path, title="tinyae on a GPU",
        note=f"{gpu}; {made['machine']['cpu']}, {made['machine']['cores']} cores; tinyae {made['versions'].get('tinyae', '?')}. "
        f"Median of {made['settings']['rounds']} rounds.{quick}",
    )  # fmt: skip


def heading(part, text):
    """One for a row of panels."""
    part.suptitle(text, fontsize=16, x=0.01, ha="left", weight="bold")


def not_yet(axis, text=NOT_YET, x=0.5, y=0.5):
    """In the place of what is not there."""
    axis.text(x, y, text, transform=axis.transAxes, ha="center", va="center", fontsize=14, color=OURS,
              bbox={"facecolor": "white", "edgecolor": OURS, "boxstyle": "round,pad=0.5"})  # fmt: skip


# ---------------------------------------------------------------- crossover


def draw_crossover(made, part):
    """Time per step against batch size and against width, both axes logarithmic."""
    heading(part, "Where does the GPU begin to win? Milliseconds per captured step: lower is faster")
    titles = {"batch": (f"784-{crossover.WIDTH}-784", "examples in a batch"),
              "width": (f"784-W-784, batches of {crossover.BATCH}", "width W of the layer in the middle")}  # fmt: skip
    for axis, (by, (title, grows)) in zip(part.subplots(1, 2), titles.items()):
        found = crossover.lines(made["results"], by)
        for name, colour, word in ((crossover.CPU, CPU_COLOUR, "CPU"), (crossover.GPU, OURS, "GPU")):
            points = sorted(found[name].items())
            if points:
                axis.plot(*zip(*points), color=colour, linewidth=3, marker="o", markersize=7)
                axis.annotate(f"{word}  {points[-1][1]:.3g}", points[-1], xytext=(10, 0), textcoords="offset points",
                              va="center", color=colour, fontsize=14, weight="bold", annotation_clip=False)  # fmt: skip
        sizes = sorted({size for line in found.values() for size in line})
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=12)
        axis.set_xticks([], minor=True)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.tick_params(axis="y", labelsize=12)
        axis.set_xlabel(grows, fontsize=13)
        axis.set_ylabel("milliseconds per step", fontsize=13)
        axis.set_title(title, fontsize=14, loc="left")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if not found[crossover.GPU]:
            not_yet(axis, f"GPU: {NOT_YET}", 0.66, 0.16)
        mark_crossing(axis, found)


def mark_crossing(axis, found):
    """A line where the GPU begins to win, or the words that say where it does not."""
    cpu, gpu = found[crossover.CPU], found[crossover.GPU]
    if not (cpu and gpu):
        return
    size, words = crossover.crossing(cpu, gpu)
    if size is not None:
        axis.axvline(size, color=INK, linewidth=1.5, linestyle="--")
    axis.text(0.03, 0.95, words, transform=axis.transAxes, fontsize=13, va="top", color=INK,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})  # fmt: skip


# ---------------------------------------------------------------- kernels


def draw_kernels(made, kernels, part, figure):
    """The roofline on the left; on the right each kernel's share of the roof above it, with the same numbers."""
    heading(part, "How near do the kernels come to what the GPU can do?")
    left, right = part.subplots(1, 2, width_ratios=[1.15, 1])
    left.set_title("Roofline: each number is a kernel", fontsize=14, loc="left")
    left.set_xlabel("arithmetic operations for each byte that must be moved", fontsize=13)
    left.set_ylabel("billions of operations in a second (GFLOP/s)", fontsize=13)
    if not kernels:
        for axis in (left, right):
            axis.set_xticks([])
            axis.set_yticks([])
            not_yet(axis)
        right.set_title("Share of the roof above it", fontsize=14, loc="left")
        return
    groups = list(dict.fromkeys(entry["group"] for entry in kernels))
    colours = {entry["case"]: GROUPS[groups.index(entry["group"]) % len(GROUPS)] for entry in kernels}
    for place, entry in enumerate(kernels):
        shares = [100 * entry["share"] * entry["median_ms"] / time for time in entry["times_ms"]]
        share = 100 * entry["share"]
        draw_bar(right, place, shares, 0.72, colours[entry["case"]], f"{share:.3g} %")
    names = [f"{entry['case']}  {number}" for number, entry in enumerate(kernels, 1)]
    right.set_yticks(range(len(kernels)), names, fontsize=12)
    right.axvline(100, color=INK, linewidth=1.5, linestyle="--", zorder=0.5)
    style(right, "Share of the roof above it, which is the dashed line",
          "percent of a copy's bandwidth, or of a matrix product's rate")  # fmt: skip
    right.set_xlim(0, max(120, right.get_xlim()[1]))
    right.set_ylim(len(kernels) - 0.4, -0.6)
    draw_roof(left, made["roofs"], kernels, colours, figure)


def draw_roof(axis, roofs, kernels, colours, figure):
    """Slanted: what a copy's bandwidth allows. Flat: what a matrix product reaches."""
    shown = [(number, entry) for number, entry in enumerate(kernels, 1) if entry["intensity"] > 0]
    low = min(entry["intensity"] for _, entry in shown) / 2
    high = 3 * max([entry["intensity"] for _, entry in shown] + [r["rate"] / r["bandwidth"] for r in roofs.values()])
    axis.set(xscale="log", yscale="log")
    rates = dict.fromkeys(roof["rate"] for roof in roofs.values())  # without TF32 both are the same
    for (precision, roof), dashes in zip(roofs.items(), ("-", "--")):
        corner = roof["rate"] / roof["bandwidth"]
        axis.plot(
            [low, corner, high], [low * roof["bandwidth"], roof["rate"], roof["rate"]], dashes, color=INK, linewidth=2
        )
        name = {"float32": "float32", "tf32": "TF32"}[precision]
        if len(rates) > 1 or precision == "float32":
            axis.annotate(f"matrix product, {name}: {roof['rate']:,.0f} GFLOP/s", (high, roof["rate"]), xytext=(-4, 6),
                          textcoords="offset points", ha="right", fontsize=12)  # fmt: skip
    bandwidth = roofs["float32"]["bandwidth"]
    axis.text(0.03, 0.97, f"slanted: a copy, {bandwidth:,.0f} GB/s\nrings: in TF32", transform=axis.transAxes, fontsize=12,
              va="top")  # fmt: skip
    for _, entry in shown:
        filled = entry["precision"] == "float32"
        axis.plot(entry["intensity"], entry["rate"], "o", color=colours[entry["case"]], markersize=7,
                  fillstyle="full" if filled else "none")  # fmt: skip
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter("{x:,.6g}")
    axis.tick_params(labelsize=12)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    without = [str(number) for number, entry in enumerate(kernels, 1) if not entry["intensity"]]
    if without:
        axis.text(0.97, 0.03, f"no arithmetic, so not here: {', '.join(without)}", transform=axis.transAxes, fontsize=11,
                  ha="right", color="0.35")  # fmt: skip
    number_points(axis, shown, colours, figure)


def number_points(axis, shown, colours, figure):
    """Each point's number beside it, moved up where two would cover each other."""
    figure.draw_without_rendering()
    height, above = axis.get_window_extent().height, {}
    for number, entry in sorted(shown, key=lambda one: one[1]["rate"]):
        x, y = axis.transAxes.inverted().transform(axis.transData.transform((entry["intensity"], entry["rate"])))
        column = round(x / 0.06)
        place = above[column] = max(y, above.get(column, -1.0) + 0.19 * figure.dpi / height)
        axis.annotate(
            str(number), (entry["intensity"], entry["rate"]), xytext=(x + 0.025, place), textcoords="axes fraction",
            va="center", fontsize=11, color=colours[entry["case"]],
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.8} if place > y + 0.005 else None,
        )  # fmt: skip


# ---------------------------------------------------------------- steps


def steps_of(made):
    """The results of ``steps`` in float32."""
    return [entry for entry in made["results"] if entry["part"] == "steps" and entry["precision"] == "float32"]


def draw_steps(made, cases, lines, part):
    """A panel for each case, a bar for each contestant."""
    heading(part, "A training step (forward, backward, Adam) in float32, milliseconds: shorter is faster")
    if not cases:
        not_yet(part.subplots())
        return
    from ..contestants.gpu_names import GPU_CONTESTANTS, ON_CPU, ON_GPU

    panels = part.subplots(lines, 3, squeeze=False)
    for place, axis in enumerate(panels.flat):
        if place >= len(cases):
            axis.set_axis_off()
            continue
        found = {entry["contestant"]: values(entry) for entry in steps_of(made) if entry["case"] == cases[place]}
        for row, name in enumerate(GPU_CONTESTANTS):
            if name in found:
                colour = OURS if name in ON_GPU else CPU_COLOUR if name in ON_CPU else OTHERS
                draw_bar(axis, row, found[name], 0.72, colour)
            else:
                axis.text(0, row, " not measured yet", va="center", fontsize=12, color="0.45")
        names = [label(name) for name in GPU_CONTESTANTS] if place % 3 == 0 else []
        axis.set_yticks(range(len(GPU_CONTESTANTS)) if names else [], names, fontsize=12)
        axis.set_ylim(len(GPU_CONTESTANTS) - 0.4, -0.6)
        style(axis, textwrap.fill(cases[place].removesuffix(", float32"), 46), "ms per step")
