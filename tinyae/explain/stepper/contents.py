"""The tape as the data of its page: plain lists and dicts, numbers as the tape has them.

Arrays of up to SMALL numbers are embedded whole, each number so that it reads back to the same bits; of larger ones the
thumbnail is, rounded, and their range. Everything together stays below BUDGET: past that, values come without numbers
and say so.
"""

import json
import math

import numpy as np

from .filling import Filled
from .sources import program_lines
from .telling import about, algorithm, attributes, bar, letter, remark, rule_of, sentence, settings_told, title

SMALL = 144  # numbers of an array that are shown as numbers
BUDGET = 6_000_000  # bytes of JSON
FORMULAS = 1_500_000  # bytes of it that formulas with numbers in them may take


def contents(tape):
    """Everything the page shows.

    Returns
    -------
    dict
        ``note``; ``program``, as ``program_lines`` gives it; ``values``, numbered by their place in the list; ``steps``,
        which name values by that number; ``graph``: ``nodes`` and ``edges``.
    """
    steps = tape.steps()
    values = Values(steps)
    filled = Filled(FORMULAS)
    program = program_lines((step.file, step.line) for step in steps)
    files = [entry.pop("file") for entry in program]
    told = [tell(step, values, filled, files) for step in steps]
    sums = {pull["after"] for step in told for pull in step.get("pulls", ())}
    for step in told:  # a gradient that is the sum of no shares is where a backward pass begins
        if step["phase"] == "backward":
            step["first"] = step["gradient"] not in sums
    return {
        "note": tape.note,
        "program": program,
        "values": values.listed,
        "steps": told,
        "graph": graph(steps, values),
        "leftOut": values.left_out,
    }


class Values:
    """The values of a tape, each once; ``number`` gives a value's place in ``listed``."""

    def __init__(self, steps):
        self.listed, self.places, self.bytes, self.left_out = [], {}, 0, 0
        large = {id(v) for step in steps for v in all_values(step) if v is not None and not is_small(v)}
        room = 0.6 * BUDGET / max(len(large), 1)  # for each thumbnail
        self.cells = max(4, min(32, math.isqrt(int(room / 8))))  # its rows and columns
        self.alive = []  # their ids stay theirs

    def number(self, value):
        """A value's number; None for None."""
        if value is None:
            return None
        if id(value) not in self.places:
            self.places[id(value)] = len(self.listed)
            self.alive.append(value)
            self.listed.append(self.entry(value))
        return self.places[id(value)]

    def entry(self, value):
        """A value as the page has it."""
        own = {"label": value.label, "kind": value.kind, "shape": list(value.shape), "dtype": value.dtype}
        own |= {"low": number(value.low), "high": number(value.high), "mean": number(value.mean)}
        own |= {name: n for name, n in (("nans", value.nans), ("infinities", value.infinities)) if n}
        if is_small(value):
            numbers = {"numbers": exact(value.array)}
        elif value.thumbnail is not None:
            numbers = {"map": shrunk(value.thumbnail, self.cells)}
        else:
            numbers = {}
        size = len(json.dumps(numbers))
        if self.bytes + size > BUDGET - FORMULAS - 1_000_000:
            self.left_out += 1
            return own | {"leftOut": True}
        self.bytes += size
        return own | numbers


# ---------------------------------------------------------------- steps


def tell(step, values, filled, files):
    """One step as the page has it."""
    own = {
        "number": step.number,
        "phase": step.phase,
        "name": step.name,
        "title": title(step),
        "sentence": sentence(step),
        "about": about(step) if step.phase == "forward" else "",
        "layer": step.layer,
        "told": attributes(step),
        "ran": step.implementation,
        "place": [files.index(step.file), step.line] if step.file in files and step.line else None,
    }
    return own | {"forward": forward, "backward": backward, "update": update}[step.phase](step, values, filled)


def forward(step, values, filled):
    """Formula, inputs, result."""
    whole, elements = filled.forward(step) if is_small(step.output) else (None, None)
    return {
        "formula": step.formula,
        "filled": whole,
        "elements": elements,
        "inputs": [{"symbol": letter(s), "value": values.number(v)} for s, v in zip(step.symbols, step.inputs)],
        "output": {"symbol": letter(step.output_symbol), "value": values.number(step.output)},
    }


