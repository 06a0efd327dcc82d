"""What all pages have: the frame, and source as rows of two columns or as it stands, coloured and linked."""

import html
from functools import cache

from .code import Listing, links_in
from .cuda import cuda_file, pieces_by_name
from .source import Place, docstring_lines, source_file
from .subjects import KINDS, address_of, public_names, subjects

ROOT = "../"  # from a page to the folder that is written


def document(title, body, root=ROOT, home=None):
    """A whole page. ``home`` is an address that its bar leads back to, relative to the folder, or None."""
    back = f'<a href="{root}{html.escape(home)}">back</a> ' if home else ""
    kinds = " ".join(f'<a href="{root}index.html#{kind}">{name}</a>' for kind, name in KINDS.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="stylesheet" href="{root}assets/katex/katex.min.css">
<link rel="stylesheet" href="{root}assets/reading.css">
<script src="{root}assets/katex/katex.min.js"></script>
<script src="{root}assets/formulas.js"></script>
<script src="{root}assets/reading.js"></script>
</head>
<body>
<nav class="bar">{back}<b><a href="{root}index.html">tinyae</a></b> {kinds} <button hidden>light / dark</button></nav>
<main>
{body}
</main>
</body>
</html>
"""


def link_from(name):
    """Where a ``name`` in prose leads, seen from a page."""
    address = public_names().get(name)
    return address and ROOT + address


# ---------------------------------------------------------------- source in two columns


@cache
def listing(file):
    """A file of the package, coloured and linked."""
    if file.endswith(".py"):
        source = source_file(file)
        found = links_in(source, lambda place: (address := address_of(place)) and ROOT + address)
        own = {node.lineno for node in source.top.values()}
        return Listing(source.text, links={at: address for at, address in found.items() if at[0] not in own})
    names = {
        name: f"{ROOT}{address_of(Place(piece.file, ''))}#{piece.names[0]}" for name, piece in pieces_by_name().items()
    }
    return Listing(cuda_file(file).text, "cuda", by_name=names)


def side_by_side(file, rows):
    """Rows as two columns."""
    return f'<div class="side">{"".join(row_html(file, row) for row in rows)}</div>'


def row_html(file, row):
    """One row."""
    code = folded_lines(file, row.first, row.last, row.folded)
    kind = " placed" if row.rules else " said" if row.left else ""
    anchor = f' id="{html.escape(row.anchor)}"' if row.anchor else ""
    return f'<div class="row{kind}"{anchor}><div class="left">{row.left}</div><pre class="code">{code}</pre></div>\n'


def folded_lines(file, first, last, fold):
    """Lines first to last; those of ``fold``, a docstring or a comment, or None, are shown when asked for."""
    lines = listing(file)
    if not fold:
        return lines.lines_between(first, last)
    word = "docstring" if file.endswith(".py") else "comment"
    inner = lines.lines_between(*fold)
    return (
        lines.lines_between(first, fold[0] - 1)
        + f'<details class="fold"><summary>{word}</summary>{inner}</details>'
        + lines.lines_between(fold[1] + 1, last)
    )


def title_of(place):
    """File and lines of a definition, as a link to its place in the file's page."""
    source = source_file(place.file)
    node = source.node(place.name)
    address = file_address(place.file, place.name.split(".")[0])
    words = f"{place.file}, lines {source.first_line(node)} to {node.end_lineno}"
    return f'<a href="{ROOT}{address}">{words}</a>' if address else words


@cache
def file_address(file, name=""):
    """The page of a file, and the place of a definition in it; None if it has none."""
    for subject in subjects():
        if subject.thing is None and subject.place.file == file:
            return subject.address + (f"#{name}" if name else "")
    return None


def cell(title, content):
    """One of the columns."""
    return f"<div><h4>{title}</h4>{content}</div>"


def code_of(place):
    """A definition's code with a caption."""
    source = source_file(place.file)
    node = source.node(place.name)
    fold = docstring_lines(node)
    lines = folded_lines(place.file, source.first_line(node), node.end_lineno, fold)
    return f'<p class="note">{title_of(place)}</p><pre class="code">{lines}</pre>'
