"""Walks through the space of codes: from one example to another, over a grid, and codes like those of given data."""

from statistics import NormalDist
from typing import Any

import numpy as np

from ..errors import RangeError, ShapeError, require_integer
from ..random import Generator


def interpolation(model: Any, a: Any, b: Any, steps: int) -> Any:
    """What lies between two examples: the codes on the straight line from that of a to that of b, decoded."""
    steps = require_integer("interpolate", "steps", steps, at_least=2)
    xp = model.backend.xp
    if tuple(np.shape(a)) != tuple(np.shape(b)):
        raise ShapeError(
            f"interpolate: a has shape {tuple(np.shape(a))}, b {tuple(np.shape(b))}; expected two examples of one shape, such as "
            "x[0] and x[1]."
        )
    start, end = between_which_is_something("interpolate", model, model.encode(xp.stack([a, b])))
    weight = xp.linspace(0, 1, steps).reshape(steps, *[1] * start.ndim).astype(start.dtype)
    return model.decode((1 - weight) * start + weight * end)


def codes_like(model: Any, x: Any, n: int, seed: int) -> Any:
    """n codes from the normal distribution with the mean and the covariance that the codes of x (N, ...) have.

    The simplest way to new examples from a model that was not trained for them: the Gaussian may well put codes where
    there were none.
    """
    n = require_integer("sample_like", "n", n, at_least=1)
    generator = Generator(require_integer("sample_like", "seed", seed, at_least=0))
    codes = between_which_is_something("sample_like", model, model.encode(x))
    shape, backend = codes.shape[1:], model.backend
    if len(codes) < 2:
        raise RangeError(
            "sample_like: x has one example; expected several, for their codes' mean and covariance are taken."
        )
    codes = backend.to_host(codes).reshape(len(codes), -1).astype(np.float64)
    mean, covariance = codes.mean(axis=0), np.atleast_2d(np.cov(codes, rowvar=False))
    values, vectors = np.linalg.eigh(covariance)
    noise = generator.normal((n, len(mean)), "sample").astype(np.float64)
    drawn = mean + noise * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return backend.asarray(drawn.reshape(n, *shape).astype(model.dtype))


def latent_grid(model: Any, side: int = 15, like: Any = None) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A plane of codes, decoded: what a code of two numbers means, everywhere.

    Along each axis the codes stand at the quantiles of the normal distribution, so that each has the same share of the
    prior: close together in the middle, far apart at the ends. Kingma and Welling (2014), figure 4.

    Parameters
    ----------
    model : Autoencoder
        With a code of two numbers.
    side : int
        Codes along each axis, at least 2.
    like : array (N, ...), optional
        Data whose codes say where the plane lies, for a model without a prior: their mean and standard deviation along
        each axis take the place of 0 and 1.

    Returns
    -------
    pictures : array (side, side, ...)
        On the model's backend. The first row has the largest second number, as in a plot: right and up is larger.
    first, second : arrays (side,)
        The numbers of the code along the columns, and along the rows.

    Raises
    ------
    ShapeError
        The code has not two numbers.
    RangeError
        The model has no prior, and no data were given in its place.
    """
    side = require_integer("latent_grid", "side", side, at_least=2)
    centre, spread = np.zeros(2), np.ones(2)
    if like is not None:
        codes = model.backend.to_host(between_which_is_something("latent_grid", model, model.encode(like)))
        refuse_other_than_two(codes.shape[1:])
        centre, spread = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    elif model.prior is None:
        raise RangeError(
            f"latent_grid: a {type(model).__name__} has no prior that says where its codes lie. Give data whose codes do: "
            "latent_grid(model, like=x)."
        )
    else:
        refuse_other_than_two((getattr(model, "code_size", 2),))
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)])
    first, second = centre[0] + spread[0] * quantiles, centre[1] + spread[1] * quantiles[::-1]
    codes = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2).astype(model.dtype)
    pictures = model.decode(model.backend.asarray(codes))
    return pictures.reshape(side, side, *pictures.shape[1:]), first, second


def between_which_is_something(name, model, codes):
    """The codes, unless they are whole numbers, such as places in a codebook."""
    if codes.dtype.kind != "f":
        raise RangeError(
            f"{name}: the codes of a {type(model).__name__} are whole numbers that stand for vectors: between two of them is "
            "nothing. Use a model whose codes are real numbers, such as a VariationalAutoencoder."
        )
    return codes


def refuse_other_than_two(shape):
    """A plane has two axes."""
    if tuple(shape) != (2,):
        raise ShapeError(
            f"latent_grid: the code has shape {tuple(shape)}; expected 2 numbers, for a plane. Train a model with a code of 2, "
            "such as the recipe vae-conv2."
        )
