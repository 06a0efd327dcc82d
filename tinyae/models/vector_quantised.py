r"""The vector-quantised autoencoder (VQ-VAE): a code of whole numbers, each the place of a vector in a learnt list.

The encoder gives vectors z. Each is replaced by the nearest of K vectors e, the *codebook*, and the decoder sees only these:

.. math:: q = \arg\min_k \lVert z - e_k \rVert^2, \qquad \hat x = g(e_q)

Choosing has no derivative. So the decoder's gradient is handed to z as if nothing had been chosen, the *straight-through
estimator*, and two terms bring the vectors together. With sg, "stop gradient", for what is held constant,

.. math:: L = L_{rec}(g(e_q), x) + \lVert \mathrm{sg}[z] - e_q \rVert^2 + \beta \lVert z - \mathrm{sg}[e_q] \rVert^2

The first term trains encoder and decoder, the second moves the codebook to the vectors that chose it, the third holds
the encoder to its choice.

van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning" (2017), eqs. 1 to 3; the estimator: Bengio,
Léonard and Courville, "Estimating or propagating gradients through stochastic neurons" (2013).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..apply import apply
from ..callbacks import Callback
from ..context import no_grad, own
from ..data import as_data
from ..errors import DtypeError, RangeError, ShapeError, StateError, require_integer, require_number
from ..functional import affine, matmul
from ..losses import mse_loss
from ..nn.init import uniform
from ..nn.module import Module, model_input
from ..ops import Op
from ..random import Generator
from ..tensor import Tensor, as_tensor, wrap
from .autoencoder import Autoencoder
from .codebook_care import CodebookCare

PIECE = 1024  # codes that are looked up together


class StraightThrough(Op):
    r"""Forward the codebook's vector E in place of Z; backward the gradient as if Z had passed.

    A rule by decision, :math:`\bar Z = \bar Y`. It is not the derivative, which is 0 almost everywhere, and would teach the
    encoder nothing. So it stands here and not in ``ops/``.
    """

    name = "straight_through"
    formula = r"Y = E"
    vjp = {"Z": r"\bar Y", "E": "0"}  # the codebook learns by a term of its own
    by_decision = True

    @staticmethod
    def forward(xp, save, Z, E):
        save()
        return E.copy()

    @staticmethod
    def backward(xp, saved, gY):
        return gY, None


class VQAutoencoder(Autoencoder):
    """An autoencoder whose code is made of integers from 0 to ``codes`` - 1.

    Shapes: the encoder gives (N, G * size), which is G vectors, and a code of integers (N, G); or images (N, H, W, size), a
    vector in each place, and a code (N, H, W). The decoder gets what the encoder gives, in that shape.

    Parameters
    ----------
    encoder, decoder : Module
    codes : int
        K, how many vectors the codebook has: a place in it is worth log2 K bits.
    size : int
        How many numbers there are in a vector.
    beta : float
        How strongly the encoder is held to its choice, the weight of the commitment.

    The terms of the loss are means: ``reconstruction`` over the elements of the input, ``codebook`` and ``commitment``
    (beta included) over those of the vectors. (The paper sums; only the ratios matter.)

    ``fit`` begins with a codebook of random vectors of the data. Between epochs it gives entries that nothing chooses a new
    place, and adds ``perplexity`` and ``codes_used`` to the history; a training of your own calls ``start_codebook``,
    ``revive`` and ``count_codes``. A codebook whose use was counted has begun: ``fit`` goes on with it.
    """

    objective_name = "the sum of the three terms"

    def __init__(self, encoder: Module, decoder: Module, codes: int = 64, size: int = 8, beta: float = 0.25) -> None:
        super().__init__(encoder, decoder)
        self.codes = require_integer("VQAutoencoder", "codes", codes, at_least=2)
        self.size = require_integer("VQAutoencoder", "size", size, at_least=1)
        self.beta = require_number("VQAutoencoder", "beta", beta, at_least=0)
        self.codebook = Tensor(uniform((self.codes, self.size), 1 / self.codes), requires_grad=True)
        # how often each entry was chosen, in each place of the code; the number of places is known with the first data
        self.usage = Tensor(np.zeros((1, self.codes), np.int64))

    # ------------------------------------------------------------ from vectors to integers and back

    def nearest(self, z: Tensor) -> Tensor:
        r"""The place in the codebook nearest to each vector of z, the first of several; int64.

        :math:`\lVert z - e \rVert^2 = \lVert z \rVert^2 - 2 z e^\top + \lVert e \rVert^2`, whose first part is the same for all e.
        """
        places = self.places(z.shape)
        vectors, e, xp = z.data.reshape(-1, self.size), self.codebook.data, z.backend.xp
        with no_grad():
            distance = affine(
                wrap(vectors, z.backend),
                wrap(xp.ascontiguousarray(e.T) * -2, z.backend),
                wrap((e * e).sum(axis=1), z.backend),
            )
        return own(wrap(distance.data.argmin(axis=1).reshape(places), z.backend))

    def places(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the integers for vectors of that shape."""
        if len(shape) == 2 and shape[1] % self.size == 0:
            return shape[0], shape[1] // self.size
        if len(shape) > 2 and shape[-1] == self.size:
            return tuple(shape[:-1])
        raise ShapeError(
            f"VQAutoencoder: the encoder gives shape {tuple(shape)}, which is not made of vectors of {self.size} numbers; "
            f"expected (N, G * {self.size}) or (N, H, W, {self.size}). Change size, or the encoder's last layer."
        )

    def lookup(self, index: Tensor) -> Tensor:
        """The codebook's vectors for integers (N, G) or (N, H, W), in the shape that the encoder gives; not on the tape."""
        vectors = self.codebook.data[index.data]
        return own(wrap(vectors.reshape(len(vectors), -1) if index.ndim == 2 else vectors, index.backend))

    def chosen(self, index: Tensor) -> Tensor:
        """The same on the tape: the product of a 1 where an entry was chosen, else 0, and the codebook. An entry's gradient is the
        sum of those of all the places where it was chosen."""
        is_chosen = index.data.reshape(-1, 1) == index.backend.xp.arange(self.codes)
        vectors = matmul(own(wrap(is_chosen.astype(self.codebook.dtype), index.backend)), self.codebook)
        return vectors.reshape(len(index), -1) if index.ndim == 2 else vectors.reshape(*index.shape, self.size)

    def code(self, x: Any) -> Tensor:
        """The integers, int64 (N, G) or (N, H, W)."""
        return self.nearest(self.encoder(x))

    def quantised(self, x: Any) -> Tensor:
        """The codebook's vectors for x, as floats that gradients pass straight through; shape as the encoder gives it."""
        z = self.encoder(x)
        return apply(StraightThrough, z, self.lookup(self.nearest(z)))

    def forward(self, x: Any) -> Tensor:
        return self.decoder(self.quantised(x))

    def before_sigmoid(self, x: Any) -> Tensor:
        return self.decoder.before_sigmoid(self.quantised(x))

    def joined(self):
        return Module.joined(self)  # encoder and decoder, each for itself: the codebook stands between them

    def objective(self, x: Tensor, y: Tensor, loss: Any) -> dict[str, Tensor]:
        """The three terms of eq. 3."""
        z = self.encoder(x)
        index = self.nearest(z)
        e = self.lookup(index)
        return {
            "reconstruction": loss(self.decoder, apply(StraightThrough, z, e), y),
            "codebook": mse_loss(self.chosen(index), z.detach()),
            "commitment": self.beta * mse_loss(z, e),
        }

    # ------------------------------------------------------------ what is asked of an autoencoder

    def encode(self, x: Any) -> Any:
        """The code of x, integers from 0 to ``codes`` - 1: int64 (N, G) or (N, H, W). Two of them that are near as numbers
        are not near in meaning: to compare codes, take ``vectors``."""
        return self.code(x) if isinstance(x, Tensor) else self._map(self.code, x, "encode")

    def vectors(self, x: Any) -> Any:
        """The code of x as the codebook's vectors, floats (N, G * size) or (N, H, W, size): for distances, plots, classifiers."""
        return self.quantised(x) if isinstance(x, Tensor) else self._map(self.quantised, x, "vectors")

    def decode(self, z: Any) -> Any:
        """The reconstruction from integers, as ``encode`` gives them; arrays and Tensors as there.

        Raises
        ------
        DtypeError
            The code is not made of integers.
        RangeError
            One of them is no place in the codebook.
        """
        index = as_tensor(z if isinstance(z, Tensor) else as_data("decode", z), "decode")
        if index.dtype.kind not in "iu":
            raise DtypeError(
                f"decode: the code is {index.dtype} {index.shape}; a VQAutoencoder's is made of integers, as encode gives them. "
                "For vectors of the codebook call model.decoder."
            )
        model_input(self, index, "decode")  # is it where the model is?
        low, high = int(index.data.min()), int(index.data.max())
        if low < 0 or high >= self.codes:
            raise RangeError(
                f"decode: the code has integers from {low} to {high}, the codebook {self.codes} entries; expected 0 to {self.codes - 1}."
            )
        if isinstance(z, Tensor):
            return self.decoder(self.lookup(z))
        with no_grad():
            pieces = [
                super(VQAutoencoder, self).decode(self.lookup(index[i : i + PIECE]).data)
                for i in range(0, len(index), PIECE)
            ]
        return pieces[0] if len(pieces) == 1 else self.backend.xp.concatenate(pieces)

    # ------------------------------------------------------------ the codebook and the data

    def start_codebook(self, x: Any, seed: int = 0) -> None:
        """Begin with a codebook of random code vectors of x, and count how they are used."""
        vectors, _ = self._vectors_of(x)
        self._put(vectors, np.arange(self.codes), seed, step=0)
        self.count_codes(x)

    def revive(self, x: Any, seed: int = 0) -> int:
        """Give entries that no code vector of x chooses the place of a random one; returns how many there were.

        They had no gradient, and would never be chosen.
        """
        vectors, index = self._vectors_of(x)
        unused = np.flatnonzero(np.bincount(index.ravel(), minlength=self.codes) == 0)
        if len(unused):
            self._put(vectors, unused, seed, step=1)  # not those that it may have begun with
        return len(unused)

    def count_codes(self, x: Any) -> None:
        """Count how often x chooses each entry, in each place of the code: what ``sample`` draws from."""
        index = self.backend.to_host(self.encode(x))
        places = index.reshape(len(index), -1)
        counts = np.zeros((places.shape[1], self.codes), np.int64)
        np.add.at(counts, (np.arange(places.shape[1]), places), 1)
        counts = counts.reshape(*index.shape[1:], self.codes)
        if self.usage.shape != counts.shape:
            self.usage.data = self.backend.asarray(counts)
        self.usage.data[...] = self.backend.asarray(counts)
        self.usage.mark_changed()

    def frequencies(self, by_place: bool = False) -> np.ndarray[Any, Any]:
        """How often each entry was chosen, shares that sum to 1: (codes,), or for each place of the code (..., codes).

        Counted by ``count_codes``, and by ``fit`` on up to 2,048 of its examples after each epoch.

        Raises
        ------
        StateError
            Nothing was counted.
        """
        counts = self.usage.numpy().astype(np.float64)
        if not counts.any():
            raise StateError(
                "VQAutoencoder: how often its codes are used is not known. Train it with fit, or call count_codes(x)."
            )
        counts = counts if by_place else counts.reshape(-1, self.codes).sum(axis=0)
        return counts / counts.sum(axis=-1, keepdims=True)

    def perplexity(self) -> float:
        """e to the entropy of the entries' frequencies: how many would be in use if all in use were chosen equally often."""
        return float(np.exp(np.log(2) * entropy(self.frequencies())))

    def bits(self) -> dict[str, float]:
        """Bits for the code of one example, three ways of writing it down.

        ``fixed``: log2 K for each integer. ``entropy``: as an entropy coder would need that knows how often each entry is
        used. ``entropy_by_place``: the same, knowing it for each place of the code.
        """
        places = math.prod(self.usage.shape[:-1])
        return {
            "fixed": places * math.log2(self.codes),
            "entropy": places * float(entropy(self.frequencies())),
            "entropy_by_place": float(entropy(self.frequencies(by_place=True)).sum()),
        }

    def sample(self, n: int, seed: int = 0) -> Any:
        """Made-up examples (n, ...): each integer of a code drawn by itself, as often as its place had it; then decoded.

        What it cannot know is how the integers of one code go together, so from codes of many integers come patches that do
        not fit. The paper learns that with a second network, a prior over codes; so do all good samples of such models.

        Raises
        ------
        StateError
            The codes were never counted.
        """
        n, seed = require_integer("sample", "n", n, at_least=1), require_integer("sample", "seed", seed, at_least=0)
        shares = self.frequencies(by_place=True)
        steps = np.cumsum(shares.reshape(-1, self.codes), axis=1)
        drawn = Generator(seed).uniform((n, len(steps)), "sample")
        index = [np.searchsorted(step / step[-1], chance, side="right") for step, chance in zip(steps, drawn.T)]
        return self.decode(self.backend.asarray(np.stack(index, axis=1).reshape(n, *shares.shape[:-1])))

    def findings(self, x_train: Any, x_test: Any) -> dict[str, Any]:
        bits = self.bits()
        return {
            "codebook entries in use": f"{int((self.frequencies() > 0).sum())} of {self.codes}",
            "perplexity (all used equally often: as many as there are)": self.perplexity(),
            "bits for one example, log2 of the codebook's size for each integer": bits["fixed"],
            "bits with an entropy coder": bits["entropy"],
            "bits with an entropy coder for each place of the code": bits["entropy_by_place"],
        }

    @classmethod
    def code_shape(cls, shape: tuple[int, ...], size: int = 8, **settings: Any) -> tuple[int, ...]:
        return (shape[0] // size,) if len(shape) == 1 else tuple(shape[:-1])

    def _vectors_of(self, x):
        """The code vectors of x, an array (M, size) where the model is, and their places in the codebook, on the host."""
        z = self._map(self.encoder, x, "encode")
        index = self.nearest(wrap(z, self.backend))
        return z.reshape(-1, self.size), self.backend.to_host(index.data)

    def _put(self, vectors, entries, seed, step):
        """Random ones of the vectors as the given entries of the codebook."""
        order = Generator(seed).permutation(len(vectors), "sample", step)
        chosen = order[np.arange(len(entries)) % len(order)]
        self.codebook.data[self.backend.asarray(entries)] = vectors[self.backend.asarray(chosen)]
        self.codebook.mark_changed()

    # ------------------------------------------------------------ training and files

    def watchers(self) -> list[Callback]:
        return [CodebookCare(self)]

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """As of every module; how many places a code has, the state knows."""
        before = self.usage.data
        shape: tuple[int, ...] = np.shape(state["usage"]) if isinstance(state, Mapping) and "usage" in state else ()
        if len(shape) > 1 and shape[-1] == self.codes and shape != self.usage.shape:
            self.usage.data = self.backend.asarray(np.zeros(shape, np.int64))
        try:
            super().load_state_dict(state, strict)
        except StateError:
            self.usage.data = before
            raise

    def config(self) -> dict[str, Any]:
        return super().config() | {"codes": self.codes, "size": self.size, "beta": self.beta}


def entropy(shares: np.ndarray[Any, Any]) -> Any:
    """In bits, of distributions along the last axis; 0 log 0 is 0."""
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=-1)
