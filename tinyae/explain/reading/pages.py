"""The pages as HTML: a bar with links, the formulas, the two columns, the kernels beside each other, the example."""

import ast
import html

from pygments.lexers import PythonConsoleLexer
from pygments.token import Token

from ... import ops
from .code import span
from .cuda import Piece, cuda_file
from .examples import example_of
from .layout import ROOT, cell, code_of, document, file_address, link_from, listing, side_by_side, title_of
from .linking import about_links, replaced_by
from .placing import letter_of, with_left_side
from .prose import prose, tex
from .rows import comment_html, cuda_rows, file_rows, function_rows, layer_rows, operation_rows, optimizer_rows
from .source import Place, source_file
from .subjects import KINDS, functions_of_operations, places_in, subjects
from .twins import twins_of

AT_ONCE = 2  # kernels of a method that are shown without being asked for
BAR, PARTIAL = tex(r"\bar X"), tex(r"\partial L / \partial X")

# ---------------------------------------------------------------- one page each


def page(subject, home=None):
    """The page of a Subject. ``home``: as in ``document``."""
    make = {"operations": operation_page, "losses": operation_page, "layers": layer_page, "optimizers": optimizer_page}
    body = make.get(subject.kind, file_page)(subject)
    return document(f"{subject.name}: tinyae", body + turn(subject), home=home)


def turn(subject):
    """Links to the pages before and after, of the same kind."""
    same = [other for other in subjects() if other.kind == subject.kind]
    k = same.index(subject)
    before = f'<a href="{ROOT}{same[k - 1].address}">← {same[k - 1].name}</a>' if k else "<span></span>"
    after = f'<a href="{ROOT}{same[k + 1].address}">{same[k + 1].name} →</a>' if k + 1 < len(same) else ""
    return f'<nav class="turn">{before} <a href="{ROOT}index.html">all pages</a> {after}</nav>'


def operation_page(subject):
    """Formula and rules; the class; what it calls; the function that users call; kernels; an example."""
    cls = subject.thing
    rules = "".join(
        f"<span>gradient of {tex(letter_of(key))}</span>{tex(with_left_side(key, rule), True)}"
        for key, rule in cls.vjp.items()
    )
    kind = "loss" if subject.kind == "losses" else "operation"
    parts = [
        f"<h1>{subject.name} <small>{kind}, class {cls.__name__}</small></h1>",
        about_links(subject),
        f'<div class="formulas"><span>formula</span>{tex(cls.formula, True)}{rules}</div>',
        f'<p class="note">{tex("X")} and the like are arrays; {BAR}, in the code <code>gX</code>, is {PARTIAL}: how the loss '
        f"{tex('L')} changes with each element. {letters_of(cls)}</p>",
        read_before(subject),
        f"<h2>The definition</h2><p class='where'>{title_of(subject.place)}</p>",
        side_by_side(subject.place.file, operation_rows(subject, link_from)),
        called_functions(subject),
        *(
            f"<h2>What users call</h2><p class='where'>{title_of(place)}</p>"
            + side_by_side(place.file, function_rows(place, link_from))
            for place, applied in functions_of_operations().items()
            if applied is cls and place.file != "operators.py"
        ),
        beside(subject, ("forward", "backward")),
        example_html(subject),
    ]
    return "\n".join(part for part in parts if part)


def layer_page(subject):
    """The class, with the formulas of the operations it applies; its parents; an example."""
    parents = source_file(subject.place.file).bases(subject.place.name)
    names = {other.place: other for other in subjects() if other.kind == "layers"}
    parts = [
        f"<h1>{subject.name} <small>layer</small></h1>",
        about_links(subject),
        f"<p class='where'>{title_of(subject.place)}</p>",
        side_by_side(subject.place.file, layer_rows(subject, link_from, ROOT)),
    ]
    for place in parents:
        if place in names and names[place].name != "Module":
            parts.append(f"<h2>From its parent, {names[place].name}</h2><p class='where'>{title_of(place)}</p>")
            parts.append(side_by_side(place.file, layer_rows(names[place], link_from, ROOT)))
    return "\n".join([*parts, example_html(subject)])


