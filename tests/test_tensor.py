"""The tape: every property that the engine promises, one test each."""

import copy
import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import BackendError, DtypeError, RangeError, ShapeError, TapeError
from tinyae.tape import Node

# ---------------------------------------------------------------- making tensors


def test_lists_and_numbers_become_float32_and_arrays_keep_their_type():
    assert ta.Tensor([1, 2]).dtype == ta.Tensor(3).dtype == ta.Tensor([True]).dtype == np.float32
    for dtype in (np.float32, np.float64, np.int64, np.uint8, bool):
        assert ta.Tensor(np.ones(2, dtype)).dtype == dtype
    assert ta.Tensor(np.arange(3), dtype="float64").dtype == np.float64


@pytest.mark.parametrize(
    "data", [np.array([1j]), np.array(["a"]), np.array([None]), np.float16(1), "text", None, {}, [object()]]
)
def test_other_kinds_of_data_are_refused(data):
    with pytest.raises(DtypeError, match="Tensor: data of type .*expected float32, float64, integers or bools"):
        ta.Tensor(data)


def test_empty_and_ragged_data_are_refused():
    with pytest.raises(ShapeError, match=r"empty, shape \(0,\)"):
        ta.Tensor([])
    with pytest.raises(ShapeError, match="no rectangular shape"):
        ta.Tensor([[1, 2], [3]])
    with pytest.raises(ShapeError, match="chooses no element"):
        ta.Tensor([1.0])[1:]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_and_bools_cannot_ask_for_gradients(dtype):
    with pytest.raises(DtypeError, match="cannot ask for gradients.*astype"):
        ta.Tensor(np.ones(2, dtype), requires_grad=True)


def test_numpy_gives_a_read_only_view():
    t = ta.Tensor([1.0, 2.0])
    assert np.shares_memory(t.numpy(), t.data)
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 5


def test_numpy_arrays_leave_arithmetic_to_the_tensor(backend):
    t = ta.Tensor([1.0, 2.0], requires_grad=True).to(backend)
    a = backend.xp.asarray([3.0, 4.0])
    for result in (a * t, t * a, a + t, a - t, a / t):
        assert isinstance(result, ta.Tensor) and result.requires_grad and result.dtype == np.float32


# ---------------------------------------------------------------- types


def test_float32_stays_float32_with_python_scalars(backend):
    t = ta.Tensor([1.0, 2.0], requires_grad=True).to(backend)
    for result in (
        t + 1,
        2.5 * t,
        t / 3,
        1 / t,
        t**2,
        2**t,
        t - np.float64(1),
        t * [1, 2],
        ta.maximum(t, 0.5),
        ta.where([True, False], t, 0.0),
    ):
        assert result.dtype == np.float32


def test_integer_tensors_join_in_the_float_type():
    mask = ta.Tensor(np.array([True, False]))
    assert (ta.Tensor([1.0, 2.0]) * mask).dtype == np.float32
    counts = ta.Tensor(np.array([1, 2]))
    assert (counts + counts).dtype == np.int64
    assert (counts / counts).dtype == (counts * 0.5).dtype == counts.mean().dtype == counts.exp().dtype == np.float32


def test_float32_and_float64_do_not_mix_in_silence():
    with pytest.raises(DtypeError, match=r"add: operands of different float types.*astype\('float32'\)"):
        ta.Tensor([1.0]) + ta.Tensor(np.ones(1))


# ---------------------------------------------------------------- the backward pass


def test_a_reused_node_gets_the_sum_of_its_gradients():
    x = ta.Tensor([2.0, 3.0], requires_grad=True)
    y = x * x
    (y + y * x + y).sum().backward()  # 2x^2 + x^3
    assert np.allclose(x.grad, 4 * x.numpy() + 3 * x.numpy() ** 2)


def test_a_diamond_is_walked_once_per_node():
    """2**60 paths lead through this tape; its 60 nodes are visited once each."""
    x = ta.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad == 1


def test_gradients_accumulate_until_zeroed():
    x = ta.Tensor([1.0], requires_grad=True)
    for expected in (3, 6):
        (x * 3).sum().backward()
        assert x.grad == expected
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad == 3


def test_100_000_operations_and_the_memory_is_freed_without_the_garbage_collector():
    def count_nodes():
        return sum(type(o) is Node for o in gc.get_objects())

    gc.disable()
    before = count_nodes()
    try:
        for with_backward in (True, False):
            x = ta.Tensor(np.ones(10, np.float32), requires_grad=True)
            y = x
            for _ in range(100_000):
                y = y + 1.0
            first = weakref.ref(y._node)
            if with_backward:
                y.sum().backward()
                assert np.array_equal(x.grad, np.ones(10))
            del y
            assert first() is None
            assert count_nodes() == before
    finally:
        gc.enable()


