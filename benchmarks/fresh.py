"""What ``start`` and ``memory`` share: contestants in processes that are new in every round."""

import tempfile
from dataclasses import replace

import numpy as np

from tinyae.errors import require_integer

from . import report
from .cases import CASES, FEW, QUICK, load_images
from .contestants import CONTESTANTS, TINYAE, WorkerFailed


def add_arguments(parser):
    """The options of both."""
    report.add_output_options(parser)
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"some of: {', '.join(CONTESTANTS)}")
    parser.add_argument(
        "--cases", metavar="NAME[,NAME]", default="conv-256", help=f"some of: {', '.join(CASES)} (conv-256)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant is measured (3)")
    parser.add_argument("--quick", action="store_true", help="1 round, few images: does it run?")


def measure(benchmark, arguments, parts, one_round, entry, **settings):
    """The report of a benchmark.

    ``one_round(name, case, folder, versions)`` gives a number for each of the ``parts``, ``entry(case and part, name,
    numbers)`` makes a result of those of all rounds.
    """
    names = report.chosen("contestant", arguments.only, CONTESTANTS)
    chosen = report.chosen("case", arguments.cases, CASES)
    rounds = 1 if arguments.quick else require_integer(benchmark, "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    cases = [replace(CASES[name], lengths=QUICK if arguments.quick else FEW) for name in chosen]
    results, versions, left_out = [], {}, []
    with tempfile.TemporaryDirectory() as folder:
        images, source = load_images(max(case.images for case in cases))
        np.save(f"{folder}/images.npy", images)
        for case in cases:
            for name in names:
                if case.model.kind not in CONTESTANTS[name].kinds:
                    continue
                try:
                    found = [one_round(name, case, folder, versions) for _ in range(rounds)]
                except WorkerFailed as reason:
                    left_out.append({"case": case.title, "contestant": name, "reason": str(reason)})
                    print(f"left out: {name} ({case.title}): {reason}", flush=True)
                    continue
                results += [entry(f"{case.title}: {part}", name, numbers) for part, numbers in zip(parts, zip(*found))]
    settings = {"data": source, "rounds": rounds, "quick": arguments.quick, **settings}
    return report.new_report(benchmark, versions, settings, results, left_out=left_out)


def finish(made, arguments, parts, quantity, row, header, **picture):
    """Print a table per case, write, draw; returns the exit code. ``row`` gives texts for the medians of the parts."""
    print(report.describe(made))
    found = {}
    for entry in made["results"]:
        case, part = entry["case"].rsplit(": ", 1)
        found.setdefault(case, {}).setdefault(entry["contestant"], {})[part] = float(np.median(report.values(entry)))
    for case, medians in found.items():
        print(f"\n{case}: {quantity}, median of {made['settings']['rounds']}")
        rows = [[name, *row(*(of[part] for part in parts))] for name, of in medians.items()]
        print(report.table(["", *header], rows))
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot and made["results"]:
        from .pictures import draw_panels

        labels = {name: entry.label for name, entry in CONTESTANTS.items()}
        draw_panels(made["results"], arguments.plot, labels=labels, highlighted=TINYAE, quantity=quantity, **picture)
    return 0 if made["results"] else 1
