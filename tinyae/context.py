"""The settings of the moment: is the tape recording, where does randomness come from, who watches layers.

Each is a context variable, so a setting made in one thread (or one asyncio task) is never seen by
another, and leaving a ``with`` block restores what was there before.
"""

from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar, Token
from typing import Any

from .backend import KERNELS, kernels
from .errors import known_name
from .random import Generator

recording = ContextVar("tinyae.recording", default=True)
generator: ContextVar[Generator | None] = ContextVar("tinyae.generator", default=None)
layer_calls: ContextVar[list | None] = ContextVar("tinyae.layer_calls", default=None)
observing: ContextVar[Any] = ContextVar(
    "tinyae.observing", default=None
)  # the Observer who is told of everything, or None


class no_grad(ContextDecorator):
    """Compute without recording: ``with ta.no_grad(): ...`` or ``@ta.no_grad()`` on a function."""

    def __init__(self) -> None:
        self._tokens: list[Token[bool]] = []

    def _recreate_cm(self):
        return no_grad()  # each call of a decorated function has its own, also in other threads

    def __enter__(self) -> "no_grad":
        self._tokens.append(recording.set(False))
        return self

    def __exit__(self, *exception: object) -> None:
        recording.reset(self._tokens.pop())


class use_kernels(ContextDecorator):
    """Compute with the fast kernels or with the operations as they are defined: ``with ta.use_kernels("reference"):``.

    Parameters
    ----------
    which : str
        ``"fast"``, the default outside of any block: kernels where there are some, else the definition; or
        ``"reference"``: the definitions in ``ops/``, ``losses.py`` and ``optim.py``.

    The tape remembers what it was recorded with: ``backward()`` outside of the block uses what ran inside. Make one
    for each block; an object must not be entered in two threads at once.

    Raises
    ------
    RangeError
        Another name.
    """

    def __init__(self, which: str) -> None:
        self.which = known_name("kernels", which, KERNELS)
        self._tokens: list[Token[str]] = []

    def _recreate_cm(self):
        return use_kernels(self.which)

    def __enter__(self) -> "use_kernels":
        self._tokens.append(kernels.set(self.which))
        return self

    def __exit__(self, *exception: object) -> None:
        kernels.reset(self._tokens.pop())


def manual_seed(seed: int) -> None:
    """Start the generator anew: weights, dropout masks and noise made from here on follow ``seed``.

    Inside ``fit``, dropout and noise follow ``fit``'s own seed.

    The same seed gives the same numbers on every backend. It holds for the current thread; one that
    never seeds draws from a generator of its own, with seed 0.
    """
    generator.set(Generator(seed))


def current_generator() -> Generator:
    """Where randomness comes from in this thread."""
    current = generator.get()
    if current is None:
        current = Generator(seed=0)
        generator.set(current)
    return current


@contextmanager
def use(setting, value):
    """Give one of the settings above another value inside the block."""
    token = setting.set(value)
    try:
        yield value
    finally:
        setting.reset(token)


@contextmanager
def watch_layers():
    """Collect (layer, input shape, output shape) of every layer called inside the block."""
    with use(layer_calls, []) as calls:
        yield calls


def apart():
    """Are layers to run as the single operations they are made of? So whoever looks on sees each of them."""
    observer = observing.get()
    return observer is not None and observer.apart


def every_time(function, *arguments):
    """Call it; and if a step is being captured, again in each repetition of the step."""
    observer = observing.get()
    if observer is None:
        return function(*arguments)
    return observer.do(function, arguments)


def once(function, *arguments):
    """Call it; if a step is being captured, not in its repetitions: from now on there is nothing to do."""
    observer = observing.get()
    return function(*arguments) if observer is None else observer.do_once(function, arguments)


def unrepeatable(what, by_calls_only=False):
    """If a step is being captured, give it up: it does something that a list of calls cannot repeat.

    ``what`` is a plain text, for it is made on every call, captured or not. ``by_calls_only``: the graph of a GPU can
    repeat it, for it holds all that the GPU was told, by a kernel of ours or not.
    """
    observer = observing.get()
    if observer is not None and not (by_calls_only and observer.is_graph):
        observer.give_up(what)


def own(tensor):
    """The tensor; a step that is being captured is told that it made it, for no operation says so."""
    observer = observing.get()
    if observer is not None:
        observer.note_made(tensor)
    return tensor


def draw(kind, shape, purpose, backend):
    """Random numbers of the current generator, "uniform" or "normal"; those of a captured step are others in each repetition."""
    unrepeatable("draws random numbers", by_calls_only=True)
    generator, observer = current_generator(), observing.get()
    step = None if observer is None or not observer.is_graph else observer.step_of(generator, purpose)
    return getattr(generator, kind)(shape, purpose, step, backend.xp)
