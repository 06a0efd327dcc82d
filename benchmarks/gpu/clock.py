"""How long something takes on a device, and which part of it is Python's.

A GPU works through a queue. Python puts launches into it and does not wait, so three times are to be told apart:
what Python needs to launch a step; what the GPU needs to compute it; and what a step takes where many follow
each other, which is about the larger of the two.
"""

import time

LAUNCHES = 8  # steps that are launched together: fewer than fill the queue, where Python would have to wait
LONGEST, TRIES = 0.5, 4  # seconds that the queue is held up at most, and how often that is doubled before giving up

# One thread that waits. Behind it launches pile up, so that the GPU then finds all of them in its queue.
HOLD_UP = """
extern "C" __global__ void hold_up(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


def clock_of(backend):
    """CUDA's events where the backend has them, otherwise the clock on the wall."""
    cuda = getattr(backend.xp, "cuda", None)
    return EventClock(backend) if hasattr(cuda, "Event") else WallClock(backend)


class WallClock:
    """For a device without a queue, such as a stand-in: Python's time is all there is."""

    name = "the wall clock"

    def __init__(self, backend):
        self.backend = backend

    def milliseconds(self, run):
        """From nothing to do until all is done."""
        self.backend.synchronize()
        started = time.perf_counter()
        run()
        self.backend.synchronize()
        return 1e3 * (time.perf_counter() - started)

    def launch_milliseconds(self, run):
        """Until Python is through with it; the device may not be."""
        self.backend.synchronize()
        started = time.perf_counter()
        run()
        milliseconds = 1e3 * (time.perf_counter() - started)
        self.backend.synchronize()
        return milliseconds

    def kernel_milliseconds(self, run):
        """That the device computes, or None if it cannot be told."""
        return self.milliseconds(run)


class EventClock(WallClock):
    """Two marks in the GPU's queue; it notes itself when it came by."""

    name = "CUDA events"

    def __init__(self, backend):
        super().__init__(backend)
        self.cuda = backend.xp.cuda
        self.start, self.end = self.cuda.Event(), self.cuda.Event()

    def milliseconds(self, run):
        self.backend.synchronize()
        self.start.record()
        run()
        self.end.record()
        self.end.synchronize()
        return self.cuda.get_elapsed_time(self.start, self.end)

    def kernel_milliseconds(self, run):
        """The queue is held up until Python has launched all, so the GPU never waits for Python.

        None if Python needs so long that the queue cannot be held up until it is through.
        """
        hold_up = self.backend.xp.RawKernel(HOLD_UP, "hold_up")
        cycles_a_second = 1e3 * self.cuda.Device().attributes.get("ClockRate", 2_000_000)
        seconds = min(LONGEST, 3e-3 * self.launch_milliseconds(run) + 1e-3)
        for _ in range(TRIES):
            self.backend.synchronize()
            hold_up((1,), (1,), (int(seconds * cycles_a_second),))
            self.start.record()
            run()
            waited = not self.start.done  # then all was launched before the GPU began
            self.end.record()
            self.end.synchronize()
            if waited:
                return self.cuda.get_elapsed_time(self.start, self.end)
            seconds *= 2
        return None
