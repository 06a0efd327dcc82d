"""The kernel of dense layers against its definition; see ``test_kernels.py``."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinyae as ta
from tinyae import ops
from tinyae.apply import apply
from tinyae.backend import NUMPY
from tinyae.kernels import dense_layers

from .twins import (
    ACTIVATIONS,
    TYPES,
    compare,
    kernels_for_all,
    near,
    stack_of,
)

# ---------------------------------------------------------------- dense layers


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.integers(1, 20), st.integers(1, 150)),
    st.lists(st.integers(1, 70), min_size=2, max_size=5),
    st.sampled_from(TYPES),
    st.sampled_from([None, 1, 2, 3, 7, 16]),
    st.booleans(),
    st.data(),
)
def test_dense_layers(N, widths, dtype, parts, by_inputs, data):
    """Random shapes, activations, frozen inputs and parameters, numbers of threads."""
    layers = len(widths) - 1
    activations = tuple(data.draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=layers, max_size=layers)))
    needed = data.draw(st.lists(st.booleans(), min_size=2 * layers + 1, max_size=2 * layers + 1))
    needed = needed if any(needed) else [True] * len(needed)
    arrays, cotangent = stack_of(np.random.default_rng(data.draw(st.integers(0, 99))), N, widths, dtype, activations)
    with kernels_for_all(parts, by_inputs):
        compare(ops.Dense, arrays, needed, cotangent, floor=1, activations=activations)


SHAPES = [
    (1, [1, 1]),
    (1, [40, 3]),
    (1, [300, 1, 300]),
    (2, [1, 5]),
    (3, [5, 1, 1, 5]),
    (64, [9, 9]),
    (65, [16, 8]),
    (129, [15, 17, 31, 33]),  # about the width of a register, and two
    (257, [7, 3, 5]),  # more than four blocks
    (10, [127, 4]),  # about the depth of a block of the inner axis
    (40, [128, 33]),
    (17, [129, 257, 2]),
    (5, [784, 20]),
    (3, [256, 128]),  # from here on layers that are divided by inputs
    (4, [100, 300, 200]),
    (20, [8, 256, 256]),  # above a layer with fewer inputs than examples
    (50, [200, 10, 300, 300, 7]),
    (32, [784, 128, 2, 300, 784]),
]


@pytest.mark.parametrize("parts", [1, 2, 16])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("N, widths", SHAPES, ids=str)
def test_dense_layers_at_the_edges(N, widths, dtype, parts, rng):
    activations = tuple(ACTIVATIONS[(l + N) % 4] for l in range(len(widths) - 1))
    arrays, cotangent = stack_of(rng, N, widths, dtype, activations)
    with kernels_for_all(parts):
        compare(ops.Dense, arrays, None, cotangent, floor=1, activations=activations)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("f", [None, "relu"])
def test_dense_layers_are_exact_on_whole_numbers(dtype, f, parts, rng):
    """Small whole numbers and their sums are exact in any order, so every bit must agree, at the kink of relu too."""
    for N, widths in [(1, [9, 1]), (33, [40, 7, 18]), (70, [20, 33, 5]), (4, [200, 130])]:
        arrays = [rng.integers(-2, 3, size=(N, widths[0])).astype(dtype)]
        for I, O in zip(widths, widths[1:]):
            arrays += [rng.integers(-1, 2, size=(I, O)).astype(dtype), rng.integers(-3, 4, size=O).astype(dtype)]
        cotangent = rng.integers(-2, 3, size=(N, widths[-1])).astype(dtype)
        with kernels_for_all(parts):
            compare(ops.Dense, arrays, None, cotangent, exact=True, activations=(f,) * (len(widths) - 1))


@pytest.mark.parametrize("frozen", ["all but a bias", "first layers", "all but X", "middle", "all but the last bias"])
@pytest.mark.parametrize("parts", [1, 4])
def test_frozen_layers_get_no_gradients(frozen, parts, rng):
    widths, activations = [30, 20, 200, 150, 12], ("relu", "tanh", None, "sigmoid")
    needed = {
        "all but a bias": [False] * 4 + [True] + [False] * 4,
        "first layers": [False] * 5 + [True] * 4,
        "all but X": [True] + [False] * 8,
        "middle": [False] * 3 + [True] * 2 + [False] * 4,
        "all but the last bias": [False] * 8 + [True],
    }[frozen]
    for N in (5, 40):
        arrays, cotangent = stack_of(rng, N, widths, np.float64, activations)
        with kernels_for_all(parts):
            compare(ops.Dense, arrays, needed, cotangent, floor=1, activations=activations)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_layer_and_a_product(dtype, rng, everywhere):
    for N, I, O in [(1, 1, 1), (1, 7, 40), (33, 20, 9), (100, 4, 50), (5, 300, 17)]:
        (X, W, b), cotangent = stack_of(rng, N, [I, O], dtype, [None])
        for needed in ([True] * 3, [False, True, False], [False, False, True], [True, False, False]):
            compare(ops.Affine, [X, W, b], needed, cotangent, floor=1)
        for needed in ([True, True], [False, True], [True, False]):
            compare(ops.MatMul, [X, W], needed, cotangent, floor=1)


def test_one_matrix_as_both_factors(rng, everywhere):
    x = rng.normal(size=(20, 20))
    found = []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            X = ta.Tensor(x, requires_grad=True)
            (X @ X @ X).sum().backward()
            found.append(X.grad)
    near(*found, floor=10)


def test_layers_that_are_told_apart(rng, everywhere):
    """One weight with another bias, activation or successor is another row of layers; and so is one that was replaced."""
    W, V, b, c = (ta.Tensor(rng.normal(size=s)) for s in [(6, 6), (6, 6), (6,), (6,)])
    x = ta.Tensor(rng.normal(size=(5, 6)))
    for _ in range(2):
        for parameters, f in [
            ((W, b), ("relu",)),
            ((W, c), ("relu",)),
            ((W, b), ("tanh",)),
            ((W, b, V, c), ("relu", None)),
            ((W, b, W, b), ("relu", None)),
        ]:
            y = apply(ops.Dense, x, *parameters, activations=f)
            with ta.use_kernels("reference"):
                near(y.numpy(), apply(ops.Dense, x, *parameters, activations=f).numpy(), 1)
        W.data = rng.normal(size=(6, 6))


def test_inputs_of_many_sizes(rng, everywhere):
    """What is remembered for each batch size is forgotten and made anew."""
    with mock.patch.object(dense_layers, "PLANS", 3):
        layer = ta.Dense(7, 5, "tanh").astype("float64")
        for N in (*range(1, 20), *range(1, 20)):
            x = rng.normal(size=(N, 7))
            with ta.use_kernels("reference"):
                expected = layer(ta.Tensor(x)).numpy()
            near(layer(ta.Tensor(x)).numpy(), expected, 1)


def test_what_was_put_on_a_layer_is_called_in_a_row_too(rng):
    first, second = ta.Dense(4, 3, "relu"), ta.Dense(3, 2)
    model, x, calls = ta.Sequential(first, second), ta.Tensor(rng.normal(size=(5, 4)).astype(np.float32)), []
    plain = model(x).numpy()
    forward = first.forward
    first.forward = lambda x: (calls.append(x.shape), forward(x))[1]
    assert np.allclose(model(x).numpy(), plain) and calls == [(5, 4)]


def test_a_weight_of_another_shape_in_the_same_array_is_noticed(rng, everywhere):
    W, x = ta.Tensor(rng.normal(size=(64, 32))), ta.Tensor(rng.normal(size=(16, 64)))
    assert ta.matmul(x, W).shape == (16, 32)
    W.data = W.data.reshape(32, 64)
    assert ta.matmul(ta.Tensor(x.numpy()[:, :32]), W).shape == (16, 64)


# ---------------------------------------------------------------- matrices that do not lie row by row in memory


@pytest.mark.parametrize("which", ["W", "X", "both", "strided"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_with_transposed_matrices_is_the_kernels_too(which, bias, dtype, rng):
    """Left to NumPy, its threads and the kernels' would wait for each other: some hundred times slower."""
    X, W, b = (rng.standard_normal(shape).astype(dtype) for shape in [(40, 30), (30, 20), (20,)])
    if which in ("X", "both"):
        X = np.asfortranarray(X)
    if which in ("W", "both"):
        W = np.asfortranarray(W)
    if which == "strided":
        X = np.repeat(X, 2, axis=1)[:, ::2]
    operation, arrays = (ops.Affine, [X, W, b]) if bias else (ops.MatMul, [X, W])
    twin = NUMPY.twin(operation)
    assert twin.accepts(*arrays)
    tensors, close = {}, {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    for kernels in ("fast", "reference"):
        with ta.use_kernels(kernels):
            inputs = [ta.Tensor(np.array(a), requires_grad=True) for a in arrays]
            for tensor, array in zip(inputs, arrays):
                tensor.data = array  # as it lies in memory
            Y = apply(operation, *inputs)
            (Y * Y).sum().backward()
            tensors[kernels] = [Y.data, *(t.grad for t in inputs)]
    for ours, theirs in zip(*tensors.values()):
        assert ours.dtype == theirs.dtype and np.allclose(ours, theirs, **close)


def test_a_captured_step_with_a_transposed_matrix_runs_as_it_is_written(rng):
    layer = ta.Dense(30, 40)
    tied = ta.TiedDense(layer, None)
    optimizer = ta.SGD([*layer.parameters(), tied.bias], lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = ta.mse_loss(tied(layer(x)), x)
        loss.backward()
        optimizer.step()
        return loss

    captured, losses = ta.capture(step), []
    x = ta.Tensor(rng.random((50, 30), dtype=np.float32))
    with pytest.warns(ta.CaptureWarning):
        for _ in range(6):
            losses.append(captured(x).item())
    assert sorted(losses, reverse=True) == losses and len(set(losses)) == 6
