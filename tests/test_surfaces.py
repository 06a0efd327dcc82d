"""Surfaces to walk on: their gradients, the slice through an autoencoder's loss, and the walks."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, ShapeError
from tinyae.explain import surfaces
from tinyae.explain.surfaces import OPTIMIZERS, Surface, descend, make_surface


@pytest.fixture(scope="module")
def slice_of_digits():
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surfaces, "TRAINING_STEPS", 40)
        patch.setattr(surfaces, "EXAMPLES", 50)
        yield make_surface("autoencoder")


@pytest.fixture(params=["valley", "saddle", "autoencoder"])
def surface(request):
    return request.getfixturevalue("slice_of_digits") if request.param == "autoencoder" else make_surface(request.param)


def test_the_gradient_is_exact(surface):
    for point in (surface.start, (0.3, -0.2)):
        assert ta.check_gradients(surface.loss, ta.Tensor(np.array(point), requires_grad=True))


def test_the_start_and_the_stars_are_in_the_picture(surface):
    low_a, high_a, low_b, high_b = surface.window
    for a, b in (surface.start, *surface.bottoms, *surface.trained):
        assert low_a < a < high_a and low_b < b < high_b


def test_the_stars_of_the_formulas_are_minima():
    for name in ("valley", "saddle"):
        surface = make_surface(name)
        for bottom in surface.bottoms:
            point = ta.Tensor(np.array(bottom), requires_grad=True)
            loss = surface.loss(point)
            loss.backward()
            assert abs(loss.item()) < 1e-15 and np.abs(point.grad).max() < 1e-15
        assert surface.heights(9)[2].min() >= 0


def test_the_valley_is_forty_times_as_steep_across():
    point = ta.Tensor(np.zeros(2), requires_grad=True)
    rows = []
    for i in range(2):  # it is quadratic: a difference of gradients is the matrix, exactly
        moved = ta.Tensor(np.eye(2)[i], requires_grad=True)
        surfaces.valley_loss(moved).backward()
        rows.append(moved.grad)
    surfaces.valley_loss(point).backward()
    assert np.allclose(np.linalg.eigvalsh(np.array(rows) - point.grad), [1, 40])


def test_the_saddle_is_one():
    point = ta.Tensor(np.zeros(2), requires_grad=True)
    loss = surfaces.saddle_loss(point)
    loss.backward()
    assert not point.grad.any() and loss.item() == 0.25
    beside = [surfaces.saddle_loss(ta.Tensor(np.array(p))).item() for p in ((0.1, 0.0), (0.0, 0.1))]
    assert beside[0] > 0.25 > beside[1]


def test_the_slice_is_the_loss_of_the_autoencoder(slice_of_digits, monkeypatch):
    """Rebuilt as a model with its own weights, it has the loss that the slice has there; so the path was real."""
    monkeypatch.setattr(surfaces, "TRAINING_STEPS", 40)
    x = ta.Tensor(ta.datasets.load("digits")[0][0][:50].reshape(50, -1).astype(np.float64))
    path = surfaces.training_path(x, 0)
    directions, share = surfaces.principal_directions(path)
    assert np.allclose(directions @ directions.T, np.eye(2), atol=1e-9) and 0.8 < share <= 1
    assert np.allclose(slice_of_digits.trained, (path - path[-1]) @ directions.T)
    weights = path[-1] + np.array([0.7, -0.4]) @ directions
    layers = [ta.Dense(*sizes, activation) for sizes, activation in zip(zip(surfaces.SIZES, surfaces.SIZES[1:]), ("tanh", None, "tanh", "sigmoid"))]  # fmt: skip
    model, at = ta.Sequential(*layers).astype("float64"), 0
    for p in model.parameters():
        p.data[...] = weights[at : at + p.size].reshape(p.shape)
        p.mark_changed()
        at += p.size
    loss = ta.mse_loss(model(x), x).item()
    assert at == len(weights) and np.isclose(slice_of_digits.loss(ta.Tensor(np.array([0.7, -0.4]))).item(), loss)
    ends = [slice_of_digits.loss(ta.Tensor(p)).item() for p in slice_of_digits.trained[[0, -1]]]
    assert ends[1] < 0.8 * ends[0]  # training went downhill in it


def test_all_walk_down_from_the_same_start(surface):
    descents = descend(surface)
    assert [d.name for d in descents] == list(OPTIMIZERS)
    for d in descents:
        assert d.points.shape == (surface.steps + 1, 2) and d.gradients.shape == (surface.steps, 2)
        assert np.array_equal(d.points[0], surface.start) and d.losses[-1] < d.losses[0]
        assert np.isclose(surface.loss(ta.Tensor(d.points[7])).item(), d.losses[7])
    assert all(np.array_equal(d.gradients[0], descents[0].gradients[0]) for d in descents)
    gd, momentum = descents[:2]
    assert np.allclose(gd.points[1:], gd.points[:-1] - gd.lr * gd.gradients)
    v = 0  # Momentum's own line, by the recorded gradients
    for i, g in enumerate(momentum.gradients):
        v = 0.9 * v + g
        assert np.allclose(momentum.points[i + 1], momentum.points[i] - momentum.lr * v)


def test_too_large_a_step_leaves_the_surface_and_is_cut_off():
    (descent,) = descend("saddle", lr={"gd": 5.0}, optimizers=["gd"])
    assert len(descent.points) < descent.steps and np.isfinite(descent.losses).all() and descent.lr == 5
    assert len(descent.points) == len(descent.losses) and np.isfinite(descent.points).all()


def test_a_surface_of_ones_own():
    own = Surface("bowl", "a bowl", lambda p: (p * p).sum(), (1.0, 2.0), (-3, 3, -3, 3), {"gd": 0.1}, 5)
    (descent,) = descend(own, optimizers=("gd",))
    assert np.allclose(descent.points[-1], np.array([1.0, 2.0]) * 0.8**5)
    a, b, losses = own.heights(5)
    assert losses.shape == (5, 5) and np.allclose(losses, a**2 + b[:, None] ** 2)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"steps": 0}, RangeError, "steps is 0; expected an integer >= 1"),
        ({"lr": -1}, RangeError, "the learning rate of gd is -1"),
        ({"lr": {"sgd": 1}}, RangeError, "unknown optimizer 'sgd'. Known, nearest first: gd"),
        ({"start": "here"}, DtypeError, "start is 'here'; expected two numbers"),
        ({"start": (1, 2, 3)}, ShapeError, r"start has shape \(3,\)"),
        ({"start": (np.nan, 0)}, RangeError, "the loss at the start .* is no finite number"),
        ({"optimizers": []}, RangeError, r"optimizers is \[\]; expected a list of names"),
        ({"optimizers": "adam"}, RangeError, "expected a list of names"),
    ],
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        descend("valley", **options)


def test_an_unknown_surface():
    with pytest.raises(RangeError, match="unknown surface 'vally'. Known, nearest first: valley"):
        descend("vally")
