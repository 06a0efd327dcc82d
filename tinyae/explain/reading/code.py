"""Source as HTML: coloured by Pygments, lines numbered as in the file, names linked to the pages about them."""

import ast
import html

from pygments.lexers import CppLexer, PythonLexer
from pygments.token import STANDARD_TYPES, Token

DULL = {Token.Text, Token.Text.Whitespace, Token.Punctuation, Token.Name, Token.Operator}


class Listing:
    """A file's lines as HTML, to be cut into pieces.

    ``links`` is {(line, column): address} for the names that are links, line from 1 and column from 0; ``by_name`` is
    {name: address}, for a language whose names are not looked up.
    """

    def __init__(self, text, language="python", links=None, by_name=None):
        self.lines = [[]]
        lexer = (PythonLexer if language == "python" else CppLexer)(stripnl=False, ensurenl=False)
        column, links, by_name = 0, links or {}, by_name or {}
        for token, word in lexer.get_tokens(text):
            for k, piece in enumerate(word.split("\n")):
                if k:
                    self.lines.append([])
                    column = 0
                if piece:
                    self.lines[-1].append(
                        span(
                            token,
                            piece,
                            links.get((len(self.lines), column)) or (token in Token.Name and by_name.get(piece)),
                        )
                    )
                    column += len(piece)

    def lines_between(self, first, last):
        """Lines first to last, both counted, as HTML with their numbers."""
        lines = ((n, "".join(self.lines[n - 1])) for n in range(first, last + 1))
        return "".join(f'<span class="l" data-n="{n}">{line}\n</span>' for n, line in lines)


def span(token, text, address):
    """One token."""
    escaped = html.escape(text, quote=False)
    if address:
        return f'<a href="{html.escape(address)}">{escaped}</a>'
    while token not in STANDARD_TYPES:
        token = token.parent
    return escaped if token in DULL else f'<span class="{STANDARD_TYPES[token]}">{escaped}</span>'


def links_in(source, address_of):
    """{(line, column): address} for every name in a Python file that means a Place with a page."""
    found = {}
    for node in ast.walk(source.tree):
        if not isinstance(node, (ast.Name, ast.Attribute)):
            continue
        place = source.meaning_of(node)
        address = place and address_of(place)
        if address:
            column = node.col_offset if isinstance(node, ast.Name) else node.end_col_offset - len(node.attr)
            line = node.lineno if isinstance(node, ast.Name) else node.end_lineno
            text = source.lines[line]
            found[line, len(text.encode()[:column].decode())] = address
    return found
