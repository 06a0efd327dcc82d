r"""Optimizers: how a parameter follows its gradient.

Each is the algorithm of its paper, one line of code per line of the algorithm, applied to one
parameter at a time: ``update(xp, theta, g, state...)`` works on plain arrays, in place. In the code
``theta`` is :math:`\theta`, ``g`` the gradient :math:`\nabla_\theta L`, ``lr`` the learning rate
:math:`\eta`. Where ours departs from the paper, the docstring says so. The same lines as formulas stand
above ``update``, as ``lines``: what explains a step shows them from there. Everything in them is element by
element; :math:`s` is the direction of the step.

What they share (the list of parameters, their state, ``step()``) is in ``optimizer.py``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DtypeError, RangeError, brief, known_name, require_integer, require_number
from .optimizer import Line, Optimizer, no_learning_rate


class GradientDescent(Optimizer):
    r"""Gradient descent on the whole data set: :math:`\theta \leftarrow \theta - \eta g`.

    ``fit`` takes all examples as one batch, so the gradient is exact, and refuses a batch size. (In a
    loop of your own, given the gradient of a mini-batch, the same step is SGD's.) Cauchy (1847);
    Goodfellow, Bengio and Courville, *Deep Learning* (2016), eq. 4.5.
    """

    full_batch, about = True, "gradient descent"
    lines = (Line(r"\theta \leftarrow \theta - \eta g"),)
    letters = {"lr": r"\eta"}

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
    lines = (
        Line(r"g \leftarrow g + \lambda \theta", when="weight_decay"),
        Line(r"\theta \leftarrow \theta - \eta g"),
    )
    letters = {"lr": r"\eta", "weight_decay": r"\lambda"}

    def __init__(self, params: Any, lr: float, weight_decay: float = 0) -> None:
        super().__init__(params, lr)
        self.weight_decay = require_number("SGD", "weight_decay", weight_decay, at_least=0)

    def update(self, xp, theta, g):
        if self.weight_decay:
            g = g + self.weight_decay * theta
        theta -= self.lr * g


class Momentum(Optimizer):
    r"""SGD with momentum: a running sum of gradients that rolls through small valleys.

    .. math::
        v &\leftarrow \mu v + g \\
        s &= v \\
        \theta &\leftarrow \theta - \eta s

    Convention: :math:`\eta` stands outside v, as in PyTorch. Sutskever, Martens, Dahl and Hinton, "On
    the importance of initialization and momentum in deep learning" (2013), eqs. 1-2, put it inside,
    :math:`v \leftarrow \mu v - \eta g`; for a constant :math:`\eta` both are the same.

    With ``nesterov`` it goes along :math:`s = g + \mu v`. In Nesterov's method the gradient is taken
    where the momentum is about to carry :math:`\theta` (their eqs. 3-4); here :math:`\theta` itself stands
    for that point, which leaves the gradient where it is computed anyway (Bengio, Boulanger-Lewandowski
    and Pascanu, "Advances in optimizing recurrent networks" (2013), eq. 7). Weight decay is L2, as in SGD.
    """

    setting_names = ("lr", "momentum", "nesterov", "weight_decay")
    state_names = ("v",)
    lines = (
        Line(r"g \leftarrow g + \lambda \theta", when="weight_decay"),
        Line(r"v \leftarrow \mu v + g"),
        Line(r"s = g + \mu v", when="nesterov"),
        Line(r"s = v", when="not nesterov"),
        Line(r"\theta \leftarrow \theta - \eta s"),
    )
    letters = {"lr": r"\eta", "momentum": r"\mu", "weight_decay": r"\lambda"}

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
        s = g + self.momentum * v if self.nesterov else v
        theta -= self.lr * s


class AdaGrad(Optimizer):
    r"""AdaGrad: each weight's step is divided by the root of all squared gradients it has seen.

    .. math::
        G &\leftarrow G + g^2 \\
        \theta &\leftarrow \theta - \frac{\eta g}{\sqrt{G} + \epsilon}

    Rarely used weights keep large steps; for gradients of one size the steps shrink as :math:`1/\sqrt t`. Duchi, Hazan and
    Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011), figure 1
    with diagonal matrices, their :math:`\delta` being :math:`\epsilon`. As in PyTorch, but for the name.
    """

    setting_names = ("lr", "eps")
    state_names = ("G",)
    lines = (
        Line(r"G \leftarrow G + g^2"),
        Line(r"\theta \leftarrow \theta - \frac{\eta g}{\sqrt{G} + \epsilon}"),
    )
    letters = {"lr": r"\eta", "eps": r"\epsilon"}

    def __init__(self, params: Any, lr: float = 1e-2, eps: float = 1e-10) -> None:
        super().__init__(params, lr)
        self.eps = require_number("AdaGrad", "eps", eps, above=0)

    def update(self, xp, theta, g, G):
        G += g * g
        theta -= self.lr * g / (xp.sqrt(G) + self.eps)


class RMSProp(Optimizer):
    r"""RMSProp: AdaGrad that forgets, so that its steps do not die out.

    .. math::
        v &\leftarrow \rho v + (1 - \rho) g^2 \\
        \theta &\leftarrow \theta - \frac{\eta g}{\sqrt{v} + \epsilon}

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning" (2012), with their
    :math:`\rho = 0.9`; the slide has no :math:`\epsilon`. Ours stands outside the root, as in PyTorch (whose
    default :math:`\rho`, there called alpha, is 0.99); Keras puts it inside. v starts at 0 and is not
    corrected for it: the first steps are up to :math:`1/\sqrt{1-\rho}` times too large. Adam mends that.
    """

    setting_names = ("lr", "rho", "eps")
    state_names = ("v",)
    lines = (
        Line(r"v \leftarrow \rho v + (1 - \rho) g^2"),
        Line(r"\theta \leftarrow \theta - \frac{\eta g}{\sqrt{v} + \epsilon}"),
    )
    letters = {"lr": r"\eta", "rho": r"\rho", "eps": r"\epsilon"}

    def __init__(self, params: Any, lr: float = 1e-3, rho: float = 0.9, eps: float = 1e-8) -> None:
        super().__init__(params, lr)
        self.rho = require_number("RMSProp", "rho", rho, at_least=0, below=1)
        self.eps = require_number("RMSProp", "eps", eps, above=0)

    def update(self, xp, theta, g, v):
        v[...] = self.rho * v + (1 - self.rho) * g * g
        theta -= self.lr * g / (xp.sqrt(v) + self.eps)


class Adam(Optimizer):
    r"""Adam: each weight has a step size of its own, from running means of g and g squared.

    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1, with
    :math:`\epsilon` outside the root as there (not the :math:`\hat\epsilon` form of section 2):

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \hat m &= \frac{m}{1 - \beta_1^t} \\
        \hat v &= \frac{v}{1 - \beta_2^t} \\
        \theta &\leftarrow \theta - \frac{\eta \hat m}{\sqrt{\hat v} + \epsilon}

    m and v start at 0 and are too small at first; dividing by :math:`1 - \beta^t` makes up for it.
    ``weight_decay`` :math:`\lambda` is decoupled: first :math:`\theta \leftarrow \theta - \eta \lambda
    \theta`, untouched by the division. That is AdamW of Loshchilov and Hutter, "Decoupled weight
    decay regularization" (2019), with
    :math:`\lambda` multiplied by the learning rate as in PyTorch's ``AdamW`` (their algorithm 2
    multiplies it by the schedule alone). It is not the L2 term of SGD and Momentum.
    """

    setting_names = ("lr", "betas", "eps", "weight_decay")
    state_names = ("m", "v")
    lines = (
        Line(r"\theta \leftarrow \theta - \eta \lambda \theta", when="weight_decay"),
        Line(r"m \leftarrow \beta_1 m + (1 - \beta_1) g"),
        Line(r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2"),
        Line(r"\hat m = \frac{m}{1 - \beta_1^t}"),
        Line(r"\hat v = \frac{v}{1 - \beta_2^t}"),
        Line(r"\theta \leftarrow \theta - \frac{\eta \hat m}{\sqrt{\hat v} + \epsilon}"),
    )
    letters = {"lr": r"\eta", "betas": (r"\beta_1", r"\beta_2"), "eps": r"\epsilon", "weight_decay": r"\lambda"}

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


class LBFGS(Optimizer):
    r"""L-BFGS: a second-order method, that guesses the curvature from the last few gradients.

    Newton's step :math:`\theta \leftarrow \theta - H^{-1} \nabla L` needs the inverse of the matrix of second
    derivatives, too large to write down. L-BFGS builds :math:`H^{-1} \nabla L` from the last ``memory``
    pairs :math:`(\theta_{k+1} - \theta_k, \nabla L_{k+1} - \nabla L_k)`, and a line search finds how far to go:
    there is no learning rate. It needs the exact gradient, so ``fit`` takes all examples as one batch, as for
    gradient descent. Liu and Nocedal, "On the limited memory BFGS method" (1989); Nocedal and Wright,
    *Numerical Optimization* (2006), algorithm 7.5.

    The one optimizer here that is not written by hand: SciPy's ``L-BFGS-B`` does the work, in float64 and on
    the host. One step is ``iterations`` of its iterations; the next step begins with an empty memory.

    Parameters
    ----------
    iterations : int
        Iterations in a step, and so in an epoch of ``fit``.
    memory : int
        How many pairs are remembered.
    """

    full_batch, needs_closure, has_lr, about = True, True, False, "L-BFGS"
    setting_names = ("iterations", "memory")

    def __init__(self, params: Any, iterations: int = 20, memory: int = 10) -> None:
        super().__init__(params, None)
        self.iterations = require_integer("LBFGS", "iterations", iterations, at_least=1)
        self.memory = require_integer("LBFGS", "memory", memory, at_least=1)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Minimise for ``iterations`` iterations.

        Parameters
        ----------
        closure : function
            Computes the loss anew, leaves its gradients in the parameters, and returns it as a float.
        """
        from scipy.optimize import minimize

        if not callable(closure):
            raise DtypeError(
                "LBFGS: step(closure) needs a function that computes the loss and its gradients and returns the loss "
                "as a float: within a step it is looked at several times. fit(optimizer='lbfgs') gives it."
            )

        def write(vector):
            for tensor, start in zip(self.params, starts):
                part = vector[start : start + tensor.size].reshape(tensor.shape).astype(tensor.dtype)
                tensor.data[...] = tensor.backend.asarray(part)
                tensor.mark_changed()

        def loss_and_gradient(vector):
            write(vector)
            loss = float(closure())
            return loss, np.concatenate([gradient(tensor) for tensor in self.params])

        def gradient(tensor):
            g = np.zeros(tensor.shape) if tensor.grad is None else tensor.backend.to_host(tensor.grad)
            return np.asarray(g, np.float64).ravel()

        starts = np.cumsum([0, *(tensor.size for tensor in self.params[:-1])])
        begin = np.concatenate([np.asarray(p.backend.to_host(p.data), np.float64).ravel() for p in self.params])
        options = {"maxiter": self.iterations, "maxcor": self.memory, "ftol": 0, "gtol": 0}
        found = minimize(loss_and_gradient, begin, jac=True, method="L-BFGS-B", options=options)
        write(found.x)
        self.t += 1


OPTIMIZERS = {
    "gd": GradientDescent,
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "lbfgs": LBFGS,
}
DEFAULT_LR = {"gd": 0.1, "sgd": 0.1, "momentum": 0.1, "adagrad": 1e-2, "rmsprop": 1e-3, "adam": 1e-3}


def make_optimizer(name, params, lr=None, **settings):
    """The optimizer called ``name`` (a key of OPTIMIZERS), with its default learning rate for None."""
    if isinstance(name, type):
        raise RangeError(
            f"optimizer: the class {name.__name__} was given; make one: {name.__name__}(model.parameters(), ...)."
        )
    name = known_name("optimizer", name, OPTIMIZERS)
    if OPTIMIZERS[name].has_lr:
        settings["lr"] = DEFAULT_LR[name] if lr is None else lr
    elif lr is not None:
        raise RangeError(f"optimizer: lr={brief(lr)} was given, but {no_learning_rate(name)}")
    return OPTIMIZERS[name](params, **settings)