def backward(step, values, filled):
    """The gradient that arrived; for each input its rule, the share, and the sum before and after."""
    inputs = dict(zip(step.symbols, step.inputs))
    pulls = []
    for pull in step.pulls:
        whole, elements = filled.pull(step, pull) if is_small(pull.gradient) else (None, None)
        pulls.append(
            {
                "symbol": letter(pull.symbol),
                "bar": bar(pull.symbol) if pull.symbol else r"\bar\theta",
                "rule": rule_of(pull) if pull.symbol else "",
                "remark": remark(step, pull),
                "filled": whole,
                "elements": elements,
                "target": pull.target,
                "of": values.number(inputs.get(pull.symbol)),
                "share": values.number(pull.gradient),
                "before": values.number(pull.before),
                "after": values.number(pull.after),
            }
        )
    return {
        "source": step.source,
        "bar": bar(step.output_symbol) if step.output_symbol else "",
        "gradient": values.number(step.gradient),
        "output": {"symbol": letter(step.output_symbol), "value": values.number(step.output)},
        "pulls": pulls,
    }


def update(step, values, filled):
    """The algorithm, and for each parameter: before, gradient, state, after, and the lines for each of its elements."""
    return {
        "lines": algorithm(step),
        "settings": settings_told(step),
        "updates": [
            {
                "label": part.label,
                "before": values.number(part.parameter_before),
                "gradient": values.number(part.gradient),
                "state": [
                    [name, values.number(part.state_before.get(name)), values.number(after)]
                    for name, after in part.state_after.items()
                ],
                "after": values.number(part.parameter_after),
                "lines": filled.update(step, part) if is_small(part.parameter_after) else None,
            }
            for part in step.updates
        ],
    }


# ---------------------------------------------------------------- the graph


def graph(steps, values):
    """Nodes: operations, and the leaves and constants that go in. Edges: from what makes a value to what uses it."""
    nodes, edges, makers, renewed = [], [], {}, {}
    for step in steps:
        if step.phase == "forward":
            own = f"s{step.number}"
            for symbol, value in zip(step.symbols, step.inputs):
                place = values.number(value)
                if place not in makers:
                    makers[place] = f"v{place}"
                    nodes.append({"id": f"v{place}", "value": place, "name": value.label, "kind": value.kind})
                    if place in renewed:  # what an optimizer has made of a parameter is used again
                        edges.append({"from": renewed[place], "to": f"v{place}"})
                edges.append({"from": makers[place], "to": own, "symbol": symbol})
            output = values.number(step.output)
            nodes.append({"id": own, "step": step.number, "value": output, "name": step.name})
            makers.setdefault(output, own)
        elif step.phase == "update":
            own = f"s{step.number}"
            nodes.append({"id": own, "step": step.number, "name": step.name, "update": True})
            renewed |= {values.number(part.parameter_after): own for part in step.updates}
    return {"nodes": nodes, "edges": edges}


def all_values(step):
    """Every value of a step."""
    yield from (*step.inputs, step.output, step.gradient)
    for pull in step.pulls:
        yield from (pull.gradient, pull.before, pull.after)
    for part in step.updates:
        yield from (part.gradient, part.parameter_before, part.parameter_after)
        yield from (*part.state_before.values(), *part.state_after.values())


# ---------------------------------------------------------------- numbers


def is_small(value):
    """Is it shown as numbers?"""
    return value is not None and value.array is not None and value.size <= SMALL


def exact(array):
    """The elements in order; each reads back to the same bits in the array's own type."""
    if array.dtype.kind in "biu":
        return [int(x) for x in array.ravel()]
    return [number(float(text)) for text in array.ravel().astype(str)]  # the shortest text that is this number


def number(x):
    """A float for JSON, which has no word for NaN and infinity."""
    if x is None or math.isfinite(x):
        return x
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"


def shrunk(plane, cells):
    """A thumbnail of at most so many rows and columns, its numbers rounded: a picture."""
    for axis in (0, 1):
        n = plane.shape[axis]
        edges = np.unique(np.linspace(0, n, min(n, cells) + 1).astype(int))
        with np.errstate(invalid="ignore", over="ignore"):
            plane = np.add.reduceat(plane, edges[:-1], axis=axis) / np.diff(edges).reshape(
                (-1, 1) if axis == 0 else (1, -1)
            )
    return {
        "rows": plane.shape[0],
        "columns": plane.shape[1],
        "numbers": [number(float(f"{x:.3g}")) for x in plane.ravel()],
    }
