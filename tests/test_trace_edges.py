"""Programs that could make a trace tell what is not so: odd names, writing past the tape, errors, blocks that overlap."""

import sys
import threading
from unittest.mock import MagicMock

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import observing
from tinyae.errors import DtypeError, NotFiniteError, RangeError, ShapeError


def labels(step):
    return [value.label for value in step.inputs]


def test_variables_that_are_called_like_steps():
    t1 = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        t2 = t1 * 2.0
        t3 = t2 * 3.0
        (t3 * ta.Tensor([4.0, 5.0])).sum().backward()
    double, triple, product, *_ = tape.steps()
    assert (labels(double)[0], double.output.label) == ("t1", "t2")
    assert (labels(triple)[0], triple.output.label) == ("t2", "t3")
    assert (labels(product)[0], product.output.label) == ("t3", "t3'")  # the third step's, which has no name, is not t3
    last = tape.steps()[-1]
    assert last.pulls[0].target == "t1" and last.pulls[0].gradient.label == "gradient of t1"
    assert last.gradient.label == "gradient of t2"


def test_a_variable_of_a_loop_names_the_last_of_its_tensors():
    h = w = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        for _ in range(3):
            h = h * 2.0
        h.sum().backward()
    assert [step.output.label for step in tape.steps()[:3]] == ["t1", "t2", "h"]
    assert labels(tape.steps()[0])[0] in ("h", "w") and w.grad is not None


def test_an_array_that_is_equal_by_chance_gives_no_name():
    zeros, others = np.zeros(3, np.float32), np.zeros(3, np.float32)
    weights = [ta.Tensor(zeros, requires_grad=True)]
    with ta.trace() as tape:
        weights[0] * zeros
        weights[0] * np.ones(3, np.float32)
    assert labels(tape.steps()[0]) == ["c1", "c2"] and not others.any()


def test_variables_that_answer_to_every_name():
    class Lazy:
        def __getattr__(self, name):
            raise RuntimeError(name)

    mock, lazy = MagicMock(), Lazy()
    with ta.trace() as tape:
        ta.Sequential(ta.Dense(2, 2))(np.ones((1, 2), np.float32))
    assert labels(tape.steps()[0])[1:] == ["0.weight", "0.bias"] and mock and lazy is not None


@pytest.mark.parametrize("memory", [10_000, 0])
def test_numbers_that_are_written_past_the_tape(memory):
    x = ta.Tensor([1.0, 2.0])
    with ta.trace(memory=memory) as tape:
        x * 2.0
        x.data[0] = 100.0
        x * 2.0
        x * 3.0
    before, after, again = (step.inputs[0] for step in tape.steps())
    assert (before.high, after.high) == (2, 100) and after is again


def test_writing_into_a_tensor_in_a_loop_is_one_chain():
    x = ta.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    with ta.trace() as tape:
        y = ta.Tensor(np.zeros(3, np.float32))
        for i in range(3):
            y[i] = x[i] * 2.0
        y.sum().backward()
    writes = [step for step in tape.steps() if step.name == "setitem" and step.phase == "forward"]
    assert writes[1].inputs[0] is writes[0].output and writes[2].inputs[0] is writes[1].output
    total = next(step for step in tape.steps() if step.name == "sum")
    assert total.inputs[0] is writes[2].output and writes[2].output.label == "y"


def test_after_an_error_in_a_layer_the_layers_are_right_again():
    model, other = ta.Sequential(ta.Dense(2, 2)), ta.Sequential(ta.Dense(1, 1), ta.Dense(1, 1))
    with ta.trace() as tape:
        with pytest.raises(ShapeError):
            model(np.ones((1, 3), np.float32))
        ta.Tensor([2.0]) * 3.0
        other(np.ones((1, 1), np.float32))
    assert [step.layer for step in tape.steps()] == ["", "0", "1"]


class Broken(ta.ops.Multiply):
    """Its rule cannot be followed."""

    name = "broken"

    @staticmethod
    def backward(xp, saved, gZ):
        raise ZeroDivisionError


def test_an_error_in_a_rule_leaves_the_steps_in_order():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        with pytest.raises(ta.errors.TapeError, match="ZeroDivisionError"):
            ta.apply(Broken, x, x).sum().backward()
        (x * 2.0).sum().backward()
    assert [step.number for step in tape.steps()] == list(range(1, tape.total + 1))
    failed = next(step for step in tape.steps() if step.phase == "backward" and step.name == "broken")
    assert failed.pulls == () and "no share of it goes on" in tape.text()


class Slip(ta.ops.Affine):
    """An own operation that has kept the name, and has one transpose too many."""

    @staticmethod
    def backward(xp, saved, gY):
        X, W = saved
        return gY @ W.T, X.T @ gY.T, gY.sum(axis=0)


