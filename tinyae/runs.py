"""One training run from a recipe: data in, a folder with the model and its report out."""

import json
import math
import platform
import time
from contextlib import suppress
from importlib.metadata import version
from math import prod
from pathlib import Path

import numpy as np

from . import datasets
from .backend import get_backend
from .context import manual_seed
from .errors import FileWriteError, RangeError, TrainingError, known_name
from .files import write_whole
from .interrupt import deferred_interrupt
from .metrics import mean_baseline, mse, pca_baseline
from .optim import OPTIMIZERS, make_optimizer
from .plots import draw_loss, draw_reconstructions, new_figure
from .recipes import get_recipe
from .saving import save

DATA = {"digits": datasets.load_digits}
FILES = ("model.safetensors", "history.jsonl", "settings.json", "reconstructions.png", "loss.png")


def make_folder(recipe, out=None, overwrite=False):
    """A folder to write to: a new ``runs/NAME-1``, ``-2``, ..., or ``out``.

    Returns
    -------
    (Path, list of Path)
        The folder, and those that were made for it, innermost first.

    Raises
    ------
    RangeError
        ``out`` is a file, or exists and may not be overwritten.
    FileWriteError
        Nothing can be written there.
    """
    if out is not None:
        if not out:
            raise RangeError("train: --out is empty; expected the path of a folder.")
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise RangeError(f"train: --out {out} is a file; expected a folder, or a path where one can be made.")
        if path.exists() and not overwrite:
            raise RangeError(
                f"train: the folder {out} exists. Choose another --out, or give --overwrite to replace its run."
            )
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
    else:
        number = 1
        while (path := Path("runs") / f"{recipe}-{number}").exists():
            number += 1
        made = [path, *([] if path.parent.exists() else [path.parent])]
    try:
        path.mkdir(parents=True, exist_ok=out is not None)
        write_whole(path / ".writable", "")  # better now than after the training
        (path / ".writable").unlink()
    except FileExistsError:
        if out is not None:
            raise FileWriteError(f"train: a folder {path} cannot be made: a file stands in its way.") from None
        return make_folder(recipe)  # another run took the name in the meantime
    except NotADirectoryError:
        raise FileWriteError(f"train: a folder {path} cannot be made: a file stands in its way.") from None
    except FileWriteError:
        remove_empty(made)
        raise
    except OSError as error:
        raise FileWriteError(f"train: a folder {path} cannot be made: {error.strerror}.") from error
    return path, made


