"""How much of the machine others took while something was measured (Linux only), and how much memory was held."""

import os
import sys
import time

SHORTEST = 0.1  # seconds; the system counts in hundredths


class OtherLoad:
    """``with OtherLoad() as load: ...`` and then ``load.share``, a share of all cores, or None where it is not known.

    A thread pool waits at barriers for its slowest thread: a program that takes a fifth of the machine
    can make a training step ten times slower, and not a fifth. ``own`` gives the seconds that the program has computed
    so far, all of its processes.
    """

    def __init__(self, own=time.process_time):
        self.count_own = own

    def __enter__(self):
        self.busy, self.own, self.started = busy_seconds(), self.count_own(), time.perf_counter()
        return self

    def __exit__(self, *error):
        self.share, busy, seconds = None, busy_seconds(), time.perf_counter() - self.started
        if busy is not None and self.busy is not None and seconds >= SHORTEST:
            others = (busy - self.busy) - (self.count_own() - self.own)
            self.share = max(0.0, others / seconds / os.cpu_count())


def busy_seconds():
    """Seconds that all cores together have worked, for anybody, the host of a virtual machine included."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def available_memory():
    """The bytes that a program could still have, or None where the system does not tell."""
    try:
        with open("/proc/meminfo") as lines:
            return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)
    except OSError:
        return None


def peak_memory():
    """The most memory that this process has held so far, in bytes, or None where the system does not tell."""
    try:
        with open("/proc/self/status") as lines:  # getrusage would count what the parent held before the process began
            for line in lines:
                if line.startswith("VmHWM"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
