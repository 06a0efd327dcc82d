"""The gradient checker must see every kind of wrong rule; otherwise its "right" means nothing."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.apply import apply
from tinyae.errors import DtypeError, TapeError
from tinyae.losses import MSE, CrossEntropy

from . import wrong_image_rules

rng = np.random.default_rng(1)
X, Y, W, B = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)
V = rng.normal(size=4)
SQUARE = rng.normal(size=(3, 3))
LABELS = ta.Tensor(np.array([1, 0, 3]))


def zeros(xp, saved, gY):
    return xp.zeros_like(gY)


# (what is wrong, the operation, its wrong backward, inputs, attributes)
WRONG = [
    ("softmax returns zeros, which a cotangent of ones would accept", ops.Softmax, zeros, [X], {"axis": -1}),
    ("softmax forgets the sum", ops.Softmax, lambda xp, s, gY: s[0] * gY, [X], {"axis": -1}),
    ("log-softmax passes the gradient on", ops.LogSoftmax, lambda xp, s, gY: gY, [X], {"axis": -1}),
    ("a weight gradient that is transposed", ops.MatMul, lambda xp, s, gY: (gY @ s[1].T, (s[0].T @ gY).T), [SQUARE, SQUARE], {}),
    ("an input gradient without the transpose", ops.MatMul, lambda xp, s, gY: (gY @ s[1], s[0].T @ gY), [SQUARE, SQUARE], {}),
    ("a bias gradient without the sum", ops.Affine, lambda xp, s, gY: (gY @ s[1].T, s[0].T @ gY, gY), [X, W, B], {}),
    ("a bias gradient with a mean", ops.Affine, lambda xp, s, gY: (gY @ s[1].T, s[0].T @ gY, gY.mean(0)), [X, W, B], {}),
    ("a bias gradient from one row", ops.Affine, lambda xp, s, gY: (gY @ s[1].T, s[0].T @ gY, gY[0]), [X, W, B], {}),
    ("a wrong sign", ops.Subtract, lambda xp, s, gY: (gY, gY), [X, Y], {}),
    ("the factors exchanged", ops.Multiply, lambda xp, s, gY: (gY * s[0], gY * s[1]), [X, Y], {}),
    ("a forgotten chain-rule factor", ops.Tanh, lambda xp, s, gY: 1 - s[0] ** 2, [X], {}),
    ("sigmoid with tanh's derivative", ops.Sigmoid, lambda xp, s, gY: (1 - s[0] ** 2) * gY, [X], {}),
    ("a forgotten 1/n", ops.Mean, lambda xp, s, gY: xp.broadcast_to(gY, s[0]), [X], {"axis": None, "keepdims": False}),
    ("a forgotten 2", MSE, lambda xp, s, gY: (s[0] * gY / 12, -s[0] * gY / 12), [X, Y], {"reduction": "mean"}),
    ("mean where there was a sum", MSE, lambda xp, s, gY: (2 * s[0] * gY / 12, -2 * s[0] * gY / 12), [X, Y], {"reduction": "sum"}),
    ("off by one in a power", ops.Power, lambda xp, s, gY: gY * s[1] * s[0] ** s[1], [X], {"p": 3}),
    ("relu that lets all through", ops.ReLU, lambda xp, s, gY: gY, [X], {}),
    ("max that credits every element", ops.Max, lambda xp, s, gY: xp.ones(s[3]) * gY, [X], {"axis": None, "keepdims": False}),
    ("the other branch of where", ops.Maximum, lambda xp, s, gY: (gY * (s[0] < s[1]), gY * (s[0] >= s[1])), [X, Y], {}),
    ("reshape that scrambles", ops.Reshape, lambda xp, s, gY: gY.T.reshape(s[0]), [X], {"shape": (4, 3)}),
    ("transpose that only reshapes", ops.Transpose, lambda xp, s, gY: gY.reshape(3, 4), [X], {"axes": None}),
    ("repeated elements counted once", ops.GetItem, lambda xp, s, gY: set_not_added(xp, s, gY), [V], {"index": np.array([1, 1, 2])}),
    ("cross-entropy without the label", CrossEntropy, lambda xp, s, gY: (xp.exp(s[0]) * gY / 3, None), [X, LABELS], {"reduction": "mean"}),
    ("too few gradients", ops.Add, lambda xp, s, gY: gY, [X, Y], {}),
    ("None for a needed gradient", ops.Add, lambda xp, s, gY: (gY, None), [X, Y], {}),
    ("NaN", ops.Exp, lambda xp, s, gY: gY * np.nan, [X], {}),
    ("one element slightly off", ops.Exp, lambda xp, s, gY: gY * s[0] * (1 + 1e-4 * (xp.arange(12).reshape(3, 4) == 7)), [X], {}),
    ("a float32 in the middle", ops.Exp, lambda xp, s, gY: (gY * s[0]).astype("float32"), [X], {}),
    *wrong_image_rules.WRONG,
]  # fmt: skip


def set_not_added(xp, saved, gY):
    gX = xp.zeros(4)
    gX[saved[0]] = gY
    return gX


@pytest.mark.parametrize("what, op, wrong, inputs, attributes", WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_rule_is_caught_and_the_right_one_is_not(what, op, wrong, inputs, attributes):
    class Wrong(op):
        backward = staticmethod(wrong)

    def check(op):
        given = [x for x in inputs if not isinstance(x, ta.Tensor)]
        labels = [x for x in inputs if isinstance(x, ta.Tensor)]
        return ta.check_gradients(lambda *xs: apply(op, *xs, *labels, **attributes), *given)

    assert check(op)
    report = check(Wrong)
    assert not report
    assert "WRONG" in repr(report)
    assert report.message or report.worst["error"] > report.tolerance


def test_the_report_names_the_worst_element():
    class Wrong(ops.Exp):
        @staticmethod
        def backward(xp, saved, gY):
            return gY * saved[0] * (1 + (xp.arange(12).reshape(3, 4) == 7))

    report = ta.check_gradients(lambda x: apply(Wrong, x), X)
    assert report.worst["tensor"] == 0 and report.worst["index"] == (1, 3)
    assert np.isclose(report.worst["analytic"], 2 * report.worst["numeric"])
    assert set(report.worst["errors"]) == {1e-3, 1e-4, 1e-5, 1e-6}


def test_a_kink_is_said_and_a_slope_outside_it_is_wrong():
    report = ta.check_gradients(ta.relu, [1.0, 0.0, -1.0])
    assert report and report.kinks == [(0, (1,))]

    class Wrong(ops.ReLU):
        @staticmethod
        def backward(xp, saved, gY):
            return xp.where(saved[0] > 0, gY, -3 * gY * (saved[0] == 0) * 0 - 5.0 * (saved[0] == 0) * xp.abs(gY))

    assert not ta.check_gradients(lambda x: apply(Wrong, x), [1.0, 0.0])


def test_a_whole_model_in_float64():
    ta.manual_seed(3)
    model = ta.Sequential(ta.Dense(4, 5, "tanh"), ta.Dense(5, 4, "sigmoid")).astype("float64")
    report = ta.check_gradients(lambda *_: ta.mse_loss(model(X), Y), *model.parameters())
    assert report and report.checked == model.parameter_count()
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_values_are_put_back():
    x = ta.Tensor(X.copy())
    ta.check_gradients(lambda x: (x * x).sum(), x)
    assert np.array_equal(x.numpy(), X) and not x.requires_grad


def test_what_cannot_be_checked():
    with pytest.raises(DtypeError, match="only floats have gradients"):
        ta.check_gradients(lambda x: x, np.arange(3))
    with pytest.raises(TapeError, match="does not depend on the given tensors"):
        ta.check_gradients(lambda x: ta.Tensor(x.numpy() * 2), X)


def test_small_gradients_are_judged_by_their_own_size():
    """The gradients of a mean over many elements are tiny; 5 % off is still 5 % off."""
    x, t = rng.normal(size=(300, 200)), rng.normal(size=(300, 200))

    class Wrong(MSE):
        @staticmethod
        def backward(xp, saved, gL):
            return tuple(0.95 * g for g in MSE.backward(xp, saved, gL))

    assert ta.check_gradients(lambda p: ta.mse_loss(p, t), x, max_elements=20)
    assert not ta.check_gradients(lambda p: apply(Wrong, p, ta.Tensor(t), reduction="mean"), x, max_elements=20)


def test_rounding_is_not_taken_for_a_kink():
    class Wrong(ops.Add):
        @staticmethod
        def backward(xp, saved, gZ):
            return 0.97 * gZ, gZ

    for seed in range(5):
        assert not ta.check_gradients(lambda x: apply(Wrong, x, 1e7), [1.0], seed=seed)


def test_a_function_that_fails_midway_leaves_the_tensor_as_it_was():
    x, calls = ta.Tensor(X.copy()), []

    def fragile(x):
        calls.append(1)
        if len(calls) == 10:
            raise KeyError("oh")
        return x * x

    with pytest.raises(KeyError):
        ta.check_gradients(fragile, x)
    assert np.array_equal(x.numpy(), X)


def test_tensors_that_are_only_reached_get_no_gradient():
    w = ta.Tensor(W, requires_grad=True)
    assert ta.check_gradients(lambda x: x @ w, X) and w.grad is None


def test_a_function_that_reaches_past_the_copies_is_told_so():
    model = ta.Dense(4, 3)
    with pytest.raises(
        TapeError, match=r"does not depend on the tensors that the function was given.*astype\('float64'\)"
    ):
        ta.check_gradients(lambda *_: model(X.astype("float32")).sum(), *model.parameters())


def test_one_output_is_not_scaled():
    report = ta.check_gradients(lambda x: (x**2).sum(), [3.0])
    assert report.worst["analytic"] == 6 and "random" not in repr(report)
    assert "3 outputs f with random c" in repr(ta.check_gradients(lambda x: x**2, [3.0, 1.0, 2.0]))


def planted(op, rule):
    class Wrong(op):
        backward = staticmethod(rule)

    return Wrong


def test_tiny_values_do_not_hide_a_wrong_sign():
    square = planted(ops.Power, lambda xp, s, gY: -gY * 2 * s[0])
    for scale in (1.0, 1e-10, 1e-20):
        assert ta.check_gradients(lambda x, c=scale: x**2 * c, [0.5])
        assert not ta.check_gradients(lambda x, c=scale: apply(square, x, p=2) * c, [0.5])


def test_what_rounding_hides_is_not_called_right():
    report = ta.check_gradients(lambda x: (x * x + 1e14).sum(), [0.5])
    assert not report and report.undecided == [(0, (0,))] and "cannot be told" in repr(report)


def test_a_gradient_of_zero_is_right():
    assert ta.check_gradients(lambda x: ta.softmax(x).sum(), X)
    assert ta.check_gradients(lambda x, y: (x * 1).sum() + (y * 0).sum(), X, Y)


def test_steep_functions_near_the_edge_of_their_domain():
    assert ta.check_gradients(lambda x: x.log(), [1e-4, 1.0])
    assert ta.check_gradients(lambda x: x.sqrt(), [1e-5, 2.0])
    assert ta.check_gradients(lambda x: 1 / x, [2e-4, -1.0])
    assert ta.check_gradients(lambda p: ta.binary_cross_entropy(p, [1.0, 0.0]), [0.0005, 0.5])


def test_float32_in_the_function_is_named():
    with pytest.raises(DtypeError, match="returned float32; differences need float64"):
        ta.check_gradients(lambda x: x.astype("float32") * 2, X)


def test_a_zero_gradient_is_right_also_where_the_outputs_cancel():
    """sum c f may be near 0 while its terms are not: rounding is of the size of the terms."""
    for seed in range(20):
        assert ta.check_gradients(lambda x: ta.softmax(x).sum() + ta.Tensor([1e3, -1e3], dtype="float64"), X, seed=seed)