def remove_empty(folders):
    """Remove folders that were made for nothing, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def train(name, *, epochs=None, batch_size=None, lr=None, optimizer=None, seed=0, backend="numpy", out=None, overwrite=False,
          progress=True):  # fmt: skip
    """Train a recipe and write its folder.

    Parameters left out come from the recipe. A folder that was made for nothing is removed again.

    Returns
    -------
    dict
        The settings and the results, as ``--json`` prints them.
    """
    recipe = get_recipe(name)
    place = get_backend(backend)
    new_figure(1, 1)  # without Matplotlib, say so before the training and not after it
    (x, _), (x_test, labels) = DATA[recipe.data]()
    optimizer_name = known_name("optimizer", recipe.optimizer if optimizer is None else optimizer, OPTIMIZERS)
    if overwrite and out is None:
        raise RangeError("train: --overwrite needs --out, the folder to overwrite; without it a new folder is made.")
    manual_seed(seed)
    model = recipe.build(x.shape[1:]).to(place)
    lr = recipe.lr.get(optimizer_name) if lr is None else lr
    chosen = make_optimizer(optimizer_name, model.parameters(), lr)
    if batch_size is None and not OPTIMIZERS[optimizer_name].full_batch:
        batch_size = recipe.batch_size
    epochs = recipe.epochs if epochs is None else epochs
    folder, made = make_folder(recipe.name, out, overwrite)
    started, trouble = time.perf_counter(), None
    # from here on Ctrl-C only asks to stop: what was trained is written, whole
    with deferred_interrupt(patience=math.inf) as interrupt:
        try:
            history = model.fit(
                x, epochs, batch_size, chosen, loss=recipe.loss, validation_data=x_test, seed=seed, progress=progress
            )
        except TrainingError as error:
            history, trouble = error.history, error
        except BaseException:
            remove_empty(made)
            raise
        if not len(history) and (trouble or not made):
            remove_empty(made)
            raise trouble or TrainingError(
                f"train: interrupted in the first epoch; the run in {folder} is kept as it was."
            )
        seconds = time.perf_counter() - started
        model.to("numpy")
        save(model, folder / "model.safetensors")  # first what cannot be made again
        write_whole(folder / "history.jsonl", history.to_jsonl())
        result = describe_run(recipe, model, history, x, x_test, folder)
        result |= {
            "backend": place.name,
            "optimizer": optimizer_name,
            "lr": chosen.lr,
            "batch_size": len(x) if batch_size is None else min(batch_size, len(x)),
            "seed": seed,
            "steps": chosen.t,
            "seconds": round(seconds, 3),
        }
        settings = {
            "recipe": recipe.settings(),
            "run": {key: result[key] for key in ("backend", "optimizer", "lr", "batch_size", "seed")}
            | {"epochs": epochs},
            "versions": {"tinyae": version("tinyae"), "numpy": np.__version__, "python": platform.python_version()},
        }
        write_whole(folder / "settings.json", json.dumps(settings, indent=2) + "\n")
        first_of_each = [int(np.flatnonzero(labels == digit)[0]) for digit in np.unique(labels)][:10]
        examples = x_test[first_of_each]
        note = f"held-out {recipe.data}: {result['input_size']} pixels through a code of {recipe.code} numbers"
        draw_reconstructions(examples, model.reconstruct(examples), folder / "reconstructions.png", note)
        if len(history):
            baselines = [(label, values["val"]) for label, values in result["baselines"].items()]
            title = f"{recipe.name}: the error while learning ({optimizer_name}, learning rate {chosen.lr:g})"
            draw_loss(history, folder / "loss.png", "mean squared error, mean over pixels", baselines, title)
        else:
            (folder / "loss.png").unlink(missing_ok=True)  # of a run that is overwritten
    if trouble:
        raise TrainingError(f"{trouble} It is saved in {folder}.") from trouble
    result["interrupted"] = result["interrupted"] or interrupt.is_set()
    return result


def describe_run(recipe, model, history, x, x_test, folder):
    """What a trained model reaches, beside what simpler predictors do."""
    pca = {"train": pca_baseline(x, x, recipe.code), "val": pca_baseline(x, x_test, recipe.code)}
    return {
        "recipe": recipe.name,
        "data": recipe.data,
        "epochs": len(history),
        "train_loss": history["loss"][-1] if len(history) else None,
        "val_loss": history["val_loss"][-1] if len(history) else None,
        "train_mse": mse(model.reconstruct(x), x),
        "val_mse": mse(model.reconstruct(x_test), x_test),
        "baselines": {
            f"PCA with {recipe.code} components": pca,
            "mean image": {"train": mean_baseline(x, x), "val": mean_baseline(x, x_test)},
        },
        "parameters": model.parameter_count(),
        "code_size": recipe.code,
        "input_size": prod(x.shape[1:]),
        "examples": {"train": len(x), "val": len(x_test)},
        "stop_reason": history.stop_reason,
        "interrupted": history.interrupted,
        "out": str(folder),
    }


def report(result):
    """A result as text that a student can read."""
    sizes = result["examples"]
    rows = [("this autoencoder", result["train_mse"], result["val_mse"], "")]
    remarks = {"PCA": "the best linear code of that size", "mean": "no code: always the same picture"}
    for label, values in result["baselines"].items():
        rows.append((label, values["train"], values["val"], remarks[label.split()[0]]))
    width = max(len(row[0]) for row in rows)
    against = result["val_mse"] / next(iter(result["baselines"].values()))["val"]
    lines = [
        f"{result['recipe']}: {result['epochs']} epochs ({result['steps']:,} steps of {result['optimizer']}) in "
        f"{result['seconds']:.1f} s on {result['backend']}; {sizes['train']:,} training images, {sizes['val']:,} held out",
        f"{result['parameters']:,} parameters; {result['input_size']} pixels become {result['code_size']} numbers, "
        f"a compression ratio of {result['input_size'] / result['code_size']:.3g}",
        "",
        f"{'mean squared error per pixel':{width}}  training  held out",
        *(f"{label:{width}}  {train:8.4f}  {val:8.4f}  {remark}".rstrip() for label, train, val, remark in rows),
        "",
        f"On images it was not trained on, its error is {against:.2f} times that of PCA. (Pixels go from 0 to 1; 0 is perfect.)",
        f"written to {result['out']}: {', '.join(name for name in FILES if (Path(result['out']) / name).exists())}",
    ]
    if result["stop_reason"]:
        lines.insert(1, result["stop_reason"])
    return "\n".join(lines)
