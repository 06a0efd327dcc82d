"""The benchmarks run, write what compare reads, and compare tells a change from noise. No time is asserted."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import report


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
        (["scaling", "--only", "tinyae-loop,torch"], "unknown contestant 'torch'"),
        (["scaling", "--rounds", "0"], "expected an integer >= 1"),
        (["start", "--cases", "conv-33"], "unknown case 'conv-33'"),
        (["memory", "--rounds", "0"], "memory: --rounds"),
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


# ---------------------------------------------------------------- overhead


def test_overhead_writes_what_compare_reads(tmp_path, capsys):
    path = str(tmp_path / "overhead.json")
    assert benchmarks.main(["overhead", "--quick", "--json", path]) == 0
    made = report.read_report(path)
    assert {"y + x", "import tinyae"} <= {entry["case"] for entry in made["results"]}
    assert benchmarks.main(["compare", path, path]) == 0
    assert "1.000" in capsys.readouterr().out


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
