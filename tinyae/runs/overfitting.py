"""Overfitting, and what is done against it, on one case: few examples, a model that can learn them by heart.

The case is the recipe ``digits``, trained on 200 of its pictures instead of 1,437, and much longer than is good. Every
remedy starts from the same weights and sees the same batches. All errors are those of the finished model as it is used: of
clean pictures, with nothing dropped, without penalties. So the curves of all remedies can be compared.

Three kinds of examples are kept apart: those that are trained on; those that early stopping looks at (as many again, from
the data set's training part); and the held-out ones, which no remedy has seen.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..augmentation import RandomRotation, RandomShift
from ..backend import kernels
from ..callbacks import Callback, EarlyStopping
from ..context import manual_seed
from ..data import as_data
from ..datasets import load as load_data
from ..errors import RangeError, ShapeError, TrainingError, known_name, require_integer
from ..files import write_whole
from ..interrupt import deferred_interrupt
from ..metrics import pca_baseline, reconstruction_error
from ..models import Autoencoder
from ..nn import Dense, Dropout, Flatten, GaussianNoise, Sequential
from ..nn.sequential import flat
from ..plots import draw_overfitting, is_images, new_figure
from ..recipes import get_recipe
from ..regularizers import L1, L2
from ..training import fit
from .folder import RunFolder
from .reporting import numbers_called, short
from .training import as_source

RECIPE = "digits"


@dataclass(frozen=True)
class Remedy:
    """What is done against overfitting: layers put into the model, or what ``fit`` is given."""

    setting: str  # in words
    why: str
    noise: float = 0.0  # normal noise on the input, with this standard deviation
    dropout: float = 0.0  # after each hidden layer
    fit_options: Callable[[], dict] = field(default=dict)


# One strength for each: of four that were tried with seed 0, the one with the smallest held-out error; another case wants others.
REMEDIES = {
    "nothing": Remedy("", "the model learns its examples by heart"),
    "L1": Remedy("1e-5 sum |w|", "small weights, many near 0", fit_options=lambda: {"regularizers": [L1(1e-5)]}),
    "L2": Remedy("1e-4 sum w^2", "no large weights", fit_options=lambda: {"regularizers": [L2(1e-4)]}),
    "dropout": Remedy("rate 0.2", "no unit can rely on another", dropout=0.2),
    "noise": Remedy("std 0.2, clean target", "near pictures must have near codes", noise=0.2),
    "early stopping": Remedy(
        "patience 10", "the best epoch, as other examples say", fit_options=lambda: {"callbacks": [EarlyStopping(10)]}
    ),
    "rotations": Remedy(
        "up to 10 degrees", "turned digits are digits too", fit_options=lambda: {"augment": [RandomRotation(10)]}
    ),
    "shifts": Remedy("up to 1 pixel", "so are moved ones", fit_options=lambda: {"augment": [RandomShift(1)]}),
}


def overfit(*, data=None, examples=200, epochs=300, remedies=tuple(REMEDIES), seed=0, out=None, progress=True):
    """Train the case with each remedy and write a table and a picture.

    Parameters
    ----------
    data : str, optional
        Images; by default the digits.
    examples : int
        How many are trained on; as many again are looked at by early stopping.
    remedies : list of str
        Names in REMEDIES; "nothing" is always among them.

    Returns
    -------
    dict
        ``runs``, one dict for each remedy: ``train`` and ``held_out``, the mean squared error (mean over pixels) after each
        epoch; ``best`` and ``best_epoch`` of the held-out error, ``last``, and ``kept``, that of the model one ends with;
        ``change``, ``kept`` beside that of "nothing", -0.2 for a fifth less. ``baselines``; ``out``, the folder with
        ``overfitting.json`` and ``overfitting.png``.
    """
    recipe = get_recipe(RECIPE)
    names = [known_name("remedy", name, REMEDIES) for name in remedies]
    names = list(dict.fromkeys(["nothing", *names]))
    examples = require_integer("overfit", "examples", examples, at_least=2)
    epochs = require_integer("overfit", "epochs", epochs, at_least=1)
    seed = require_integer("overfit", "seed", seed, at_least=0)
    recipe = replace(recipe, data=recipe.data if data is None else as_source(data), epochs=epochs)
    new_figure(1, 1)  # without Matplotlib, say so at once
    sets = parts_of(recipe, examples)
    folder = RunFolder.new("overfit", out, command="overfit")
    runs, stopped = {}, False
    with deferred_interrupt(patience=math.inf) as interrupt:
        try:
            for name in names:
                found = one_remedy(recipe, REMEDIES[name], sets, seed, progress)
                if found is None or interrupt.is_set():  # Ctrl-C: what is not whole cannot be compared
                    stopped = True
                    break
                runs[name] = found
            if not runs:
                raise TrainingError("overfit: interrupted before one of the trainings was whole; nothing was written.")
            baselines = {} if stopped else plain_predictors(recipe, sets, seed, progress)
        except BaseException:
            folder.remove_if_made()
            raise
        folder.release()
        reference = runs["nothing"]["kept"]
        result = {
            "recipe": recipe.name,
            "data": recipe.data,
            "seed": seed,
            "kernels": kernels.get(),
            "epochs": epochs,
            "examples": {"train": examples, "looked at": len(sets[1]), "held out": len(sets[2])},
            "parameters": recipe.build(sets[0].shape[1:]).parameter_count(),
            "kind": numbers_called(sets[0].shape),
            "runs": [
                {"remedy": name, "setting": REMEDIES[name].setting, **run, "change": run["kept"] / reference - 1}
                for name, run in runs.items()
            ],
            "baselines": baselines,
            "left_out": [name for name in names if name not in runs],
            "interrupted": stopped,
            "out": str(folder),
        }
        write_whole(folder / "overfitting.json", json.dumps(result, indent=2) + "\n")
        draw_overfitting(result, folder / "overfitting.png")
    return result


def parts_of(recipe, examples):
    """(trained on, looked at by early stopping, held out, all of the training part)."""
    (x, _), (x_test, _) = load_data(recipe.data)
    recipe.refuse_what_makes_no_sense(x.shape[1:], None)
    if not is_images(x.shape):
        raise ShapeError(
            f"overfit: an example of {short(recipe.data)} has shape {x.shape[1:]}; expected images, (H, W, C), which can be "
            "moved and turned. Save them in that shape: x.reshape(-1, H, W, 1)."
        )
    if 2 * examples > len(x):
        raise RangeError(
            f"overfit: {examples} examples are asked for, and as many again for early stopping to look at, but the training "
            f"part of {short(recipe.data)} has {len(x)}. Expected at most {len(x) // 2}."
        )
    x, x_test = as_data("overfit", x), as_data("overfit", x_test)
    return x[:examples], x[examples : 2 * examples], x_test, x


class Watch(Callback):
    """Notes the errors of the model as it is used, after each epoch: of the examples trained on, and of held-out ones."""

    def __init__(self, train, held_out):
        self.parts, self.errors = {"train": train, "held_out": held_out}, {"train": [], "held_out": []}

    def on_epoch_end(self, epoch, logs):
        for name, x in self.parts.items():
            self.errors[name].append(reconstruction_error(self.trainer.model, x))


def one_remedy(recipe, remedy, sets, seed, progress):
    """Train with one remedy; None after Ctrl-C."""
    x, looked_at, held_out, _ = sets
    model, watch, options = build(recipe, remedy, x.shape[1:], seed), Watch(x, held_out), remedy.fit_options()
    callbacks = [watch, *options.pop("callbacks", [])]
    history = fit(
        model, x, x, recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr[recipe.optimizer], validation_data=looked_at,
        seed=seed, callbacks=callbacks, progress=progress, **options,
    )  # fmt: skip
    if history.interrupted:
        return None
    errors = watch.errors
    best = min(errors["held_out"])
    return {
        **errors,
        "epochs": len(history),
        "best": best,
        "best_epoch": errors["held_out"].index(best) + 1,
        "last": errors["held_out"][-1],
        "kept": reconstruction_error(model, held_out),
        "train_kept": reconstruction_error(model, x),
        "seconds": round(sum(history["seconds"]), 3),
    }


def build(recipe, remedy, shape, seed):
    """The recipe's model with the remedy's layers put in; these draw no weights, so all remedies start alike."""
    manual_seed(seed)
    plain = recipe.build(shape)
    parts = []
    for part in (plain.encoder, plain.decoder):
        layers = []
        for layer in flat([part]):
            layers.append(layer)
            if isinstance(layer, Flatten) and remedy.noise:
                layers.append(GaussianNoise(remedy.noise))
            if isinstance(layer, Dense) and layer.activation == recipe.activation and remedy.dropout:
                layers.append(Dropout(remedy.dropout))
        parts.append(Sequential(*layers))
    return Autoencoder(*parts)


def plain_predictors(recipe, sets, seed, progress):
    """The held-out error of PCA fitted to the same few examples, and of the model trained on all there are."""
    x, looked_at, held_out, everything = sets
    size = recipe.code_size(x.shape[1:])
    found = {}
    if size < len(x):
        found[f"PCA with {size} components, of the same {len(x):,}"] = pca_baseline(x, held_out, size)
    epochs = max(1, round(recipe.epochs * len(x) / len(everything)))
    model = build(recipe, REMEDIES["nothing"], x.shape[1:], seed)
    history = fit(
        model, everything, everything, epochs, recipe.batch_size, recipe.optimizer, recipe.lr[recipe.optimizer], seed=seed,
        progress=progress,
    )  # fmt: skip
    if not history.interrupted:
        found[f"the model, after as many steps on all {len(everything):,}"] = reconstruction_error(model, held_out)
    return found


def overfitting_table(result):
    """What each remedy brings, as text; the smallest held-out errors are marked."""
    runs, sizes = result["runs"], result["examples"]
    least = {key: min(run[key] for run in runs) for key in ("best", "kept")}
    head = ("against overfitting", "setting", "training", "held out: best", "epoch", "last", "kept", "change")
    rows = [head]
    for run in runs:
        mark = {key: f"{run[key]:.4f}{'*' if run[key] == least[key] else ' '}" for key in least}
        change = "" if run["remedy"] == "nothing" else f"{run['change']:+.0%}"
        rows.append((run["remedy"], run["setting"], f"{run['train_kept']:.4f}", mark["best"], str(run["best_epoch"]),
                     f"{run['last']:.4f}", mark["kept"], change))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        f"{result['recipe']}: {result['parameters']:,} parameters, {sizes['train']:,} examples of {short(result['data'])}, "
        f"{result['epochs']} epochs; {sizes['held out']:,} held out",
        "",
    ]
    for row in rows:
        cells = (text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths)))
        lines.append("  ".join(cells).rstrip())
    lines += [f"{label}: {value:.4f} held out" for label, value in result["baselines"].items()]
    lines += [
        "",
        f"* the smallest. Mean squared errors, means over all {result['kind']}, of the model as it is used (nothing dropped, no noise).",
        "best: the smallest held-out error of all epochs, which nobody knows in practice; kept: that of the model one ends with.",
        "change: kept, beside that with nothing done. One strength each; what helps is another question on other data.",
        f"written to {result['out']}: overfitting.json, overfitting.png",
    ]
    if result["left_out"]:
        lines.append(f"interrupted by Ctrl-C; left out: {', '.join(result['left_out'])}")
    return "\n".join(lines)
