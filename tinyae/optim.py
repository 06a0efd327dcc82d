r"""Optimizers: how a parameter follows its gradient.

Each is the algorithm of its paper, one line of code per line of the algorithm, applied to one
parameter at a time: ``update(xp, theta, g, state...)`` works on plain arrays, in place. In the code
``theta`` is :math:`\theta`, ``g`` the gradient :math:`\nabla_\theta L`, ``lr`` the learning rate
:math:`\eta`.

State is kept in the order of the parameters and lives on their backend.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .backend import backend_of
from .errors import DtypeError, RangeError, ShapeError, StateError, lookup, require_integer, require_number
from .tensor import Tensor


class Optimizer:
    """The parent of all optimizers: parameters, state, and the step over all of them.

    Parameters
    ----------
    params : list of Tensors that ask for gradients
        Usually ``model.parameters()``.
    lr : float
        Learning rate, > 0. Can be changed between steps: ``optimizer.lr = ...``.
    """

    setting_names: tuple = ("lr",)  # the arguments of __init__ after the parameters
    state_names: tuple = ()  # arrays kept per parameter, all zero at first
    full_batch = False  # must see all examples in every step

    def __init__(self, params: Any, lr: float) -> None:
        name = type(self).__name__
        if not isinstance(params, (Tensor, Iterable)):
            raise DtypeError(
                f"{name}: the parameters are {params!r}; expected a list of Tensors, such as model.parameters()."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise RangeError(f"{name}: there are no parameters. Give model.parameters() of a model that has some.")
        for i, tensor in enumerate(params):
            if not isinstance(tensor, Tensor) or not tensor.requires_grad or tensor._node is not None:
                raise DtypeError(
                    f"{name}: parameter {i} is {tensor!r}; expected a leaf, a Tensor with requires_grad=True."
                )
        self.params = params
        self.lr = lr
        if len({id(tensor) for tensor in params}) < len(params):
            raise RangeError(f"{name}: a parameter is given twice; it would make two steps at a time.")
        self.t = 0  # steps made, also for a parameter that had no gradient in some of them
        self.state = [{s: p.backend.xp.zeros_like(p.data) for s in self.state_names} for p in params]

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = require_number(type(self).__name__, "lr", lr, above=0)

    def update(self, xp, theta, g, **state):
        """One step of one parameter, in place."""
        raise NotImplementedError

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        ShapeError
            A gradient is not of its parameter's shape and type; then no parameter was changed.
        """
        for i, tensor in enumerate(self.params):
            g = tensor.grad
            if g is not None and (g.shape != tensor.data.shape or g.dtype != tensor.data.dtype):
                raise ShapeError(
                    f"{type(self).__name__}: the gradient of parameter {i} is {g.dtype} {g.shape}, the parameter "
                    f"{tensor.dtype} {tensor.shape}; they must be alike. Compute it with backward()."
                )
        self.t += 1
        for tensor, state in zip(self.params, self.state):
            if tensor.grad is not None:
                for name, array in state.items():
                    if array.dtype != tensor.dtype or backend_of(array) is not tensor.backend:  # the model was moved
                        state[name] = tensor.backend.asarray(backend_of(array).to_host(array).astype(tensor.dtype))
                self.update(tensor.backend.xp, tensor.data, tensor.grad, **state)
                tensor.mark_changed()

    def zero_grad(self) -> None:
        """Set every ``.grad`` to None."""
        for tensor in self.params:
            tensor.grad = None

    def settings(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {name: getattr(self, name) for name in self.setting_names}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: the algorithm, its settings, the step count, NumPy copies of the state."""
        arrays = [{name: np.array(backend_of(a).to_host(a)) for name, a in state.items()} for state in self.state]
        return {"algorithm": type(self).__name__, "settings": self.settings(), "t": self.t, "state": arrays}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict()``; on an error nothing has changed.

        Raises
        ------
        StateError
            The state is another algorithm's, or its arrays do not fit the parameters: all are listed.
        """
        name = type(self).__name__
        if not isinstance(saved, Mapping):
            raise StateError(f"{name}: the saved state is {type(saved).__name__}; expected what state_dict() returns.")
        missing = [key for key in ("algorithm", "settings", "t", "state") if key not in saved]
        if missing:
            raise StateError(f"{name}: the saved state lacks {', '.join(missing)}; expected what state_dict() returns.")
        if saved["algorithm"] != name:
            raise StateError(f"{name}: the saved state belongs to {saved['algorithm']}; load it into that optimizer.")
        if not isinstance(saved["settings"], Mapping) or not isinstance(saved["state"], (list, tuple)):
            raise StateError(
                f"{name}: settings or state of the saved state are damaged; expected what state_dict() returns."
            )
        complaints = []
        if len(saved["state"]) != len(self.params):
            complaints.append(f"{len(saved['state'])} parameters, expected {len(self.params)}")
        for i, (tensor, arrays) in enumerate(zip(self.params, saved["state"])):
            if sorted(arrays) != sorted(self.state_names):
                complaints.append(f"parameter {i} has {sorted(arrays)}, expected {sorted(self.state_names)}")
            for key, array in arrays.items():
                if np.shape(array) != tensor.shape:
                    complaints.append(f"{key} of parameter {i} is {np.shape(array)}, expected {tensor.shape}")
                elif np.asarray(array).dtype.kind not in "fiu" or not np.isfinite(array).all():
                    complaints.append(f"{key} of parameter {i} holds other things than finite numbers")
        if sorted(saved["settings"]) != sorted(self.settings()):
            complaints.append(f"settings {sorted(saved['settings'])}, expected {sorted(self.settings())}")
        if complaints:
            raise StateError(f"{name}: the saved state does not fit:\n  " + "\n  ".join(complaints))
        t = require_integer(name, "t", saved["t"], at_least=0)
        checked = type(self)(self.params[:1], **saved["settings"]).settings()  # as in __init__
        for key, value in checked.items():
            setattr(self, key, value)
        self.t = t
        for tensor, state, arrays in zip(self.params, self.state, saved["state"]):
            for key, array in arrays.items():
                state[key] = tensor.backend.asarray(np.array(array, dtype=tensor.dtype))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"


class GradientDescent(Optimizer):
    r"""Gradient descent on the whole data set: :math:`\theta \leftarrow \theta - \eta \nabla L`.

    The gradient is exact, so ``fit`` takes all examples as one batch and refuses a batch size.
    Cauchy (1847); Goodfellow et al. (2016), eq. 4.5.
    """

    full_batch = True

    def update(self, xp, theta, g):
        theta -= self.lr * g


class SGD(Optimizer):
    r"""Stochastic gradient descent: the same step with the gradient of a mini-batch.

    With ``weight_decay`` :math:`\lambda`, L2 regularisation: :math:`g \leftarrow g + \lambda \theta`,
    the gradient of :math:`\tfrac{\lambda}{2} \|\theta\|^2`. Robbins and Monro (1951); Goodfellow et
    al. (2016), algorithm 8.1.
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

    Convention: :math:`\eta` stands outside v, as in PyTorch. Sutskever et al. (2013), eqs. 1-2, put
    it inside, :math:`v \leftarrow \mu v - \eta g`; for a constant :math:`\eta` both are the same. With
    ``nesterov`` the step is :math:`\eta (g + \mu v)`: the gradient looked up one step ahead
    (Sutskever et al., eqs. 3-4, in the form of Bengio et al. (2013), eq. 7). Weight decay is L2, as in SGD.
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
        theta -= self.lr * (g + self.momentum * v if self.nesterov else v)


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
    \theta`, untouched by the division. That is AdamW of Loshchilov and Hutter (2019), with
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
            raise RangeError(f"Adam: betas is {betas!r}; expected two numbers, such as (0.9, 0.999).")
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
    return lookup("optimizer", name, OPTIMIZERS)(params, lr=DEFAULT_LR[name] if lr is None else lr)
