"""What a step of the tape does, in one sentence, and the formulas that go with it: for the terminal and for the page."""

import re

from ...optim import OPTIMIZERS

ROLE = re.compile(r":\w+:`([^`]*)`|``([^`]*)``")  # :math:`x` and ``x`` of the docstrings


def title(step):
    """The heading of a step: ``affine``, ``affine, backwards``, ``Adam, step 1``."""
    if step.phase == "backward":
        return f"{step.name}, backwards" if step.operation else step.name
    if step.phase == "update":
        return f"{step.name}, step {step.updates[0].t}" if step.updates else step.name
    return step.name


def sentence(step):
    """What happens, in one sentence."""
    if step.phase == "forward":
        return f"{step.name} computes {step.output.label} from {listed([v.label for v in step.inputs]) or 'nothing'}."
    if step.phase == "backward" and step.operation is None:
        return "An earlier backward pass has left gradients in .grad; the new ones are added to them."
    if step.phase == "backward":
        targets = unique(pull.target for pull in step.pulls)
        made = f", which made {step.output.label} in step {step.source}" if step.source and step.output else ""
        if not targets:
            return f"The gradient arrives at {step.name}{made}; no share of it goes on."
        each = f"each of {listed(targets)}" if len(targets) > 1 else targets[0]
        return f"The chain rule at {step.name}{made}: the gradient that has arrived becomes a share for {each}."
    n = len(step.updates)
    what = f"each of the {n} parameters" if n > 1 else step.updates[0].label if n else "nothing"
    return f"{step.name} changes {what}, using the gradient that the backward pass has left there."


def about(step):
    """The first sentence of the operation's own description, without markup; "" if there is none."""
    text = (getattr(step.operation, "__doc__", None) or "").strip().split("\n\n")[0]
    text = ROLE.sub(lambda found: plain_or(found), " ".join(text.split()))
    end = re.search(r"(?<=[a-z0-9)\]*])\.(?: |$)", text)
    return text[: end.start() + 1] if end else text


def plain_or(found):
    """A role of a docstring as text: formulas respelled, code as it is."""
    from ..formulas.plain import plain

    return plain(found[1]) if found[1] is not None else found[2]


def attributes(step):
    """What else the operation was told: ``axis = 0, reduction = 'mean'``."""
    return ", ".join(f"{name} = {short(value)}" for name, value in (step.attributes or {}).items())


def short(value, limit=60):
    """A setting in a few letters."""
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def algorithm(step):
    """The lines of an optimizer's algorithm, in LaTeX."""
    return [line.strip() for line in re.split(r",?\s*\\quad\s*", step.formula or "") if line.strip()]


def settings_told(step):
    """The settings of an optimizer: (letter in LaTeX or None, name, number as text), one for each letter, and t.

    A letter that is in none of the lines is left out: without weight decay there is no lambda to speak of.
    """
    if not step.updates:
        return []
    update, found = step.updates[0], []
    letters = letters_of(step)
    for name, value in update.settings.items():
        own = letters.get(name)
        if isinstance(own, tuple):
            found += [(each, name, short(v)) for each, v in zip(own, value)]
        else:
            found.append((own, name, short(value)))
    used = [one for one in found if one[0] is None or one[0] in (step.formula or "")]
    return [*used, ("t", "number of the step", str(update.t))]


def letters_of(step):
    """The letters of an optimizer's settings; none for one that is not ours."""
    return next((optimizer.letters for optimizer in OPTIMIZERS.values() if optimizer.__name__ == step.name), {})


def rule_of(pull):
    r"""The rule of a share as a whole equation: ``\bar X = \bar Y W^\top``."""
    rule = pull.rule or ""
    return (
        rule if re.match(r"\\bar\s*\{?\s*\\?\w+\}?\s*(_(\{[^}]*\}|\w)\s*)?=", rule) else f"{bar(pull.symbol)} = {rule}"
    )


def bar(symbol):
    r"""The letter of a gradient, ``\bar W`` for W; an index stays below: ``\bar X_k``."""
    letter, _, index = symbol.partition("_")
    letter = f"\\{letter}" if len(letter) > 1 and letter.isalpha() and letter in GREEK else letter
    body = f"\\bar {letter}" if len(letter.lstrip("\\")) == 1 or letter.startswith("\\") else f"\\bar{{{letter}}}"
    return f"{body}_{{{index}}}" if index else body


def letter(symbol):
    r"""A symbol as LaTeX: ``\gamma`` for gamma."""
    return bar(symbol).replace("\\bar", "", 1).strip() if symbol else ""


REDUCED = {
    "mean": "Ē is what reaches each term E of the loss: L̄ divided by the number of terms, as L is their mean.",
    "sum": "Ē is what reaches each term E of the loss: L̄ itself, as L is their sum.",
    "none": "Ē is what reaches each term E of the loss: that of L̄ in the same place, as the terms are not added up.",
}


def remark(step, pull):
    """What a reader needs beside the rule of a share: what its letters mean, why sums are taken; "" if nothing."""
    of_loss = r"\bar E" in (pull.rule or "") and REDUCED.get((step.attributes or {}).get("reduction"), "")
    return of_loss or stretched(step, pull)


def stretched(step, pull):
    """A sentence, where a smaller input was stretched to the shape of the others; else ""."""
    if step.gradient is None or not getattr(step.operation, "broadcasts", False):
        return ""
    small, large = pull.gradient.shape, step.gradient.shape
    if small == large or step.name == "matmul":
        return ""
    return f"{pull.target} was stretched from shape {small} to {large}: each copy sends a share, and they are added up."


GREEK = ("gamma", "beta", "alpha", "mu", "sigma", "theta")


def listed(names):
    """``a, b and c``."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def unique(names):
    """Each once, in the order of its first appearance."""
    return list(dict.fromkeys(names))
