"""The file format of models and checkpoints: arrays in safetensors, everything else as JSON beside them.

No pickle: such a file is data, and reading one never runs code from it. The metadata of the
safetensors file have one entry ``tinyae``: JSON with ``format``, ``version``, what the format needs,
and ``sha256``, a checksum over all of it and every array.
"""

import json
import os
from typing import Any

import numpy as np

from .errors import ModelFileError
from .files import write_whole

VERSION = "1"
ARRAY = "array of this name"  # marks the place of an array in the JSON part
KINDS = {"tinyae.model": "model", "tinyae.checkpoint": "checkpoint", "tinyae.detector": "detector"}


def write_archive(path, kind, about, arrays, keep=None):
    """Write a file of that kind, whole or not at all; with ``keep`` the old file lives on under that name.

    Parameters
    ----------
    kind : str
        One of KINDS.
    about : dict
        What JSON can hold.
    arrays : dict of NumPy arrays
    """
    from safetensors.numpy import save as to_bytes

    # in this machine's byte order, and without gaps
    arrays = {name: np.asarray(array, array.dtype.newbyteorder("="), order="C") for name, array in arrays.items()}
    about = json.loads(json.dumps({"format": kind, "version": VERSION, **about}))  # as it will be read
    about["sha256"] = checksum(about, arrays)
    # one entry: safetensors writes several in no fixed order, and equal models are to be equal files
    write_whole(path, to_bytes(arrays, {"tinyae": json.dumps(about)}), keep)


def read_archive(path, kind) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """What ``write_archive`` wrote, after every check: (about, arrays).

    Raises
    ------
    ModelFileError
        The file is missing, damaged, of another kind, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise ModelFileError(f"load: there is no file {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("tinyae", "{}"))
            if not isinstance(about, dict) or about.get("format") not in KINDS:
                raise ModelFileError(
                    f"load: {path} is a safetensors file, but not a tinyae model (its metadata have no entry 'tinyae' of ours)."
                )
            if about["format"] != kind:
                raise ModelFileError(
                    f"load: {path} is a tinyae {KINDS[about['format']]}, not a {KINDS[kind]}. A model is read by load(path); "
                    "a detector by AnomalyDetector.load(path); training goes on from a checkpoint by "
                    "fit(..., callbacks=[Checkpoint(path, resume=True)])."
                )
            if about.get("version") != VERSION:
                raise ModelFileError(
                    f"load: {path} is a tinyae {KINDS[kind]} of version {about.get('version')}; this tinyae reads version "
                    f"{VERSION}. Install the tinyae that wrote it, or train the model again."
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        whole = about.pop("sha256", None) == checksum(about, arrays)
    except (SafetensorError, OSError, RecursionError, json.JSONDecodeError) as error:
        raise ModelFileError(f"load: {path} is truncated, damaged, or not a safetensors file: {error}") from error
    if not whole:
        raise ModelFileError(
            f"load: {path} is damaged: its content does not match its checksum. Use another copy of the file."
        )
    return about, arrays


def checksum(about, arrays):
    """SHA-256 over the JSON part and every array's name, type, shape and bytes."""
    import hashlib

    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def flatten(state, name="", arrays=None):
    """Nested dicts and lists with arrays in them, as JSON-able data and a flat dict of the arrays."""
    arrays = {} if arrays is None else arrays
    if isinstance(state, np.ndarray):
        while name in arrays:  # keys with a slash in them
            name += "'"
        arrays[name] = state
        return {ARRAY: name}, arrays
    if isinstance(state, np.generic):
        return state.item(), arrays
    if isinstance(state, dict):
        return {key: flatten(value, f"{name}/{key}".strip("/"), arrays)[0] for key, value in state.items()}, arrays
    if isinstance(state, (list, tuple)):
        return [flatten(value, f"{name}/{i}".strip("/"), arrays)[0] for i, value in enumerate(state)], arrays
    return state, arrays


def unflatten(data, arrays):
    """The nested state that ``flatten`` took apart; tuples come back as lists."""
    if isinstance(data, dict):
        if set(data) == {ARRAY}:
            return arrays[data[ARRAY]]
        return {key: unflatten(value, arrays) for key, value in data.items()}
    return [unflatten(value, arrays) for value in data] if isinstance(data, list) else data
