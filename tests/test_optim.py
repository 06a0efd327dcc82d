"""Optimizers: each line of the algorithm, by hand; state; and what they refuse."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import DtypeError, RangeError, StateError, TinyaeError
from tinyae.optim import OPTIMIZERS, make_optimizer

from .conftest import made, quick

ALL = [
    lambda p: ta.GradientDescent(p, 0.1),
    lambda p: ta.SGD(p, 0.1, weight_decay=0.01),
    lambda p: ta.Momentum(p, 0.1, 0.8, nesterov=True, weight_decay=0.01),
    lambda p: ta.AdaGrad(p, 0.5),
    lambda p: ta.RMSProp(p, 0.01),
    lambda p: ta.Adam(p, 0.1, weight_decay=0.01),
]


def two_steps(make, g1=0.5, g2=-0.25, start=1.0):
    w = ta.Tensor([start], requires_grad=True, dtype="float64")
    optimizer = make([w])
    values = []
    for g in (g1, g2):
        w.grad = np.array([g])
        optimizer.step()
        values.append(w.item())
    return values


def test_two_steps_on_paper():
    """One weight from 1, gradients 0.5 and -0.25; every number below can be had with a pencil."""
    assert np.allclose(two_steps(lambda p: ta.GradientDescent(p, 0.1)), [0.95, 0.975])
    assert np.allclose(two_steps(lambda p: ta.SGD(p, 0.1)), [0.95, 0.975])
    # g + 0.1 w: 0.6 and then -0.25 + 0.094
    assert np.allclose(two_steps(lambda p: ta.SGD(p, 0.1, weight_decay=0.1)), [0.94, 0.9556])
    # v: 0.5, then 0.9 * 0.5 - 0.25 = 0.2
    assert np.allclose(two_steps(lambda p: ta.Momentum(p, 0.1)), [0.95, 0.93])
    # Nesterov: g + 0.9 v: 0.95, then -0.25 + 0.18 = -0.07
    assert np.allclose(two_steps(lambda p: ta.Momentum(p, 0.1, nesterov=True)), [0.905, 0.912])
    # AdaGrad: G is 0.25, then 0.3125
    assert np.allclose(two_steps(lambda p: ta.AdaGrad(p, 0.1)), [0.9, 0.9 + 0.1 * 0.25 / np.sqrt(0.3125)])
    # RMSProp: v is 0.025, then 0.9 * 0.025 + 0.1 * 0.0625 = 0.02875
    first = 1 - 0.1 * 0.5 / np.sqrt(0.025)
    assert np.allclose(two_steps(lambda p: ta.RMSProp(p, 0.1)), [first, first + 0.1 * 0.25 / np.sqrt(0.02875)])
    # Adam's first step is lr * sign(g), nearly; the second has m = 0.02, v = 0.00031225 before correction
    m_hat, v_hat = 0.02 / (1 - 0.81), 0.00031225 / (1 - 0.998001)
    first = 1 - 0.1 * 0.5 / (0.5 + 1e-8)
    assert np.allclose(
        two_steps(lambda p: ta.Adam(p, 0.1)), [first, first - 0.1 * m_hat / (np.sqrt(v_hat) + 1e-8)], rtol=1e-12
    )
    # decoupled decay: the weight shrinks by lr * 0.1, whatever the gradient
    assert np.allclose(two_steps(lambda p: ta.Adam(p, 0.1, weight_decay=0.1))[0], 0.99 - 0.1 * 0.5 / (0.5 + 1e-8))


@pytest.mark.parametrize("make", ALL)
def test_each_finds_the_bottom_of_a_bowl(make, backend):
    w = ta.Tensor([3.0, -2.0], requires_grad=True).to(backend)
    optimizer = make([w])
    target = ta.Tensor([1.0, 0.5]).to(backend)
    for _ in range(300):
        optimizer.zero_grad()
        ((w - target) ** 2).sum().backward()
        optimizer.step()
    assert np.allclose(w.numpy(), [1.0, 0.5], atol=0.05)


@pytest.mark.parametrize("make", ALL)
def test_going_on_from_a_state_dict_is_going_on(make, rng):
    gradients = rng.normal(size=(6, 3)).astype(np.float32)

    def run(optimizer, w, steps):
        for g in gradients[steps]:
            w.grad = g.copy()
            optimizer.step()

    w = ta.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    whole = make([w])
    run(whole, w, slice(0, 3))
    twin = ta.Tensor(w.numpy().copy(), requires_grad=True)
    other = type(whole)([twin], lr=0.77)
    other.load_state_dict(whole.state_dict())
    run(whole, w, slice(3, 6))
    run(other, twin, slice(3, 6))
    assert np.array_equal(w.numpy(), twin.numpy()) and other.settings() == whole.settings()


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    w = ta.Tensor([1.0, 2.0], requires_grad=True)
    adam = ta.Adam([w])
    w.grad = np.ones(2, np.float32)
    adam.step()
    before = adam.state_dict()
    with pytest.raises(StateError, match="belongs to Momentum"):
        adam.load_state_dict(ta.Momentum([w], 0.1).state_dict())
    with pytest.raises(StateError, match=r"m of parameter 0 is \(3,\), expected \(2,\)"):
        adam.load_state_dict(ta.Adam([ta.Tensor([1.0, 2.0, 3.0], requires_grad=True)]).state_dict())
    with pytest.raises(StateError, match="2 parameters, expected 1"):
        adam.load_state_dict(ta.Adam([w, ta.Tensor([1.0, 2.0], requires_grad=True)]).state_dict())
    with pytest.raises(StateError, match="lacks algorithm"):
        adam.load_state_dict({})
    bad = adam.state_dict()
    bad["settings"] = {**bad["settings"], "lr": -1}
    with pytest.raises(RangeError):
        adam.load_state_dict(bad)
    after = adam.state_dict()
    assert after["settings"] == before["settings"] and np.array_equal(after["state"][0]["m"], before["state"][0]["m"])


def test_a_parameter_without_a_gradient_is_left_alone():
    used, unused = ta.Tensor([1.0], requires_grad=True), ta.Tensor([1.0], requires_grad=True)
    optimizer = ta.Adam([used, unused], weight_decay=0.1)
    (used * 2).sum().backward()
    optimizer.step()
    assert unused.numpy() == 1 and used.numpy() != 1


def test_state_follows_a_model_that_changes_its_type():
    layer = ta.Dense(2, 1)
    optimizer = ta.Adam(layer.parameters())
    for dtype in ("float32", "float64"):
        layer.astype(dtype)
        layer(ta.Tensor(np.ones((1, 2), dtype))).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.state[0]["m"].dtype == np.float64


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda p: ta.SGD(p, 0), RangeError, "SGD: lr is 0; expected a finite number > 0"),
        (lambda p: ta.Adam(p, lr=float("nan")), RangeError, "Adam: lr is nan"),
        (lambda p: ta.Adam(p, lr="fast"), RangeError, "lr is 'fast'"),
        (lambda p: ta.Adam(p, betas=(0.9, 1)), RangeError, r"betas\[1\] is 1; expected a finite number >= 0 and < 1"),
        (lambda p: ta.Adam(p, betas=0.9), RangeError, "betas is 0.9; expected two numbers"),
        (lambda p: ta.Adam(p, eps=0), RangeError, "eps is 0"),
        (lambda p: ta.Momentum(p, 0.1, momentum=1.5), RangeError, "momentum is 1.5"),
        (lambda p: ta.SGD(p, 0.1, weight_decay=-1), RangeError, "weight_decay is -1"),
        (lambda p: ta.SGD([], 0.1), RangeError, "there are no parameters"),
        (lambda p: ta.SGD([*p, *p], 0.1), RangeError, "a parameter is given twice"),
        (
            lambda p: ta.SGD([np.ones(2)], 0.1),
            DtypeError,
            "parameter 0 is .*expected a leaf, a Tensor with requires_grad=True",
        ),
        (lambda p: ta.SGD([ta.Tensor([1.0])], 0.1), DtypeError, "requires_grad=True"),
        (lambda p: make_optimizer("adan", p), RangeError, "unknown optimizer 'adan'. Known, nearest first: adam"),
    ],
)
def test_bad_settings_are_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong([ta.Tensor([1.0], requires_grad=True)])


def test_every_optimizer_has_a_name():
    assert {type(make_optimizer(name, [ta.Tensor([1.0], requires_grad=True)])) for name in OPTIMIZERS} == set(
        OPTIMIZERS.values()
    )


def test_a_step_is_whole_or_not_at_all():
    a, b = ta.Tensor([1.0], requires_grad=True), ta.Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    optimizer = ta.SGD([a, b], 0.1)
    a.grad, b.grad = np.ones(1, np.float32), np.ones(2, np.float32)
    with pytest.raises(
        ta.errors.ShapeError, match=r"gradient of parameter 1 is float32 \(2,\), the parameter float32 \(3, 2\)"
    ):
        optimizer.step()
    assert a.item() == 1 and optimizer.t == 0


@pytest.mark.parametrize("lr", [-1, 0, float("nan"), "a", None])
def test_a_learning_rate_is_checked_whenever_it_is_set(lr):
    optimizer = ta.SGD([ta.Tensor([1.0], requires_grad=True)], 0.1)
    with pytest.raises(RangeError, match="SGD: lr is"):
        optimizer.lr = lr
    assert optimizer.lr == 0.1


def test_epsilon_stands_outside_the_root():
    """With eps as large as the gradient it matters: 0.5 / (0.5 + 0.5), and not 0.5 / sqrt(0.25 + 0.5)."""
    first, _ = two_steps(lambda p: ta.Adam(p, 0.1, eps=0.5))
    assert np.isclose(first, 1 - 0.1 * 0.5, rtol=1e-12, atol=0)


def test_snapshot_and_restore():
    w = ta.Tensor([1.0], requires_grad=True)
    optimizer = ta.Adam([w])
    snapshot = optimizer.snapshot()
    w.grad = np.array([np.nan], np.float32)
    optimizer.step()
    optimizer.restore(snapshot)
    assert optimizer.t == 0 and not optimizer.state[0]["m"].any()


# ---------------------------------------------------------------- L-BFGS


def rosenbrock(w):
    """A curved valley with its bottom at (1, 1): the classic test of a second-order method."""
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def test_lbfgs_walks_a_curved_valley_to_its_end():
    w = ta.Tensor([-1.2, 1.0], requires_grad=True, dtype="float64")
    optimizer, calls = ta.LBFGS([w], iterations=60), []

    def closure():
        w.grad = None
        loss = rosenbrock(w)
        loss.backward()
        calls.append(loss.item())
        return loss.item()

    optimizer.step(closure)
    assert np.allclose(w.numpy(), 1, atol=1e-6) and optimizer.t == 1 and len(calls) < 120
    plain = ta.Tensor([-1.2, 1.0], requires_grad=True, dtype="float64")
    descent = ta.GradientDescent([plain], 1e-3)
    for _ in calls:  # as many gradients
        descent.zero_grad()
        rosenbrock(plain).backward()
        descent.step()
    assert rosenbrock(plain).item() > 1


def test_lbfgs_is_scipys(rng):
    from scipy.optimize import minimize

    A = rng.normal(size=(6, 4))
    start = rng.normal(size=4)
    w = ta.Tensor(start, requires_grad=True, dtype="float64")
    optimizer = ta.LBFGS([w], iterations=5, memory=3)

    def closure():
        w.grad = None
        loss = (ta.matmul(ta.Tensor(A), w) ** 2).sum() + w.exp().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    theirs = minimize(
        lambda v: (((A @ v) ** 2).sum() + np.exp(v).sum(), 2 * A.T @ (A @ v) + np.exp(v)), start, jac=True,
        method="L-BFGS-B", options={"maxiter": 5, "maxcor": 3, "ftol": 0, "gtol": 0},
    )  # fmt: skip
    assert np.allclose(w.numpy(), theirs.x, rtol=1e-9)


def test_lbfgs_ends_at_the_point_that_was_found_not_at_the_last_one_tried(monkeypatch):
    from types import SimpleNamespace

    def tries_further(function, start, **options):
        function(start + 1)
        return SimpleNamespace(x=start)

    monkeypatch.setattr("scipy.optimize.minimize", tries_further)
    w = ta.Tensor([2.0, 3.0], requires_grad=True)
    ta.LBFGS([w]).step(lambda: 0.0)
    assert w.numpy().tolist() == [2, 3]


def bowl(w):
    """The closure of sum w^2."""

    def closure():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss.item()

    return closure


def test_lbfgs_leaves_a_parameter_without_a_gradient_alone():
    w, idle = (ta.Tensor([1.0], requires_grad=True) for _ in range(2))
    ta.LBFGS([w, idle]).step(bowl(w))
    assert abs(w.item()) < 1e-6 and idle.item() == 1


def test_after_a_step_of_lbfgs_an_older_tape_is_refused():
    w = ta.Tensor([1.0], requires_grad=True)
    before = (w * w).sum()
    ta.LBFGS([w]).step(bowl(w))
    with pytest.raises(TinyaeError, match="changed"):
        before.backward()


@pytest.mark.filterwarnings("ignore:fit. LBFGS:tinyae.CaptureWarning")  # it works on the host
def test_lbfgs_in_fit_falls_at_every_epoch_even_with_dropout(images, backend):
    model = made().to(backend)  # with dropout and noise, whose masks must hold still within a step
    history = quick(model, images, 4, optimizer=ta.LBFGS(model.parameters(), iterations=5), validation_data=images)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True) and "lr" not in history


def test_lbfgs_sees_the_same_chance_throughout_a_step(images):
    class Look(ta.Callback):
        def on_gradients(self, batch):
            trainer = self.trainer
            original = trainer.optimizer.step

            def step(closure):
                seen.append((closure(), closure()))
                original(closure)

            trainer.optimizer.step = step

    model, seen = made(), []
    history = quick(model, images, 1, optimizer=ta.LBFGS(model.parameters(), iterations=2), callbacks=[Look()])
    assert seen == [(history["loss"][0],) * 2]


def test_lbfgs_in_fit_is_given_the_loss_with_the_penalty(images, digits_model):
    class Spy(ta.LBFGS):
        def step(self, closure):
            seen.append(closure())

    seen = []
    history = quick(digits_model, images, 1, optimizer=Spy(digits_model.parameters()), regularizers=[ta.L2(0.1)])
    assert np.isclose(seen[0], history["loss"][0] + history["penalty"][0])


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda p: ta.LBFGS(p).step(), DtypeError, r"step\(closure\) needs a function"),
        (lambda p: ta.LBFGS(p, iterations=0), RangeError, "iterations is 0"),
        (lambda p: ta.LBFGS(p, memory=0.5), RangeError, "memory is 0.5"),
        (lambda p: setattr(ta.LBFGS(p), "lr", 0.1), RangeError, "lr=0.1 was set, but LBFGS has no learning rate"),
        (lambda p: make_optimizer("lbfgs", p, 0.1), RangeError, "lr=0.1 was given, but lbfgs has no learning rate"),
        (lambda p: ta.AdaGrad(p, eps=0), RangeError, "AdaGrad: eps is 0"),
        (lambda p: ta.RMSProp(p, rho=1), RangeError, "RMSProp: rho is 1"),
        (lambda p: ta.RMSProp(p, lr=None), RangeError, "RMSProp: lr is None"),
    ],
)
def test_the_new_ones_refuse(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong([ta.Tensor([1.0], requires_grad=True)])
