"""Convolutional autoencoders as data: a tuple for each layer, and what becomes of images of any size.

=======================  ====================================================================================
("conv", 32)             3x3 convolution to 32 channels, padding "same": the image keeps its size
("conv", 16, "valid")    without padding: the image loses a pixel on each side
("pool", 2)              max pooling; an odd image loses its last row and column
("pool", 2, "same")      max pooling; of 7 rows come 4
("up", 2)                nearest upsampling: every pixel becomes 2x2
=======================  ====================================================================================
"""

from dataclasses import dataclass
from math import prod

from ..errors import RangeError, ShapeError, known_name
from ..nn import Conv2D, Crop2D, Dense, Flatten, MaxPool2D, Reshape, UpSampling2D

KINDS = ("conv", "pool", "up")
KERNEL = 3
DENSE = "digits or deep"  # recipes for any numbers


@dataclass(frozen=True)
class Layout:
    """What becomes of images (H, W, C): the layers with their paddings, the code, what is cut off at the end.

    Pooling may lose a pixel that upsampling does not bring back: 10 becomes 5, 2, then 4, 8. So, where the size does
    not return as the layers are described, all paddings are "same" (10, 5, 3, then 6, 12), and the surplus is cut off.
    """

    image: tuple
    encoder: tuple  # (kind, number, padding) of each layer
    decoder: tuple
    code_shape: tuple
    crop: tuple | None  # ((top, bottom), (left, right))


def layout(encoder, decoder, example_shape):
    """The Layout for examples (H, W, C), or grey ones (H, W)."""
    image = tuple(example_shape) if len(example_shape) == 3 else (*example_shape, 1)
    for padding in (None, "same"):
        layers = [tuple(with_padding(layer, padding) for layer in part) for part in (encoder, decoder)]
        code_shape = shape_after(layers[0], image)
        surplus = [made - given for made, given in zip(shape_after(layers[1], code_shape), image[:2])]
        if surplus == [0, 0]:
            return Layout(image, *layers, code_shape, None)
    return Layout(image, *layers, code_shape, tuple((n // 2, n - n // 2) for n in surplus))


def with_padding(layer, padding=None):
    """(kind, number, padding), with the given padding or else its own."""
    kind, number, *own = layer
    return kind, number, padding or (own[0] if own else "valid" if kind == "pool" else "same")


def shape_after(layers, shape):
    """The shape (H, W, C) of an image after these layers."""
    *sizes, channels = shape
    for kind, number, padding in layers:
        if kind == "conv":
            sizes, channels = sizes if padding == "same" else [n - KERNEL + 1 for n in sizes], number
        elif kind == "pool":
            sizes = [-(-n // number) if padding == "same" else n // number for n in sizes]
        else:
            sizes = [n * number for n in sizes]
    return (*sizes, channels)


def build(recipe, example_shape):
    """The layers of the encoder and those of the decoder, their weights from the current seed."""
    plan = layout(recipe.encoder, recipe.decoder, example_shape)
    last = recipe.activation if recipe.code else recipe.code_activation
    encoder, channels = made(plan.encoder, plan.image[2], recipe.activation, last, recipe.init)
    if recipe.code:
        widths = [prod(plan.code_shape), *recipe.widths, recipe.code]
        names = [recipe.activation] * len(recipe.widths) + [recipe.code_activation]
        encoder += [Flatten(), *(Dense(m, n, f, recipe.init) for m, n, f in zip(widths, widths[1:], names))]
        widths = widths[::-1]
        widening = [Dense(m, n, recipe.activation, recipe.init) for m, n in zip(widths, widths[1:])]
        widening.append(Reshape(*plan.code_shape))
    decoder, channels = made(plan.decoder, channels, recipe.activation, recipe.activation, recipe.init)
    if recipe.code:
        decoder = [*widening, *decoder]
    decoder.append(Conv2D(channels, plan.image[2], KERNEL, activation=recipe.output, init=recipe.init))
    if plan.crop:
        decoder.append(Crop2D(plan.crop))
    if len(example_shape) == 2:
        encoder, decoder = [Reshape(*plan.image), *encoder], [*decoder, Reshape(*example_shape)]
    return encoder, decoder


def made(layers, channels, activation, last, init):
    """The layers as Modules, and how many channels they end with; ``last`` is the activation of the last convolution."""
    found = []
    n_convs = sum(kind == "conv" for kind, _, _ in layers)
    for kind, number, padding in layers:
        if kind == "conv":
            n_convs -= 1
            found.append(
                Conv2D(channels, number, KERNEL, padding=padding, activation=activation if n_convs else last, init=init)
            )
            channels = number
        elif kind == "pool":
            found.append(MaxPool2D(number, padding=padding))
        else:
            found.append(UpSampling2D(number))
    return found, channels


def refuse_what_are_no_images(name, example_shape):
    """Convolutions need rows and columns, and the channels last.

    Raises
    ------
    ShapeError
        Says which data to give, or which recipe to use.
    """
    shape = tuple(example_shape)
    given = f"recipe '{name}': it has convolutions, and an example of these data has shape {shape}"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ShapeError(
            f"{given}, which looks like channels first (C, H, W); expected (H, W, C). "
            "Save the data with the channels last: x.transpose(0, 2, 3, 1)."
        )
    if len(shape) not in (2, 3) or min(shape[:2]) < 2:
        raise ShapeError(
            f"{given}; expected images, (H, W) or (H, W, C). Use a dense recipe, such as {DENSE}, or save the data as "
            "images: x.reshape(-1, H, W, 1)."
        )


def checked_layers(layers):
    """The layers of an encoder or decoder as tuples, from what JSON made of them."""
    found = tuple(map(tuple, layers))
    for layer in found:
        known_name("kind of layer", layer[0] if layer else None, KINDS)
        if (
            len(layer) not in (2, 3)
            or type(layer[1]) is not int
            or layer[1] < 1
            or layer[2:] not in ((), ("same",), ("valid",))
        ):
            raise RangeError(f"a layer is {layer}; expected (kind, number) or (kind, number, 'same' or 'valid').")
    return found
