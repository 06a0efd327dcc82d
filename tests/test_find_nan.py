"""The first operation that is not finite, forward, backward and in an update."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.context import observing
from tinyae.errors import NotFiniteError


def leaf(*numbers):
    return ta.Tensor(numbers, requires_grad=True)


def test_forward():
    x = leaf(-1.0, 2.0)
    with (
        pytest.raises(
            NotFiniteError, match=r"log at .*test_find_nan.py:\d+ is the first to produce 1 NaN of 2"
        ) as caught,
        ta.find_nan(),
    ):
        x.log().sum()
    assert "X float32 (2,), -1 to 2" in str(caught.value) and r"\ln X" in str(caught.value)


def test_an_infinity_is_found_before_the_nan_that_it_becomes():
    x = leaf(1e38, 1.0)
    with pytest.raises(NotFiniteError, match=r"multiply at .* first to produce 1 infinite of 2"), ta.find_nan():
        y = x * 10.0
        (y - y).sum()
    with pytest.raises(NotFiniteError, match=r"subtract at .* first to produce 1 NaN"), ta.find_nan(infinities=False):
        y = x * 10.0
        (y - y).sum()


def test_backward():
    x = leaf(0.0, 4.0)
    with (
        pytest.raises(NotFiniteError, match=r"backward rule of sqrt \(recorded at .*test_find_nan.py:\d+\)") as caught,
        ta.find_nan(),
    ):
        x.sqrt().sum().backward()
    assert "1 infinite of 2" in str(caught.value) and "gradient float32 (2,), 1 to 1" in str(caught.value)
    assert x.grad is None


def test_a_sum_of_finite_gradients_that_is_not():
    x = ta.Tensor(np.array([1.0], np.float32), requires_grad=True)
    y = x * 1.0
    with pytest.raises(NotFiniteError, match="the sum of what reached it"), ta.find_nan():
        (y * 2.0 + y * 2.0).backward(np.array([1.6e38], np.float32))  # 3.2e38 twice; the largest is 3.4e38


def test_an_update():
    x = leaf(1.0)
    optimizer = ta.SGD([x], lr=1e30)
    (x * 1e20).sum().backward()
    with (
        pytest.raises(NotFiniteError, match=r"step 1 of SGD.* first to produce 1 infinite .* parameter 0"),
        ta.find_nan(),
    ):
        optimizer.step()


def test_numbers_that_were_not_finite_before():
    x = np.array([[1.0, np.nan]], np.float32)
    with pytest.raises(NotFiniteError, match=r"the input X of relu .* holds 1 NaN of 2 numbers already"), ta.find_nan():
        ta.relu(x)


def test_in_fit():
    model = ta.Sequential(ta.Dense(2, 2))
    with pytest.raises(NotFiniteError, match="is the first to produce"), ta.find_nan():
        ta.fit(
            model,
            np.random.default_rng(0).random((40, 2), np.float32),
            np.zeros((40, 2), np.float32),
            optimizer="sgd",
            lr=1e18,
            epochs=20,
            progress=False,
        )


def test_a_healthy_program_runs_through_with_its_own_numbers():
    def run():
        ta.manual_seed(0)
        model = ta.Sequential(ta.Dense(2, 3, "relu"), ta.Dense(3, 2))
        optimizer = ta.Adam(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            ta.mse_loss(model(np.eye(2, dtype=np.float32)), np.eye(2, dtype=np.float32)).backward()
            optimizer.step()
        return [p.data.copy() for p in model.parameters()]

    with ta.use_kernels("reference"):
        plain = run()
        with ta.find_nan():
            watched = run()
    assert all(map(np.array_equal, plain, watched)) and observing.get() is None


def test_numpy_warns_again_afterwards():
    with ta.find_nan():
        pass
    with pytest.warns(RuntimeWarning):
        np.array([0.0]) / np.array([0.0])
