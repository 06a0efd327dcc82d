"""Part ``crossover``: where does the GPU begin to win, against batch size and against the width of the model?"""

import math
from contextlib import suppress

from .. import report
from ..architectures import dense_model
from ..cases import Case, Lengths, shaped
from ..contestants import WorkerFailed
from ..contestants.gpu_names import GPU_CONTESTANTS
from ..field import Field, reference
from .session import label

CPU, GPU = "cpu-captured", "gpu-captured"
BATCHES, WIDTHS = (8, 32, 128, 512, 2048, 8192), (16, 64, 256, 1024, 4096)
QUICK_BATCHES, QUICK_WIDTHS = (8, 64), (16, 64)
WIDTH, BATCH, PIXELS = 32, 32, 784
CHECKED = 5  # steps: the first ones of a captured step are not captured yet


def measure(session):
    """Time a captured step on both, one after the other in every round."""
    workers = session.taking_part([CPU, GPU])
    for name, worker in list(workers.items()):
        try:
            worker.ask("use_precision", "float32")
        except WorkerFailed as reason:
            session.fail(f"crossover, {name}", reason)
            del workers[name]
    if not workers:
        print(f"\ncrossover: not measured: {session.why_nobody([CPU, GPU])}")
        return
    cases = all_cases(session.quick)
    field = Field(workers, {key: case for key, (case, _) in cases.items()}, GPU_CONTESTANTS)
    for key, (case, about) in cases.items():
        images = shaped(session.images, case.model.shape)
        while len(images) < case.images:
            images = images.repeat(2, axis=0)
        expected = reference(case, images, min(CHECKED, case.lengths.steps_per_epoch))
        for name in workers:
            field.check_one(name, key, expected)
        for entry in field.results(key, session.rounds, session.pause):
            session.results.append({**entry, "case": f"crossover: {case.title}", "part": "crossover", **about})
        for name in field.taking_part.get(key, []):
            with suppress(WorkerFailed):  # noted already
                workers[name].ask("release", case)
    session.left_out += field.left_out
    session.agreement += field.agreement
    session.disagreed |= field.disagreed
    field.print_left_out()
    print_tables(session)


def all_cases(quick):
    """{key: (Case, {"batch": ..., "width": ...})}, each once."""
    batches, widths = (QUICK_BATCHES, QUICK_WIDTHS) if quick else (BATCHES, WIDTHS)
    pairs = dict.fromkeys([*((batch, WIDTH) for batch in batches), *((BATCH, width) for width in widths)])
    lengths = Lengths(CHECKED, 1, 0.0, 3, 1) if quick else Lengths(CHECKED, 1, 0.15, 5, 3)
    return {
        f"batch {batch}, width {width}": (
            Case(dense_model((PIXELS, width, PIXELS)), batch, lengths), {"batch": batch, "width": width},
        )
        for batch, width in pairs
    }  # fmt: skip


def lines(results, by):
    """{contestant: {batch size or width: ms per step}}; the other of the two stays what it is."""
    other, fixed = {"batch": ("width", WIDTH), "width": ("batch", BATCH)}[by]
    found = {CPU: {}, GPU: {}}
    for entry in results:
        if entry["part"] == "crossover" and entry[other] == fixed:
            found[entry["contestant"]][entry[by]] = entry["median_ms"]
    return found


def crossing(cpu, gpu):
    """Where the GPU begins to win and keeps winning, or None: (size, in words).

    Between two sizes the times are taken to be straight lines on logarithmic axes.
    """
    sizes = sorted(set(cpu) & set(gpu))
    if not sizes:
        return None, "where the GPU begins to win: not measured"
    ahead = [cpu[size] / gpu[size] for size in sizes]  # above 1 the GPU wins
    if ahead[-1] <= 1:
        return None, f"the CPU still wins at {sizes[-1]}"
    first = len(sizes) - next((i for i, ratio in enumerate(reversed(ahead)) if ratio <= 1), len(sizes))
    if first == 0:
        return None, f"the GPU wins from {sizes[0]} on, the smallest measured"
    (a, b), (low, high) = (math.log(ratio) for ratio in ahead[first - 1 : first + 1]), sizes[first - 1 : first + 1]
    size = math.exp(math.log(low) + (math.log(high) - math.log(low)) * -a / (b - a))
    return size, f"the GPU wins from about {size:.0f} on"


def print_tables(session):
    """Milliseconds per step against batch size, then against width."""
    for by, title in (
        ("batch", f"784-{WIDTH}-784, against batch size"),
        ("width", f"784-W-784, batches of {BATCH}, against W"),
    ):
        found = lines(session.results, by)
        sizes = sorted({size for line in found.values() for size in line})
        rows = [
            [label(name), *(f"{line[size]:.4f}" if size in line else "not measured" for size in sizes)]
            for name, line in found.items()
        ]
        print(f"\nmilliseconds per captured step of {title}")
        print(report.table(["", *map(str, sizes)], rows))
        print(crossing(found[CPU], found[GPU])[1], flush=True)
