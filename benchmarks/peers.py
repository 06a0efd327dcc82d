"""Training steps (forward, backward, Adam) of dense autoencoders in tinyae, PyTorch, JAX and Keras.

All begin with the same weights and take the same batches, in float32. Data lie beforehand in each
framework's own array; the loop cuts the batches out. Before anything is timed, the losses of five
steps are compared with those that plain NumPy computes in float64, and who disagrees is left out.

Each contestant runs in a process of its own, with as many threads as it takes by itself, while the
others wait. Rounds alternate: in each, every contestant trains for about 0.3 s. Where steps are
taken by fit (tinyae's and Keras'), a block is one call over at least five epochs of 200 steps, shuffled;
what the call does besides (checking the data, ending an epoch) is part of its time, as in real use.
"""

import statistics
import tempfile
import time
from contextlib import ExitStack

import numpy as np

from tinyae.errors import require_integer

from . import report
from .by_hand import largest_difference, losses_by_hand
from .cases import CASES, initial_weights, load_images
from .contestants import CONTESTANTS, OUT_OF_RULE, PEERS, TINYAE, Worker, WorkerFailed

CHECKED_STEPS, TOLERANCE = 5, 1e-3
BLOCK_SECONDS, FEWEST_STEPS, STEPS_PER_EPOCH = 0.3, 20, 200
MUCH = 0.05  # the share of the cores from which on others disturb
PAUSE = 0.2  # seconds before each block: threads that still spin come to rest


def add_arguments(parser):
    """The options of ``python -m benchmarks peers``."""
    report.add_output_options(parser)
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"some of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--cases", metavar="NAME[,NAME]", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=7, help="timed blocks of each contestant (7)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 steps: does it run? The times mean nothing")