def test_saved_arrays_are_freed_during_the_backward_pass():
    x = ta.Tensor(np.ones(10), requires_grad=True)
    loss = (x.exp() * 2).sum()
    assert loss._node.saved
    loss.backward()
    assert loss._node.saved is None and loss._node.inputs is None


def test_a_second_backward_says_how_to_keep_the_tape():
    x = ta.Tensor([1.0], requires_grad=True)
    loss = (x * x).sum()
    loss.backward(keep_tape=True)
    loss.backward()
    assert x.grad == 4
    with pytest.raises(TapeError, match=r"already used and freed.*keep_tape=True"):
        loss.backward()
    y = x * x
    y.sum().backward()
    with pytest.raises(TapeError, match="freed"):
        (y + 1).sum().backward()
    assert x.grad == 6


def test_backward_needs_something_to_go_back_through():
    with pytest.raises(TapeError, match="recorded nothing"):
        ta.Tensor([1.0]).sum().backward()
    with pytest.raises(TapeError, match="it is a leaf"):
        ta.Tensor(1.0, requires_grad=True).backward()
    with pytest.raises(ShapeError, match=r"shape \(2,\).*\.sum\(\)"):
        (ta.Tensor([1.0, 2.0], requires_grad=True) * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient has shape \(3,\), the tensor \(2,\)"):
        (ta.Tensor([1.0, 2.0], requires_grad=True) * 2).backward([1, 2, 3])


def test_first_order_only():
    x = ta.Tensor([1.0], requires_grad=True)
    y = x * 2
    with pytest.raises(TapeError, match="first derivatives only"):
        y.backward(x * 3)
    y.backward([1.0])
    assert not isinstance(x.grad, ta.Tensor)  # a gradient is an array: it has no tape to go back through


def test_leaves_do_not_share_their_gradients(backend):
    x, y = (ta.Tensor([1.0, 2.0], requires_grad=True).to(backend) for _ in range(2))
    seed = backend.xp.ones(2, dtype="float32")
    (x + y).backward(seed)
    x.grad *= 10
    assert float(y.grad.sum()) == 2 and float(seed.sum()) == 2
    x.grad = None
    x.sum().backward()
    x.grad += 1  # writable, not a broadcast view


def test_retain_grad_keeps_the_gradient_of_an_intermediate_result():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).retain_grad()
    (y * 3).sum().backward()
    assert np.array_equal(y.grad, [3, 3]) and np.array_equal(x.grad, [6, 12])


def test_an_error_in_the_middle_leaves_all_gradients_as_they_were():
    x, y = ta.Tensor([1.0], requires_grad=True), ta.Tensor([2.0], requires_grad=True)
    z = y.exp()
    loss = (x * 3 + z).sum()
    z[0] = 5.0
    with pytest.raises(TapeError):
        loss.backward()
    assert x.grad is None and y.grad is None


def test_gradients_do_not_depend_on_the_hash_seed():
    program = (
        "import numpy as np, tinyae as ta; r = np.random.RandomState(0)\n"
        "ws = [ta.Tensor(r.randn(5).astype('f'), requires_grad=True) for _ in range(20)]\n"
        "y = sum((w * v).exp() for w in ws for v in ws if w is not v).sum(); y.backward()\n"
        "print(b''.join(w.grad.tobytes() for w in ws).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, check=True
        ).stdout
        for seed in (0, 1, 2)
    }
    assert len(outputs) == 1


# ---------------------------------------------------------------- recording


def test_no_grad_nests_and_decorates():
    x = ta.Tensor([1.0], requires_grad=True)
    with ta.no_grad():
        with ta.no_grad():
            assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    assert not ta.no_grad()(lambda: x * 2)().requires_grad


