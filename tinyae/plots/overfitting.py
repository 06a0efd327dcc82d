"""Training against held-out error, one panel for each remedy."""

import numpy as np

from .figure import new_figure, save_figure
from .histories import style_epochs

TRAINING, HELD_OUT, WITHOUT = "C0", "C1", "0.6"


def draw_overfitting(result, path):
    """The errors epoch by epoch of what ``runs.overfit`` has trained, all panels with one scale. Returns the figure.

    With ``path`` None it is not written. In grey, in every panel: the held-out error with nothing done.
    """
    runs = result["runs"]
    columns = min(4, len(runs))
    rows = -(-len(runs) // columns)
    wide = columns > 2
    figure = new_figure((3.5 if wide else 4.5) * columns + 0.6, 3.0 * rows + (1.5 if wide else 2.2))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis, run in zip(axes.flat, runs):
        epochs = np.arange(1, run["epochs"] + 1)
        name = run["remedy"] + (f", {run['setting']}" if run["setting"] else "")
        change = "" if run is runs[0] else f" ({run['change']:+.0%})"
        title = f"{name}\nheld out {run['kept']:.4f}{change}"
        style_epochs(axis, "", "", True)
        axis.set_xlabel("")
        axis.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.yaxis.set_minor_formatter("")
        axis.set_title(title, fontsize=10)
        if run is not runs[0]:
            axis.plot(
                np.arange(1, runs[0]["epochs"] + 1),
                runs[0]["held_out"],
                color=WITHOUT,
                label="held out, with nothing done",
            )
        one = "o" if run["epochs"] == 1 else None
        axis.plot(epochs, run["train"], color=TRAINING, marker=one, label="training examples")
        axis.plot(epochs, run["held_out"], color=HELD_OUT, marker=one, label="held-out examples")
        axis.plot(run["best_epoch"], run["best"], "v", color="black", markersize=5, label="smallest held-out error")
        late = run["best_epoch"] > 0.6 * result["epochs"]
        axis.annotate(
            f"{run['best']:.4f} at {run['best_epoch']}", (run["best_epoch"], run["best"]), xytext=(0, 16),
            textcoords="offset points", ha="right" if late else "left", fontsize=8,
        )  # fmt: skip
    for axis in list(axes.flat)[len(runs) :]:
        axis.set_visible(False)
    every = np.concatenate([run[part] for run in runs for part in ("train", "held_out")])
    axes[0, 0].set_ylim(0.7 * every.min(), 1.1 * np.percentile(every, 99.5))
    for axis in axes[:, 0]:
        axis.set_ylabel(f"mean squared error, over {result['kind']}")
    for axis in axes.flat[max(0, len(runs) - columns) : len(runs)]:  # the lowest of each column
        axis.set_xlabel("epoch")
        axis.tick_params(labelbottom=True)
    handles, labels = axes.flat[len(runs) - 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4 if wide else columns)
    sizes = result["examples"]
    case = f"{result['parameters']:,} parameters and {sizes['train']:,} examples"
    figure.suptitle(
        f"Overfitting: {case}{', ' if wide else chr(10)}one remedy at a time (seed {result['seed']})", fontsize=12
    )
    if path is not None:
        save_figure(figure, path)
    return figure
