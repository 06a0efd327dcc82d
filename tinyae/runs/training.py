"""One training run from a recipe: data in, a folder with the model and its report out."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

from ..backend import get_backend, kernels
from ..checkpoint import Checkpoint
from ..context import manual_seed, use_kernels
from ..datasets import load as load_data
from ..datasets.own import NAMES
from ..errors import FileWriteError, RangeError, TrainingError, known_name, require_integer, require_number
from ..files import write_whole
from ..interrupt import deferred_interrupt
from ..losses import LOSSES
from ..nn.init import INITIALISERS
from ..optim import DEFAULT_LR, OPTIMIZERS, make_optimizer
from ..plots import new_figure
from ..recipes import get_recipe
from ..saving import save
from ..schedules import CosineDecay
from ..training import fit
from .folder import RunFolder, RunSettings
from .reporting import describe_run, draw_run


def train(name, *, data=None, labels=None, epochs=None, batch_size=None, lr=None, optimizer=None, loss=None, init=None,
          seed=0, backend="numpy", out=None, overwrite=False, progress=True):  # fmt: skip
    """Train a recipe and write its folder.

    Parameters left out come from the recipe. A folder that was made for nothing is removed again.

    Returns
    -------
    dict
        The settings and the results, as ``--json`` prints them.
    """
    recipe = chosen(get_recipe(name), data, labels, epochs, batch_size, lr, optimizer, loss, init)
    seed = require_integer("train", "seed", seed, at_least=0)
    place = get_backend(backend)
    new_figure(1, 1)  # without Matplotlib, say so before the training and not after it
    sets = load_data(recipe.data, recipe.labels)
    model, optimizer = build(recipe, sets, seed, place)
    settings = RunSettings(recipe, seed, place.name, sets[0][0].shape[1:], kernels.get())
    with RunFolder.new(recipe.name, out, overwrite) as folder:
        folder.begin(settings)
        return run(settings, sets, model, optimizer, folder, progress, resuming=False)


def resume(path, *, epochs=None, progress=True):
    """Go on with a run that was interrupted, or with more epochs.

    Returns
    -------
    dict
        As ``train``; the model is the same, to the last bit, as that of an uninterrupted run.
    """
    folder = RunFolder.open("resume", path)
    settings = folder.settings()
    if epochs is not None:
        more = replace(settings.recipe, epochs=require_integer("resume", "epochs", epochs, at_least=1))
        settings = replace(settings, recipe=more)
    new_figure(1, 1)
    sets = load_data(settings.recipe.data, settings.recipe.labels)
    model, optimizer = build(settings.recipe, sets, settings.seed, get_backend(settings.backend))
    with folder, use_kernels(settings.kernels):
        folder.claim("resume")
        return run(settings, sets, model, optimizer, folder, progress, resuming=True)


def chosen(recipe, data, labels, epochs, batch_size, lr, optimizer, loss, init):
    """The recipe with what was chosen in place of its own, names checked."""
    own = {"data": data, "labels": labels}
    found = {key: None if value is None else as_source(value) for key, value in own.items()}
    optimizer = known_name("optimizer", recipe.optimizer if optimizer is None else optimizer, OPTIMIZERS)
    if OPTIMIZERS[optimizer].full_batch and batch_size is not None:
        raise RangeError(
            f"train: --batch-size {batch_size} was given, but {OPTIMIZERS[optimizer].about} takes the gradient of all "
            "examples at once. Leave batch_size out, or choose another optimizer."
        )
    if OPTIMIZERS[optimizer].has_lr:
        lr = recipe.lr.get(optimizer, DEFAULT_LR[optimizer]) if lr is None else lr
        lr = require_number(OPTIMIZERS[optimizer].__name__, "lr", lr, above=0)
    elif lr is not None:
        raise RangeError(f"train: --lr {lr} was given, but '{optimizer}' has no learning rate. Leave it out.")
    size = recipe.batch_size if batch_size is None else require_integer("train", "batch_size", batch_size, at_least=1)
    return replace(
        recipe,
        data=recipe.data if data is None else found["data"],
        labels=found["labels"],
        epochs=recipe.epochs if epochs is None else require_integer("train", "epochs", epochs, at_least=1),
        batch_size=size,
        optimizer=optimizer,
        lr={} if lr is None else {optimizer: lr},
        loss=recipe.loss if loss is None else known_name("loss", loss, LOSSES),
        init=recipe.init if init is None else known_name("initialiser", init, INITIALISERS),
    )


def as_source(data):
    """The name of a data set as it is; a path from the root, so that it is right from every folder."""
    if data.lower() in NAMES:
        return data.lower()
    file = data[: data.rfind(".npz:") + 4] if ".npz:" in data else data
    return str(Path(data).expanduser().absolute()) if file and Path(file).expanduser().exists() else data


def build(recipe, sets, seed, place):
    """The untrained model, and its optimizer."""
    (x, y), _ = sets
    recipe.refuse_what_makes_no_sense(x.shape[1:], y)
    manual_seed(seed)
    model = recipe.build(x.shape[1:], classes=None if y is None else int(y.max()) + 1).to(place)
    settings = recipe.optimizer_settings.get(recipe.optimizer, {})
    return model, make_optimizer(recipe.optimizer, model.parameters(), recipe.lr.get(recipe.optimizer), **settings)


def schedules(recipe, optimizer):
    """What becomes of the learning rate, if the optimizer has one."""
    return [CosineDecay()] if recipe.decay and optimizer.has_lr else []


def run(settings, sets, model, optimizer, folder, progress, resuming):
    """Train, and write what came of it, also after Ctrl-C and after a loss that became NaN."""
    recipe = settings.recipe
    (x, y), (x_test, y_test) = sets
    target, test_target = (y, y_test) if recipe.task == "classify" else (x, x_test)
    place, checkpoint = model.backend, Checkpoint(folder / "run.checkpoint", resume=resuming)
    started, trouble = time.perf_counter(), None
    # from here on Ctrl-C only asks to stop: what was trained is written, whole
    with deferred_interrupt(patience=math.inf) as interrupt:
        try:
            history = fit(
                model, x, target, recipe.epochs, None if optimizer.full_batch else recipe.batch_size, optimizer,
                loss=recipe.loss, validation_data=(x_test, test_target), seed=settings.seed,
                callbacks=[*schedules(recipe, optimizer), checkpoint], progress=progress,
            )  # fmt: skip
        except TrainingError as error:
            history, trouble = error.history, error
        except BaseException as error:
            if not (folder / "run.checkpoint").exists():
                if not resuming:
                    folder.give_up()
            elif isinstance(error, FileWriteError):
                raise FileWriteError(f"{error} Make room, then go on with: tinyae resume {folder}") from error
            raise
        if not len(history) and (trouble or folder.old.exists()):
            if not resuming:
                folder.give_up()
            raise trouble or TrainingError(
                f"train: interrupted in the first epoch; nothing was kept of it, and {folder} is as it was."
            )
        if resuming:
            folder.write_settings(settings)
        seconds = sum(record["seconds"] for record in history.records)
        model.to("numpy")
        save(model, folder / "model.safetensors")  # first what cannot be made again
        folder.keep()
        folder.forget_inside()
        history.save(folder / "history.jsonl")
        result = describe_run(recipe, model, history, sets) | {
            "backend": place.name,
            "kernels": settings.kernels,
            "optimizer": recipe.optimizer,
            "lr": optimizer.lr,
            "batch_size": len(x) if optimizer.full_batch else min(recipe.batch_size, len(x)),
            "init": recipe.init,
            "seed": settings.seed,
            "steps": optimizer.t,
            "seconds": round(seconds, 3),
            "seconds_in_all": round(time.perf_counter() - started, 3),
            "out": str(folder),
        }
        draw_run(recipe, model, history, sets, result, folder)
        result["interrupted"] = result["interrupted"] or interrupt.is_set()
        write_whole(folder / "result.json", json.dumps(result, indent=2) + "\n")
    if trouble:
        raise TrainingError(f"{trouble} It is saved in {folder}.") from trouble
    return result
