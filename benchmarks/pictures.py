"""Pictures of benchmarks: horizontal bars, so that names can be read."""

import statistics
import textwrap
from itertools import combinations

from tinyae.plots import new_figure, save_figure

from .report import quartiles, values

OURS, OTHERS, INK = "#d95f02", "#9aa5b1", "#222222"
COLOURS = [OTHERS, "#4a6fa5", OURS]
BLUES = ["#4a6fa5", "#7a7a7a", "#1b7a6e", "#7570b3", "#8c6d46"]
PALETTE = ["#9aa5b1", "#d95f02", "#1b7a6e", "#7570b3"]


def draw_panels(results, path, title, note, labels, highlighted, quantity="ms per step", scale=1.0):
    """One panel per case with one bar per contestant, those in ``highlighted`` in a colour of their own.

    ``labels`` is {contestant: what to call it}, in the order from top to bottom. ``scale`` turns what was measured
    into the unit of ``quantity``.
    """
    found = {}
    for entry in results:
        found.setdefault(entry["case"], {})[entry["contestant"]] = [value * scale for value in values(entry)]
    cases = list(found)
    columns = min(2, len(cases))
    lines = [cases[i : i + columns] for i in range(0, len(cases), columns)]
    names = [[name for name in labels if any(name in found[case] for case in line)] for line in lines]
    heights = [0.46 * len(shown) + 1.1 for shown in names]
    figure = new_figure(max(9, 6.2 * columns + 1.2), sum(heights) + 1.3)
    panels = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for axes, line, shown in zip(panels, lines, names):
        for axis, case in zip(axes, line):
            for place, name in enumerate(shown):
                if name in found[case]:
                    draw_bar(axis, place, found[case][name], 0.72, OURS if name in highlighted else OTHERS)
                else:
                    axis.text(0, place, " not measured", va="center", fontsize=12, color="0.45")
            axis.set_yticks(range(len(shown)), [labels[name] for name in shown] if case == line[0] else [], fontsize=13)
            axis.set_ylim(len(shown) - 0.4, -0.6)
            style(axis, "\n".join(textwrap.wrap(case, 48)), quantity)
        for axis in axes[len(line) :]:
            axis.set_axis_off()
    finish(figure, path, title, note)


def draw_groups(results, path, title, note, unit="ms", scale=1.0, quantity="time", log=False):
    """One panel; for each case a group of bars, one per contestant, each contestant in one colour."""
    cases = list(dict.fromkeys(entry["case"] for entry in results))
    names = list(dict.fromkeys(entry["contestant"] for entry in results))
    figure = new_figure(10, 0.42 * len(cases) * len(names) + 2.4)
    axis = figure.subplots()
    height = 0.8 / len(names)
    for entry in results:
        row = names.index(entry["contestant"])
        place = cases.index(entry["case"]) + (row - (len(names) - 1) / 2) * height
        times = [time * scale for time in entry["times_ms"]]
        draw_bar(axis, place, times, 0.9 * height, PALETTE[row % len(PALETTE)])
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(cases)), cases, fontsize=13)
    axis.set_ylim(len(cases) - 0.4, -0.6)
    style(axis, "", f"{quantity}, {unit}", log)
    if len(names) > 1:
        handles = [axis.barh(0, 0, color=PALETTE[row % len(PALETTE)]) for row in range(len(names))]
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=12, frameon=False)
    finish(figure, path, title, note)


def draw_shares(panels, path, title, note, names):
    """For each heading a panel; in it for each case a bar per contestant, the share of the machine's own rate it reached.

    ``panels`` is {heading: (what 100 % is, [{contestant: result}, ...])}; the results have the keys "rate" and
    "machine_rate" besides. ``names`` is {contestant: what to call it}, from the top bar to the lowest, which is ours; it is
    compared with the one above it.
    """
    columns = in_columns({heading: len(cases) + 4 for heading, (_, cases) in panels.items()})
    height = max(map(sum, (column.values() for column in columns)))
    figure = new_figure(9.5 * len(columns), 0.62 * height + 1.5)
    for part, column in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns):
        rest = height - sum(column.values())  # empty, so that bars are as thick as in the longest column
        axes = part.subplots(
            len(column) + (rest > 0), 1, squeeze=False, height_ratios=[*column.values(), *[rest] * (rest > 0)]
        )
        for axis, heading in zip(axes[:, 0], column):
            draw_share_panel(axis, heading, *panels[heading], names)
        if rest:
            axes[-1, 0].set_axis_off()
    shown = [name for name in names if any(name in found for _, cases in panels.values() for found in cases)]
    handles = [axis.barh(0, 0, color=COLOURS[names_place(names, name)]) for name in shown]
    figure.legend(
        handles,
        [names[name] for name in shown],
        loc="outside lower center",
        ncols=len(shown),
        fontsize=13,
        frameon=False,
    )
    finish(figure, path, title, note)


