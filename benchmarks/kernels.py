"""Each kernel for the CPU against its definition: the same operation as the array code that says what it means.

"reference" is the operation inside ``ta.use_kernels("reference")``, "fast" is what runs without that. Before
anything is timed, both compute the same, and what differs by more than 1e-4 of the largest number is not timed.
Everything is float32, on arrays as training meets them. Forward runs without a tape, backward is the operation's
own rule alone. In each round reference, fast and the machine's own rate take turns, each for about 0.05 s, after a
pause in which the others' threads come to rest.

Where PyTorch is installed, convolutions, pooling and upsampling are measured in it too (channels last, by its library
oneDNN), in a process of its own, after it has computed the same. "reference" computes all gradients of a convolution
whatever is asked for; the others only the one that is named.

The rate is the useful work of a call, additions and multiplications or the bytes that must be read and written at
least, divided by its time; the share is that of the machine's own rate (``yardsticks.py``): NumPy's product of
1024 x 1024 matrices, or copying between two arrays that take up as much memory as the kernel's. Above 100 %: the
kernel reads more than it writes, and reading is cheaper, or it does less arithmetic than the definition: a convolution
of an upsampled image ("up") is counted as one of the large image. Far below: each number takes much computing, or the call
itself takes the time.
"""

import math
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import tinyae as ta
from tinyae.errors import MissingLibraryError, require_integer

from . import report
from .contestants import Worker, WorkerFailed
from .contestants.load import OtherLoad
from .contestants.torch_kernels import TorchKernels

REFERENCE, FAST, TORCH = "reference", "fast", "torch"
TOLERANCE = 1e-4  # of the largest number of an array
BLOCK_SECONDS, PAUSE, TRIALS = 0.05, 0.2, 5
MUCH = 0.05  # the share of the cores from which on others disturb


def add_arguments(parser):
    """The options of ``python -m benchmarks kernels``."""
    from .kernel_cases import KERNELS

    report.add_output_options(parser)
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"some of: {', '.join(KERNELS)}")
    parser.add_argument("--rounds", type=int, default=7, help="timed blocks of each contestant (7)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 call: does it run? The times mean nothing")


