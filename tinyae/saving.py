"""Saving and loading models: the numbers, and the architecture to put them into.

A model file is an archive (``archive.py``) with ``architecture`` (each module as ``{"class": name,
"config": arguments}``, parts nested) and ``trained``, the names of the parameters.
"""

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import models, nn
from .archive import read_archive, write_archive
from .backend import FLOATS
from .context import generator, use
from .errors import ModelFileError, StateError, TinyaeError, require_list
from .nn.module import Module
from .random import Generator
from .tensor import Tensor

KNOWN_CLASSES = {name: getattr(package, name) for package in (nn, models) for name in package.__all__}


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Write a model, whole or not at all.

    Parameters
    ----------
    model : Module
        Made of tinyae's layers and models, or of classes that define ``config()``.
    path : str or Path
        A file, by custom ``*.safetensors``; replaced if it exists.

    Raises
    ------
    StateError
        A part has no ``config()``, or two different parts share one tensor.
    FileWriteError
        The file cannot be written.
    """
    if not isinstance(model, Module):
        raise StateError(f"save: {type(model).__name__} given; expected a model (a Module).")
    path = checked_path("save", path)
    about, state = take_apart(model)
    write_archive(path, "tinyae.model", about, state)


def load(path: str | os.PathLike[str], classes: Sequence[type[Module]] = ()) -> Any:
    """The model in a file that ``save`` wrote, on the NumPy backend.

    Parameters
    ----------
    path : str or Path
        The file, or a run folder with a ``model.safetensors`` in it.
    classes : list of Module subclasses
        Your own, if the model has parts that are not tinyae's.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, not ours, of another version, or needs a class not given.
    """
    path = checked_path("load", path)
    require_list("load", "classes", classes, type)
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors")
    about, state = read_archive(path, "tinyae.model")
    return put_together(about, state, path, classes)


def take_apart(model):
    """A model as (about, state): JSON-able data with its architecture, and its numbers; errors as in ``save``."""
    refuse_shared_tensors(model)
    about = {"architecture": describe(model, []), "trained": [name for name, _ in model.named_parameters()]}
    try:
        json.dumps(about)
    except TypeError as error:
        raise StateError(
            f"save: a config() returns what JSON cannot hold: {error}. Return plain numbers and strings."
        ) from error
    return about, model.state_dict()


def put_together(about, state, path, classes=()):
    """The model that ``take_apart`` took apart; ``path`` is where that was found, for messages."""
    known = {**KNOWN_CLASSES, **{cls.__name__: cls for cls in classes}}
    try:
        with use(generator, Blank(sum(array.size for array in state.values()))):
            model = rebuild(about["architecture"], known, path, [])
        if not isinstance(model, Module):
            raise ModelFileError(f"load: {path} describes no model.")
        for name, tensor in model.named_tensors():
            if name in state:  # float64 and integers come back as such
                tensor.data = tensor.data.astype(state[name].dtype)
        model.load_state_dict(state)
        for name, tensor in model.named_tensors():
            if tensor.dtype in FLOATS:
                tensor.requires_grad = name in about["trained"]
    except ModelFileError:
        raise
    except (
        TinyaeError,
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(f"load: {path}: its architecture and its numbers do not fit together: {error}") from error
    return model


class Blank(Generator):
    """Zeros in place of initial weights, which a file's own numbers replace; never more than the file holds."""

    def __init__(self, budget):
        super().__init__(0)
        self.budget = budget

    def uniform(self, shape, purpose, step=None, xp=np):
        self.budget -= math.prod(shape)
        if self.budget < 0:
            raise StateError(f"the architecture has more weights, such as {shape}, than the file has numbers.")
        return np.zeros(shape, np.float32)

    normal = uniform


def describe(value, seen):
    """A module as JSON-able data; anything else must be JSON-able already.

    A module met again (``seen`` holds those met before) is described by its number: it stays one.
    """
    if isinstance(value, Module):
        for number, module in enumerate(seen):
            if module is value:
                return {"class": "same as", "config": number}
        config = {name: describe(v, seen) for name, v in value.config().items()}
        seen.append(value)
        return {"class": type(value).__name__, "config": config}
    if isinstance(value, (list, tuple)):
        return [describe(v, seen) for v in value]
    return value


def rebuild(value, known, path, seen):
    """The module that ``describe`` described."""
    if isinstance(value, dict) and set(value) == {"class", "config"}:
        if value["class"] == "same as":
            return seen[value["config"]]
        cls = known.get(value["class"])
        if cls is None:
            raise ModelFileError(
                f"load: {path} needs a class {value['class']!r}, which tinyae does not have. "
                f"Give it: load(path, classes=[{value['class']}])."
            )
        config = {name: rebuild(v, known, path, seen) for name, v in value["config"].items()}
        seen.append(cls.from_config(**config))
        return seen[-1]
    if isinstance(value, list):
        return [rebuild(v, known, path, seen) for v in value]
    return value


def refuse_shared_tensors(model):
    """One tensor in two modules would come back as two."""
    owners = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and owners.setdefault(id(value), module) is not module:
                raise StateError(
                    f"save: {module!r} shares its {name} with {owners[id(value)]!r}; a file would make two of it. "
                    "Use one layer in both places, TiedDense for its transpose, or save model.state_dict() yourself."
                )


def checked_path(name, path):
    """A path as a string."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise ModelFileError(f"{name}: the path is {path!r}; expected a str or a Path.") from None
