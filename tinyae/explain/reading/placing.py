r"""Which line of code computes what: a rule of ``vjp`` beside the statement of ``backward`` that is that gradient.

For the formula it is the statement of ``forward`` that makes what is returned. For each further part ``left = right`` it is
a line marked ``# left``, else the last one that assigns to a variable of that name, else that of the part before, which
uses it. For a rule it is a line marked ``# vjp[X]``, else the last assignment to ``gX``, else what is returned for that
input, traced back to the statement that made it.
"""

import ast
import re
from dataclasses import dataclass

NAMES = {"mu": "mean", "v": "variance", "hat X": "Xhat"}  # letters whose variables are called otherwise


@dataclass(frozen=True)
class Placed:
    """``what`` is "formula" or the name of a rule; ``latex`` belongs beside lines ``first`` to ``last``."""

    what: str
    latex: str
    first: int
    last: int


def place_formulas(source, node, formula, vjp):
    """All parts of the formula and all rules of an operation's class, each with its lines, as a list of Placed.

    ``node`` is the class in ``source``; both methods are its own.

    Raises
    ------
    LookupError
        There is no formula, or an input has no rule and no statement.
    """
    if not formula or not vjp:
        raise LookupError(
            f"{node.name}: an operation without {'a rule' if formula else 'a formula'} has nothing to show"
        )
    methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    forward, backward = Method(source, methods["forward"]), Method(source, methods["backward"])
    placed, statement = [], None
    for part in parts_of_formula(formula):
        statement = forward.of_part(left_side(part), statement)
        placed.append(Placed("formula", part, statement.lineno, statement.end_lineno))
    for key, rule in vjp.items():
        statement = backward.of_rule(key, forward.inputs())
        placed.append(Placed(key, with_left_side(key, rule), statement.lineno, statement.end_lineno))
    return placed


class Method:
    """The statements of a method, and which of them gives a name its value."""

    def __init__(self, source, node):
        self.source, self.node = source, node
        compound = (ast.For, ast.While, ast.If, ast.With, ast.FunctionDef)
        self.statements = [
            part for part in ast.walk(node) if isinstance(part, ast.stmt) and not isinstance(part, compound)
        ]
        self.statements.sort(key=lambda part: part.lineno)
        returns = [part for part in self.statements if isinstance(part, ast.Return)]
        self.result = returns[-1] if returns else None  # an update returns nothing

    def inputs(self):
        """The names of what is differentiated by, in order, and of what follows with a star."""
        arguments = self.node.args
        names = [argument.arg for argument in arguments.args[2:]]
        return names + ([f"*{arguments.vararg.arg}"] if arguments.vararg else [])

    def assigned(self, name):
        """The last statement that gives this name a value, or None."""
        found = [part for part in self.statements if name in targets(part)]
        return found[-1] if found else None

    def marked(self, mark):
        """The statement on a line with this comment, or None."""
        for part in self.statements:
            lines = self.source.lines[part.lineno : part.end_lineno + 1]
            if any(re.search(re.escape(mark) + r"(?![\w,. =])", line) for line in lines):
                return part
        return None

    def returned(self, value):
        """The statement that made a returned expression: itself, or the assignment it only passes on."""
        made = self.assigned(base_name(value) or "")
        return made or self.result

    def of_part(self, left, before):
        """The statement of forward that computes the part of the formula with this left side; ``before``: of the part before."""
        if before is None:
            return self.marked("# formula") or self.returned(self.result.value)
        return self.marked(f"# {left}") or self.assigned(NAMES.get(left, left)) or before

    def of_rule(self, key, inputs):
        """The statement of backward that computes the gradient of the input called ``key``."""
        plain = re.sub(r"_.*|\\", "", key)
        found = self.marked(f"vjp[{key}]") or self.assigned(f"g{plain}")
        if found:
            return found
        values = self.result.value.elts if isinstance(self.result.value, ast.Tuple) else [self.result.value]
        place = inputs.index(key) if key in inputs else len(inputs) - 1
        return self.returned(values[min(place, len(values) - 1)])


