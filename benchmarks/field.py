"""The contestants of ``peers`` and ``scaling``: are they right, and how long do their steps take?"""

import statistics
import time

from . import report
from .architectures import initial_weights
from .by_hand import largest_difference, losses_by_hand
from .contestants import CONTESTANTS, OUT_OF_RULE, PEERS, TINYAE, WorkerFailed

TOLERANCE = 1e-3
MUCH = 0.05  # the share of the cores from which on others disturb
PAUSE = 0.2  # seconds before each block: threads that still spin come to rest


def reference(case, images, steps):
    """The losses of a case's first steps, by hand; ``images`` have the model's shape."""
    batches = [images[i * case.batch : (i + 1) * case.batch] for i in range(steps)]
    return losses_by_hand(case.model.layers, initial_weights(case.model.layers), batches)


class Field:
    """All workers, and who takes part in which case.

    Parameters
    ----------
    workers : {contestant: Worker}
    cases : {name: Case}
    contestants : {contestant: Entry}, optional
        The table in which they stand.
    tolerance : float, optional
        How far their losses may be from those by hand.
    """

    def __init__(self, workers, cases, contestants=CONTESTANTS, tolerance=TOLERANCE):
        self.workers, self.cases, self.contestants, self.tolerance = workers, cases, contestants, tolerance
        self.taking_part = {}  # name of a case -> contestants
        self.agreement, self.left_out, self.disagreed = [], [], False

    def leave_out(self, case, name, reason):
        """Note why a contestant does not take part."""
        self.left_out.append({"case": case, "contestant": name, "reason": str(reason)})

    def check(self, references):
        """Build every model, compare the losses of the first steps with those computed by hand, and print how far they are off.

        ``references`` is {name of a case: losses}.
        """
        steps = max(map(len, references.values()))
        print(f"losses of {steps} steps, largest relative difference from plain NumPy in float64:")
        width = max(map(len, self.contestants))
        print(" " * width, *(f"{case:>10}" for case in references))
        for name in self.workers:
            shown = [self.check_one(name, case, losses) for case, losses in references.items()]
            print(f"{name:{width}}", *(f"{text:>10}" for text in shown), flush=True)
        self.print_left_out()

    def check_one(self, name, case, reference):
        """Compare one contestant in one case; returns what to show."""
        taking_part = self.taking_part.setdefault(case, [])
        if self.cases[case].model.kind not in self.contestants[name].kinds:
            return "-"
        try:
            losses = self.workers[name].ask("prepare", self.cases[case], len(reference))
        except WorkerFailed as reason:
            self.leave_out(case, name, reason)
            return "left out"
        difference = largest_difference(losses, reference)
        self.agreement.append({"case": self.cases[case].title, "contestant": name, "largest_difference": difference})
        if difference <= self.tolerance:
            taking_part.append(name)
        else:
            self.disagreed = True
            self.leave_out(
                case, name, f"its losses differ by {difference:.1e}, allowed are {self.tolerance:.0e}: not timed"
            )
        return f"{difference:.1e}"

    def print_left_out(self):
        """Each reason once, with the cases it holds for."""
        cases = {}
        for entry in self.left_out:
            cases.setdefault((entry["contestant"], entry["reason"]), []).append(entry["case"])
        for (name, reason), where in cases.items():
            print(f"left out: {name} ({', '.join(where)}): {reason}")

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

    def measure(self, case, rounds, pause=PAUSE):
        """{name: [ms per step, one number per round]}, and likewise the share of the cores that others took.

        In every second round the order is turned around.
        """
        times, others, steps = {}, {}, {}
        for name in self.taking_part[case]:
            time.sleep(pause)
            if self.ask_or_leave_out(case, name, steps, "steps_for"):
                times[name], others[name] = [], []
        for turn in range(rounds):
            for name in list(times) if turn % 2 == 0 else list(times)[::-1]:
                time.sleep(pause)
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
            answers[name] = self.workers[name].ask(question, self.cases[case], *arguments)
        except WorkerFailed as reason:
            self.leave_out(case, name, reason)
            print(f"left out: {name} ({case}): {reason}", flush=True)
            return False
        return True

    def results(self, case, rounds, pause=PAUSE):
        """Measure a case and warn of a machine that is busy; returns entries for a report, one per contestant."""
        times, others = self.measure(case, rounds, pause)
        print_others(others)
        return [
            {**report.result(self.cases[case].title, name, values), "others_share": others[name]}
            for name, values in times.items()
        ]


# ---------------------------------------------------------------- text


def settings_of(about):
    """What a report says of the contestants' settings, from ``ask_about``: (versions, settings)."""
    versions = {name: version for it in about.values() for name, version in it["versions"].items()}
    return versions, {part: {name: it[part] for name, it in about.items()} for part in ("threads", "precision")}


def print_settings(made):
    """Versions, machine, threads and precision."""
    print(f"\n{report.describe(made)}")
    for name, threads in made["settings"]["threads"].items():
        print(f"  {name}: threads {threads}; {made['settings']['precision'][name]}")


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
