"""Tensors: what they are made of, their types, and the messages for what does not fit."""

import copy

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import BackendError, DtypeError, RangeError, ShapeError, TapeError

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


# ---------------------------------------------------------------- recording


def test_detach_shares_memory_but_not_the_tape():
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    d = x.detach()
    assert not d.requires_grad and np.shares_memory(d.data, x.data)


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


def test_a_tensor_has_memory_of_its_own():
    x = ta.Tensor([1.0, 2.0])
    assert not np.shares_memory(ta.Tensor(x).data, x.data)
    a = np.ones(2, np.float32)
    assert not np.shares_memory(ta.Tensor(a).data, a) and not np.shares_memory(copy.copy(x).data, x.data)


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


def test_a_taped_tensor_is_not_copied_but_a_leaf_is():
    x = ta.Tensor([1.0], requires_grad=True)
    twin = copy.deepcopy(x)
    assert twin.requires_grad and np.array_equal(twin.numpy(), x.numpy()) and not np.shares_memory(twin.data, x.data)
    with pytest.raises(TapeError, match=r"copy: .*Use \.detach\(\) first"):
        copy.deepcopy(x * 2)


def test_batched_products_name_the_axis_that_does_not_broadcast():
    with pytest.raises(ShapeError, match="matmul: .*axis 3 has 2 against 5"):
        ta.Tensor(np.ones((2, 3, 4))) @ ta.Tensor(np.ones((5, 4, 6)))
