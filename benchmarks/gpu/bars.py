"""What was asked of the GPU backend, and what was measured: the last lines of ``gpu``."""

from typing import NamedTuple

from .. import report
from .session import label

OURS = "gpu-captured"
EAGER, REDUCED = "torch-eager", "torch-reduce-overhead"
EPOCH_MS = 50.0


class Bar(NamedTuple):
    """So many times as fast as a peer in one case."""

    key: str
    peer: str
    asked: float


BARS = [
    *(Bar(key, peer, asked) for peer, asked in ((EAGER, 3.0), (REDUCED, 1.1))
      for key in ("small-32", "small-256", "deep-32", "deep-256")),
    Bar("conv-256", EAGER, 1.5), Bar("conv-256", REDUCED, 1.0),
]  # fmt: skip


def judged(session, precisions):
    """[{"what", "precision", "asked", "measured", "verdict"}, ...]; measured is None where it is not, and the verdict says why."""
    found = [one_bar(session, bar, precision) for precision in precisions for bar in BARS if bar.key in session.cases]
    return [*found, epoch_bar(session)]


def one_bar(session, bar, precision):
    """Ours against a peer."""
    found = [session.of("steps", name, key=bar.key, precision=precision) for name in (OURS, bar.peer)]
    ours, theirs = (entry.get("median_ms") for entry in found)
    case = session.cases[bar.key]
    what = f"{case.model.name}, batch {case.batch}: relative to {label(bar.peer)}"
    line = {"what": what, "precision": precision, "asked": f"{bar.asked:g} times as fast", "measured": None}
    if ours is None or theirs is None:
        return line | {"verdict": f"not measured: {why_not(session, OURS if ours is None else bar.peer, case.title)}"}
    reason = found[0].get("not_captured")
    if reason:
        return line | {"verdict": f"not measured: the step was not captured: it {reason}"}
    ratio = theirs / ours
    return line | {"measured": f"{ratio:.2f} times as fast", "verdict": "met" if ratio >= bar.asked else "missed"}


def epoch_bar(session):
    """The time of an epoch of the deep model."""
    entry = next((e for e in session.results if e["part"] == "epoch" and e["contestant"] == "gpu-fit"), None)
    line = {"what": "deep model, 60,000 images, batch 256: an epoch of fit", "precision": "float32",
            "asked": f"under {EPOCH_MS:g} ms", "measured": None}  # fmt: skip
    if entry is None:
        return line | {"verdict": f"not measured: {why_not(session, 'gpu-fit', 'epoch')}"}
    if entry["images"] != 60_000:
        return line | {"verdict": f"not measured: this was an epoch of {entry['images']} images (--quick)"}
    ms = entry["median_ms"]
    return line | {"measured": f"{ms:.1f} ms", "verdict": "met" if ms < EPOCH_MS else "missed"}


def why_not(session, name, title):
    """The reason for which there is no measurement."""
    if name in session.missing:
        return session.missing[name]
    for entry in session.left_out:
        if entry["contestant"] == name or entry["case"].startswith(f"{name}"):
            return entry["reason"]
    return "this part was not run" if name in session.workers else "it was not chosen"


def print_bars(lines):
    """One row for each; a reason is told once, below."""
    reasons, rows = {}, []
    for line in lines:
        verdict = line["verdict"]
        if line["measured"] is None:
            number = reasons.setdefault(verdict.removeprefix("not measured: "), len(reasons) + 1)
            verdict = f"not measured ({number})"
        rows.append([line["what"], line["precision"], line["asked"], line["measured"] or "-", verdict])
    print("\nwhat was asked, and what was measured")
    print(report.table(["", "precision", "asked", "measured", ""], rows))
    for reason, number in reasons.items():
        print(f"({number}) {reason}")
