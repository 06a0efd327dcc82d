"""Every operation against differences of its own values, and against NumPy."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyae as ta
from tinyae.ops import OPERATIONS

from .image_cases import IMAGES

LABELS = np.array([2, 0, 1])
MASK = np.array([[True, False, True, False], [False, True, True, False], [True, True, False, False]])


def beside(x, array):
    """A constant on the backend that x is on: nothing moves by itself."""
    return ta.Tensor(array).to(x.backend)


def away_from_kinks(rng, *shape):
    """Values at least 0.1 from 0, where relu and abs bend."""
    x = rng.normal(size=shape)
    return np.where(x < 0, x - 0.1, x + 0.1)


# name of the operation -> list of (function, function of rng that makes its inputs)
CASES = {
    "add": [(lambda x, y: x + y, lambda r: (r.normal(size=(3, 4)), r.normal(size=4)))],
    "subtract": [(lambda x, y: x - y, lambda r: (r.normal(size=(3, 1)), r.normal(size=(2, 1, 4))))],
    "multiply": [
        (lambda x, y: x * y, lambda r: (r.normal(size=(3, 4)), r.normal(size=(1, 4)))),
        (lambda x: x * x * 2.0, lambda r: (r.normal(size=(3,)),)),
    ],
    "divide": [(lambda x, y: x / y, lambda r: (r.normal(size=(3, 4)), away_from_kinks(r, 4)))],
    "negative": [(lambda x: -x, lambda r: (r.normal(size=3),))],
    "power": [
        (lambda x: x**3, lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x**-1.5, lambda r: (r.random((3, 4)) + 0.5,)),
        (lambda x: x**0 * x, lambda r: (r.normal(size=3),)),
    ],
    "exp": [(lambda x: x.exp(), lambda r: (r.normal(size=(3, 4)),))],
    "log": [(lambda x: x.log(), lambda r: (r.random((3, 4)) + 0.5,))],
    "sqrt": [(lambda x: x.sqrt(), lambda r: (r.random((3, 4)) + 0.5,))],
    "abs": [(lambda x: x.abs(), lambda r: (away_from_kinks(r, 3, 4),))],
    "clip": [
        (lambda x: x.clip(-0.5, 0.5), lambda r: (np.array([-2.0, -0.4, 0.1, 0.6, 3.0]),)),
        (lambda x: x.clip(low=0), lambda r: (np.array([-2.0, -0.4, 0.1, 0.6, 3.0]),)),
    ],
    "maximum": [(ta.maximum, lambda r: (r.normal(size=(3, 4)), r.normal(size=4)))],
    "where": [(lambda x, y: ta.where(beside(x, MASK), x, y), lambda r: (r.normal(size=(3, 4)), r.normal(size=4)))],
    "relu": [(ta.relu, lambda r: (away_from_kinks(r, 3, 4),))],
    "leaky_relu": [(lambda x: ta.leaky_relu(x, 0.2), lambda r: (away_from_kinks(r, 3, 4),))],
    "elu": [(ta.elu, lambda r: (away_from_kinks(r, 3, 4),))],
    "sigmoid": [(ta.sigmoid, lambda r: (4 * r.normal(size=(3, 4)),))],
    "tanh": [(ta.tanh, lambda r: (r.normal(size=(3, 4)),))],
    "softplus": [(ta.softplus, lambda r: (4 * r.normal(size=(3, 4)),))],
    "gelu": [(ta.gelu, lambda r: (2 * r.normal(size=(3, 4)),))],
    "softmax": [
        (ta.softmax, lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: ta.softmax(x, axis=0), lambda r: (r.normal(size=(3, 4)),)),
    ],
    "log_softmax": [(lambda x: ta.log_softmax(x, axis=1), lambda r: (r.normal(size=(2, 3, 2)),))],
    "affine": [
        (ta.functional.affine, lambda r: (r.normal(size=(3, 4)), r.normal(size=(4, 2)), r.normal(size=2))),
    ],
    "dense": [
        *(
            (
                lambda x, w, b, f=f: ta.functional.dense(x, w, b, f),
                lambda r: (r.normal(size=(3, 4)), r.normal(size=(4, 2)), r.normal(size=2)),
            )
            for f in (None, "sigmoid", "tanh")
        ),
        (
            lambda x, w, b: ta.functional.dense(x, w, b, "relu"),  # z = 3 w + b, away from the kink
            lambda r: (np.full((3, 1), 3.0), np.array([[1.0, -1.0]]), r.random(2)),
        ),
        (
            lambda x, *parameters: ta.apply(OPERATIONS["dense"], x, *parameters, activations=("tanh", None, "sigmoid")),
            lambda r: (
                r.normal(size=(3, 4)),
                *(r.normal(size=shape) for i, o in [(4, 5), (5, 2), (2, 3)] for shape in [(i, o), (o,)]),
            ),
        ),
    ],
    "matmul": [
        (ta.matmul, lambda r, m=m, n=n: (r.normal(size=m), r.normal(size=n)))
        for m, n in [
            ((3, 4), (4, 2)),
            ((4,), (4,)),
            ((4,), (4, 2)),
            ((3, 4), (4,)),
            ((2, 3, 4), (4, 5)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((4,), (3, 4, 2)),
            ((2, 3, 4), (4,)),
        ]
    ],
    "sum": [
        (lambda x: x.sum(), lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x.sum(axis=(0, -1)), lambda r: (r.normal(size=(2, 3, 4)),)),
        (lambda x: x.sum(axis=1, keepdims=True), lambda r: (r.normal(size=(2, 3)),)),
    ],
    "mean": [
        (lambda x: x.mean(), lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x.mean(axis=(2, 0)), lambda r: (r.normal(size=(2, 3, 4)),)),
    ],
    "max": [
        (lambda x: x.max(), lambda r: (r.permutation(12).reshape(3, 4) * 1.0,)),
        (lambda x: x.max(axis=(0, 2)), lambda r: (r.permutation(24).reshape(2, 3, 4) * 1.0,)),
        (lambda x: x.max(axis=-2, keepdims=True), lambda r: (r.permutation(24).reshape(2, 3, 4) * 1.0,)),
    ],
    "reshape": [(lambda x: x.reshape(2, -1), lambda r: (r.normal(size=(3, 4)),))],
    "transpose": [
        (lambda x: x.transpose(2, 0, 1), lambda r: (r.normal(size=(2, 3, 4)),)),
        (lambda x: x.T, lambda r: (r.normal(size=(2, 3)),)),
    ],
    "getitem": [
        (lambda x: x[1:, ::-2], lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x[[0, 2, 0, 0]], lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x[beside(x, MASK)], lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x[..., None, 1], lambda r: (r.normal(size=(3, 4)),)),
        (lambda x: x[beside(x, np.array([0, 1])), beside(x, np.array([3, 3]))], lambda r: (r.normal(size=(3, 4)),)),
    ],
    "setitem": [
        (lambda x, v: overwritten(x, (slice(None), 1), v), lambda r: (r.normal(size=(3, 4)), r.normal(size=3))),
        (lambda x, v: overwritten(x, beside(x, MASK), v), lambda r: (r.normal(size=(3, 4)), r.normal(size=()))),
    ],
    "concatenate": [
        (lambda x, y: ta.concatenate([x, y, x], axis=-1), lambda r: (r.normal(size=(3, 4)), r.normal(size=(3, 1)))),
        (lambda x, y: ta.stack([x, y], axis=1), lambda r: (r.normal(size=(3, 4)), r.normal(size=(3, 4)))),
    ],
    "astype": [(lambda x: x.astype("float64") * 3, lambda r: (r.normal(size=3),))],
    "mse_loss": [
        (
            lambda p, t, reduction=reduction: ta.mse_loss(p, t, reduction),
            lambda r: (r.normal(size=(3, 4)), r.normal(size=(3, 4))),
        )
        for reduction in ("mean", "sum", "none")
    ],
    "bce_with_logits_loss": [
        (
            lambda z, t: ta.bce_with_logits_loss(z, t),
            lambda r: (3 * r.normal(size=(3, 4)), 0.1 + 0.8 * r.random((3, 4))),
        ),
        (
            lambda z, t: ta.bce_with_logits_loss(z, t, "none"),
            lambda r: (3 * r.normal(size=(3, 4)), 0.1 + 0.8 * r.random((3, 4))),
        ),
    ],
    "binary_cross_entropy": [
        (
            lambda p, t: ta.binary_cross_entropy(p, t),
            lambda r: (0.1 + 0.8 * r.random((3, 4)), 0.1 + 0.8 * r.random((3, 4))),
        ),
    ],
    "cross_entropy": [
        (
            lambda z, reduction=reduction: ta.cross_entropy(z, beside(z, LABELS), reduction),
            lambda r: (r.normal(size=(3, 4)),),
        )
        for reduction in ("mean", "sum", "none")
    ],
    "kl_divergence": [
        (
            lambda x, y, reduction=reduction: ta.kl_divergence(ta.softmax(x), ta.softmax(y), reduction),
            lambda r: (r.normal(size=(3, 4)), r.normal(size=(3, 4))),
        )
        for reduction in ("mean", "none")
    ],
    "gaussian_kl": [
        (
            lambda m, v, reduction=reduction: ta.gaussian_kl(m, v, reduction),
            lambda r: (r.normal(size=(3, 4)), r.normal(size=(3, 4))),
        )
        for reduction in ("mean", "none")
    ],
    **IMAGES,
}


# operators that are made of several operations
COMPOSED = [
    (lambda x, y: x**y, lambda r: (r.random((3, 4)) + 0.5, r.normal(size=4))),
    (lambda x: 2**x, lambda r: (r.normal(size=3),)),
]


def overwritten(x, index, value):
    y = x * 1.0
    y[index] = value
    return y


def test_every_operation_has_a_case():
    assert set(CASES) == {name for name in OPERATIONS if not name.startswith("wrong")}


@pytest.mark.parametrize("name, i", [(name, i) for name, cases in CASES.items() for i in range(len(cases))])
def test_gradient(name, i, rng, backend):
    function, make = CASES[name][i]
    report = ta.check_gradients(function, *(ta.Tensor(x).to(backend) for x in make(rng)), tolerance=1e-7)
    assert report, report
    assert report.checked > 0 and not report.kinks


@pytest.mark.parametrize("function, make", COMPOSED)
def test_gradient_of_a_composition(function, make, rng):
    assert ta.check_gradients(function, *make(rng), tolerance=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name, rng, backend):
    if name == "astype":
        return
    function, make = CASES[name][0]
    inputs = [ta.Tensor(x.astype(np.float32), requires_grad=True).to(backend) for x in make(rng)]
    output = function(*inputs)
    assert output.dtype == np.float32
    output.backward(backend.xp.ones(output.shape, dtype="float32"))
    assert all(x.grad.dtype == np.float32 and x.grad.shape == x.shape for x in inputs)


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=list(OPERATIONS))
def test_formulas_name_what_the_code_names(op):
    """Each formula is there, and each vjp belongs to an input of forward; one with an index to a list of inputs."""
    signature = inspect.signature(op.forward).parameters
    inputs = [p for p in signature if p not in ("xp", "save")]
    lists = [p for p in inputs if signature[p].kind is inspect.Parameter.VAR_POSITIONAL]
    assert op.formula
    for variable in op.vjp:
        assert variable in inputs or ("_" in variable and lists), (variable, inputs)


@pytest.mark.parametrize("name, i", [(name, i) for name, cases in CASES.items() for i in range(len(cases))])
def test_what_is_saved_and_returned(name, i, rng, monkeypatch):
    """Saved arrays are inputs, the output, or private; gradients are fresh, or views of gY."""
    function, make = CASES[name][i]
    op, seen = OPERATIONS[name], []
    forward, backward = op.forward, op.backward

    def watched_forward(xp, save, *arrays, **attributes):
        kept = []
        y = forward(xp, lambda *values: (kept.extend(values), save(*values)), *arrays, **attributes)
        for value in kept:
            if isinstance(value, np.ndarray):
                others = [a for a in [*arrays, y] if isinstance(a, np.ndarray)]
                assert any(value is a for a in others) or not any(np.shares_memory(value, a) for a in others)
        return y

    def watched_backward(xp, saved, gY):
        gradients = backward(xp, saved, gY)
        fresh = [g for g in (gradients if isinstance(gradients, tuple) else (gradients,)) if isinstance(g, np.ndarray)]
        fresh = [g for g in fresh if not np.shares_memory(g, gY)]
        for g in fresh:
            assert not any(np.shares_memory(g, a) for a in saved if isinstance(a, np.ndarray))
            assert sum(np.shares_memory(g, h) for h in fresh) == 1 or g.base is not None
        seen.append(name)
        return gradients

    monkeypatch.setattr(op, "forward", staticmethod(watched_forward))
    monkeypatch.setattr(op, "backward", staticmethod(watched_backward))
    inputs = [ta.Tensor(x, requires_grad=True, dtype="float32" if name == "astype" else None) for x in make(rng)]
    function(*inputs).sum().backward()
    assert seen


# ---------------------------------------------------------------- conventions that the docstrings state


def slope(function, x):
    t = ta.Tensor(x, requires_grad=True)
    function(t).sum().backward()
    return t.grad


def test_kinks_are_where_the_docstrings_say():
    assert slope(ta.relu, [0.0]) == 0
    assert slope(ta.leaky_relu, [0.0]) == np.float32(0.01)
    assert slope(ta.Tensor.abs, [0.0]) == 0
    assert slope(ta.elu, [0.0]) == 1
    assert np.array_equal(slope(lambda x: x.clip(0, 1), [0.0, 1.0, 1.5]), [1, 1, 0])
    assert np.array_equal(slope(lambda x: x.max(), [1.0, 3.0, 3.0]), [0, 1, 0])
    assert np.array_equal(slope(lambda x: x.max(axis=0), [[2.0, 1.0], [2.0, 5.0]]), [[1, 0], [0, 1]])
    assert slope(lambda x: x**0, [0.0]) == 0


def test_ties_of_maximum_go_to_the_first():
    x, y = ta.Tensor([1.0, 2.0], requires_grad=True), ta.Tensor([1.0, 3.0], requires_grad=True)
    ta.maximum(x, y).sum().backward()
    assert np.array_equal(x.grad, [1, 0]) and np.array_equal(y.grad, [0, 1])


@pytest.mark.parametrize("name", ta.functional.ACTIVATIONS)
def test_nan_and_infinity_pass_through_activations(name, backend):
    function = ta.functional.ACTIVATIONS[name]
    x = ta.Tensor([1.0, np.nan]).to(backend)
    assert np.isnan(function(x).numpy()[1])
    if "softmax" not in name:
        large = function(ta.Tensor([-1e4, 1e4]).to(backend)).numpy()
        assert np.isfinite(large).all()


def test_max_passes_nan_on(backend):
    x = ta.Tensor([1.0, np.nan, 3.0]).to(backend)
    assert np.isnan(x.max().numpy())


def test_nothing_overflows():
    x = np.array([-1e4, -100, 0, 100, 1e4], np.float32)
    for function in (ta.sigmoid, ta.softplus, ta.elu, ta.gelu, ta.softmax, ta.log_softmax):
        assert np.isfinite(function(x).numpy()).all()
        assert np.isfinite(slope(function, x)).all()
    assert np.allclose(ta.sigmoid(np.array([-30.0])).numpy(), np.exp(-30.0), rtol=1e-12)


def test_a_fused_operation_equals_its_composition(rng):
    x, w, b = (ta.Tensor(rng.normal(size=s)) for s in [(3, 4), (4, 2), (2,)])
    assert np.allclose(ta.functional.affine(x, w, b).numpy(), (x @ w + b).numpy(), rtol=1e-15)


@pytest.mark.parametrize("f", [None, "relu", "sigmoid", "tanh"])
def test_dense_equals_affine_and_activation(f, rng, backend):
    """Values and gradients to the last bit: the definition of the one is made of the others."""
    shapes = [(5, 4), (4, 3), (3,), (3, 6), (6,)]
    values, cotangent = [rng.normal(size=shape) for shape in shapes], rng.normal(size=(5, 6))
    activation = (lambda y: y) if f is None else ta.functional.ACTIVATIONS[f]

    def fused(x, w1, b1, w2, b2):
        return ta.apply(OPERATIONS["dense"], x, w1, b1, w2, b2, activations=(f, f))

    def composed(x, w1, b1, w2, b2):
        return activation(ta.functional.affine(activation(ta.functional.affine(x, w1, b1)), w2, b2))

    found = []
    with ta.use_kernels("reference"):
        for function in (fused, composed):
            inputs = [ta.Tensor(value, requires_grad=True).to(backend) for value in values]
            y = function(*inputs)
            y.backward(backend.asarray(cotangent))
            found.append([y.numpy(), *(backend.to_host(x.grad) for x in inputs)])
    assert all(np.array_equal(one, other) for one, other in zip(*found))


# ---------------------------------------------------------------- properties, over random shapes

floats = st.floats(-10, 10, width=32)


@settings(max_examples=60, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4), st.data())
def test_broadcasting_follows_numpy_and_its_gradient_is_the_sum_back(shapes, data):
    a, b = (data.draw(hnp.arrays(np.float64, shape, elements=floats)) for shape in shapes.input_shapes)
    x, y = ta.Tensor(a, requires_grad=True), ta.Tensor(b, requires_grad=True)
    z = x + y
    assert z.shape == shapes.result_shape and np.array_equal(z.numpy(), a + b)
    weight = np.arange(z.size, dtype=np.float64).reshape(z.shape)
    z.backward(weight)
    for tensor in (x, y):  # what reaches an element is the sum of weights of all places it was used at
        places = np.broadcast_to(np.arange(tensor.size).reshape(tensor.shape), z.shape)
        expected = np.bincount(places.ravel(), weights=weight.ravel(), minlength=tensor.size).reshape(tensor.shape)
        assert np.array_equal(tensor.grad, expected)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=4, max_side=4), elements=floats), st.data())
def test_reductions_follow_numpy(a, data):
    axes = data.draw(st.one_of(st.none(), st.sets(st.integers(-a.ndim, a.ndim - 1)).map(tuple)))
    if axes is not None and len({k % a.ndim for k in axes}) != len(axes):
        return
    keepdims = data.draw(st.booleans())
    for name in ("sum", "mean", "max"):
        if axes == () and name == "max":
            continue
        ours = getattr(ta.Tensor(a), name)(axis=axes, keepdims=keepdims)
        theirs = getattr(a, name)(axis=axes, keepdims=keepdims)
        assert ours.shape == theirs.shape and np.allclose(ours.numpy(), theirs)


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=5), elements=floats), st.data())
def test_indexing_follows_numpy_and_its_gradient_counts_uses(a, data):
    index = data.draw(st.one_of(
        hnp.basic_indices(a.shape, allow_newaxis=True, allow_ellipsis=True),
        hnp.integer_array_indices(a.shape),
    ))  # fmt: skip
    expected = a[index]
    if expected.size == 0:
        return
    x = ta.Tensor(a, requires_grad=True)
    y = x[index]
    assert np.array_equal(y.numpy(), expected) and y.shape == np.shape(expected)
    y.sum().backward()
    uses = np.bincount(np.arange(a.size).reshape(a.shape)[index].ravel(), minlength=a.size).reshape(a.shape)
    assert np.array_equal(x.grad, uses)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), elements=floats), st.data())
def test_reshape_and_transpose_round_trip(a, data):
    axes = data.draw(st.permutations(range(a.ndim)))
    x = ta.Tensor(a, requires_grad=True)
    y = x.transpose(*axes)
    assert np.array_equal(y.numpy(), a.transpose(axes))
    back = y.reshape(-1).reshape(y.shape).transpose(*np.argsort(axes).tolist())
    assert np.array_equal(back.numpy(), a)
    back.backward(a)
    assert np.array_equal(x.grad, a)


VALUES = {
    "sqrt": (lambda x: x.sqrt(), np.sqrt, [0.0, 0.25, 9.0]),
    "exp": (lambda x: x.exp(), np.exp, [-2.0, 0.0, 3.0]),
    "log": (lambda x: x.log(), np.log, [0.1, 1.0, 7.0]),
    "abs": (lambda x: x.abs(), np.abs, [-2.0, 0.0, 3.0]),
    "relu": (ta.relu, lambda x: np.where(x > 0, x, 0), [-2.0, 0.0, 3.0]),
    "leaky_relu": (ta.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), [-2.0, 0.0, 3.0]),
    "elu": (ta.elu, lambda x: np.where(x > 0, x, np.exp(x) - 1), [-2.0, 0.0, 3.0]),
    "sigmoid": (ta.sigmoid, lambda x: 1 / (1 + np.exp(-x)), [-5.0, 0.0, 3.0]),
    "tanh": (ta.tanh, np.tanh, [-2.0, 0.0, 3.0]),
    "softplus": (ta.softplus, lambda x: np.log(1 + np.exp(x)), [-5.0, 0.0, 3.0]),
    "gelu": (ta.gelu, lambda x: [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x], [-2.0, 0.0, 3.0]),
    "softmax": (ta.softmax, lambda x: np.exp(x) / np.exp(x).sum(), [-2.0, 0.0, 3.0]),
    "log_softmax": (ta.log_softmax, lambda x: np.log(np.exp(x) / np.exp(x).sum()), [-2.0, 0.0, 3.0]),
    "power": (lambda x: x**2.5, lambda x: x**2.5, [0.0, 1.0, 3.0]),
    "base": (lambda x: 0.3**x, lambda x: 0.3**x, [-1.0, 0.0, 3.0]),
    "clip": (lambda x: x.clip(-1, 2), lambda x: np.clip(x, -1, 2), [-2.0, 0.0, 3.0]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_equal_the_formulas(name, backend):
    function, formula, x = VALUES[name]
    assert np.allclose(function(ta.Tensor(np.array(x)).to(backend)).numpy(), formula(np.array(x)), rtol=1e-13, atol=0)
