"""The error of trained runs on data, and with ``full`` what their codes are good for."""

from typing import Any

import numpy as np

from ..datasets import load as load_data
from ..datasets.own import read_parts
from ..errors import RangeError, require_integer
from ..evaluation import evaluate as measure
from ..evaluation.measuring import LIMIT, spread
from ..metrics import mean_baseline, predicted_labels
from .training import as_source
from .using import examples_of, open_run


def evaluate(paths, *, data=None, labels=None, full=False, seeds=(0, 1, 2), limit=LIMIT):
    """How good one run is, or several of one kind, on their held-out data or on others.

    Parameters
    ----------
    paths : path, or list of them
        Folders of runs. Several are measured together, such as one recipe trained with several seeds.
    full : bool
        Also PCA, and the code under neighbours, a linear probe, k-means and search. The probes and PCA are fitted on
        the run's own training data, or the training part of ``data``, or on half of the examples.
    seeds, limit
        Of the probes, as in ``tinyae.evaluate``.

    Returns
    -------
    dict
        ``mse`` (and ``bce``, if it was trained with that) or ``accuracy``, and the number of examples; over several
        runs the median, with ``runs``, what each reached. ``evaluation``: all that was measured, of an autoencoder;
        ``own``: of a single run, what only its kind of model can say.
    """
    paths = [paths] if not isinstance(paths, (list, tuple)) else list(paths)
    if not paths:
        raise RangeError("evaluate: no run was given. Give the folder of one, or several.")
    limit = require_integer("evaluate", "--limit", limit, at_least=10)
    opened = [open_run("evaluate", path) for path in paths]
    models, all_settings = [model for model, _ in opened], [settings for _, settings in opened]
    refuse_what_cannot_be_compared(paths, all_settings, data)
    settings = all_settings[0]
    recipe = settings.recipe
    x, y, which, source = examples_of("evaluate", settings, data, labels)
    names = list(dict.fromkeys(each.recipe.name for each in all_settings))
    result = {"run": ", ".join(map(str, paths)), "recipe": ", ".join(names), "data": source, "which": which,
              "examples": len(x)}  # fmt: skip
    if recipe.task == "classify":
        if y is None:
            raise RangeError(f"evaluate: {source} has no labels, and the run is a classifier. Give --labels FILE.")
        if full:
            raise RangeError("evaluate: --full looks at codes, and the run is a classifier. Leave it out.")
        found = [{"accuracy": float(np.mean(predicted_labels(model, x) == np.asarray(y)))} for model in models]
        return result | of_all(paths, all_settings, found)
    train = fitted_on(settings, data, labels) if full else None
    about = measure(models, x, y if full else None, train=train, seeds=seeds, probes=full, limit=limit)
    if train is None and not full:
        about["remarks"].append("With --full: PCA beside it, and what the code is good for.")
    numbers = [name for name in ("mse", "bce") if name in about["measures"] and name in ("mse", recipe.loss)]
    found = [{name: about["measures"][name]["model"]["values"][i] for name in numbers} for i in range(len(models))]
    own = {} if len(models) > 1 else models[0].measured(x)
    return (
        result | of_all(paths, all_settings, found) | {"mean_mse": mean_baseline(x, x), "evaluation": about, "own": own}
    )


def of_all(paths, settings, found):
    """What one run reached; or the medians of several, and what each of them did."""
    if len(paths) == 1:
        return found[0]
    runs = [{"run": str(path), "recipe": each.recipe.name, "seed": each.seed} | reached
            for path, each, reached in zip(paths, settings, found)]  # fmt: skip
    spreads = {name: spread([reached[name] for reached in found]) for name in found[0]}
    return {name: of["median"] for name, of in spreads.items()} | {"runs": runs, "spread": spreads}


def fitted_on(settings, data, labels):
    """(x, y) of the training part of the data, or None if there is none."""
    data = None if data is None else as_source(data)
    if data is None or data == settings.recipe.data:
        return load_data(settings.recipe.data, labels or settings.recipe.labels)[0]
    parts = read_parts(data, labels)
    return parts[0] if len(parts) == 2 else None


def refuse_what_cannot_be_compared(paths, settings, data):
    """Runs that are measured together have one task, one loss, one shape of examples, and the same held-out data."""
    first = settings[0]
    for path, other in zip(paths[1:], settings[1:]):
        for what, one, two in (
            ("task", first.recipe.task, other.recipe.task),
            ("loss", first.recipe.loss, other.recipe.loss),
            ("examples of shape", first.example_shape, other.example_shape),
            *([("data", first.recipe.data, other.recipe.data)] if data is None else []),
            ("code of size", code_size(first), code_size(other)),
        ):
            if one != two:
                raise RangeError(
                    f"evaluate: {paths[0]} has the {what} {one}, {path} {two}. Runs that are evaluated together have the same: "
                    "evaluate these one by one."
                )


def code_size(settings):
    """How many numbers a run's code has; None for a classifier."""
    return settings.recipe.code_size(settings.example_shape) if settings.recipe.task == "reconstruct" else None


def report_evaluation(result: dict[str, Any]) -> str:
    """An evaluation as text."""
    lines = [f"{result['run']}: {result['examples']:,} {result['which']} of {result['data']}"]
    lines += [f"  {run['run']} (seed {run['seed']}): " + ", ".join(
        f"{name} {run[name]:{form}}" for name, form in (("accuracy", ".2%"), ("mse", ".5f"), ("bce", ".5f")) if name in run)
        for run in result.get("runs", [])]  # fmt: skip
    if "accuracy" in result:
        form = result.get("spread", {}).get("accuracy")
        around = f" (the median; {form['low']:.2%} to {form['high']:.2%})" if form else ""
        return "\n".join([*lines, f"accuracy {result['accuracy']:.2%}{around}: the share whose label is told right"])
    own = [
        f"{what}: {value:.4f}" if isinstance(value, float) else f"{what}: {value}"
        for what, value in result["own"].items()
    ]
    return "\n".join([*lines, "", *str(result["evaluation"]).splitlines()[2:], *([""] if own else []), *own])
