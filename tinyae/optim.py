r"""Optimizers: how a parameter follows its gradient.

Each is the algorithm of its paper, one line of code per line of the algorithm, applied to one
parameter at a time: ``update(xp, theta, g, state...)`` works on plain arrays, in place. In the code
``theta`` is :math:`\theta`, ``g`` the gradient :math:`\nabla_\theta L`, ``lr`` the learning rate
:math:`\eta`. Where ours departs from the paper, the docstring says so.

What they share (the list of parameters, their state, ``step()``) is in ``optimizer.py``.
"""

from typing import Any

from .errors import RangeError, brief, lookup, require_number
from .optimizer import Optimizer


class GradientDescent(Optimizer):
    r"""Gradient descent on the whole data set: :math:`\theta \leftarrow \theta - \eta \nabla L`.

    ``fit`` takes all examples as one batch, so the gradient is exact, and refuses a batch size. (In a
    loop of your own, given the gradient of a mini-batch, the same step is SGD's.) Cauchy (1847);
    Goodfellow, Bengio and Courville, *Deep Learning* (2016), eq. 4.5.
    """

    full_batch = True

    def update(self, xp, theta, g):
        theta -= self.lr * g


class SGD(Optimizer):
    r"""Stochastic gradient descent: the same step with the gradient of a mini-batch.

    With ``weight_decay`` :math:`\lambda`, L2 regularisation: :math:`g \leftarrow g + \lambda \theta`,
    the gradient of :math:`\tfrac{\lambda}{2} \|\theta\|^2`, biases included (the regularizer ``L2``
    writes :math:`\lambda \sum w^2` and leaves biases out). Robbins and Monro, "A stochastic
    approximation method" (1951); Goodfellow et al. (2016), algorithm 8.1.
    """

    setting_names = ("lr", "weight_decay")

    def __init__(self, params: Any, lr: float, weight_decay: float = 0) -> None:
        super().__init__(params, lr)
        self.weight_decay = require_number("SGD", "weight_decay", weight_decay, at_least=0)

    def update(self, xp, theta, g):
        if self.weight_decay:
            g = g + self.weight_decay * theta
        theta -= self.lr * g


class Momentum(Optimizer):
    r"""SGD with momentum: a running sum of gradients that rolls through small valleys.

    .. math:: v \leftarrow \mu v + g, \qquad \theta \leftarrow \theta - \eta v

    Convention: :math:`\eta` stands outside v, as in PyTorch. Sutskever, Martens, Dahl and Hinton, "On
    the importance of initialization and momentum in deep learning" (2013), eqs. 1-2, put it inside,
    :math:`v \leftarrow \mu v - \eta g`; for a constant :math:`\eta` both are the same.

    With ``nesterov`` the step is :math:`\eta (g + \mu v)`. In Nesterov's method the gradient is taken
    where the momentum is about to carry :math:`\theta` (their eqs. 3-4); here :math:`\theta` itself stands
    for that point, which leaves the gradient where it is computed anyway (Bengio, Boulanger-Lewandowski
    and Pascanu, "Advances in optimizing recurrent networks" (2013), eq. 7). Weight decay is L2, as in SGD.
    """

    setting_names = ("lr", "momentum", "nesterov", "weight_decay")
    state_names = ("v",)

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0
    ) -> None:
        super().__init__(params, lr)
        self.momentum = require_number("Momentum", "momentum", momentum, at_least=0, below=1)
        self.nesterov = bool(nesterov)
        self.weight_decay = require_number("Momentum", "weight_decay", weight_decay, at_least=0)

    def update(self, xp, theta, g, v):
        if self.weight_decay:
            g = g + self.weight_decay * theta
        v[...] = self.momentum * v + g
        step = g + self.momentum * v if self.nesterov else v
        theta -= self.lr * step


class Adam(Optimizer):
    r"""Adam: each weight has a step size of its own, from running means of g and g squared.

    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1, with
    :math:`\epsilon` outside the root as there (not the :math:`\hat\epsilon` form of section 2):

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \hat m &= m / (1 - \beta_1^t), \quad \hat v = v / (1 - \beta_2^t) \\
        \theta &\leftarrow \theta - \eta \, \hat m / (\sqrt{\hat v} + \epsilon)

    m and v start at 0 and are too small at first; dividing by :math:`1 - \beta^t` makes up for it.
    ``weight_decay`` :math:`\lambda` is decoupled: first :math:`\theta \leftarrow \theta - \eta \lambda
    \theta`, untouched by the division. That is AdamW of Loshchilov and Hutter, "Decoupled weight
    decay regularization" (2019), with
    :math:`\lambda` multiplied by the learning rate as in PyTorch's ``AdamW`` (their algorithm 2
    multiplies it by the schedule alone). It is not the L2 term of SGD and Momentum.
    """

    setting_names = ("lr", "betas", "eps", "weight_decay")
    state_names = ("m", "v")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise RangeError(f"Adam: betas is {brief(betas)}; expected two numbers, such as (0.9, 0.999).")
        self.betas = tuple(
            require_number("Adam", f"betas[{i}]", beta, at_least=0, below=1) for i, beta in enumerate(betas)
        )
        self.eps = require_number("Adam", "eps", eps, above=0)
        self.weight_decay = require_number("Adam", "weight_decay", weight_decay, at_least=0)

    def update(self, xp, theta, g, m, v):
        beta1, beta2 = self.betas
        if self.weight_decay:
            theta -= self.lr * self.weight_decay * theta
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**self.t)
        v_hat = v / (1 - beta2**self.t)
        theta -= self.lr * m_hat / (xp.sqrt(v_hat) + self.eps)


OPTIMIZERS = {"gd": GradientDescent, "sgd": SGD, "momentum": Momentum, "adam": Adam}
DEFAULT_LR = {"gd": 0.1, "sgd": 0.1, "momentum": 0.1, "adam": 1e-3}


def make_optimizer(name, params, lr=None):
    """The optimizer called ``name`` (``gd``, ``sgd``, ``momentum``, ``adam``), with its default learning rate for None."""
    if isinstance(name, type):
        raise RangeError(
            f"optimizer: the class {name.__name__} was given; make one: {name.__name__}(model.parameters(), ...)."
        )
    default = lookup("optimizer", name, DEFAULT_LR)
    return lookup("optimizer", name, OPTIMIZERS)(params, lr=default if lr is None else lr)
