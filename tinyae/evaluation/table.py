"""An evaluation in words: a line for each number, what it means, and what it is beside."""

from typing import Any

RECONSTRUCTION = ("mse", "bce", "bce_above_floor", "psnr", "ssim")
CODE = ("knn_accuracy", "linear_accuracy", "clustering_accuracy", "nmi", "ari", "precision")
FORMS = {"mse": ".5f", "bce": ".4f", "bce_above_floor": ".4f", "psnr": ".2f", "accuracy": ".4f"}


def about(result):
    """{measure: (its name, what it means)}"""
    numbers, settings = result["numbers"], result["settings"]
    k, votes, clusters = settings.get("k"), settings.get("neighbours"), settings.get("clusters")
    return {
        "mse": ("squared error", f"mean over {numbers}; 0 is perfect"),
        "bce": ("binary cross-entropy", f"nats, mean over {numbers}"),
        "bce_above_floor": ("  above its floor", "what is left of it without the data's own entropy; 0 is perfect"),
        "psnr": ("PSNR", f"dB, mean over examples, peak {settings.get('peak', 1):.3g}; 10 dB more: a tenth of the squared error"),
        "ssim": ("SSIM", f"mean over images, window {settings.get('ssim_window')}; 1: same light, contrast and structure"),
        "knn_accuracy": ("nearest neighbours", f"share right, if the {votes} nearest training examples vote on the label"),
        "linear_accuracy": ("linear probe", "share right, if logistic regression tells the label"),
        "clustering_accuracy": ("k-means, accuracy", f"share right of {clusters} clusters found without labels, then named as fits best"),
        "nmi": ("k-means, NMI", "what cluster and label tell of each other; 0: nothing, 1: all"),
        "ari": ("k-means, ARI", "pairs that both put together or apart; 0: as by chance, 1: all"),
        "precision": (f"search, precision at {k}", f"share of the {k} nearest training examples with the same label"),
        "accuracy": ("accuracy", "share of examples whose label is told right"),
    }


def as_table(result: Any) -> str:
    """The table that an Evaluation prints as."""
    size, code = result["input_size"], result.get("code_size")
    several = result["models"] > 1
    who = f"{result['models']} models" if several else "the model"
    head = f"{result['examples']:,} examples of {size:,} {result['numbers']}"
    lines = [head if code is None else f"{head}; a code of {code:,} numbers"]
    columns = {"model": who, "pca": f"PCA, {code}", "raw": f"raw {result['numbers']}", "mean": "mean example"}
    for title, measures in (("", ("accuracy",)), ("reconstruction", RECONSTRUCTION), ("what the code is good for", CODE)):
        present = [measure for measure in measures if measure in result["measures"]]
        if present:
            lines += ["", *block(title, present, columns, result)]
    if any(measure in result["measures"] for measure in CODE) or several:
        over = f"the {result['models']} models" if several else f"the seeds {', '.join(map(str, result['seeds']))}"
        lines += ["", f"Numbers with a range are medians over {over}, with the smallest and the largest."]
    return "\n".join([*lines, *result["remarks"]])


def block(title, measures, columns, result):
    """A heading and a row for each measure."""
    named = about(result)
    shown = [name for name in columns if any(name in result["measures"][measure] for measure in measures)]
    rows = [[title, *(columns[name] for name in shown), ""]]
    for measure in measures:
        cells = [cell(result["measures"][measure].get(name), FORMS.get(measure, ".3f")) for name in shown]
        rows.append([named[measure][0], *cells, named[measure][1]])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    widths[0] = max(widths[0], 25)
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[-1]]).rstrip() for row in rows]


def cell(spread, form):
    """A median, and the range if there is one."""
    if spread is None:
        return "-"
    low, middle, high = (f"{spread[name]:{form}}" for name in ("low", "median", "high"))
    return middle if low == high else f"{middle} ({low} to {high})"
