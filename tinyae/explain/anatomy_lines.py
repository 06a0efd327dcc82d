r"""An optimizer's lines, one number at a time: each formula beside the same in code, and what the switches make of it.

The formulas are the optimizer's own (``optim.py``); here each stands beside the expression of ``update`` that computes it,
in the parameter's own type of number and in the same order, so that the last bit is the same. A line that ends in
:math:`\theta \leftarrow \theta - \ldots` gives the step, :math:`\Delta\theta = -\ldots`.
"""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ..errors import RangeError
from .formulas.evaluate import evaluate
from .formulas.formula import parse
from .formulas.numbers import digits

NAMES = {  # a letter, and what it is called in ``update``
    r"\theta": "theta", "g": "g", "m": "m", "v": "v", "G": "G", "s": "s", r"\hat m": "m_hat", r"\hat v": "v_hat",
    r"\eta": "lr", r"\beta_1": "beta1", r"\beta_2": "beta2", r"\epsilon": "eps", r"\lambda": "weight_decay",
    r"\mu": "momentum", r"\rho": "rho", "t": "t",
}  # fmt: skip
DESCENT = r"\theta \leftarrow \theta - "
DECAY = r"\theta \leftarrow \theta - \eta \lambda \theta"
DIVISOR = re.compile(r"\\sqrt\{(?P<inside>[^{}]+)\} \+ \\epsilon")

COMPUTED = {  # right sides; what is kept in the state is not computed here but read there
    r"\theta - \eta \lambda \theta": lambda e: e.theta - e.lr * e.weight_decay * e.theta,
    r"g + \lambda \theta": lambda e: e.g + e.weight_decay * e.theta,
    r"g + \mu v": lambda e: e.g + e.momentum * e.v,
    "v": lambda e: e.v,
    "m": lambda e: e.m,
    r"\frac{m}{1 - \beta_1^t}": lambda e: e.m / (1 - e.beta1**e.t),
    r"\frac{v}{1 - \beta_2^t}": lambda e: e.v / (1 - e.beta2**e.t),
    r"-\eta g": lambda e: -e.lr * e.g,
    r"-\eta s": lambda e: -e.lr * e.s,
    r"-\frac{\eta g}{\sqrt{G} + \epsilon}": lambda e: -e.lr * e.g / (np.sqrt(e.G) + e.eps),
    r"-\frac{\eta g}{\sqrt{v} + \epsilon}": lambda e: -e.lr * e.g / (np.sqrt(e.v) + e.eps),
    r"-\frac{\eta \hat m}{\sqrt{\hat v} + \epsilon}": lambda e: -e.lr * e.m_hat / (np.sqrt(e.v_hat) + e.eps),
    r"-\frac{\eta g}{\sqrt{G + \epsilon}}": lambda e: -e.lr * e.g / np.sqrt(e.G + e.eps),
    r"-\frac{\eta g}{\sqrt{v + \epsilon}}": lambda e: -e.lr * e.g / np.sqrt(e.v + e.eps),
    r"-\frac{\eta \hat m}{\sqrt{\hat v + \epsilon}}": lambda e: -e.lr * e.m_hat / np.sqrt(e.v_hat + e.eps),
    r"\frac{\epsilon}{\sqrt{G} + \epsilon}": lambda e: e.eps / (np.sqrt(e.G) + e.eps),
    r"\frac{\epsilon}{\sqrt{v} + \epsilon}": lambda e: e.eps / (np.sqrt(e.v) + e.eps),
    r"\frac{\epsilon}{\sqrt{\hat v} + \epsilon}": lambda e: e.eps / (np.sqrt(e.v_hat) + e.eps),
    r"\frac{\epsilon}{G + \epsilon}": lambda e: e.eps / (e.G + e.eps),
    r"\frac{\epsilon}{v + \epsilon}": lambda e: e.eps / (e.v + e.eps),
    r"\frac{\epsilon}{\hat v + \epsilon}": lambda e: e.eps / (e.v_hat + e.eps),
}


