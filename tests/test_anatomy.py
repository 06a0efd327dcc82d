"""The anatomy of a step: to the last bit what the optimizer has, by formulas that hold, and what is refused."""

import copy
import re

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError
from tinyae.explain.anatomy_lines import COMPUTED, NAMES, columns_of
from tinyae.explain.formulas.evaluate import evaluate
from tinyae.explain.formulas.formula import parse
from tinyae.optim import OPTIMIZERS

ALL = {
    "gd": lambda p: ta.GradientDescent(p, 0.1),
    "sgd": lambda p: ta.SGD(p, 0.1, weight_decay=0.03),
    "momentum": lambda p: ta.Momentum(p, 0.05, 0.8),
    "nesterov": lambda p: ta.Momentum(p, 0.05, 0.8, nesterov=True, weight_decay=0.02),
    "adagrad": lambda p: ta.AdaGrad(p, 0.1),
    "rmsprop": lambda p: ta.RMSProp(p, 0.01),
    "adam": lambda p: ta.Adam(p, 0.02),
    "adamw": lambda p: ta.Adam(p, 0.02, (0.8, 0.95), 1e-3, weight_decay=0.1),
}
INDEX = (3, 7)


def stepped(make, steps, dtype="float32", shape=(40, 30), **options):
    """(optimizer, its parameter, the trace, theta and state at INDEX after each step)."""
    rng = np.random.default_rng(1)
    w = ta.Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype)
    optimizer, seen = make([w]), []
    index = INDEX if len(shape) == 2 else (0,) * len(shape)
    with ta.trace(phases="update", watch=[w], **options) as tape:
        for _ in range(steps):
            w.grad = np.asarray(np.sin(3 * w.data) + 0.3 * rng.normal(size=shape), w.dtype)
            optimizer.step()
            seen.append(
                {"theta": w.data[index], "g": w.grad[index]} | {k: a[index] for k, a in optimizer.state[0].items()}
            )
    return optimizer, w, tape, seen


# ---------------------------------------------------------------- the formulas of the optimizers


@pytest.mark.parametrize("name", ALL)
def test_the_lines_of_an_optimizer_are_its_update(name, rng):
    """Evaluated one after the other, in float64, they give the weight and the state that ``update`` gives."""
    optimizer = ALL[name]([ta.Tensor([1.0], requires_grad=True)])
    optimizer.t = 3
    theta, g = rng.normal(size=(2, 7))
    state = {name: rng.random(7) for name in optimizer.state_names}
    betas = getattr(optimizer, "betas", (0, 0))
    values = {r"\theta": theta, "g": g, **state, "t": 3, r"\beta_1": betas[0], r"\beta_2": betas[1]}
    for setting, letter in optimizer.letters.items():
        if setting != "betas":
            values[letter] = getattr(optimizer, setting)
    for line in optimizer.formulas():
        formula = parse(line)
        values[formula.left] = evaluate(formula, values, (7,))
    after, ours = theta.copy(), {name: array.copy() for name, array in state.items()}
    optimizer.update(np, after, g, **ours)
    assert np.allclose(values[r"\theta"], after, rtol=1e-13, atol=1e-15) and not np.allclose(after, theta)
    for name, array in ours.items():
        assert np.allclose(values[name], array, rtol=1e-13)


@pytest.mark.parametrize("optimizer", [cls for cls in OPTIMIZERS.values() if not cls.needs_closure])
def test_the_docstring_has_the_same_formulas(optimizer):
    lines = {line.formula for line in optimizer.lines}
    block = re.search(r"\.\. math::\n((?: {4,}.*\n)+)", optimizer.__doc__)
    shown = [] if block is None else [part.replace("&", "").strip() for part in block[1].split(r"\\")]
    inline = re.findall(r":math:`([^`]*\\leftarrow[^`]*)`", " ".join(optimizer.__doc__.split()))
    others = {r"v \leftarrow \mu v - \eta g"}  # how a paper writes it
    assert shown or inline or optimizer is ta.SGD
    for formula in [*shown, *inline]:
        assert " ".join(formula.split()) in lines | others
    if shown:
        assert {line.formula for line in optimizer.lines if line.when in ("", "not nesterov")} == set(shown)


def test_a_line_is_switched_by_its_setting():
    w = [ta.Tensor([1.0], requires_grad=True)]
    assert ta.Adam(w, weight_decay=0.1).formulas()[0] == r"\theta \leftarrow \theta - \eta \lambda \theta"
    assert len(ta.Adam(w).formulas()) == 5
    assert r"s = v" in ta.Momentum(w, 0.1).formulas() and r"s = v" not in ta.Momentum(w, 0.1, nesterov=True).formulas()