def optimizer_page(subject):
    """The class, each line of the algorithm beside its line of update; kernels; an example."""
    cls = subject.thing
    lines = "".join(
        f"<span>{html.escape(line.when.replace('_', ' '))}</span>{tex(line.formula, True)}" for line in cls.lines
    )
    parts = [
        f"<h1>{subject.name} <small>optimizer</small></h1>",
        about_links(subject),
        f'<div class="formulas">{lines}</div>' if lines else "",
        f"<h2>The definition</h2><p class='where'>{title_of(subject.place)}</p>",
        side_by_side(subject.place.file, optimizer_rows(subject, link_from)),
        beside(subject, ("update",)),
        example_html(subject),
    ]
    return "\n".join(part for part in parts if part)


def file_page(subject):
    """A whole file; each definition says which operations it computes."""
    file = subject.place.file
    if file.endswith(".py"):
        rows = file_rows(file, link_from, replaced_by)
        intro = introduction(file)
        kernel = "numba" if "/loops/" in file else "kernels" if file.startswith("kernels/") else "definitions"
    else:
        heading, *pieces = cuda_file(file).pieces
        rows, kernel, intro = cuda_rows(pieces, replaced_by), "CUDA C", comment_html(heading.comment)
        if heading.code <= heading.last:  # there is code below the first comment
            rows = cuda_rows([heading, *pieces], replaced_by)
            intro = ""
    return f'<h1>{file} <small>{kernel}</small></h1><div class="intro">{intro}</div>{side_by_side(file, rows)}'


def introduction(file):
    """The docstring of a file."""
    return prose(ast.get_docstring(source_file(file).tree), link_from)


def read_before(subject):
    """The introduction of the file that a class stands in, to be opened."""
    file = subject.place.file
    return f'<details class="intro"><summary>from the top of {file}</summary>{introduction(file)}</details>'


def letters_in(letters):
    """A letter, or those in a tuple of letters or tuples, one after the other."""
    return [letters] if isinstance(letters, str) else [one for part in letters for one in letters_in(part)]


def letters_of(cls):
    """Which letter of the formula is which argument of the code."""
    said = []
    for name, letters in cls.letters.items():
        found = [tex(letter) for letter in letters_in(letters) if letter]
        said.append(f"{', '.join(found)} for {name if ' ' in name else f'<code>{name}</code>'}")
    return f"Other letters: {'; '.join(said)}." if said else ""


def called_functions(subject):
    """The functions beside the operation, in ops/ and losses.py, that its class calls, and those that they call."""
    found, waiting = {}, [subject.place]
    while waiting:
        place = waiting.pop(0)
        source = source_file(place.file)
        for used in places_in(source, source.node(place.name)):
            inside = used.file.startswith("ops/") or used.file == "losses.py"
            inside = inside and used.name in source_file(used.file).top and used.name.islower()
            if inside and used not in found and used.name != "op" and not used.name.startswith(("check_", "require_")):
                found[used] = None
                waiting.append(used)
    if not found:
        return ""
    return "<h2>What it calls</h2>" + "".join(
        f"<p class='where'>{title_of(place)}</p>{side_by_side(place.file, function_rows(place, link_from))}"
        for place in found
    )


