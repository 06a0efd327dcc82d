"""Runs as compressors beside PCA, JPEG and PNG: bits against error, a table and a plot."""

import json

from ..compression.rates import at_equal_bits, decoder_bytes, image_files, principal_components, rate_distortion
from ..errors import RangeError, require_integer
from ..files import write_whole
from ..plots import draw_rates, is_images, new_figure
from .compressing import training_examples
from .folder import RunFolder
from .reporting import short
from .using import examples_of, open_autoencoder


def rates(paths, *, data=None, bits=(2, 3, 4, 5, 6, 8), out=None):
    """The rate-distortion curves of runs, of PCA with as many components, and of JPEG and PNG where the data are images.

    Returns
    -------
    dict
        ``curves``, one dict each: ``label``, ``kind`` ("autoencoder", "pca", "JPEG", "PNG"), ``code_size``,
        ``model_bytes``, ``points`` (``bits_per_example`` without the model, ``with_model`` with its share of the model,
        ``mse``, ...); ``comparison``, each run beside PCA at equal bits; ``out``, the folder with ``rates.json`` and
        ``rates.png``.
    """
    bits = listed_bits(bits)
    new_figure(1, 1)
    found = [(str(path), *open_autoencoder("rates", path)) for path in dict.fromkeys(map(str, paths))]
    first = found[0][2]
    for path, _, settings in found:
        if settings.example_shape != first.example_shape or settings.recipe.data != first.recipe.data:
            raise RangeError(
                f"rates: {path} was trained on {short(settings.recipe.data)}, {found[0][0]} on {short(first.recipe.data)}; "
                "expected runs on the same data."
            )
    x, _, which, data = examples_of("rates", first, data, None)
    fit_on = training_examples(first)
    trained_on = x if fit_on is None else fit_on
    unit_interval = all(settings.recipe.output == "sigmoid" for _, _, settings in found)
    folder = RunFolder.new("rates", out, command="rates")
    try:
        curves = [
            curve(
                f"{settings.recipe.name}",
                "autoencoder",
                settings.recipe.code_size(x.shape[1:]),
                model,
                x,
                bits,
                trained_on,
            )
            | {"run": path}
            for path, model, settings in found
        ]
        sizes = [own["code_size"] for own in curves]
        for size, model in principal_components(trained_on, sizes, unit_interval).items():
            curves.append(curve(f"PCA {size}", "pca", size, model, x, bits, trained_on))
        if is_images(x.shape) and unit_interval:
            images = x if x.ndim == 4 else x[:].reshape(*x.shape, 1)
            for label, points in image_files(images).items():
                points = [{**point, "with_model": point["bits_per_example"]} for point in points]
                curves.append({"label": label, "kind": label.split(",")[0], "model_bytes": 0, "points": points})
        result = {"data": data, "which": which, "examples": len(x), "numbers": x[:1].size, "bits": bits, "curves": curves,
                  "comparison": compared(curves), "out": str(folder)}  # fmt: skip
        write_whole(folder / "rates.json", json.dumps(result, indent=2) + "\n")
        draw_rates(result, folder / "rates.png")
    except BaseException:
        (folder / "rates.json").unlink(missing_ok=True)
        folder.remove_if_made()
        raise
    folder.release()
    return result


def listed_bits(bits):
    """Numbers of bits, each once, ascending; ``"2,4"`` too."""
    given = [part.strip() for part in bits.split(",") if part.strip()] if isinstance(bits, str) else bits
    try:
        found = [int(part) if isinstance(part, str) else part for part in given]
    except ValueError:
        raise RangeError(
            f"rates: --bits is {bits!r}; expected whole numbers with commas between them, such as 2,4,8."
        ) from None
    found = sorted({require_integer("rates", "bits", b, at_least=1) for b in found})
    if not found or found[-1] > 16:
        raise RangeError(f"rates: --bits is {bits!r}; expected at least one number, each from 1 to 16.")
    return found


def curve(label, kind, size, model, x, bits, fit_on):
    """One model's curve; the model's bytes are shared by the examples."""
    needed = decoder_bytes(model)
    points = rate_distortion(model, x, bits, fit_on)
    for point in points:
        point["with_model"] = point["bits_per_example"] + 8 * needed / len(x)
    return {"label": label, "kind": kind, "code_size": size, "model_bytes": needed, "points": points}


def compared(curves):
    """Each autoencoder beside PCA with as many components, where both have as many bits per example."""
    pca = {c["code_size"]: c for c in curves if c["kind"] == "pca"}
    rows = []
    for own in curves:
        if own["kind"] != "autoencoder" or own["code_size"] not in pca:
            continue
        pairs = at_equal_bits(own["points"], pca[own["code_size"]]["points"])
        rows.append(
            {
                "run": own["run"],
                "code_size": own["code_size"],
                "pairs": pairs,
                "wins_everywhere": all(pair["mse"] < pair["other_mse"] for pair in pairs),
            }
        )
    return rows


def rates_table(result):
    """The curves as text."""
    n = result["examples"]
    lines = [
        f"{n:,} {result['which']} of {short(result['data'])}, bits for each from the sizes of real files; MSE of what they decode to",
        "",
        f"{'':42}  bits per   and with its      MSE    PCA's MSE at",
        f"{'':42}   example   share of model           as many bits",
    ]
    beside = {row["run"]: row for row in result["comparison"]}
    for c in result["curves"]:
        pairs = {pair["bits_per_example"]: pair for pair in beside.get(c.get("run"), {"pairs": []})["pairs"]}
        for point in c["points"]:
            setting = (
                f", {point['bits']} bits"
                if "bits" in point
                else f", quality {point['quality']}"
                if "quality" in point
                else ""
            )
            pair = pairs.get(point["bits_per_example"])
            other = f"{pair['other_mse']:>12.5f}{'  *' if pair['mse'] < pair['other_mse'] else ''}" if pair else ""
            lines.append(
                f"{c['label'] + setting:42}  {point['bits_per_example']:>8,.1f}  {point['with_model']:>14,.1f}  {point['mse']:>8.5f}{other}"
            )
    lines += ["", "* less than PCA with as many components, the same quantiser and the same entropy coder."]
    for c in result["curves"]:
        if c["model_bytes"]:
            lines.append(
                f"{c['label']}: {c['model_bytes']:,} bytes are needed to decode, {8 * c['model_bytes'] / n:,.1f} bits for each example"
            )
    return "\n".join([*lines, f"written to {result['out']}: rates.json, rates.png"])
