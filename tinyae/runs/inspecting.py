"""What a trained run looks like inside: its first layer's weights, and what each layer makes of one example."""

from pathlib import Path

import numpy as np

from ..errors import FileWriteError, RangeError, ShapeError
from ..models import Autoencoder
from ..nn import Dense, Flatten, Reshape
from ..nn.sequential import flat
from ..plots import draw_filters, draw_maps, is_images, new_figure
from .folder import INSIDE, RunFolder
from .reporting import short
from .using import examples_of, open_run


def inspect(path, *, data=None, example=0, out=None, overwrite=False):
    """Draw the inside of a run of images: ``filters.png``, ``feature_maps.png``.

    Parameters
    ----------
    data : str, optional
        Where the example comes from; by default the run's held-out data.
    example : int
        Its number, from 0.
    out : path, optional
        A folder, made if it is not there; by default the run's own.

    Returns
    -------
    dict
        What was written, and for each layer its output's shape, smallest and largest number.
    """
    new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_run("inspect", path)
    if not is_images((1, *settings.example_shape)):
        raise ShapeError(
            f"inspect: the run in {path} was trained on examples of shape {settings.example_shape}, which are no images; "
            "expected a run on images, (H, W) or (H, W, channels). See tinyae reconstruct for others."
        )
    x, y, which, data = examples_of("inspect", settings, data, None)
    if type(example) is not int or not 0 <= example < len(x):
        raise RangeError(f"inspect: --example is {example}; {data} has {len(x)} {which}: expected 0 to {len(x) - 1}.")
    image = np.asarray(x[example : example + 1])
    found = stages(model, image)
    folder = Path(path) if out is None else own_folder(out, overwrite)
    label = (
        "" if y is None else f", a {int(y[example])}" if data in ("digits", "mnist") else f", label {int(y[example])}"
    )
    which = which.removesuffix("s")
    of = f"{which} {example} of {short(data)}{label}"
    if out is None:
        with RunFolder(path) as run:
            run.claim("inspect")  # nobody may train in it meanwhile
            draw(settings.recipe, model, image[0], found, folder, of)
    else:
        draw(settings.recipe, model, image[0], found, folder, of)
    layers = [
        {
            "layer": f"{name} {type(layer).__name__}",
            "shape": list(made.shape),
            "min": float(made.min()),
            "max": float(made.max()),
        }
        for name, layer, made in found
    ]
    return {"run": str(path), "recipe": settings.recipe.name, "data": data, "which": which,
            "example": example, "layers": layers,
            "out": str(folder), "written": list(INSIDE)}  # fmt: skip


def own_folder(out, overwrite):
    """The folder ``out``, made if it is not there; files of an earlier call are only replaced if asked for."""
    folder = Path(out)
    taken = [name for name in INSIDE if (folder / name).exists()]
    if taken and not overwrite:
        raise RangeError(
            f"inspect: {out} has {' and '.join(taken)}. Choose another --out, or give --overwrite to replace what is there."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileWriteError(f"inspect: a folder {out} cannot be made: {error.strerror}.") from error
    return folder


def stages(model, x):
    """(name, layer, what it makes of the example x (1, ...)) of each layer, one after the other."""
    names = {id(part): name for name, part in model._named_parts()}
    found = []
    with model.evaluating():
        for layer in flat(model.path() if isinstance(model, Autoencoder) else [model]):
            x = layer(x)
            found.append((names.get(id(layer), ""), layer, x.numpy()[0]))
    return found


def draw(recipe, model, image, found, folder, of):
    """Both pictures."""
    layer = next(layer for _, layer, _ in found if hasattr(layer, "weight"))
    weight = layer.weight.numpy()
    if isinstance(layer, Dense):
        shape = image.shape if image.ndim == 3 else (*image.shape, 1)
        filters = weight.T.reshape(-1, *shape)
        what = f"what each of the {len(filters)} units of the first layer looks for: its weight for every pixel"
    else:
        filters = np.moveaxis(weight, -1, 0)
        height, width = filters.shape[1:3]
        what = f"the {len(filters)} filters of the first layer, {height}x{width}: what each looks for everywhere in the image"
    draw_filters(filters, folder / "filters.png", f"{recipe.name}: {what}")
    draw_maps(rows_of(recipe, image, found), folder / "feature_maps.png", f"{recipe.name}: {of}, from layer to layer")


def rows_of(recipe, image, found):
    """The rows of the picture, {name: [(title, array), ...]}: from the image to the code, and from there to the reconstruction."""
    last = len(found) - 1
    rows = {"encoder": [("input", image)], "decoder": []}
    for i, (name, layer, made) in enumerate(found):
        reshapes = isinstance(layer, (Flatten, Reshape))
        if (reshapes and i < last) or (i == last - 1 and isinstance(found[last][1], Reshape)):
            continue  # the same numbers in another shape
        part = "decoder" if name.startswith("decoder") else "encoder"
        activation = getattr(layer, "activation", None)
        title = type(layer).__name__ + (f", {activation}" if activation else "")
        is_code = part == "encoder" and all(later.startswith("decoder") for later, _, _ in found[i + 1 :])
        if i == last:
            title = "reconstruction" if recipe.task == "reconstruct" else "scores"
        elif is_code:
            title += " = the code"
        rows[part].append((title, made))
    return rows if rows["decoder"] else {"": rows["encoder"]}
