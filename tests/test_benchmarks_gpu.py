"""The benchmark of the GPU, on the stand-in device and without any: all of it runs, and no figure appears that was not measured."""

import json
import types
from dataclasses import replace

import numpy as np
import pytest

import tinyae as ta
from benchmarks import __main__ as benchmarks
from benchmarks import report
from benchmarks.architectures import dense_model
from benchmarks.cases import CASES
from benchmarks.contestants import WorkerFailed
from benchmarks.contestants.gpu_names import GPU_CONTESTANTS, GPU_PEERS, ON_CPU, ON_GPU
from benchmarks.gpu import bars, clock, command, crossover, device, kernel_bench, operations, parts, roofline, session
from benchmarks.gpu.kernel_bench import KernelBench
from tinyae.backend import NUMPY, register_backend
from tinyae.errors import BackendError


class Here:
    """A worker in this process; as in a process of its own, whatever fails is a WorkerFailed."""

    def __init__(self, made):
        self.made = made

    def ask(self, question, *arguments):
        try:
            return getattr(self.made, question)(*arguments)
        except Exception as error:
            raise WorkerFailed(f"{type(error).__name__}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


ALL_OPERATIONS = operations.operations


def absent():
    raise BackendError("backend 'absent': there is no such GPU. Install it with a screwdriver.")


register_backend("absent", absent)


@pytest.fixture
def here(monkeypatch):
    """Everything in this process and as small as can be; the name of the backend is to be given."""
    monkeypatch.delenv("TINYAE_DATA", raising=False)
    monkeypatch.setattr(session, "start_worker", lambda name, folder, make: Here(make(name, f"{folder}/images.npy")))
    monkeypatch.setattr(session, "Worker", lambda log, make: Here(make()))
    monkeypatch.setattr(session, "QUICK_IMAGES", 20)
    monkeypatch.setattr(session, "QUICK", replace(session.QUICK, fewest_steps=2))
    monkeypatch.setattr("benchmarks.gpu.bench.LAUNCHES", 2)
    monkeypatch.setattr(roofline, "TINY", 1 << 10)
    monkeypatch.setattr(kernel_bench, "SMALL", 1 << 10)
    monkeypatch.setattr(kernel_bench, "CALLS", 1)
    monkeypatch.setattr(crossover, "QUICK_BATCHES", (2, 4))
    monkeypatch.setattr(crossover, "QUICK_WIDTHS", (4, 8))
    monkeypatch.setattr(crossover, "BATCH", 2)
    monkeypatch.setattr(crossover, "WIDTH", 4)
    monkeypatch.setattr(parts, "STARTED", ("small-32",))
    monkeypatch.setattr(parts, "DEEP", (784, 8, 4, 8, 784))
    monkeypatch.setitem(CASES, "small-32", replace(CASES["small-32"], batch=2, model=dense_model((784, 4, 784))))
    return lambda name: monkeypatch.setattr(device, "BACKEND", name)


def run(tmp_path, *arguments):
    """(exit code, report)."""
    path = str(tmp_path / "gpu.json")
    return benchmarks.main(["gpu", "--quick", "--json", path, *arguments]), report.read_report(path)


# ---------------------------------------------------------------- without a GPU


def test_without_a_gpu_the_other_half_is_measured_and_what_is_missing_is_said(here, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    here("absent")
    plot = tmp_path / "gpu.png"
    code, made = run(
        tmp_path, "--cases", "small-32", "--plot", str(plot), "--contestants", ",".join([*ON_CPU, *ON_GPU])
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert "no GPU: backend 'absent': there is no such GPU. Install it with a screwdriver." in printed
    assert {entry["part"] for entry in made["results"]} == {"steps", "start", "epoch", "crossover"}
    assert {entry["contestant"] for entry in made["results"]} <= set(ON_CPU)
    assert made["device"] is None and made["failed"] == []
    assert {entry["contestant"] for entry in made["left_out"]} == set(ON_GPU)
    assert made["bars"] and all(bar["measured"] is None and "screwdriver" in bar["verdict"] for bar in made["bars"])
    for part in ("transfer", "kernels"):
        assert f"{part}: not measured" in printed
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert benchmarks.main(["compare", str(tmp_path / "gpu.json"), str(tmp_path / "gpu.json")]) == 0


def test_if_nothing_could_be_measured_the_exit_code_says_so(here, tmp_path):
    here("absent")
    code, made = run(tmp_path, "--only", "kernels,transfer")
    assert code == 1 and made["results"] == []


@pytest.mark.parametrize(
    "arguments, said",
    [(["--only", "stepps"], "unknown part 'stepps'"), (["--cases", "small"], "unknown case 'small'"),
     (["--contestants", "gpu"], "unknown contestant 'gpu'"), (["--rounds", "0"], "expected an integer >= 1")],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments, said, capsys):
    assert benchmarks.main(["gpu", *arguments]) == 2
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- on the stand-in


def first_of_each_group(n):
    """Some of the operations, for all take long where a GPU is played by a processor."""
    return list({one.group: one for one in reversed(list(ALL_OPERATIONS(n)))}.values())


def test_every_part_runs_on_the_stand_in(here, tmp_path, monkeypatch, capsys):
    here("strict")
    monkeypatch.setattr(kernel_bench, "operations", first_of_each_group)
    code, made = run(tmp_path, "--cases", "small-32", "--contestants", ",".join([*ON_CPU, *ON_GPU]))
    printed = capsys.readouterr().out
    assert made["failed"] == [] and code == 0, printed
    found = {(entry["part"], entry["contestant"]) for entry in made["results"]}
    assert {("steps", name) for name in [*ON_CPU, *ON_GPU]} <= found
    assert {("transfer", "gpu"), ("epoch", "gpu-fit"), ("kernels", "gpu-kernel"), ("start", "gpu-captured")} <= found
    assert {entry["precision"] for entry in made["results"] if entry["part"] == "steps"} == {"float32", "tf32"}
    for entry in made["results"]:
        if entry["part"] == "steps" and entry["contestant"] in ("gpu-loop", "gpu-captured"):
            assert len(entry["launch_ms"]) == len(entry["kernels_ms"]) == 2
    assert all(entry["largest_difference"] < 1e-5 for entry in made["agreement"])
    assert made["device"]["backend"] == "strict"
    assert "GPU wins" in printed or "CPU still wins" in printed


def test_who_computes_something_else_is_not_timed(here, tmp_path, monkeypatch, capsys):
    here("strict")
    monkeypatch.setattr(kernel_bench, "operations", first_of_each_group)
    kept = KernelBench.on_host
    monkeypatch.setattr(KernelBench, "on_host", lambda self, array: 1.01 * kept(self, array))
    code, made = run(tmp_path, "--only", "kernels")
    assert code == 1 and "from the definition's: not timed" in capsys.readouterr().out
    assert not [entry for entry in made["results"] if entry["part"] == "kernels"]


def test_one_kernel_that_fails_leaves_the_others(here, tmp_path, monkeypatch, capsys):
    here("strict")

    def broken(place):
        raise RuntimeError("an illegal memory access was encountered")

    def with_one_broken(n):
        first, second, *_ = ALL_OPERATIONS(n)
        return [first._replace(make=broken), second]

    monkeypatch.setattr(kernel_bench, "operations", with_one_broken)
    code, made = run(tmp_path, "--only", "kernels")
    assert code == 1 and len([entry for entry in made["results"] if entry["part"] == "kernels"]) == 1
    assert "illegal memory access" in made["failed"][0] and "failed: relu, forward" in capsys.readouterr().out


def test_operations_have_names_of_their_own_and_work_to_do():
    found = list(operations.operations(1 << 10))
    assert len({one.title for one in found}) == len(found)
    for one in found:
        assert one.nbytes > 0 and one.flops >= 0 and one.group
        with ta.use_kernels("reference"):  # to compile kernels for these sizes would take long
            arrays = one.make(operations.Place(NUMPY))()
        assert arrays and all(np.isfinite(array).all() for array in arrays), one.title


@pytest.mark.parametrize("i, title", list(enumerate(one.title for one in ALL_OPERATIONS(1 << 10))))
def test_an_operation_computes_the_same_on_the_stand_in(i, title, here):
    here("strict")
    bench = KernelBench()
    bench.start(1 << 10)
    assert bench.check(i, "float32") < 1e-5, title


def test_the_same_numbers_on_every_backend():
    here, there = (operations.Place(ta.get_backend(name)) for name in ("numpy", "strict"))
    for shape in ((3, 5), (1 << 9, 1 << 9)):
        assert np.array_equal(here.array(*shape), there.backend.to_host(there.array(*shape)))


# ---------------------------------------------------------------- clocks


class FakeCuda:
    """A GPU that needs ``seconds_held`` of Python's time before it comes to the first mark behind a hold-up."""

    def __init__(self, launches_before_it_begins):
        fake = self
        self.seen, self.held = 0, launches_before_it_begins

        class Event:
            done = property(lambda self: fake.seen >= fake.held)

            def record(self):
                pass

            synchronize = record

        self.Event = Event
        self.Device = lambda: types.SimpleNamespace(attributes={"ClockRate": 1_000_000})
        self.cycles = []

    def get_elapsed_time(self, start, end):
        return 3.0

    def raw_kernel(self, text, name):
        def launch(blocks, threads, arguments):
            self.seen, self.held = 0, self.held + 1  # held up for longer, it begins later
            self.cycles += arguments

        assert name in text
        return launch


def fake_backend(cuda):
    xp = types.SimpleNamespace(cuda=cuda, RawKernel=cuda.raw_kernel)
    return types.SimpleNamespace(xp=xp, synchronize=lambda: None)


@pytest.mark.parametrize("begins_after, told", [(5, 3.0), (1, 3.0), (-100, None)])
def test_the_queue_is_held_up_until_all_is_launched_or_nothing_is_told(begins_after, told):
    cuda = FakeCuda(begins_after)
    events = clock.clock_of(fake_backend(cuda))
    assert isinstance(events, clock.EventClock)

    def run():
        cuda.seen += 2

    assert events.kernel_milliseconds(run) == told
    assert all(b == pytest.approx(2 * a, rel=1e-6) for a, b in zip(cuda.cycles, cuda.cycles[1:]))
    assert events.milliseconds(run) == 3.0


def test_where_there_are_no_events_the_wall_clock_is_read():
    plain = clock.clock_of(ta.get_backend("strict"))
    assert type(plain) is clock.WallClock and plain.milliseconds(lambda: None) >= 0


# ---------------------------------------------------------------- what is made of the times


@pytest.mark.parametrize(
    "cpu, gpu, size, words",
    [
        ({8: 1.0, 32: 2.0, 128: 8.0}, {8: 2.0, 32: 2.0, 128: 2.0}, 32, "from about 32 on"),
        ({8: 1.0, 128: 16.0}, {8: 4.0, 128: 4.0}, 32, "from about 32 on"),
        ({8: 3.0, 32: 4.0}, {8: 2.0, 32: 2.0}, None, "from 8 on, the smallest measured"),
        ({8: 1.0, 32: 1.0}, {8: 2.0, 32: 2.0}, None, "the CPU still wins at 32"),
        ({8: 3.0, 32: 1.0, 128: 8.0}, {8: 2.0, 32: 2.0, 128: 2.0}, 64, "from about 64 on"),  # it wins, loses and wins
        ({8: 1.0}, {}, None, "begins to win: not measured"),
    ],
)
def test_where_two_lines_cross(cpu, gpu, size, words):
    if size == 64:
        size = 32 * 4 ** (1 / 3)
    found, said = crossover.crossing(cpu, gpu)
    assert (found is None) == (size is None) and (size is None or found == pytest.approx(size))
    if size is None or size == 32:
        assert words in said


def test_below_which_roof_a_kernel_stands():
    roof = {"bandwidth": 100.0, "rate": 1000.0}  # GB/s, GFLOP/s: the corner is at 10 operations a byte
    moving = roofline.placed({"flops": 1e9, "bytes": 1e9, "median_ms": 20.0}, roof)
    assert moving == {"intensity": 1.0, "rate": pytest.approx(50.0), "limit": "copy", "share": pytest.approx(0.5)}
    counting = roofline.placed({"flops": 1e11, "bytes": 1e9, "median_ms": 400.0}, roof)
    assert counting["limit"] == "product" and counting["share"] == pytest.approx(0.25)
    assert roofline.placed({"flops": 0, "bytes": 1e9, "median_ms": 10.0}, roof)["share"] == pytest.approx(1.0)


def made_up_session(times, **missing):
    """One in which steps took these times: {(contestant, case): ms}."""
    made = session.Session(session.all_cases(False), 1, False)
    made.missing = missing
    made.results = [
        {**report.result(key, name, [ms]), "part": "steps", "key": key, "precision": "float32"}
        for (name, key), ms in times.items()
    ]
    return made


def test_bars_say_what_was_measured_and_why_something_was_not():
    made = made_up_session(
        {
            ("gpu-captured", "conv-256"): 1.0,
            ("torch-eager", "conv-256"): 1.5,
            ("torch-reduce-overhead", "conv-256"): 0.9,
        },
        **{"gpu-fit": "no GPU"},
    )
    made.left_out.append({"case": "small-32", "contestant": "gpu-captured", "reason": "it was tired"})
    found = {bar["what"]: bar for bar in bars.judged(made, ["float32"])}
    assert len(found) == 11
    eager, reduced = (
        next(bar for what, bar in found.items() if "conv" in what and word in what) for word in ("eager", "overhead")
    )
    assert (eager["measured"], eager["verdict"]) == ("1.50 times as fast", "met")
    assert (reduced["measured"], reduced["verdict"]) == ("0.90 times as fast", "missed")
    dense = next(bar for what, bar in found.items() if what.startswith("784-32-784, batch 32"))
    assert dense["measured"] is None and dense["verdict"] == "not measured: it was tired"
    assert next(bar for what, bar in found.items() if "epoch" in what)["verdict"] == "not measured: no GPU"


@pytest.mark.parametrize(
    "images, ms, verdict", [(60_000, 49.0, "met"), (60_000, 51.0, "missed"), (64, 1.0, "not measured")]
)
def test_the_bar_of_an_epoch_is_for_a_whole_one(images, ms, verdict):
    made = made_up_session({})
    made.results = [{**report.result("epoch", "gpu-fit", [ms]), "part": "epoch", "images": images}]
    assert bars.epoch_bar(made)["verdict"].startswith(verdict)


# ---------------------------------------------------------------- peers and pictures


@pytest.mark.parametrize("name", GPU_PEERS)
def test_a_peer_that_finds_no_gpu_says_so(name, tmp_path):
    torch_or_jax = pytest.importorskip("jax" if name == "jax" else "torch")
    if name != "jax" and torch_or_jax.cuda.is_available() or name == "jax" and torch_or_jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")
    bench = session.GpuBench(name, tmp_path / "images.npy")
    np.save(tmp_path / "images.npy", np.zeros((1, 784), np.float32))
    with pytest.raises(RuntimeError, match="no CUDA device|finds no GPU"):
        bench.use_precision("float32")


def test_every_part_says_whom_it_needs():
    for part in command.PARTS:
        assert any(command.needed(name, [part]) for name in GPU_CONTESTANTS)


@pytest.mark.parametrize("with_gpu", [True, False])
def test_the_picture_is_drawn_from_made_up_numbers(with_gpu, tmp_path, rng):
    pytest.importorskip("matplotlib")
    from benchmarks.gpu.pictures import draw

    roof = {"bandwidth": 100.0, "rate": 1000.0}
    results = [
        {**report.result("small", name, rng.uniform(1, 2, 3)), "part": "steps", "precision": "float32"}
        for name in GPU_CONTESTANTS
        if with_gpu or name in ON_CPU
    ]
    for _, about in crossover.all_cases(False).values():
        for name in (crossover.CPU, crossover.GPU)[: 1 + with_gpu]:
            results.append({**report.result("c", name, rng.uniform(1, 2, 3)), "part": "crossover", **about})
    for one in list(operations.operations(1 << 10)) * with_gpu:
        entry = {**report.result(one.title, "gpu-kernel", rng.uniform(1, 2, 3)), "part": "kernels", "group": one.group,
                 "flops": one.flops, "bytes": one.nbytes, "precision": "float32"}  # fmt: skip
        results.append({**entry, **roofline.placed(entry, roof)})
    made = report.new_report("gpu", {}, {"rounds": 3, "quick": True}, results, roofs={"float32": roof, "tf32": roof},
                             device={"backend": "made-up", "gpu": "none"} if with_gpu else None)  # fmt: skip
    draw(json.loads(json.dumps(made)), str(tmp_path / "gpu.png"))
    assert (tmp_path / "gpu.png").read_bytes().startswith(b"\x89PNG")
