"""The benchmarks run, write what compare reads, and compare tells a change from noise. No time is asserted."""

import copy
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from benchmarks import __main__ as benchmarks
from benchmarks import report
from benchmarks.by_hand import largest_difference, loss_and_gradients, losses_by_hand
from benchmarks.cases import initial_weights
from benchmarks.contestants import CONTESTANTS
from benchmarks.contestants.worker import Bench
from benchmarks.kernel_cases import KERNELS
from tinyae.backend import NUMPY


@pytest.fixture(autouse=True)
def random_numbers(monkeypatch):
    """No MNIST: reading it takes longer than the rest."""
    monkeypatch.delenv("TINYAE_DATA", raising=False)


def made_up(rng, factor=1.0, benchmark="made-up", rounds=7):
    """A report with 20 measurements of 1 ms and 1 % noise; those of the contestant "changed" times a factor."""
    results = [
        report.result(f"case {i}", name, rng.normal(scale, 0.01 * scale, rounds))
        for i in range(10)
        for name, scale in (("changed", factor), ("same", 1.0))
    ]
    return report.new_report(benchmark, {"tinyae": "0"}, {"rounds": rounds}, results)


@pytest.fixture
def files(tmp_path, rng):
    """Write two reports and compare them on the command line: (exit code, output is left to capsys)."""

    def compare(before, after, *options):
        paths = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
        for path, content in zip(paths, (before, after)):
            report.write_report(path, content)
        return benchmarks.main(["compare", *paths, *options])

    return compare


# ---------------------------------------------------------------- the command line


def test_listing_names_every_benchmark():
    root = Path(benchmarks.__file__).parent.parent
    done = subprocess.run([sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=True, cwd=root)
    for name in benchmarks.BENCHMARKS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["pears"], "unknown benchmark 'pears'. Known, nearest first: peers"),
        (["peers", "--only", "tinyae-loop,jaks"], "unknown contestant 'jaks'"),
        (["peers", "--only", ","], "no contestant was given"),
        (["peers", "--cases", "small-33"], "unknown case 'small-33'"),
        (["peers", "--rounds", "0"], "expected an integer >= 1"),
        (["peers", "--json", "no/such/folder/a.json"], "there is no folder no/such/folder"),
        (["peers", "--plot", "a.svg"], "ends in .png"),
        (["overhead", "--json", "."], "it is a folder"),
        (["kernels", "--only", "relu,gelu"], "unknown kernel 'gelu'"),
        (["kernels", "--rounds", "0"], "expected an integer >= 1"),
        (["compare", "no.json", "no.json"], "cannot read no.json"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(arguments, said, capsys):
    assert benchmarks.main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["peers", "--rounds", "x"], ["peers", "--rouds", "3"], ["compare", "a.json"]])
def test_wrong_options_end_with_2(arguments):
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(arguments)
    assert ended.value.code == 2


# ---------------------------------------------------------------- peers


def test_gradients_by_hand_are_those_of_differences(rng):
    params = [rng.normal(size=shape) for shape in ((6, 3), (3,), (3, 6), (6,))]
    x = rng.random((4, 6))
    _, gradients = loss_and_gradients(params, x)
    for p, g in zip(params, gradients):
        for place in np.ndindex(p.shape):
            h, kept = 1e-6, p[place]
            p[place] = kept + h
            above, _ = loss_and_gradients(params, x)
            p[place] = kept - h
            below, _ = loss_and_gradients(params, x)
            p[place] = kept
            assert abs((above - below) / (2 * h) - g[place]) < 1e-8


