"""How much memory a training step will need, and how much there is: asked before anything large is allocated.

Where the estimate was too low, or another program was quicker, ``told_when_exhausted`` says what the matter was.
"""

import os
import re
import traceback
from contextlib import contextmanager
from math import prod
from pathlib import Path

from .backend import NUMPY
from .errors import OutOfMemoryError, TinyaeError
from .nn.joining import ConvolutionBlock
from .nn.layers import Flatten, Reshape

AT_ONCE = 1 << 28  # bytes that two layers' outputs may take while nothing is trained
CGROUPS = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers
MEMINFO, OWN_CGROUP = Path("/proc/meminfo"), Path("/proc/self/cgroup")


def refuse_what_does_not_fit(trainer, calls):
    """Refuse a batch whose training step needs more memory than is at hand; nothing is allocated before.

    ``calls`` is what ``watch_layers`` saw of one example.

    Raises
    ------
    OutOfMemoryError
        Names the estimate, what is at hand, and a batch size that fits.
    """
    numbers = numbers_per_example(calls, prod(trainer.y.shape[1:]), trainer.model.joined())
    each, fixed = trainer.memory_needed = trainer.dtype.itemsize * numbers, bytes_besides(trainer)
    free = at_hand(trainer.place)
    if free is None or each * trainer.batch_size + fixed <= free:
        return
    raise OutOfMemoryError(f"fit: {need(trainer)}, but {readable(free)} are at hand. {cure(trainer, free)}")


def need(trainer):
    """What a step takes, in words."""
    each, fixed = trainer.memory_needed
    return (
        f"a training step on a batch of {trainer.batch_size:,} examples needs about {readable(each * trainer.batch_size + fixed)} of "
        f"memory ({readable(each)} for each example, forward and backward, and {readable(fixed)} for gradients and copies "
        f"of the weights)"
    )


def cure(trainer, free, most=None):
    """What to do about it where so many bytes are free; ``most``: no more examples than that."""
    each, fixed = trainer.memory_needed
    fitting = int((0.7 * free - fixed) // each) if each else 0
    fitting = fitting if most is None else min(fitting, most)
    size = 1 << fitting.bit_length() - 1 if fitting > 0 else 0
    if not size:
        return "Not even one example fits: give smaller examples, or a model with fewer or narrower layers."
    if trainer.optimizer.full_batch:
        return f"As {trainer.optimizer.about} takes all examples at once, use optimizer='sgd' with batch_size={size}."
    return f"Give a smaller batch_size, such as {size}."


@contextmanager
def told_when_exhausted(trainer):
    """Inside, running out of memory becomes an OutOfMemoryError that says what was asked for, what is free, what a step needs.

    Whatever the failed step held is let go of, and a device gets back what its library kept for later, so the process
    can go on: with a smaller batch, or with something else.
    """
    try:
        yield
    except MemoryError as error:
        if isinstance(error, TinyaeError):
            raise
        traceback.clear_frames(error.__traceback__)  # or the error would hold the arrays of the step that failed
        trainer.place.release()
        free = at_hand(trainer.place)
        where = f" of the device '{trainer.place.name}'" if trainer.place.is_device else ""
        now = "" if free is None else f"; now that the step is given up, {readable(free)} are free"
        # the estimate, which said that it fits, was too low
        advice = "Give a smaller batch_size." if free is None else cure(trainer, free, trainer.batch_size // 2)
        raise OutOfMemoryError(
            f"fit: the memory{where} is used up: {asked_for(error)}{now}. By estimate, {need(trainer)}. {advice}"
        ) from error


def asked_for(error):
    """What the array library could not have, in words."""
    shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)  # NumPy's error has them
    if shape is not None and dtype is not None:
        return f"{readable(prod(shape) * dtype.itemsize)} more were asked for"
    found = re.search(r"allocating ([\d,]+) bytes", str(error))  # CuPy's says so
    if found:
        return f"{readable(int(found[1].replace(',', '')))} more were asked for"
    return str(error) or "nobody says how much more was asked for"


# ---------------------------------------------------------------- what a step needs


def numbers_per_example(calls, target, groups=()):
    """How many numbers one example needs in a training step, from what ``watch_layers`` saw of it.

    The tape keeps every layer's output until the backward pass has used it. That goes back with the gradient of one
    output and makes the next, so at its largest it needs two neighbours on top of all outputs. What a block of
    convolutions computes in one (``groups``) has one output. An operation may need more for itself, which is not
    counted: a dropout mask, an activation that is no part of its layer, and several copies of its input where an operation
    has no kernel, such as pooling with overlapping windows, or all inside ``use_kernels("reference")``.
    """
    never_written = [layer for g in groups if isinstance(g, ConvolutionBlock) for layer in g.layers[:-1]]
    sizes = [*sizes_of(calls, {id(layer) for layer in never_written}), target]
    return sum(sizes) + widest(sizes)


def examples_at_once(calls, itemsize, most):
    """How many examples an evaluation takes together: ``most``, or fewer where the outputs of two layers get large."""
    return max(1, min(most, AT_ONCE // (itemsize * max(1, widest(sizes_of(calls))))))


def sizes_of(calls, left_out=()):
    """How many numbers go into the first layer, and come out of each that computes something."""
    own = [call for call in calls if call[0].computes_itself() and not isinstance(call[0], (Flatten, Reshape))]
    given = [prod(shape) for _, shape, _ in own[:1]]
    return [*given, *(prod(shape) for layer, _, shape in own if id(layer) not in left_out)]


def widest(sizes):
    """The two largest neighbours together."""
    return max((a + b for a, b in zip(sizes, sizes[1:])), default=0)


def bytes_besides(trainer):
    """Gradients, and the copies of weights and optimizer to which an epoch that fails goes back."""
    weights = sum(tensor.size * tensor.dtype.itemsize for _, tensor in trainer.model.named_tensors())
    gradients = sum(tensor.size * tensor.dtype.itemsize for tensor in trainer.optimizer.params)
    state = sum(array.size * array.dtype.itemsize for kept in trainer.optimizer.state for array in kept.values())
    return weights + gradients + state


def readable(number):
    """1536 as "1.5 KiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:,.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.3g} {unit}"


# ---------------------------------------------------------------- what there is


def at_hand(backend):
    """Bytes that can still be had where a model is, or None where nobody says."""
    if backend is NUMPY:
        found = [free for free in (free_on_machine(), *free_in_cgroups()) if free is not None]
        return min(found, default=None)
    memory = backend.memory()
    return None if memory is None else memory[0]


def free_on_machine():
    """Memory that programs can have without swapping: what Linux says, else the pages that are free."""
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def free_in_cgroups():
    """What the limits of this process's control groups leave: of its own group and all above it, versions 2 and 1."""
    found = []
    for folder, limit, used, reclaimable in cgroups():
        try:
            most = int((folder / limit).read_text())  # "max", in version 2, is no number
            now = int((folder / used).read_text())
            cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            found.append(max(0, most - now + int(cache.get(reclaimable, 0))))
        except (OSError, ValueError):
            continue
    return found


def cgroups():
    """(folder, files with the limit and the use, entry of what can be given back) of each group that may have a limit."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.lstrip("/")
        while root in (folder, *folder.parents):  # a container may show its own group as the root
            yield folder, *names
            folder = folder.parent
