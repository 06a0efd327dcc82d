"""Module: a function with parameters.

A module's parameters are simply its attributes: a Tensor that asks for gradients is a parameter, a
Tensor that does not is a buffer (saved, but not trained), a Module is a part with a name of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from ..backend import FLOATS, Backend, get_backend
from ..context import every_time, layer_calls, no_grad, observing, watch_layers
from ..errors import BackendError, ShapeError, StateError, TinyaeError
from ..operands import as_ints, checked_array, float_type
from ..tape import clear_gradients
from ..tensor import Tensor, as_tensor, wrap

M = TypeVar("M", bound="Module")


class Module:
    """The parent of layers and models.

    A subclass sets its tensors and parts in ``__init__`` and computes in ``forward(x)``. To be
    saved with its architecture it also gives ``config()``, the arguments of its ``__init__``.
    """

    training = True

    def forward(self, x: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x).")

    def __call__(self, x: Any) -> Tensor:
        """Apply the module to a Tensor, or to an array, which is taken as a constant."""
        x = as_tensor(x, type(self).__name__)
        observer = observing.get()
        if observer is not None:
            observer.note_module(self)
        try:
            y = self.forward(x)
        finally:
            if observer is not None:
                observer.leave_module(self)
        calls = layer_calls.get()
        if calls is not None:
            calls.append((self, x.shape, y.shape))
        return y

    def before_sigmoid(self, x: Any) -> Tensor:
        """The output before the final sigmoid: the logits that cross-entropy is computed from."""
        raise ShapeError(
            f"loss 'bce' needs a model that ends in a sigmoid, and {type(self).__name__} is its last layer "
            f"({self!r}). End the model with activation='sigmoid', or use another loss."
        )

    def ends_in_sigmoid(self) -> bool:
        """Does the model promise outputs in [0, 1]?"""
        return False

    # ------------------------------------------------------------ what is minimised

    default_loss: Any = "mse"  # what fit takes if it is told no other
    objective_name: str | None = None  # what the sum of the terms below is called, if it is not just the loss

    watches_for_collapse: bool = False  # does a watcher of its own say more of it than fit's CollapseWarning?

    def objective(self, x: Tensor, y: Tensor, loss: Callable[["Module", Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """What ``fit`` minimises, by name: the sum of these terms, each a Tensor with one number.

        ``loss(module, input, target)`` is the loss that was chosen. A model with more to it than that says so here, and
        needs no training loop of its own.
        """
        return {"loss": loss(self, x, y)}

    def check_loss(self, loss: Any) -> None:
        """Raise a RangeError if the model cannot be trained with this loss (a name, or a function)."""

    def watchers(self) -> list[Any]:
        """Callbacks that every training of this model has."""
        return []

    # ------------------------------------------------------------ parts and parameters

    def parts(self) -> list[tuple[str, "Module"]]:
        """(name, module) of the direct parts, in the order they were set; also those in lists and dicts."""
        return [(name, value) for name, value in members(vars(self)) if isinstance(value, Module)]

    def computes_itself(self) -> bool:
        """Is this a layer, which computes by itself, and not what calls its parts? By default: if it has no parts."""
        return not self.parts()

    def modules(self) -> list["Module"]:
        """This module and all parts of parts, once each."""
        found: dict[Module, None] = {self: None}  # a dict keeps the order, and each once
        for _, part in self.parts():
            found.update(dict.fromkeys(part.modules()))
        return list(found)

    def named_tensors(self, prefix: str = "") -> list[tuple[str, Tensor]]:
        """(name, Tensor) of all parameters and buffers, shared ones once, in a fixed order."""
        found = [(prefix + name, value) for name, value in members(vars(self)) if isinstance(value, Tensor)]
        for name, part in self.parts():
            found += part.named_tensors(f"{prefix}{name}.")
        first: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in found:
            first.setdefault(id(tensor), (name, tensor))
        return list(first.values())

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """(name, Tensor) of everything that is trained; names like ``encoder.0.weight``."""
        return [(name, tensor) for name, tensor in self.named_tensors() if tensor.requires_grad]

    def parameters(self) -> list[Tensor]:
        """The tensors that are trained, in a fixed order."""
        return [tensor for _, tensor in self.named_parameters()]

    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(tensor.size for tensor in self.parameters())

    @property
    def backend(self) -> Backend:
        """The backend of the parameters (NumPy for a module without any)."""
        tensors = self.named_tensors()
        return tensors[0][1].backend if tensors else get_backend("numpy")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type of the parameters (float32 for a module without any)."""
        return next((tensor.dtype for _, tensor in self.named_tensors() if tensor.dtype in FLOATS), FLOATS[0])

    def joined(self) -> list[Any]:
        """The groups of layers that are computed together (``joining.py``), each with ``layers`` and ``about``."""
        return [group for _, part in self.parts() for group in part.joined()]

    # ------------------------------------------------------------ modes and places

    def train(self: M, mode: bool = True) -> M:
        """Training mode: dropout drops, noise is added."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode: the module is a plain function of its input."""
        return self.train(False)

    @contextmanager
    def evaluating(self: M) -> Iterator[M]:
        """Evaluation mode and no tape inside the block; afterwards every part has its mode back."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with no_grad():
                yield self
        finally:
            for module, mode in modes:
                module.training = mode

    def to(self: M, backend: str | Backend) -> M:
        """Move all parameters to ``"numpy"`` or ``"cupy"``, in place; the Tensor objects stay the same."""
        backend = get_backend(backend)
        if self.dtype == FLOATS[1]:
            backend.note_double()
        for _, tensor in self.named_tensors():
            if tensor.backend is not backend:
                tensor.data = backend.asarray(tensor.backend.to_host(tensor.data))
                if tensor.grad is not None:
                    tensor.grad = backend.asarray(tensor.backend.to_host(tensor.grad))
                tensor.backend = backend
                tensor.mark_changed()
        return self

    def astype(self: M, dtype: Any) -> M:
        """Convert all parameters to float32 or float64, in place; gradients are dropped."""
        dtype = float_type(dtype)
        for _, tensor in self.named_tensors():
            if tensor.dtype in FLOATS:
                tensor.data, tensor.grad = tensor.data.astype(dtype), None
                tensor.mark_changed()
        return self

    def zero_grad(self) -> None:
        """Set every ``.grad`` to None."""
        every_time(clear_gradients, self.parameters())

    # ------------------------------------------------------------ state

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """{name: NumPy array}, copies of all parameters and buffers."""
        return {name: np.array(tensor.backend.to_host(tensor.data)) for name, tensor in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values in, after everything has been checked: on an error nothing has changed.

        Parameters
        ----------
        state : dict
            {name: array}, as ``state_dict()`` returns it.
        strict : bool
            Refuse missing and extra names; otherwise they are left alone.

        Raises
        ------
        StateError
            Lists every missing, extra and misshapen entry.
        """
        if not isinstance(state, Mapping):
            raise StateError(f"load_state_dict: {type(state).__name__} given; expected a dict {{name: array}}.")
        own, complaints = dict(self.named_tensors()), []
        new: dict[str, np.ndarray[Any, Any]] = {}
        if strict:
            complaints += [f"missing: {name} {own[name].shape}" for name in own if name not in state]
            complaints += [f"extra: {name} {np.shape(state[name])}" for name in state if name not in own]
        for name, tensor in own.items():
            if name not in state:
                continue
            try:
                value = state[name].numpy() if isinstance(state[name], Tensor) else checked_array(state[name], name)
            except TinyaeError as error:
                complaints.append(f"not numbers: {error}")
                continue
            if value.shape != tensor.shape:
                complaints.append(f"misshapen: {name} is {value.shape}, expected {tensor.shape}")
                continue
            with np.errstate(all="ignore"):
                new[name] = value.astype(tensor.dtype)
                changed = np.isfinite(value) != np.isfinite(new[name]) if tensor.dtype in FLOATS else value != new[name]
            if changed.any():
                complaints.append(f"out of range: {name} has values that {tensor.dtype} cannot hold")
        if complaints:
            raise StateError(
                f"load_state_dict: the state does not fit {type(self).__name__}:\n  " + "\n  ".join(complaints)
                + "\nLoad it into the model it was made by, or use strict=False to leave out what is missing or extra."
            )  # fmt: skip
        for name, value in new.items():
            own[name].data[...] = own[name].backend.asarray(value)
            own[name].mark_changed()

    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this module, as JSON-able values."""
        raise StateError(
            f"save: {type(self).__name__} has no config(), so a file could not say how to rebuild it. Define config() to "
            "return the arguments of its __init__, or save model.state_dict() yourself."
        )

    @classmethod
    def from_config(cls: type[M], **config: Any) -> M:
        """A new module from what ``config()`` returned."""
        return cls(**config)

    def snapshot(self):
        """Copies of all values, where they are, for ``restore``."""
        return [tensor.data.copy() for _, tensor in self.named_tensors()]

    def restore(self, snapshot):
        """Go back to the values of a ``snapshot()``."""
        for (_, tensor), data in zip(self.named_tensors(), snapshot):
            tensor.data[...] = data
            tensor.mark_changed()

    # ------------------------------------------------------------ looking at it

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers with their output shapes and parameters, as text that shows itself in a notebook.

        Parameters
        ----------
        input_shape : tuple of int
            The shape of one example, without the batch axis: ``(784,)`` or ``(28, 28, 1)``.
        """
        example = Tensor(np.zeros((1, *as_ints("summary", (input_shape,))), self.dtype)).to(self.backend)
        with self.evaluating(), watch_layers() as calls:
            self(example)
        names = {id(module): name for name, module in self._named_parts()}
        called = [(module, shape) for module, _, shape in calls if module.computes_itself()]
        together = [""] * len(called)  # what the last column says of each: a bracket around a group
        place = 0
        for group in self.joined():
            n = len(group.layers)
            while place < len(called) and [module for module, _ in called[place : place + n]] != group.layers:
                place += 1
            together[place : place + n] = ["\u2510", *["\u2502"] * (n - 2), f"\u2518 {group.about}"][
                : len(called) - place
            ]
            place += n
        rows = [("layer", "output shape", "parameters", "computed together" if any(together) else "")]
        counted: set[int] = set()  # a tensor that several layers use is counted at the first
        for (module, shape), mark in zip(called, together):
            name = f"{names.get(id(module), '')} {module.label()}".strip()
            new = [tensor for tensor in module.parameters() if id(tensor) not in counted]
            counted.update(map(id, new))
            rows.append((name, str(shape[1:]), f"{sum(tensor.size for tensor in new):,}", mark))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3])).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        frozen = sum(tensor.size for _, tensor in self.named_tensors()) - self.parameter_count()
        total = f"{self.parameter_count():,} parameters" + (f", {frozen:,} numbers not trained" if frozen else "")
        return Table("\n".join([*lines, lines[1], total]))

    def label(self) -> str:
        """The module in few characters: its class and its arguments without their names."""
        try:
            arguments = list(self.config().values())
        except StateError:
            arguments = []
        return f"{type(self).__name__}({', '.join(map(repr, arguments))})"

    def _named_parts(self, prefix=""):
        found = {}  # a part that is met again keeps its first name
        for name, part in self.parts():
            for inner_name, inner in [(prefix + name, part), *part._named_parts(f"{prefix}{name}.")]:
                found.setdefault(inner, inner_name)
        return [(name, part) for part, name in found.items()]

    def __repr__(self) -> str:
        try:
            arguments = self.config()
        except StateError:
            arguments = {}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def members(values):
    """(name, value) of everything in a dict, and in the lists and dicts in it: ``layers.0``, ``layers.1``."""
    for name, value in values.items():
        if isinstance(value, dict):
            inner = value
        elif isinstance(value, (list, tuple)):
            inner = dict(enumerate(value))
        else:
            yield str(name), value
            continue
        for inner_name, inner_value in members(inner):
            yield f"{name}.{inner_name}", inner_value


class Table(str):
    """Text that an interpreter shows as it is printed."""

    __repr__ = str.__str__


def model_input(model, x, name):
    """A Tensor as it is; an array as a constant Tensor of the model's float type.

    Either must be on the model's backend: outside of ``fit`` nothing is moved in silence.
    """
    tensor = as_tensor(x, name)
    if tensor.backend is not model.backend:
        raise BackendError(
            f"{name}: the data are on the backend '{tensor.backend.name}', the model on '{model.backend.name}'. "
            f"Bring them together: model.to('{tensor.backend.name}'), or Tensor(data).to('{model.backend.name}')."
        )
    return (
        tensor if tensor is x or tensor.dtype == model.dtype else wrap(tensor.data.astype(model.dtype), tensor.backend)
    )