def test_no_grad_in_one_thread_does_not_touch_another():
    x = ta.Tensor([1.0], requires_grad=True)
    inside, done, results = threading.Event(), threading.Event(), []

    def other():
        inside.wait()
        results.append((x * 2).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with ta.no_grad():
        inside.set()
        done.wait()
    thread.join()
    assert results == [True]


def test_detach_shares_memory_but_not_the_tape():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    d = x.detach()
    assert not d.requires_grad and np.shares_memory(d.data, x.data)


# ---------------------------------------------------------------- changes in place


def test_a_saved_tensor_changed_in_place_is_caught_and_the_line_is_named():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()  # the line to be named
    line = sys._getframe().f_lineno - 1
    with ta.no_grad():
        x += 1
    with pytest.raises(TapeError, match=rf"<multiply, recorded at .*test_tensor\.py:{line}>.*changed in place"):
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


# ---------------------------------------------------------------- shapes that do not fit


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: ta.Tensor(np.ones((2, 3))) + ta.Tensor(np.ones((2, 4))), r"add: shapes \(2, 3\) and \(2, 4\).*axis 1 has 3 against 4"),
        (lambda: ta.Tensor(np.ones((2, 3))) @ ta.Tensor(np.ones((4, 5))), r"matmul: .*axis 1 of X is 3, axis 0 of W is 4"),
        (lambda: ta.Tensor(np.ones(3)) @ ta.Tensor(2.0, dtype="float64"), "a scalar has no axis"),
        (lambda: ta.Tensor(np.ones((2, 3))).reshape(4, -1), r"reshape: X has shape \(2, 3\), 6 elements"),
        (lambda: ta.Tensor(np.ones((2, 3))).reshape(7), r"\(7,\), 7 elements"),
        (lambda: ta.Tensor(np.ones((2, 3))).transpose(0, 0), "expected each of 0..1 once"),
        (lambda: ta.Tensor(np.ones((2, 3))).sum(axis=2), r"sum: axis 2 given for shape \(2, 3\); expected ints from -2 to 1"),
        (lambda: ta.Tensor(np.ones((2, 3))).mean(axis=(0, -2)), "twice"),
        (lambda: ta.Tensor(np.ones((2, 3)))[5], r"getitem: X has shape \(2, 3\).*out of bounds"),
        (lambda: ta.concatenate([np.ones((2, 3)), np.ones((3, 2))]), r"array 1 has shape \(3, 2\), array 0 \(2, 3\)"),
        (lambda: ta.stack([np.ones(2), np.ones(3)]), r"stack: tensor 1 has shape \(3,\), tensor 0 \(2,\)"),
        (lambda: ta.Tensor(np.ones(2)).item(), "expected exactly one"),
        (lambda: bool(ta.Tensor(np.ones(2))), "neither true nor false"),
        (lambda: ta.softmax(np.ones(3), axis=1), "softmax: axis 1"),
    ],
)  # fmt: skip
def test_the_message_names_the_operation_the_axis_and_both_numbers(wrong, message):
    with pytest.raises(ShapeError, match=message):
        wrong()


def test_clip_needs_its_ends_in_order():
    with pytest.raises(RangeError, match="low is 2, high 1"):
        ta.Tensor([1.0]).clip(2, 1)


# ---------------------------------------------------------------- backends


def test_unknown_and_missing_backends():
    with pytest.raises(RangeError, match="unknown backend 'nunpy'. Known, nearest first: numpy, cupy"):
        ta.Tensor([1.0]).to("nunpy")
    try:
        ta.get_backend("cupy")
    except BackendError as error:
        assert "pip install" in str(error) or "no usable GPU" in str(error)


def test_host_and_device_do_not_mix(backend):
    if backend.name == "numpy":
        pytest.skip("needs a device to mix with")
    device = ta.Tensor([1.0]).to(backend)
    for wrong in (lambda: device + ta.Tensor([1.0]), lambda: device * np.ones(1), lambda: np.asarray(device)):
        with pytest.raises(BackendError, match=r"\.to\(|numpy\(\)"):
            wrong()


def test_comparison_and_conversion():
    t = ta.Tensor([1.0, 2.0, 3.0])
    assert (t > 2).dtype == bool and np.array_equal((t >= ta.Tensor([1.0, 3.0, 3.0])).numpy(), [True, False, True])
    assert (t == None) is False  # noqa: E711
    assert len(t) == 3 and [float(v) for v in t] == [1, 2, 3]
    assert repr(ta.Tensor([1.0], requires_grad=True) * 2) == "Tensor([2.], from multiply)"
    assert {t: 1}[t] == 1
    with pytest.raises(ShapeError, match="comparison"):
        _ = t == ta.Tensor([1.0, 2.0])


# ---------------------------------------------------------------- corners that were once wrong


def test_comparison_with_a_number_does_not_convert_it():
    assert np.array_equal((ta.Tensor(np.array([0, 1])) < 0.5).numpy(), [True, False])
    assert not (ta.Tensor(np.array([True])) == 2).numpy()
    assert (ta.Tensor(np.array([200], np.uint8)) < 300).numpy()
    assert (ta.Tensor([0.1]) == [0.1]).numpy()


def test_numpy_scalars_are_numbers():
    x = ta.Tensor([-2.0], requires_grad=True)
    for y, value in [
        (x ** np.int64(2), 4),
        (x * np.float64(2), -4),
        (x.clip(np.float64(0)), 0),
        (np.float64(3) - x, 5),
    ]:
        assert y.dtype == np.float32 and y.item() == value
    assert np.isclose((2.5 ** ta.Tensor(np.array([2]))).item(), 6.25)
    assert ta.Tensor(np.array([0, 1, 2])).clip(0.5, 1.5).dtype == np.float32