@pytest.mark.parametrize("right", COMPUTED)
def test_the_code_beside_a_formula_is_the_formula(right, rng):
    """All of ``COMPUTED`` against the evaluator, on random numbers."""
    values = {letter: rng.uniform(0.1, 0.9) for letter in NAMES} | {"t": 3}
    known = {name: values[letter] for letter, name in NAMES.items()}
    from types import SimpleNamespace

    assert np.isclose(COMPUTED[right](SimpleNamespace(**known)), evaluate(parse(f"y = {right}"), values), rtol=1e-13)


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_the_numbers_are_the_optimizers_own_to_the_last_bit(name, dtype, kernels):
    with ta.use_kernels(kernels):
        optimizer, w, tape, seen = stepped(ALL[name], 100, dtype)
    explained = ta.explain_step(optimizer, w, INDEX, steps=100)
    assert [row.t for row in explained.rows] == list(range(1, 101))
    for row, truth in zip(explained.rows, seen):
        for key, number in truth.items():
            assert row.values[key] == number and row.values[key].dtype == np.dtype(dtype)
    assert explained.rows[-1].values["theta"] == w.data[INDEX]
    if kernels == "reference":
        assert not any(row.rounding for row in explained.rows)
        for row in explained.rows:  # what lies between is what update computes: it leads to the same weight
            start = row.values.get("theta_decayed", row.values["theta_before"])
            assert start + row.values["delta_theta"] == row.values["theta"]
            assert row.values["delta_theta"].dtype == np.dtype(dtype)


def test_a_kernel_that_rounds_otherwise_is_said_to():
    with ta.use_kernels("fast"):
        optimizer, w, _, _ = stepped(ALL["adam"], 60)
    explained = ta.explain_step(optimizer, w, INDEX, steps=60)
    found = [(row, name) for row in explained.rows for name in row.rounding]
    assert found  # in float32 some of 180 numbers do
    for row, name in found:
        defined, units = row.rounding[name]
        assert defined != row.values[name] and 1 <= abs(units)
        assert np.isclose(defined, row.values[name], rtol=1e-5)  # more than a few units only near 0, where terms cancel
    text = explained.text()
    assert "the kernel rounds otherwise than the definition" in text and "*" in text.splitlines()[found[0][0].t + 2]


def test_adam_by_hand():
    """The first step with g = 0.5: every number can be had with a pencil."""
    w = ta.Tensor([1.0], requires_grad=True, dtype="float64")
    adam = ta.Adam([w], 0.1)
    with ta.trace():
        (w * 0.5).sum().backward()
        adam.step()
    values = ta.explain_step(adam, w, 0).rows[0].values
    expected = {"g": 0.5, "m": 0.05, "v": 0.00025, "m_hat": 0.5, "v_hat": 0.25, "share": 1e-8 / (0.5 + 1e-8),
                "delta_theta": -0.05 / (0.5 + 1e-8), "theta_before": 1.0, "theta": 1 - 0.05 / (0.5 + 1e-8)}  # fmt: skip
    assert values.keys() == expected.keys()
    assert all(np.isclose(values[name], number, rtol=1e-12) for name, number in expected.items())


def test_without_a_trace_the_last_step_is_read_from_the_state():
    w = ta.Tensor([3.0, -2.0], requires_grad=True, dtype="float64")
    adam = ta.Adam([w], 0.1)
    for _ in range(4):
        adam.zero_grad()
        (w * w).sum().backward()
        adam.step()
    explained = ta.explain_step(adam, 0, -1)
    (row,) = explained.rows
    assert (row.t, explained.index) == (4, (1,)) and row.values["theta_before"] is None
    assert row.values["m"] == adam.state[0]["m"][1] and row.values["m_hat"] == adam.state[0]["m"][1] / (1 - 0.9**4)
    assert "?" in explained.text() and "with ta.trace" in explained.note
    adam.zero_grad()
    with pytest.raises(RangeError, match="has no gradient any more.*before zero_grad"):
        ta.explain_step(adam, 0, 0)


@pytest.mark.parametrize("g", [np.nan, np.inf, 0.0])
def test_numbers_that_are_none_are_shown(g, tmp_path):
    w = ta.Tensor(3.0, requires_grad=True)
    adam = ta.Adam([w], 0.1)
    with ta.trace(phases="update"), np.errstate(all="ignore"):
        w.grad = np.array(g, np.float32)
        adam.step()
    explained = ta.explain_step(adam, w, (), eps_inside=True, bias_correction=False)
    shown = {"nan": "NaN", "inf": "∞", "0.0": "0"}[str(g)]
    assert f"= {shown}   (running mean of the gradient)" in explained.text() and explained.html()
    assert np.array_equal(explained.rows[0].values["theta"], w.data[()], equal_nan=True)


