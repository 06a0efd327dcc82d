"""The user's own lines that a tape came from: the function around them, or some lines before and after."""

import ast
import linecache
import os

AROUND = 15  # lines before and after, where the function is too long to show
LONGEST = 80  # lines of a function that is still shown whole


def program_lines(places):
    """The lines to show beside the steps.

    Parameters
    ----------
    places : iterable of (file, line)

    Returns
    -------
    list of dict
        One per file: ``file`` (its path), ``name`` (to be shown), ``parts``: lists of (line number, text) in order, with a
        gap between two parts. A file whose text cannot be found has no parts.
    """
    lines_of = {}
    for file, line in places:
        if file and line:
            lines_of.setdefault(file, set()).add(line)
    return [
        {"file": file, "name": shown_name(file), "parts": parts(linecache.getlines(file), sorted(wanted))}
        for file, wanted in lines_of.items()
    ]


def parts(text, wanted):
    """The pieces of a file that show all wanted lines."""
    numbers = set()
    spans = functions(text)
    for line in wanted:
        if line > len(text):
            continue
        first, last = max(1, line - AROUND), min(len(text), line + AROUND)
        inner = max((span for span in spans if span[0] <= line <= span[1]), default=None)  # the one that begins last
        if inner and inner[1] - inner[0] < LONGEST:
            first, last = inner
        numbers.update(range(first, last + 1))
    pieces, before = [], None
    for number in sorted(numbers):
        if before is None or number > before + 1:
            pieces.append([])
        pieces[-1].append((number, text[number - 1].rstrip("\n")))
        before = number
    return pieces


def functions(text):
    """(first, last) line of every function; none for what is no Python, such as a cell with magic commands."""
    try:
        tree = ast.parse("".join(text))
    except (SyntaxError, ValueError):
        return []
    return [
        (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def shown_name(file):
    """The last two parts of a path; the cell's number is not known, so a notebook's cell is called a cell."""
    if "ipykernel" in file or file.startswith("<ipython"):
        return "a cell of the notebook"
    return "/".join(os.path.normpath(file).replace(os.sep, "/").split("/")[-2:])
