"""What may look on while tensors compute: every hook of the engine, in one place.

An observer is told what happens as it happens; the engine never waits for an answer about numbers. There is at most one
at a time, in ``context.observing``, so that looking costs nothing when nobody looks. Who does: ``program.py`` and
``graph.py`` write a step down to repeat it; ``explain/trace.py`` keeps it to show it; ``explain/finding.py`` looks for
NaN.
"""

from typing import TypeVar

from .context import observing

W = TypeVar("W", bound="Watcher")


class Observer:
    """Every hook, doing nothing."""

    apart = False  # layers that could be joined into one operation are to run as the operations they are made of
    is_graph = False  # what a GPU is told is recorded, and can be told again

    def begin(self, op, inputs, attributes):
        """An operation is about to be computed from these inputs, Tensors and numbers."""

    def note_result(self, op, inputs, result, node):
        """It was; ``node`` is what the tape has of it, or None."""

    def note_module(self, module):
        """A layer or model was called."""

    def leave_module(self, module):
        """It returns."""

    def note_made(self, tensor):
        """A tensor was made, by no operation."""

    def note_backward(self, nodes):
        """A backward pass over these nodes begins, the last born first."""

    def note_gradient(self, node, gradient):
        """The gradient of a node's output is complete; now come the shares of its inputs."""

    def note_share(self, source, gradient, before):
        """A share of a gradient reached a node or leaf, where ``before`` had come together until then, or None."""

    def note_update(self, optimizer, pairs):
        """An optimizer is about to update every (parameter, state)."""

    def note_updated(self, optimizer, pairs):
        """It has."""

    def note_kernel(self, kernel, arguments):
        """A kernel for the CPU is about to run."""

    def keep(self, arrays):
        """Memory was given to a kernel to write to."""

    def give_up(self, reason):
        """Something happens that a list of calls cannot repeat."""

    def do(self, function, arguments):
        """Call what belongs to every repetition of a step."""
        return function(*arguments)

    def do_once(self, function, arguments):
        """Call what does not."""
        return function(*arguments)


class Watcher(Observer):
    """An observer that is opened by ``with``; one that was there before goes on being told."""

    apart = True

    def __init__(self) -> None:
        self._opened: list[bool] = []  # for each ``with`` that it is in: was it not told of things already?

    def __enter__(self: W) -> W:
        outer = observing.get()
        if outer is not None and not isinstance(outer, (Watcher, Both)):
            outer.give_up("is looked at from inside, by a trace or by find_nan")
        self._opened.append(not looks_on(self, outer))
        if self._opened[-1]:
            observing.set(self if outer is None else Both(self, outer))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._opened.pop():
            observing.set(without(self, observing.get()))

    def note_call(self, function, arguments):
        """A function of the engine is called that is neither an operation nor an update."""

    def do(self, function, arguments):
        self.note_call(function, arguments)
        return function(*arguments)


class Both(Observer):
    """Two that look on: a Watcher, and who was there before it."""

    def __init__(self, inner, outer):
        self.inner, self.outer, self.is_graph = inner, outer, outer.is_graph
        self.apart = inner.apart or outer.apart

    def do(self, function, arguments):
        self.inner.note_call(function, arguments)
        return self.outer.do(function, arguments)

    def do_once(self, function, arguments):
        return self.outer.do_once(function, arguments)

    def step_of(self, generator, purpose):
        return self.outer.step_of(generator, purpose)


def looks_on(watcher, observer):
    """Is it this one, or one of those together?"""
    return observer is watcher or (
        isinstance(observer, Both) and (observer.inner is watcher or looks_on(watcher, observer.outer))
    )


def without(watcher, observer):
    """Who looks on when this one no longer does. Blocks in generators may end in another order than they began."""
    if observer is watcher:
        return None
    if not isinstance(observer, Both):
        return observer
    if observer.inner is watcher:
        return observer.outer
    outer = without(watcher, observer.outer)
    return observer.inner if outer is None else Both(observer.inner, outer)


def told(name):
    """The hook of that name, for both, also when one stops the program: a trace then has the step at which it stopped."""

    def hook(self, *arguments):
        try:
            getattr(self.inner, name)(*arguments)
        finally:
            getattr(self.outer, name)(*arguments)

    return hook


for _name in vars(Observer):
    if _name not in vars(Both) and callable(getattr(Observer, _name)):
        setattr(Both, _name, told(_name))
