"""Source cut into rows, with prose to the left of each: the page's two columns stay side by side because a row is one.

A docstring stands to the left of the head of its class or function, a formula to the left of its statement. What has nothing
to its left is a row of its own. All lines of a definition are in its rows, each once, in order.
"""

import ast
import html
import re
from dataclasses import dataclass

from .placing import letter_of, place_formulas, place_lines
from .prose import prose, tex
from .source import Place, docstring_lines, place_of, source_file
from .subjects import address_of, functions_of_operations


@dataclass
class Row:
    """Lines ``first`` to ``last``; ``left`` is HTML; ``folded`` are lines that the left side says already, or None."""

    first: int
    last: int
    left: str = ""
    folded: tuple | None = None
    anchor: str = ""
    rules: tuple = ()  # what is placed here: "formula", or names of rules


def in_rows(first, last, noted):
    """Rows that cover lines first to last: the noted ones, which do not overlap, and what is between them.

    The lines after a docstring stay in its row, to the right of it; those after a formula are a row of their own.
    """
    rows, line = [], first
    for row in [*sorted(noted, key=lambda row: row.first), Row(last + 1, last)]:
        if row.first < line:
            raise ValueError(f"rows overlap: line {row.first} is in the row before, too")
        if row.first > line and rows and not rows[-1].rules:
            rows[-1].last = row.first - 1
        elif row.first > line:
            rows.append(Row(line, row.first - 1))
        rows.append(row)
        line = row.last + 1
    return rows[:-1]


def head_row(source, node, link, before="", anchor=""):
    """A definition's head with its docstring to the left; None if there is no docstring and nothing else to say."""
    lines = docstring_lines(node)
    text = before + (prose(ast.get_docstring(node), link) if lines else "")
    if not text:
        return None
    first = source.first_line(node)
    return Row(first, lines[1] if lines else head_end(node), text, lines, anchor)


def head_end(node):
    """The line before a definition's body."""
    first = node.body[0]
    return min([first.lineno, *(part.lineno for part in getattr(first, "decorator_list", []))]) - 1


def operation_rows(subject, link):
    """An operation's class: its formula beside forward, each rule beside backward's statement that computes it."""
    source, cls = source_file(subject.place.file), subject.thing
    node = source.node(subject.place.name)
    rows = [head_row(source, node, link)]
    by_lines = {}
    for placed in place_formulas(source, node, cls.formula, cls.vjp):
        by_lines.setdefault((placed.first, placed.last), []).append(placed)
    for (first, last), several in by_lines.items():
        words = [placed.what for placed in several]
        left = "".join(note_of_rule(placed, before) for placed, before in zip(several, ["", *words]))
        rows.append(Row(first, last, left, rules=tuple(words)))
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name in ("forward", "backward"):
            taken = [row for row in rows if row.first <= head_end(part) and row.last >= source.first_line(part)]
            if not taken:
                rows.append(Row(source.first_line(part), head_end(part), note_of_method(part.name, cls)))
    return in_rows(source.first_line(node), node.end_lineno, rows)


def note_of_rule(placed, before):
    """A formula with a word about what it is, but not the same word again; ``before``: what stands above it."""
    if placed.what == before:
        return tex(placed.latex, True)
    if placed.what == "formula":
        return f'<p class="what">formula</p>{tex(placed.latex, True)}'
    return f'<p class="what">gradient of {tex(letter_of(placed.what))}</p>{tex(placed.latex, True)}'


def note_of_method(name, cls):
    """What goes into forward and backward."""
    result = cls.formula.split("=")[0].split("_")[0].strip()
    if name == "forward":
        return f"<p><b>Forward.</b> From the inputs to {tex(result)}.</p>"
    bar, partial = tex(rf"\bar {result}"), tex(rf"\partial L / \partial {result}")
    return f"<p><b>Backward.</b> From {bar}, which is {partial}, to the gradients of the inputs.</p>"


def layer_rows(subject, link, root):
    """A layer's class: beside each statement that computes, the formula of the operation it applies."""
    source = source_file(subject.place.file)
    node = source.node(subject.place.name)
    rows = [head_row(source, node, link)] + [
        head_row(source, part, link) for part in node.body if isinstance(part, ast.FunctionDef)
    ]
    rows = [row for row in rows if row]
    covered = {line for row in rows for line in range(row.first, row.last + 1)}
    for statement in ast.walk(node):
        simple = isinstance(statement, (ast.Return, ast.Assign, ast.AugAssign, ast.Expr))
        if not simple or covered & set(range(statement.lineno, statement.end_lineno + 1)):
            continue
        found = operations_in(source, statement)
        if found:
            left = "".join(note_of_operation(cls, root) for cls in found)
            rows.append(Row(statement.lineno, statement.end_lineno, left, rules=tuple(cls.name for cls in found)))
            covered.update(range(statement.lineno, statement.end_lineno + 1))
    return in_rows(source.first_line(node), node.end_lineno, rows)


