r"""Losses of two numbers, on which the paths of optimizers can be drawn.

A real loss depends on thousands of weights and cannot be seen. Here it depends on a point (a, b): of a formula (the valley,
the saddle), or of an autoencoder whose weights may only move in a plane,

.. math:: w = w_0 + a \, d_1 + b \, d_2

That is a slice through the autoencoder's loss (Goodfellow, Vinyals and Saxe, "Qualitatively characterizing neural network
optimization problems" (2015), with one direction; Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of
neural nets" (2018), with two). Our :math:`d_1, d_2` are those of the second paper's section 7: the two principal components of the path that a
training took, so that as much as can be of the real path lies in the plane.

The gradient is exact: the loss is computed on the tape, from the point on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..context import manual_seed, no_grad
from ..errors import DtypeError, RangeError, ShapeError, brief, known_name, require_integer, require_number
from ..functional import matmul, sigmoid, tanh
from ..losses import mse_loss
from ..nn import Dense, Sequential
from ..optim import Adam, GradientDescent, Momentum
from ..tensor import Tensor

OPTIMIZERS = {  # name: (in words, the optimizer of a point with a learning rate)
    "gd": ("gradient descent", GradientDescent),
    "momentum": ("momentum 0.9", lambda params, lr: Momentum(params, lr, 0.9)),
    "nesterov": ("Nesterov 0.9", lambda params, lr: Momentum(params, lr, 0.9, nesterov=True)),
    "adam": ("Adam", Adam),
}


@dataclass(frozen=True)
class Surface:
    """A loss of two numbers, and what is needed to walk on it and to draw it.

    ``loss`` takes a point, a Tensor (2,) in float64, and returns the loss, a Tensor of one number.
    """

    name: str
    about: str  # in a few words
    loss: Callable
    start: tuple
    window: tuple  # (least a, largest a, least b, largest b) of the picture
    lr: dict  # a learning rate that suits each of OPTIMIZERS
    steps: int
    axes: tuple = ("a", "b")
    bottoms: tuple = ()  # points marked by a star: where the loss is smallest, or the trained weights
    note: str = ""
    trained: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))  # the path of the real training, in the plane

    def heights(self, points=61):
        """(a (A,), b (B,), loss (B, A)) on a grid over the window."""
        points = require_integer("surface", "points", points, at_least=2)
        a, b = (np.linspace(low, high, points) for low, high in (self.window[:2], self.window[2:]))
        with no_grad():
            losses = [[self.loss(Tensor(np.array([x, y]))).item() for x in a] for y in b]
        return a, b, np.array(losses)


@dataclass(frozen=True)
class Descent:
    """The path of one optimizer: ``steps + 1`` points and losses, ``steps`` gradients; fewer, if it left for infinity.

    Shapes: points (steps + 1, 2), losses (steps + 1,), gradients (steps, 2).
    """

    name: str
    label: str
    lr: float
    steps: int  # that were asked for
    points: np.ndarray
    losses: np.ndarray
    gradients: np.ndarray


def descend(surface, *, steps=None, lr=None, start=None, optimizers=tuple(OPTIMIZERS)):
    """Walk down a surface with several optimizers, from the same start, each by the exact gradient where it stands.

    Parameters
    ----------
    surface : Surface or str
        One of yours, or the name of one of ours: valley, saddle or autoencoder.
    steps : int, optional
        By default what shows the surface well.
    lr : float or dict of name: float, optional
        One learning rate for all, or those of some; the others keep the surface's own.
    start : pair of numbers, optional
        By default the surface's own.
    optimizers : list of str
        Names in OPTIMIZERS: gd, momentum, nesterov, adam.

    Returns
    -------
    list of Descent
    """
    surface = surface if isinstance(surface, Surface) else make_surface(surface)
    steps = surface.steps if steps is None else require_integer("descend", "steps", steps, at_least=1)
    if isinstance(optimizers, str) or not optimizers:
        raise RangeError(
            f"descend: optimizers is {brief(optimizers)}; expected a list of names: {', '.join(OPTIMIZERS)}."
        )
    names = [known_name("optimizer", name, OPTIMIZERS) for name in optimizers]
    start = checked_start(surface.start if start is None else start)
    rates = rates_of(surface, lr)
    return [walk(surface, name, rates[name], start, steps) for name in names]


def walk(surface, name, lr, start, steps):
    """The Descent of one optimizer; it ends early where the loss is no number any more."""
    label, make = OPTIMIZERS[name]
    point = Tensor(start.copy(), requires_grad=True)
    optimizer = make([point], lr)
    points, losses, gradients = [], [], []
    for step in range(steps + 1):
        optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"):
            loss = surface.loss(point)
            loss.backward()
        if not (np.isfinite(loss.item()) and np.isfinite(point.grad).all()):
            break
        points.append(point.numpy().copy())
        losses.append(loss.item())
        if step < steps:
            gradients.append(np.array(point.grad))
            optimizer.step()
    if not points:
        raise RangeError(f"descend: the loss at the start {tuple(start)} is no finite number. Choose another start.")
    return Descent(name, label, lr, steps, np.array(points), np.array(losses), np.array(gradients).reshape(-1, 2))


def checked_start(start):
    """A start as an array (2,)."""
    try:
        point = np.array(start, np.float64)
    except (TypeError, ValueError):
        raise DtypeError(f"descend: start is {brief(start)}; expected two numbers, such as (-1.0, 0.5).") from None
    if point.shape != (2,):
        raise ShapeError(f"descend: start has shape {point.shape}; expected two numbers, such as (-1.0, 0.5).")
    return point


def rates_of(surface, lr):
    """A learning rate for each optimizer: the surface's own, but for those that are given."""
    if lr is None:
        given = {}
    elif isinstance(lr, dict):
        given = {known_name("optimizer", name, OPTIMIZERS): rate for name, rate in lr.items()}
    else:
        given = dict.fromkeys(OPTIMIZERS, lr)
    checked = {
        name: require_number("descend", f"the learning rate of {name}", rate, above=0) for name, rate in given.items()
    }
    return surface.lr | checked


