"""Which layer loses the pixels, when an autoencoder's output is not as large as its input."""

import numpy as np

from ..context import watch_layers
from ..tensor import Tensor
from .images import Conv2D, Crop2D, Pooling, both
from .module import Module


def lost_pixels(model: Module, example_shape: tuple[int, ...]) -> str:
    """Why the output's height or width differs from the input's, and what to do about it, in a few sentences.

    Runs one example of this shape (without the batch axis) through the model and looks at the sizes between the
    layers. The answer is "" where sizes agree, or where no layer is to blame.
    """
    example = Tensor(np.zeros((1, *example_shape), model.dtype)).to(model.backend)
    with model.evaluating(), watch_layers() as calls:
        model(example)
    names = {id(module): name for name, module in model._named_parts()}
    images = [(module, x[1:3], y[1:3]) for module, x, y in calls if module.computes_itself() and len(x) == len(y) == 4]
    if not images or images[0][1] == images[-1][2]:
        return ""
    given, made = images[0][1], images[-1][2]
    reasons = [
        f"{names.get(id(module), '')} {module.label()} {reason}".strip()
        for module, before, after in images
        if (reason := why(module, before, after))
    ]
    text = f"Images of {size(given)} come out as {size(made)}" + (f", for {' and '.join(reasons)}." if reasons else ".")
    surplus = [m - g for m, g in zip(made, given)]
    if min(surplus) >= 0:
        crop = Crop2D([(n // 2, n - n // 2) for n in surplus])
        return f"{text} {crop.label()} as the last layer cuts the surplus off."
    if not reasons:
        return ""
    return f"{text} With padding='same' there no pixel is lost, and Crop2D as the last layer cuts off what may then be too much."


def why(module, before, after):
    """What a layer does to a height or width that its stride does not divide, or ""."""
    if not isinstance(module, (Pooling, Conv2D)):
        return ""
    lost = [n - m * s for n, m, s in zip(before, after, both(module.stride))]
    if not any(lost):
        return ""
    text = f"makes {size(after)} of {size(before)}"
    parts = [f"{n} {name}{'s' if n > 1 else ''}" for n, name in zip(lost, ("row", "column")) if n > 0]
    return f"{text} and loses {' and '.join(parts)}" if parts else text


def size(pair):
    """A height and width as text."""
    return f"{pair[0]}x{pair[1]}"
