r"""Every formula and every vjp rule, computed by the evaluator of ``explain/formulas/evaluate.py``, against the code beside it.

No operation is exempt. Two things are decided and not computed, and the docstrings say so: what is done where a formula means
nothing (the logarithm of 0), and the rule of straight_through, which is none of its formula's derivatives.
"""

import ast
import inspect
import textwrap

import numpy as np
import pytest

import tinyae
import tinyae.models  # noqa: F401  some have an operation of their own
from tinyae.errors import RangeError
from tinyae.explain.formulas import evaluate as evaluator
from tinyae.explain.formulas.binding import bindings, formula_of, letter, pull_values, pulled, rule, symbols
from tinyae.explain.formulas.evaluate import evaluate
from tinyae.explain.formulas.formula import parse
from tinyae.ops import OPERATIONS, Op
from tinyae.tape import unbroadcast

from .formula_cases import FORMULA_CASES

SEEDS = 6
EVERY = {
    cls.name: cls
    for cls in [*OPERATIONS.values(), *Op.__subclasses__()]
    if cls.__module__.startswith("tinyae.") and cls.name != "op"
}


def run(op, arrays, attributes, rng):
    """What the code computes: output, a random gradient for it, and the gradients of the inputs."""
    saved = []
    output = np.asarray(
        op.forward(np, lambda *values: saved.extend(values), *[np.array(a) for a in arrays], **attributes)
    )
    cotangent = rng.normal(size=output.shape).astype(output.dtype)
    needed = ([True] * len(arrays),) if op.selective else ()
    gradients = op.backward(np, tuple(saved), np.array(cotangent), *needed)
    return output, cotangent, gradients if isinstance(gradients, tuple) else (gradients,)


def error(found, expected):
    """The largest difference, measured by the size of what is expected; infinite where shapes differ."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    if found.shape != expected.shape:
        return np.inf
    return float(np.max(np.abs(found - expected), initial=0) / (1 + np.max(np.abs(expected), initial=0)))


def errors(op, make, seed):
    """How far formula and rules are from the code: {"Y": 0.0, "X": 1e-16, ...}."""
    rng = np.random.default_rng(seed)
    arrays, attributes = make(rng)
    output, cotangent, gradients = run(op, arrays, attributes, rng)
    found = {"": error(evaluate(formula_of(op), bindings(op, arrays, attributes), output.shape), output)}
    values = bindings(op, arrays, attributes, output, cotangent)
    for k, symbol in enumerate(symbols(op, len(arrays))):
        if k in op.indices:  # labels and masks are not differentiated
            assert rule(op, symbol) is None
            continue
        shape = np.shape(arrays[k])
        expected = np.zeros(shape) if gradients[k] is None else unbroadcast(gradients[k], shape)
        gradient = pulled(op, symbol, values, shape)
        found[symbol] = error(gradient, expected)
        if op.name == "astype":
            assert gradient.dtype == expected.dtype
    return found


def test_every_operation_has_a_formula_a_rule_for_each_input_and_a_case():
    assert set(FORMULA_CASES) == set(EVERY)
    for name, op in EVERY.items():
        assert formula_of(op).left, name
        for k, symbol in enumerate(symbols(op)):
            assert (rule(op, symbol) is None) == (k in op.indices), (name, symbol)


def test_an_operation_without_a_formula_is_noticed():
    class Nameless(Op):
        name = "nameless"

    with pytest.raises(RangeError, match="the formula is ''"):
        formula_of(Nameless)


@pytest.mark.parametrize("name, case", [(name, k) for name, cases in FORMULA_CASES.items() for k in range(len(cases))])
def test_formula_and_rules_are_what_the_code_computes(name, case):
    for seed in range(SEEDS):
        for symbol, wrong in errors(EVERY[name], FORMULA_CASES[name][case], seed).items():
            assert wrong < (1e-6 if name == "astype" else 1e-12), (seed, symbol or "forward", wrong)


def test_the_evaluator_stands_on_its_own():
    """It would prove nothing if it ran the operations' own lines."""
    seen, open_ = set(), [evaluator]
    while open_:
        module = open_.pop()
        seen.add(module.__name__)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 or node.module in {
                    "tree",
                    "parsing",
                    "functions",
                    "grid",
                    "ranges",
                    "letters",
                    "errors",
                }
                if node.level == 1 and f"tinyae.explain.formulas.{node.module}" not in seen:
                    open_.append(inspect.importlib.import_module(f"tinyae.explain.formulas.{node.module}"))
    assert "tinyae.explain.formulas.grid" in seen


