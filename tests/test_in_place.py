"""Changes in place: each is recorded rightly, or refused; none gives a wrong gradient."""

import sys

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import ShapeError, TapeError


def test_a_saved_tensor_changed_in_place_is_caught_and_the_line_is_named():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()  # the line to be named
    line = sys._getframe().f_lineno - 1
    with ta.no_grad():
        x += 1
    with pytest.raises(TapeError, match=rf"<multiply, recorded at .*test_in_place\.py:{line}>.*changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.__setitem__(0, 5.0),
        lambda t: t.__iadd__(1),
        lambda t: t.__imul__(2.0),
        lambda t: t.reshape(1, 2).__setitem__((0, 0), 5.0),
        lambda t: t[0:1].__iadd__(1),
        lambda t: t.detach().__isub__(1),
        lambda t: t.T.__itruediv__(2),
    ],
)
def test_every_way_of_changing_a_saved_output_is_caught(change):
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()  # saves its output
    loss = y.sum()
    change(y)
    with pytest.raises(TapeError, match="changed in place"):
        loss.backward()


def test_an_optimizer_step_between_forward_and_backward_is_caught():
    w = ta.Tensor([1.0], requires_grad=True)
    optimizer = ta.SGD([w], lr=0.1)
    loss = (w * w).sum()
    loss.backward(keep_tape=True)
    optimizer.step()
    with pytest.raises(TapeError, match="changed in place"):
        loss.backward()


def test_a_change_that_no_gradient_needs_is_fine():
    x, c = ta.Tensor([1.0], requires_grad=True), ta.Tensor([2.0])
    loss = (x + c).sum()
    c[0] = 7.0
    loss.backward()
    assert x.grad == 1


def test_assignment_is_recorded():
    x, v = ta.Tensor([1.0, 2.0, 3.0], requires_grad=True), ta.Tensor(5.0, requires_grad=True)
    y = x * 2
    y[1:] = v
    assert np.array_equal(y.numpy(), [2, 5, 5])
    (y * ta.Tensor([1.0, 10.0, 100.0])).sum().backward()
    assert np.array_equal(x.grad, [2, 0, 0]) and v.grad == 110


def test_assignment_into_a_constant_makes_it_part_of_the_tape():
    v = ta.Tensor([2.0, 3.0], requires_grad=True)
    y = ta.Tensor(np.zeros(4, np.float32))
    y[1:3] = v * v
    y.sum().backward()
    assert np.array_equal(v.grad, [4, 6])


def test_in_place_arithmetic_is_recorded():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    alias = y
    y *= y
    y += x
    y -= 1.0
    y /= 2.0
    assert alias is y and np.array_equal(y.numpy(), [4.5, 18.5])
    y.sum().backward()
    assert np.allclose(x.grad, (18 * x.numpy() + 1) / 2)


def test_in_place_with_a_view_of_itself():
    x = ta.Tensor([2.0, 4.0], requires_grad=True)
    y = x * 1
    y /= y.reshape(2)
    y **= 2
    y.sum().backward()
    assert np.array_equal(y.numpy(), [1, 1]) and np.array_equal(x.grad, [0, 0])
    with pytest.raises(TapeError, match="leaf"):
        x **= 2


def test_a_retained_gradient_belongs_to_the_value_after_a_change_in_place():
    x = ta.Tensor([3.0], requires_grad=True)
    y = (x * 1).retain_grad()
    y *= 2
    (y * 5).sum().backward()
    assert y.grad == 5 and x.grad == 10


def test_a_leaf_cannot_be_changed_while_the_tape_records():
    x = ta.Tensor([1.0], requires_grad=True)
    with pytest.raises(TapeError, match=r"leaf that asks for gradients.*no_grad"):
        x += 1
    with pytest.raises(TapeError, match="leaf"):
        x[0] = 1.0
    with ta.no_grad():
        x += 1
    assert x.numpy() == 2


def test_a_view_whose_memory_was_changed_elsewhere_is_not_used():
    x = ta.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1.0
    view = y[0:2]
    y[0] = 9.0
    with pytest.raises(TapeError, match="shares it"):
        view.sum()
    constant = ta.Tensor(np.zeros(3, np.float32))
    view = constant[0:2]
    constant[0] = x[0]
    with pytest.raises(TapeError, match="shares it"):
        view + 1


def test_unrecorded_views_follow_their_base():
    base = ta.Tensor(np.zeros(3, np.float32))
    view = base[0:2]
    base[0] = 4.0
    assert np.array_equal((view + 1).numpy(), [5, 1])


def test_a_failed_assignment_changes_nothing():
    y = ta.Tensor([1.0, 2.0, 3.0])
    for index, value in [(slice(0, 2), [1.0, 2.0, 3.0]), (7, 1.0), ([0, 0], [1.0, 2.0])]:
        with pytest.raises(ShapeError):
            y[index] = value
    with pytest.raises(ShapeError, match="does not fit into"):
        y += ta.Tensor(np.ones((2, 3), np.float32))
    assert np.array_equal(y.numpy(), [1, 2, 3])


def test_index_arrays_are_copied():
    x, mask = ta.Tensor([1.0, 2.0], requires_grad=True), np.array([True, False])
    y, z, w = x[mask], x[ta.Tensor(mask)], ta.where(mask, x, 0.0)
    mask[:] = [False, True]
    for result in (y, z, w):
        result.sum().backward()
    assert np.array_equal(x.grad, [3, 0])


def test_a_view_of_a_leaf_is_refused_also_after_its_tape_was_freed():
    w = ta.Tensor([1.0, 2.0], requires_grad=True)
    v, d = w[0:1], w.detach()
    d.requires_grad = False  # as it is; w's memory stays a leaf's
    (v * 2).sum().backward()
    with pytest.raises(TapeError, match="leaf"):
        v *= 0
    with pytest.raises(TapeError, match="leaf"):
        d += w
    assert np.array_equal(w.numpy(), [1, 2])
    (w * 3).sum().backward()
    assert np.array_equal(w.grad, [5, 3])


def test_a_stale_operand_is_refused():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    v = y.reshape(2)
    v *= 2
    with pytest.raises(TapeError, match="shares it"):
        v += y


def test_rows_can_be_changed_in_place():
    """y[i] += x is three steps to Python, and one to the reader."""
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    for y, expected in [(x * 3, [5, 3]), (ta.Tensor(np.zeros(2, np.float32)), [2, 0])]:
        x.grad = None
        y[0:1] += x[0:1] * 2
        y.sum().backward()
        assert np.array_equal(x.grad, expected)
    y = x * 3
    part = y[0:1]
    part += 1.0
    with pytest.raises(TapeError):  # put back elsewhere: the history would be wrong
        y[1:2] = part


def test_tuples_and_lists_inside_an_index_are_index_arrays():
    x = ta.Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    (x[:, (0, 0)].sum() + x[[0, 0], [1, 1]].sum()).backward()
    assert np.array_equal(x.grad, [[2, 2, 0]])
    with pytest.raises(ShapeError, match="names an element twice"):
        ta.Tensor([[1.0, 2.0]])[:, (0, 0)] = [[5.0, 6.0]]
