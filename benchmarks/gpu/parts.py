"""Parts ``transfer``, ``start`` and ``epoch``: what a training costs besides its steps, and a whole epoch."""

import tempfile
import time

import numpy as np

from .. import report
from ..architectures import dense_model
from ..cases import DEEP
from ..contestants import WorkerFailed
from ..contestants.gpu_names import ON_GPU
from ..start import CACHES, variables
from .session import label

BATCH, EPOCHS = 256, {"cpu-fit": 2, "gpu-fit": 10}
STARTED, STEPS = ("deep-256", "conv-256"), 5
FOLDERS = *CACHES, "CUPY_CACHE_DIR"
EMPTY, KEPT = "nothing compiled before", "once more"


# ---------------------------------------------------------------- transfer


def transfer(session):
    """From the host's memory to the device's."""
    worker = next(iter(session.taking_part(["gpu-loop", "gpu-captured", "gpu-fit"]).values()), None)
    if worker is None:
        print(f"\ntransfer: not measured: {session.why_nobody(ON_GPU)}")
        return
    rows = []
    for count in (32, BATCH, session.images_in_epoch):
        try:
            nbytes, times = worker.ask("transfer", count)
        except WorkerFailed as reason:
            session.fail(f"transfer of {count} images", reason)
            continue
        entry = report.result(f"transfer of {count} images", "gpu", times)
        session.results.append({**entry, "part": "transfer", "bytes": nbytes})
        rate = nbytes / entry["median_ms"] / 1e6
        rows.append([f"{count} images", f"{nbytes / 1e6:.2f}", f"{entry['median_ms']:.3f}", f"{rate:.1f}"])
    print("\nfrom the host's memory to the GPU's, float32, 784 numbers an image")
    print(report.table(["", "MB", "ms", "GB/s"], rows), flush=True)


# ---------------------------------------------------------------- start


def start(session):
    """The first steps of a new process, its compiled kernels forgotten or kept."""
    print("\nmilliseconds in a new process, until its first steps are done (captured step)")
    table, chosen = {}, [key for key in STARTED if key in session.cases][: 1 if session.quick else None]
    if not chosen:
        print(f"not measured: none of the cases {', '.join(STARTED)} was chosen", flush=True)
        return
    for key in chosen:
        for name in ("cpu-captured", "gpu-captured"):
            if name in session.missing:
                print(f"{label(name)}: not measured: {session.why_nobody([name])}")
            elif name in session.workers:
                try:
                    table |= started(session, key, name)
                except WorkerFailed as reason:
                    session.fail(f"start of {name}, {key}", reason)
    parts = list(dict.fromkeys(part for found in table.values() for part in found))
    rows = [[title, *(f"{found[part]:.1f}" for part in parts)] for title, found in table.items()]
    print(report.table(["", *parts], rows) if rows else "nobody was measured", flush=True)


def started(session, key, name):
    """{title: {part: ms}} of two processes."""
    case, found = session.cases[key], {}
    with tempfile.TemporaryDirectory() as cache, variables({} if session.quick else dict.fromkeys(FOLDERS, cache)):
        for which in [EMPTY, KEPT] if not session.quick else [KEPT]:  # quick: with what the machine has kept
            began = time.perf_counter()
            with session.fresh(name) as worker:
                parts = worker.ask("first_steps", case, STEPS)
                whole = 1e3 * (time.perf_counter() - began)
            parts = {"process, imports": whole - sum(parts.values()), **parts}
            found[f"{name}, {case.model.name}, {which}"] = parts
            session.results += [
                {**report.result(f"start, {case.title}, {which}: {part}", name, [max(ms, 1e-3)]), "part": "start"}
                for part, ms in parts.items()
            ]
    return found


# ---------------------------------------------------------------- epoch


def epoch(session):
    """One epoch of the deep model by ``fit``, as part of a call for several."""
    model, rows, count = dense_model(DEEP), [], session.images_in_epoch
    for name, epochs in EPOCHS.items():
        if name not in session.workers:
            if name in session.missing:
                rows.append([label(name), "not measured"])
            continue
        try:
            worker, epochs = session.workers[name], 1 if session.quick else epochs
            worker.ask("use_precision", "float32")
            worker.ask("prepare_fit", model, count, BATCH)
            worker.ask("fit_milliseconds", 1)
            times = [worker.ask("fit_milliseconds", epochs) / epochs for _ in range(session.rounds)]
        except WorkerFailed as reason:
            session.fail(f"epoch of {name}", reason)
            continue
        entry = report.result(f"epoch of {model.name}, {count} images, batches of {BATCH}", name, times)
        session.results.append({**entry, "part": "epoch", "images": count, "epochs": epochs})
        rows.append([label(name), f"{np.median(times):.1f}"])
    print(f"\nan epoch of fit: {model.name}, {count} images, batches of {BATCH}, float32: milliseconds")
    print(report.table(["", "ms"], rows), flush=True)
