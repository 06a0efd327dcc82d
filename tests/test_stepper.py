"""tape.html(), tape.save(), tape.text() and tinyae explain: the numbers, and that a page needs nothing else. No browser."""

import hashlib
import html
import json
import re
import time

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import FileWriteError, RangeError
from tinyae.explain import example
from tinyae.explain.formulas.plain import plain
from tinyae.explain.stepper import contents, page, text
from tinyae.ops.op import OPERATIONS

from .conftest import tinyae
from .stepped import data_of, images, meeting, page_data, values_of


def numbers_in(entry):
    """The embedded numbers of a value as an array of its own type."""
    return np.array([float(x) for x in entry["numbers"]]).astype(entry["dtype"]).reshape(entry["shape"])


def embedded(told, values):
    """The values of a step as the page has them, in the order of ``values_of``."""
    if told["phase"] == "forward":
        places = [*(one["value"] for one in told["inputs"]), told["output"]["value"]]
    elif told["phase"] == "update":
        places = [
            place
            for one in told["updates"]
            for place in (
                one["before"],
                *(old for _, old, _ in one["state"]),
                one["gradient"],
                *(now for _, _, now in one["state"]),
                one["after"],
            )
        ]
    else:
        places = [told["gradient"], told["output"]["value"]]
        for pull in told["pulls"]:
            places += [pull["share"]] if pull["before"] is None else [pull["before"], pull["share"], pull["after"]]
    return [values[place] for place in places]


@pytest.mark.parametrize("make", [example.step_by_step, meeting])
def test_the_numbers_in_the_page_are_the_tapes_to_the_bit(make):
    tape = make()
    data = page_data(tape)
    steps = tape.steps()
    assert len(data["steps"]) == len(steps) > 10
    for step, told in zip(steps, data["steps"]):
        assert (told["number"], told["phase"], told["name"]) == (step.number, step.phase, step.name)
        ours = values_of(step)
        theirs = embedded(told, data["values"])
        assert len(ours) == len(theirs)
        for value, entry in zip(ours, theirs):
            got = numbers_in(entry)
            assert got.tobytes() == value.array.tobytes() and entry["label"] == value.label
            assert entry["shape"] == list(value.shape)


def test_where_gradients_meet_the_sum_is_before_plus_share():
    tape = meeting()
    data = page_data(tape)
    pulls = [pull for told in data["steps"] if told["phase"] == "backward" for pull in told["pulls"]]
    met = [pull for pull in pulls if pull["before"] is not None]
    assert {pull["target"] for pull in met} >= {"w", "y"}
    for pull in met:
        before, share, after = (numbers_in(data["values"][pull[name]]) for name in ("before", "share", "after"))
        assert (before + share).tobytes() == after.tobytes()


def test_special_numbers_survive():
    values = [0.1, -0.0, 1e-45, 3.4028235e38, np.nan, np.inf, -np.inf, 1 / 3]
    for dtype in ("float32", "float64"):
        array = np.array(values, dtype)
        got = np.array([float(x) for x in json.loads(json.dumps(contents.exact(array), allow_nan=False))]).astype(dtype)
        assert got.tobytes() == array.tobytes()


def test_the_page_loads_nothing():
    made = example.step_by_step().html()
    outside = re.sub(r'<script type="application/json".*?</script>', "", made, flags=re.DOTALL)
    for pattern in (r"<script[^>]+src", r"<link[^>]+href=\"(?!data:)", r"@import", r"url\((?!data:|#)[^)]", r"sourceMappingURL",
                    r"XMLHttpRequest"):  # fmt: skip
        assert not re.search(pattern, outside), pattern
    assert not any("fetch(" in page.asset(name) for name in page.OWN)
    addresses = set(re.findall(r"https?://[^\s\"'`<>)]+", outside))
    assert all(address.startswith("http://www.w3.org/") for address in addresses), addresses  # names, not places
    assert "default-src 'none'" in made


def test_the_page_names_whose_work_it_contains():
    made = example.step_by_step().html()
    assert "Khan Academy" in made and "Chris Pettitt" in made and made.count("Permission is hereby granted") >= 2


def test_the_bundled_files_are_those_of_their_packages():
    about = json.loads((page.ASSETS / "vendored.json").read_text())
    listed = set()
    for name, package in about.items():
        for file, expected in package["files"].items():
            found = page.ASSETS / name / file
            assert hashlib.sha256(found.read_bytes()).hexdigest() == expected, found
            listed.add(found)
    there = {file for name in about for file in (page.ASSETS / name).rglob("*") if file.is_file()}
    assert there == listed


