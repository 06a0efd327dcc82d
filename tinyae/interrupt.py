"""Ctrl-C that waits for a good moment, so that nothing is left half done."""

import signal
import threading
import time
from contextlib import contextmanager


@contextmanager
def deferred_interrupt(patience=1.0):
    """Turn Ctrl-C into an event to be looked at between batches.

    A second one acts at once, if it comes more than ``patience`` seconds later: a double press is one.
    """
    event, first = threading.Event(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread receives signals
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(signum, frame):
        nonlocal first
        if event.is_set() and time.monotonic() - first > patience and callable(previous):
            previous(signum, frame)
        if not event.is_set():
            first = time.monotonic()
        event.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
