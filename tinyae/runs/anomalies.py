"""Looking for anomalies from the command line: data in, a folder with scores, pictures and the detector out."""

import json

import numpy as np

from ..anomaly import AnomalyDetector
from ..datasets import load as load_data
from ..datasets.own import read_parts
from ..errors import RangeError, ShapeError, missing_library
from ..files import write_whole
from ..metrics import LARGEST_PCA, pca, projected, squared_error
from ..plots import draw_scores, draw_worst, is_images, new_figure
from ..plots.anomalies import DRAWN_IMAGES, DRAWN_ROWS
from .folder import RunFolder
from .reporting import short
from .training import as_source
from .using import open_autoencoder

FILES = {"scores.csv": "the score of every row", "worst.png": "the strangest and where they are strange",
         "scores.png": "all scores", "detector.safetensors": "for ta.AnomalyDetector.load"}  # fmt: skip


def find_anomalies(data, *, train=None, run=None, normal=(), labels=None, contamination=None, false_alarms=None, epochs=None,
                   seed=0, out=None, progress=True):  # fmt: skip
    """Score every row of some data, and write what was found.

    Parameters
    ----------
    train : str, optional
        Normal data to learn from. By default the training part of data that have one, else the data themselves.
    run : str, optional
        The folder of a run, whose model is used as it is; what is usual for it is measured on the run's own data.
    normal : sequence of int
        Labels that are normal: only such rows are learnt from.

    Returns
    -------
    dict
        ``anomalies``, how many; ``threshold``; ``worst``, [row, score]; with labels ``auroc``, ``average_precision`` and
        the same of PCA with as many components.
    """
    if run is not None and (train is not None or epochs is not None or normal):
        raise RangeError("anomalies: --run takes a trained model as it is; leave out --train, --normal and --epochs.")
    if contamination is not None and (train is not None or run is not None):
        raise RangeError(
            "anomalies: --contamination is the share of anomalies among the rows learnt from, but --train and --run are "
            "taken to be normal. Leave it out, or give --false-alarms."
        )
    if contamination is not None and false_alarms is not None:
        raise RangeError("anomalies: --contamination and --false-alarms each set the threshold. Give one of them.")
    new_figure(1, 1)  # without Matplotlib, say so at once
    model = None
    data = as_source(data)
    parts = read_parts(data, labels)
    x, y = parts[-1]
    x = np.asarray(x[:])
    held_out, learnt_from = None, data
    if run is not None:
        model, settings = open_autoencoder("anomalies", run)
        (known, _), (held_out, _) = load_data(settings.recipe.data, settings.recipe.labels)
        held_out, learnt_from, epochs = np.asarray(held_out[:]), settings.recipe.data, 0
    elif train is not None:
        learnt_from = as_source(train)
        known, known_labels = read_parts(learnt_from, None)[0]
    else:
        known, known_labels = parts[0]
    known = np.asarray(known[:])
    if known.shape[1:] != x.shape[1:]:
        raise ShapeError(
            f"anomalies: an example of {data} has shape {x.shape[1:]}, those learnt from, {learnt_from}, have "
            f"{known.shape[1:]}. Give data of one kind."
        )
    truth = known_anomalies(y, normal, labels, data)
    if normal:
        known = rows_with(known, known_labels, normal, learnt_from)
    choices = {"contamination": contamination, "false_alarms": false_alarms, "epochs": epochs}
    given = {name: value for name, value in choices.items() if value is not None}
    detector = AnomalyDetector(model, seed=seed, progress=progress, **given)
    folder = RunFolder.new("anomalies", out, command="anomalies")
    try:
        detector.fit(known, held_out=held_out)
        result = describe(detector, known, x, truth)
        result = {
            "data": data,
            "learnt_from": learnt_from,
            "normal": list(normal),
            "run": run,
            "rows": {"learnt_from": len(known), "scored": len(x)},
            "contamination": contamination,
            "false_alarms": None if contamination is not None else detector.false_alarms,
            "seed": seed,
            **result,
            "out": str(folder),
        }
        scores = result.pop("scores")
        write(folder, detector, x, scores, truth, result)
    except BaseException:
        for name in (*FILES, "result.json"):
            (folder / name).unlink(missing_ok=True)
        folder.remove_if_made()
        raise
    folder.release()
    return result


def known_anomalies(y, normal, labels, data):
    """Which rows are anomalies by their labels, bool (N,), or None if that is not known."""
    if normal:
        if y is None:
            raise RangeError(
                f"anomalies: --normal says which labels are normal, but {data} has none. Give --labels FILE."
            )
        return ~np.isin(y, normal)
    if y is None:
        return None
    values = sorted(set(np.asarray(y).tolist()))
    if not set(values) <= {0, 1}:
        if labels is not None:
            raise RangeError(
                f"anomalies: the labels in {labels} are {', '.join(map(str, values[:10]))}; expected 1 for an anomaly and 0 "
                "for a normal row. Or say which are normal: --normal LABEL."
            )
        return None  # classes, which say nothing of what is normal
    return np.asarray(y) == 1