def targets(statement):
    """The names that a statement gives a value, whole or in part."""
    if isinstance(statement, ast.Assign):
        given = list(statement.targets)
    elif isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
        given = [statement.target]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):  # list.append(part)
        given = [statement.value.func] if getattr(statement.value.func, "attr", "") == "append" else []
    else:
        given = []
    found = set()
    while given:
        target = given.pop()
        if isinstance(target, (ast.Tuple, ast.List)):
            given += target.elts
        elif isinstance(target, (ast.Subscript, ast.Starred, ast.Attribute)):
            given.append(target.value)
        elif isinstance(target, ast.Name):
            found.add(target.id)
    return found


def base_name(value):
    """The variable that an expression passes on, reshaped or cut at most; None if it computes something."""
    if isinstance(value, ast.Name):
        return value.id
    if isinstance(value, (ast.Subscript, ast.Starred)):
        return base_name(value.value)
    if isinstance(value, ast.IfExp):
        return base_name(value.body) if base_name(value.body) == base_name(value.orelse) else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        passes = value.func.attr in ("reshape", "transpose", "copy")
        return base_name(value.func.value) if passes else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("tuple", "list"):
        return base_name(value.args[0])
    return None


# ---------------------------------------------------------------- LaTeX as text


def parts_of_formula(formula):
    r"""``Y = \gamma \hat X + \beta, \quad \hat X = ...`` as its parts; conditions and first values stay with theirs."""
    parts = []
    for part in re.split(r",\s*\\q?quad\s*", formula):
        if parts and ("=" not in part or left_side(part) == left_side(parts[0])):
            parts[-1] += rf", \quad {part}"
        else:
            parts.append(part)
    return parts


def left_side(part):
    r"""``\hat X`` of ``\hat X = ...``, without indices, arguments and backslashes."""
    left = re.split(r"=|\\leftarrow", part)[0]
    return re.sub(r"[_^](\{[^}]*\}|\\?\w+)|\(.*\)|[\\&{}]", "", left).strip()


def with_left_side(key, rule):
    r"""``\bar X = rule``; as it is where the rule has its own left side."""
    letter = letter_of(key)
    own = re.match(r"\\bar\s*(\{[^}]*\}|\\?\w+)\s*([_^](\{[^}]*\}|\w))*\s*=", rule)
    bare = re.sub(r"[{}\\\s]", "", own.group(1)) if own else ""
    if own and re.sub(r"[{}\\\s]", "", letter).startswith(bare[:1]):
        return rule
    return rf"\bar {letter} = {rule}"


def letter_of(key):
    r"""An input's name in LaTeX: ``gamma`` is a Greek letter, ``W_l`` has an index outside the bar."""
    name, _, index = key.partition("_")
    name = rf"{{\{name}}}" if len(name) > 1 and not name.startswith("\\") else name
    return f"{name}_{index}" if index else name


def place_lines(source, node, lines):
    """The lines of an optimizer's algorithm, each beside its statement of ``update``, as a list of Placed.

    The second line for one letter belongs to the second statement that gives it a value.
    """
    update = next(part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "update")
    method, used, placed = Method(source, update), {}, []
    for line in lines:
        words = left_side(line.formula).split()
        name = "_".join(reversed(words))  # \hat m is m_hat in the code
        found = [part for part in method.statements if name in targets(part)]
        if not found:
            raise LookupError(f"{node.name}: no statement of update computes {line.formula}")
        k = used[name] = used.get(name, -1) + 1
        statement = found[min(k, len(found) - 1)]
        what = line.when and f"with {line.when}".replace("with not", "without").replace("_", " ")
        placed.append(Placed(what, line.formula, statement.lineno, statement.end_lineno))
    return placed
