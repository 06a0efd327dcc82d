"""What happened in a training, epoch by epoch."""

import numpy as np

from .figure import new_figure, save_figure

SHADES = ("#0b0a3a", "#2d2a8c", "#5b4bc4", "#8e4fb8", "#c0498f", "#dd5f5f", "#e8853b", "#d9a514")  # first layer to last


def draw_loss(history, path, loss_name, baselines=(), title=""):
    """Training and held-out loss by epoch; baselines [(label, value), ...] as dashed lines. Returns the figure.

    With ``path`` None it is not written.
    """
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
    for i, name in enumerate(held_out_terms(history)):  # what the held-out loss is the sum of
        values = history[f"val_{name}"]
        label = f"held out, of it {name.replace('_', ' ')}: last {values[-1]:.4f}"
        axis.plot(epochs, values, ":", label=label, color=f"C{i + 2}", marker="o" if len(values) == 1 else None)
    lowest = min(min(history[name]) for name in ("loss", "val_loss") if name in history)
    for label, value in baselines:  # named on the line itself, at its right end
        if value < lowest / 100:
            continue  # as good as 0, for data that a simple predictor knows by heart: it would flatten all else
        axis.axhline(value, linestyle="--", linewidth=1, color="0.35")
        axis.text(0.99, value, f"{label}: {value:.4f}", transform=axis.get_yaxis_transform(), ha="right", va="bottom")
    style_epochs(axis, title, loss_name, all(record["loss"] > 0 for record in history.records))
    if held_out_terms(history):  # four lines or more leave no room
        figure.legend(loc="outside lower center", ncols=2)
    else:
        axis.legend(loc="upper right", bbox_to_anchor=(0.995, 0.8))
    if path is not None:
        save_figure(figure, path)
    return figure


def held_out_terms(history):
    """The names of the terms that the held-out loss is the sum of, if they are several."""
    return [name[4:] for name in history.keys() if name.startswith("val_") and name != "val_loss"]


def draw_comparison(panels, path, title=""):
    """Held-out losses of several runs, one panel per loss.

    ``panels`` is a list of (loss name, {run: [held-out loss after each epoch]}); a run has one colour in
    all panels, and its name stands at the end of its line.
    """
    figure = new_figure(6.2 * len(panels), 4.4)
    names = list(dict.fromkeys(name for _, runs in panels for name in runs))
    for axis, (loss_name, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        ends = []
        for name, values in runs.items():
            if not values:
                continue
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, color=f"C{names.index(name)}", marker="o" if len(values) == 1 else None)
            ends.append((values[-1], len(values), f"{name} {values[-1]:.4f}", f"C{names.index(name)}"))
        # a run that begins wildly is cut off, so that the others can be told apart
        every = [value for values in runs.values() for value in values]
        axis.set_ylim(0.95 * min(every), 1.1 * np.percentile(every, 97))
        style_epochs(axis, "", loss_name, True)
        label_ends(figure, axis, ends)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def draw_gradients(epochs, layers, path, title=""):
    """The norm of each layer's gradient by epoch. Returns the figure; with ``path`` None it is not written.

    ``layers`` is a list with one {layer: norm} for each epoch, from the first layer to the last: the darkest line is
    the first layer, the name of a layer stands at the end of its line. A norm of 0 is drawn at the lower edge.
    """
    figure = new_figure(7, 4.2)
    axis = figure.subplots()
    names = list(dict.fromkeys(name for norms in layers for name in norms))
    least = min((norm for norms in layers for norm in norms.values() if norm > 0), default=1.0) / 3
    ends = []
    for i, name in enumerate(names):
        from_to = [(epoch, norms[name]) for epoch, norms in zip(epochs, layers) if name in norms]
        where, norms = zip(*from_to)
        drawn = [max(norm, least) for norm in norms]
        colour = SHADES[round(i * (len(SHADES) - 1) / max(1, len(names) - 1))]
        axis.plot(where, drawn, color=colour, marker="o" if len(drawn) == 1 else None)
        ends.append((drawn[-1], where[-1], f"{name}  {norms[-1]:.2g}", colour))
    style_epochs(axis, title, "L2 norm of the gradient in the epoch's last batch", True, "{x:.0e}")
    if np.ptp(np.log10(axis.get_ylim())) > 1:
        axis.yaxis.set_minor_formatter("")  # the powers of ten are enough
    axis.set_xlabel("epoch      (dark: first layer, bright: last layer)")
    label_ends(figure, axis, ends)
    if path is not None:
        save_figure(figure, path)
    return figure


def label_ends(figure, axis, ends):
    """Write (value, epoch, text, colour) at the ends of lines, moved apart where they would cover each other."""
    figure.draw_without_rendering()
    height, last = axis.get_window_extent().height, -np.inf
    for value, epoch, text, colour in sorted(ends):
        place = axis.transAxes.inverted().transform(axis.transData.transform((epoch, value)))
        last = max(place[1], last + figure.dpi * 0.17 / height)
        axis.annotate(
            text, xy=(epoch, value), xytext=(1.02, last), textcoords="axes fraction", va="center", color=colour,
            annotation_clip=False, fontsize=9,
        )  # fmt: skip


def style_epochs(axis, title, name, log, form="{x:g}"):
    """Epochs along, a number upwards, both readable."""
    axis.set(title=title, xlabel="epoch", ylabel=name)
    if log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(form)
        axis.yaxis.set_minor_formatter(form)
        axis.tick_params(axis="y", which="minor", labelsize=8)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.grid(alpha=0.3, which="both")
