"""Peers and its relatives: contestants that are right take part, the others do not. No time is asserted."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import field, report, scaling, start
from benchmarks.architectures import Conv, MaxPool, Model, UpSampling, conv_model, dense_model, initial_weights
from benchmarks.by_hand import PART, largest_difference, loss_and_gradients, losses_by_hand, mean_over_parts
from benchmarks.cases import CASES, QUICK, Case, shaped
from benchmarks.contestants import CONTESTANTS, Worker, WorkerFailed, start_worker
from benchmarks.contestants.worker import Bench

TINY = {
    "dense": dense_model((6, 3, 6)),
    "conv": Model("tiny", (4, 4, 1), (Conv(1, 2, "relu"), MaxPool()), (Conv(2, 2, "relu"), UpSampling(), Conv(2, 1, "sigmoid"))),
}  # fmt: skip
CASE = {"dense": CASES["small-32"].quick(), "conv": Case(conv_model(), 4, QUICK)}
FIT_PLOT = find_spec("matplotlib") is not None


@pytest.fixture(autouse=True)
def random_numbers(monkeypatch):
    """No MNIST: reading it takes longer than the rest."""
    monkeypatch.delenv("TINYAE_DATA", raising=False)


@pytest.fixture
def small_conv(monkeypatch):
    """A convolutional case of few images."""
    monkeypatch.setitem(CASES, "conv-32", CASE["conv"])


@pytest.fixture
def images(tmp_path, rng):
    """Random pixels, in a file for workers."""
    numbers = rng.random((160, 784), dtype=np.float32)
    np.save(tmp_path / "images.npy", numbers)
    return numbers


def by_hand(case, images, steps=5):
    """The losses that a contestant must have."""
    return field.reference(case, shaped(images[: case.images], case.model.shape), steps)


class Here:
    """A worker in this process, where what it computes can be changed."""

    def __init__(self, name, folder):
        self.bench = Bench(name, folder / "images.npy")

    def ask(self, question, *arguments):
        return getattr(self.bench, question)(*arguments)


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize("model", TINY.values(), ids=TINY)
def test_gradients_by_hand_are_those_of_differences(model, rng):
    params = [0.5 * rng.normal(size=array.shape) for pair in initial_weights(model.layers) for array in pair]
    x = rng.random((4, *model.shape))
    _, gradients = loss_and_gradients(model.layers, params, x)
    for p, g in zip(params, gradients, strict=True):
        for place in np.ndindex(p.shape):
            h, kept = 1e-6, p[place]
            p[place] = kept + h
            above, _ = loss_and_gradients(model.layers, params, x)
            p[place] = kept - h
            below, _ = loss_and_gradients(model.layers, params, x)
            p[place] = kept
            assert abs((above - below) / (2 * h) - g[place]) < 1e-8


def test_a_batch_by_hand_is_the_mean_of_its_parts(rng):
    layers = TINY["conv"].layers
    params = [array.astype(float) for pair in initial_weights(layers) for array in pair]
    x = rng.random((PART + 8, 4, 4, 1))
    loss, gradients = mean_over_parts(layers, params, x)
    whole, expected = loss_and_gradients(layers, params, x)
    assert abs(loss - whole) < 1e-12
    for g, e in zip(gradients, expected, strict=True):
        assert np.abs(g - e).max() < 1e-12


def test_a_loss_that_is_not_a_number_is_no_agreement():
    assert largest_difference([1.0, float("nan")], [1.0, 1.0]) == float("inf")


def test_larger_images_repeat_pixels(rng):
    rows = rng.random((3, 784), dtype=np.float32)
    assert shaped(rows, (784,)) is rows
    large, small = shaped(rows, (56, 56, 1)), shaped(rows, (28, 28, 1))
    assert small.shape == (3, 28, 28, 1) and np.shares_memory(small, rows)
    for p, q in np.ndindex(2, 2):
        assert np.array_equal(large[:, p::2, q::2], small)


def test_weights_are_those_of_he():
    for W, b in initial_weights(conv_model().layers):
        bound = np.sqrt(6 / np.prod(W.shape[:-1]))
        assert 0.9 * bound < np.abs(W).max() <= bound and not b.any() and W.dtype == np.float32


# ---------------------------------------------------------------- peers


def test_peers_runs_checks_and_writes(tmp_path, capsys, small_conv):
    path = tmp_path / "peers.json"
    options = ["--plot", str(tmp_path / "peers.png")] if FIT_PLOT else []
    arguments = ["--quick", "--only", "tinyae-loop,tinyae-fit", "--cases", "small-32,conv-32", "--json", str(path)]
    assert benchmarks.main(["peers", *arguments, *options]) == 0
    printed = capsys.readouterr().out
    assert "random images" in printed and "784-32-784, batches of 32" in printed and "32-up-1 on 28x28" in printed
    made = report.read_report(path)
    assert made["benchmark"] == "peers" and made["settings"]["quick"] is True
    assert len(made["results"]) == 4 and all(len(entry["times_ms"]) == 2 for entry in made["results"])
    assert len(made["agreement"]) == 4 and all(entry["largest_difference"] < 1e-5 for entry in made["agreement"])
    assert made["left_out"] == []
    if options:
        assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_who_computes_something_else_is_not_timed(monkeypatch, capsys):
    monkeypatch.setattr(field, "losses_by_hand", lambda *given: [2 * loss for loss in losses_by_hand(*given)])
    assert benchmarks.main(["peers", "--quick", "--only", "tinyae-loop", "--cases", "small-32"]) == 1
    printed = capsys.readouterr().out
    assert "differ by 5.0e-01" in printed and "nobody is left" in printed


@pytest.mark.parametrize("wrong", ["pooling", "upsampling", "padding"])
def test_another_convolutional_model_is_not_timed(wrong, monkeypatch, images, tmp_path):
    import tinyae as ta
    from benchmarks.contestants import with_tinyae

    layer, made = {
        "pooling": (MaxPool, lambda layer: ta.AvgPool2D(2)),
        "upsampling": (UpSampling, lambda layer: ta.UpSampling2D(2, "bilinear")),
        "padding": (Conv, lambda layer: ta.Sequential(ta.ZeroPad2D(((2, 0), (2, 0))), ta.Conv2D(
            layer.inputs, layer.outputs, 3, padding="valid", activation=layer.activation, init="zeros"))),
    }[wrong]  # fmt: skip
    case = CASE["conv"]
    for changed in (False, True):
        if changed:
            monkeypatch.setitem(with_tinyae.LAYERS, layer, made)
        contest = field.Field({"tinyae-loop": Here("tinyae-loop", tmp_path)}, {"conv": case})
        contest.check_one("tinyae-loop", "conv", by_hand(case, images))
        assert contest.disagreed is changed
        assert contest.taking_part == {"conv": [] if changed else ["tinyae-loop"]}


@pytest.mark.parametrize("kind", CASE)
@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name.startswith("tinyae")])
def test_tinyae_takes_part(name, kind, images, tmp_path):
    losses = Here(name, tmp_path).ask("prepare", CASE[kind], 5)
    assert largest_difference(losses, by_hand(CASE[kind], images)) < 1e-5


@pytest.mark.parametrize("kind", CASE)
@pytest.mark.parametrize("name", [name for name, entry in CONTESTANTS.items() if entry.module == "with_torch"])
def test_torch_takes_part_where_it_is_installed(name, kind, images, tmp_path):
    pytest.importorskip("torch")
    if kind not in CONTESTANTS[name].kinds:
        pytest.skip("not with this kind of model")
    losses = Here(name, tmp_path).ask("prepare", CASE[kind], 5)
    assert largest_difference(losses, by_hand(CASE[kind], images)) < 1e-5


def test_torch_has_both_orders_of_memory(images, tmp_path):
    torch = pytest.importorskip("torch")
    for name, order in (("torch-fused", torch.contiguous_format), ("torch-channels-last", torch.channels_last)):
        worker = Here(name, tmp_path)
        worker.ask("prepare", CASE["conv"], 1)
        contestant = worker.bench.prepared[CASE["conv"]]
        first = contestant.model[0](contestant.X[:4])  # its 32 channels tell the two apart
        assert first.is_contiguous(memory_format=order)


def test_a_contestant_is_asked_only_for_its_kind_of_model(images, tmp_path):
    contest = field.Field({"torch": Here("torch", tmp_path)}, {"conv": CASE["conv"]})
    assert contest.check_one("torch", "conv", [1.0]) == "-"
    assert contest.taking_part == {"conv": []} and not contest.left_out and not contest.disagreed


def test_a_framework_that_is_missing_is_left_out(images, tmp_path, monkeypatch):
    """In this process, and not in a worker's, where an import could not be hidden."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.contestants.with_torch", raising=False)
    with pytest.raises(ModuleNotFoundError):
        Here("torch", tmp_path).ask("prepare", CASE["dense"], 5)


