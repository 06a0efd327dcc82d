"""Check this node: the rules of a recorded operation against differences, at its own numbers."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, TapeError
from tinyae.models.vector_quantised import StraightThrough


def of(function, *arrays):
    """The only forward step of a function of leaves."""
    with ta.trace() as tape:
        function(*(ta.Tensor(array, requires_grad=True) for array in arrays))
    return tape.steps()[-1]


RANDOM = np.random.default_rng(0)
A, B = RANDOM.standard_normal((3, 4)), RANDOM.standard_normal((4, 2))
LABELS = np.array([0, 3, 1])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ta.tanh(x),
        lambda x: ta.softmax(x),
        lambda x: x[np.array([0, 0, 2])],
        lambda x: ta.cross_entropy(x, LABELS),
        lambda x: x.reshape(2, 6),
        lambda x: x.astype("float32") if x.dtype == np.float64 else x,
        lambda x: x.sum(axis=1),
        lambda x: x * 3.0,
        lambda x: ta.concatenate([x, x * 2.0]),
    ],
)
def test_right_rules(function):
    check = of(function, A).check()
    assert check and check.report.checked >= 12
    assert min(check.errors.values()) < 1e-6


def test_a_matrix_product_and_its_backward_step_say_the_same():
    with ta.trace() as tape:
        (
            ta.Tensor(A.astype(np.float32), requires_grad=True) @ ta.Tensor(B.astype(np.float32), requires_grad=True)
        ).sum().backward()
    forward, *_, backward = tape.steps()
    assert forward.check() and backward.check() and backward.check().symbols == ("X", "W")
    assert repr(forward.check()) == repr(backward.check()) and "worst: W at" in repr(forward.check())


def test_a_kink_is_said():
    check = of(ta.relu, np.array([0.0, 1.0, -2.0])).check()
    assert check and check.report.kinks == [(0, (0,))] and "1 at a kink, the first: X at (0,)" in repr(check)


class Wrong(ta.Op):
    """A square whose rule forgets the 2."""

    name, formula, vjp = "wrong", "Y = X^2", {"X": r"X \odot \bar Y"}

    @staticmethod
    def forward(xp, save, X):
        save(X)
        return X * X

    @staticmethod
    def backward(xp, saved, gY):
        return saved[0] * gY


def test_a_wrong_rule_is_found_and_its_error_does_not_fall(tmp_path):
    check = of(lambda x: ta.apply(Wrong, x), A).check()
    assert not check and "WRONG" in repr(check)
    assert all(error > 0.3 for h, error in check.errors.items() if 1e-9 < h < 1e-2)
    check.plot(tmp_path / "wrong.png")
    assert (tmp_path / "wrong.png").stat().st_size > 5_000


def test_a_rule_that_is_no_derivative_on_purpose_is_said():
    check = of(lambda x: ta.apply(StraightThrough, x, np.zeros_like(A)), A).check()
    assert not check and "no derivatives, on purpose" in repr(check)
    assert "on purpose" not in repr(of(ta.tanh, A).check())


def test_the_error_falls_with_h_squared_until_rounding():
    errors = of(ta.tanh, A).check().errors
    at = {round(np.log10(h), 2): error for h, error in errors.items()}
    assert at[-2.0] == pytest.approx(at[-1.0] / 100, rel=0.3) and at[-12.0] > min(errors.values()) * 100


def test_the_recorded_numbers_stay_as_they_were():
    step = of(lambda x: x.__setitem__(0, 7.0) if not x.requires_grad else x * 1.0, A)
    before = step.inputs[0].array.copy()
    step.check()
    assert np.array_equal(step.inputs[0].array, before)


def test_what_cannot_be_checked():
    model = ta.Sequential(ta.Dense(2, 2))
    optimizer = ta.SGD(model.parameters(), lr=0.1)
    with ta.trace() as tape:
        loss = model(np.ones((1, 2), np.float32)).sum()
        loss.backward()
        optimizer.step()
    with pytest.raises(TapeError, match="has no rules"):
        tape.steps()[-1].check()
    with ta.trace(memory=0) as tape:
        model(np.ones((1, 2), np.float32))
    with pytest.raises(TapeError, match="not kept"):
        tape.steps()[0].check()
    with ta.trace() as tape:
        ta.Tensor(np.array([1, 2])).reshape(2, 1)
    with pytest.raises(RangeError, match="nothing to differentiate"):
        tape.steps()[0].check()