def test_index_arrays_are_copied():
    x, mask = ta.Tensor([1.0, 2.0], requires_grad=True), np.array([True, False])
    y, z, w = x[mask], x[ta.Tensor(mask)], ta.where(mask, x, 0.0)
    mask[:] = [False, True]
    for result in (y, z, w):
        result.sum().backward()
    assert np.array_equal(x.grad, [3, 0])


def test_a_tensor_of_a_tensor_is_a_copy_and_so_is_one_that_will_be_trained():
    x = ta.Tensor([1.0, 2.0])
    assert not np.shares_memory(ta.Tensor(x).data, x.data)
    a = np.ones(2, np.float32)
    assert np.shares_memory(ta.Tensor(a).data, a) and not np.shares_memory(ta.Tensor(a, requires_grad=True).data, a)


def test_gradients_of_rank_0_are_arrays():
    x = ta.Tensor(2.0, requires_grad=True)
    for _ in range(2):
        y = x * 1
        y[...] = 3.0 * x
        (y * 2).backward()
    assert isinstance(x.grad, np.ndarray) and x.grad == 12
    x.grad[...] = 0


def test_functions_take_numbers_and_lists():
    assert (
        ta.maximum(np.ones(2, np.float32), 2.0).dtype
        == ta.maximum([1.0, 2], 0).dtype
        == ta.maximum(1, 2).dtype
        == np.float32
    )
    assert ta.where([True, False], 1.0, 0.0).dtype == np.float32
    with pytest.raises(DtypeError, match="where: labels and masks must be integers or bools, not float32"):
        ta.where(ta.Tensor([1.0]), ta.Tensor([1.0]), ta.Tensor([1.0]))


def test_a_function_under_no_grad_runs_in_several_threads():
    @ta.no_grad()
    def wait():
        barrier.wait()
        return (ta.Tensor([1.0], requires_grad=True) * 2).requires_grad

    barrier, results = threading.Barrier(2), []
    threads = [threading.Thread(target=lambda: results.append(wait())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [False, False]


def test_a_taped_tensor_is_not_copied_but_a_leaf_is():
    x = ta.Tensor([1.0], requires_grad=True)
    twin = copy.deepcopy(x)
    assert twin.requires_grad and np.array_equal(twin.numpy(), x.numpy()) and not np.shares_memory(twin.data, x.data)
    with pytest.raises(TapeError, match=r"copy: .*Use \.detach\(\) first"):
        copy.deepcopy(x * 2)


def test_a_retained_gradient_belongs_to_the_value_after_a_change_in_place():
    x = ta.Tensor([3.0], requires_grad=True)
    y = (x * 1).retain_grad()
    y *= 2
    (y * 5).sum().backward()
    assert y.grad == 5 and x.grad == 10


def test_in_place_with_a_view_of_itself():
    x = ta.Tensor([2.0, 4.0], requires_grad=True)
    y = x * 1
    y /= y.reshape(2)
    y **= 2
    y.sum().backward()
    assert np.array_equal(y.numpy(), [1, 1]) and np.array_equal(x.grad, [0, 0])
    with pytest.raises(TapeError, match="leaf"):
        x **= 2


def test_a_refused_backward_frees_nothing():
    x = ta.Tensor([1.0], requires_grad=True)
    y = x.exp()
    loss = (y * 3).sum()
    with ta.no_grad():
        y += 1
    for _ in range(2):
        with pytest.raises(TapeError, match="changed in place"):
            loss.backward()


def test_batched_products_name_the_axis_that_does_not_broadcast():
    with pytest.raises(ShapeError, match="matmul: .*axis 3 has 2 against 5"):
        ta.Tensor(np.ones((2, 3, 4))) @ ta.Tensor(np.ones((5, 4, 6)))


class Cube(ta.Op):
    """An operation as a reader would write one."""

    name = "cube"

    @staticmethod
    def forward(xp, save, X):
        save(X)
        return X**3

    @staticmethod
    def backward(xp, saved, gY):
        (X,) = saved
        return [3 * X**2 * gY]  # a list will do


class Forgetful(Cube):
    name = "forgetful"

    @staticmethod
    def forward(xp, save, X):
        return X**3


def test_an_operation_of_ones_own():
    assert ta.check_gradients(lambda x: ta.apply(Cube, x), [1.0, -2.0])
    x = ta.Tensor([1.0], requires_grad=True)
    with pytest.raises(
        TapeError, match=r"the rule of <forgetful, recorded at .*> failed with ValueError.*saved values of \[\]"
    ):
        ta.apply(Forgetful, x).backward()
