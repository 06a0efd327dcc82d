"""The tape as one HTML page that needs nothing else: no network, no server, no other file.

What is put together here: the page's own HTML, CSS and JavaScript in ``assets/``, KaTeX, which sets the formulas, with its
fonts, and dagre, which lays out the graph, both as their packages have them (``assets/vendored.json`` says which and with
what hashes), and the data of ``contents.py``.
"""

import base64
import html as escaping
import json
import os
import re
from functools import cache
from pathlib import Path

from ...errors import DtypeError, RangeError, brief
from ...files import write_whole
from .contents import contents

ASSETS = Path(__file__).parents[1] / "assets"
OWN = ("numbers.js", "graph.js", "steps.js", "predict.js", "page.js")  # in the order in which they need each other
HEIGHT = 760  # pixels, in a notebook


def html(tape, title="tinyae: step by step"):
    """The page as one string."""
    parts = {
        "TITLE": escaping.escape(title),
        "LICENCES": licences(),
        "STYLE": f"{katex_style()}\n{asset('page.css')}",
        "LIBRARIES": "\n".join(scripts()),
        "DATA": json_for_html(contents(tape)),
        "PROGRAM": "\n".join(asset(name) for name in OWN),
    }
    return re.sub(r"@@([A-Z]+)@@", lambda found: parts[found[1]], asset("page.html"))


def save(tape, path, overwrite=False, title="tinyae: step by step"):
    """Write the page to a file, whole or not at all.

    Raises
    ------
    RangeError
        The file exists and may not be replaced, it is a folder, or its name ends in something else than .html or .htm.
    DtypeError
        The path is neither a text nor a Path.
    FileWriteError
        It cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DtypeError(f"save: {brief(path)} is no path; expected that of a file, such as step.html.")
    path = os.fspath(path)
    if os.path.isdir(path):
        raise RangeError(f"save: {path!r} is a folder; expected the path of a file, such as step.html.")
    require_ending("save", path)
    if os.path.exists(path) and not overwrite:
        raise RangeError(f"save: {path} exists. Choose another name, or give overwrite=True to replace it.")
    write_whole(path, html(tape, title))


def require_ending(operation, path):
    """A browser shows as a page only what is called one."""
    ending = Path(path).suffix.lower()
    if ending not in (".html", ".htm"):
        raise RangeError(f"{operation}: {path} ends in {ending or 'nothing'}; expected a page, such as FILE.html.")


def notebook_html(tape):
    """The page in a frame of its own, so that a notebook shows it and neither changes the other."""
    page = escaping.escape(html(tape), quote=True)
    return (
        f'<iframe title="The computation, step by step" srcdoc="{page}" sandbox="allow-scripts" loading="lazy" '
        f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #8888; border-radius: 6px"></iframe>'
    )


def json_for_html(data):
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# ---------------------------------------------------------------- what is bundled


@cache
def asset(name):
    """A file of ``assets/`` as text."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def katex_style():
    """KaTeX's style sheet with the fonts inside; it loses the fonts that are not bundled."""

    def face(found):
        name = re.search(r"url\(fonts/([\w-]+\.woff2)\)", found[0])
        file = ASSETS / "katex" / "fonts" / name[1]
        if not file.exists():
            return ""
        font = base64.b64encode(file.read_bytes()).decode()
        return re.sub(r"src:[^}]*", f'src:url(data:font/woff2;base64,{font}) format("woff2")', found[0])

    return re.sub(r"@font-face\{[^}]*\}", face, asset("katex/katex.min.css"))


@cache
def scripts():
    """The two libraries; without the comment that would have a browser look for a file beside the page."""
    return tuple(
        re.sub(r"//# sourceMappingURL=.*", "", asset(name)) for name in ("katex/katex.min.js", "dagre/dagre.min.js")
    )


@cache
def licences():
    """Whose work is inside, and the licences under which it may be: they travel with the page."""
    about = json.loads(asset("vendored.json"))
    texts = [
        f"{entry['package']} {entry['version']}\n\n{asset(f'{name}/LICENSE')}".replace("--", "- -")
        for name, entry in about.items()
    ]
    return "\n\n".join(texts)