def test_wherever_the_parameter_is(backend):
    w = ta.Tensor(np.ones((3, 2), np.float32), requires_grad=True).to(backend)
    optimizer = ta.RMSProp([w], 0.1)
    (w * w).sum().backward()
    optimizer.step()
    alone = ta.explain_step(optimizer, w, (1, 1)).rows[0].values
    with ta.trace():
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    traced = ta.explain_step(optimizer, w, (1, 1)).rows[0].values
    assert alone["theta"] == traced["theta_before"] and traced["theta"] == w.numpy()[1, 1]


def test_what_is_not_known_is_not_made_up():
    w = ta.Tensor([3.0], requires_grad=True)
    sgd = ta.SGD([w], 0.1, weight_decay=0.5)
    (w * w).sum().backward()
    sgd.step()
    values = ta.explain_step(sgd, w, 0).rows[0].values
    assert values["g"] == 6 and values["g_decayed"] is None and values["delta_theta"] is None


def test_an_optimizer_of_ones_own_is_explained_too():
    class SignDescent(ta.Optimizer):
        state_names = ("n",)

        def update(self, xp, theta, g, n):
            n += 1
            theta -= self.lr * xp.sign(g)

    w = ta.Tensor([3.0], requires_grad=True, dtype="float64")
    optimizer = SignDescent([w], 0.5)
    with ta.trace(phases="update"):
        (w * w).sum().backward()
        optimizer.step()
    explained = ta.explain_step(optimizer, w, 0)
    values = explained.rows[0].values
    assert (values["g"], values["n"], values["delta_theta"], values["theta"]) == (6, 1, -0.5, 2.5)
    assert "SignDescent" in explained.text() and explained.html()


# ---------------------------------------------------------------- the switches


class WithoutCorrection(ta.Adam):
    def update(self, xp, theta, g, m, v):
        beta1, beta2 = self.betas
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        theta -= self.lr * m / (xp.sqrt(v) + self.eps)


class EpsilonInside(ta.Adam):
    def update(self, xp, theta, g, m, v):
        beta1, beta2 = self.betas
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        theta -= self.lr * (m / (1 - beta1**self.t)) / xp.sqrt(v / (1 - beta2**self.t) + self.eps)


@pytest.mark.parametrize(
    "changed, switches", [(WithoutCorrection, {"bias_correction": False}), (EpsilonInside, {"eps_inside": True})]
)
def test_a_switch_shows_the_changed_algorithm_on_the_same_gradients(changed, switches):
    with ta.use_kernels("reference"):
        optimizer, w, tape, seen = stepped(lambda p: ta.Adam(p, 0.1, eps=1e-3), 20, "float64", (4, 8))
    explained = ta.explain_step(optimizer, w, INDEX, steps=20, **switches)
    twin = ta.Tensor([explained.rows[0].values["theta_before"]], requires_grad=True, dtype="float64")
    other = changed([twin], 0.1, eps=1e-3)
    for row, truth in zip(explained.rows, seen):
        twin.grad = np.array([truth["g"]])
        other.step()
        assert row.changed["theta"] == twin.data[0] and row.changed["m"] == row.values["m"]
    assert explained.rows[-1].changed["theta"] != explained.rows[-1].values["theta"]
    assert explained.switches in explained.text() and explained.switches in explained.html()


def test_without_correction_the_first_step_of_adam_is_three_times_too_large():
    optimizer, w, _, _ = stepped(lambda p: ta.Adam(p, 0.1), 1, "float64", (4, 8))
    row = ta.explain_step(optimizer, w, INDEX, bias_correction=False).rows[0]
    assert np.isclose(row.changed["delta_theta"] / row.values["delta_theta"], 0.1 / np.sqrt(0.001), rtol=1e-5)


# ---------------------------------------------------------------- shown


@pytest.mark.parametrize("name", ALL)
def test_it_can_be_shown(name):
    optimizer, w, _, _ = stepped(ALL[name], 5, "float64", (4, 8))
    explained = ta.explain_step(optimizer, w, INDEX, steps=2)
    text, html = explained.text(), explained.html()
    assert "w[3, 7], steps 4 to 5 of" in text and f"{explained.rows[-1].values['theta']:.6g}" in text
    assert (
        "src=" not in html.split("<script>")[0] and "katex" in html and f"{explained.rows[0].values['g']:.6g}" in html
    )
    assert explained._repr_html_().startswith("<iframe") and str(explained) == text
    lines = explained.latex()
    assert len(lines) == len([column for column in explained.columns if column.formula])
    assert any("g" in line for line in lines)