def in_columns(heights):
    """{name: height} divided into one or two columns, the longer as short as can be; the first name is in the first."""
    first, *others = heights
    if not others:
        return [heights]
    choices = [{first, *chosen} for n in range(len(others)) for chosen in combinations(others, n)]
    total = sum(heights.values())
    left = min(choices, key=lambda chosen: max(height := sum(heights[name] for name in chosen), total - height))
    return [{name: heights[name] for name in heights if (name in left) == is_left} for is_left in (True, False)]


def draw_share_panel(axis, heading, whole, cases, names):
    """One panel of ``draw_shares``."""
    *others, ours = names
    base = [name for name in others if any(name in found for found in cases)][-1]
    for place, found in enumerate(cases):
        present = [name for name in names if name in found]
        height = 0.8 / len(present)
        for i, name in enumerate(present):
            entry = found[name]
            full = 100 * entry["rate"] * entry["median_ms"] / entry["machine_rate"]  # percent times milliseconds
            shares = [full / time for time in entry["times_ms"]]
            offset = (i - (len(present) - 1) / 2) * height
            colour = COLOURS[names_place(names, name)]
            draw_bar(axis, place + offset, shares, 0.9 * height, colour, duration(entry["median_ms"]))
        if base in found:
            ratio = found[base]["median_ms"] / found[ours]["median_ms"]
            beside(axis, place, f"{ratio:.{2 if ratio < 2 else 1}f}", color=OURS, fontsize=15)
    beside(axis, -1, f"times as fast\nas {names[base].split(':')[0]}", color=OURS, fontsize=12)
    titles = [next(iter(found.values()))["case"] for found in cases]
    axis.set_yticks(range(len(cases)), titles, fontsize=13)
    axis.axvline(100, color=INK, linewidth=1.5, linestyle="--", zorder=0.5)
    style(axis, heading, f"percent of what the machine can do:\n{textwrap.fill(whole, 40)}")
    axis.set_xlim(0, max(130, 1.1 * axis.get_xlim()[1]))
    axis.set_ylim(len(cases) - 0.4, -0.6)


def names_place(names, name):
    """A contestant's place among the colours: the last one's is the last."""
    place = list(names).index(name)
    return -1 if place == len(names) - 1 else place


def duration(ms):
    """A time with a unit that keeps it short."""
    return f"{ms * 1e3:,.0f} µs" if ms < 10 else f"{ms:,.0f} ms"


def draw_lines(panels, path, title, note, labels, highlighted, quantity):
    """A panel for each heading with a line per contestant, both axes logarithmic, its name at its end.

    ``panels`` is {heading: (what grows, how to write its values, {contestant: {value: measured}})}.
    """
    figure = new_figure(8.6 * len(panels), 5.6)
    others = [name for name in labels if name not in highlighted]
    for axis, (heading, (grows, form, lines)) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        sizes = sorted({size for line in lines.values() for size in line})
        axis.set(xscale="log", yscale="log")
        ends = []
        for name, line in lines.items():
            colour = OURS if name in highlighted else BLUES[others.index(name) % len(BLUES)]
            width, points = 3.5 if name in highlighted else 2, sorted(line.items())
            axis.plot(*zip(*points), color=colour, linewidth=width, marker="o", markersize=6)
            ends.append((points[-1][1], points[-1][0], labels[name], colour))
        axis.set_xticks(sizes, [form.format(size) for size in sizes], fontsize=12)
        axis.set_xticks([], minor=True)
        axis.yaxis.get_major_locator().set_params(subs=(1, 1.5, 2, 3, 5, 7))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_yticks([], minor=True)
        axis.tick_params(axis="y", labelsize=12)
        axis.set_xlabel(grows, fontsize=13)
        axis.set_ylabel(quantity, fontsize=13)
        axis.set_title(heading, fontsize=15, loc="left")
        axis.grid(alpha=0.3, which="both")
        axis.spines[["top", "right"]].set_visible(False)
        label_ends(figure, axis, ends)
    finish(figure, path, title, note)