def test_an_own_operation_is_not_taken_for_the_one_of_its_name():
    X, W, b = (
        ta.Tensor(a, requires_grad=True) for a in ([[1.0, 2.0], [3.0, 5.0]], [[1.0, 0.0], [2.0, 1.0]], [0.0, 1.0])
    )
    with ta.trace() as tape:
        ta.apply(Slip, X, W, b).sum().backward()
    steps = [step for step in tape.steps() if step.name == "affine"]
    assert [step.operation for step in steps] == [Slip, Slip] and not any(step.check() for step in steps)


class Plus(ta.ops.Op):
    """Takes any number of inputs, and has no formula."""

    name = "plus"

    @staticmethod
    def forward(xp, save, *Xs):
        return sum(Xs)

    @staticmethod
    def backward(xp, saved, gY):
        return gY, gY


def test_an_own_operation_of_a_list_of_inputs_without_rules():
    x, y = ta.Tensor([1.0], requires_grad=True), ta.Tensor([2.0], requires_grad=True)
    with ta.trace() as tape:
        ta.apply(Plus, x, y).backward()
    assert tape.steps()[0].symbols == ("X_1", "X_2") and "plus" in tape.html() and "plus" in tape.text()


class Giant(ta.SGD):
    """Steps of its own, which the lines of SGD do not describe."""

    def update(self, xp, theta, g):
        theta -= g


def test_an_own_optimizer_is_not_told_by_the_lines_of_its_parent():
    x = ta.Tensor([1.0], requires_grad=True)
    with ta.trace() as tape:
        (x * x).backward(np.ones(1, np.float32))
        Giant([x], lr=0.1).step()
    last = tape.steps()[-1]
    assert last.formula is None and last.updates[0].parameter_after.array == -1
    assert "Giant" in tape.text() and "Giant" in tape.html() and ta.SGD([x], lr=0.1).formulas()


def test_a_trace_inside_itself_is_told_once():
    x = ta.Tensor([1.0])
    tape = ta.trace()
    with tape, ta.trace() as between, tape:
        x * 2.0
    assert (tape.total, between.total) == (1, 1)
    with tape:
        x * 3.0
    x * 4.0
    assert tape.total == 2 and observing.get() is None


def test_blocks_that_end_in_another_order_than_they_began():
    def looking():
        with ta.trace() as tape:
            yield tape

    generator = looking()
    first = next(generator)
    with ta.trace() as second:
        ta.Tensor([1.0]) * 2.0
        generator.close()
        ta.Tensor([1.0]) * 3.0
    assert (first.total, second.total) == (1, 2) and observing.get() is None


def test_one_trace_in_several_threads():
    tape, x, errors = ta.trace(), ta.Tensor([1.0]), []

    def work():
        try:
            with tape:
                x * 2.0
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and tape.total == 4


def test_two_traces_of_joined_layers():
    model, images = ta.Sequential(ta.Dense(64, 32, "relu"), ta.Dense(32, 64)), np.zeros((32, 64), np.float32)
    with ta.trace(joined=True) as first, ta.trace(joined=True) as second:
        model(images)
    assert [step.name for step in first.steps()] == [step.name for step in second.steps()] == ["dense"]


def test_the_tape_has_the_step_at_which_find_nan_stops():
    with ta.trace() as tape, pytest.raises(NotFiniteError), ta.find_nan():
        ta.Tensor([-1.0, 1.0]).log()
    assert [step.name for step in tape.steps()] == ["log"] and tape.steps()[0].output.nans == 1


def test_find_nan_does_not_blame_an_optimizer_for_what_it_is_given():
    x = ta.Tensor([1.0], requires_grad=True)
    x.grad = np.array([np.nan], np.float32)
    with (
        pytest.raises(NotFiniteError, match="is given 1 NaN of 1 numbers, in the gradient of parameter 0"),
        ta.find_nan(),
    ):
        ta.SGD([x], lr=0.1).step()
    assert x.data[0] == 1


def test_modules_cost_nothing_once_the_limit_is_reached(monkeypatch):
    model, asked = ta.Sequential(ta.Dense(2, 2)), []
    module = sys.modules["tinyae.explain.trace"]  # the name in the package is the function
    monkeypatch.setattr(module, "whole_model", lambda module, frame: asked.append(module) or module)
    with ta.trace(limit=2):
        for _ in range(10):
            model(np.ones((1, 2), np.float32))
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"watch": 3}, DtypeError, "list of Tensors"),
        ({"watch": [1]}, DtypeError, "watch"),
        ({"phases": 3}, RangeError, "phase"),
    ],
)
def test_refused_settings(settings, error, words):
    with pytest.raises(error, match=words):
        ta.trace(**settings)


@pytest.mark.parametrize("path", [None, 3, b"step.html"])
def test_what_is_no_path(path):
    with ta.trace() as tape:
        ta.Tensor([1.0]) * 2.0
    with pytest.raises(DtypeError, match="expected that of a file"):
        tape.save(path)
