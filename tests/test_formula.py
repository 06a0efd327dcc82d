r"""Formulas as data: what the parser reads and what it refuses, how formulas are printed, and numbers in them."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.explain.formulas.binding import bindings, formula_of, of_step, pull_values, rule, symbols
from tinyae.explain.formulas.evaluate import evaluate, evaluate_all
from tinyae.explain.formulas.formula import parse
from tinyae.explain.formulas.numbers import digits, matrix
from tinyae.ops import OPERATIONS

FORMULAS = [op.formula for op in OPERATIONS.values() if op.__module__.startswith("tinyae")]
RULES = [text for op in OPERATIONS.values() if op.__module__.startswith("tinyae") for text in op.vjp.values()]


# ---------------------------------------------------------------- reading and printing


@pytest.mark.parametrize("text", FORMULAS + RULES)
def test_a_printed_formula_is_read_as_the_same(text):
    formula = parse(text)
    assert parse(formula.latex()).statements == formula.statements


@pytest.mark.parametrize(
    "text, left, variables",
    [
        (r"Y = \frac{1}{1 + e^{-X}}", "Y", {"X"}),
        (r"Y = X W + b", "Y", {"X", "W", "b"}),
        (r"Y_i = \frac{e^{X_i}}{\sum_j e^{X_j}}", "Y", {"X"}),
        (r"E_n = \ln \sum_k e^{Z_{nk}} - Z_{n t_n}", "E", {"Z", "t"}),
        (r"Y = X \odot \Phi, \quad \Phi = \tfrac12 (1 + \operatorname{erf} \tfrac{X}{\sqrt 2})", "Y", {"X"}),
        (r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2", "v", {"v", r"\beta_2", "g"}),
        (r"L = \operatorname{reduce} E, \quad E = |P - T|", "L", {"P", "T", "reduce"}),
        (r"Y_{ij} = X_{s i + d - p,\, \lfloor j / f' \rfloor}", "Y", {"X", "s", "d", "p", "f'"}),
        (r"A = 2 \pi r", "A", {"r"}),
    ],
)
def test_left_side_and_variables(text, left, variables):
    formula = parse(text)
    assert formula.left == left and formula.variables() == variables


def test_a_rule_needs_what_the_formula_defines_to_be_known():
    mse = OPERATIONS["mse_loss"]
    assert rule(mse, "P").variables() == {"P", "T", "reduce", r"\bar L"}  # \bar E comes from \bar L
    assert rule(OPERATIONS["sigmoid"], "X").variables() == {"Y", r"\bar Y"}
    assert rule(OPERATIONS["batch_norm"], "gamma").left == r"\bar \gamma"
    assert rule(OPERATIONS["cross_entropy"], "t") is None


@pytest.mark.parametrize(
    "text, message",
    [
        (r"Y = \foo X", r"'.foo' at place 4"),
        (r"Y = X +", "'its end' at place 7.*something is missing"),
        (r"Y = (X", r"expected \) there"),
        (r"Y = X \text{ where it rains}", "'.text{ where it rains}' at place 6"),
        (r"Y = \begin{cases} X & \text{when } X > 0 \end{cases}", "a case is 'value"),
        (r"Y = \ln", "has no argument"),
        (r"Y = X, Z = 2", "separated by"),
        (r"Y = X = Z", "'=' at place 6"),
        (r"Y = X_{}", "a subscript is empty"),
        (r"Y = X_{n", "never ends"),
        (r"Y = \tanh^2 X", "a power of a function"),
        ("", "the formula is ''"),
        (None, "the formula is None"),
    ],
)
def test_what_is_not_understood_is_named(text, message):
    with pytest.raises(RangeError, match=message):
        parse(text)


# ---------------------------------------------------------------- computing


@pytest.mark.parametrize(
    "text, values, expected",
    [
        (r"Y = 2^3 / 4 - |0 - 1.5|", {}, 0.5),
        (r"Y = -x^2", {"x": 3.0}, -9),
        (r"Y = \frac12 x \sqrt{4}", {"x": 3.0}, 3),
        (r"y = \sum_i X_i Z_i", {"X": [1.0, 2, 3], "Z": [1.0, 0, 2]}, 7),
        (r"y = \max_i X_i", {"X": [1.0, 5, 3]}, 5),
        (r"y = [1 < x \le 3] + [x = 2] + [x \ne 2]", {"x": 2.0}, 2),
        (r"Y = X W", {"X": [[1.0, 2]], "W": [[3.0], [4]]}, [[11]]),
        (r"Y = X^\top X", {"X": [[1.0, 2]]}, [[1, 2], [2, 4]]),
        (r"Y = X \odot X", {"X": [[1.0, 2]]}, [[1, 4]]),
        (r"Y_i = X_{i - 1} + X_{i + 1}", {"X": [1.0, 2, 3], "Y": [0, 0, 0]}, [2, 4, 2]),  # outside is 0
        (r"Y_{ij} = X_{ji}", {"X": [[1.0, 2, 3]]}, [[1], [2], [3]]),
        (r"y = k, \quad k = \operatorname{argmax}_i X_i", {"X": [1.0, 5, 5]}, 1),  # the first
        (r"Y_i = \sum_{u<2} X_{2 i + u}", {"X": [1.0, 2, 3, 4], "Y": [0, 0]}, [3, 7]),
        (r"Y = \begin{cases} x & \text{if } x > 1 \\ 7 & \text{else} \end{cases}", {"x": [0.0, 2]}, [7, 2]),
        (r"Y = \operatorname{softmax}(X)", {"X": [0.0, 0]}, [0.5, 0.5]),
    ],
)
def test_values(text, values, expected):
    values = {name: np.asarray(value) for name, value in values.items()}
    found = evaluate(parse(text), values, np.shape(values.pop("Y")) if "Y" in values else None)
    assert np.allclose(found, expected) and np.shape(found) == np.shape(expected)


@pytest.mark.parametrize(
    "text, values, message",
    [
        (r"Y = X + c", {"X": np.ones(2)}, "no value was given for c"),
        (r"Y_i = 1", {}, "not known how far the index i runs"),
        (r"X W", {}, "X W has no left side"),
        (r"y = \sum_i X_i Z_i", {"X": np.ones(2), "Z": np.ones(3)}, "the index i runs over 2 and, in Z_i, over 3"),
        (r"y = \sum_{i,j} X_{ij}", {"X": np.ones(2)}, "has 2 indices, X"),
        (r"y = A, \quad A = B, \quad B = A", {}, "defines its left side by itself"),
        (r"Y = \operatorname{foo}(X)", {"X": np.ones(2)}, "the function .operatorname{foo} is not known"),
        (r"y = \sum_i X_{i / 2}", {"X": np.ones(2), "i": 2}, "is not an integer"),
    ],
)
def test_what_cannot_be_computed_is_said(text, values, message):
    with pytest.raises(RangeError, match=message):
        evaluate(parse(text), values)


def test_a_missing_sum_is_no_gradient():
    with pytest.raises(RangeError, match="has shape .2, 3., expected .3,."):
        evaluate(parse(r"\bar b = \bar Y"), {"b": np.ones(3), r"\bar Y": np.ones((2, 3))})


@pytest.mark.parametrize("name", ["Adam", "AdaGrad", "RMSProp", "Momentum", "SGD"])
def test_the_lines_of_an_optimizer_are_its_step(name, rng):
    theta = ta.Tensor(rng.normal(size=(2, 3)), requires_grad=True)
    optimizer = getattr(ta, name)([theta], lr=0.1)
    formula = parse(r", \quad ".join(optimizer.formulas()))
    values = {r"\theta": theta.data.copy()} | {state: np.zeros((2, 3)) for state in ("m", "v", "G")}
    for setting, letters in optimizer.letters.items():
        pairs = (
            [(letters, getattr(optimizer, setting))]
            if isinstance(letters, str)
            else zip(letters, getattr(optimizer, setting))
        )
        values |= dict(pairs)
    for t in (1, 2, 3):
        theta.grad = rng.normal(size=(2, 3))
        values = evaluate_all(formula, {**values, "g": theta.grad, "t": t})
        optimizer.step()
        assert np.allclose(values[r"\theta"], theta.data, rtol=1e-13)


# ---------------------------------------------------------------- letters


def test_symbols_and_letters():
    assert symbols(OPERATIONS["affine"]) == ("X", "W", "b")
    assert symbols(OPERATIONS["batch_norm"]) == ("X", r"\gamma", r"\beta")
    assert symbols(OPERATIONS["leaky_relu"]) == ("X",)
    assert symbols(OPERATIONS["cross_entropy"]) == ("Z", "t")
    assert symbols(OPERATIONS["concatenate"], 3) == ("X_1", "X_2", "X_3")
    attributes = {"stride": (2, 1), "padding": ((1, 0), (3, 0)), "dilation": (1, 1)}
    values = bindings(OPERATIONS["conv2d"], [np.ones((1, 4, 4, 1)), np.ones((2, 2, 1, 1)), np.ones(1)], attributes)
    assert [values[letter] for letter in ("s", "s'", "p", "p'", "d", "d'")] == [2, 1, 1, 3, 1, 1]


def test_a_trace_has_what_formulas_need():
    """Each step of a small model, with its numbers, is what the tape says."""
    ta.manual_seed(0)
    model = ta.Sequential(ta.Dense(2, 3, "tanh"), ta.Dense(3, 2, "sigmoid"))
    with ta.trace() as tape:
        x = ta.Tensor([[0.5, -1.0], [0.25, 2.0]])
        ta.mse_loss(model(x), [[0.0, 1.0], [1.0, 0.0]]).backward()
    forward = [step for step in tape.steps() if step.phase == "forward"]
    assert [step.name for step in forward] == ["affine", "tanh", "affine", "sigmoid", "mse_loss"]
    for step in forward:
        formula, values = of_step(step)
        assert np.allclose(evaluate(formula, values, step.output.shape), step.output.array, rtol=1e-5)
    pulls = [(step, pull) for step in tape.steps() for pull in step.pulls]
    assert len(pulls) == 8
    for step, pull in pulls:
        formula, values = of_step(step, pull)
        assert np.allclose(evaluate(formula, values), pull.gradient.array, rtol=1e-4, atol=1e-7)
        assert formula.element(values, (0,) * len(pull.gradient.shape)).endswith(
            digits(evaluate(formula, values)[(0,) * len(pull.gradient.shape)])
        )


def test_the_layers_of_a_joined_chain_have_their_rules():
    ta.manual_seed(0)
    x, w, b = (
        ta.Tensor(np.array([[0.5, -1.0]])),
        ta.Tensor(np.ones((2, 3)), requires_grad=True),
        ta.Tensor(np.ones(3), requires_grad=True),
    )
    with ta.trace() as tape:
        ta.apply(OPERATIONS["dense"], x, w, b, activations=("tanh",)).sum().backward()
    (step,) = [step for step in tape.steps() if step.phase == "backward" and step.name == "dense"]
    assert [(pull.symbol, pull.rule) for pull in step.pulls] == [
        ("W_1", r"Y_{l-1}^\top \bar Z_l"),
        ("b_1", r"\sum_n \bar Z_{ln}"),
    ]
    formula, values = of_step(step, step.pulls[0])
    assert np.allclose(evaluate(formula, values), step.pulls[0].gradient.array, rtol=1e-5)


class Own(ta.Op):
    name, formula, vjp = "own", r"Y = \text{twice } X", {"X": r"2 \bar Y"}

    @staticmethod
    def forward(xp, save, X):
        return 2 * X

    @staticmethod
    def backward(xp, saved, gY):
        return 2 * gY


def test_an_operation_of_the_users_own_may_say_its_formula_in_words():
    with ta.trace() as tape:
        ta.apply(Own, ta.Tensor([1.0], requires_grad=True)).backward(np.ones(1, np.float32))
    forward, backward = tape.steps()
    assert of_step(forward) == (None, None) and of_step(backward, backward.pulls[0]) == (None, None)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "x, text",
    [
        (0.04, "0.04"),
        (-3.0, "-3"),
        (123456.0, "123456"),
        (0.123456, "0.1235"),
        (1.2e-5, r"1.2 \times 10^{-5}"),
        (-2.5e20, r"-2.5 \times 10^{20}"),
        (float("nan"), r"\text{NaN}"),
        (float("-inf"), r"-\infty"),
        (np.float32(0.1), "0.1"),
        (np.int64(7), "7"),
        (-0.0, "0"),
        (True, "1"),
    ],
)
def test_digits(x, text):
    assert digits(x) == text


def test_matrices():
    assert matrix(np.array([[1, -2.5]])) == r"\begin{bmatrix} 1 & -2.5 \end{bmatrix}"
    assert matrix(np.zeros((2, 2, 2))) is None
    corners = matrix(np.arange(64).reshape(8, 8))
    assert corners.startswith(r"\begin{bmatrix} 0 & 1 & 2 & 3 & \cdots & 7 \\ 8 & 9")
    assert r"\vdots & \vdots & \vdots & \vdots & \ddots & \vdots \\ 56" in corners and corners.count(r"\\") == 5


def numbers_of(name, arrays, index, attributes=None, symbol=None, cotangent=None):
    """One element of an operation's result, or of the gradient of an input."""
    op = OPERATIONS[name]
    arrays = [np.asarray(array) for array in arrays]
    output = op.forward(np, lambda *saved: None, *arrays, **(attributes or {}))
    values = bindings(op, arrays, attributes, output, cotangent)
    if symbol is None:
        return formula_of(op).element(values, index)
    return rule(op, symbol).element(pull_values(values, symbol), index)


