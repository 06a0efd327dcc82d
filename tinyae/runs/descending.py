"""Optimizers on their way down a surface: a picture or an animation, and a table."""

from pathlib import Path

from ..errors import RangeError, known_name, require_integer
from ..explain.surfaces import SURFACES, descend, make_surface
from ..plots import animate_descent, draw_descent, new_figure
from .outputs import refuse_existing


def descend_run(surface="valley", *, out=None, steps=None, lr=None, seed=0, overwrite=False):
    """Walk down a surface with four optimizers and draw their paths.

    Parameters
    ----------
    surface : str
        valley, saddle or autoencoder.
    out : path, optional
        FILE.png, or FILE.gif for an animation; by default SURFACE.png in the current folder.
    steps, lr
        As for ``explain.surfaces.descend``.
    seed : int
        For the autoencoder's initial weights.

    Returns
    -------
    dict
        What was written; of each optimizer the learning rate, the points, and the losses.
    """
    surface = known_name("surface", surface, SURFACES)
    out = Path(f"{surface}.png" if out is None else out)
    kind = out.suffix.lower()
    if kind not in (".png", ".gif"):
        raise RangeError(
            f"descend: --out {out} ends in {kind or 'nothing'}; expected a picture, FILE.png, or an animation, FILE.gif."
        )
    refuse_existing("descend", out, overwrite)
    require_integer("descend", "--seed", seed, at_least=0)
    new_figure(1, 1)  # without Matplotlib, say so at once
    place = make_surface(surface, seed)
    descents = descend(place, steps=steps, lr=lr)
    (draw_descent if kind == ".png" else animate_descent)(place, descents, out)
    walked = [{"optimizer": d.name, "label": d.label, "lr": d.lr, "steps": len(d.points) - 1, "loss": float(d.losses[-1]),
               "points": d.points.tolist(), "losses": d.losses.tolist()} for d in descents]  # fmt: skip
    return {"surface": surface, "about": place.about, "note": place.note, "start": [float(x) for x in place.start],
            "steps": descents[0].steps, "seed": seed, "descents": walked, "out": str(out)}  # fmt: skip


def descend_table(result):
    """The descents in words."""
    a, b = result["start"]
    lines = [f"{result['about']}: from ({a:.4g}, {b:.4g}), the loss {result['descents'][0]['losses'][0]:.4g}"]
    lines += [f"({result['note']})"] if result["note"] else []
    lines.append(f"{'':18}{'learning rate':>15}{'steps':>8}{'loss':>12}{'at':>22}")
    for one in result["descents"]:
        a, b = one["points"][-1]
        left = "   then it left for infinity" if one["steps"] < result["steps"] else ""
        lines.append(
            f"  {one['label']:16}{one['lr']:15g}{one['steps']:8}{one['loss']:12.4g}{f'({a:.4g}, {b:.4g})':>22}{left}"
        )
    return "\n".join([*lines, f"written to {result['out']}"])
