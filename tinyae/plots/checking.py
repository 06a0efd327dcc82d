"""The error of a numeric derivative against its step size: where the curvature ends and rounding begins."""

from .figure import new_figure, save_figure

FLOOR = 1e-17  # an error of 0 is drawn here


def draw_errors(check, path=None):
    """One panel, step size h along and relative error upwards, both logarithmic. ``check`` is a StepCheck."""
    figure = new_figure(6.5, 4.2)
    axis = figure.subplots()
    report, name = check.report, check.step.name
    axis.set(xscale="log", yscale="log", xlabel="step size h of the difference (f(x + h) - f(x - h)) / 2h")
    axis.set_ylabel("error, relative to the gradient")
    if not check.errors:
        why = "at a kink, where left and right slopes differ" if report.kinks else "not to be compared"
        axis.set(title=f"{name}: every element is {why}", xlim=(1e-12, 1), ylim=(1e-12, 1))
    else:
        sizes = list(check.errors)
        errors = [max(error, FLOOR) for error in check.errors.values()]
        worst = report.worst
        letter, place = check.symbols[worst["tensor"]], ", ".join(map(str, worst["index"]))
        axis.plot(sizes, errors, "o-", color="#1f5fbf", markersize=3.5, linewidth=1.2)
        axis.set_ylim(min(1e-13, min(errors) / 3), max(3, 3 * max(errors)))
        axis.axhline(report.tolerance, color="0.45", linestyle="--", linewidth=1)
        axis.annotate("accepted below this line", (min(sizes), report.tolerance), xytext=(0, -11),
                      textcoords="offset points", fontsize=8, color="0.35")  # fmt: skip
        verdict = "right" if report else "WRONG: the error does not fall" if not report.undecided else "cannot be told"
        axis.set_title(
            f"{name}: the gradient of {letter} at [{place}], the worst of {report.checked}, is {verdict}", fontsize=10
        )
        axis.annotate(
            "too large: curvature", (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=8, color="0.35"
        )
        axis.annotate("too small: rounding", (0.02, 0.03), xycoords="axes fraction", fontsize=8, color="0.35")
    axis.grid(alpha=0.25)
    if path is not None:
        save_figure(figure, path)
    return figure