def main(arguments):
    """Measure, print, write; returns the exit code."""
    names = report.chosen("contestant", arguments.only, CONTESTANTS)
    cases = report.chosen("case", arguments.cases, CASES)
    rounds = 2 if arguments.quick else require_integer("peers", "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    steps_per_epoch = CHECKED_STEPS if arguments.quick else STEPS_PER_EPOCH
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        images, source = load_images(max(CASES[case].batch for case in cases) * steps_per_epoch)
        np.save(f"{folder}/images.npy", images)
        references = {case: reference(case, images) for case in cases}
        workers = {name: Worker(name, folder, steps_per_epoch) for name in names}
        for worker in workers.values():
            stack.callback(worker.close)
        print(f"data: {source}, {STEPS_PER_EPOCH if not arguments.quick else steps_per_epoch} batches, in turn\n")
        field = Field(workers)
        field.check(cases, references)
        if not any(field.taking_part.values()):
            print("nobody is left to be timed")
            return 1
        about = field.ask_about()
        settings = {"data": source, "rounds": rounds, "steps per epoch": steps_per_epoch, "quick": arguments.quick,
                    "block seconds": BLOCK_SECONDS, "threads": {name: it["threads"] for name, it in about.items()},
                    "precision": {name: it["precision"] for name, it in about.items()}}  # fmt: skip
        versions = {name: version for it in about.values() for name, version in it["versions"].items()}
        made = report.new_report("peers", versions, settings, [], agreement=field.agreement, left_out=field.left_out)
        print_settings(made)
        for case in cases:
            title, (times, others) = CASES[case].title, field.measure(case, rounds, arguments.quick)
            made["results"] += [
                {**report.result(title, name, values), "others_share": others[name]} for name, values in times.items()
            ]
            print_case(title, times, rounds)
            print_others(others)
    print_summary(made["results"])
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot:
        draw(made, arguments.plot)
    return 1 if field.disagreed or not made["results"] else 0


def reference(case, images):
    """The losses of the checked steps, by hand."""
    dims, batch = CASES[case]
    batches = [images[i * batch : (i + 1) * batch] for i in range(CHECKED_STEPS)]
    return losses_by_hand(initial_weights(dims), batches)


class Field:
    """All workers, and who takes part in which case."""

    def __init__(self, workers):
        self.workers = workers
        self.taking_part = {}  # case -> names
        self.agreement, self.left_out, self.disagreed = [], [], False

    def leave_out(self, case, name, reason):
        """Note why a contestant does not take part."""
        self.left_out.append({"case": case, "contestant": name, "reason": str(reason)})

    def check(self, cases, references):
        """Build every model, compare the losses of the first steps with those computed by hand, and print how far they are off."""
        print(f"losses of {CHECKED_STEPS} steps, largest relative difference from plain NumPy in float64:")
        width = max(map(len, CONTESTANTS))
        print(" " * width, *(f"{case:>10}" for case in cases))
        self.taking_part = {case: [] for case in cases}
        for name, worker in self.workers.items():
            shown = [self.check_one(name, worker, case, references[case]) for case in cases]
            print(f"{name:{width}}", *(f"{text:>10}" for text in shown), flush=True)
        self.print_left_out()

    def print_left_out(self):
        """Each reason once, with the cases it holds for."""
        cases = {}
        for entry in self.left_out:
            cases.setdefault((entry["contestant"], entry["reason"]), []).append(entry["case"])
        for (name, reason), where in cases.items():
            print(f"left out: {name} ({', '.join(where)}): {reason}")

    def check_one(self, name, worker, case, reference):
        """Compare one contestant in one case; returns what to show."""
        try:
            losses = worker.ask("prepare", case, CHECKED_STEPS)
        except WorkerFailed as reason:
            self.leave_out(case, name, reason)
            return "left out"
        difference = largest_difference(losses, reference)
        self.agreement.append({"case": CASES[case].title, "contestant": name, "largest_difference": difference})
        if difference <= TOLERANCE:
            self.taking_part[case].append(name)
        else:
            self.disagreed = True
            self.leave_out(case, name, f"its losses differ by {difference:.1e}, allowed are {TOLERANCE:.0e}: not timed")
        return f"{difference:.1e}"

    def ask_about(self):
        """Versions, threads and precision of those who take part."""
        answers = {}
        for name, worker in self.workers.items():
            if any(name in names for names in self.taking_part.values()):
                try:
                    answers[name] = worker.ask("about")
                except WorkerFailed as reason:
                    answers[name] = {"versions": {}, "threads": f"unknown ({reason})", "precision": "unknown"}
        return answers

    def measure(self, case, rounds, quick):
        """{name: [ms per step, one number per round]}, and likewise the share of the cores that others took.

        In every second round the order is turned around.
        """
        times, others, steps = {}, {}, {}
        for name in self.taking_part[case]:
            time.sleep(0 if quick else PAUSE)
            if self.ask_or_leave_out(case, name, steps, "steps_for", 0.0 if quick else BLOCK_SECONDS,
                                     CHECKED_STEPS if quick else FEWEST_STEPS):  # fmt: skip
                times[name], others[name] = [], []
        for turn in range(rounds):
            for name in list(times) if turn % 2 == 0 else list(times)[::-1]:
                time.sleep(0 if quick else PAUSE)
                measured = {}
                if self.ask_or_leave_out(case, name, measured, "measure", steps[name]):
                    times[name].append(measured[name][0])
                    others[name].append(measured[name][1])
                else:
                    del times[name], others[name]
        return times, others

    def ask_or_leave_out(self, case, name, answers, question, *arguments):
        """Put a worker's answer into a dict; False if it failed, and is left out from here on."""
        try:
            answers[name] = self.workers[name].ask(question, case, *arguments)
        except WorkerFailed as reason:
            self.leave_out(case, name, reason)
            print(f"left out: {name} ({case}): {reason}", flush=True)
            return False
        return True


# ---------------------------------------------------------------- text


def print_settings(made):
    """Versions, machine, threads and precision."""
    print(f"\n{report.describe(made)}")
    for name, threads in made["settings"]["threads"].items():
        print(f"  {name}: threads {threads}; {made['settings']['precision'][name]}")


def print_case(title, times, rounds):
    """The table of one case."""
    print(f"\n{title}: milliseconds per step in {rounds} rounds")
    base = statistics.median(times["tinyae-loop"]) if "tinyae-loop" in times else None
    rows = []
    for name, values in times.items():
        median, (low, high) = statistics.median(values), report.quartiles(values)
        ratio = f"{median / base:.2f}" if base else "-"
        rows.append([name, f"{median:.3f}", f"{low:.3f} to {high:.3f}", ratio])
    print(report.table(["", "median", "middle half", "times tinyae-loop"], rows), flush=True)


def print_others(others):
    """Warn of a machine that was busy with something else."""
    shares = [share for found in others.values() for share in found if share is not None]
    if shares and statistics.mean(shares) > MUCH:
        print(
            f"warning: other programs took {statistics.mean(shares):.0%} of the cores meanwhile, in one block {max(shares):.0%}. "
            "These times say little; end the others and measure again."
        )


def print_summary(results):
    """How fast tinyae is relative to the fastest peer of each case, and to those whose loop does less than the others'."""
    medians = {}
    for entry in results:
        medians.setdefault(entry["case"], {})[entry["contestant"]] = entry["median_ms"]
    print_speeds(medians, PEERS, "the fastest peer being 1 (2: twice as fast as it; 0.5: half as fast)")
    for name in OUT_OF_RULE:
        print_speeds(
            medians, [name], f"{CONTESTANTS[name].label}, being 1: its loop leaves to the compiler what the others' do"
        )


def print_speeds(medians, peers, title):
    """One line for each case, and the geometric mean; nothing if none of the peers was timed."""
    rows, speeds = [], {name: [] for name in TINYAE}
    for case, found in medians.items():
        timed = {name: found[name] for name in peers if name in found}
        if not timed or not any(name in found for name in TINYAE):
            continue
        fastest = min(timed, key=timed.get)
        row = [case, fastest]
        for name in TINYAE:
            speed = timed[fastest] / found[name] if name in found else None
            row.append("-" if speed is None else f"{speed:.2f}")
            speeds[name] += [] if speed is None else [speed]
        rows.append(row)
    if rows:
        print(f"\ntinyae's speed, {title}")
        means = [f"{report.geometric_mean(found):.2f}" if found else "-" for found in speeds.values()]
        print(report.table(["", "fastest peer", *TINYAE], [*rows, ["geometric mean", "", *means]]))


# ---------------------------------------------------------------- picture


def draw(made, path):
    """One panel per case, one bar per contestant."""
    from .pictures import draw_panels

    draw_panels(
        made["results"], path,
        title="Time of one training step: shorter is faster",
        note=f"{made['machine']['cpu']}, {made['machine']['cores']} cores, float32. Bars: median of "
        f"{made['settings']['rounds']} rounds; lines: the middle half of them.",
        labels={name: entry.label for name, entry in CONTESTANTS.items()}, highlighted=TINYAE,
    )  # fmt: skip
