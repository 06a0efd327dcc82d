"""What a run has reached, in numbers, in words and in pictures."""

from math import prod
from pathlib import Path

import numpy as np

from ..metrics import (
    LARGEST_PCA,
    confusion_matrix,
    entropy_floor,
    mean_baseline,
    pca,
    pca_error,
    predicted_labels,
    reconstruction_error,
)
from ..plots import draw_confusion, draw_loss, draw_reconstructions, held_out_terms, is_images
from .folder import FILES

LOSS_NAMES = {
    "mse": "mean squared error, mean over {}",
    "bce": "binary cross-entropy, mean over {}",
    "cross_entropy": "cross-entropy, mean over examples",
}
REMARKS = {
    "PCA": "the best linear code of that size",
    "mean": "no code: always the same",
    "perfect": "the floor: the data are not only 0 and 1",
    "most frequent": "always the same answer",
}


def describe_run(recipe, model, history, sets):
    """What a trained model reaches, beside what simpler predictors do."""
    (x, y), (x_test, y_test) = sets
    result = {
        "recipe": recipe.name,
        "data": recipe.data,
        "task": recipe.task,
        "loss": recipe.loss,
        "epochs": len(history),
        "train_loss": history["loss"][-1] if len(history) else None,
        "val_loss": history["val_loss"][-1] if len(history) else None,
        "parameters": model.parameter_count(),
        "input_size": prod(x.shape[1:]),
        "examples": {"train": len(x), "val": len(x_test)},
        "stop_reason": history.stop_reason,
        "interrupted": history.interrupted,
    }
    if recipe.task == "classify":
        return result | describe_classifier(model, (x, y), (x_test, y_test))
    code = {"code_size": recipe.code_size(x.shape[1:]), "code_shape": list(recipe.code_shape(x.shape[1:]))}
    result |= {"objective": model.objective_name, "terms": terms_of(history), "findings": model.findings(x, x_test)}
    return result | code | describe_autoencoder(recipe, model, x, x_test)


def terms_of(history):
    """What the loss was the sum of after the last epoch: {name: {"train": value, "val": value}}."""
    if not len(history):
        return {}
    last = history.records[-1]
    return {name: {"train": last[name], "val": last[f"val_{name}"]} for name in held_out_terms(history)}


def describe_autoencoder(recipe, model, x, x_test):
    """Errors on training and held-out examples, and those of PCA and the mean example."""
    parts = {"train": x, "val": x_test}
    names = ["mse", "bce"] if recipe.loss == "bce" else ["mse"]
    result = {
        f"{part}_{name}": reconstruction_error(model, data, name) for name in names for part, data in parts.items()
    }
    baselines = {}
    size, components = prod(x.shape[1:]), recipe.code_size(x.shape[1:])
    if components < size <= LARGEST_PCA:  # with as many components as numbers PCA makes no error
        mean, vectors = pca(x)
        errors = {part: pca_error(mean, vectors[:, -components:], data) for part, data in parts.items()}
        baselines[f"PCA with {components} components"] = {"mse": errors}
    label = "mean image" if is_images(x.shape) else "mean example"
    baselines[label] = {name: {part: mean_baseline(x, d, name) for part, d in parts.items()} for name in names}
    if "bce" in names:
        baselines["perfect reconstruction"] = {"bce": {part: entropy_floor(data) for part, data in parts.items()}}
    return result | {"baselines": baselines}


def describe_classifier(model, train, test):
    """Accuracies, and that of always giving the most frequent label."""
    (x, y), (x_test, y_test) = train, test
    frequent = np.bincount(y).argmax()
    return {
        "train_accuracy": float(np.mean(predicted_labels(model, x) == y)),
        "test_accuracy": float(np.mean(predicted_labels(model, x_test) == y_test)),
        "classes": int(y.max()) + 1,
        "baselines": {
            "most frequent label": {
                "accuracy": {"train": float(np.mean(y == frequent)), "val": float(np.mean(y_test == frequent))}
            }
        },
    }


def draw_run(recipe, model, history, sets, result, folder):
    """The pictures of a run."""
    _, (x_test, y_test) = sets
    kind = numbers_called(x_test.shape)
    if recipe.task == "classify":
        matrix = confusion_matrix(predicted_labels(model, x_test), y_test, result["classes"])
        note = f"held-out {recipe.data}: {result['test_accuracy']:.1%} are told right"
        draw_confusion(matrix, folder / "confusion.png", note)
    else:
        examples = np.asarray(x_test[some_examples(y_test, len(x_test))])
        note = f"held-out {short(recipe.data)}: {result['input_size']} {kind} through a code of {result['code_size']:,} numbers"
        draw_reconstructions(examples, model.reconstruct(examples), folder / "reconstructions.png", note)
    if not len(history):  # Ctrl-C in the first epoch
        return
    # a baseline has no place beside a loss that consists of more
    own = {} if result.get("terms") else result["baselines"]
    baselines = [(label, values[recipe.loss]["val"]) for label, values in own.items() if recipe.loss in values]
    name = result.get("objective") or LOSS_NAMES[recipe.loss].format(kind) + (" + terms" if result.get("terms") else "")
    rate = "" if result["lr"] is None else f", learning rate {result['lr']:g}"
    title = f"{recipe.name}: the error while learning ({recipe.optimizer}{rate})"
    draw_loss(history, folder / "loss.png", name, baselines, title)
    if any(record.get("gradients") for record in history.records):
        history.plot_gradients(folder / "gradients.png", f"{recipe.name}: how strong a gradient reaches each layer")


