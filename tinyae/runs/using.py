"""What is shown to a trained run: the examples it is shown, and reconstructions."""

import numpy as np

from ..data import as_data, check_values
from ..datasets import load as load_data
from ..datasets.own import load_for_evaluation
from ..errors import RangeError, ShapeError
from ..plots import draw_reconstructions, new_figure
from ..saving import load
from .folder import RunFolder
from .outputs import checked_out, write_array
from .reporting import short, some_examples
from .training import as_source


def open_run(command, path):
    """(model, settings) of a finished run."""
    folder = RunFolder.open(command, path)
    settings = folder.settings()
    return load(folder.model_path(command)), settings


def open_autoencoder(command, path, needed="decoder"):
    """(model, settings) of a finished run that has a code and a decoder, one of which is ``needed``.

    Raises
    ------
    RangeError
        The run is a classifier.
    """
    model, settings = open_run(command, path)
    if settings.recipe.task == "classify":
        raise RangeError(
            f"{command}: the run in {path} is a classifier and has no {needed}. Give an autoencoder's run."
        )
    return model, settings


def examples_of(command, settings, data, labels):
    """(x, y, which, data) to be looked at, of the shape that the run was trained on.

    The held-out part of the run's own data, the test part of a data set that has one, or all of a file.
    """
    recipe = settings.recipe
    data = None if data is None else as_source(data)
    is_own = data is None or data == recipe.data
    data, labels = (recipe.data, labels or recipe.labels) if is_own else (data, labels)
    x, y = load_data(data, labels)[1] if is_own else load_for_evaluation(data, labels)
    which = "held-out examples" if is_own else "examples"
    refuse_other_shape(command, settings, data, x)
    x = as_data(f"{command}: {data}", x)
    check_values(f"{command}: {data}", x, unit_interval=recipe.output == "sigmoid")
    return x, y, which, data


def refuse_other_shape(command, settings, data, x):
    """Refuse examples of another shape than the run was trained on."""
    if x.shape[1:] != settings.example_shape:
        raise ShapeError(
            f"{command}: the run was trained on examples of shape {settings.example_shape}, those of {data} have "
            f"{x.shape[1:]}. Give data of that shape, or train a run on these."
        )


def reconstructions(model, x):
    """Those of all examples, piece by piece: they may be larger than memory."""
    return (model.reconstruct(x[start : start + 1024]) for start in range(0, len(x), 1024))


def reconstruct(path, *, data=None, out, overwrite=False):
    """Write reconstructions: ``*.png``, up to ten beside their originals; ``*.npy``, all of them, float32.

    Returns
    -------
    dict
        What was written.
    """
    kind = checked_out("reconstruct", out, overwrite)
    if kind == ".png":
        new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_autoencoder("reconstruct", path)
    x, y, which, data = examples_of("reconstruct", settings, data, None)
    if kind == ".npy":
        write_array(out, reconstructions(model, x), x.shape)
        shown = len(x)
    else:
        examples = np.asarray(x[some_examples(y, len(x))])
        note = f"{short(data)}: {which} and their reconstructions, from codes of {settings.recipe.code_size(x.shape[1:]):,} numbers"
        draw_reconstructions(examples, model.reconstruct(examples), out, note)
        shown = len(examples)
    return {"run": str(path), "data": data, "which": which, "examples": shown, "out": str(out)}
