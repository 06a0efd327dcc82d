"""An evaluation in words: a line for each number, what it means, and what it is beside."""

from typing import Any

RECONSTRUCTION = ("mse", "bce", "bce_above_floor", "psnr", "ssim")
CODE = ("knn_accuracy", "linear_accuracy", "clustering_accuracy", "nmi", "ari", "precision")
FORMS = {"mse": ".5f", "bce": ".4f", "bce_above_floor": ".4f", "psnr": ".2f", "accuracy": ".4f"}


def about(result):
    """{measure: (its name with its unit, what it means in a line)}"""
    numbers, settings = result["numbers"], result["settings"]
    k, votes, clusters = settings.get("k"), settings.get("neighbours"), settings.get("clusters")
    peak, window = settings.get("peak", 1), settings.get("ssim_window")
    return {
        "mse": (f"squared error, mean over {numbers}", "Squared error: 0 is perfect."),
        "bce": (
            f"cross-entropy, nats, mean over {numbers}",
            "Cross-entropy (binary): even a perfect reconstruction has the entropy of the data themselves; above that, 0 is perfect.",
        ),
        "bce_above_floor": ("  the same above the data's entropy", None),
        "psnr": (
            "PSNR, dB, mean over examples",
            f"PSNR: the squared error beside a peak of {peak:.3g}; 10 dB more are a tenth of the error.",
        ),
        "ssim": (
            "SSIM, mean over images",
            f"SSIM: light, contrast and structure agree; 1 is perfect. Window: {window}.",
        ),
        "knn_accuracy": (
            "nearest neighbours, share right",
            f"Nearest neighbours: the {votes} nearest training examples vote on the label.",
        ),
        "linear_accuracy": ("linear probe, share right", "Linear probe: logistic regression tells the label."),
        "clustering_accuracy": (
            "k-means, share right",
            f"k-means: {clusters} clusters, found without labels; then each is named as fits best.",
        ),
        "nmi": ("k-means, NMI", "NMI: what cluster and label tell of each other; 0 is nothing, 1 all."),
        "ari": ("k-means, ARI", "ARI: pairs that both put together, or both apart; 0 is as by chance, 1 all."),
        "precision": (
            f"search, precision at {k}",
            f"Search: the share of the {k} nearest training examples that have the same label.",
        ),
        "accuracy": ("accuracy", "Accuracy: the share of examples whose label is told right."),
    }


def as_table(result: Any) -> str:
    """The table that an Evaluation prints as."""
    code, several = result.get("code_size"), result["models"] > 1
    head = f"{result['examples']:,} examples of {result['input_size']:,} {result['numbers']}"
    lines = [head if code is None else f"{head}; a code of {code:,} numbers"]
    who = f"{result['models']} models" if several else "the model"
    columns = {"model": who, "pca": f"PCA, {code}", "raw": f"raw {result['numbers']}", "mean": "mean example"}
    for measures in (("accuracy",), RECONSTRUCTION, CODE):
        present = [measure for measure in measures if measure in result["measures"]]
        if present:
            lines += ["", *block(present, columns, result)]
    if any(measure in result["measures"] for measure in CODE) or several:
        seeds = f"the seed{'s' * (len(result['seeds']) > 1)} {', '.join(map(str, result['seeds']))}"
        over = f"the {result['models']} models (those beside them: over {seeds})" if several else seeds
        lines += ["", f"A number with a range is the median over {over}, with the smallest and the largest."]
    return "\n".join([*lines, *(["", *result["remarks"]] if result["remarks"] else [])])


def block(measures, columns, result):
    """A row for each measure under the names of the columns, then what each means."""
    named = about(result)
    shown = [name for name in columns if any(name in result["measures"][measure] for measure in measures)]
    rows = [["", *(columns[name] for name in shown)]]
    for measure in measures:
        cells = [cell(result["measures"][measure].get(name), FORMS.get(measure, ".3f")) for name in shown]
        rows.append([named[measure][0], *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]
    return [*lines, "", *(named[measure][1] for measure in measures if named[measure][1])]


def cell(spread, form):
    """A median, and the range if there is one."""
    if spread is None:
        return "-"
    low, middle, high = (f"{spread[name]:{form}}" for name in ("low", "median", "high"))
    return middle if low == high else f"{middle} ({low}..{high})"
