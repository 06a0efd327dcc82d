"""Each kernel for the CPU against its definition: the same operation as the array code that says what it means.

"reference" is the operation inside ``ta.use_kernels("reference")``, "fast" is what runs without that. Before
anything is timed, both compute the same, and what differs by more than 1e-4 of the largest number is not timed.
Everything is float32, on arrays as training meets them. Forward runs without a tape, backward is the operation's
own rule alone. In each round reference, fast and the machine's own rate take turns, each for about 0.05 s, after a
pause in which the others' threads come to rest.

The rate is the useful work of a call, additions and multiplications or the bytes that must be read and written at
least, divided by its time; the share is that of the machine's own rate (``yardsticks.py``): NumPy's product of
1024 x 1024 matrices, or copying between two arrays that take up as much memory as the kernel's. Above 100 %: the
kernel reads more than it writes, and reading is cheaper. Far below: each number takes much computing, or the call
itself takes the time.
"""

import math
import statistics
import time

import numpy as np

import tinyae as ta
from tinyae.errors import MissingLibraryError, require_integer

from . import report
from .contestants.load import OtherLoad

REFERENCE, FAST = "reference", "fast"
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
    ready, agreement, left_out = check(cases)
    made = report.new_report(
        "kernels", versions(), {"rounds": rounds, "quick": arguments.quick, "block seconds": BLOCK_SECONDS,
                                "dtype": "float32", "threads": threads()}, [],
        agreement=agreement, left_out=left_out, yardsticks=[],
    )  # fmt: skip
    print_settings(made)
    if not arguments.quick:
        seconds = len(ready) * (rounds + 1.5) * 3.5 * (PAUSE + 1.2 * BLOCK_SECONDS)
        print(f"{len(ready)} cases, {rounds} rounds: about {math.ceil(seconds / 60)} minutes", flush=True)
    for case, jobs in ready:
        measured, yardstick = measure(case, jobs, rounds, arguments.quick)
        made["results"] += measured
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


def versions():
    """Of what computes."""
    import numba

    return {"tinyae": ta.__version__, "numpy": np.__version__, "numba": numba.__version__}


def threads():
    """Who has how many."""
    from tinyae.info import blas_libraries

    return {REFERENCE: "; ".join(blas_libraries()), FAST: ta.get_num_threads()}


# ---------------------------------------------------------------- do both compute the same?


def check(cases):
    """[(case, {contestant: what is timed}), ...] of those where both agree; all differences; who is left out and why."""
    ready, agreement, left_out = [], [], []
    for case in cases:
        try:
            jobs, results = {}, []
            for which in (REFERENCE, FAST):
                with ta.use_kernels(which):
                    jobs[which], compute = case.prepare()
                    results.append(compute())
            found = largest_difference(*results)
        except Exception as error:  # whatever goes wrong in one kernel, the others can be measured
            left_out.append({"case": case.title, "reason": f"{type(error).__name__}: {error}"})
            continue
        agreement.append({"case": case.title, "largest_difference": found})
        if found <= TOLERANCE:
            ready.append((case, jobs))
        else:
            left_out.append({"case": case.title, "reason": f"its results differ by {found:.1e} of the largest number"})
    return ready, agreement, left_out


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


def measure(case, jobs, rounds, quick):
    """The two results of a case, and its yardstick. In every second round the order is turned around."""
    from .kernel_cases import GFLOPS
    from .yardsticks import copies, product

    ways, work = product() if case.unit == GFLOPS else copies(case.place or case.work, case.span)
    jobs = {**jobs, **ways}
    calls, times = {name: calls_for(name, job, quick) for name, job in jobs.items()}, {name: [] for name in jobs}
    with OtherLoad() as load:
        for turn in range(rounds):
            for name in list(jobs) if turn % 2 == 0 else list(jobs)[::-1]:
                time.sleep(0 if quick else PAUSE)
                times[name].append(block(name, jobs[name], calls[name]))
    machine_rate = work / min(statistics.median(times[way]) for way in ways) / 1e6
    shared = {"unit": case.unit, "machine_rate": machine_rate, "others_share": load.share}
    results = []
    for name in (REFERENCE, FAST):
        entry = report.result(case.title, name, times[name])
        results.append({**entry, "rate": case.work / entry["median_ms"] / 1e6, **shared})
    return results, {"case": case.title, "work": work, "unit": case.unit, "times_ms": {way: times[way] for way in ways}}