def test_peers_runs_checks_and_writes(tmp_path, capsys):
    path = tmp_path / "peers.json"
    arguments = ["--quick", "--only", "tinyae-loop,tinyae-fit", "--cases", "small-32,deep-32", "--json", str(path)]
    assert benchmarks.main(["peers", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "random numbers" in printed and "784-32-784, batches of 32" in printed
    made = report.read_report(path)
    assert made["benchmark"] == "peers" and made["settings"]["quick"] is True
    assert len(made["results"]) == 4 and all(len(entry["times_ms"]) == 2 for entry in made["results"])
    assert len(made["agreement"]) == 4 and all(entry["largest_difference"] < 1e-5 for entry in made["agreement"])
    assert made["left_out"] == []


def test_who_computes_something_else_is_not_timed(monkeypatch, capsys):
    from benchmarks import peers

    monkeypatch.setattr(peers, "losses_by_hand", lambda *given: [2 * loss for loss in losses_by_hand(*given)])
    assert benchmarks.main(["peers", "--quick", "--only", "tinyae-loop", "--cases", "small-32"]) == 1
    printed = capsys.readouterr().out
    assert "differ by 5.0e-01" in printed and "nobody is left" in printed


def test_a_framework_that_is_missing_is_left_out(tmp_path, monkeypatch):
    """In this process, and not in a worker's, where an import could not be hidden."""
    np.save(tmp_path / "images.npy", np.zeros((160, 784), np.float32))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.contestants.with_torch", raising=False)
    with pytest.raises(ModuleNotFoundError):
        Bench("torch", tmp_path / "images.npy", 5).prepare("small-32", 5)


def test_a_worker_that_dies_is_reported(tmp_path):
    from benchmarks.contestants import Worker, WorkerFailed

    worker = Worker("tinyae-loop", str(tmp_path), 5)  # there are no images in this folder
    with pytest.raises(WorkerFailed, match="FileNotFoundError"):
        worker.ask("prepare", "small-32", 5)
    worker.process.kill()
    with pytest.raises(WorkerFailed, match="its process ended"):
        worker.ask("prepare", "small-32", 5)
    worker.close()
    assert not worker.process.is_alive()


def test_a_loss_that_is_not_a_number_is_no_agreement():
    assert largest_difference([1.0, float("nan")], [1.0, 1.0]) == float("inf")


@pytest.mark.parametrize("name", [name for name, entry in CONTESTANTS.items() if entry.module == "with_torch"])
def test_torch_takes_part_where_it_is_installed(name, tmp_path):
    pytest.importorskip("torch")
    images = np.random.default_rng(0).random((160, 784), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    losses = Bench(name, tmp_path / "images.npy", 5).prepare("small-32", 5)
    by_hand = losses_by_hand(initial_weights((784, 32, 784)), images.reshape(5, 32, 784))
    assert largest_difference(losses, by_hand) < 1e-5


# ---------------------------------------------------------------- overhead


def test_overhead_writes_what_compare_reads(tmp_path, capsys):
    path = str(tmp_path / "overhead.json")
    assert benchmarks.main(["overhead", "--quick", "--json", path]) == 0
    made = report.read_report(path)
    assert {"y + x", "import tinyae"} <= {entry["case"] for entry in made["results"]}
    assert benchmarks.main(["compare", path, path]) == 0
    assert "1.000" in capsys.readouterr().out


# ---------------------------------------------------------------- kernels


@pytest.fixture
def wrong_relu(monkeypatch):
    """A kernel for relu that is off by a thousandth."""
    from tinyae import ops
    from tinyae.kernels import cpu

    class Wrong(cpu.ReLU):
        @classmethod
        def forward(cls, xp, save, X):
            Y = super().forward(xp, save, X)
            Y *= 1.001
            return Y

    monkeypatch.setitem(cpu.TWINS, ops.ReLU, Wrong)


def test_kernels_runs_checks_and_writes(tmp_path, capsys):
    path = str(tmp_path / "kernels.json")
    options = ["--plot", str(tmp_path / "kernels.png")] if find_spec("matplotlib") else []
    assert benchmarks.main(["kernels", "--quick", "--only", "relu,matmul,adam", "--json", path, *options]) == 0
    printed = capsys.readouterr().out
    assert "give the same in 6 cases" in printed and "NumPy's product" in printed and "adam step" in printed
    made = report.read_report(path)
    assert made["benchmark"] == "kernels" and made["left_out"] == [] and len(made["yardsticks"]) == 6
    assert [entry["contestant"] for entry in made["results"]] == 6 * ["reference", "fast"]
    for entry in made["results"]:
        assert len(entry["times_ms"]) == 2 and entry["rate"] > 0 and entry["machine_rate"] > 0
    assert benchmarks.main(["compare", path, path]) == 0
    assert "1.000" in capsys.readouterr().out
    if options:
        assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")


def test_a_kernel_that_computes_something_else_is_not_timed(wrong_relu, tmp_path, capsys):
    path = str(tmp_path / "kernels.json")
    assert benchmarks.main(["kernels", "--quick", "--only", "relu,tanh", "--json", path]) == 1
    assert "not timed: relu 256x784, forward: its results differ by 1.0e-03" in capsys.readouterr().out
    made = report.read_report(path)
    assert [entry["case"] for entry in made["left_out"]] == ["relu 256x784, forward"]
    cases = {entry["case"] for entry in made["results"]}
    assert cases == {"relu 256x784, backward", "tanh 256x784, forward", "tanh 256x784, backward"}


def test_a_kernel_that_fails_is_reported_and_the_others_are_timed(monkeypatch, capsys):
    from tinyae.kernels import cpu

    monkeypatch.setitem(cpu.TWINS, "philox", lambda *given: 1 / 0)
    assert benchmarks.main(["kernels", "--quick", "--only", "sgd,philox"]) == 1
    printed = capsys.readouterr().out
    assert "ZeroDivisionError" in printed and "sgd step" in printed


def test_all_that_is_wrong_leaves_nothing_to_time(wrong_relu, monkeypatch, tmp_path, capsys):
    from benchmarks import kernels

    monkeypatch.setattr(kernels, "TOLERANCE", -1.0)
    options = ["--plot", str(tmp_path / "no.png")] if find_spec("matplotlib") else []
    assert benchmarks.main(["kernels", "--quick", "--only", "relu", *options]) == 1
    assert "not timed" in capsys.readouterr().out and not (tmp_path / "no.png").exists()


def test_without_a_compiler_there_is_nothing_to_measure(monkeypatch, capsys):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert benchmarks.main(["kernels", "--quick"]) == 2
    assert "NUMBA_DISABLE_JIT is set" in capsys.readouterr().err


@pytest.mark.parametrize("name", KERNELS)
def test_fast_is_a_kernel_and_reference_is_not(name, monkeypatch):
    """Else the benchmark would compare a definition with itself, or the cases no longer fit the kernels."""
    from tinyae.kernels.compiling import Kernel

    called, run = [], Kernel.__call__
    monkeypatch.setattr(Kernel, "__call__", lambda kernel, *given: called.append(kernel.name) or run(kernel, *given))
    for case in KERNELS[name]():
        for which in ("reference", "fast"):
            with ta.use_kernels(which):
                run_it, _ = case.prepare()
                called.clear()
                run_it()
            assert bool(called) == (which == "fast"), (case.title, which)


def test_every_kernel_of_the_cpu_is_measured(monkeypatch):
    """A twin that is added is added here too; two are left out, for their loops are measured as others' are."""
    from tinyae import ops
    from tinyae.kernels import cpu

    asked = []
    monkeypatch.setattr(type(NUMPY), "twin", lambda backend, of: asked.append(of) or cpu.TWINS.get(of))
    for cases in KERNELS.values():
        for case in cases():
            case.prepare()[1]()
    assert set(cpu.TWINS) - set(asked) == {ops.Affine, ta.GradientDescent}


@pytest.mark.parametrize(
    "expected, found, agree",
    [
        ([np.ones(3)], [np.ones(3) + 1e-6], True),
        ([np.ones(3)], [np.array([1, 1, np.nan])], False),
        ([np.ones(3)], [np.ones(4)], False),
        ([np.ones(3)], [np.ones(3, np.float32)], False),
        ([np.zeros(3)], [np.zeros(3)], True),
        ([np.zeros(3)], [np.full(3, 1e-9)], False),
        ([np.arange(3)], [np.arange(3)], True),
        ([np.arange(3)], [np.arange(3) + 1], False),
        (["none"], ["none"], True),
        (["none"], ["one"], False),
        ([], [], False),
    ],
)
def test_results_that_agree(expected, found, agree):
    from benchmarks.kernels import TOLERANCE, largest_difference

    assert (largest_difference(expected, found) <= TOLERANCE) is agree


# ---------------------------------------------------------------- compare


@pytest.mark.parametrize("factor, said", [(1.2, "slower"), (0.8, "faster")])
def test_a_change_beyond_noise_is_found(files, rng, capsys, factor, said):
    assert files(made_up(rng), made_up(rng, factor)) == 0
    lines = [line for line in capsys.readouterr().out.split("\n") if line.startswith("case ")]
    for line in lines[1:]:
        assert line.endswith(said if "changed" in line else "within noise")


def test_noise_is_rarely_reported(rng):
    from benchmarks.compare import compare

    runs = [made_up(rng) for _ in range(21)]
    for run in runs:
        for entry in run["results"]:
            entry["times_ms"] = list(rng.normal(1, 0.1, 7))  # so noisy that medians often differ by more than 3 %
    found = [any(change[4] for change in compare(a, b)) for a, b in zip(runs, runs[1:])]
    assert sum(found) <= 4  # of 20 comparisons 1 is expected


def test_one_slow_round_is_no_change(rng):
    from benchmarks.compare import compare

    before = made_up(rng)
    after = copy.deepcopy(before)
    for entry in after["results"]:
        entry["times_ms"][3] *= 10
    assert not any(change[4] for change in compare(before, after))


def test_few_rounds_cannot_tell(files, rng, capsys):
    assert files(made_up(rng, rounds=3), made_up(rng, 2.0, rounds=3)) == 0
    assert "measure with more --rounds" in capsys.readouterr().out


def test_a_change_of_everything_is_named(files, rng, capsys):
    before, after = made_up(rng), made_up(rng)
    for entry in after["results"]:
        entry["times_ms"] = [1.5 * time for time in entry["times_ms"]]
    files(before, after)
    assert "perhaps the machine did" in capsys.readouterr().out


def test_other_machines_settings_and_versions_are_named(files, rng, capsys):
    before, after = made_up(rng), made_up(rng)
    after["machine"]["cpu"], after["versions"]["tinyae"] = "an abacus", "9"
    after["settings"]["rounds"] = 8
    del after["results"][0]
    assert files(before, after) == 0
    printed = capsys.readouterr().out
    assert "warning, another machine: cpu" in printed and "an abacus" in printed
    assert "rounds was 7, then 8" in printed and "tinyae was 0, then 9" in printed
    assert "in one file only, not compared: case 0: changed" in printed


def test_two_benchmarks_are_not_compared(files, rng, capsys):
    assert files(made_up(rng), made_up(rng, benchmark="another")) == 2
    assert "'made-up', the second of 'another'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "is not JSON"),
        ("[]", "it holds a list"),
        ("{}", "it has no 'benchmark'"),
        ({"results": [{}]}, "result 0 does not name"),
        ({"results": [{"case": "c", "contestant": "d", "times_ms": []}]}, "no list 'times_ms'"),
        ({"results": [{"case": "c", "contestant": "d", "times_ms": [0]}]}, "no list 'times_ms'"),
        ({"results": [{"case": "c", "contestant": "d", "times_ms": ["1"]}]}, "no list 'times_ms'"),
        ({"settings": 3}, "it has no 'settings'"),
    ],
)
def test_files_that_are_no_report_are_refused(tmp_path, rng, capsys, content, said):
    path = tmp_path / "wrong.json"
    text = content if isinstance(content, str) else json.dumps({**made_up(rng), **content})
    path.write_text(text)
    assert benchmarks.main(["compare", str(path), str(path)]) == 2
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- pictures


def test_pictures_are_drawn(files, rng, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.pictures import draw_groups, draw_panels

    results = made_up(rng)["results"]
    draw_panels(
        results[1:], tmp_path / "panels.png", "title", "note", {"changed": "ours", "same": "theirs"}, ["changed"]
    )
    draw_groups(results, tmp_path / "groups.png", "title", "note", log=True)
    assert files(made_up(rng), made_up(rng, 1.3), "--plot", str(tmp_path / "changes.png")) == 0
    for name in ("panels", "groups", "changes"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
