"""Saving and loading models: numbers in safetensors, the architecture as JSON beside them.

No pickle: a model file is data, and loading one never runs code from it.

The file is a safetensors file. Its metadata has one entry ``tinyae``, JSON with ``format``
("tinyae.model"), ``version``, ``architecture`` (each module as ``{"class": name, "config":
arguments}``, parts nested), ``trained``, the names of the parameters, and ``sha256``, a checksum over the
architecture and all numbers.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import models, nn
from .backend import FLOATS
from .context import generator, use
from .errors import ModelFileError, StateError, TinyaeError, require_list
from .files import write_whole
from .nn.module import Module
from .random import Generator
from .tensor import Tensor

FORMAT, VERSION = "tinyae.model", "1"
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
    from safetensors.numpy import save as to_bytes

    if not isinstance(model, Module):
        raise StateError(f"save: {type(model).__name__} given; expected a model (a Module).")
    path = checked_path("save", path)
    refuse_shared_tensors(model)
    state = {name: np.ascontiguousarray(value) for name, value in model.state_dict().items()}
    try:
        architecture = json.dumps(describe(model, []))
    except TypeError as error:
        raise StateError(
            f"save: a config() returns what JSON cannot hold: {error}. Return plain numbers and strings."
        ) from error
    trained = [name for name, _ in model.named_parameters()]
    about = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "trained": trained,
        "sha256": checksum(architecture, trained, state),
    }
    # one entry: safetensors writes several in no fixed order, and equal models are to be equal files
    write_whole(path, to_bytes(state, {"tinyae": json.dumps(about)}))


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
    if not os.path.isfile(path):
        raise ModelFileError(f"load: there is no file {path}.")
    architecture, trained, state = read(path)
    known = {**KNOWN_CLASSES, **{cls.__name__: cls for cls in classes}}
    try:
        with use(generator, Generator(0)):  # weights that are drawn and replaced cost the user's generator nothing
            model = rebuild(json.loads(architecture), known, path, [])
        if not isinstance(model, Module):
            raise ModelFileError(f"load: {path} describes no model.")
        for name, tensor in model.named_tensors():
            if name in state:  # float64 and integers come back as such
                tensor.data = tensor.data.astype(state[name].dtype)
        model.load_state_dict(state)
        for name, tensor in model.named_tensors():
            if tensor.dtype in FLOATS:
                tensor.requires_grad = name in trained
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


def read(path):
    """The architecture (JSON text), the names of what is trained, and the arrays of a model file, after every check."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("tinyae", "{}"))
            if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
                raise ModelFileError(
                    f"load: {path} is a safetensors file, but not a tinyae model (its metadata have no entry 'tinyae' of ours)."
                )
            if metadata.get("version") != VERSION:
                raise ModelFileError(
                    f"load: {path} is a tinyae model of version {metadata.get('version')}; this tinyae reads version {VERSION}. "
                    "Install the tinyae that wrote it, or train the model again."
                )
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, RecursionError, json.JSONDecodeError) as error:
        raise ModelFileError(f"load: {path} is truncated, damaged, or not a safetensors file: {error}") from error
    architecture, trained = metadata.get("architecture", ""), metadata.get("trained", [])
    if metadata.get("sha256") != checksum(architecture, trained, state):
        raise ModelFileError(
            f"load: {path} is damaged: its content does not match its checksum. Use another copy of the file."
        )
    return architecture, trained, state


def checksum(architecture, trained, state):
    """SHA-256 over the architecture, what is trained, and every array's name, type, shape and bytes."""
    import hashlib

    digest = hashlib.sha256(json.dumps([architecture, trained]).encode())
    for name in sorted(state):
        array = state[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


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
                    "Use one layer in both places, or save model.state_dict() yourself."
                )


def checked_path(name, path):
    """A path as a string."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise ModelFileError(f"{name}: the path is {path!r}; expected a str or a Path.") from None