def test_a_worker_that_dies_is_reported(tmp_path):
    worker = start_worker("tinyae-loop", str(tmp_path))  # there are no images in this folder
    with pytest.raises(WorkerFailed, match="FileNotFoundError"):
        worker.ask("prepare", CASE["dense"], 5)
    worker.process.kill()
    with pytest.raises(WorkerFailed, match="its process ended"):
        worker.ask("prepare", CASE["dense"], 5)
    worker.close()
    assert not worker.process.is_alive()


def test_all_cases_are_of_a_length_to_wait_for():
    for name, case in CASES.items():
        steps = case.lengths.epochs * case.lengths.steps_per_epoch
        assert steps * (0.3 if name == "conv-256" else 0.05 if name == "conv-32" else 0.006) < 15, name


# ---------------------------------------------------------------- scaling


def test_scaling_runs_checks_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scaling, "QUICK_BATCHES", (2, 4))
    path = str(tmp_path / "scaling.json")
    options = ["--plot", str(tmp_path / "scaling.png")] if FIT_PLOT else []
    assert benchmarks.main(["scaling", "--quick", "--only", "tinyae-loop", "--json", path, *options]) == 0
    printed = capsys.readouterr().out
    assert (
        "worst / best" in printed and "the same per 28x28 pixels" in printed and "tinyae.get_num_threads()" in printed
    )
    made = report.read_report(path)
    assert [(entry["side"], entry["batch"]) for entry in made["results"]] == [(28, 2), (28, 4), (56, 2)]
    for entry in made["results"]:
        assert entry["image_ms"] == entry["median_ms"] / entry["batch"] > 0
    assert len(made["agreement"]) == 3 and all(entry["largest_difference"] < 1e-5 for entry in made["agreement"])
    if options:
        assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert benchmarks.main(["compare", path, path]) == 0


