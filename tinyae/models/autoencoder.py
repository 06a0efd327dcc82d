"""The autoencoder: a model that learns to say its input again through a narrow code.

.. math:: z = f(x), \\qquad \\hat x = g(z), \\qquad \\min_{f, g} \\; L(\\hat x, x)

Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006);
Goodfellow et al. (2016), chapter 14.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..callbacks import Callback
from ..context import watch_layers
from ..data import as_data
from ..errors import DtypeError, RangeError, brief
from ..history import History
from ..memory import examples_at_once
from ..nn.joining import joined_groups
from ..nn.module import Module, model_input
from ..nn.sequential import Sequential, flat, through
from ..optimizer import Optimizer
from ..regularizers import Regularizer
from ..tensor import Tensor
from ..training import fit
from .latent import codes_like, interpolation

FEW = 64  # examples that are computed at once, however large they are


class Autoencoder(Module):
    """An encoder f, x -> z, and a decoder g, z -> x.

    Shapes: (N, ...) -> code (N, ...) -> (N, ...), the shape of the input.

    Parameters
    ----------
    encoder, decoder : Module
        Usually a Sequential each.
    """

    prior: str | None = None  # what codes ``sample`` draws, for a model that was trained to have a distribution of them

    def __init__(self, encoder: Module, decoder: Module) -> None:
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, Module):
                raise DtypeError(
                    f"Autoencoder: the {name} is {brief(part)}, a {type(part).__name__}; expected a Module."
                )
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Any) -> Tensor:
        return through([self.encoder, self.decoder], x)

    def before_sigmoid(self, x: Any) -> Tensor:
        return through([self.encoder, self.decoder], x, before_sigmoid=True)

    def ends_in_sigmoid(self) -> bool:
        return self.decoder.ends_in_sigmoid()

    def joined(self):
        return joined_groups(flat([self.encoder, self.decoder]))

    def path(self) -> list[Module]:
        """The modules that x goes through one after the other, in evaluation: for looking at what each makes of it."""
        return [self.encoder, self.decoder]

    def code(self, x: Tensor) -> Tensor:
        """The code of x, on the tape: what ``encode`` gives."""
        return self.encoder(x)

    def encode(self, x: Any) -> Any:
        """The code of x. An array gives an array, computed in evaluation mode and without a tape; a
        Tensor gives a Tensor, computed like any layer, so that a loss on the code can be trained."""
        return self._map(self.code, x, "encode")

    def decode(self, z: Any) -> Any:
        """The reconstruction from a code; arrays and Tensors as in ``encode``."""
        return self._map(self.decoder, z, "decode")

    def reconstruct(self, x: Any) -> Any:
        """The reconstruction of x; arrays and Tensors as in ``encode``."""
        return self._map(self, x, "reconstruct")

    def interpolate(self, a: Any, b: Any, steps: int = 10) -> Any:
        """From one example to another, (steps, ...): the codes on the straight line between theirs, decoded. The ends are
        the reconstructions of a and b, one example each, such as x[0] and x[1]."""
        return interpolation(self, a, b, steps)

    def sample(self, n: int, seed: int = 0) -> Any:
        """n new examples (n, ...), on the model's backend, from codes drawn with ``seed``; of models that learn which codes
        there are. This one does not.

        Raises
        ------
        RangeError
            Says which models can, and what to do with this one.
        """
        raise RangeError(
            f"sample: a {type(self).__name__} learns no distribution of codes to draw from. Models that do: "
            "VariationalAutoencoder, AdversarialAutoencoder and VQAutoencoder. Or draw codes from a normal distribution "
            "fitted to those of some data: model.sample_like(x_train, 16)."
        )

    def sample_like(self, x: Any, n: int, seed: int = 0) -> Any:
        """n new examples (n, ...) from codes drawn from the normal distribution that has the mean and the covariance of the
        codes of x (N, ...): the simplest generator, to compare with one that was trained to be."""
        return self.decode(codes_like(self, x, n, seed))

    def _map(self, part, x, name, batch_size=1024):
        if isinstance(x, Tensor):
            return part(model_input(self, x, name))
        x = as_data(name, x)
        with self.evaluating():
            if len(x) > FEW:
                with watch_layers() as calls:
                    part(model_input(self, x[:1], name))
                batch_size = examples_at_once(calls, self.dtype.itemsize, batch_size)
            pieces = [part(model_input(self, x[i : i + batch_size], name)).data for i in range(0, len(x), batch_size)]
        return pieces[0] if len(pieces) == 1 else self.backend.xp.concatenate(pieces)

    @classmethod
    def code_shape(cls, shape: tuple[int, ...], **settings: Any) -> tuple[int, ...]:
        """The shape of the code of one example, where the encoder's layers end with that shape."""
        return shape

    def measured(self, x: Any) -> dict[str, float | str]:
        """What only this kind of model can say of data (N, ...), for ``tinyae evaluate``: {what: number or text}."""
        return {}

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        """What is special to this kind of model, for the report of a run: {what: number or text}."""
        return {}

    def fit(
        self,
        x: Any,
        epochs: int,
        batch_size: int | None = None,
        optimizer: str | Optimizer = "adam",
        lr: float | None = None,
        loss: str | Callable[[Tensor, Tensor], Tensor] | None = None,
        validation_data: Any = None,
        shuffle: bool = True,
        seed: int = 0,
        callbacks: Sequence[Callback] = (),
        regularizers: Sequence[Regularizer] = (),
        augment: Sequence[Callable[[Tensor], Tensor]] = (),
        progress: bool = True,
    ) -> History:
        """Train to reconstruct x (N, ...). Arguments, result and errors as in ``tinyae.fit``, the target being x."""
        if hasattr(epochs, "shape"):
            raise DtypeError(
                "Autoencoder.fit takes no targets: it learns to reconstruct x. For others: tinyae.fit(model, x, y, epochs)."
            )
        return fit(
            self,
            x,
            x,
            epochs,
            batch_size,
            optimizer,
            lr,
            loss,
            validation_data,
            shuffle,
            seed,
            callbacks,
            regularizers,
            augment,
            progress,
        )

    def config(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    @classmethod
    def from_parts(cls, encoder: Sequence[Module], decoder: Sequence[Module], **settings: Any) -> "Autoencoder":
        """The model from the layers of an encoder and of a decoder, as recipes have them; settings as in ``__init__``."""
        return cls(Sequential(*encoder), Sequential(*decoder), **settings)