def beside(subject, methods):
    """Definition, numba and CUDA in columns, a row for each method."""
    twins = twins_of(subject.thing)
    if not twins:
        return (
            "<h2>Kernels</h2><p class='note'>There is none: on every backend it runs as it is defined.</p>"
            if issubclass(subject.thing, ops.Op)
            else ""
        )
    missing = [name for name in ("numba", "CUDA") if name not in twins]
    words = f" There is none for {' or '.join(missing)}: there the definition runs." if missing else ""
    body = [
        "<h2>The same, as kernels</h2><p class='note'>The definition in array language, and what computes it "
        f"on a processor (loops, compiled by numba) and on a GPU (CUDA C).{words}</p>"
    ]
    for name in methods:
        cells = [cell("definition", code_of(Place(subject.place.file, f"{subject.place.name}.{name}")))]
        for backend, label in (("numba", "numba"), ("CUDA", "CUDA C")):
            if backend in twins:
                cells.append(cell(label, kernels_html(twins[backend][name])))
        body.append(f'<h3>{name}</h3><div class="beside" style="--columns:{len(cells)}">{"".join(cells)}</div>')
    return "\n".join(body)


def kernels_html(twin):
    """The kernels of a twin, and where they are launched."""
    launched = f'<p class="note">called by {title_of(twin.method)}</p>'
    if not twin.kernels:
        return launched + code_of(twin.method) + '<p class="note">Forward has computed it already.</p>'
    made = []
    for kernel in twin.kernels:
        if isinstance(kernel, Piece):
            address = f"{ROOT}{file_address(kernel.file, kernel.names[0])}"
            caption = f'<a href="{address}">{kernel.file}, lines {kernel.first} to {kernel.last}</a>'
            lines = listing(kernel.file).lines_between(kernel.first, kernel.last)
            made.append(f'<p class="note">{caption}</p><pre class="code">{lines}</pre>')
        else:
            made.append(code_of(kernel))
    shown, more = made[:AT_ONCE], made[AT_ONCE:]
    further = f'<details class="more"><summary>{len(more)} further</summary>{"".join(more)}</details>' if more else ""
    return launched + "".join(shown) + further


# ---------------------------------------------------------------- the example, the index


def example_html(subject):
    """The example, coloured."""
    example = example_of(subject)
    if example is None:
        return ""
    text = ">>> import numpy as np, tinyae as ta\n" + example.text()
    made = "".join(
        f'<span class="o">{html.escape(piece)}</span>' if token is Token.Generic.Output else span(token, piece, None)
        for token, piece in PythonConsoleLexer().get_tokens(text)
    )
    by_hand = "".join(tex(latex, True) for latex in example.by_hand)
    if by_hand:
        by_hand = f'<p class="note">The first element of each, by hand:</p><div class="formulas one">{by_hand}</div>'
    note = "Computed when this page was made, from random numbers with one decimal."
    return f'<h2>An example</h2><p class="note">{note}</p><pre class="example">{made}</pre>{by_hand}'


def index_page(home=None):
    """All pages, by kind. ``home``: as in ``document``."""
    body = [
        "<h1>tinyae, read beside its formulas</h1>",
        "<p class='note'>Each page has formulas and prose on the left, and on the right the source that computes them, "
        "line beside line. Everything is taken from the code when the pages are made.</p>",
    ]
    for kind, title in KINDS.items():
        own = [subject for subject in subjects() if subject.kind == kind]
        made = name_list(own) if own[0].thing is None else cards(own)
        body.append(f'<h2 id="{kind}">{title}</h2>{made}')
    return document("tinyae, read beside its formulas", "\n".join(body), "", home)


def cards(those):
    """Classes, with a formula or their first sentence."""
    made = []
    for subject in those:
        formula = getattr(subject.thing, "formula", "")
        first = (subject.thing.__doc__ or "").strip().split("\n\n")[0]
        said = tex(formula) if formula else prose(first)
        made.append(f'<li><a href="{subject.address}">{subject.name}</a>{said}</li>')
    return f'<ul class="cards">{"".join(made)}</ul>'


def name_list(those):
    """Files, by name."""
    links = (f'<li><a href="{subject.address}">{subject.name}</a></li>' for subject in those)
    return f'<ul class="names">{"".join(links)}</ul>'
