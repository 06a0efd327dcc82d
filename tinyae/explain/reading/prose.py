"""Docstrings as HTML, by docutils: reStructuredText is what they are written in.

Two things are added to it: sections as NumPy's docstrings have them (``Parameters``, underlined), whose entries docutils
reads as a list of definitions by itself; and a link on a ``name`` that has a page. Formulas become elements of the class
``tex``, which ``formulas.js`` hands to KaTeX; without scripts their LaTeX is read.
"""

import copy
import html
import inspect
import re
from functools import cache
from itertools import pairwise

from docutils.core import publish_parts
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.writers.html5_polyglot import HTMLTranslator, Writer

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
SETTINGS = {
    "initial_header_level": 3,
    "report_level": 5,  # a docstring is no document: what docutils misses is shown as it stands
    "halt_level": 5,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "syntax_highlight": "none",
    "input_encoding": "unicode",
    "doctitle_xform": False,
}


@cache
def prose(text, link=None):
    """A docstring as HTML. ``link(name)`` gives the address of the page about a ``name``, or None."""
    if not text:
        return ""
    text = SECTION.sub(r".. rubric:: \1", inspect.cleandoc(text))
    text = re.sub(r"(\.\. rubric:: .*)\n(?=\S)", r"\1\n\n", text)
    text = "\n".join(with_description(*pair) for pair in pairwise([*text.splitlines(), ""]))
    writer = Writer()
    writer.translator_class = type("Translator", (Translator,), {"link": staticmethod(link or (lambda name: None))})
    return publish_parts(text, writer=writer, settings=copy.copy(settings()))["body"]


def with_description(line, below):
    """A line ``name : type`` that nothing is said of below is an entry of the list all the same."""
    entry = re.match(r"\w[\w, ]* : \S", line) and not below.startswith(" ")
    return f"{line}\n    .." if entry else line


@cache
def settings():
    """docutils' own with ours: asked for once, for finding them takes longer than reading a docstring."""
    found = get_default_settings(Parser, Writer)
    for name, value in SETTINGS.items():
        setattr(found, name, value)
    return found


def tex(latex, display=False):
    """LaTeX as an element that becomes a formula."""
    tag = "div" if display else "span"
    return f'<{tag} class="tex{" display" if display else ""}">{html.escape(latex.strip())}</{tag}>'


class Translator(HTMLTranslator):
    """docutils' own, but for formulas and code."""

    def visit_math(self, node):
        self.body.append(tex(node.astext()))
        raise self.skip

    def visit_math_block(self, node):
        latex = node.astext()
        if "&" in latex or r"\\" in latex:
            latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
        self.body.append(tex(latex, display=True))
        raise self.skip

    def visit_literal(self, node):
        name = node.astext()
        address = self.link(name.removesuffix("()").removeprefix("ta."))
        code = f"<code>{html.escape(name)}</code>"
        self.body.append(f'<a href="{address}">{code}</a>' if address else code)
        raise self.skip

    def visit_rubric(self, node):
        self.body.append(f"<h4>{html.escape(node.astext())}</h4>")
        raise self.skip

    @property
    def skip(self):
        """What docutils wants raised for a node that is done."""
        from docutils.nodes import SkipNode

        return SkipNode()