def numbers_called(shape):
    """What the numbers of examples (N, ...) of that shape are."""
    return "pixels" if is_images(shape) else "values"


def some_examples(labels, n):
    """The first example of each class, or the first ten."""
    if labels is None or labels.dtype.kind not in "iu":
        return np.arange(min(n, 10))
    return np.array([np.flatnonzero(labels == value)[0] for value in np.unique(labels)[:10]])


def short(data):
    """A data set's name, or the last part of a path."""
    name = data.replace("\\", "/").rstrip("/").split("/")[-1]
    return name.encode("utf-8", "replace").decode()  # a picture cannot show every name of a file


# ---------------------------------------------------------------- in words


def report(result):
    """A result as text that a student can read."""
    sizes = result["examples"]
    lines = [
        f"{result['recipe']}: {result['epochs']} epochs ({result['steps']:,} steps of {result['optimizer']}) in "
        f"{result['seconds']:.1f} s on {result['backend']}; {sizes['train']:,} training examples, {sizes['val']:,} held out",
    ]
    if result["stop_reason"]:
        how = f"; go on with: tinyae resume {result['out']}" if result["interrupted"] else ""
        lines.append(f"{result['stop_reason']}{how}")
    if result["task"] == "classify":
        lines += [
            f"{result['parameters']:,} parameters; {result['input_size']} numbers become {result['classes']} scores",
            "",
        ]
        lines += table("accuracy", result, "accuracy", ".1%")
    else:
        lines += [
            f"{result['parameters']:,} parameters; {result['input_size']} numbers become {code_in_words(result)}",
            "",
        ]
        if result["loss"] == "bce":
            lines += [*table("binary cross-entropy, mean", result, "bce", ".4f"), ""]
        lines += table("mean squared error", result, "mse", ".4f")
        lines += [*minimised(result), *(f"{what}: {in_words(value)}" for what, value in result["findings"].items())]
        pca = next((v["mse"]["val"] for k, v in result["baselines"].items() if k.startswith("PCA")), None)
        if pca and pca > 1e-9:
            lines += [
                "",
                f"On examples it was not trained on, its squared error is {result['val_mse'] / pca:.2f} times that of PCA. "
                "(0 is perfect.)",
            ]
    lines += ["", f"written to {result['out']}: {', '.join(name for name in written(result['out']))}"]
    return "\n".join(lines)


def code_in_words(result):
    """The size of the code and the compression ratio; where it does not compress, that is said."""
    size, code, shape = result["input_size"], result["code_size"], result["code_shape"]
    sides = f" ({' x '.join(map(str, shape))})" if len(shape) > 1 else ""
    verdict = "" if code < size else ": the code is no smaller than the input, nothing is compressed"
    return f"{code:,}{sides}, a compression ratio of {size / code:.3g}{verdict}"


def minimised(result):
    """What a model that minimises more than a loss has reached, as a sum."""
    if not result["terms"]:
        return []
    title = result["objective"] or "what was minimised"
    lines = ["", f"{title}, on training examples during the last epoch and on held-out ones after it:"]
    for part, total in (("train", result["train_loss"]), ("val", result["val_loss"])):
        terms = " + ".join(f"{name} {values[part]:.4f}" for name, values in result["terms"].items())
        lines.append(f"{'training' if part == 'train' else 'held out'}  {total:.4f} = {terms}")
    return lines


def in_words(value):
    """A number in four digits, a text as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(title, result, name, form):
    """This model beside the baselines that have an error of that name."""
    own = (result[f"train_{name}"], result.get(f"val_{name}", result.get(f"test_{name}")))
    rows = [("this classifier" if name == "accuracy" else "this autoencoder", *own, "")]
    for label, values in result["baselines"].items():
        if name in values:
            remark = next(text for key, text in REMARKS.items() if label.startswith(key))
            rows.append((label, values[name]["train"], values[name]["val"], remark))
    width = max(len(title), *(len(row[0]) for row in rows))
    lines = [
        f"{label:{width}}  {train:>8{form}}  {val:>8{form}}  {remark}".rstrip() for label, train, val, remark in rows
    ]
    return [f"{title:{width}}  training  held out", *lines]


def written(path):
    """The files of a run that a reader may want."""
    return [name for name in FILES if (Path(path) / name).exists() and not name.endswith(".previous")]


def report_inspection(result):
    """What each layer made of the example, as text."""
    rows = [("layer", "output", "smallest", "largest")]
    for layer in result["layers"]:
        rows.append(
            (layer["layer"], " x ".join(map(str, layer["shape"])), f"{layer['min']:.3g}", f"{layer['max']:.3g}")
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{result['recipe']}: {result['which']} {result['example']} of {result['data']}, layer by layer", ""]
    lines += [
        "  ".join([*(t.ljust(w) for t, w in zip(row[:2], widths)), *(t.rjust(w) for t, w in zip(row[2:], widths[2:]))])
        for row in rows
    ]
    return "\n".join([*lines, "", f"written to {result['out']}: {', '.join(result['written'])}"])
