"""The stand-in's one stream: it runs what it is asked for or, while it captures, only notes it, for a graph.

A graph knows where arrays are, not the Python objects, as CUDA's graphs do. The memory of what was made while it was noted is
the graph's own. Older memory it does not keep, and a launch says so if that is gone.
"""

import weakref
from functools import partial

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinyae.errors import BackendError

from . import emulated_cuda
from .emulated_cuda import LaunchError, memory_of

# functions for whose result the host must know values: its shape depends on them
BY_VALUE = {"nonzero", "flatnonzero", "argwhere", "unique", "extract", "compress"}
FROM_HOST = {"asarray", "asanyarray", "array"}
# functions that change their first argument
CHANGES = {"fill", "sort", "partition", "put", "at", "copyto", "put_along_axis", "place", "putmask", "fill_diagonal"}


class Stream:
    """Runs or notes.

    Attributes
    ----------
    graph : Graph
        What is being noted, or None.
    reads, silent_reads : int
        How often values went to the host; and how often by ``float(array)`` or the like, which no backend can count.
    """

    def __init__(self):
        self.graph, self.reads, self.silent_reads = None, 0, 0

    def run(self, function, arguments, options, changes=False):
        """A NumPy function of device arrays; ``changes``: it changes the first one."""
        if self.graph is not None:
            return self.graph.note(function, arguments, options, changes)
        return each_array(kept, function(*arguments, **options), scalars=True)

    def empty(self, shape, dtype):
        """New memory, full of 0xFF."""
        array = emulated_cuda.empty(shape, dtype)
        if self.graph is not None:
            self.graph.note_empty(memory_of(array))
        return array

    def refuse(self, what):
        """While capturing, CUDA's error for what cannot be noted; the graph is lost with it."""
        if self.graph is not None:
            self.graph.lost = True
            raise RuntimeError(
                f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing ({what})"
            )

    def capture(self, function):
        """(Graph of all that the function asks for, what it returns)."""
        if self.graph is not None:
            raise BackendError("capture: a step is being captured already; capture the outer one only.")
        graph = self.graph = Graph()
        try:
            result = function()
        finally:
            self.graph = None
        if graph.lost:
            raise BackendError(
                "capture: CUDA reports cudaErrorStreamCaptureInvalidated: an operation was not permitted."
            )
        return graph, result


stream = Stream()


class Graph:
    """What was noted, to be done by ``launch`` as often as it is called."""

    def __init__(self):
        self.nodes, self.own, self.lost = [], {}, False

    def launch(self):
        """Do all of it, in the same memory."""
        stream.refuse("launch of a graph")
        for node in self.nodes:
            node()

    def holding(self, memory):
        """A function that gives the memory, or None if it is gone."""
        return (lambda: memory) if id(memory) in self.own else weakref.ref(memory)

    def note_empty(self, memory):
        """New memory: in each launch it begins with what nobody can have wanted."""
        self.own[id(memory)] = memory
        self.nodes.append(lambda: emulated_cuda.fill(memory))

    def note_launch(self, launch):
        """A kernel with its arguments, already checked."""
        holding = [(name, self.holding(memory)) for name, memory in launch.memories]
        self.nodes.append(lambda: launch.run([(name, still(memory)) for name, memory in holding]))

    def note(self, function, arguments, options, changes):
        """A NumPy function. The shape of its result is found out now; values are there after a launch."""
        name = getattr(function, "__name__", str(function))
        if name in BY_VALUE or (name == "where" and len(arguments) == 1) or indexed_by(arguments, name, bool):
            stream.refuse(f"{name} asks the host for values")
        if (name in FROM_HOST and not isinstance(arguments[0], np.ndarray)) or indexed_by(arguments, name, list):
            stream.refuse(f"{name} copies from the host")
        changed = arguments[0] if changes or name in CHANGES else options.get("out")
        result, originals = tried(function, arguments, options, changed)
        if result is NotImplemented:
            return result
        outputs = []

        def output(array):
            if id(array) in originals:
                return originals[id(array)][1]
            if memory_of(array) is not None:  # a view: it will see what is written to its memory
                array.flags.writeable = True
                return array
            out = like(array)
            self.own[id(memory_of(out))] = memory_of(out)
            outputs.append(Place(out, self))
            return out

        if changed is None:
            result = each_array(output, result, scalars=True)
            if not outputs:
                return result
        given = [each_array(lambda array: Place(array, self), nest) for nest in (arguments, list(options.items()))]

        def again():
            arguments, options = (each_array(Place.array, nest, Place) for nest in given)
            results = []
            each_array(results.append, function(*arguments, **dict(options)), scalars=True)
            for place, array in zip(outputs, (array for array in results if memory_of(array) is None)):
                place.array()[...] = array

        self.nodes.append(again)
        return result if changed is None else changed


class Place:
    """Where an array is."""

    def __init__(self, array, graph):
        memory = memory_of(array)
        self.holding = graph.holding(memory)
        self.start = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        self.about = array.shape, array.dtype, array.strides

    def array(self):
        """The array that is there."""
        shape, dtype, strides = self.about
        return np.ndarray(shape, dtype, still(self.holding), self.start, strides)


def still(holding):
    """The memory that a graph uses; a LaunchError if it is gone."""
    memory = holding()
    if memory is None:
        raise LaunchError("launch of a graph: it uses an array that was made before it and that is gone.")
    return memory


def tried(function, arguments, options, changed):
    """A function's result for what the arrays hold now, which may be anything, and without changing any.

    Also gives {id of what the function was given: (that, the array)}.
    """
    originals = {}

    def safe(array, index=False):
        if array is changed:
            return array.copy()
        if index and array.dtype.kind in "iu":
            return np.zeros_like(array)
        view = array.view()
        view.flags.writeable = False
        originals[id(view)] = view, array
        return view

    with np.errstate(all="ignore"):
        options = dict(each_array(safe, list(options.items())))
        try:
            return function(*each_array(safe, arguments), **options), originals
        except IndexError:  # numbers that are not there yet were used as an index
            return function(*each_array(partial(safe, index=True), arguments), **options), originals


def indexed_by(arguments, name, kind):
    """Is it an array indexed by an array of bools, or by a list of the host?"""
    if name not in ("__getitem__", "__setitem__"):
        return False
    index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
    if kind is list:
        return any(isinstance(i, list) for i in index)
    return name == "__getitem__" and any(isinstance(i, np.ndarray) and i.dtype == kind for i in index)


def each_array(function, values, kind=np.ndarray, scalars=False):
    """A function of every array in a nest of lists and tuples; ``scalars``: of NumPy's scalars too, as arrays."""
    if isinstance(values, kind):
        return function(values)
    if scalars and isinstance(values, np.generic):
        return function(np.asarray(values))
    if type(values) in (list, tuple):
        return type(values)(each_array(function, value, kind, scalars) for value in values)
    return values


def like(array):
    """New memory for an array of this shape, type and layout."""
    first, end = byte_bounds(array)
    memory = memory_of(emulated_cuda.empty(end - first, np.uint8))
    start = emulated_cuda.BAND + array.__array_interface__["data"][0] - first
    return np.ndarray(array.shape, array.dtype, memory, start, array.strides)


def kept(array):
    """The array on the device: itself, or, if NumPy has made it, a copy between guard bands."""
    if memory_of(array) is not None:
        return array
    copy = like(array)
    copy[...] = array
    return copy