def label_ends(figure, axis, ends):
    """Write each line's name and last value behind its end, moved apart where they would cover each other."""
    figure.draw_without_rendering()
    height, last = axis.get_window_extent().height, -1.0
    for value, size, name, colour in sorted(ends):
        place = axis.transAxes.inverted().transform(axis.transData.transform((size, value)))
        last = max(place[1], last + 0.22 * figure.dpi / height)
        axis.annotate(
            f"{name}  {value:.3g}", xy=(size, value), xytext=(1.03, last), textcoords="axes fraction", va="center",
            color=colour, fontsize=13, annotation_clip=False,
        )  # fmt: skip


def beside(axis, place, text, **look):
    """A text to the right of the panel, at a place of its vertical axis."""
    axis.annotate(
        text, (1.08, place), xycoords=axis.get_yaxis_transform(), va="center", ha="center", weight="bold",
        annotation_clip=False, **look,
    )  # fmt: skip


def draw_bar(axis, place, times, height, colour, text=None):
    """The median as a bar, the middle half of the times as a line, and the median or a text behind both."""
    median, (low, high) = statistics.median(times), quartiles(times)
    axis.barh(place, median, height, color=colour)
    axis.plot([low, high], [place, place], color=INK, linewidth=2, solid_capstyle="butt")
    axis.annotate(
        text or f"{median:.3g}", (max(median, high), place), xytext=(6, 0), textcoords="offset points",
        va="center", fontsize=12, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if text else None,
    )  # fmt: skip


def style(axis, title, label, log=False):
    """Large letters, few lines, and room for the numbers behind the bars."""
    axis.set_title(title, fontsize=14, loc="left")
    axis.set_xlabel(label, fontsize=12)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * 2) if log else axis.set_xlim(0, high * 1.12)
    axis.tick_params(axis="x", labelsize=11)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def finish(figure, path, title, note):
    """The heading, and the file."""
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    width, height = figure.get_size_inches()
    note = textwrap.fill(note, int(width / 0.087))  # as many letters as fit into a line
    lines = note.count("\n") + 1
    figure.suptitle(title + lines * "\n", fontsize=17, x=0.01, ha="left")
    figure.text(0.01, 1 - 0.45 / height, note, fontsize=11, color="0.35", va="top")
    save_figure(figure, path)


def draw_changes(changes, path, title, note):
    """The ratio of two runs for each measurement; changes beyond noise in colour.

    ``changes`` is a list of (label, ratio, verdict), verdict being "faster", "slower" or "".
    """
    figure = new_figure(10, 0.4 * len(changes) + 2.2)
    axis = figure.subplots()
    colours = {"faster": "#1b7a6e", "slower": "#c0392b", "": OTHERS}
    for place, (_, ratio, verdict) in enumerate(changes):
        axis.plot([1, ratio], [place, place], color=colours[verdict], linewidth=3)
        axis.plot(ratio, place, "o", color=colours[verdict], markersize=9)
        axis.annotate(
            f"{ratio:.2f} {verdict}", (1.02, place), xycoords=axis.get_yaxis_transform(), va="center", fontsize=12,
            color=INK if verdict else "0.5", annotation_clip=False,
        )  # fmt: skip
    ratios = [ratio for _, ratio, _ in changes]
    low, high = min([*ratios, 0.9]), max([*ratios, 1.1])
    axis.set_yticks(range(len(changes)), [label for label, _, _ in changes], fontsize=12)
    axis.axvline(1, color=INK, linewidth=1)
    style(axis, "", "time in the second run / time in the first run")
    axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axis.set_ylim(len(changes) - 0.4, -0.6)
    finish(figure, path, title, note)
