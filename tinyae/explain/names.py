"""What things are called in a trace: letters of formulas, parts of models, the user's variables and lines."""

import inspect
import sys
import weakref
from functools import cache
from typing import Any

import numpy as np

from ..errors import PACKAGE
from ..nn.module import Module
from ..ops.op import OPERATIONS

EXAMPLES = (PACKAGE + "explain" + PACKAGE[-1] + "example",)  # programs of the package that are there to be looked at


class Numbered(str):
    """A label made of a number, such as ``t3`` or ``gradient of t3``, until the user's own name is known, if there is one."""


def gradient_of(label):
    """The label of a gradient."""
    return type(label)(f"gradient of {label}")


def flat(things):
    """Those in tuples and dicts, and those that stand alone."""
    for thing in things:
        yield from (
            flat(thing.values() if isinstance(thing, dict) else thing) if isinstance(thing, (tuple, dict)) else (thing,)
        )


def rename(steps, names):
    """Give what has a number for a name the user's name for it, {number: name}, if there is one."""
    things = [
        (thing, word, getattr(thing, word))
        for step in steps
        for part in [step, *step.pulls, *step.updates]
        for thing in [part, *flat(vars(part).values())]
        for word in ("label", "target")
        if hasattr(thing, word)
    ]
    users = {*names.values(), *(str(label) for *_, label in things if not isinstance(label, Numbered))}
    for thing, word, label in things:
        if isinstance(label, Numbered):
            *before, last = label.rpartition(" ")
            name = names.get(last) or (f"{last}'" if last in users else None)  # a variable may be called t3 too
            if name is not None:
                object.__setattr__(thing, word, "".join(before) + name)


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
        if isinstance(other, Module):
            parts = [part for _, part in named_modules(other)]
            if len(parts) > size and any(part is module for part in parts):
                found, size = other, len(parts)
    return found


def definition_of(op):
    """The definition of what a kernel computes. A user's own operation is its own, whatever it is called."""
    return OPERATIONS.get(op.name, op) if op.__module__.startswith(f"{__package__.partition('.')[0]}.") else op


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
        if isinstance(found, Module):
            for inner, parameter in found.named_tensors():
                if parameter is tensor:
                    return inner
    if tensor.requires_grad or tensor.backend.name != "numpy":
        return None
    arrays = [(name, found) for name, found in names.items() if isinstance(found, np.ndarray)]
    alike = [(name, found) for name, found in arrays if np.array_equal(found, tensor.data)]
    if not alike or not all(np.may_share_memory(found, alike[0][1]) for _, found in alike):
        return None  # or equal by chance: which of them it was made of, nobody knows
    return alike[0][0]


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
