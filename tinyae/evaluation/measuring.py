"""One call for all that can be measured of a trained model, each number beside PCA's and that of the raw values.

A number without such neighbours says little: a probe may be right about 95 of 100 codes, and about 96 of 100 raw
images.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import as_data, check_values, place_of
from ..errors import DtypeError, RangeError, ShapeError, brief, require_integer
from ..metrics import predicted_labels
from ..nn.module import Module
from ..plots import is_images
from ..random import Generator
from ..rows import Rows
from ..tensor import Tensor
from .code_quality import checked_labels, cluster_measures, linear_accuracy, neighbour_measures
from .neighbours import flat_rows
from .reconstructions import MOST, by_mean, by_model, by_pca, fitted_pca, measure_reconstructions, some
from .table import as_table

LIMIT = 10_000  # examples of each part that the probes look at


class Evaluation(dict[str, Any]):
    """What ``evaluate`` found: a dict that JSON can hold, and that prints as a table.

    ``result["measures"]["nmi"]["model"]`` is ``{"median": ..., "low": ..., "high": ..., "values": [...]}``. Beside
    "model" there are "pca" and "raw", and for reconstructions "mean", the mean example.
    """

    def __str__(self) -> str:
        return as_table(self)

    __repr__ = __str__


def evaluate(
    model: Any,
    data: Any,
    labels: Any = None,
    *,
    train: Any = None,
    seeds: Sequence[int] = (0, 1, 2),
    probes: bool = True,
    neighbours: int = 5,
    k: int = 10,
    clusters: int | None = None,
    limit: int = LIMIT,
) -> Evaluation:
    """All that can be measured of a model on held-out data, beside PCA with a code of the same size and the raw values.

    Parameters
    ----------
    model : Module, or list of them
        Anything with ``encode`` and ``reconstruct``. Several, such as one recipe trained with several seeds, are taken
        together: median and range are over the models, each with its median over ``seeds``. A model without ``encode``
        is a classifier: only its accuracy is given.
    data : array (N, ...)
        Examples that the model was not trained on, images or others.
    labels : int array (N,), optional
        Without them only reconstructions are measured.
    train : (x, y), optional
        What PCA, the neighbours and the linear probe are fitted on: examples (M, ...) and their labels, or None for
        these. Without it, probes are fitted on one half of ``data`` and asked about the other, and the remarks say
        so.
    seeds : list of int
        For the starts of k-means, the halves, and which examples are looked at where there are more than ``limit``.
    probes : bool
        False: reconstructions only, and no PCA. That is quick, however large the data are.
    neighbours, k : int
        How many nearest codes vote on a label; how many a search gives.
    clusters : int, optional
        For k-means; by default as many as there are different labels.
    limit : int
        How many examples of each part the probes look at: it bounds their time.

    Returns
    -------
    Evaluation
        A dict, printed as a table. Its ``measures`` are, as far as they have a meaning,

        - ``mse``; of a model that ends in a sigmoid also ``bce`` and ``bce_above_floor``, in nats: means over all
          elements;
        - ``psnr``, in dB, and for images ``ssim``: means over examples;
        - ``knn_accuracy``, ``linear_accuracy``, ``clustering_accuracy``, ``nmi``, ``ari``, ``precision``: 1 is perfect.

    Raises
    ------
    DtypeError, ShapeError, RangeError
        Arguments that do not fit together; NaN in the data or in a code; labels of one class only.
    MissingLibraryError
        scikit-learn is not installed, which the probes need.
    """
    models = _checked_models(model)
    seeds = _checked_seeds(seeds)
    settings = {
        name: require_integer("evaluate", name, n, at_least=1) for name, n in (("neighbours", neighbours), ("k", k))
    }
    limit = require_integer("evaluate", "limit", limit, at_least=10)
    if clusters is not None:
        clusters = require_integer("evaluate", "clusters", clusters, at_least=1)
    x, y = _checked_part("data", data, labels)
    result = Evaluation(examples=len(x), numbers="pixels" if is_images(x.shape) else "values",
                        input_size=math.prod(x.shape[1:]), models=len(models), seeds=seeds,
                        measures={}, settings=settings, remarks=[])  # fmt: skip
    if not hasattr(models[0], "encode"):
        return _classifiers(result, models, x, y)
    result["code_size"] = _code_size(models, x)
    fitted = None if train is None else _checked_train(train, x, y)
    predictors = {"model": [by_model(m) for m in models], "mean": [by_mean(x if fitted is None else fitted[0])]}
    basis = None
    if probes:
        basis = fitted_pca(x if fitted is None else fitted[0], result["code_size"], result["remarks"])
        if basis is not None:
            predictors["pca"] = [by_pca(*basis)]
    if fitted is None:
        result["remarks"].append("PCA and the mean are fitted on the examples that they reconstruct, which flatters them."
                                 if basis else "The mean is that of the same examples.")  # fmt: skip
    bce_of = ("model", "mean") if all(m.ends_in_sigmoid() for m in models) else ()
    found, how = measure_reconstructions(predictors, x, bce_of, result["remarks"])
    settings |= how
    result["measures"] = {name: {who: spread(numbers) for who, numbers in of.items()} for name, of in found.items()}
    if probes and y is None:
        result["remarks"].append(
            "Without labels there is nothing that neighbours, clusters and searches could be right about."
        )
    elif probes:
        settings["clusters"] = clusters or len(np.unique(y))
        parts = Parts((x, y), fitted, min(limit, max(MOST // result["input_size"], 100)), result)
        result["measures"] |= _code_measures(result, models, parts, basis)
    return result


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Numbers, with their median, the smallest and the largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": list(values)}


# ---------------------------------------------------------------- what the code is good for


def _code_measures(result, models, parts, basis):
    """{measure: {"model", "pca", "raw": spread}}, over the seeds, or over the models where there are several."""
    views = {"model": [lambda x, model=model: codes_of(model, x, result["remarks"]) for model in models]}
    if basis is not None:
        views["pca"] = [lambda x: (flat_rows("evaluate", "data", x) - basis[0]) @ basis[1]]
    views["raw"] = [lambda x: flat_rows("evaluate", "data", x)]
    neighbours, k, clusters = (result["settings"][name] for name in ("neighbours", "k", "clusters"))
    found = {name: [[] for _ in functions] for name, functions in views.items()}
    for seed in result["seeds"]:
        (x, y), (x_fitted, y_fitted) = parts.drawn(seed)
        for name, functions in views.items():
            for measured, view in zip(found[name], functions):
                codes, codes_fitted = view(x), view(x_fitted)
                measured.append(
                    neighbour_measures(codes, y, codes_fitted, y_fitted, neighbours, k)
                    | {"linear_accuracy": linear_accuracy(codes, y, codes_fitted, y_fitted)}
                    | cluster_measures(codes, y, seed, clusters)
                )
    return {measure: {name: _over(each, measure) for name, each in found.items()} for measure in measured[0]}


def _over(each, measure):
    """The spread of one measure: of one model over its seeds, of several over the models, each with its median."""
    numbers = [[measures[measure] for measures in of_one] for of_one in each]
    return spread(numbers[0] if len(numbers) == 1 else [statistics.median(of_one) for of_one in numbers])


class Parts:
    """The examples that probes are asked about, and those that they are fitted on; ``limit`` of each at most."""

    def __init__(self, held, fitted, limit, result):
        self.held, self.fitted, self.limit = held, fitted, limit
        n, settings = len(held[0]), result["settings"]
        sizes = (n - n // 2, n // 2) if fitted is None else (n, len(fitted[0]))
        asked, fits = (min(limit, size) for size in sizes)
        needed = max(settings["neighbours"], settings["k"])
        if fits < needed or asked < settings["clusters"]:
            raise RangeError(
                f"evaluate: the probes have {fits} examples to be fitted on and {asked} to be asked about; expected at least "
                f"{needed} (for neighbours={settings['neighbours']}, k={settings['k']}) and {settings['clusters']} (clusters). "
                "Give more data, or smaller numbers; or reconstructions only, with probes=False (tinyae evaluate without --full)."
            )
        settings |= {"examples_asked": asked, "examples_fitted": fits}
        if fitted is None:
            result["remarks"].append(
                f"No training examples were given: the probes are fitted on {fits:,} of these and asked about {asked:,} others, "
                "drawn anew for each seed."
            )
            return
        for what, part in (("held-out", held[0]), ("training", fitted[0])):
            if len(part) > limit:
                result["remarks"].append(
                    f"The probes look at {limit:,} of the {len(part):,} {what} examples, drawn anew for each seed."
                )

    def drawn(self, seed):
        """((x, y) that are asked about, (x, y) that probes are fitted on), as arrays."""
        if self.fitted is not None:
            parts = [(part, some(len(part[0]), self.limit, seed)) for part in (self.held, self.fitted)]
        else:
            order = Generator(seed).permutation(len(self.held[0]))
            half = len(order) // 2
            parts = [(self.held, np.sort(index[: self.limit])) for index in (order[half:], order[:half])]
        return [(part[0][index], part[1][index]) for part, index in parts]


def codes_of(model: Any, x: Any, remarks: list[str] | None = None) -> Any:
    """The codes of x (N, ...) as rows of numbers (N, K), on the host; integers of a codebook become its vectors."""
    code = model.encode(x)
    if code.dtype.kind in "iu":
        remark = "Its code is of integers; they are compared as if they were amounts."
        if hasattr(model, "lookup"):
            code, remark = (
                model.lookup(Tensor(code)).data,
                "Its code is of integers; compared are the codebook's vectors, all numbers of them, and PCA with as many.",
            )
        if remarks is not None and remark not in remarks:
            remarks.append(remark)
    return flat_rows("evaluate", "the code", code)


def _code_size(models, x):
    """How many numbers the codes have, which must be one for all models."""
    sizes = [codes_of(model, x[:1]).shape[1] for model in models]
    if len(set(sizes)) > 1:
        raise RangeError(
            f"evaluate: the models' codes have {', '.join(map(str, sizes))} numbers; expected one size, as they are measured "
            "together, and PCA beside them. Evaluate the others in a call of their own."
        )
    return sizes[0]


def _classifiers(result, models, x, y):
    """The accuracy of models that give a score for each class."""
    if y is None:
        raise RangeError("evaluate: the model is a classifier, and no labels were given. Give labels, one per example.")
    accuracies = [float(np.mean(predicted_labels(model, x) == y)) for model in models]
    result["measures"] = {"accuracy": {"model": spread(accuracies)}}
    return result


# ---------------------------------------------------------------- checks


def _checked_models(model):
    models = list(model) if isinstance(model, (list, tuple)) else [model]
    for each in models:
        if not isinstance(each, Module):
            raise DtypeError(
                f"evaluate: the model is {brief(each)}; expected a Module, such as Autoencoder(...), or a list of them."
            )
    if not models or len({hasattr(each, "encode") for each in models}) > 1:
        raise RangeError(
            f"evaluate: {brief(models)} were given; expected at least one model, and all autoencoders or all classifiers."
        )
    return models


def _checked_seeds(seeds):
    seeds = [seeds] if np.ndim(seeds) == 0 else list(seeds)
    if not seeds:
        raise RangeError("evaluate: seeds is empty; expected at least one, such as (0, 1, 2).")
    return [require_integer("evaluate", "a seed", seed, at_least=0) for seed in seeds]


def _checked_part(name, x, y):
    """Examples and labels as they are used: x as array or Rows, y as int64 (N,) or None."""
    x = as_data(f"evaluate: {name}", x)
    if x.ndim < 2:
        raise ShapeError(f"evaluate: {name} has shape {tuple(x.shape)}; expected (N, ...), one entry per example.")
    check_values(f"evaluate: {name}", x)
    x = x if isinstance(x, Rows) else place_of(x).to_host(x)
    if y is None:
        return x, None
    y = checked_labels(f"evaluate: the labels of {name}", y)
    if len(y) != len(x):
        raise ShapeError(f"evaluate: {name} has {len(x)} examples, but there are {len(y)} labels; expected as many.")
    return x, y


def _checked_train(train, x, y):
    """The examples that probes are fitted on, as like as needed to those that are measured."""
    if not isinstance(train, (tuple, list)) or len(train) != 2:
        raise DtypeError(
            f"evaluate: train is {brief(train)}; expected a pair, train=(x, y), or train=(x, None) without labels."
        )
    x_train, y_train = _checked_part("train", *train)
    if x_train.shape[1:] != x.shape[1:]:
        raise ShapeError(
            f"evaluate: the examples of train have shape {x_train.shape[1:]}, those of data {x.shape[1:]}; they must be equal."
        )
    if y is not None and y_train is None:
        raise RangeError("evaluate: data has labels, train has none. Give both, train=(x, y), or neither.")
    return x_train, y_train
