"""The benchmark of kernels: what is right is timed, beside PyTorch where that is installed. No time is asserted."""

from importlib.util import find_spec

import numpy as np
import pytest

import tinyae as ta
from benchmarks import __main__ as benchmarks
from benchmarks import conv_blocks, kernel_cases, kernels, report
from benchmarks.contestants import WorkerFailed
from benchmarks.contestants.torch_kernels import TorchKernels
from benchmarks.kernel_cases import KERNELS
from tinyae import ops
from tinyae.backend import NUMPY

IMAGES = {"conv": ops.ConvBlock, "conv-block": ops.ConvBlock, "pool": ops.MaxPool2D, "upsample": ops.UpsampleNearest}


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """The sizes of the benchmark would take long."""
    monkeypatch.setattr(conv_blocks, "BATCH", 16)
    monkeypatch.setattr(conv_blocks, "SMALL_BATCH", 8)


class Peer:
    """PyTorch's worker as it would be if it computed what tinyae's definitions do, times a factor."""

    def __init__(self, factor=1.0, error=None):
        self.factor, self.error = factor, error

    def ask(self, question, *arguments):
        return getattr(self, question)(*arguments)

    def about(self):
        return {"version": "0", "threads": "1"}

    def prepare(self, what, part):
        with ta.use_kernels("reference"):
            _, results = kernel_cases.conv_block(what, part)
            return [np.float32(self.factor) * array for array in results()]

    def time(self, calls, warm_up):
        if self.error:
            raise WorkerFailed(self.error)
        return 0.5

    def cpu_seconds(self):
        return 0.0


@pytest.fixture
def wrong_relu(monkeypatch):
    """A kernel for relu that is off by a thousandth."""
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
    from tinyae.kernels import cpu
    from tinyae.kernels.compiling import Kernel

    if name in IMAGES and IMAGES[name] not in cpu.TWINS:
        pytest.skip("there is no kernel for it: it runs as it is defined")
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
    assert (kernels.largest_difference(expected, found) <= kernels.TOLERANCE) is agree


# ---------------------------------------------------------------- convolutions, and PyTorch beside them


def test_convolutions_are_measured_beside_a_peer(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kernels, "start_peer", lambda stack: Peer())
    path = str(tmp_path / "kernels.json")
    options = ["--plot", str(tmp_path / "kernels.png")] if find_spec("matplotlib") else []
    assert benchmarks.main(["kernels", "--quick", "--only", "conv,relu", "--json", path, *options]) == 0
    printed = capsys.readouterr().out
    assert "Convolutions: microseconds, and GFLOP/s" in printed and "as PyTorch" in printed
    made = report.read_report(path)
    for case in [entry for entry in made["results"] if entry["contestant"] == "torch"]:
        assert case["times_ms"] == [0.5, 0.5] and case["section"] == "Convolutions"
    cases = {entry["case"] for entry in made["results"]}
    assert {
        f"conv 32-32 at 14x14, batch 16, {part}" for part in ("forward", "data gradient", "weight gradient")
    } < cases
    assert not any("1-32" in case and "data gradient" in case for case in cases)  # nobody asks for that of the images
    assert sum(entry["contestant"] == "torch" for entry in made["results"]) == len(cases) - 2  # all but relu's
    if options:
        assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")
    assert benchmarks.main(["compare", path, path]) == 0


def test_a_peer_that_computes_something_else_is_not_timed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kernels, "start_peer", lambda stack: Peer(1.001))
    path = str(tmp_path / "kernels.json")
    assert benchmarks.main(["kernels", "--quick", "--only", "conv", "--json", path]) == 1
    assert "forward: torch: its results differ by 1.0e-03" in capsys.readouterr().out
    made = report.read_report(path)
    assert {entry["contestant"] for entry in made["results"]} == {"reference", "fast"} and made["left_out"]


def test_a_peer_that_fails_on_the_way_is_left_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kernels, "start_peer", lambda stack: Peer(error="out of memory"))
    path = str(tmp_path / "kernels.json")
    assert benchmarks.main(["kernels", "--quick", "--only", "conv", "--json", path]) == 1
    assert "torch: out of memory" in capsys.readouterr().out
    assert {entry["contestant"] for entry in report.read_report(path)["results"]} == {"reference", "fast"}


def test_without_the_peer_the_kernels_are_measured(monkeypatch, capsys):
    monkeypatch.setattr(TorchKernels, "about", None)  # pickled by its name: the worker's own is as it was
    monkeypatch.setattr(
        kernels.Worker, "ask", lambda *given: (_ for _ in ()).throw(WorkerFailed("torch is not installed"))
    )
    assert benchmarks.main(["kernels", "--quick", "--only", "upsample"]) == 0
    printed = capsys.readouterr().out
    assert "left out: torch: torch is not installed" in printed and "upsampling to 28x28x32" in printed


@pytest.mark.parametrize("name", IMAGES)
def test_torch_computes_the_same_where_it_is_installed(name):
    pytest.importorskip("torch")
    peer = TorchKernels()
    for case in KERNELS[name]():
        with ta.use_kernels("reference"):
            _, results = case.prepare()
            expected = results()
        assert kernels.largest_difference(expected, peer.prepare(*case.peer)) < 1e-5, case.title
        assert peer.time(1, 1) > 0


def test_the_work_of_a_convolution_is_that_of_its_definition():
    block = conv_blocks.Block(14, 32, 32, upsample=2)
    X, W, b = block.arrays()
    assert X.shape == (16, 7, 7, 32) and W.shape == (3, 3, 32, 32)
    assert block.work == 16 * 14 * 14 * 32 * (9 * 32) * 2  # outputs times what each sums up


def test_columns_of_a_picture():
    pytest.importorskip("matplotlib")
    from benchmarks.pictures import in_columns

    assert in_columns({"a": 3}) == [{"a": 3}]
    assert in_columns({"a": 3, "b": 9}) == [{"a": 3}, {"b": 9}]
    assert in_columns({"a": 19, "b": 26, "c": 8, "d": 22}) == [{"a": 19, "d": 22}, {"b": 26, "c": 8}]
