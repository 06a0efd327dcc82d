"""What all optimizers share: the parameters, their state, and the step over all of them.

The algorithms themselves are in ``optim.py``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .backend import backend_of
from .context import every_time, observing, once, unrepeatable
from .errors import DtypeError, RangeError, ShapeError, StateError, brief, require_integer, require_number
from .tape import clear_gradients
from .tensor import Tensor


class Line(NamedTuple):
    """One line of an algorithm: its formula (LaTeX), and the setting that switches it on ("" for always)."""

    formula: str
    when: str = ""  # such as "weight_decay", or "not nesterov"


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
    lines: tuple = ()  # the algorithm: a Line for each line of ``update``
    letters: dict = {}  # the letter (LaTeX) of each setting in them
    full_batch = False  # must see all examples in every step
    about = ""  # its name in a sentence
    has_lr = True
    needs_closure = False  # looks at the loss several times in a step: step(closure)

    def __init__(self, params: Any, lr: float | None) -> None:
        name = type(self).__name__
        if not isinstance(params, (Tensor, Iterable)):
            raise DtypeError(
                f"{name}: the parameters are {brief(params)}; expected a list of Tensors, such as model.parameters()."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise RangeError(f"{name}: there are no parameters. Give model.parameters() of a model that has some.")
        for i, tensor in enumerate(params):
            if not isinstance(tensor, Tensor) or not tensor.requires_grad or tensor._node is not None:
                raise DtypeError(
                    f"{name}: parameter {i} is {brief(tensor)}; expected a leaf, a Tensor with requires_grad=True."
                )
        self.params = params
        self._lr: float | None = None
        if self.has_lr:
            self.lr = lr
        if len({id(tensor) for tensor in params}) < len(params):
            raise RangeError(f"{name}: a parameter is given twice; it would make two steps at a time.")
        self.t = 0  # steps made, also for a parameter that had no gradient in some of them
        self.places = None  # what a kernel remembers of its last update
        self.state = [
            {s: p.backend.copy(p.backend.xp.zeros_like(p.data), p.dtype) for s in self.state_names} for p in params
        ]

    @property
    def lr(self) -> Any:
        """The learning rate; None for an algorithm without one."""
        return self._lr

    @lr.setter
    def lr(self, lr: Any) -> None:
        if not self.has_lr:
            raise RangeError(f"lr={brief(lr)} was set, but {no_learning_rate(type(self).__name__)}")
        self._lr = require_number(type(self).__name__, "lr", lr, above=0)

    def update(self, xp, theta, g, **state):
        """One step of one parameter, in place."""
        raise NotImplementedError

    def formulas(self) -> tuple[str, ...]:
        """The algorithm's lines as LaTeX, in order; without those that its settings leave out.

        Empty for a subclass with an ``update`` of its own and no ``lines`` for it: those it inherits are another algorithm's.
        """
        kinds = type(self).__mro__
        updates, told = (next(kind for kind in kinds if name in vars(kind)) for name in ("update", "lines"))
        if kinds.index(updates) < kinds.index(told):
            return ()
        return tuple(line.formula for line in self.lines if self.switched_on(line))

    def switched_on(self, line):
        """Is this Line one that the settings do not leave out?"""
        name = line.when.removeprefix("not ")
        return not name or bool(getattr(self, name)) == (name == line.when)

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        ShapeError
            A gradient is not of its parameter's shape and type; then no parameter was changed.
        """
        pairs = []
        for i, tensor in enumerate(self.params):
            theta, g = tensor.data, tensor.grad
            if g is None:
                continue
            if g.shape != theta.shape or g.dtype != theta.dtype:
                raise ShapeError(
                    f"{type(self).__name__}: the gradient of parameter {i} is {g.dtype} {g.shape}, the parameter "
                    f"{theta.dtype} {theta.shape}; they must be alike. Compute it with backward()."
                )
            state = self.state[i]
            for name, array in state.items():
                if array.dtype != theta.dtype or type(array) is not type(theta):  # the model was moved
                    state[name] = once(moved, array, tensor)
            pairs.append((tensor, state))
        observer = observing.get()
        if observer is not None:
            observer.note_update(self, pairs)
        every_time(self.begin_step, pairs)
        self.update_all(pairs)
        if observer is not None:
            observer.note_updated(self, pairs)

    def begin_step(self, pairs):
        """Count the step, and tell the tape that every (parameter, state) is written to."""
        self.t += 1
        for tensor, _ in pairs:
            tensor.mark_changed()

    def update_all(self, pairs):
        """One step of every (parameter, state), in place: by a kernel in one pass, or one after the other."""
        fast = pairs[0][0].backend.twin(type(self)) if pairs else None
        if fast is not None and fast(self, pairs):
            return
        unrepeatable("updates parameters by an optimizer for which there is no kernel, or too little to do for one")
        for tensor, state in pairs:
            self.update(tensor.backend.xp, tensor.data, tensor.grad, **state)

    def snapshot(self):
        """The step count and copies of the state, where they are, for ``restore``."""
        return self.t, [{name: array.copy() for name, array in state.items()} for state in self.state]

    def restore(self, snapshot):
        """Go back to a ``snapshot()``."""
        self.t = snapshot[0]
        self.state = [{name: array.copy() for name, array in state.items()} for state in snapshot[1]]

    def zero_grad(self) -> None:
        """Set every ``.grad`` to None."""
        every_time(clear_gradients, self.params)

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
                state[key] = tensor.backend.copy(tensor.backend.asarray(np.asarray(array)), tensor.dtype)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"


def moved(array, tensor):
    """An array of the state, where the parameter is and in its type."""
    return tensor.backend.asarray(backend_of(array).to_host(array).astype(tensor.dtype))


def no_learning_rate(name):
    """Why an optimizer takes none."""
    return f"{name} has no learning rate: a line search finds the length of its steps. Leave lr and schedules away."