def test_names_and_programs_cannot_break_out_of_the_page():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        (x * 2.0).sum().backward()  # </script><script>alert(1)</script> <!-- and \u2028 "quotes" & more
    made = page.html(tape, title='</title><b onclick="x">&')
    data = data_of(made)
    assert "</script><script>alert(1)" in json.dumps(data["program"])
    assert made.count("</script>") == made.count("<script") and "<b onclick" not in made
    assert "alert(1)</script>" not in made and made.count("<!--") == example.step_by_step().html().count("<!--")
    framed = tape._repr_html_()
    inner = re.search(r'srcdoc="([^"]*)"', framed)[1]
    assert html.unescape(inner) == tape.html() and 'sandbox="allow-scripts"' in framed


def test_an_empty_tape_says_so():
    with ta.trace() as tape:
        pass
    assert "empty" in tape.text() and page_data(tape)["steps"] == []


def test_the_lines_of_the_program_are_those_around():
    data = page_data(meeting())
    (program,) = data["program"]
    lines = dict(line for part in program["parts"] for line in part)
    places = {tuple(told["place"]) for told in data["steps"]}
    assert program["name"] == "tests/stepped.py" and {lines[line].strip() for _, line in places} >= {
        "y = ta.tanh(w)",
        "loss = (y * y + y * w + w).sum()",
        "optimizer.step()",
    }
    assert lines[min(lines)].startswith("def meeting") and len(lines) < 20


def test_large_arrays_are_summarised():
    tape = images()
    data = page_data(tape)
    large = [entry for entry in data["values"] if np.prod(entry["shape"]) > contents.SMALL]
    assert len(large) > 6 and not any("numbers" in entry for entry in large)
    for entry in large:
        picture = entry["map"]
        assert len(picture["numbers"]) == picture["rows"] * picture["columns"] <= 1024
        assert entry["low"] <= min(picture["numbers"]) and max(picture["numbers"]) <= entry["high"]
    first = tape.steps()[0]
    assert data["values"][data["steps"][0]["output"]["value"]]["high"] == first.output.high
    assert "numbers from" not in tape.text() and "mean" in tape.text()


def test_a_long_tape_stays_small_and_is_quickly_made():
    x = ta.Tensor(np.random.default_rng(0).random((60, 60)), requires_grad=True)
    with ta.trace() as tape:
        y = x
        for _ in range(600):
            y = ta.tanh(y)
        y.sum().backward()
    started = time.perf_counter()
    made = tape.html()
    assert len(made) < contents.BUDGET + 1_500_000 and time.perf_counter() - started < 10
    data = data_of(made)
    assert len(data["steps"]) == tape.kept == 1000 and "operations were seen" in data["note"]


def test_saving_is_whole_or_not_at_all(tmp_path):
    tape = meeting()
    file = tmp_path / "step.html"
    tape.save(file)
    before = file.read_bytes()
    assert before.decode() == tape.html()
    with pytest.raises(RangeError, match="step.html exists.*overwrite=True"):
        tape.save(file)
    with pytest.raises(RangeError, match="is a folder"):
        tape.save(tmp_path)
    with pytest.raises(FileWriteError, match="no folder"):
        tape.save(tmp_path / "missing" / "step.html")
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["step.html"]
    tape.save(file, overwrite=True)


# ---------------------------------------------------------------- text


def test_the_text_has_every_step_with_its_numbers():
    tape = example.step_by_step()
    said = tape.text()
    for step in tape.steps():
        assert f"Step {step.number} · {step.phase} · {step.name}" in said
        assert f"example.py:{step.line}: {step.code.strip()}" in said
        for value in values_of(step):
            for number in value.array.ravel():
                assert text.rounded(number) in said
    assert "Ȳ Wᵀ" in said and "before + share" in said and "θ ← θ - η g" in said and "η = 0.5" in said


def test_a_second_backward_pass_adds_to_grad():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        (x * 3.0).sum().backward()
        (x * x).sum().backward()
    said = tape.text().split("\n\n")[-1]
    assert "share, 2 float32: [2, 4]" in said and "before, 2 float32: [3, 3]" in said and "[5, 7]" in said
    last = page_data(tape)["steps"][-1]
    assert last["title"] == "add to .grad" and last["gradient"] is None and "earlier backward pass" in last["sentence"]


def test_an_input_that_was_stretched_is_said_to_be():
    x, b = (ta.Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in ((2, 3), (3,)))
    with ta.trace() as tape:
        (x + b).sum().backward()
    (pull_x, pull_b) = page_data(tape)["steps"][-1]["pulls"]
    assert pull_x["remark"] == "" and "b was stretched from shape (3,) to (2, 3)" in pull_b["remark"]
    assert pull_b["remark"] in tape.text()


@pytest.mark.parametrize(("reduction", "said"), [("mean", "divided by"), ("sum", "L̄ itself"), ("none", "same place")])
def test_the_gradient_of_a_losss_terms_is_explained(reduction, said):
    p = ta.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with ta.trace() as tape:
        ta.mse_loss(p, np.zeros((2, 3), np.float32), reduction=reduction).sum().backward()
    (pull,) = page_data(tape)["steps"][-1]["pulls"]
    assert r"\bar E" in pull["rule"] and said in pull["remark"] and pull["remark"] in tape.text()


