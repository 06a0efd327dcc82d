"""The sparse autoencoder: its penalties are their formulas, and its report counts right."""

import math

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.models.sparse import kl_penalty, l1_penalty

from .conftest import quick, weights


def model(penalty="l1", strength=0.2, target=0.1, dtype="float32", units=5):
    ta.manual_seed(0)
    activation = "sigmoid" if penalty == "kl" else "relu"
    return ta.SparseAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, units, activation)),
        ta.Sequential(ta.Dense(units, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        penalty,
        strength,
        target,
    ).astype(dtype)


def test_l1_is_its_formula():
    z = np.array([[1.0, -2.0, 0.0], [0.5, 0.0, 0.25]])
    assert l1_penalty(ta.Tensor(z)).item() == (3 + 0.75) / 2  # the sum over units, the mean over examples
    assert l1_penalty(ta.Tensor(z.reshape(2, 3, 1, 1))).item() == (3 + 0.75) / 2


def test_kl_is_its_formula():
    z = np.array([[0.2, 0.9], [0.4, 0.5]])
    expected = sum(0.1 * math.log(0.1 / q) + 0.9 * math.log(0.9 / (1 - q)) for q in (0.3, 0.7))
    assert math.isclose(kl_penalty(ta.Tensor(z), 0.1).item(), expected, rel_tol=1e-5)
    assert abs(kl_penalty(ta.Tensor(np.full((4, 3, 2), 0.1)), 0.1).item()) < 1e-9  # as active as asked for
    assert kl_penalty(ta.Tensor(z.astype("f")), 0.1).dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_kl_of_a_unit_that_never_changes_is_finite_and_pulls(value):
    z = ta.Tensor(np.full((3, 2), value, "f"), requires_grad=True)
    penalty = kl_penalty(z, 0.05)
    penalty.backward()
    assert 0 < penalty.item() < 100 and np.isfinite(z.grad).all()
    assert (z.grad < 0).all() if value == 0 else (z.grad > 0).all()


def test_gradients_of_the_penalties():
    rng = np.random.default_rng(0)
    z = ta.Tensor(rng.uniform(0.1, 0.9, (6, 4)) * rng.choice([-1, 1], (6, 4)), requires_grad=True, dtype="float64")
    assert ta.check_gradients(l1_penalty, z).checked == 24 and ta.check_gradients(l1_penalty, z)
    q = ta.Tensor(rng.uniform(0.01, 0.99, (6, 2, 2)), requires_grad=True, dtype="float64")
    assert ta.check_gradients(lambda q: kl_penalty(q, 0.05), q)


@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_gradients_of_the_objective(penalty, images):
    ae, x = model(penalty, dtype="float64"), ta.Tensor(images.astype("float64"))

    def objective(*_):
        terms = ae.objective(x, x, lambda module, z, y: ta.mse_loss(module(z), y))
        return terms["reconstruction"] + terms["sparsity"]

    assert ta.check_gradients(objective, *ae.parameters())


@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_the_objective_is_loss_and_penalty(penalty, images):
    ae, x = model(penalty), ta.Tensor(images)
    terms = ae.objective(x, x, lambda module, z, y: ta.mse_loss(module(z), y))
    z = ae.encode(images)
    assert list(terms) == ["reconstruction", "sparsity"]
    assert np.isclose(terms["reconstruction"].item(), ((ae.reconstruct(images) - images) ** 2).mean())
    expected = np.abs(z).sum(axis=1).mean()
    if penalty == "kl":
        q = z.mean(axis=0)
        expected = (0.1 * np.log(0.1 / q) + 0.9 * np.log(0.9 / (1 - q))).sum()
    assert np.isclose(terms["sparsity"].item(), 0.2 * expected, rtol=1e-4)


@pytest.mark.parametrize("penalty, strength", [("l1", 3e-3), ("kl", 3e-3)])
def test_a_penalty_makes_the_code_sparse(penalty, strength):
    pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
    (x, _), (x_test, _) = ta.datasets.load_digits()
    plain, sparse = (model(penalty, s, target=0.05, units=40) for s in (0.0, strength))
    for ae in (plain, sparse):
        history = quick(ae, x, 12, lr=5e-3, validation_data=x_test)
    before, after = plain.activity(x_test), sparse.activity(x_test)
    assert after.mean.mean() < before.mean.mean() / 3 and after.on < before.on * 0.75, (str(before), str(after))
    assert history["sparsity"][-1] < history["sparsity"][0]
    for part in ("", "val_"):
        total, terms = history[f"{part}loss"], (history[f"{part}reconstruction"], history[f"{part}sparsity"])
        assert np.allclose(total, np.sum(terms, axis=0), rtol=1e-6)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_fit_is_the_loop_written_by_hand(penalty, images):
    ours, theirs = model(penalty), model(penalty)
    quick(ours, images, 3, batch_size=8, seed=4)
    optimizer = ta.Adam(theirs.parameters())
    for epoch in range(3):
        for x in ta.batches(images, 8, seed=4, epoch=epoch):
            optimizer.zero_grad()
            z = theirs.code(x)
            loss = ta.mse_loss(theirs.decoder(z), x) + 0.2 * theirs.sparsity(z)
            loss.backward()
            optimizer.step()
    assert weights(ours) == weights(theirs)


@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_the_same_training_on_a_device(penalty, device, images):
    here, there = model(penalty), model(penalty).to(device)
    histories = [quick(ae, images, 3, batch_size=8, validation_data=images[:20]) for ae in (here, there)]
    for name in ("loss", "sparsity", "val_reconstruction"):
        assert np.allclose(histories[0][name], histories[1][name], rtol=1e-4)
    assert np.allclose(here.encode(images), there.to("numpy").encode(images), atol=1e-4)


def coded(z, **options):
    """The activity of a model whose code is its input."""
    ae = ta.SparseAutoencoder(ta.Flatten(), ta.Flatten())
    return ae.activity(np.asarray(z, "f"), **options)


def test_activity_counts_units():
    on_off = np.tile([0.0, 1.0], 50)
    z = np.stack([on_off, 3 * on_off, np.zeros(100), np.full(100, 0.7), 0.001 * on_off], axis=1)
    found = coded(z)
    assert np.allclose(found.mean, [0.5, 1.5, 0, 0.7, 0.0005], atol=1e-6)
    assert np.allclose(found.std, [0.5, 1.5, 0, 0, 0.0005], atol=1e-6)
    assert np.array_equal(found.is_alive, [True, True, False, False, False]) and found.alive == 2
    assert np.allclose(found.share, [0.5, 0.5, 0, 1, 0.5]) and np.isclose(found.on, 2.5)
    assert np.allclose(coded(z, threshold=0.1).share, [0.5, 0.5, 0, 1, 0])
    assert str(found).startswith("2 of 5 units are alive; 2.5 are on for one example (50.0%; on: above 0)")
    numbers = found.numbers()
    assert (numbers["units"], numbers["alive"], numbers["examples"]) == (5, 2, 100) and numbers["target"] is None


def test_activity_of_constant_codes_and_of_large_numbers():
    assert coded(np.ones((10, 3))).alive == 0
    assert coded(np.ones((1, 3))).alive == 0
    z = 10_000 + np.random.default_rng(0).normal(size=(3000, 2))  # more examples than are encoded together
    assert np.allclose(coded(z).std, z.astype("f").astype("d").std(axis=0), rtol=1e-6) and coded(z).alive == 2


def test_activity_of_a_sigmoid_and_of_a_convolutional_code(backend, images):
    ae = model("kl").to(backend)
    found = ae.activity(backend.asarray(images))
    z = backend.to_host(ae.encode(backend.asarray(images)))
    assert found.threshold == 0.5 and found.target == 0.1 and "asked for: 0.1" in str(found)
    assert np.allclose(found.mean, z.mean(axis=0), atol=1e-6) and np.allclose(found.share, (z > 0.5).mean(axis=0))
    convolutional = ta.SparseAutoencoder(ta.Sequential(ta.Conv2D(1, 2, activation="relu")), ta.Conv2D(2, 1))
    assert convolutional.activity(images).mean.shape == (8 * 8 * 2,)


def test_saved_and_loaded(tmp_path, images):
    ae = model("kl", 0.3, 0.07)
    ta.save(ae, tmp_path / "m.safetensors")
    again = ta.load(tmp_path / "m.safetensors")
    assert (type(again), again.penalty, again.strength, again.target) == (ta.SparseAutoencoder, "kl", 0.3, 0.07)
    assert np.array_equal(again.encode(images), ae.encode(images))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"penalty": "l3"}, "unknown penalty of SparseAutoencoder 'l3'. Known, nearest first: l1"),
        ({"strength": -1}, "SparseAutoencoder: strength is -1"),
        ({"target": 0}, "SparseAutoencoder: target is 0; expected a finite number > 0 and < 1"),
        ({"penalty": "kl"}, "the encoder does not end in a sigmoid .*activation='sigmoid', or use penalty='l1'"),
    ],
)
def test_bad_input_is_explained(wrong, message):
    with pytest.raises(RangeError, match=message):
        ta.SparseAutoencoder(ta.Dense(4, 3, "relu"), ta.Dense(3, 4), **wrong)


def test_a_threshold_below_zero_is_refused(images):
    with pytest.raises(RangeError, match="activity: threshold is -1"):
        model().activity(images, threshold=-1)
