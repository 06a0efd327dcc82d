"""Part ``kernels``: each kernel beside what the GPU can do.

An operation that does I arithmetic operations for each byte that it must move can at best do min(P, I B) of them in a
second: B is the bandwidth of a copy, P the rate of a matrix product, both measured here in the same run (the roofline of
Williams, Waterman and Patterson, 2009).
"""

import statistics

from .. import report
from ..contestants import WorkerFailed
from ..contestants.gpu_names import ON_GPU
from .kernel_bench import KernelBench

TOLERANCES = {"float32": 1e-4, "tf32": 1e-2}
SUFFIX = {"float32": "", "tf32": ", TF32"}
KERNEL, MEMORY, ARITHMETIC = "gpu-kernel", "copy", "product"
TINY = 1 << 14  # numbers, where it is only asked whether all runs


def measure(session):
    """Compare, time, print; one process for all kernels."""
    if session.why_no_gpu():
        print(f"\nkernels: not measured: {session.why_nobody(ON_GPU)}")
        return
    worker, rounds = session.other(KernelBench), session.rounds
    try:
        operations, n = worker.ask("start", *([TINY] if session.quick else []))
        roofs = {
            precision: roof(session, worker.ask("yardsticks", precision, rounds), precision) for precision in SUFFIX
        }
    except WorkerFailed as problem:
        if str(problem).startswith("BackendError"):  # of the contestants none was to find that out
            print(f"\nkernels: not measured: {session.without_class(problem)}")
            session.left_out.append({"case": "kernels", "contestant": KERNEL, "reason": session.without_class(problem)})
        else:
            session.fail("kernels", problem)
        return
    session.more["roofs"] = roofs
    session.more["kernels' largest array"] = f"{n} numbers"
    for precision in SUFFIX:
        for i, (title, group, flops, nbytes, precisions) in enumerate(operations):
            if precision in precisions:
                one = {"group": group, "flops": flops, "bytes": nbytes, "precision": precision, "part": "kernels"}
                measure_one(session, worker, i, title + SUFFIX[precision], one, roofs[precision])
    print_table(session, roofs, n)


def roof(session, found, precision):
    """{"bandwidth": GB/s, "rate": GFLOP/s} from the yardsticks, which are results too."""
    rates = []
    for name, unit, (work, times) in zip((f"{MEMORY}{SUFFIX[precision]}", f"{ARITHMETIC}{SUFFIX[precision]}"),
                                         ("bytes", "flops"), found):  # fmt: skip
        entry = report.result(f"yardstick: {name}", KERNEL, times)
        session.results.append({**entry, "part": "yardsticks", unit: work, "precision": precision})
        rates.append(work / entry["median_ms"] / 1e6)
    return dict(zip(("bandwidth", "rate"), rates))


def measure_one(session, worker, i, title, one, roof):
    """One kernel: is it right, how long does it take, which share of the roof is that?"""
    try:
        difference = worker.ask("check", i, one["precision"])
        if not difference <= TOLERANCES[one["precision"]]:
            session.disagreed = True
            reason = f"its results differ by {difference:.1e} of the largest number from the definition's: not timed"
            session.left_out.append({"case": title, "contestant": KERNEL, "reason": reason})
            print(f"left out: {title}: {reason}", flush=True)
            return
        times = worker.ask("measure", i, one["precision"], session.rounds)
    except WorkerFailed as problem:
        session.fail(title, problem)
        return
    if min(times) <= 0:
        reason = "its time could not be told from that of the product beside it"
        session.left_out.append({"case": title, "contestant": KERNEL, "reason": reason})
        return
    entry = {**report.result(title, KERNEL, times), **one, "differs_by": difference}
    session.results.append({**entry, **placed(entry, roof)})


def placed(entry, roof):
    """Where it stands below the roof: {"intensity", "rate", "limit", "share"}."""
    seconds = entry["median_ms"] / 1e3
    intensity = entry["flops"] / entry["bytes"]
    memory = entry["bytes"] / seconds / 1e9 / roof["bandwidth"]
    arithmetic = entry["flops"] / seconds / 1e9 / roof["rate"]
    limit = MEMORY if intensity * roof["bandwidth"] <= roof["rate"] else ARITHMETIC
    return {"intensity": intensity, "rate": entry["flops"] / seconds / 1e9, "limit": limit,
            "share": memory if limit == MEMORY else arithmetic}  # fmt: skip


def print_table(session, roofs, n):
    """One table for each group."""
    measured = [entry for entry in session.results if entry["part"] == "kernels"]
    print(f"\nkernels, largest array {n} numbers: microseconds on the GPU, and the share of what limits it")
    for precision, roof in roofs.items():
        print(
            f"  {precision}: a copy moves {roof['bandwidth']:.1f} GB/s, a matrix product does {roof['rate']:.1f} GFLOP/s"
        )
    for group in dict.fromkeys(entry["group"] for entry in measured):
        rows = []
        for entry in (entry for entry in measured if entry["group"] == group):
            low, high = report.quartiles(entry["times_ms"])
            rows.append([
                entry["case"], f"{1e3 * statistics.median(entry['times_ms']):.1f}", f"{1e3 * low:.1f} to {1e3 * high:.1f}",
                f"{entry['intensity']:.2f}", f"{entry['rate']:.1f}", entry["limit"], f"{entry['share']:.0%}",
            ])  # fmt: skip
        print(f"\n{group}")
        print(report.table(["", "µs", "middle half", "operations a byte", "GFLOP/s", "limited by", "share"], rows))
