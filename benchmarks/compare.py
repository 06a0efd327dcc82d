"""Two runs of one benchmark, written with --json: what changed beyond noise.

Two things must hold for a change to count. First, the medians differ by more than 3 %. Second, chance
would hardly separate the rounds of the two runs so well. That is judged by the Mann-Whitney test, which
looks only at the order of the times, so one slow round does not matter. Who looks at many measurements
finds a rare order by chance somewhere; Benjamini and Hochberg's correction (1995) allows for that. In all,
two equal runs are said to differ, anywhere, in fewer than 1 of 20 comparisons. With few rounds no order is
rare enough; then "too few rounds" is printed.

The test knows only the noise within a run. If the machine was busier during one of them, everything
seems to have changed; the last line therefore says by how much all changed together.
"""

import math
import statistics

from tinyae.errors import RangeError

from . import report

CHANCE, SMALLEST = 0.05, 0.03
MS = "milliseconds"


def add_arguments(parser):
    """The options of ``python -m benchmarks compare``."""
    parser.add_argument("before", metavar="A.json", help="the earlier run")
    parser.add_argument("after", metavar="B.json", help="the later run")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the ratios into this file (needs Matplotlib)")


def main(arguments):
    """Print the comparison; returns the exit code."""
    report.check_plot(arguments.plot)
    before, after = report.read_report(arguments.before), report.read_report(arguments.after)
    changes = compare(before, after)
    for line in differences(before, after):
        print(line)
    print_changes(before["benchmark"], changes, report.unit_of(before))
    only = unmatched(before, after)
    if only:
        print(f"in one file only, not compared: {'; '.join(only)}")
    if arguments.plot:
        draw(before, after, changes, arguments.plot)
    return 0


def compare(before, after):
    """[(case, contestant, median before, median after, verdict), ...]; verdicts as in ``judge``.

    Raises
    ------
    RangeError
        The reports are of two benchmarks, or have no measurement in common.
    """
    if before["benchmark"] != after["benchmark"]:
        raise RangeError(
            f"compare: the first file is of the benchmark {before['benchmark']!r}, the second of {after['benchmark']!r}; "
            "expected two runs of one."
        )
    later = {key(entry): report.values(entry) for entry in after["results"]}
    earlier = {key(entry): report.values(entry) for entry in before["results"] if key(entry) in later}
    if not earlier:
        raise RangeError("compare: the two files have no case and contestant in common; there is nothing to compare.")
    verdicts = judge([(times, later[name]) for name, times in earlier.items()])
    return [
        (*name, statistics.median(times), statistics.median(later[name]), verdict)
        for (name, times), verdict in zip(earlier.items(), verdicts)
    ]


def key(entry):
    """What makes two measurements the same."""
    return entry["case"], entry["contestant"]


def judge(pairs):
    """For each pair (times before, times after) "faster", "slower", "" (within noise) or "too few rounds"."""
    from scipy.stats import false_discovery_control, mannwhitneyu

    chances = false_discovery_control([mannwhitneyu(before, after).pvalue for before, after in pairs])
    verdicts = []
    for (before, after), chance in zip(pairs, chances):
        ratio = statistics.median(after) / statistics.median(before)
        # when all times of one run are below all of the other: 2 of so many orders are that extreme
        rarest = 2 / math.comb(len(before) + len(after), len(before))
        if chance < CHANCE and abs(ratio - 1) > SMALLEST:
            verdicts.append("faster" if ratio < 1 else "slower")
        else:
            verdicts.append("too few rounds" if rarest * len(pairs) >= CHANCE else "")
    return verdicts


def differences(before, after):
    """Lines that say what else differs between the two runs."""
    lines = []
    for part, about in (("machine", "warning, another machine"), ("settings", "warning, other settings"),
                        ("versions", "another version")):  # fmt: skip
        lines += [f"{about}: {line}" for line in differing(before[part], after[part])]
    return lines


def differing(before, after):
    """What differs between two dicts, one line each; within a dict in a dict only what both have."""
    lines = []
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name, "not given"), after.get(name, "not given")
        if isinstance(a, dict) and isinstance(b, dict):
            common = [key for key in a if key in b]
            lines += [f"{name}, {line}" for line in differing({k: a[k] for k in common}, {k: b[k] for k in common})]
        elif a != b:
            lines.append(f"{name} was {a}, then {b}")
    return lines


def unmatched(before, after):
    """Measurements that only one report has."""
    first, second = ({key(entry) for entry in side["results"]} for side in (before, after))
    both = [key(entry) for entry in (*before["results"], *after["results"])]
    return [": ".join(k) for k in dict.fromkeys(both) if (k in first) != (k in second)]


def print_changes(benchmark, changes, unit):
    """The table, and how much all changed together."""
    print(
        f"\n{benchmark}: median {unit} before and after, and their ratio (below 1: {'faster' if unit == MS else 'less'} now)"
    )
    words = {"": "within noise"} | ({} if unit == MS else {"faster": "less", "slower": "more"})
    rows = [
        [case, contestant, f"{a:.4g}", f"{b:.4g}", f"{b / a:.3f}", words.get(said, said)]
        for case, contestant, a, b, said in changes
    ]
    print(report.table(["case", "contestant", "before", "after", "ratio", ""], rows))
    counts = {said: sum(change[4] == said for change in changes) for said in ("faster", "slower", "too few rounds")}
    together = statistics.median(b / a for _, _, a, b, _ in changes)
    found = ", ".join(f"{count} {words.get(said, said)}" for said, count in counts.items() if count)
    print(f"\n{len(changes)} compared: {found or 'no change beyond noise'}. The median ratio of all is {together:.3f}.")
    if counts["too few rounds"]:
        print(
            "Where it says too few rounds, a change could not have been told from chance: measure with more --rounds."
        )
    if len(changes) > 2 and abs(together - 1) > SMALLEST:
        print("Most measurements moved the same way: perhaps the machine did, and not the programs.")


def draw(before, after, changes, path):
    """The ratios as a picture."""
    from .pictures import draw_changes

    shown = [
        (f"{case}: {contestant}", b / a, said if said in ("faster", "slower") else "")
        for case, contestant, a, b, said in changes
    ]
    draw_changes(
        shown, path, title=f"{before['benchmark']}: what changed",
        note=f"Left of 1: faster than before. Grey: within noise. {before.get('when', '?')} and {after.get('when', '?')}.",
    )  # fmt: skip
