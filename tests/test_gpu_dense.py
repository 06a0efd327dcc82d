"""Dense layers on the emulated GPU: by tiles, by the library's products, and by both in turn.

How near is near is said in ``test_kernels.py``.
"""

import contextlib
from unittest import mock

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.kernels import gpu_dense
from tinyae.tensor import wrap

from .gpu_twins import ODD, compare, run
from .twins import ACTIVATIONS, TYPES, near, stack_of, with_odd_places


@contextlib.contextmanager
def products(how):
    """Which products dense layers use: of 16 or 32 tiles, the library's, or these and those in turn."""
    changed = {"tiles of 16": {"MANY_TILES": 10**9}, "tiles of 32": {"MANY_TILES": 0}}.get(how, {})
    turn = iter(range(10**9))
    if how == "library":
        changed["is_small"] = lambda N, I, O: False
    elif how == "mixed":
        changed["is_small"] = lambda N, I, O: next(turn) % 2 == 0
    with mock.patch.multiple(gpu_dense, **changed) if changed else contextlib.nullcontext():
        yield


PRODUCTS = ["as they are", "tiles of 16", "tiles of 32", "library", "mixed"]


def test_dense_layers_of_random_shapes(device, rng):
    """Sizes around those of warps and tiles, one to four layers, all activations, every way to compute them."""
    edges = [1, 2, 15, 16, 17, 31, 32, 33, 48, 65, 100, 130]
    for trial in range(40):
        N, count, dtype = rng.choice(edges), rng.integers(1, 5), TYPES[trial % 2]
        widths = [int(n) for n in rng.choice(edges, count + 1)]
        activations = tuple(ACTIVATIONS[i] for i in rng.integers(0, 4, count))
        arrays, cotangent = stack_of(rng, int(N), widths, dtype, activations)
        with products(PRODUCTS[trial % 5]):
            compare(device, ops.Dense, arrays, None, cotangent, activations=activations)