def test_scaling_has_each_case_once_and_each_epoch_is_about_as_long():
    cases = scaling.all_cases(quick=False)
    assert len(cases) == len(scaling.BATCHES) + len(scaling.SIDES) - 1
    pixels = [case.images * case.model.shape[0] ** 2 for case in cases.values()]
    assert max(pixels) <= 1.01 * min(pixels)


def test_scaling_leaves_out_what_memory_is_too_small_for():
    cases = scaling.all_cases(quick=False)
    largest = "28x28, batch 1024"
    assert scaling.affordable(cases, None) == (cases, [])
    fitting, others = scaling.affordable(cases, 2 * scaling.needed(cases[largest]))
    assert others == [largest] and len(fitting) == len(cases) - 1


def test_scaling_tables():
    results = [
        {**report.result(f"{side} {batch}", "tinyae-loop", [batch * ms]), "side": side, "batch": batch, "image_ms": ms}
        for side, batch, ms in ((28, 32, 0.4), (28, 64, 0.2), (56, 32, 0.8))
    ]
    assert scaling.series({"results": results}, "batch") == {"tinyae-loop": {32: 0.4, 64: 0.2}}
    assert scaling.series({"results": results}, "side") == {"tinyae-loop": {28: 0.4, 56: 0.8}}


# ---------------------------------------------------------------- start and memory


def test_start_has_an_empty_cache_and_then_the_same_again(monkeypatch, tmp_path, capsys):
    seen = []

    def first_step(name, case, folder, versions):
        cache = Path(os.environ["NUMBA_CACHE_DIR"])
        seen.append((cache, sorted(path.name for path in cache.iterdir())))
        (cache / "kernel").touch()
        return 1000.0 * len(seen)

    monkeypatch.setattr(start, "first_step", first_step)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "as before")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    path = str(tmp_path / "start.json")
    arguments = ["--rounds", "2", "--only", "tinyae-loop", "--cases", "small-32", "--json", path]
    assert benchmarks.main(["start", *arguments]) == 0
    assert [files for _, files in seen] == [[], ["kernel"]] * 2
    assert seen[0][0] == seen[1][0] != seen[2][0]
    assert os.environ["NUMBA_CACHE_DIR"] == "as before" and "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    made = report.read_report(path)
    assert [entry["times_ms"] for entry in made["results"]] == [[1000, 3000], [2000, 4000]]
    assert "2.00" in capsys.readouterr().out


def test_memory_runs_and_writes_what_compare_reads(tmp_path, capsys):
    path = str(tmp_path / "memory.json")
    options = ["--plot", str(tmp_path / "memory.png")] if FIT_PLOT else []
    arguments = ["--quick", "--only", "tinyae-loop", "--cases", "small-32", "--json", path, *options]
    assert benchmarks.main(["memory", *arguments]) == 0
    loaded, peak = report.read_report(path)["results"]
    assert loaded["unit"] == "MB" and 10 < loaded["median"] < peak["median"]
    assert benchmarks.main(["compare", path, path]) == 0
    assert "median MB before and after, and their ratio (below 1: less now)" in capsys.readouterr().out
    if options:
        assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_peak_memory_is_the_most_and_the_process_own():
    """Also in a process that a larger one has started."""
    code = """
        import numpy as np
        from benchmarks.contestants.load import peak_memory
        before = peak_memory()
        np.ones(50_000_000, np.uint8).sum()
        after = peak_memory()
        assert 45e6 < after - before < 60e6, (before, after)
        assert before < 150e6, before
    """
    if not os.path.exists("/proc/self/status"):
        pytest.skip("this system tells only the most of parent and child")
    held = np.ones(300_000_000, np.uint8)
    root = Path(benchmarks.__file__).parent.parent
    lines = [line.strip() for line in code.strip().split("\n")]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=root)
    assert held[0] and done.returncode == 0, done.stderr


class Echo:
    """What a worker can be made of besides a Bench."""

    def __init__(self, number):
        self.number = number

    def add(self, other):
        return self.number + other


def test_a_worker_answers_by_the_methods_of_what_it_is_made_of(tmp_path):
    with Worker(str(tmp_path / "log"), Echo, 2) as worker:
        assert worker.ask("add", 3) == 5
        with pytest.raises(WorkerFailed, match="AttributeError"):
            worker.ask("subtract", 3)
    assert not worker.process.is_alive()
