"""One weight under an optimizer: gradient and state, the step, the weight."""

from .figure import new_figure, save_figure

LOOKS = (
    ("#000000", "-", "o"),
    ("#D55E00", (0, (5, 1.5)), "s"),
    ("#0072B2", (0, (1.2, 1.2)), "^"),
    ("#CC2F88", "-.", "D"),
)


def draw_anatomy(explained, path=None):
    """The numbers of an ``explain.StepExplanation`` by step. Returns the figure; with ``path`` None it is not written."""
    figure = new_figure(9, 7)
    kept = [column for column in explained.columns if column.kept]
    axes = figure.subplots(2, 2, sharex=True).flat
    panels = [
        ("gradient" + (" and its running mean or sum" if any(c.name in "mv" for c in kept[:1]) else ""),
         [("g", "g")] + [(c.name, c.name) for c in kept if is_first(c)]),
        ("squares of the gradient", [(c.name, c.name) for c in kept if not is_first(c)]
         + [("v_hat", "v corrected")] * ("v_hat" in explained.rows[0].values)),
        ("the step: how far the weight is moved", [("delta_theta", "step")]),
        ("weight, after the step", [("theta", "weight")]),
    ]  # fmt: skip
    for axis, (title, lines) in zip(axes, panels):
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        for (name, label), look in zip(lines, LOOKS):
            draw(axis, explained.rows, "values", name, label, look)
        if explained.switches and lines[0][0] in ("delta_theta", "theta"):
            draw(axis, explained.rows, "changed", lines[0][0], explained.switches, LOOKS[1])
        if not axis.get_lines():
            axis.set_axis_off()
            axis.set_title("")
        elif len(lines) > 1 or title == "squares of the gradient":
            axis.legend(fontsize=8)
        if title == "squares of the gradient" and any(max(line.get_ydata()) > 0 for line in axis.get_lines()):
            axis.set_yscale("log")  # v and v corrected are far apart at first
    if explained.switches:
        handles = figure.axes[2].get_lines()
        figure.legend(handles, ["as it was", explained.switches], loc="outside lower center", ncols=2)
    for axis in figure.axes[2:]:
        axis.set_xlabel("step")
    place = f"[{', '.join(map(str, explained.index))}]" if explained.index else ""
    figure.suptitle(f"{explained.parameter}{place} under {explained.optimizer}", fontsize=11)
    if path is not None:
        save_figure(figure, path)
    return figure


def is_first(column):
    """Is it a mean or a sum of gradients, and not of their squares?"""
    return "g^2" not in column.formula


def draw(axis, rows, kind, name, label, look):
    """One line; steps at which the number is not known are left out."""
    known = [(row.t, float(getattr(row, kind)[name])) for row in rows if getattr(row, kind)[name] is not None]
    if known:
        colour, line, mark = look
        axis.plot(*zip(*known), color=colour, linestyle=line, marker=mark, markersize=4, label=label)