# ---------------------------------------------------------------- the surfaces

TILT, STEEP = np.pi / 9, 40.0


def valley_loss(point):
    """A quadratic, 40 times as steep across as along, turned by 20 degrees so that neither axis is the valley's."""
    a, b = point[0], point[1]
    along, across = a * np.cos(TILT) + b * np.sin(TILT), b * np.cos(TILT) - a * np.sin(TILT)
    return 0.5 * (along**2 + STEEP * across**2)


def saddle_loss(point):
    """Uphill along a; along b a ridge between two bottoms, at b = -1 and b = 1, where the loss is 0."""
    a, b = point[0], point[1]
    return 0.5 * a**2 + 0.25 * (b**2 - 1) ** 2


def valley(seed=0):
    """A long narrow valley: the case in which the best learning rate across is far too small along it."""
    return Surface(
        "valley", "a narrow valley, 40 times as steep across as along", valley_loss, (-9.0, -1.5), (-10.5, 3.5, -5.5, 3.5),
        {"gd": 0.045, "momentum": 0.01, "nesterov": 0.01, "adam": 0.5}, 60, bottoms=((0.0, 0.0),),
    )  # fmt: skip


def saddle(seed=0):
    """A saddle: at (0, 0) the gradient is 0, and yet it is no minimum; the start is close to the ridge that leads there."""
    return Surface(
        "saddle", "a saddle at (0, 0) between two bottoms", saddle_loss, (-2.0, 0.005), (-2.8, 1.2, -1.5, 1.5),
        {"gd": 0.1, "momentum": 0.03, "nesterov": 0.03, "adam": 0.1}, 80, bottoms=((0.0, -1.0), (0.0, 1.0)),
        note="the start is 0.005 beside the ridge",
    )  # fmt: skip


