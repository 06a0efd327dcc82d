"""What things are called in a trace: letters of formulas, parts of models, the user's variables and lines."""

import inspect
import sys
import weakref
from functools import cache
from typing import Any

import numpy as np

from ..errors import PACKAGE

EXAMPLES = (PACKAGE + "explain" + PACKAGE[-1] + "example",)  # programs of the package that are there to be looked at


def flat(things):
    """Those in tuples and dicts, and those that stand alone."""
    for thing in things:
        yield from (
            flat(thing.values() if isinstance(thing, dict) else thing) if isinstance(thing, (tuple, dict)) else (thing,)
        )


def users_frame():
    """The innermost frame of the user's program, or of an example of ours that is there to be looked at."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE) or file.startswith(EXAMPLES):
            return frame
        frame = frame.f_back
    return None


def named_modules(module, prefix=""):
    """(path, module) of a module and all parts of parts."""
    yield prefix, module
    for name, part in module.parts():
        yield from named_modules(part, f"{prefix}.{name}" if prefix else name)


def whole_model(module, frame):
    """The model that a module is called as a part of: the largest of the user's variables that contains it, or itself."""
    found, size = module, 0
    for other in variables(frame).values():
        if hasattr(other, "named_tensors") and not inspect.isclass(other):
            parts = [part for _, part in named_modules(other)]
            if len(parts) > size and any(part is module for part in parts):
                found, size = other, len(parts)
    return found


@cache
def letters(operation):
    """The parameters of an operation's forward after xp and save."""
    parameters = list(inspect.signature(operation.forward).parameters.values())[2:]
    return tuple((p.name, p.kind is p.VAR_POSITIONAL) for p in parameters)


def symbols_of(operation, count):
    """The formula's letter for each of an operation's inputs: the parameters of its forward, in order."""
    found: list[str] = []
    for name, several in letters(operation):
        if len(found) == count:
            break
        if not several:
            found.append(name)
        elif name == "parameters":  # weights and biases, in turn
            found += [f"{'Wb'[i % 2]}_{i // 2 + 1}" for i in range(count - len(found))]
        else:
            found += [f"{name.rstrip('s')}_{i + 1}" for i in range(count - len(found))]
    return tuple(found[:count])


def ran(implementation, definition):
    """Which of them ran: ``"definition"``, or the kernel's place in the package and its name."""
    if implementation is definition:
        return "definition"
    return f"{implementation.__module__.partition('.')[2]}.{implementation.__name__}"


def left_side(formula):
    """The letter that a formula defines."""
    return formula.partition("=")[0].strip().partition("_")[0]


def name_of(tensor, model, frame):
    """The name of a tensor: that of the parameter in the model that runs, or of the user's variable; None if it has none."""
    if model is not None:
        for name, found in model.named_tensors():
            if found is tensor:
                return name
    names = variables(frame)
    for name, found in names.items():
        if found is tensor:
            return name
    for found in names.values():
        if hasattr(found, "named_tensors") and not inspect.isclass(found):
            for inner, parameter in found.named_tensors():
                if parameter is tensor:
                    return inner
    for name, found in names.items():  # a tensor was made of the user's array
        alike = isinstance(found, np.ndarray) and found.shape == tensor.shape and tensor.backend.name == "numpy"
        if alike and np.array_equal(found, tensor.data):
            return name
    return None


def variables(frame):
    """The variables that a frame sees, by name."""
    if frame is None:
        return {}
    seen = {**frame.f_globals, **frame.f_locals}
    is_function = frame.f_code.co_flags & inspect.CO_OPTIMIZED
    if is_function and sys.version_info < (3, 13) and sys.gettrace() is None:
        frame.f_locals.clear()  # a copy, which the frame would keep, and with it tensors that the user has let go of
    return seen


class ByIdentity:
    """What is known of objects, without keeping them alive; == of Tensors compares elements, so no dict of them can."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def get(self, thing):
        """What is known of it, or None."""
        reference, value = self._known.get(id(thing), (None, None))
        return value if reference is not None and reference() is thing else None

    def __setitem__(self, thing, value):
        self._known[id(thing)] = weakref.ref(thing), value
