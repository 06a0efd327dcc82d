"""`tinyae read`: every operation, layer, loss and optimizer has its page, and each formula stands beside its code."""

import ast
import contextlib
import doctest
import re
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import tinyae as ta
from tinyae import losses, nn, optim
from tinyae.errors import RangeError
from tinyae.ops import OPERATIONS

pytest.importorskip("docutils", reason="tinyae read needs docutils (extra docs)")
pytest.importorskip("pygments", reason="tinyae read needs Pygments (extra docs)")

from tinyae.explain.reading import write_pages  # noqa: E402
from tinyae.explain.reading.examples import example_of  # noqa: E402
from tinyae.explain.reading.placing import place_formulas, place_lines  # noqa: E402
from tinyae.explain.reading.rows import layer_rows, operation_rows, optimizer_rows  # noqa: E402
from tinyae.explain.reading.source import source_file  # noqa: E402
from tinyae.explain.reading.subjects import operations, subjects  # noqa: E402
from tinyae.explain.reading.twins import twins_of  # noqa: E402

SUBJECTS = {subject.address: subject for subject in subjects()}
OPERATION_PAGES = [s for s in subjects() if s.kind in ("operations", "losses")]
OPTIMIZER_PAGES = [s for s in subjects() if s.kind == "optimizers"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("reading") / "pages"
    write_pages(out)
    return out


class Links(HTMLParser):
    """What a page refers to, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.anchors.add(value)
            elif name in ("href", "src"):
                (self.links if tag == "a" else self.loads).append(value)


def test_every_operation_layer_loss_and_optimizer_has_its_page(pages):
    for name in OPERATIONS:
        kind = "losses" if OPERATIONS[name].__module__ == losses.__name__ else "operations"
        assert (pages / kind / f"{name}.html").is_file()
    assert (pages / "operations" / "straight_through.html").is_file()  # an operation of a model
    for name in nn.__all__:
        assert (pages / "layers" / f"{name}.html").is_file()
    for cls in optim.OPTIMIZERS.values():
        assert (pages / "optimizers" / f"{cls.__name__}.html").is_file()
    for path in [
        *Path(ta.__file__).parent.glob("kernels/loops/*.py"),
        *Path(ta.__file__).parent.glob("kernels/cuda/*.cu*"),
    ]:
        name = f"{'loops' if path.suffix == '.py' else 'cuda'}-{path.stem}.html"
        assert path.stem == "__init__" or (pages / "kernels" / name).is_file(), path


def test_links_lead_somewhere_and_nothing_is_loaded_from_a_network(pages):
    found = {path: Links(path.read_text()) for path in pages.rglob("*.html")}
    for path, links in found.items():
        for link in links.loads:
            assert not re.match(r"\w+:|//", link) and (path.parent / link).is_file(), f"{path}: {link}"
        for link in links.links:
            assert not re.match(r"(?!https?:)\w+:|//", link), f"{path}: {link}"
            if re.match("https?:", link):
                continue
            target, _, anchor = link.partition("#")
            other = (path.parent / unquote(target)).resolve() if target else path
            assert other in found, f"{path}: {link}"
            assert not anchor or unquote(anchor) in found[other].anchors, f"{path}: {link}"
    for path in [*pages.rglob("*.css"), *pages.rglob("*.js")]:
        text = path.read_text()
        assert not re.search(r"@import|url\(['\"]?(https?:|//)", text), path
    fonts = re.findall(r"url\((fonts/[^)]*woff2)\)", (pages / "assets/katex/katex.min.css").read_text())
    assert sum((pages / "assets/katex" / font).is_file() for font in fonts) >= 8  # those that our formulas need


def test_links_go_both_ways(pages):
    def between(a, b):
        one, other = (Links((pages / path).read_text()).links for path in (a, b))
        assert any(link.split("#")[0] == f"../{b}" for link in one), f"{a} has no link to {b}"
        assert any(link.split("#")[0] == f"../{a}" for link in other), f"{b} has no link to {a}"

    between("operations/affine.html", "layers/Dense.html")
    between("operations/affine.html", "kernels/loops-dense.html")
    between("operations/affine.html", "kernels/cuda-dense.html")
    between("operations/affine.html", "kernels/cpu.html")
    between("optimizers/Adam.html", "kernels/cuda-updates.html")
    between("losses/mse_loss.html", "kernels/loops-losses.html")
    index = Links((pages / "index.html").read_text()).links
    assert set(SUBJECTS) <= set(index)


# ---------------------------------------------------------------- each formula beside its code


@pytest.mark.parametrize("subject", OPERATION_PAGES, ids=lambda subject: subject.name)
def test_every_formula_and_rule_has_a_row_and_every_line_is_shown_once(subject):
    rows = operation_rows(subject, None)
    placed = [rule for row in rows for rule in row.rules]
    assert set(placed) == {"formula", *subject.thing.vjp} and placed.count("formula") >= 1
    source = source_file(subject.place.file)
    node = source.node(subject.place.name)
    shown = [line for row in rows for line in range(row.first, row.last + 1)]
    assert shown == list(range(source.first_line(node), node.end_lineno + 1))


@pytest.mark.parametrize("subject", OPERATION_PAGES, ids=lambda subject: subject.name)
def test_without_the_statement_beside_a_rule_that_gradient_is_lost(subject, monkeypatch):
    """The row is the code that computes it: without its lines the gradient is another one, or there is none."""
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **rest: np.full(shape, np.nan, dtype))  # not chance
    source, cls = source_file(subject.place.file), subject.thing
    node = source.node(subject.place.name)
    output, gradients = what_the_example_prints(subject, cls)
    keys = [
        key for key, rule in cls.vjp.items() if rule != "0"
    ]  # of the codebook in straight_through nothing is computed
    assert output and len(gradients) >= len(keys)
    for placed in place_formulas(source, node, cls.formula, cls.vjp):
        if placed.what not in ("formula", *keys):
            continue
        try:
            other, found = what_the_example_prints(subject, cut_out(source, node, placed.first, placed.last))
        except Exception:
            continue  # nothing comes out at all
        if placed.what == "formula":
            assert other != output, placed
        else:
            k = keys.index(placed.what)
            assert found[k : k + 1] != gradients[k : k + 1], placed


def cut_out(source, node, first, last):
    """The operation's class with ``None`` for these lines."""
    lines = source.lines[node.lineno : node.end_lineno + 1]
    lines[first - node.lineno] = re.match(r"\s*", lines[first - node.lineno]).group() + "None"
    for n in range(first + 1, last + 1):
        lines[n - node.lineno] = ""
    names = dict(vars(sys.modules["tinyae." + source.file.removesuffix(".py").replace("/", ".")]))
    names["Op"] = object  # no operation of the package: only its methods are wanted
    exec(compile("\n".join(lines), "<cut>", "exec"), names)
    return names[node.name]


def what_the_example_prints(subject, cls):
    """(output, gradients) of the page's example, as text, with forward and backward of this class."""
    original = subject.thing
    methods = {name: vars(original)[name] for name in ("forward", "backward")}
    try:
        for name in methods:
            setattr(original, name, vars(cls)[name])
        with ta.use_kernels("reference"), np.errstate(all="ignore"):
            lines = example_of(subject).lines
    finally:
        for name, method in methods.items():
            setattr(original, name, method)
    gradients = [printed for line, printed in lines if ".grad" in line]
    return [printed for line, printed in lines if printed and ".grad" not in line], gradients


def test_an_operation_without_a_formula_is_refused_and_there_is_none():
    assert all(cls.formula and cls.vjp for cls in operations()) and len(operations()) == len(OPERATION_PAGES) >= 50
    source = source_file("ops/linear.py")
    with pytest.raises(LookupError, match="without a formula"):
        place_formulas(source, source.node("Affine"), "", {"X": "1"})
    with pytest.raises(LookupError, match="without a rule"):
        place_formulas(source, source.node("Affine"), "Y = X", {})


def test_where_rules_stand():
    def beside(name, rule):
        subject = next(s for s in OPERATION_PAGES if s.name == name)
        source = source_file(subject.place.file)
        return next(
            "\n".join(source.lines[row.first : row.last + 1]).strip()
            for row in operation_rows(subject, None)
            if rule in row.rules
        )

    assert beside("affine", "formula") == "return X @ W + b"
    assert beside("affine", "W") == "gW = X.T @ gY"
    assert beside("conv2d", "W").startswith("gW += flat(P).T @ flat(gY[n])")
    assert beside("batch_norm", "X").startswith("gX = gamma * inverse")
    assert beside("concatenate", "X_l").startswith("gradients.append(")
    assert beside("dense", "formula").startswith(
        "Y = Affine.forward("
    )  # the second part, Z; the first is in the next row
    assert beside("dense", "W_l").startswith("gY, gW, gb = Affine.backward(")


@pytest.mark.parametrize("subject", OPTIMIZER_PAGES, ids=lambda subject: subject.name)
def test_every_line_of_an_algorithm_stands_beside_its_line_of_update(subject):
    cls = subject.thing
    rows = optimizer_rows(subject, None)
    source = source_file(subject.place.file)
    assert [latex for row in rows for latex in row.rules] == [line.formula for line in cls.lines]
    if not cls.lines:
        assert cls is optim.LBFGS
        return
    node = source.node(cls.__name__)
    statements = [
        part
        for part in ast.walk(source.node(f"{cls.__name__}.update"))
        if isinstance(part, (ast.Assign, ast.AugAssign))
    ]
    beside = {placed.first for placed in place_lines(source, node, cls.lines)}
    assert beside == {part.lineno for part in statements} - {
        part.lineno
        for part in statements
        if "self." in ast.unparse(part)
        and isinstance(part.targets[0] if isinstance(part, ast.Assign) else None, ast.Tuple)
    }  # all but the unpacking of settings


def test_a_layer_shows_the_formula_of_what_it_applies():
    (dense,) = [s for s in subjects() if s.address == "layers/Dense.html"]
    source = source_file("nn/layers.py")
    beside = {
        "\n".join(source.lines[row.first : row.last + 1]).strip(): row.left
        for row in layer_rows(dense, None, "../")
        if row.left
    }
    (left,) = [left for text, left in beside.items() if text.startswith("return F.matmul(x, self.weight)")]
    assert "Y = X W + b" in left and "operations/affine.html" in left and "operations/matmul.html" in left


# ---------------------------------------------------------------- kernels, examples


def test_every_twin_is_shown_with_the_kernel_that_computes_it(pages):
    from tinyae.kernels import cpu, gpu

    for subject in [*OPERATION_PAGES, *OPTIMIZER_PAGES]:
        found, text = twins_of(subject.thing), (pages / subject.address).read_text()
        assert ("numba" in found) == (subject.thing in cpu.TWINS) and ("CUDA" in found) == (subject.thing in gpu.TWINS)
        for backend, methods in found.items():
            assert any(twin.kernels for twin in methods.values()), f"{subject.name}: no kernel for {backend}"
            assert f"<h4>{'CUDA C' if backend == 'CUDA' else 'numba'}</h4>" in text
    adam = (pages / "optimizers" / "Adam.html").read_text()
    plain = re.sub(r"<[^>]+>", "", adam)
    assert "def adam(places, rows, widths, c, parts):" in plain and "struct Adam {" in plain


@pytest.mark.parametrize("address", [address for address, s in SUBJECTS.items() if s.thing is not None])
def test_the_example_is_what_python_prints(address):
    subject = SUBJECTS[address]
    example = example_of(subject)
    if example is None:
        assert subject.name in ("Module", "Pooling", "Convolution", "Noise")  # parents
        return
    ta.manual_seed(0)
    text = re.sub(r"\n(?=\n)", "\n<BLANKLINE>", example.text()) + "\n"
    test = doctest.DocTestParser().get_doctest(text, {"ta": ta, "np": np}, subject.name, None, 0)
    with np.printoptions(precision=4, suppress=True):
        failed = doctest.DocTestRunner(verbose=False).run(test).failed
    assert failed == 0
    assert any(printed for _, printed in example.lines)


def test_the_first_elements_by_hand_are_those_that_python_prints():
    examples = {s.name: example_of(s) for s in OPERATION_PAGES}
    said = {name: example.by_hand for name, example in examples.items()}
    assert said["affine"][0] == r"Y_{00} = 2 \cdot (-2) + (-2.6) \cdot (-0.9) + 0.4 \cdot 0.2 + (-0.3) = -1.88"
    assert sum(len(by_hand) >= 2 for by_hand in said.values()) >= 35
    for name, example in examples.items():
        printed = " ".join(text for _, text in example.lines)
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", printed)]
        for latex in said[name]:
            value = latex.rpartition("=")[2]
            value = float(re.sub(r"\\times 10\^\{(-?\d+)\}", r"e\1", value).replace(" ", ""))
            assert any(abs(value - number) <= 6e-4 * abs(value) + 6e-5 for number in numbers), latex


# ---------------------------------------------------------------- bad input


def test_a_folder_is_replaced_only_if_asked_and_only_if_it_holds_such_pages(tmp_path, monkeypatch):
    out = tmp_path / "pages"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(RangeError, match="not empty.*--overwrite"):
        write_pages(out)
    with pytest.raises(RangeError, match="something else"):
        write_pages(out, overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"
    (out / "assets").mkdir()
    (out / "assets/reading.css").write_text("such pages, and a file of one's own beside them")
    with pytest.raises(RangeError, match=r"'mine\.txt' beside.*would delete it"):
        write_pages(out, overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"
    with pytest.raises(RangeError, match="is a file"):
        write_pages(out / "mine.txt")


def test_pages_are_written_whole_or_not_at_all(pages, tmp_path, monkeypatch):
    from tinyae.explain.reading import pages as module

    before = (pages / "index.html").read_text()
    made = []

    def fails(subject, home):
        made.append(subject)
        if len(made) == 3:
            raise OSError(28, "No space left on device")
        return "x"

    monkeypatch.setattr(module, "page", fails)
    with pytest.raises(OSError, match="No space left"):
        write_pages(pages, overwrite=True)
    with pytest.raises(OSError, match="No space left"), contextlib.suppress(RangeError):
        made.clear()
        write_pages(tmp_path / "new")
    assert (pages / "index.html").read_text() == before
    assert list(tmp_path.iterdir()) == [] and [path.name for path in pages.parent.iterdir()] == ["pages"]


def test_the_command(tmp_path, monkeypatch, capsys):
    click = pytest.importorskip("click", reason="the command line needs click (extra all)")
    from tinyae.cli import main
    from tinyae.explain.reading import pages as module

    del click
    monkeypatch.setattr(module, "page", lambda subject, home: f"{subject.name} {home}")
    monkeypatch.setattr(sys, "argv", ["tinyae", "read", "--out", str(tmp_path / "pages")])
    assert main() == 0
    said = capsys.readouterr().out
    assert f"{len(OPERATION_PAGES) - 6} operations, 6 losses" in said and "index.html" in said
    assert main() == 2
    assert "--overwrite" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--overwrite", "--home", "../index.html"])
    assert main() == 0
    assert (tmp_path / "pages/operations/relu.html").read_text() == "relu ../index.html"
    assert 'href="../index.html">back</a>' in (tmp_path / "pages/index.html").read_text()


def test_docstrings_are_rendered():
    from tinyae.explain.reading.prose import prose

    text = textwrap.dedent(
        r"""
        A ``Dense`` layer, :math:`x < y`.

        .. math:: Y = X

        Parameters
        ----------
        lr : float
            The rate.
        """
    )
    made = prose(text, {"Dense": "there.html"}.get)
    assert '<a href="there.html"><code>Dense</code></a>' in made and '<span class="tex">x &lt; y</span>' in made
    assert '<div class="tex display">Y = X</div>' in made and "<h4>Parameters</h4>" in made and "The rate." in made
