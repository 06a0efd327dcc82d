r"""Formulas as plain Unicode text, for a terminal: ``\frac{1}{1 + e^{-X}}`` becomes ``1 / (1 + e^(-X))``.

It only respells: what a formula means is no concern of this file, and a command that it does not know is
printed by its name.
"""

import re
import unicodedata

TOKEN = re.compile(r"\\([A-Za-z]+|.)|([{}^_&])|(\s+)|(.)", re.DOTALL)
GAP = "\ue000"  # a wide space, until all others are narrow
SIGNS = {
    "odot": "⊙", "cdot": "·", "times": "×", "sum": "Σ", "prod": "Π", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥",
    "ne": "≠", "neq": "≠", "approx": "≈", "sim": "~", "in": "∈", "infty": "∞", "partial": "∂", "nabla": "∇", "pm": "±",
    "leftarrow": "←", "gets": "←", "rightarrow": "→", "to": "→", "mapsto": "↦", "ldots": "...", "cdots": "...",
    "dots": "...", "top": "ᵀ", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε",
    "eta": "η", "theta": "θ", "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Phi": "Φ", "Psi": "Ψ", "Sigma": "Σ", "Omega": "Ω", "Pi": "Π", "ell": "l", "mid": "|", "|": "‖", "lVert": "‖",
    "rVert": "‖", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "langle": "⟨", "rangle": "⟩",
    "quad": GAP, "qquad": GAP, ",": " ", ";": " ", ":": " ", "!": "", " ": " ", "\\": "; ",
    "left": "", "right": "", "displaystyle": "", "textstyle": "", "limits": "", "big": "", "Big": "", "bigl": "",
    "bigr": "", "Bigl": "", "Bigr": "", "{": "{", "}": "}", "%": "%", "_": "_", "&": "&", "#": "#",
}  # fmt: skip
ACCENTS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303", "dot": "\u0307", "vec": "\u20d7", "overline": "\u0304",
           "widehat": "\u0302"}  # fmt: skip
WORDS = ("text", "operatorname", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "mathcal", "mathbb", "texttt", "textit",
         "textrm", "boldsymbol", "mathop")  # fmt: skip
FUNCTIONS = ("ln", "log", "exp", "max", "min", "tanh", "sinh", "cosh", "sin", "cos", "tan", "arg", "det", "dim")
SUBSCRIPTS = str.maketrans("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
SUPERSCRIPTS = str.maketrans("0123456789+-=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ")


def plain(latex):
    """A formula in LaTeX as one line of Unicode text."""
    tokens = [match.group(0) for match in TOKEN.finditer(latex)]
    text, rest = _sequence(tokens, 0)
    while rest < len(tokens):  # a closing brace too many is dropped
        more, rest = _sequence(tokens, rest + 1)
        text += more
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" +([,.;)])", r"\1", re.sub(r"([(\[]) +", r"\1", text))
    text = re.sub(f"[ {GAP}]*{GAP}[ {GAP}]*", "   ", text)
    return unicodedata.normalize("NFC", text)


def _sequence(tokens, i):
    """Tokens up to a closing brace or the end; (text, where that stands)."""
    parts = []
    while i < len(tokens) and tokens[i] != "}":
        part, i = _one(tokens, i)
        parts.append(part)
    return "".join(parts), i


def _one(tokens, i):
    """One token, or one command with its arguments; (text, the next place)."""
    token = tokens[i]
    if token == "{":
        text, end = _sequence(tokens, i + 1)
        return text, end + 1
    if token in ("^", "_"):
        text, end = _argument(tokens, i + 1)
        return _raised(text) if token == "^" else _lowered(text), end
    if token == "&":
        return " ", i + 1
    if not token.startswith("\\"):
        return (" " if token.isspace() else token), i + 1
    name = token[1:]
    if name in ("frac", "tfrac", "dfrac"):
        above, i = _argument(tokens, i + 1)
        below, i = _argument(tokens, i)
        return f"{_grouped(above)}/{_grouped(below)}" if _short(
            above, below
        ) else f"{_grouped(above)} / {_grouped(below)}", i
    if name == "sqrt":
        inside, i = _argument(tokens, i + 1)
        return f"√{_grouped(inside)}", i
    if name in ACCENTS:
        inside, i = _argument(tokens, i + 1)
        return (inside + ACCENTS[name] if len(inside) == 1 else f"{name}({inside})"), i
    if name in WORDS:
        inside, i = _argument(tokens, i + 1)
        return (inside if name == "text" or _touches(tokens, i) else f"{inside} "), i
    if name in ("begin", "end"):
        _, i = _argument(tokens, i + 1)
        return "", i
    if name in FUNCTIONS:
        return (name if _touches(tokens, i + 1) else f"{name} "), i + 1
    return SIGNS.get(name, name), i + 1


def _argument(tokens, i):
    """What a command applies to: a group in braces, or the next token."""
    while i < len(tokens) and tokens[i].isspace():
        i += 1
    return _one(tokens, i) if i < len(tokens) else ("", i)


def _touches(tokens, i):
    """Does a bracket, an index or a space follow, so that a word needs no space after it?"""
    return i >= len(tokens) or tokens[i][0] in "([_^}|,. " or tokens[i].isspace()


def _short(*parts):
    return all(len(part) <= 2 for part in parts)


def _grouped(text):
    """In brackets, unless it is one number, letter or bracketed group already."""
    text = text.strip()
    if re.fullmatch(r"√?[\w.\u0300-\u036f]+|\([^()]*\)", text):
        return text
    return f"({text})"


def _lowered(text):
    text = text.strip()
    if all(ord(c) in SUBSCRIPTS for c in text):
        return text.translate(SUBSCRIPTS)
    return f"_{text}" if len(text) == 1 else f"[{text}]"


def _raised(text):
    text = text.strip()
    if text == "ᵀ":
        return text
    if all(ord(c) in SUPERSCRIPTS for c in text):
        return text.translate(SUPERSCRIPTS)
    return f"^{text}" if len(text) == 1 else f"^({text})"
