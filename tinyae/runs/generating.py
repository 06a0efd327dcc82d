"""New examples from a trained run: samples, a walk between two examples, the plane of a code of two numbers."""

import numpy as np

from ..datasets import load as load_data
from ..errors import RangeError, require_integer
from ..models import Autoencoder
from ..models.latent import latent_grid
from ..plots import is_images, new_figure
from ..plots.latent import draw_generated
from .outputs import checked_out, write_array
from .reporting import short
from .using import examples_of, open_autoencoder

KINDS = ("samples", "interpolation", "grid")
COUNTS = {"samples": 40, "interpolation": 10, "grid": 15}
SCATTERED = 5000  # codes of held-out examples, beside the plane


def generate(path, *, out, what=None, count=None, seed=0, between=None, data=None, overwrite=False):
    """Write what a run makes up: ``*.png``, a picture; ``*.npy``, float32.

    Parameters
    ----------
    what : str, optional
        ``"samples"``, ``"interpolation"`` between two examples, or the ``"grid"`` of a code of two numbers. By default a
        picture shows all that there is, and an array holds samples.
    count : int, optional
        How many samples; steps of an interpolation, ends included; codes along each side of the grid.
    seed : int
        For the samples.
    between : two ints, optional
        Numbers of examples, from 0; by default the first one, and the first with another label.
    data : str, optional
        Where the examples come from; by default the run's held-out data.

    Returns
    -------
    dict
        What was written, and where its codes come from.
    """
    kind = checked_out("generate", out, overwrite)
    if what not in (None, *KINDS):
        raise RangeError(f"generate: --what is {what!r}; expected {', '.join(KINDS)}.")
    require_integer("generate", "seed", seed, at_least=0)
    if count is not None:
        require_integer("generate", "count", count, at_least=1 if what in (None, "samples") else 2)
    if kind == ".png":
        new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_autoencoder("generate", path)
    x, y, which, data = examples_of("generate", settings, data, None)
    shape = settings.recipe.code_shape(settings.example_shape)
    if what == "grid" and shape != (2,):
        size = " x ".join(map(str, shape))
        raise RangeError(
            f"generate: --what grid needs a code of 2 numbers, and that of {settings.recipe.name} has {size}. Train a recipe with "
            "such a code, vae-digits or vae-conv2, or leave --what out."
        )
    if what is None:
        drawable = shape == (2,) and is_images((1, *settings.example_shape))
        walkable = model.encode(x[:1]).dtype.kind == "f"  # between whole numbers is nothing
        walk, plane = ["interpolation"] * walkable, ["grid"] * drawable
        wanted = ["samples"] if kind == ".npy" else ["samples", *walk, *plane]
    else:
        wanted = [what]
    number = {name: COUNTS[name] if count is None or name not in (what, "samples") else count for name in wanted}
    source = Source(model, settings)
    result = {"run": str(path), "recipe": settings.recipe.name, "model": type(model).__name__, "what": wanted, "data": data,
              "which": which, "codes": source.about, "seed": seed, "count": number, "out": str(out)}  # fmt: skip
    made = {}
    if "samples" in wanted:
        made["samples"] = source.samples(number["samples"], seed)
    if "interpolation" in wanted:
        result["between"] = ends = two_examples(between, x, y, which, data)
        made["interpolation"] = model.interpolate(*np.asarray(x[ends]), number["interpolation"])
    if "grid" in wanted:
        made["grid"] = latent_grid(model, number["grid"], like=None if model.prior else source.training_data())
    if kind == ".npy":
        array = made[wanted[0]][0] if wanted == ["grid"] else made[wanted[0]]
        write_array(out, [array], array.shape)
    else:
        draw(out, settings, result, made, model, x, y)
    return result


class Source:
    """Where the codes of samples come from: the model's own prior or, for one that has none, codes of its training data."""

    def __init__(self, model, settings):
        self.model, self.recipe = model, settings.recipe
        self.own = type(model).sample is not Autoencoder.sample
        self.about = model.prior or "the model's own distribution"
        if not self.own:
            self.about = "a normal distribution fitted to the codes of the training data"
        self.training = None

    def samples(self, n, seed):
        """n new examples."""
        return self.model.sample(n, seed) if self.own else self.model.sample_like(self.training_data(), n, seed)

    def training_data(self):
        """Read when it is needed, and once."""
        if self.training is None:
            self.training = load_data(self.recipe.data, self.recipe.labels)[0][0]
        return self.training


def two_examples(between, x, y, which, data):
    """The numbers of the two examples to walk between."""
    if between is None:
        others = [] if y is None or y.dtype.kind not in "iu" else np.flatnonzero(np.asarray(y) != y[0])
        if len(x) < 2:
            raise RangeError(f"generate: {data} has one example; expected two, to go from one to the other.")
        return [0, int(others[0]) if len(others) else 1]
    found = [require_integer("generate", "between", number, at_least=0) for number in between]
    if len(found) != 2 or max(found) >= len(x):
        raise RangeError(
            f"generate: --between is {' '.join(map(str, found))}; {data} has {len(x)} {which}: expected two numbers from 0 to "
            f"{len(x) - 1}."
        )
    return found


def draw(out, settings, result, made, model, x, y):
    """One picture of all."""
    parts, numbered = {}, None if y is None else np.asarray(y)
    if "samples" in made:
        n, seed = result["count"]["samples"], result["seed"]
        parts["samples"] = (
            f"{n} new examples: codes drawn from {result['codes']} (seed {seed}), decoded",
            made["samples"],
        )
    if "interpolation" in made:
        i, j = result["between"]
        label = "" if y is None or y.dtype.kind not in "iu" else f" (labels {numbered[i]} and {numbered[j]})"
        one = result["which"].removesuffix("s")
        title = f"from {one} {i} to {j}{label}, themselves at both ends; between them codes on a straight line, decoded"
        parts["interpolation"] = title, np.concatenate([x[[i]], made["interpolation"], x[[j]]])
    if "grid" in made:
        pictures, first, second = made["grid"]
        shown = np.asarray(x[:SCATTERED])
        labels = numbered[:SCATTERED] if y is not None and y.dtype.kind in "iu" else None
        about = f"{len(shown):,} {result['which']}" + ("" if labels is None else ", coloured by label")
        parts["plane"] = {"pictures": pictures, "first": first, "second": second, "codes": model.encode(shown),
                          "labels": labels, "about": about}  # fmt: skip
    size = settings.recipe.code_size(settings.example_shape)
    note = f"{result['recipe']}, trained on {short(settings.recipe.data)}: {result['model']} with a code of {size:,} numbers"
    draw_generated(out, note, **parts)


def report_generation(result):
    """What was written, as text."""
    about = {
        "samples": f"{result['count'].get('samples')} samples, their codes drawn from {result['codes']} with seed {result['seed']}",
        "interpolation": f"{result['count'].get('interpolation')} steps from one to another of {result['which']} of {result['data']}: "
        f"numbers {' and '.join(map(str, result.get('between', [])))}",
        "grid": f"the plane of its code, {result['count'].get('grid')} by {result['count'].get('grid')}",
    }
    lines = [
        f"{result['run']}: {result['recipe']}, {result['model']}",
        *(f"  {about[name]}" for name in result["what"]),
    ]
    return "\n".join([*lines, f"written to {result['out']}"])