SIZES, ACTIVATIONS = (64, 16, 4, 16, 64), (tanh, None, tanh, sigmoid)
EXAMPLES, TRAINING_STEPS, TRAINING_LR = 300, 300, 0.01


def autoencoder(seed=0):
    """A slice through the loss of an autoencoder 64-16-4-16-64 on 300 of the bundled digits, trained with Adam.

    (0, 0) are the weights after training, the start is where the initial weights lie when they are dropped onto the plane.
    """
    from ..datasets import load

    x = Tensor(load("digits")[0][0][:EXAMPLES].reshape(EXAMPLES, -1).astype(np.float64))
    path = training_path(x, require_integer("surface", "seed", seed, at_least=0))
    directions, share = principal_directions(path)
    loss = slice_of(path[-1], directions, x)
    walked = (path - path[-1]) @ directions.T
    low, high = walked.min(axis=0), walked.max(axis=0)
    room = 0.35 * (high - low).max()
    return Surface(
        "autoencoder", f"a slice through the loss of an autoencoder ({'-'.join(map(str, SIZES))}, {EXAMPLES} digits)", loss,
        tuple(walked[0]), (low[0] - room, high[0] + room, low[1] - room, high[1] + room),
        {"gd": 80.0, "momentum": 15.0, "nesterov": 15.0, "adam": 0.5}, 80, bottoms=((0.0, 0.0),),
        axes=("first principal component of the training's path", "second principal component"),
        note=f"the plane has {share:.0%} of the variance of the training's path", trained=walked,
    )  # fmt: skip


def training_path(x, seed):
    """The weights after 0, 1, ... steps of a training on all of x (N, 64), each as one row: (steps + 1, P)."""
    manual_seed(seed)
    layers = [Dense(*sizes) for sizes in zip(SIZES, SIZES[1:])]
    params = Sequential(*layers).astype("float64").parameters()
    optimizer, rows = Adam(params, TRAINING_LR), []
    for step in range(TRAINING_STEPS + 1):
        rows.append(np.concatenate([p.numpy().ravel() for p in params]))
        if step < TRAINING_STEPS:
            optimizer.zero_grad()
            mse_loss(reconstructed(x, params), x).backward()
            optimizer.step()
    return np.array(rows)


def reconstructed(x, params):
    """The autoencoder's output for weights and biases W1, b1, W2, b2, ..."""
    for W, b, activation in zip(params[::2], params[1::2], ACTIVATIONS):
        x = matmul(x, W) + b
        x = x if activation is None else activation(x)
    return x


def principal_directions(path):
    """The two directions (2, P), of length 1, in which a path (N, P) varies most about its end; and their share of that."""
    offsets = path - path[-1]
    variances, vectors = np.linalg.eigh(offsets @ offsets.T)  # N x N: far smaller than P x P
    directions = vectors[:, [-1, -2]].T @ offsets
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions *= np.where(directions @ offsets[0] > 0, -1, 1)[:, None]  # the path comes from the left, from below
    return directions, variances[-2:].sum() / variances.sum()


def slice_of(weights, directions, x):
    """The loss of a point (a, b): that of the autoencoder with weights + a d1 + b d2, computed on the tape."""
    shapes = [shape for sizes in zip(SIZES, SIZES[1:]) for shape in (sizes, sizes[1:])]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    base, plane = Tensor(weights), Tensor(directions)

    def loss(point):
        moved = base + matmul(point, plane)
        parts = [moved[start:end].reshape(shape) for start, end, shape in zip(ends, ends[1:], shapes)]
        return mse_loss(reconstructed(x, parts), x)

    return loss


SURFACES = {"valley": valley, "saddle": saddle, "autoencoder": autoencoder}


def make_surface(name, seed=0):
    """The surface of that name; the seed is that of the autoencoder's initial weights, the others have no chance in them."""
    return SURFACES[known_name("surface", name, SURFACES)](seed)
