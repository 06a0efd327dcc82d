"""Greedy layer-wise pre-training: a deep autoencoder is learnt one pair of layers at a time, from the outside in.

The first layer of the encoder and the last of the decoder are a small autoencoder of the data. Once it is trained, its codes
are data for the second layer and the last but one, and so on. The weights found are where the training of the whole
begins ("fine-tuning"): ::

    ta.pretrain(model, x, epochs=10)
    model.fit(x, epochs=50)

It is how deep networks were first trained at all: with sigmoid units and small random weights the gradient fades on
its way through many layers, and each pair has only two. With relu, He's or Glorot's initial weights and Adam, the
whole model mostly trains as well without it. On the digits, 64-128-128-128-128-8 and back, Adam, held-out squared error (seeds
0, 1, 2; PCA 0.0245, the mean image 0.0740): ::

                                      20 epochs    100 epochs    20 for each pair, then 20
    sigmoid units, init "glorot"      0.0743       0.0741        0.0182
    relu units, init "he"             0.0144       0.0124        0.0141

Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks" (2007), with autoencoders;
Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006), with restricted
Boltzmann machines.
"""

from typing import Any

from ..errors import DtypeError, ShapeError, brief
from ..history import History
from ..nn.layers import Dense
from ..nn.sequential import Sequential, flat
from ..nn.tied import TiedDense
from .autoencoder import Autoencoder

DENSE = (Dense, TiedDense)


def pretrain(
    model: Autoencoder, x: Any, epochs: int, *, loss: str = "mse", validation_data: Any = None, **options: Any
) -> list[History]:
    """Train each layer of the encoder with the decoder's mirror image of it, from the outside in.

    It is ``model``'s own layers that are trained. Layers without weights (Flatten, Dropout, noise) go with the dense layer
    before them, those at the beginning with the first. The pairs are plain autoencoders, whatever the model is: what else it does
    in training, such as its penalty or its noise, begins with its own ``fit``. Noise that is a layer of the encoder takes part.

    Parameters
    ----------
    model : Autoencoder
        Of dense layers; the decoder has as many as the encoder, with the same widths in the opposite order. They may be tied.
    x : array (N, ...)
    epochs : int
        For each pair.
    loss : str
        ``"mse"`` or ``"bce"``, for the pair that sees x. The pairs within take it too if their decoder layer ends in a
        sigmoid, else ``"mse"``.
    validation_data : array, optional
        Held-out examples; their loss stands in the histories.
    **options
        What else ``Autoencoder.fit`` takes: ``batch_size``, ``optimizer`` by name, ``lr``, ``seed``, ``progress``, ...

    Returns
    -------
    list of History
        One for each pair, the outermost first. After Ctrl-C the last one says so, and no further pair is trained.

    Raises
    ------
    DtypeError, ShapeError
        The layers do not mirror each other, or are not dense; nothing has been trained.
    """
    stages = pairs(model)
    if not isinstance(options.get("optimizer", ""), str):
        raise DtypeError(
            f"pretrain: the optimizer is {brief(options['optimizer'])}; expected a name, such as 'adam': every pair has "
            "parameters, and so an optimizer, of its own."
        )
    histories = []
    for number, stage in enumerate(stages):
        fits = number == 0 or loss != "bce" or stage.ends_in_sigmoid()
        history = stage.fit(x, epochs, loss=loss if fits else "mse", validation_data=validation_data, **options)
        histories.append(history)
        if history.interrupted or number == len(stages) - 1:
            break
        x = stage.encode(x)
        validation_data = None if validation_data is None else stage.encode(validation_data)
    return histories


def pairs(model: Autoencoder) -> list[Autoencoder]:
    """A small autoencoder for each dense layer of the encoder and its mirror image, the outermost first."""
    if not isinstance(model, Autoencoder):
        raise DtypeError(
            f"pretrain: the model is {brief(model)}; expected an Autoencoder, with an encoder and a decoder."
        )
    encoder, decoder = blocks("encoder", model.encoder), blocks("decoder", model.decoder)[::-1]
    if len(encoder) != len(decoder):
        raise ShapeError(
            f"pretrain: the encoder has {len(encoder)} dense layers, the decoder {len(decoder)}; expected as many, each the "
            "mirror image of another."
        )
    for into, back in zip(encoder, decoder):
        there, here = dense_of(into), dense_of(back)
        if (there.in_features, there.out_features) != (here.out_features, here.in_features):
            raise ShapeError(
                f"pretrain: {there.label()} of the encoder and {here.label()} of the decoder are no pair: expected "
                f"{there.out_features} numbers back to {there.in_features}. Give the decoder the widths of the encoder in "
                "the opposite order."
            )
    return [Autoencoder(Sequential(*into), Sequential(*back)) for into, back in zip(encoder, decoder)]


def blocks(name, part):
    """The layers of an encoder or a decoder, divided before each dense layer but the first."""
    found: list[list[Any]] = [[]]
    for layer in flat([part]):
        if isinstance(layer, DENSE):
            if any(isinstance(other, DENSE) for other in found[-1]):
                found.append([])
        elif layer.parameters():
            raise DtypeError(
                f"pretrain: the {name} has {layer.label()}; expected dense layers, and others only without weights. "
                "Train such a model by fit alone."
            )
        found[-1].append(layer)
    if not any(isinstance(layer, DENSE) for layer in found[0]):
        raise DtypeError(f"pretrain: the {name} has no dense layer; expected at least one.")
    return found


def dense_of(block):
    """The dense layer of a block."""
    return next(layer for layer in block if isinstance(layer, DENSE))
