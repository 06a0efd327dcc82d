"""Optimizers and losses side by side: the same initial weights, the same batches, one table and one plot."""

import json
import math

from ..backend import get_backend, kernels
from ..datasets import load as load_data
from ..errors import RangeError, TrainingError, known_name, require_integer
from ..files import write_whole
from ..interrupt import deferred_interrupt
from ..losses import LOSSES
from ..metrics import reconstruction_error
from ..optim import OPTIMIZERS
from ..plots import draw_comparison, new_figure
from ..recipes import get_recipe
from ..training import fit
from .folder import RunFolder
from .reporting import LOSS_NAMES, numbers_called, short
from .training import build, chosen, schedules


def compare(name="digits", *, optimizers=("gd", "sgd", "momentum", "adam"), losses=("mse",), data=None, epochs=None,
            batch_size=None, lr=None, init=None, seed=0, backend="numpy", out=None, progress=True):  # fmt: skip
    """Train one recipe with every optimizer and loss.

    Parameters
    ----------
    lr : dict, optional
        Learning rates by optimizer; by default the recipe's.

    Returns
    -------
    dict
        ``runs``, one dict each, with the held-out errors after the last epoch and ``history``, the held-out
        loss after each epoch; ``out``, the folder with ``comparison.json`` and ``comparison.png``.
    """
    recipe, rates = get_recipe(name), dict(lr or {})
    if recipe.task != "reconstruct":
        raise RangeError(
            f"compare: recipe '{recipe.name}' is a classifier; expected one that reconstructs, such as digits."
        )
    optimizers = distinct("optimizer", optimizers, OPTIMIZERS)
    losses = distinct("loss", losses, LOSSES)
    surplus = [optimizer for optimizer in rates if optimizer not in optimizers]
    if surplus:
        raise RangeError(
            f"compare: --lr was given for {', '.join(surplus)}, which is not compared; expected {', '.join(optimizers)}."
        )
    seed = require_integer("compare", "seed", seed, at_least=0)
    variants = []
    for loss in losses:
        for optimizer in optimizers:
            size = None if OPTIMIZERS[optimizer].full_batch else batch_size
            variants.append(chosen(recipe, data, None, epochs, size, rates.get(optimizer), optimizer, loss, init))
    new_figure(1, 1)
    sets, place = load_data(variants[0].data), get_backend(backend)
    for variant in variants:
        build(variant, sets, seed, place)  # what cannot work is refused before the first is trained
    folder = RunFolder.new("compare", out, command="compare")
    runs, stopped = [], False
    with deferred_interrupt(patience=math.inf) as interrupt:
        try:
            for variant in variants:
                found = one_run(variant, sets, seed, place, progress)
                if found is None or interrupt.is_set():  # Ctrl-C: what is not whole cannot be compared
                    stopped = True
                    break
                runs.append(found)
        except BaseException:
            folder.remove_if_made()
            raise
        if not runs:
            folder.remove_if_made()
            raise TrainingError("compare: interrupted before one of the trainings was whole; nothing was written.")
        folder.release()
        result = {
            "recipe": recipe.name,
            "data": variants[0].data,
            "seed": seed,
            "kernels": kernels.get(),
            "epochs": variants[0].epochs,
            "left_out": [f"{v.optimizer} with {v.loss}" for v in variants[len(runs) :]],
            "interrupted": stopped,
            "runs": runs,
            "out": str(folder),
        }
        write_whole(folder / "comparison.json", json.dumps(result, indent=2) + "\n")
        panels = [
            (
                f"held-out {LOSS_NAMES[loss].format(numbers_called(sets[0][0].shape))}",
                {r["optimizer"]: r["history"] for r in runs if r["loss"] == loss},
            )
            for loss in losses
        ]
        title = f"recipe {recipe.name}, data {short(result['data'])}: the same initial weights and batches"
        draw_comparison([panel for panel in panels if any(panel[1].values())], folder / "comparison.png", title)
    return result


def distinct(kind, names, table):
    """Known names, each once, in the order given."""
    names = [known_name(kind, name, table) for name in names]
    if not names:
        raise RangeError(f"compare: no {kind} was given; known: {', '.join(table)}.")
    return list(dict.fromkeys(names))


def one_run(variant, sets, seed, place, progress):
    """Train one variant from the common weights; a run that diverges is a result too. None after Ctrl-C."""
    (x, _), (x_test, _) = sets
    model, optimizer = build(variant, sets, seed, place)
    size = None if optimizer.full_batch else variant.batch_size
    trouble = None
    try:
        history = fit(
            model, x, x, variant.epochs, size, optimizer, loss=variant.loss, validation_data=x_test, seed=seed,
            callbacks=schedules(variant, optimizer), progress=progress,
        )  # fmt: skip
    except TrainingError as error:
        history, trouble = error.history, str(error)
    if history.interrupted:
        return None
    return {
        "optimizer": variant.optimizer,
        "loss": variant.loss,
        "lr": optimizer.lr,
        "batch_size": len(x) if size is None else min(size, len(x)),
        "steps": optimizer.t,
        "seconds": round(sum(history["seconds"]), 3) if len(history) else 0.0,
        "val_mse": reconstruction_error(model, x_test),
        "val_bce": reconstruction_error(model, x_test, "bce"),
        "history": history["val_loss"] if len(history) else [],
        "trouble": trouble,
    }


def comparison_table(result):
    """A comparison as text; the best held-out error of each column is marked."""
    runs = result["runs"]
    best = {key: min(run[key] for run in runs) for key in ("val_mse", "val_bce")}
    head = ("trained on", "optimizer", "learning rate", "batch", "steps", "seconds", "held-out MSE", "held-out BCE")
    rows = []
    for run in runs:
        errors = [f"{run[key]:.4f}{'*' if run[key] == best[key] else ' '}" for key in best]
        rate = "-" if run["lr"] is None else f"{run['lr']:g}"
        rows.append(
            (
                run["loss"],
                run["optimizer"],
                rate,
                str(run["batch_size"]),
                str(run["steps"]),
                f"{run['seconds']:.1f}",
                *errors,
            )
        )
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        f"recipe {result['recipe']}, data {short(result['data'])}, {result['epochs']} epochs: the same initial weights and batches",
        "",
    ]
    for row, run in zip([head, *rows], [None, *runs]):
        line = "  ".join(text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths)))
        lines.append(line.rstrip() + ("  diverged" if run and run["trouble"] else ""))
    lines += [
        "",
        "* the smallest. MSE and BCE: means over all numbers of the held-out examples, after the last epoch.",
        "Each optimizer has its own learning rate, the recipe's or the one given; another rate is another result.",
        f"written to {result['out']}: comparison.json, comparison.png",
    ]
    if any(run["optimizer"] == "lbfgs" for run in runs):
        lines.insert(-1, "A step of lbfgs is 20 iterations, each with at least one pass over all examples.")
    if result["left_out"]:
        lines.append(f"interrupted by Ctrl-C; left out: {', '.join(result['left_out'])}")
    return "\n".join(lines)
