"""The tape for a terminal: every step with its formula, its numbers, and the line of the user's program."""

import numpy as np

from ..formulas.plain import plain
from .sources import shown_name
from .telling import about, algorithm, attributes, bar, remark, rule_of, sentence, settings_told, title

SMALL = 64  # numbers of an array that are printed; of a larger one the range is


def text(tape):
    """All steps of a tape as text, one after the other; numbers have 4 significant digits."""
    steps = tape.steps()
    if not steps:
        return (
            "The tape is empty: no operation ran inside the block. Compute something inside `with ta.trace() as tape:`."
        )
    blocks = [step_text(step) for step in steps]
    return "\n\n".join([*blocks, tape.note] if tape.note else blocks)


def step_text(step):
    """One step."""
    layer = f" in {step.layer}" if step.layer else ""
    head = f"Step {step.number} · {step.phase} · {title(step)}{layer}"
    lines = [head, f"    {sentence(step)}"]
    if step.phase == "forward" and about(step):
        lines.append(f"    {about(step)}")
    if step.file:
        lines.append(f"    {shown_name(step.file)}:{step.line}: {step.code.strip()}")
    lines.append("")
    lines += {"forward": forward, "backward": backward, "update": update}[step.phase](step)
    return "\n".join(lines)


def forward(step):
    """Formula, inputs, result."""
    told = attributes(step)
    lines = [f"    {plain(step.formula)}{f'   with {told}' if told else ''}"]
    for symbol, value in zip(step.symbols, step.inputs):
        lines += named(plain(symbol), value)
    return lines + named(plain(step.output_symbol), step.output)


def backward(step):
    """The gradient that arrived, and for each input: the rule, what was there before, the share, the sum."""
    lines = []
    if step.gradient is not None:
        lines += named(f"{plain(bar(step.output_symbol))}, the gradient that has arrived", step.gradient, label=False)
    for pull in step.pulls:
        lines += ["", f"    {plain(rule_of(pull))}      for {pull.target}" if pull.symbol else f"    {pull.target}"]
        if more := remark(step, pull):
            lines.append(f"    {more}")
        lines += named("share", pull.gradient, label=False)
        if pull.before is not None:
            lines += named("before", pull.before, label=False)
            lines += named("before + share", pull.after, label=False)
        else:
            lines.append("    before: nothing had arrived yet, so the sum is this share")
    return lines


def update(step):
    """The lines of the algorithm, and for each parameter: before, gradient, state, after."""
    lines = [f"    {plain(line)}" for line in algorithm(step)]
    for i, part in enumerate(step.updates):
        if i == 0:
            told = [f"{plain(letter) if letter else name} = {value}" for letter, name, value in settings_told(step)]
            lines.append(f"    with {', '.join(told)}")
        lines += ["", f"    {part.label}"]
        lines += named("before", part.parameter_before, label=False)
        lines += named("gradient", part.gradient, label=False)
        for name in part.state_after:
            lines += named(f"{plain(name)} before", part.state_before.get(name), label=False)
            lines += named(f"{plain(name)} after", part.state_after[name], label=False)
        lines += named("after", part.parameter_after, label=False)
    return lines


def named(name, value, label=True):
    """``W = W1 (2, 3) float32`` and below it the numbers."""
    if value is None:
        return [f"    {name}: not computed"]
    own = f" = {value.label}" if label and value.label and value.label != name else ""
    head = f"    {name}{own}, {shape_text(value.shape)} {value.dtype}"
    if value.array is None or value.array.size > SMALL:
        return [f"{head}: {range_text(value)}"]
    numbers = np.array2string(
        value.array, separator=", ", formatter={"float_kind": rounded}, max_line_width=100, threshold=SMALL + 1
    ).split("\n")
    if len(numbers) == 1:
        return [f"{head}: {numbers[0]}"]
    return [f"{head}:", *(f"        {row}" for row in numbers)]


def shape_text(shape):
    """``2 x 3``, or ``one number``."""
    return " x ".join(map(str, shape)) if shape else "one number"


def range_text(value):
    """The range and the mean of an array that is too large to print."""
    parts = []
    if value.low is not None:
        parts.append(f"from {rounded(value.low)} to {rounded(value.high)}, mean {rounded(value.mean)}")
    parts += [f"{n} {what}" for n, what in ((value.nans, "NaN"), (value.infinities, "infinite")) if n]
    return ", ".join(parts)


def rounded(number):
    """4 significant digits."""
    return f"{number:.4g}"
