"""Training steps (forward, backward, Adam) of autoencoders in tinyae, PyTorch, JAX and Keras.

Two dense models and a convolutional one. All begin with the same weights and take the same batches, in float32.
Data lie beforehand in each framework's own array; the loop cuts the batches out. Before anything is timed, the losses of five
steps are compared with those that plain NumPy computes in float64, and who disagrees is left out.

Each contestant runs in a process of its own, with as many threads as it takes by itself, while the
others wait. Rounds alternate: in each, every contestant trains for about 0.3 s, or 1 s if a step is long. Where steps are
taken by fit (tinyae's and Keras'), a block is one call over at least five epochs of 200 steps (two of 100 or 20, if a step
is long), shuffled; what the call does besides (checking the data, ending an epoch) is part of its time, as in real use.

PyTorch's convolutions are timed in both orders of memory, NCHW (its default) and channels last; where the loss is compiled,
it is channels last, which was faster by a little.
"""

import tempfile
from contextlib import ExitStack

import numpy as np

from tinyae.errors import require_integer

from . import report
from .cases import CASES, CHECKED_STEPS, load_images, shaped
from .contestants import CONTESTANTS, TINYAE, start_worker
from .field import PAUSE, Field, print_settings, print_summary, reference, settings_of


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
    cases = {name: CASES[name] for name in report.chosen("case", arguments.cases, CASES)}
    rounds = 2 if arguments.quick else require_integer("peers", "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    if arguments.quick:
        cases = {name: case.quick() for name, case in cases.items()}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        images, source = load_images(max(case.images for case in cases.values()))
        np.save(f"{folder}/images.npy", images)
        workers = {name: stack.enter_context(start_worker(name, folder)) for name in names}
        print(f"data: {source}, in batches, in turn\n", flush=True)
        references = {name: reference_of(case, images) for name, case in cases.items()}
        field = Field(workers, cases)
        field.check(references)
        if not any(field.taking_part.values()):
            print("nobody is left to be timed")
            return 1
        versions, about = settings_of(field.ask_about())
        settings = {"data": source, "rounds": rounds, "quick": arguments.quick,
                    "lengths": {name: vars(case.lengths) for name, case in cases.items()}, **about}  # fmt: skip
        made = report.new_report("peers", versions, settings, [], agreement=field.agreement, left_out=field.left_out)
        print_settings(made)
        for name, case in cases.items():
            found = field.results(name, rounds, 0 if arguments.quick else PAUSE)
            print_case(case.title, found, rounds)
            made["results"] += found
    print_summary(made["results"])
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot:
        draw(made, arguments.plot)
    return 1 if field.disagreed or not made["results"] else 0


def reference_of(case, images):
    """The losses of the checked steps, by hand."""
    return reference(case, shaped(images[: CHECKED_STEPS * case.batch], case.model.shape), CHECKED_STEPS)


def print_case(title, results, rounds):
    """The table of one case."""
    print(f"\n{title}: milliseconds per step in {rounds} rounds")
    medians = {entry["contestant"]: entry["median_ms"] for entry in results}
    base = medians.get("tinyae-loop")
    rows = []
    for entry in results:
        low, high = report.quartiles(entry["times_ms"])
        ratio = f"{entry['median_ms'] / base:.2f}" if base else "-"
        rows.append([entry["contestant"], f"{entry['median_ms']:.3f}", f"{low:.3f} to {high:.3f}", ratio])
    print(report.table(["", "median", "middle half", "times tinyae-loop"], rows), flush=True)


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