@pytest.mark.parametrize("how", PRODUCTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_dense_layers_with_long_sums(how, dtype, device, rng):
    """Each warp goes through memory several times, and does not come out even."""
    for N, widths in [(257, [300, 20]), (33, [784, 40, 257]), (5, [1000, 3, 531])]:
        arrays, cotangent = stack_of(rng, N, widths, dtype, ("tanh", "sigmoid")[: len(widths) - 1])
        with products(how):
            compare(
                device, ops.Dense, arrays, None, cotangent, floor=4, activations=("tanh", "sigmoid")[: len(widths) - 1]
            )


@pytest.mark.parametrize("how", PRODUCTS)
@pytest.mark.parametrize("f", [None, "relu"])
def test_dense_layers_are_exact_on_whole_numbers(f, how, device, rng):
    """Small whole numbers and their sums are exact in any order, so every bit must agree, at the kink of relu too."""
    for dtype in TYPES:
        for N, widths in [(1, [9, 1]), (33, [40, 7, 18]), (70, [20, 33, 5]), (4, [200, 130])]:
            arrays = [rng.integers(-2, 3, size=(N, widths[0])).astype(dtype)]
            for I, O in zip(widths, widths[1:]):
                arrays += [rng.integers(-1, 2, size=(I, O)).astype(dtype), rng.integers(-3, 4, size=O).astype(dtype)]
            cotangent = rng.integers(-2, 3, size=(N, widths[-1])).astype(dtype)
            with products(how):
                compare(device, ops.Dense, arrays, None, cotangent, exact=True, activations=(f,) * (len(widths) - 1))


FROZEN = {
    "all but a bias": [False] * 4 + [True] + [False] * 4,
    "first layers": [False] * 5 + [True] * 4,
    "all but X": [True] + [False] * 8,
    "middle": [False] * 3 + [True] * 2 + [False] * 4,
    "all but the last bias": [False] * 8 + [True],
    "all but the last weight": [False] * 7 + [True, False],
    "X and biases": [True] + [False, True] * 4,
    "only X's": [False] + [True] * 8,
}


@pytest.mark.parametrize("how", PRODUCTS)
@pytest.mark.parametrize("frozen", FROZEN)
def test_frozen_layers_get_no_gradients(frozen, how, device, rng):
    widths, activations = [30, 20, 100, 50, 12], ("relu", "tanh", None, "sigmoid")
    for N in (5, 40):
        arrays, cotangent = stack_of(rng, N, widths, np.float64, activations)
        with products(how):
            compare(device, ops.Dense, arrays, FROZEN[frozen], cotangent, activations=activations)


@pytest.mark.parametrize("how", ["as they are", "library"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_layer_and_a_product(dtype, how, device, rng):
    with products(how):
        for N, I, O in [(1, 1, 1), (1, 7, 40), (33, 20, 9), (100, 4, 50), (5, 300, 17)]:
            (X, W, b), cotangent = stack_of(rng, N, [I, O], dtype, [None])
            for needed in ([True] * 3, [False, True, False], [False, False, True], [True, False, False]):
                compare(device, ops.Affine, [X, W, b], needed, cotangent)
            for needed in ([True, True], [False, True], [True, False]):
                compare(device, ops.MatMul, [X, W], needed, cotangent)


@pytest.mark.parametrize("f", [None, "sigmoid"])
def test_column_sums_of_tall_and_of_flat_matrices(f, device, rng):
    for N, O in [(1, 1), (100_000, 1), (20_000, 3), (1, 4096), (40, 1000), (3000, 33), (257, 100), (1025, 31)]:
        gY, Y = rng.normal(size=(2, N, O))
        expected = gY * Y * (1 - Y) if f else gY
        for dtype in TYPES:
            given = [device.asarray(a.astype(dtype)) for a in (gY, Y)]
            gZ, gb = gpu_dense.through_and_sums(device, *given, gpu_dense.CODES[f], True, True)
            assert (gZ is given[0]) == (f is None)
            near(device.to_host(gZ), expected.astype(dtype), 1)
            near(device.to_host(gb), expected.sum(axis=0).astype(dtype), np.abs(expected).sum(axis=0).max() / 10)
            gZ, gb = gpu_dense.through_and_sums(device, *given, gpu_dense.CODES[f], False, True)
            assert gZ is given[0]
            near(device.to_host(gb), expected.sum(axis=0).astype(dtype), np.abs(expected).sum(axis=0).max() / 10)


def test_one_matrix_as_both_factors(device, rng):
    x, found = rng.normal(size=(20, 20)), []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            X = wrap(device.asarray(x), device)
            X.requires_grad = True
            (X @ X @ X).sum().backward()
            found.append(device.to_host(X.grad))
    near(*found, floor=10)


def test_what_a_layer_costs_in_launches(device, rng):
    """One launch forward and one back for each layer, whose derivative goes along with the next one's product."""
    activations = ("relu", None, "tanh", "sigmoid")
    arrays, cotangent = stack_of(rng, 32, [20, 12, 5, 12, 20], np.float32, activations)
    with mock.patch.object(device, "launch", wraps=device.launch) as launch:
        run(device, "fast", ops.Dense, arrays, None, cotangent, activations=activations)
        names = [call.args[1] for call in launch.call_args_list]
    assert names == ["product_bias_activation_16"] * 4 + ["product_backward_16"] * 4


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", range(6))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity_in_dense_layers(place, dtype, device, rng):
    """In X, in each parameter, and in the cotangent: the rows and columns that they reach are the same."""
    for how, f in zip(PRODUCTS, [*ACTIVATIONS, "relu"]):
        for values in ODD:
            for N, widths in [(5, [7, 18, 3]), (40, [9, 5, 17])]:
                arrays, cotangent = stack_of(rng, N, widths, dtype, (f, "tanh"))
                every = [*arrays, cotangent]
                every[place] = with_odd_places(rng, every[place], values)
                *arrays, cotangent = every
                with products(how):
                    compare(device, ops.Dense, arrays, None, cotangent, activations=(f, "tanh"))


@pytest.mark.parametrize("how", PRODUCTS)
def test_dense_layers_give_the_same_numbers_to_the_last_bit(how, device, rng):
    arrays, cotangent = stack_of(rng, 300, [70, 40, 20], np.float32, ("relu", "tanh"))
    found = []
    for _ in range(2):
        with products(how):
            found.append(run(device, "fast", ops.Dense, arrays, None, cotangent, activations=("relu", "tanh")))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*found))


def test_large_and_small_tiles_round_alike(device, rng):
    """A sum is divided among the warps in the same way, so the choice of a tile is a choice of speed alone."""
    arrays, cotangent = stack_of(rng, 70, [300, 40], np.float32, ("tanh",))
    found = []
    for how in ("tiles of 16", "tiles of 32"):
        with products(how):
            found.append(run(device, "fast", ops.Dense, arrays, None, cotangent, activations=("tanh",)))
    for place in (0, 1, 2):  # the bias's gradient, a sum over examples, is added up in another order
        assert found[0][place].tobytes() == found[1][place].tobytes()
