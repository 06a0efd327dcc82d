"""Parts ``steps`` and ``tf32``: a training step, on the CPU, on the GPU and in the peers."""

from contextlib import suppress

import numpy as np

from .. import report
from ..cases import CHECKED_STEPS, shaped
from ..contestants import WorkerFailed
from ..contestants.gpu_names import GPU_CONTESTANTS, GPU_PEERS, ON_CPU, ON_GPU
from ..field import Field, reference

TOLERANCES = {"float32": 1e-3, "tf32": 1e-2}
APART = "gpu-loop", "gpu-captured"  # whose steps can be launched without being waited for
KEY = {"float32": "float32", "tf32": "TF32"}


def measure(session, precision):
    """Time all contestants in all cases, and print one table for each."""
    names = [*(ON_CPU if precision == "float32" else []), *ON_GPU, *GPU_PEERS]
    workers = session.taking_part(names)
    for name, worker in list(workers.items()):
        try:
            worker.ask("use_precision", precision)
        except WorkerFailed as reason:
            session.fail(f"{name}, {KEY[precision]}", reason)
            del workers[name]
    if not workers:
        print(f"\ntraining steps, {KEY[precision]}: not measured: {session.why_nobody(names)}")
        return
    print_precision(precision, workers)
    field = Field(workers, session.cases, GPU_CONTESTANTS, TOLERANCES[precision])
    for key in session.cases:
        found = measure_case(session, field, key, precision)
        print_case(f"{session.cases[key].title}, {KEY[precision]}", found, session.rounds)
        session.results += found
    session.left_out += field.left_out
    session.agreement += [{**entry, "precision": precision} for entry in field.agreement]
    session.disagreed |= field.disagreed
    field.print_left_out()


def measure_case(session, field, key, precision):
    """Check and time all contestants in one case; models and data are forgotten afterwards."""
    case, differences = field.cases[key], {}
    expected = by_hand(session, key)
    for name in field.workers:
        differences[name] = field.check_one(name, key, expected)
    found = field.results(key, session.rounds, session.pause)
    entries = []
    for entry in found:
        name, worker = entry["contestant"], field.workers[entry["contestant"]]
        about = {"case": f"{case.title}, {KEY[precision]}", "part": "steps", "key": key, "precision": precision,
                 "model": case.model.name, "batch": case.batch, "losses_differ_by": differences[name]}  # fmt: skip
        if name in APART:
            try:
                about |= {f"{part}_ms": times for part, times in worker.ask("apart", case, session.rounds).items()}
                about["not_captured"] = worker.ask("not_captured", case)
            except WorkerFailed as reason:
                session.fail(f"{name}, {case.title}, launch and kernels apart", reason)
        if about.get("not_captured"):
            print(f"warning: {name}: the step was not captured, these are times of the loop: {about['not_captured']}")
        entries.append({**entry, **about})
    for name in field.taking_part[key]:
        with suppress(WorkerFailed):  # noted already
            field.workers[name].ask("release", case)
    return entries


def by_hand(session, key):
    """The losses of a case's first steps, once for all precisions."""
    if key not in session.references:
        case = session.cases[key]
        images = shaped(session.images[: CHECKED_STEPS * case.batch], case.model.shape)
        session.references[key] = reference(case, images, CHECKED_STEPS)
    return session.references[key]


# ---------------------------------------------------------------- text


def print_precision(precision, workers):
    """What each contestant was told."""
    print(f"\ntraining steps, {KEY[precision]}:")
    for name, worker in workers.items():
        with suppress(WorkerFailed):
            print(f"  {name}: {worker.ask('about')['precision']}", flush=True)


def print_case(title, found, rounds):
    """The table of one case."""
    print(f"\n{title}: milliseconds per step in {rounds} rounds")
    header = ["", "median", "middle half", "launch", "kernels", "losses differ by"]
    rows = []
    for entry in found:
        low, high = report.quartiles(entry["times_ms"])
        apart = [text_of(entry.get("launch_ms")), text_of(entry.get("kernels_ms"))]
        rows.append([entry["contestant"], f"{entry['median_ms']:.4f}", f"{low:.4f} to {high:.4f}", *apart,
                     entry["losses_differ_by"]])  # fmt: skip
    print(report.table(header, rows) if rows else "nobody was timed", flush=True)


def text_of(times):
    """A median, or a stroke for what was not measured."""
    return f"{np.median(times):.4f}" if times else "-"