@pytest.mark.parametrize("name", FORMULA_CASES)
def test_the_numbers_written_out_make_the_result(name):
    """The text of an element is read again and computed: its terms are those that make what stands behind the last =."""
    op, rng = EVERY[name], np.random.default_rng(1)
    arrays, attributes = FORMULA_CASES[name][0](rng)
    output, cotangent, gradients = run(op, arrays, attributes, rng)
    values = bindings(op, arrays, attributes, output, cotangent)
    parts = [(formula_of(op), values, output)]
    for symbol, array, gradient in zip(symbols(op, len(arrays)), arrays, gradients):
        if gradient is not None:
            parts.append(
                (rule(op, symbol), pull_values(values, symbol), unbroadcast(np.asarray(gradient), array.shape))
            )
    for formula, known, result in parts:
        for index in list(np.ndindex(result.shape))[:5]:
            text = formula.element(known, index)
            if text is None:  # the elements are only moved
                assert name in ("reshape", "transpose", "getitem", "setitem", "concatenate", "astype")
                continue
            _, *middle, shown = text.split(" = ")
            if any(word in text for word in (r"\cdots", r"\ldots", r"\times", r"\text")):
                continue
            again = evaluate(parse(f"Y = {' = '.join(middle) or shown}"), {})
            assert abs(float(shown) - result[index]) <= 1e-3 * abs(result[index]) + 1e-12, text
            assert abs(again - result[index]) <= 0.01 * (1 + abs(result[index])), text


# ---------------------------------------------------------------- planted mistakes

WRONG = [
    ("affine", "", r"Y = X W - b"),
    ("affine", "X", r"\bar Y W"),  # a forgotten transpose; shapes fit where W is square
    ("affine", "W", r"\bar Y^\top X"),
    ("affine", "b", r"\bar Y"),
    ("mean", "", r"y = \sum_i X_i"),
    ("mean", "X", r"\bar X_i = \bar y"),
    ("sum", "", r"y = \frac{1}{n} \sum_i X_i, \quad n = \sum_i 1"),
    ("tanh", "X", r"(1 + Y^2) \odot \bar Y"),
    ("sigmoid", "X", r"Y \odot \bar Y"),
    ("softmax", "X", r"\bar X_i = Y_i (\bar Y_i - \sum_j Y_j)"),
    ("softmax", "X", r"\bar X_i = 0"),
    ("mse_loss", "P", r"2 (P - T)"),
    ("mse_loss", "T", r"2 (P - T) \odot \bar E"),
    ("cross_entropy", "Z", r"\bar Z_{nk} = P_{nk} \bar E_n, \quad P_{nk} = \frac{e^{Z_{nk}}}{\sum_j e^{Z_{nj}}}"),
    ("conv2d", "", r"Y_{nijo} = b_o + \sum_{u,v,c} X_{n,\, s i + d u,\, s' j + d' v,\, c} W_{uvco}"),
    ("conv2d", "", r"Y_{nijo} = b_o + \sum_{u,v,c} X_{n,\, s' i + d u - p,\, s j + d' v - p',\, c} W_{uvco}"),
    (
        "conv2d",
        "X",
        r"\bar X_{nyxc} = \sum_{i,j,u,v,o} \bar Y_{nijo} W_{uvco} [s i + d u + p = y] [s' j + d' v - p' = x]",
    ),
    ("max_pool2d", "X", r"\bar X_{nyxc} = \sum_{i,j,u,v} \bar Y_{nijc} [s i + u - p = y] [s' j + v - p' = x]"),
    ("upsample_bilinear", "X", r"\bar X_{nijc} = \sum_{y,x} A_{yi} \bar Y_{nyxc}"),
    ("batch_norm", "X", r"\bar X_{nf} = \frac{\gamma_f}{\sqrt{v_f + \epsilon}} \bar Y_{nf}"),
    ("dense", "W_l", r"Y_l^\top \bar Z_l"),
    ("subtract", "Y", r"\bar Z"),
]


