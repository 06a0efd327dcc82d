"""``python -m benchmarks gpu``: its options, the order of its parts, its report."""

from tinyae.errors import require_integer

from .. import report
from ..contestants.gpu_names import GPU_CONTESTANTS, GPU_PEERS, ON_CPU, ON_GPU
from . import crossover, parts, roofline, steps
from .bars import judged, print_bars
from .session import Session, all_cases, label

PARTS = {
    "steps": lambda session: steps.measure(session, "float32"),
    "tf32": lambda session: steps.measure(session, "tf32"),
    "transfer": parts.transfer,
    "start": parts.start,
    "epoch": parts.epoch,
    "crossover": crossover.measure,
    "kernels": roofline.measure,
}
ROUNDS, QUICK_ROUNDS = 5, 2


def add_arguments(parser):
    """The options of ``python -m benchmarks gpu``."""
    report.add_output_options(parser)
    parser.add_argument("--only", metavar="PART[,PART]", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--cases", metavar="NAME[,NAME]", help=f"of steps: some of {', '.join(all_cases(False))}")
    parser.add_argument("--contestants", metavar="NAME[,NAME]", help=f"some of: {', '.join(GPU_CONTESTANTS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"timed blocks of each contestant ({ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds of few steps: does it run? The times mean nothing"
    )


def main(arguments):
    """Measure, print, write; returns the exit code."""
    chosen = report.chosen("part", arguments.only, PARTS)
    names = report.chosen("contestant", arguments.contestants, GPU_CONTESTANTS)
    cases, wanted = all_cases(arguments.quick), report.chosen("case", arguments.cases, all_cases(arguments.quick))
    rounds = QUICK_ROUNDS if arguments.quick else require_integer("gpu", "--rounds", arguments.rounds, at_least=1)
    report.check_outputs(arguments)
    with Session({name: cases[name] for name in wanted}, rounds, arguments.quick) as session:
        session.start([name for name in names if needed(name, chosen)])
        print_who(session)
        for part in chosen:
            PARTS[part](session)
        precisions = [precision for part, precision in (("steps", "float32"), ("tf32", "tf32")) if part in chosen]
        bars = judged(session, precisions or ["float32"])
        made = session.made(parts=chosen, bars=bars)
    print(f"\n{report.describe(made)}")
    print_bars(bars)
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot:
        from .pictures import draw

        draw(made, arguments.plot)
    return 1 if session.disagreed or session.failed or not session.results else 0


def needed(name, chosen):
    """Does one of the parts ask for this contestant?"""
    asked = {"steps": [*ON_CPU, *ON_GPU, *GPU_PEERS], "tf32": [*ON_GPU, *GPU_PEERS], "transfer": ["gpu-loop"],
             "start": ["cpu-captured", "gpu-captured"], "epoch": ["cpu-fit", "gpu-fit"], "kernels": ["gpu-loop"],
             "crossover": ["cpu-captured", "gpu-captured"]}  # fmt: skip
    return any(name in asked[part] for part in chosen)


def print_who(session):
    """The GPU, the data, and who cannot take part."""
    for name, text in (session.device or {}).items():
        print(f"{name}: {text}")
    if session.device is None:
        print(f"no GPU: {session.why_no_gpu() or 'nothing that was chosen needs one'}")
    print(f"data: {session.source}")
    reasons = {}
    for name, reason in session.missing.items():
        reasons.setdefault(reason, []).append(label(name))
    for reason, who in reasons.items():
        print(f"left out: {'; '.join(who)}: {reason}", flush=True)