@dataclass(frozen=True)
class Column:
    """One number of a step: its name, its letter and its formula in LaTeX, and what it is, in words."""

    name: str
    symbol: str
    formula: str  # "" for what is given
    about: str
    kept: bool = False  # read from the optimizer's state, not computed

    @property
    def right(self):
        """The right side of the formula."""
        return re.split(r" = | \\leftarrow ", self.formula, maxsplit=1)[-1]

    def value(self, known):
        """The number, from those that are known so far; None where one that it needs is not known."""
        needed = [known.get(NAMES.get(letter, letter)) for letter in parse(f"y = {self.right}").variables()]
        if any(number is None for number in needed):
            return None
        if self.right in COMPUTED:
            with np.errstate(all="ignore"):  # what is infinite is shown
                return COMPUTED[self.right](SimpleNamespace(**known))
        found = evaluate(parse(f"y = {self.right}"), by_letter(known))  # an optimizer of the user's own
        return known["theta" if known["theta"] is not None else "g"].dtype.type(found)

    def with_numbers(self, known, result):
        """The formula, and the same with numbers, as LaTeX."""
        values = {letter: number for letter, number in by_letter(known).items() if number is not None}
        filled = parse(f"y = {self.right}").with_numbers(values).removeprefix("y = ")
        return f"{self.formula} = {filled}" + (f" = {digits(result)}" if filled != digits(result) else "")


def by_letter(known):
    """The same numbers under their letters."""
    letters = {name: letter for letter, name in NAMES.items()}
    return {letters.get(name, name): number for name, number in known.items()}


ABOUT = {
    "g_decayed": "the gradient with weight decay", "theta_decayed": "the weight, after its decay",
    "m": "running mean of the gradient", "v": "running mean of its square", "G": "sum of its squares",
    "s": "the direction of the step", "m_hat": "m, corrected for its start at 0", "v_hat": "v, corrected for its start at 0",
    "share": "how much of the divisor is epsilon", "delta_theta": "the step",
}  # fmt: skip


def columns_of(formulas, state_names):
    """The columns of a step: one for each of the lines, before the step the share of epsilon, and the weight at the end."""
    columns = [Column("g", "g", "", "the gradient")]
    for formula in formulas:
        symbol = re.split(r" = | \\leftarrow ", formula, maxsplit=1)[0]
        name = NAMES.get(symbol, symbol.lstrip("\\"))
        if formula == DECAY or symbol == "g":
            columns.append(Column(f"{name}_decayed", symbol, formula, ABOUT[f"{name}_decayed"]))
        elif formula.startswith(DESCENT):
            columns += share_of(formula)
            step = formula.removeprefix(DESCENT)
            columns.append(Column("delta_theta", r"\Delta\theta", rf"\Delta\theta = -{step}", ABOUT["delta_theta"]))
        else:
            about = ABOUT.get(name, "")
            if formula == r"v \leftarrow \mu v + g":
                about = "running sum of the gradients"
            if formula in (r"\hat m = m", r"\hat v = v"):
                about = f"{formula[-1]}, not corrected"
            columns.append(Column(name, symbol, formula, about, kept=name in state_names))
    named = {column.name for column in columns}
    columns += [
        Column(name, name, "", "kept from step to step", kept=True) for name in state_names if name not in named
    ]
    if "delta_theta" not in named:  # an optimizer of the user's own, that tells no formulas
        columns.append(
            Column("delta_theta", r"\Delta\theta", "", "the step: the weight after it less the weight before")
        )
    return columns


def share_of(formula):
    """The column with the share of epsilon, if there is one in the divisor (or, inside, under its root)."""
    outside, inside = DIVISOR.search(formula), re.search(r"\\sqrt\{(?P<under>[^{}]+ \+ \\epsilon)\}", formula)
    divisor = outside[0] if outside else inside["under"] if inside else None
    if divisor is None:
        return []
    about = ABOUT["share"] if outside else "how much of what is under the root is epsilon"
    return [Column("share", "q", rf"q = \frac{{\epsilon}}{{{divisor}}}", about)]


def switched(owner, formulas, bias_correction, eps_inside):
    """The lines with the switches set, and in words what was changed; an error where there is nothing to switch."""
    words = []
    if not bias_correction:
        changed = tuple(re.sub(r"(\\hat (\w)) = \\frac.*", r"\1 = \2", formula) for formula in formulas)
        if changed == formulas:
            raise RangeError(
                f"explain_step: bias_correction=False was given, but {owner} corrects no bias; only Adam does. Leave it away."
            )
        formulas, words = changed, ["without bias correction"]
    if eps_inside:
        changed = tuple(DIVISOR.sub(r"\\sqrt{\g<inside> + \\epsilon}", formula) for formula in formulas)
        if changed == formulas:
            raise RangeError(
                f"explain_step: eps_inside=True was given, but {owner} has no epsilon beside a root. Leave it away."
            )
        formulas, words = changed, [*words, "with epsilon inside the root"]
    return formulas, " and ".join(words)