X, W, B = np.array([[0.5, -2.0]]), np.array([[0.1, 1.0], [0.7, 4.0]]), np.array([0.2, -1.0])
POOL = {"size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
IMAGE = np.arange(16.0).reshape(1, 4, 4, 1)
CONV = {"stride": (2, 2), "padding": ((1, 0), (1, 0)), "dilation": (1, 1)}
MEAN, AXIS = {"reduction": "mean"}, {"axis": -1}


@pytest.mark.parametrize(
    "given, text",
    [
        (("affine", (X, W, B), (0, 0)), r"Y_{00} = 0.5 \cdot 0.1 + (-2) \cdot 0.7 + 0.2 = -1.15"),
        (("affine", (X, W, B), (0, 1), None, "X", [[3.0, -1]]), r"\bar X_{01} = 3 \cdot 0.7 + (-1) \cdot 4 = -1.9"),
        (("affine", (X, W, B), (1, 0), None, "W", [[3.0, -1]]), r"\bar W_{10} = -2 \cdot 3 = -6"),
        (("affine", (X, W, B), (1,), None, "b", [[3.0, -1]]), r"\bar b_{1} = -1"),
        (("sigmoid", (X,), (0, 1)), r"Y_{01} = \frac{1}{1 + e^{-(-2)}} = 0.1192"),
        (("relu", (X,), (0, 1), None, "X", [[3.0, -1]]), r"\bar X_{01} = [-2 > 0] \cdot (-1) = 0"),
        (("leaky_relu", (X,), (0, 1), {"s": 0.1}), r"Y_{01} = 0.1 \cdot (-2) = -0.2"),
        (("power", (X,), (0, 1), {"p": 2}), r"Y_{01} = (-2)^2 = 4"),
        (("subtract", (X, X), (0, 1)), r"Z_{01} = -2 - (-2) = 0"),
        (("add", (X, np.ones(2)), (1,), None, "Y", [[3.0, -1]]), r"\bar Y_{1} = -1"),
        (("softmax", (X,), (0, 0), AXIS), r"Y_{00} = \frac{e^{0.5}}{e^{0.5} + e^{-2}} = 0.9241"),
        (("mean", (X,), (), {"axis": None, "keepdims": False}), r"y = \frac{1}{2} (0.5 + (-2)) = -0.75"),
        (("mse_loss", (X, X + 1), (), MEAN), r"L = \tfrac{1}{2} ((0.5 - 1.5)^2 + (-2 - (-1))^2) = 1"),
        (("mse_loss", (X, X + 1), (0, 0), MEAN, "P", 1.0), r"\bar P_{00} = 2 (0.5 - 1.5) \cdot 0.5 = -1"),
        (
            (
                "conv2d",
                (IMAGE, np.ones((2, 2, 1, 1)), [0.5]),
                (0, 0, 0, 0),
                CONV,
            ),  # three of the four places lie in the margin
            r"Y_{0000} = 0.5 + 0 \cdot 1 = 0.5",
        ),
        (
            ("conv2d", (IMAGE, np.ones((2, 2, 1, 1)), [0.5]), (0, 1, 1, 0), CONV),
            r"Y_{0110} = 0.5 + 5 \cdot 1 + 6 \cdot 1 + 9 \cdot 1 + 10 \cdot 1 = 30.5",
        ),
        (("max_pool2d", (IMAGE,), (0, 0, 1, 0), POOL), r"Y_{0010} = \max(2, 3, 6, 7) = 7"),
        (
            ("sum", (np.arange(12.0),), (), {"axis": None, "keepdims": False}),
            r"y = 0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + \cdots = 66",
        ),
        (("tanh", (np.zeros((1, 12)),), (0, 11)), r"Y_{0,11} = \tanh 0 = 0"),
        (("log", (np.array([0.0]),), (0,)), r"Y_{0} = \ln 0 = -\infty"),
        (("sqrt", (np.array([np.nan]),), (0,)), r"Y_{0} = \sqrt{\text{NaN}} = \text{NaN}"),
        (("matmul", (X[0], W), (1,)), r"Y_{1} = 0.5 \cdot 1 + (-2) \cdot 4 = -7.5"),
        (("reshape", (X,), (0,), {"shape": (2,)}), None),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_one_element_with_its_numbers(given, text):
    assert numbers_of(*given) == text


def test_a_result_that_is_given_is_shown():
    values = bindings(OPERATIONS["negative"], [np.array([0.5])])
    assert formula_of(OPERATIONS["negative"]).element(values, (0,), result=np.float32(-0.5)) == r"Y_{0} = -0.5"


def test_a_whole_formula_with_its_numbers():
    affine, loss, conv = OPERATIONS["affine"], OPERATIONS["mse_loss"], OPERATIONS["conv2d"]
    row = r"\begin{bmatrix} 0.5 & -2 \end{bmatrix}"
    text = formula_of(affine).with_numbers(bindings(affine, [X, W, B]), X @ W + B)
    assert text == (
        rf"Y = {row} \begin{{bmatrix}} 0.1 & 1 \\ 0.7 & 4 \end{{bmatrix}} + \begin{{bmatrix}} 0.2 & -1 \end{{bmatrix}}"
        r" = \begin{bmatrix} -1.15 & -8.5 \end{bmatrix}"
    )
    join, take, turn = OPERATIONS["concatenate"], OPERATIONS["getitem"], OPERATIONS["transpose"]
    text = formula_of(join).with_numbers(bindings(join, [X[0], X[0], W[0]], {"axis": 0}))
    assert text.count("bmatrix") == 6 and "ldots" not in text
    text = formula_of(take).with_numbers(bindings(take, [X], {"index": (slice(None), slice(0, None, 2), 1)}))
    assert text.endswith(r", \text{[:, 0::2, 1]}\right)")
    assert r", (1, 0)\right)" in formula_of(turn).with_numbers(bindings(turn, [X], {"axes": None}))
    text = formula_of(loss).with_numbers(bindings(loss, [X, X], MEAN))
    assert text == rf"L = \operatorname{{mean}}\left(\left({row} - {row}\right)^2\right)"
    values = bindings(conv, [IMAGE, np.ones((2, 2, 1, 1)), np.ones(1)], CONV)
    assert formula_of(conv).with_numbers(values) == (
        r"Y_{nijo} = b_o + \sum_{u,v,c} X_{n,\, 2 i + u - 1,\, 2 j + v - 1,\, c} W_{uvco}"
    )
