r"""From LaTeX to a tree: a parser for the part of LaTeX in which the formulas of tinyae are written.

What it reads stands in ``formula.py``, with the conventions. What it does not read it refuses, and names it.
"""

import re
from functools import cache

from ...errors import RangeError
from .tree import (
    Absolute,
    Add,
    Big,
    Bracket,
    Call,
    Cases,
    Compare,
    Dots,
    Floor,
    Fraction,
    Index,
    Name,
    Negative,
    Number,
    Power,
    Product,
    Root,
    Statement,
    Transposed,
    Tuple,
    latex,
)

TOKEN = re.compile(
    r"\\text\{(?P<text>[^}]*)\}|\\operatorname\{(?P<operator>[A-Za-z]+)\}|\\[A-Za-z]+|\\.|\s+|.", re.DOTALL
)
SPACES = {r"\,", r"\;", r"\:", r"\!", "\\ ", r"\left", r"\right", r"\textstyle", r"\displaystyle", "&"}
GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi Phi varphi chi psi "
    "omega Delta Sigma Theta Lambda"
)
GREEK = {f"\\{name}" for name in GREEK_NAMES.split()}
ACCENTS = {r"\bar", r"\hat", r"\tilde"}
COMPARISONS = {"=", "<", ">", r"\le", r"\ge", r"\leq", r"\geq", r"\ne"}
FUNCTIONS = {r"\ln", r"\exp", r"\tanh"}  # and all names in \operatorname{...}
CHOICES = {r"\max", r"\min"}  # functions with parentheses; over indices with a subscript
LETTER_FUNCTIONS = {"f", r"\sigma"}  # letters that, before a parenthesis, are functions
DOTS = {r"\ldots", r"\cdots", r"\dots"}


@cache
def parse_statements(text):
    """The statements of a formula, in their order."""
    return tuple(Parser(text).statements())


def tokens_of(text):
    """Pairs (token, place in the text); digits one by one, as LaTeX takes them."""
    found = []
    for match in TOKEN.finditer(text):
        token = match.group()
        if match["operator"]:
            token = r"\operatorname{" + match["operator"] + "}"
        if not token.isspace():
            found.append((token, match.start()))
    return found