@pytest.mark.parametrize("name, symbol, wrong", WRONG)
def test_a_wrong_formula_is_caught(name, symbol, wrong, monkeypatch):
    op = EVERY[name]
    parse(wrong)  # it can be read: it is not for its spelling that it is refused
    if symbol:
        monkeypatch.setattr(op, "vjp", {**op.vjp, symbol: wrong})
    else:
        monkeypatch.setattr(op, "formula", wrong)
    worst = 0.0
    for seed in range(SEEDS):
        try:
            worst = max(worst, *errors(op, FORMULA_CASES[name][0], seed).values())
        except (RangeError, ValueError):
            worst = np.inf  # the shapes do not fit
    assert worst > 1e-3


def test_a_forgotten_transpose_is_caught_where_shapes_fit(monkeypatch):
    op = EVERY["affine"]
    monkeypatch.setattr(op, "vjp", {**op.vjp, "X": r"\bar Y W", "W": r"X \bar Y"})

    def square(r):
        return [r.normal(size=(3, 3)), r.normal(size=(3, 3)), r.normal(size=3)], {}

    found = errors(op, square, 0)
    assert found["X"] > 1e-3 and found["W"] > 1e-3 and found["b"] < 1e-12


# ---------------------------------------------------------------- the letters are those of the code

# letters that a formula defines for itself -> their names in the code
IN_CODE = {
    "gelu": {r"\Phi": "Phi"},
    "mean": {"n": "n"},
    "batch_norm": {r"\hat X": "Xhat", r"\mu": "mean", "v": "variance"},
    "upsample_bilinear": {"A": "A", "B": "B"},
    "dense": {"Y": "Ys", r"\bar Z": "gZ", r"\bar Y": "gY"},
}


@pytest.mark.parametrize("name", EVERY)
def test_variables_are_in_the_code(name):
    """Inputs and attributes are parameters of forward, \\bar Y is backward's gY, and what a formula defines has its name."""
    op = EVERY[name]
    tree = ast.parse(textwrap.dedent(inspect.getsource(op)))
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    parameters = list(inspect.signature(op.forward).parameters)
    left = formula_of(op).left
    allowed = {letter(name) for name in parameters} | {left}
    if f"g{left}" in words:
        allowed.add(rf"\bar {left}")
    for attribute, letters in op.letters.items():
        assert attribute == "axes but the last" or attribute.split(".")[0] in parameters, attribute
        allowed |= set(flattened(letters))
    lists = {key.split("_")[0] for key in op.vjp if "_" in key}
    assert not lists or any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(op.forward).parameters.values())
    if name == "conv_block":  # made of other operations; these are their names in the code
        assert {"UpsampleNearest", "Conv2D", "JOINED", "MaxPool2D"} <= words
        allowed |= {"up", "conv", "pool"}
    formulas = [formula_of(op), *(rule(op, symbol) for symbol in symbols(op) if rule(op, symbol) is not None)]
    for formula in formulas:
        unknown = {v for v in formula.variables() - allowed if v.split("_")[0] not in lists}
        assert not unknown, f"{formula.text}: {unknown} are not in the code of {name}"
    source = words | {word for helper in HELPERS.get(name, ()) for word in names_in(helper)}
    for symbol, word in IN_CODE.get(name, {}).items():
        assert any(symbol in formula.text for formula in formulas), symbol
        assert word in source, f"{symbol} should be {word} in the code of {name}"


HELPERS = {"batch_norm": [tinyae.ops.normalisation.moments]}


def names_in(function):
    return {node.id for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.Name)}


def flattened(letters):
    return [letters] if isinstance(letters, str) else [one for part in letters for one in flattened(part)]


def test_a_letter_that_the_code_does_not_know_is_caught(monkeypatch):
    monkeypatch.setattr(EVERY["affine"], "formula", r"Y = X V + b")
    with pytest.raises(AssertionError, match="'V'"):
        test_variables_are_in_the_code("affine")