def operations_in(source, statement):
    """The operations that a statement applies by name, as ``F.affine(...)`` or ``x.mean(...)``, each once."""
    table, found = functions_of_operations(), {}
    for part in ast.walk(statement):
        if isinstance(part, ast.Call):
            place = source.meaning_of(part.func)
            if place is None and isinstance(part.func, ast.Attribute) and isinstance(part.func.value, ast.Name):
                place = Place("operators.py", f"Operators.{part.func.attr}")
        elif isinstance(part, ast.Subscript) and any(
            isinstance(one, ast.Slice) for one in getattr(part.slice, "elts", ())
        ):
            place = Place("operators.py", "Operators.__getitem__")
        else:
            continue
        if place in table:
            found[table[place]] = None
    return list(found)


def note_of_operation(cls, root):
    """An operation's name, as a link, and its formula."""
    return f'<p class="what"><a href="{root}{address_of(place_of(cls))}">{cls.name}</a></p>{tex(cls.formula, True)}'


def optimizer_rows(subject, link):
    """An optimizer's class: each line of the algorithm beside its line of update."""
    source, cls = source_file(subject.place.file), subject.thing
    node = source.node(subject.place.name)
    rows, by_lines = [head_row(source, node, link)], {}
    for placed in place_lines(source, node, cls.lines) if cls.lines else ():
        by_lines.setdefault((placed.first, placed.last), []).append(placed)
    for (first, last), several in by_lines.items():
        left = "".join(
            (f'<p class="what">{html.escape(placed.what)}</p>' if placed.what else "") + tex(placed.latex, True)
            for placed in several
        )
        rows.append(Row(first, last, left, rules=tuple(placed.latex for placed in several)))
    rows += [row for part in node.body if isinstance(part, ast.FunctionDef) if (row := head_row(source, part, link))]
    return in_rows(source.first_line(node), node.end_lineno, rows)


def function_rows(place, link, before=""):
    """A function, or a class with its methods: docstrings to the left."""
    source = source_file(place.file)
    node = source.node(place.name)
    inner = [
        part
        for part in getattr(node, "body", [])
        if isinstance(node, ast.ClassDef) and isinstance(part, ast.FunctionDef)
    ]
    rows = [head_row(source, part, link, before if part is node else "") for part in (node, *inner)]
    return in_rows(source.first_line(node), node.end_lineno, [row for row in rows if row])


def file_rows(file, link, note):
    """A whole Python file but for its docstring. ``note(place)`` is HTML that stands above the docstring of a definition."""
    source, rows = source_file(file), []
    begin = source.tree.body[0].end_lineno + 1
    for name, node in source.top.items():
        row = head_row(source, node, link, note(Place(file, name)), anchor=name)
        rows.append(row or Row(source.first_line(node), head_end(node), anchor=name))
        if isinstance(node, ast.ClassDef):
            rows += [
                row
                for part in node.body
                if isinstance(part, ast.FunctionDef)
                if (row := head_row(source, part, link, anchor=f"{name}.{part.name}"))
            ]
    return in_rows(begin, len(source.lines) - 1, rows)


def cuda_rows(pieces, note):
    """Pieces of a CUDA file: comments to the left of the code below them. What has no comment stays with the piece before."""
    rows = []
    for piece in pieces:
        anchors = "".join(f'<a id="{name}"></a>' for name in piece.names)
        said = note(piece) + comment_html(piece.comment)
        if not said and rows:
            rows[-1].last = piece.last
            rows[-1].left += anchors
            continue
        folded = (piece.first, piece.code - 1) if piece.code > piece.first else None
        rows.append(Row(piece.first, piece.last, anchors + said, folded))
    return rows


def comment_html(comment):
    """A comment of CUDA C as prose: an empty line begins a paragraph, a drawn line is a heading, `quoted` is code."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", comment):
        heading = re.match(r"-{5,}(.*)\n?", paragraph)
        if heading:
            paragraphs.append(f"<h4>{html.escape(heading.group(1).strip())}</h4>")
            paragraph = paragraph[heading.end() :]
        text = re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(paragraph.strip(), quote=False))
        paragraphs.append(f"<p>{text}</p>" if text else "")
    return "".join(paragraphs)