class Parser:
    """One formula on its way; ``place`` is the number of the next token."""

    def __init__(self, text):
        self.text = text
        self.tokens = [(token, at) for token, at in tokens_of(text) if token not in SPACES or token == "&"]
        self.place = 0
        self.bars = 0  # open |

    # ------------------------------------------------------------ tokens

    def next(self, ahead=0):
        k = self.place + ahead
        return self.tokens[k][0] if k < len(self.tokens) else ""

    def take(self):
        token = self.next()
        self.place += 1
        return token

    def expect(self, token):
        if self.next() != token:
            raise self.refusal(f"expected {token} there")
        self.place += 1

    def refusal(self, why):
        at = self.tokens[self.place][1] if self.place < len(self.tokens) else len(self.text)
        what = self.next() or "its end"
        return RangeError(
            f"formula: '{what}' at place {at} of '{self.text}' is not understood: {why}. "
            "What can be written is listed in tinyae/explain/formulas/formula.py."
        )

    # ------------------------------------------------------------ from statements down to factors

    def statements(self):
        found = [self.statement()]
        while self.next() == "," and self.next(1) in (r"\quad", r"\qquad"):
            self.place += 2
            found.append(self.statement())
        if self.next():
            raise self.refusal("a formula's statements are separated by ', \\quad'")
        return found

    def statement(self):
        left = self.sum()
        if self.next() in ("=", r"\leftarrow"):
            arrow = self.take()
            return Statement(left, arrow, self.sum())
        return left

    def sum(self):
        terms = []
        sign = self.take() if self.next() in ("+", "-") else "+"
        terms.append((sign, self.term()))
        while self.next() in ("+", "-"):
            terms.append((self.take(), self.term()))
        if len(terms) == 1:
            return Negative(terms[0][1]) if sign == "-" else terms[0][1]
        return Add(tuple(terms))

    def term(self):
        left = self.beside()
        while self.next() in (r"\odot", r"\cdot", "/"):
            left = Product(self.take(), left, self.beside())
        return left

    def beside(self):
        left = self.factor()
        while self.begins_factor():
            left = Product("", left, self.factor())
        return left

    def begins_factor(self):
        token = self.next()
        if token == "|":
            return self.bars == 0
        return (
            token.isalnum() or token in ("(", "[", r"\lfloor", r"\frac", r"\tfrac", r"\sqrt", r"\sum", r"\begin", r"\infty")
            or token in GREEK | ACCENTS | FUNCTIONS | CHOICES | DOTS
            or token.startswith(r"\operatorname")
        )  # fmt: skip

    def factor(self):
        node = self.atom()
        while self.next() == "^":
            self.place += 1
            if self.next() == r"\top":
                self.place += 1
                node = Transposed(node)
            else:
                node = Power(node, self.argument())
        return node

    def argument(self):
        """What belongs to a command, to ^ or to _: a group in braces, or one token, of a number one digit."""
        if self.next() == "{":
            self.place += 1
            node = self.sum()
            self.expect("}")
            return node
        if self.next().isdigit():
            return Number(self.take())
        if self.next() in (r"\frac", r"\tfrac", r"\sqrt"):
            return self.atom()
        return Name(self.letter())

    # ------------------------------------------------------------ atoms

    def atom(self):
        token = self.next()
        if token.isdigit():
            return self.number()
        if token in ("(", "[", "|", r"\lfloor"):
            return self.enclosed()
        if token in (r"\frac", r"\tfrac"):
            self.place += 1
            over = self.argument()
            return Fraction(token, over, self.argument())
        if token == r"\sqrt":
            self.place += 1
            return Root(self.argument())
        if token == r"\begin":
            return self.cases()
        if token == r"\sum":
            return self.big()
        if token in CHOICES or token == r"\operatorname{argmax}":
            return self.big() if self.next(1) == "_" else self.call()
        if token in FUNCTIONS or token.startswith(r"\operatorname"):
            return self.call()
        if token in DOTS:
            return Dots(self.take())
        if token == r"\infty":
            return Number(self.take())
        return self.named()

    def number(self):
        start = self.tokens[self.place][1]
        end = start
        while (
            self.place < len(self.tokens)
            and self.tokens[self.place][1] == end
            and re.match(r"\d|\.(?=\d)", self.text[end:])
        ):
            self.place, end = self.place + 1, end + 1
        return Number(self.text[start:end])

    def enclosed(self):
        opening = self.take()
        bars, self.bars = self.bars, self.bars + 1 if opening == "|" else 0
        if opening == "[":
            node = Bracket(self.comparison())
        else:
            node = self.sum()
            if opening == "(" and self.next() == ",":
                node = Tuple((node, *self.more()))
        self.expect({"(": ")", "[": "]", "|": "|", r"\lfloor": r"\rfloor"}[opening])
        self.bars = bars
        return {"|": Absolute, r"\lfloor": Floor}.get(opening, lambda inside: inside)(node)

    def more(self):
        """What follows behind commas."""
        while self.next() == "," and self.next(1) not in (r"\quad", r"\qquad"):
            self.place += 1
            yield self.sum()

    def comparison(self):
        parts, signs = [self.sum()], []
        while self.next() in COMPARISONS:
            signs.append(self.take())
            parts.append(self.sum())
        return Compare(tuple(parts), tuple(signs))

    def cases(self):
        for token in (r"\begin", "{", *"cases", "}"):
            self.expect(token)
        rows = []
        while True:
            value = self.sum()
            self.expect("&")
            words = self.take().removeprefix(r"\text{").removesuffix("}").strip()
            if words not in ("if", "else"):
                self.place -= 1
                raise self.refusal(r"a case is 'value & \text{if } condition' or 'value & \text{else}'")
            rows.append((value, self.comparison() if words == "if" else None))
            if self.next() != "\\\\":
                break
            self.place += 1
        for token in (r"\end", "{", *"cases", "}"):
            self.expect(token)
        return Cases(tuple(rows))

    def big(self):
        command = self.take()
        self.expect("_")
        braces = self.next() == "{"
        self.place += braces
        limits = [self.limit()]
        while braces and self.next() == ",":
            self.place += 1
            limits.append(self.limit())
        if braces:
            self.expect("}")
        return Big(command, tuple(letter for letter, _ in limits), self.term(), tuple(bound for _, bound in limits))

    def limit(self):
        """An index, and below what it stays, as in u < f."""
        letter = self.letter()
        if self.next() != "<":
            return letter, None
        self.place += 1
        return letter, self.sum()

    def call(self, function=None, sub=None, mark=""):
        if function is None:
            function = self.take()
        while self.next() in ("_", "^"):
            if self.next() == "_":
                self.place += 1
                sub = self.argument()
            elif self.next(1) == r"\top":
                self.place += 2
                mark = "top"
            else:
                raise self.refusal("a power of a function is written behind it: (f(x))^2")
        if self.next() == "(":
            self.place += 1
            bars, self.bars = self.bars, 0
            arguments = (self.sum(), *self.more())
            self.expect(")")
            self.bars = bars
            return Call(function, arguments, True, sub, mark)
        if not self.begins_factor():
            raise self.refusal(f"{function} has no argument")
        return Call(function, (self.factor(),), False, sub, mark)

    def letter(self):
        """A letter with its accent and its primes."""
        token = self.next()
        if token in ACCENTS:
            self.place += 1
            braces = self.next() == "{"
            self.place += braces
            name = f"{token} {self.letter()}"
            if braces:
                self.expect("}")
            return name
        if not (token.isalpha() and token.isascii()) and token not in GREEK:
            raise self.refusal(
                "expected a letter, a number, a function or a bracket" if token else "something is missing"
            )
        self.place += 1
        while self.next() == "'" and self.next(1) != "(":
            token += self.take()
        return token

    def named(self):
        """A letter, its subscripts, and if it is a function, its arguments."""
        name = self.letter()
        subs = ()
        if self.next() == "_":
            self.place += 1
            subs = self.subs()
        mark = self.take() if self.next() == "'" else ""
        if self.next() == "(" and (mark or name in LETTER_FUNCTIONS):
            return self.call(name, subs[0] if subs else None, mark)
        if mark:
            raise self.refusal("a primed function has its argument in parentheses")
        if len(subs) == 1 and isinstance(subs[0], Number):
            return Name(f"{name}_{subs[0].text}")
        return Index(Name(name), subs) if subs else Name(name)

    def subs(self):
        """The indices of an element: separated by commas, or letters and digits side by side."""
        if self.next() != "{":
            return (self.argument(),)
        depth, end, comma = 0, self.place, False
        while True:  # is there a comma, or a sign, before the group ends?
            token = self.tokens[end][0] if end < len(self.tokens) else ""
            if not token:
                raise self.refusal("the group never ends")
            depth += (token in "{(") - (token in "})")
            if depth == 0:
                break
            comma = comma or (depth == 1 and token in (",", "+", "-", "/", r"\lfloor"))
            end += 1
        self.place += 1
        if comma:
            items = [self.sum(), *self.more()]
        else:
            items = []
            while self.next() != "}":
                items.append(Number(self.take()) if self.next().isdigit() else self.named())
            if not items:
                raise self.refusal("a subscript is empty")
        self.expect("}")
        return tuple(items)


def readable(node):
    """For messages: a node as LaTeX, cut short."""
    text = latex(node)
    return text if len(text) <= 80 else f"{text[:77]}..."
