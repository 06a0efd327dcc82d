"""The settings of the moment: is the tape recording, where does chance come from, who watches layers.

Each is a context variable, so a setting made in one thread (or one asyncio task) is never seen by
another, and leaving a ``with`` block restores what was there before.
"""

from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar

from .random import Generator

recording = ContextVar("tinyae.recording", default=True)
generator = ContextVar("tinyae.generator", default=Generator(seed=0))  # noqa: B039 (it is locked)
layer_calls = ContextVar("tinyae.layer_calls", default=None)


class no_grad(ContextDecorator):
    """Compute without recording: ``with ta.no_grad(): ...`` or ``@ta.no_grad()`` on a function."""

    def __init__(self):
        self._tokens = []

    def _recreate_cm(self):
        return no_grad()  # each call of a decorated function has its own, also in other threads

    def __enter__(self):
        self._tokens.append(recording.set(False))
        return self

    def __exit__(self, *exception):
        recording.reset(self._tokens.pop())


def manual_seed(seed):
    """Start the generator anew: weights, dropout masks and noise made from here on follow ``seed``.

    The same seed gives the same numbers on every backend. It holds for the current thread; a
    thread that never seeds draws from a generator with seed 0.
    """
    generator.set(Generator(seed))


@contextmanager
def use_generator(value):
    """Draw from ``value`` inside the block, as ``fit`` does with its own seed."""
    token = generator.set(value)
    try:
        yield value
    finally:
        generator.reset(token)


@contextmanager
def watch_layers():
    """Collect (layer, input shape, output shape) of every layer called inside the block."""
    calls = []
    token = layer_calls.set(calls)
    try:
        yield calls
    finally:
        layer_calls.reset(token)
