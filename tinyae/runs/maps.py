"""The codes of a run as a map, beside a map of the raw examples."""

import numpy as np

from ..errors import known_name, require_integer
from ..evaluation.mapping import NEIGHBOURS, WAYS, map_codes, same_label_nearby
from ..evaluation.measuring import codes_of
from ..evaluation.neighbours import flat_rows
from ..evaluation.reconstructions import MOST, some
from ..plots import draw_code_maps, new_figure
from .pictures import checked_picture, claimed
from .reporting import numbers_called, short
from .using import examples_of, open_autoencoder

LIMIT = 2_000  # points that can still be told apart, and that t-SNE places in seconds


def map_run(path, *, by=None, data=None, labels=None, limit=LIMIT, seed=0, out=None, overwrite=False):
    """Draw the codes of held-out examples, or of other data, as points; beside it the same of the raw examples.

    Parameters
    ----------
    by : str, optional
        "model", for codes of two numbers, "pca" or "tsne"; by default the first of model and tsne that can be. For
        "model" the raw examples are placed by PCA.
    limit : int
        So many examples are drawn; which, ``seed`` decides.
    out : path, optional
        FILE.png; by default map.png in the run's folder.

    Returns
    -------
    dict
        What was written, the points, and for labelled data how often neighbours in the map have the same label.
    """
    limit, seed = (
        require_integer("map", name, n, at_least=least)
        for name, n, least in (("--limit", limit, 5), ("--seed", seed, 0))
    )
    by = None if by is None else known_name("way to map codes", by, WAYS)
    out, picture = checked_picture("map", path, out, overwrite)
    new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_autoencoder("map", path, "code")
    x, y, which, data = examples_of("map", settings, data, labels)
    index = some(len(x), min(limit, max(5, MOST // flat_size(x))), seed)
    x, y = np.asarray(x[index]), None if y is None else np.asarray(y)[index]
    codes, raw = codes_of(model, x), flat_rows("map", "the data", x)
    by = by or ("model" if codes.shape[1] == 2 else "tsne")
    placed = [("code", by, map_codes(codes, by, seed)), ("raw", "pca" if by == "model" else by, None)]
    placed[1] = (*placed[1][:2], map_codes(raw, placed[1][1], seed))
    maps = [{"of": of, "by": way, "size": size, "points": np.round(points, 4).tolist()}
            | ({} if y is None else {"same_label": same_label_nearby(points, y)})
            for (of, way, points), size in zip(placed, (codes.shape[1], raw.shape[1]))]  # fmt: skip
    note = f"{settings.recipe.name}: {len(x):,} {which} of {short(data)}"
    panels = [
        (title_of(one, numbers_called(x.shape)), points, axes_of(one["by"]))
        for one, (_, _, points) in zip(maps, placed)
    ]
    with claimed("map", path, picture):
        draw_code_maps(panels, y, out, note)
    return {"run": str(path), "recipe": settings.recipe.name, "data": data, "which": which, "examples": len(x), "by": by,
            "maps": maps, "labels": None if y is None else y.tolist(), "indices": index.tolist(), "out": str(out)}  # fmt: skip


def flat_size(x):
    """How many numbers an example has."""
    return int(np.prod(x.shape[1:]))


def title_of(one, numbers):
    """What a map shows, and how well it keeps labels together."""
    what = f"the code, {one['size']} numbers" if one["of"] == "code" else f"the {one['size']} raw {numbers}"
    way = "" if one["by"] == "model" else f", by {WAYS[one['by']]}"
    if "same_label" not in one:
        return f"{what}{way}"
    return f"{what}{way}\nof the {NEIGHBOURS} nearest points, {one['same_label']:.0%} have the same label"


def axes_of(way):
    """The names of a map's axes; None where they mean nothing."""
    return {"model": ("first number of the code", "second number of the code"),
            "pca": ("first principal component", "second principal component"), "tsne": None}[way]  # fmt: skip


def report_map(result):
    """A map in words."""
    lines = [f"{result['run']}: {result['examples']:,} {result['which']} of {result['data']} as points of a plane"]
    for one in result["maps"]:
        shared = (
            f": of the {NEIGHBOURS} nearest points, {one['same_label']:.1%} have the same label"
            if "same_label" in one
            else ""
        )
        name = "the code" if one["of"] == "code" else "the raw examples"
        lines.append(f"  {name} ({one['size']} numbers), by {WAYS[one['by']]}{shared}")
    return "\n".join([*lines, f"written to {result['out']}"])
