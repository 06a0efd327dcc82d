"""What an image costs in training, against the size of the batch and the size of the images, with the peers.

The convolutional model of ``peers``; batches of 32 to 1,024 images of 28x28, and batches of 32 images of 28x28, 56x56 and
112x112, which are the same images with each pixel repeated. A step is forward, backward and Adam. As in ``peers``, each
contestant runs in a process of its own, and who computes other losses in the first two steps than plain NumPy in float64
is left out. A case that would take more than half of the memory that is free is left out too.
"""

import tempfile
from contextlib import ExitStack, suppress

import numpy as np

from tinyae.errors import require_integer

from . import report
from .architectures import conv_model
from .cases import Case, Lengths, load_images, shaped
from .contestants import CONTESTANTS, TINYAE, WorkerFailed, start_worker
from .contestants.load import available_memory
from .field import PAUSE, Field, print_settings, reference, settings_of

DEFAULT = ["tinyae-captured", "torch-channels-last", "jax", "keras"]
POSSIBLE = {name: entry for name, entry in CONTESTANTS.items() if "conv" in entry.kinds}
SIDE, BATCH = 28, 32
BATCHES, SIDES = (32, 64, 128, 256, 512, 1024), (28, 56, 112)
QUICK_BATCHES, QUICK_SIDES = (4, 8), (28, 56)
EPOCH, CHECKED_STEPS = 5120, 2  # images of 28x28 in an epoch of fit, and fewer large ones


def add_arguments(parser):
    """The options of ``python -m benchmarks scaling``."""
    report.add_output_options(parser)
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", default=",".join(DEFAULT),
        help=f"some of: {', '.join(POSSIBLE)} ({', '.join(DEFAULT)})",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="timed blocks of each contestant (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of small batches: does it run?")


def main(arguments):
    """Measure, print, write; returns the exit code."""
    names = report.chosen("contestant", arguments.only, POSSIBLE)
    rounds = 2 if arguments.quick else require_integer("scaling", "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    cases, too_large = affordable(all_cases(arguments.quick), available_memory())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        images, source = load_images(max(case.images for case in cases.values()))
        np.save(f"{folder}/images.npy", images)
        field = Field({name: stack.enter_context(start_worker(name, folder)) for name in names}, cases)
        print(f"data: {source}. Milliseconds per image, median of {rounds} rounds:", flush=True)
        results = []
        for key, case in cases.items():
            results += measure(field, key, images, rounds, 0 if arguments.quick else PAUSE)
            print_case(key, [entry for entry in results if entry["case"] == case.title])
        field.print_left_out()
        versions, about = settings_of(field.ask_about())
    for title in too_large:
        print(f"left out: {title}: it would take more than half of the memory that is free")
    settings = {"data": source, "rounds": rounds, "quick": arguments.quick, **about}
    made = report.new_report("scaling", versions, settings, results, agreement=field.agreement, left_out=field.left_out)
    print_settings(made)
    print_tables(made)
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot and results:
        draw(made, arguments.plot)
    return 1 if field.disagreed or not results else 0


def all_cases(quick):
    """{name: Case}: first by batch, then by size, each once."""
    batches, sides = (QUICK_BATCHES, QUICK_SIDES) if quick else (BATCHES, SIDES)
    pairs = dict.fromkeys([*((SIDE, batch) for batch in batches), *((side, batches[0]) for side in sides)])
    cases = {}
    for side, batch in pairs:
        steps = max(4, EPOCH * SIDE**2 // (side**2 * batch))
        case = Case(conv_model(side), batch, Lengths(steps, epochs=2, seconds=0.5, fewest_steps=3, warm_up=1))
        cases[f"{side}x{side}, batch {batch}"] = case.quick() if quick else case
    return cases


def affordable(cases, available):
    """Those that take less than half of so many bytes (None: all), and the names of the others."""
    fitting = {name: case for name, case in cases.items() if available is None or needed(case) < available / 2}
    return fitting, [name for name in cases if name not in fitting]


def needed(case):
    """Bytes of a step, roughly: eight arrays as large as what the first convolution writes."""
    return 8 * 4 * case.batch * case.model.shape[0] ** 2 * 32


def measure(field, key, images, rounds, pause):
    """Check and time all contestants in one case; its models and data are forgotten afterwards."""
    case = field.cases[key]
    expected = reference(case, shaped(images[: CHECKED_STEPS * case.batch], case.model.shape), CHECKED_STEPS)
    for name in field.workers:
        field.check_one(name, key, expected)
    found = field.results(key, rounds, pause)
    for name in field.taking_part[key]:
        with suppress(WorkerFailed):  # noted already
            field.workers[name].ask("release", case)
    about = {"side": case.model.shape[0], "batch": case.batch}
    return [{**entry, **about, "image_ms": entry["median_ms"] / case.batch} for entry in found]


# ---------------------------------------------------------------- text


def print_case(key, found):
    """One line, as soon as it is known."""
    texts = [f"{entry['contestant']} {entry['image_ms']:.3f}" for entry in found]
    print(f"  {key}: {', '.join(texts) or 'nobody was timed'}", flush=True)


def series(made, by):
    """{contestant: {batch or side: ms per image}}: one of the two grows, the other is the smallest."""
    entries = made["results"]
    other = {"batch": "side", "side": "batch"}[by]
    smallest = min((entry[other] for entry in entries), default=0)
    found = {}
    for entry in entries:
        if entry[other] == smallest:
            found.setdefault(entry["contestant"], {})[entry[by]] = entry["image_ms"]
    return found


def print_tables(made):
    """Milliseconds per image against batch size, and against image size per image and per 28x28 pixels."""
    by_batch = series(made, "batch")
    if by_batch:
        print("\nmilliseconds per image of 28x28, against batch size")
        print_table(by_batch, "{}", {"worst / best": lambda line: f"{max(line.values()) / min(line.values()):.2f}"})
    by_side = series(made, "side")
    if by_side:
        print(
            f"\nmilliseconds per image, batches of {min(entry['batch'] for entry in made['results'])}, against image size"
        )
        print_table(by_side, "{0}x{0}", {})
        print("\nthe same per 28x28 pixels")
        per_pixels = {
            name: {side: time * SIDE**2 / side**2 for side, time in line.items()} for name, line in by_side.items()
        }
        print_table(per_pixels, "{0}x{0}", {})


def print_table(lines, heading, more):
    """One row per contestant, one column per size; ``more`` is {heading: function of a line}."""
    sizes = sorted({size for line in lines.values() for size in line})
    rows = [
        [name, *(f"{line[size]:.4f}" if size in line else "-" for size in sizes), *(add(line) for add in more.values())]
        for name, line in lines.items()
    ]
    print(report.table(["", *(heading.format(size) for size in sizes), *more], rows))


def draw(made, path):
    """Two panels with a line per contestant."""
    from .pictures import draw_lines

    batch = min(entry["batch"] for entry in made["results"])
    panels = {
        "Images of 28x28": ("images in a batch", "{}", series(made, "batch")),
        f"Batches of {batch}": ("size of the images", "{0}x{0}", series(made, "side")),
    }
    draw_lines(
        panels, path, title="What an image costs in training: lower is faster", quantity="milliseconds per image",
        note=f"Convolutional autoencoder 32-pool-32-pool-32-up-32-up-1, float32. {made['machine']['cpu']}, "
        f"{made['machine']['cores']} cores. Median of {made['settings']['rounds']} rounds.",
        labels={name: entry.label for name, entry in CONTESTANTS.items()}, highlighted=TINYAE,
    )  # fmt: skip