def test_formulas_with_numbers():
    w = ta.Tensor([1.0], requires_grad=True, dtype="float64")
    adam = ta.Adam([w], 0.1)
    with ta.trace(phases="update"):
        (w * 0.5).sum().backward()
        adam.step()
    lines = ta.explain_step(adam, w, 0).latex()
    assert lines[0] == r"m \leftarrow \beta_1 m + (1 - \beta_1) g = 0.9 \cdot 0 + (1 - 0.9) \cdot 0.5 = 0.05"
    assert lines[2].endswith("= 0.5") and r"1 - 0.9^1" in lines[2]
    with pytest.raises(RangeError, match="row is 1; there are 1"):
        ta.explain_step(adam, w, 0).latex(1)


def test_a_plot(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("gd", "adam"):
        optimizer, w, _, _ = stepped(ALL[name], 5, "float64", (4, 8))
        ta.explain_step(optimizer, w, INDEX, eps_inside=name == "adam").plot(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


# ---------------------------------------------------------------- refused


def test_columns_have_names_of_their_own():
    for make in ALL.values():
        optimizer = make([ta.Tensor([1.0], requires_grad=True)])
        names = [column.name for column in columns_of(optimizer.formulas(), optimizer.state_names)]
        assert len(set(names)) == len(names) and "delta_theta" in names


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((0, (4, 0)), RangeError, r"index is \(4, 0\); expected that of one number of a parameter of shape \(4, 8\)"),
        ((0, 3), RangeError, "index is 3"),
        ((0, "a"), DtypeError, "index is 'a'; expected an integer or a tuple"),
        ((0, (1.0, 2)), DtypeError, "expected an integer"),
        ((1, (0, 0)), RangeError, "parameter is 1; this Adam has 1"),
        (
            (np.zeros((4, 8)), 0),
            DtypeError,
            "parameter is ndarray.*; expected one of optimizer.params, its position or",
        ),
        (("bias", (0, 0)), RangeError, "no parameter called 'bias'; the trace knows w"),
        ((ta.Tensor([1.0], requires_grad=True), 0), RangeError, "is none of the 1 of this Adam"),
    ],
)
def test_a_weight_that_is_not_there(arguments, error, message):
    optimizer, _, _, _ = stepped(ALL["adam"], 1, shape=(4, 8))
    with pytest.raises(error, match=message):
        ta.explain_step(optimizer, *arguments)


def test_what_cannot_be_explained():
    w = ta.Tensor([1.0], requires_grad=True)
    with pytest.raises(RangeError, match="this Adam has not made a step yet. Compute a loss, call"):
        ta.explain_step(ta.Adam([w]), w, 0)
    with pytest.raises(RangeError, match="LBFGS are made by SciPy"):
        ta.explain_step(ta.LBFGS([w]), w, 0)
    with pytest.raises(DtypeError, match="optimizer is 3; expected an optimizer"):
        ta.explain_step(3, w, 0)
    sgd, w, tape, _ = stepped(lambda p: ta.SGD(p, 0.1), 1, shape=(4, 8))
    with pytest.raises(RangeError, match="bias_correction=False was given, but SGD corrects no bias; only Adam"):
        ta.explain_step(sgd, w, INDEX, bias_correction=False)
    with pytest.raises(RangeError, match="eps_inside=True was given, but SGD has no epsilon"):
        ta.explain_step(sgd, w, INDEX, eps_inside=True)
    with pytest.raises(RangeError, match="steps is 0"):
        ta.explain_step(sgd, w, INDEX, steps=0)
    other = ta.Adam([w])
    other.t = 1
    with pytest.raises(RangeError, match="the tape has no step of this Adam with this parameter"):
        ta.explain_step(other, w, INDEX, tape=tape)


def test_a_trace_without_room_says_how_to_watch_one_parameter():
    optimizer, w, _, _ = stepped(ALL["adam"], 2, memory=100)
    with pytest.raises(RangeError, match=r"had no room for the numbers of .*watch=\[parameter\]"):
        ta.explain_step(optimizer, w, INDEX)


def test_a_trace_that_ended_early_is_said_so():
    optimizer, w, _, _ = stepped(ALL["adam"], 5, shape=(4, 8), limit=3)
    explained = ta.explain_step(optimizer, w, INDEX)
    assert [row.t for row in explained.rows] == [1, 2, 3] and "saw steps up to 3; 5 have been made" in explained.note


def test_explaining_changes_nothing():
    optimizer, w, _, _ = stepped(ALL["adam"], 3, shape=(4, 8))
    before = copy.deepcopy(optimizer.state_dict()), w.data.copy()
    ta.explain_step(optimizer, w, INDEX, bias_correction=False)
    after = optimizer.state_dict()
    assert np.array_equal(after["state"][0]["v"], before[0]["state"][0]["v"]) and after["t"] == before[0]["t"]
    assert np.array_equal(w.data, before[1]) and after["settings"] == before[0]["settings"]