def calls_for(name, job, quick):
    """How many calls fill a block."""
    if quick:
        return 1
    time.sleep(PAUSE)
    fastest = min(block(name, job, 1) for _ in range(TRIALS))
    return max(1, math.ceil(BLOCK_SECONDS * 1e3 / fastest))


def block(name, job, calls):
    """Milliseconds per call, after a tenth as many calls that wake up the threads and fill the caches."""
    with ta.use_kernels(REFERENCE if name == REFERENCE else FAST):
        for _ in range(max(1, calls // 10)):
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
    """One table for matrix products, one for what is limited by memory."""
    for unit, yardstick in yardsticks_of(made).items():
        rows = []
        for reference, fast in pairs(made, unit):
            share = fast["rate"] / fast["machine_rate"]
            disturbed = (fast["others_share"] or 0) > MUCH
            rows.append([reference["case"] + " *" * disturbed, *spread(reference), *spread(fast),
                         f"{reference['median_ms'] / fast['median_ms']:.2f}",
                         *(f"{rate:.1f}" for rate in (reference["rate"], fast["rate"], fast["machine_rate"])),
                         f"{share:.0%}"])  # fmt: skip
        print(f"\nmicroseconds, and {unit}; the machine: {yardstick}")
        header = ["", "reference", "middle half", "fast", "middle half", "times as fast", f"reference {unit}", "fast",
                  "machine", "fast's share"]  # fmt: skip
        print(report.table(header, rows))
    shares = [entry["others_share"] or 0 for entry in made["results"]]
    if shares and max(shares) > MUCH:
        print(
            f"\n* meanwhile other programs took more than {MUCH:.0%} of the cores (at most {max(shares):.0%}): these times say "
            "little. End the others and measure again, perhaps with --only."
        )


def spread(entry):
    """Median and quartiles in microseconds, as text."""
    low, high = report.quartiles(entry["times_ms"])
    return f"{entry['median_ms'] * 1e3:.1f}", f"{low * 1e3:.1f} to {high * 1e3:.1f}"


def yardsticks_of(made):
    """{unit: what 100 % is}, of the units that occur."""
    about = {
        "GFLOP/s": "NumPy's product of 1024 x 1024 matrices",
        "GB/s": "copying between two arrays that take up as much memory",
    }
    units = {entry["unit"] for entry in made["results"]}
    return {unit: text for unit, text in about.items() if unit in units}


def pairs(made, unit):
    """(reference, fast) of each case with that unit."""
    found = [entry for entry in made["results"] if entry["unit"] == unit]
    return list(zip(found[::2], found[1::2]))


# ---------------------------------------------------------------- picture


def draw(made, path):
    """One panel per unit: the share of what the machine can do, reference and fast."""
    from .pictures import draw_shares

    headings = {"GFLOP/s": "Matrix products", "GB/s": "Operations that mostly move numbers"}
    draw_shares(
        {headings[unit]: (text, pairs(made, unit)) for unit, text in yardsticks_of(made).items()}, path,
        title="How much of the machine each operation uses: longer is faster",
        note=f"{made['machine']['cpu']}, {made['machine']['cores']} cores, float32, tinyae {made['versions']['tinyae']}. Deep "
        "model: 784-128-64-32-64-128-784. Bars: median of "
        f"{made['settings']['rounds']} rounds; lines: the middle half of them; behind both the time of one call.",
    )  # fmt: skip