def rows_with(known, y, normal, learnt_from):
    """The rows that have a normal label."""
    if y is None:
        raise RangeError(f"anomalies: --normal was given, but {learnt_from} has no labels. Leave it out.")
    there = set(np.asarray(y).tolist())
    missing = [label for label in normal if label not in there]
    if missing:
        raise RangeError(
            f"anomalies: --normal {missing[0]}, but {learnt_from} has only the labels {', '.join(map(str, sorted(there)))}."
        )
    return known[np.isin(y, normal)]


def describe(detector, known, x, truth):
    """The scores, and how good they are."""
    scores = detector.score_samples(x)
    found = scores < detector.threshold
    worst = np.argsort(scores, kind="stable")[:20]
    result = {
        "threshold": detector.threshold,
        "anomalies": int(found.sum()),
        "worst": [[int(row), float(scores[row])] for row in worst],
        "scores": scores,
    }
    if truth is None or truth.all() or not truth.any():
        return result
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score
    except ImportError as error:
        raise missing_library("judging scores by labels", "scikit-learn") from error
    result |= {
        "labelled_anomalies": int(truth.sum()),
        "auroc": float(roc_auc_score(truth, -scores)),
        "average_precision": float(average_precision_score(truth, -scores)),
        "found_share": float(found[truth].mean()),
        "false_alarm_share": float(found[~truth].mean()),
    }
    plain = pca_errors(detector, known, x)
    if plain is not None:
        components, errors = plain
        result["pca"] = {
            "components": components,
            "auroc": float(roc_auc_score(truth, errors)),
            "average_precision": float(average_precision_score(truth, errors)),
        }
    return result


def pca_errors(detector, known, x):
    """(components, errors (N,)): the reconstruction error of PCA with as many components as the code, or None.

    Fitted on the rows learnt from, ``known``, scaled in the same way.
    """
    components, learnt_from = detector.code_size, detector.scaled(known)
    size = learnt_from[0].size
    if not components < size <= LARGEST_PCA:
        return None
    mean, vectors = pca(learnt_from)
    z = detector.scaled(x)
    return components, squared_error(projected(z, mean, vectors[:, -components:]), z).reshape(len(x), -1).mean(axis=1)


def write(folder, detector, x, scores, truth, result):
    """All files of the folder."""
    found = scores < detector.threshold
    columns = [np.arange(len(x)), scores, found] + ([] if truth is None else [truth])
    header = "row,score,anomaly" + ("" if truth is None else ",label")
    lines = (",".join(f"{v:.9g}" if isinstance(v, float) else str(int(v)) for v in row) for row in zip(*columns))
    name = short(result["data"])
    write_whole(folder / "scores.csv", "\n".join([header, *lines]) + "\n")
    draw_scores(scores, detector.threshold, folder / "scores.png", truth, f"{name}: how strange its rows are")
    worst = [row for row, _ in result["worst"]][: DRAWN_IMAGES if is_images(x.shape) else DRAWN_ROWS]
    between = "\n" if is_images(x.shape) else ": "
    names = [f"row {row:,}{between}{plainly(-scores[row])}" for row in worst]
    shown = x[worst]
    title = f"{name}: the strangest of {len(x):,}, with their strangeness (minus the score)"
    draw_worst(shown, detector.reconstruct(shown), detector.error_map(shown), names, folder / "worst.png", title)
    detector.save(folder / "detector.safetensors")
    write_whole(folder / "result.json", json.dumps(result, indent=2) + "\n")


def plainly(number):
    """Three digits, or all before the point: 2,280 and not 2.28e+03."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def report_anomalies(result):
    """A result as text that a student can read."""
    rows, found = result["rows"], result["anomalies"]
    usual = f"{rows['learnt_from']:,} rows of {short(result['learnt_from'])}"
    if result["normal"]:
        usual += f" with label {', '.join(map(str, result['normal']))}"
    promise = (
        f"by the share of anomalies expected, {result['contamination']:g}"
        if result["contamination"] is not None
        else f"so that at most {100 * result['false_alarms']:g} % of normal rows are called anomalies"
    )
    lines = [
        f"{short(result['data'])}: {rows['scored']:,} rows scored; what is usual was learnt from {usual}"
        + (f" with the model of {result['run']}" if result["run"] else ""),
        f"anomalies: {found:,} ({100 * found / rows['scored']:.1f} %), those with a score below {result['threshold']:.4g}; "
        f"the threshold is set {promise}",
        "strangest rows: " + ", ".join(f"{row} ({plainly(score)})" for row, score in result["worst"][:8]),
    ]
    if "auroc" in result:
        pca = result.get("pca")
        lines += [
            f"by the labels ({result['labelled_anomalies']:,} anomalies):",
            f"    AUROC {result['auroc']:.4f}, average precision {result['average_precision']:.4f}",
            *([f"    PCA's error, {pca['components']} components: AUROC {pca['auroc']:.4f}, average precision "
               f"{pca['average_precision']:.4f}"] if pca else []),
            f"    found: {100 * result['found_share']:.1f} % of the anomalies; false alarms: "
            f"{100 * result['false_alarm_share']:.1f} % of the normal rows",
        ]  # fmt: skip
    lines.append(f"written to {result['out']}: " + "; ".join(f"{name} ({what})" for name, what in FILES.items()))
    return "\n".join(lines)