def test_settings_that_are_in_no_line_are_not_told():
    tape = example.step_by_step()
    assert "\\lambda" not in json.dumps(page_data(tape)["steps"][-1]["settings"])
    w = ta.Tensor(np.ones(2, np.float32), requires_grad=True)
    for decay in (0, 0.25):
        optimizer = ta.Adam([w], weight_decay=decay)
        with ta.trace() as tape:
            (w * w).sum().backward()
            optimizer.step()
        assert ("λ = 0" in tape.text()) == (decay > 0) and "β₁ = 0.9" in tape.text()


@pytest.mark.parametrize("name", ["step", "step.png", "-"])
def test_a_page_is_called_one(name, tmp_path):
    with pytest.raises(RangeError, match=r"ends in .*expected a page, such as FILE\.html"):
        example.step_by_step().save(tmp_path / name)
    with pytest.raises(RangeError, match=r"explain: .* ends in .*expected a page"):
        runs.explain(out=str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_what_would_be_ignored_is_refused(tmp_path):
    with pytest.raises(RangeError, match="--examples is for recipes"):
        runs.explain(examples=3, text=True)
    with pytest.raises(RangeError, match="Give one of them"):
        runs.explain(text=True, out=str(tmp_path / "step.html"))


def test_not_finite_numbers_are_shown_as_what_they_are():
    x = ta.Tensor([0.0, -1.0, 2.0], requires_grad=True)
    with np.errstate(all="ignore"), ta.trace() as tape:
        x.log().sum().backward()
    data = page_data(tape)
    output = data["values"][data["steps"][0]["output"]["value"]]
    assert output["numbers"][:2] == ["-Infinity", "NaN"] and (output["nans"], output["infinities"]) == (1, 1)
    assert data["steps"][0]["elements"][0].endswith(r"-\infty") and "-inf" in tape.text() and "nan" in tape.text()


def test_formulas_in_plain_text():
    assert plain(r"Y = \frac{1}{1 + e^{-X}}") == "Y = 1 / (1 + e^(-X))"
    assert plain(r"\bar Y W^\top") == "Ȳ Wᵀ"
    assert plain(r"\hat m = \frac{m}{1 - \beta_1^t}, \quad s") == "m̂ = m / (1 - β₁^t),   s"
    for operation in OPERATIONS.values():
        for latex in (operation.formula, *operation.vjp.values()):
            assert "\\" not in plain(latex) and "{" not in plain(latex).replace("{ ", ""), latex


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(monkeypatch, capsys, here):
    """Runs a line of the command line."""
    pytest.importorskip("click", reason="the command line needs click")
    return lambda line: tinyae(line, monkeypatch, capsys)


def test_explain_writes_a_small_page(command, tmp_path):
    code, result, out, _ = command("explain --out page.html --json")
    made = (tmp_path / "page.html").read_text()
    assert code == 0 and result["bytes"] == len(made.encode()) < 1_500_000 and "page.html" in out
    shapes = [entry["shape"] for entry in data_of(made)["values"] if entry["kind"] == "leaf"]
    assert [2, 3] in shapes and [3, 1] in shapes and result["steps"] == len(data_of(made)["steps"])


def test_explain_refuses(command, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    code, _, _, err = command("explain --out page.html")
    assert code == 2 and "page.html exists" in err and "--overwrite" in err
    assert (tmp_path / "page.html").read_text() == "mine"
    assert command("explain --out page.html --overwrite")[0] == 0
    for line, said in [
        ("explain digist --out a.html", "digits"),
        ("explain --seed -1 --out a.html", "seed"),
        ("explain digits --examples 0 --out a.html", "examples"),
        ("explain --out .", "a folder"),
    ]:
        code, _, _, err = command(line)
        assert code == 2 and said in err, line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html"]


def test_explain_as_text(command, tmp_path):
    code, _, out, _ = command("explain --text --seed 3")
    assert code == 0 and out.startswith("Step 1 · forward") and not list(tmp_path.iterdir())
    assert command("explain --text --seed 4")[2] != out == command("explain --text --seed 3 -q")[2]


@pytest.mark.parametrize("recipe", ["digits", "vae-digits", "conv-digits"])
def test_a_recipes_step_is_explained(recipe, tmp_path):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    result = runs.explain(recipe, out=tmp_path / "page.html", examples=2)
    data = data_of((tmp_path / "page.html").read_text())
    phases = {told["phase"] for told in data["steps"]}
    assert phases == {"forward", "backward", "update"} and result["bytes"] < 8_000_000
    assert any(told["layer"].startswith("decoder.") for told in data["steps"])
    assert data["program"][0]["name"] == "explain/example_recipe.py"