def main(arguments):
    """Check, measure, print, write; returns the exit code."""
    from .kernel_cases import KERNELS

    names = report.chosen("kernel", arguments.only, KERNELS)
    rounds = 2 if arguments.quick else require_integer("kernels", "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    require_compiler()
    cases = [case for name in names for case in KERNELS[name]()]
    with ExitStack() as stack:
        peer = start_peer(stack) if any(case.peer for case in cases) else None
        ready, agreement, left_out = check(cases, peer)
        made = report.new_report(
            "kernels", versions(peer), {"rounds": rounds, "quick": arguments.quick, "block seconds": BLOCK_SECONDS,
                                        "dtype": "float32", "threads": threads(peer)}, [],
            agreement=agreement, left_out=left_out, yardsticks=[],
        )  # fmt: skip
        print_settings(made)
        if not arguments.quick:
            seconds = sum(3.5 * (PAUSE + 1.2 * BLOCK_SECONDS) + 2 * one.reference_seconds for one in ready) * (
                rounds + 1.5
            )
            print(f"{len(ready)} cases, {rounds} rounds: about {math.ceil(seconds / 60)} minutes", flush=True)
        for one in ready:
            found, yardstick = measured(one, peer, rounds, arguments.quick, left_out)
            made["results"] += found
            made["yardsticks"].append(yardstick)
    print_tables(made)
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot and made["results"]:
        draw(made, arguments.plot)
    return 1 if left_out else 0


def require_compiler():
    """Without compiled kernels both contestants would be the definition, or one of them Python."""
    from tinyae.kernels.loading import numba_works

    if not numba_works():
        raise MissingLibraryError("kernels: there are none without numba. Install it with: pip install 'numba>=0.64'")
    import numba

    if numba.config.DISABLE_JIT:
        raise MissingLibraryError("kernels: NUMBA_DISABLE_JIT is set, so none is compiled. Unset it.")


def start_peer(stack):
    """PyTorch in a process of its own, or None where it is not installed or does not start."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    worker = stack.enter_context(Worker(os.path.join(folder, "torch.log"), TorchKernels))
    try:
        worker.ask("about")
    except WorkerFailed as reason:
        print(f"left out: {TORCH}: {reason}")
        return None
    return worker


def versions(peer):
    """Of what computes."""
    import numba

    found = {"tinyae": ta.__version__, "numpy": np.__version__, "numba": numba.__version__}
    return found | ({TORCH: peer.ask("about")["version"]} if peer else {})


def threads(peer):
    """Who has how many."""
    from tinyae.info import blas_libraries

    found = {REFERENCE: "; ".join(blas_libraries()), FAST: ta.get_num_threads()}
    return found | ({TORCH: peer.ask("about")["threads"]} if peer else {})


# ---------------------------------------------------------------- do all compute the same?


class Ready(NamedTuple):
    """A case that can be timed."""

    case: Any
    reference_seconds: float  # that one call of the definition takes
    with_peer: bool


def check(cases, peer=None):
    """([Ready, ...] of the cases where both agree, all differences, who is left out and why)."""
    ready, agreement, left_out = [], [], []
    for case in cases:
        try:
            results, seconds = [], []
            for which in (REFERENCE, FAST):
                with ta.use_kernels(which):
                    _, compute = case.prepare()
                    start = time.perf_counter()
                    results.append(compute())
                    seconds.append(time.perf_counter() - start)
            found = largest_difference(*results)
        except Exception as error:  # whatever goes wrong in one kernel, the others can be measured
            left_out.append({"case": case.title, "reason": f"{type(error).__name__}: {error}"})
            continue
        agreement.append({"case": case.title, "largest_difference": found})
        if found > TOLERANCE:
            left_out.append({"case": case.title, "reason": differs(found)})
            continue
        reason = what_is_wrong_with_peer(peer, case, results[0]) if peer and case.peer else None
        if reason:
            left_out.append({"case": case.title, "contestant": TORCH, "reason": f"{TORCH}: {reason}"})
        ready.append(Ready(case, seconds[0], bool(peer and case.peer and not reason)))
    return ready, agreement, left_out


def what_is_wrong_with_peer(peer, case, expected):
    """Why PyTorch's operation is not timed beside ours, or None."""
    try:
        found = largest_difference(expected, peer.ask("prepare", *case.peer))
    except (WorkerFailed, ValueError) as error:  # another number of results
        return str(error)
    return differs(found) if found > TOLERANCE else None


def differs(found):
    """The reason for which most are left out."""
    return f"its results differ by {found:.1e} of the largest number"


def largest_difference(expected, found):
    """The largest difference of two lists of results, in parts of the largest number of the same array."""
    return max((difference(a, b) for a, b in zip(expected or [], found or [], strict=True)), default=math.inf)


def difference(a, b):
    """Of two arrays, or texts. Integers and texts must be equal; NaN and another shape or type are no agreement."""
    if isinstance(a, str) or a.dtype.kind in "iu":
        return 0.0 if np.array_equal(a, b) else math.inf
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    size, apart = float(abs(a).max()), float(abs(a.astype(np.float64) - b).max())
    share = apart / size if size else (0.0 if apart == 0 else math.inf)
    return share if math.isfinite(share) else math.inf


# ---------------------------------------------------------------- measuring


def measured(one, peer, rounds, quick, left_out):
    """``measure``, and once more without PyTorch if its process fails meanwhile."""
    try:
        return measure(one, peer, rounds, quick)
    except WorkerFailed as reason:
        left_out.append({"case": one.case.title, "contestant": TORCH, "reason": f"{TORCH}: {reason}"})
        print(f"not timed: {one.case.title}: {TORCH}: {reason}")
        return measure(one._replace(with_peer=False), peer, rounds, quick)


def measure(one, peer, rounds, quick):
    """The results of a case, and its yardstick. In every second round the order is turned around."""
    from .kernel_cases import GFLOPS
    from .yardsticks import copies, product

    case = one.case
    ways, work = product() if case.unit == GFLOPS else copies(case.place or case.work, case.span)
    timers = {name: partial(block, name, job) for name, job in {**prepared(case), **ways}.items()}
    if one.with_peer:
        peer.ask("prepare", *case.peer)
        timers[TORCH] = lambda calls: peer.ask("time", calls, warm_up(calls))
    calls, times = {name: calls_for(timer, quick) for name, timer in timers.items()}, {name: [] for name in timers}
    with OtherLoad(lambda: time.process_time() + (peer.ask("cpu_seconds") if one.with_peer else 0)) as load:
        for turn in range(rounds):
            for name in list(timers) if turn % 2 == 0 else list(timers)[::-1]:
                time.sleep(0 if quick else PAUSE)
                times[name].append(timers[name](calls[name]))
    machine_rate = work / min(statistics.median(times[way]) for way in ways) / 1e6
    shared = {"section": case.table, "unit": case.unit, "machine_rate": machine_rate, "others_share": load.share}
    results = []
    for name in (REFERENCE, FAST, *([TORCH] if one.with_peer else [])):
        entry = report.result(case.title, name, times[name])
        results.append({**entry, "rate": case.work / entry["median_ms"] / 1e6, **shared})
    return results, {"case": case.title, "work": work, "unit": case.unit, "times_ms": {way: times[way] for way in ways}}


def prepared(case):
    """{contestant: what is timed}."""
    jobs = {}
    for which in (REFERENCE, FAST):
        with ta.use_kernels(which):
            jobs[which], _ = case.prepare()
    return jobs


def calls_for(timer, quick):
    """How many calls fill a block."""
    if quick:
        return 1
    time.sleep(PAUSE)
    fastest = timer(1)
    for _ in range(TRIALS - 1):
        if fastest > BLOCK_SECONDS * 1e3:
            return 1
        fastest = min(fastest, timer(1))
    return max(1, math.ceil(BLOCK_SECONDS * 1e3 / fastest))


def warm_up(calls):
    """How many calls wake up the threads and fill the caches before so many are timed."""
    return max(1, calls // 10)


def block(name, job, calls):
    """Milliseconds per call."""
    with ta.use_kernels(REFERENCE if name == REFERENCE else FAST):
        for _ in range(warm_up(calls)):
            job()
        start = time.perf_counter()
        for _ in range(calls):
            job()
        return (time.perf_counter() - start) / calls * 1e3


# ---------------------------------------------------------------- text


def print_settings(made):
    """Versions, machine, threads, and how well both agree."""
    print(report.describe(made))
    for name, text in made["settings"]["threads"].items():
        print(f"  {name}: threads {text}")
    agreeing = [entry["largest_difference"] for entry in made["agreement"] if entry["largest_difference"] <= TOLERANCE]
    if agreeing:
        print(
            f"reference and fast give the same in {len(agreeing)} cases: at most {max(agreeing):.1e} of an array's largest "
            f"number apart (allowed: {TOLERANCE:.0e})"
        )
    for entry in made["left_out"]:
        print(f"not timed: {entry['case']}: {entry['reason']}")


def print_tables(made):
    """One table for each kind of operation."""
    for section, cases in sections(made).items():
        unit = cases[0][FAST]["unit"]
        print(f"\n{section}: microseconds, and {unit}; the machine: {YARDSTICKS[unit]}")
        if any(TORCH in found for found in cases):
            header = ["", "reference", "fast", "middle half", "PyTorch", "middle half", "times as fast", "as PyTorch",
                      f"fast {unit}", "PyTorch", "machine", "fast's share", "PyTorch's"]  # fmt: skip
            print(report.table(header, [row_with_peer(found) for found in cases]))
        else:
            header = ["", "reference", "middle half", "fast", "middle half", "times as fast", f"reference {unit}", "fast",
                      "machine", "fast's share"]  # fmt: skip
            print(report.table(header, [row(found) for found in cases]))
    shares = [entry["others_share"] or 0 for entry in made["results"]]
    if shares and max(shares) > MUCH:
        print(
            f"\n* meanwhile other programs took more than {MUCH:.0%} of the cores (at most {max(shares):.0%}): these times say "
            "little. End the others and measure again, perhaps with --only."
        )


def row(found):
    """One case as a row of a table."""
    reference, fast = found[REFERENCE], found[FAST]
    rates = (reference["rate"], fast["rate"], fast["machine_rate"])
    return [name_of(fast), *spread(reference), *spread(fast), times_as_fast(reference, fast),
            *(f"{rate:.1f}" for rate in rates), share(fast)]  # fmt: skip


def row_with_peer(found):
    """The same with PyTorch, if that was timed."""
    reference, fast, peer = found[REFERENCE], found[FAST], found.get(TORCH)
    theirs = [*spread(peer), times_as_fast(peer, fast), f"{peer['rate']:.1f}", share(peer)] if peer else 5 * ["-"]
    return [name_of(fast), spread(reference)[0], *spread(fast), *theirs[:2], times_as_fast(reference, fast), theirs[2],
            f"{fast['rate']:.1f}", theirs[3], f"{fast['machine_rate']:.1f}", share(fast), theirs[4]]  # fmt: skip


def name_of(entry):
    """The case, marked if other programs disturbed."""
    return entry["case"] + " *" * ((entry["others_share"] or 0) > MUCH)


def spread(entry):
    """Median and quartiles in microseconds, as text."""
    low, high = report.quartiles(entry["times_ms"])
    return f"{entry['median_ms'] * 1e3:.1f}", f"{low * 1e3:.1f} to {high * 1e3:.1f}"


def share(entry):
    """Of what the machine can do."""
    return f"{entry['rate'] / entry['machine_rate']:.0%}"


def times_as_fast(slow, fast):
    """Their ratio."""
    return f"{slow['median_ms'] / fast['median_ms']:.2f}"


YARDSTICKS = {
    "GFLOP/s": "NumPy's product of 1024 x 1024 matrices",
    "GB/s": "copying between two arrays that take up as much memory",
}


def sections(made):
    """{section: [{contestant: result} of each case]}, in the order in which they were measured."""
    found = {}
    for entry in made["results"]:
        found.setdefault(entry["section"], {}).setdefault(entry["case"], {})[entry["contestant"]] = entry
    return {section: list(cases.values()) for section, cases in found.items()}


# ---------------------------------------------------------------- picture


def draw(made, path):
    """One panel per section: the share of what the machine can do."""
    from .pictures import draw_shares

    names = {REFERENCE: "reference: the definition, in NumPy", TORCH: "PyTorch", FAST: "fast: the kernel"}
    draw_shares(
        {section: (YARDSTICKS[cases[0][FAST]["unit"]], cases) for section, cases in sections(made).items()}, path,
        title="How much of the machine each operation uses: longer is faster", names=names,
        note=f"{made['machine']['cpu']}, {made['machine']['cores']} cores, float32, tinyae {made['versions']['tinyae']}. Deep "
        "model: 784-128-64-32-64-128-784. Bars: median of "
        f"{made['settings']['rounds']} rounds; lines: the middle half of them; behind each the time of one call.",
    )  # fmt: skip
