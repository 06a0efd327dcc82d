"""The vector-quantised autoencoder: what it chooses, what it learns from, what becomes of its codebook."""

import warnings

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.errors import BackendError, DtypeError, RangeError, ShapeError, StateError
from tinyae.losses import loss_function
from tinyae.models.codebook_care import CodebookCollapseWarning
from tinyae.models.vector_quantised import StraightThrough, entropy

from .conftest import kept, quick, quick_train, weights

MSE = loss_function("mse")


def dense(codes=12, groups=3, size=2, seed=0, **settings):
    """For 8x8 images: ``groups`` integers each."""
    ta.manual_seed(seed)
    return ta.VQAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "tanh"), ta.Dense(16, groups * size)),
        ta.Sequential(ta.Dense(groups * size, 16, "tanh"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        codes, size, **settings,
    )  # fmt: skip


def conv(codes=10, size=3, seed=0, **settings):
    """For 8x8 images: 4x4 integers each."""
    ta.manual_seed(seed)
    return ta.VQAutoencoder(
        ta.Sequential(ta.Conv2D(1, 4, activation="relu"), ta.MaxPool2D(2), ta.Conv2D(4, size)),
        ta.Sequential(ta.Conv2D(size, 4, activation="relu"), ta.UpSampling2D(2), ta.Conv2D(4, 1, activation="sigmoid")),
        codes, size, **settings,
    )  # fmt: skip


KINDS = pytest.mark.parametrize("made, grid", [(dense, (3,)), (conv, (4, 4))])


def vectors_of(model, x):
    """What the encoder gives, as rows."""
    with model.evaluating():
        return model.backend.to_host(model.encoder(ta.Tensor(x).to(model.backend)).data).reshape(-1, model.size)


def by_hand(model, x):
    """The nearest entries, each distance computed by itself."""
    e = model.codebook.numpy()
    return ((vectors_of(model, x)[:, None] - e[None]) ** 2).sum(axis=2).argmin(axis=1)


# ---------------------------------------------------------------- codes


@KINDS
def test_the_code_is_the_nearest_entry(backend, images, made, grid):
    model = made().to(backend)
    model.start_codebook(backend.asarray(images))
    code = backend.to_host(model.encode(backend.asarray(images)))
    assert code.shape == (50, *grid) and code.dtype == np.int64
    assert np.array_equal(code.ravel(), by_hand(model, images)) and len(np.unique(code)) > 5


@KINDS
def test_what_is_reconstructed_is_what_the_code_is_decoded_to(images, made, grid):
    model = made()
    model.start_codebook(images)
    code = model.encode(images)
    assert np.array_equal(model.decode(code), model.reconstruct(images))
    assert np.array_equal(model.decode(code.astype(np.uint8)), model.reconstruct(images))
    tensor = model.decode(model.encode(ta.Tensor(images)))
    assert np.allclose(tensor.numpy(), model.reconstruct(images), atol=1e-6)
    vectors = model.vectors(images)
    assert np.array_equal(vectors.reshape(-1, model.size), model.codebook.numpy()[code.ravel()])
    assert vectors.shape == ((50, 6) if made is dense else (50, 4, 4, 3))
    assert np.allclose(model(images).numpy(), model.reconstruct(images), atol=1e-6)
    logits = model.before_sigmoid(images).numpy()
    assert np.allclose(1 / (1 + np.exp(-logits)), model.reconstruct(images), atol=1e-6)


def test_of_equals_the_first_is_chosen(images):
    model = dense()
    model.codebook.data[...] = 1.0
    assert not model.encode(images).any()


def test_many_examples_are_coded_in_pieces(images, monkeypatch):
    model = dense()
    many = np.concatenate([images] * 3)
    monkeypatch.setattr("tinyae.models.autoencoder.examples_at_once", lambda *args: 7)
    code = model.encode(many)
    assert code.dtype == np.int64 and np.array_equal(code[:50], code[100:])
    assert np.allclose(model.decode(code), model.reconstruct(many), atol=1e-6)


@pytest.mark.parametrize(
    "code, error, message",
    [
        (np.zeros((2, 3), np.float32), DtypeError, "the code is float32 .2, 3.; a VQAutoencoder's is made of integers"),
        (np.full((2, 3), 12), RangeError, "integers from 12 to 12, the codebook 12 entries; expected 0 to 11"),
        (np.full((2, 3), -1), RangeError, "integers from -1 to -1"),
        (np.zeros((2, 4), int), ShapeError, r"Dense: the input has shape \(2, 8\); expected \(N, 6\)"),
    ],
)
def test_codes_that_are_none_are_refused(code, error, message):
    with pytest.raises(error, match=message):
        dense().decode(code)


def test_codes_from_another_place_are_refused(device):
    model = dense().to(device)
    with pytest.raises(BackendError, match="decode: the data are on the backend 'numpy'"):
        model.decode(np.zeros((2, 3), int))


@pytest.mark.parametrize(
    "settings, message",
    [({"codes": 1}, "codes is 1; expected an integer >= 2"), ({"codes": 2.5}, "codes is 2.5"), ({"size": 0}, "size is 0"),
     ({"beta": -0.1}, "beta is -0.1"), ({"beta": np.nan}, "beta is nan")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RangeError, match=message):
        ta.VQAutoencoder(ta.Dense(4, 4), ta.Dense(4, 4), **settings)


def test_an_encoder_that_gives_no_whole_vectors_is_refused(images):
    model = ta.VQAutoencoder(dense().encoder, dense().decoder, 12, 4)
    with pytest.raises(
        ShapeError, match=r"shape \(1, 6\), which is not made of vectors of 4 numbers; expected \(N, G \* 4\)"
    ):
        quick(model, images)
    with pytest.raises(ShapeError, match="not made of vectors"):
        ta.VQAutoencoder(ta.Conv2D(1, 6), ta.Conv2D(6, 1), 4, 3).encode(images)


# ---------------------------------------------------------------- gradients


def test_straight_through_hands_the_gradient_on_as_it_is(backend, rng):
    """The rule by decision: whatever reaches the codebook's vector reaches z, and the codebook learns nothing by it."""
    z, e, c = (rng.normal(size=(5, 3)) for _ in range(3))
    Z, E = (ta.Tensor(a, requires_grad=True).to(backend) for a in (z, e))
    y = ta.apply(StraightThrough, Z, E)
    y.backward(backend.asarray(c))
    assert np.array_equal(y.numpy(), e) and np.array_equal(backend.to_host(Z.grad), c) and E.grad is None
    report = ta.check_gradients(lambda Z: ta.apply(StraightThrough, Z, e), z)
    assert not report  # it is not the derivative, and the checker sees that


def started(made, images):
    """A model in float64 whose codebook lies among the data, but not on them: no term and no gradient is 0."""
    model = made().astype("float64")
    model.start_codebook(images)
    model.codebook.data[...] += 0.05 * np.random.default_rng(1).normal(size=model.codebook.shape)
    return model, ta.Tensor(images.astype(np.float64))


def gradients(model, tensor):
    """{parameter: gradient} of one number; those without one are left out."""
    model.zero_grad()
    tensor.backward()
    return {name: p.grad.copy() for name, p in model.named_parameters() if p.grad is not None}


@KINDS
def test_each_term_reaches_what_it_is_to_train_and_nothing_else(images, made, grid):
    model, x = started(made, images)

    def reached(name):
        return {parameter.split(".")[0] for parameter in gradients(model, model.objective(x, x, MSE)[name])}

    assert reached("reconstruction") == {"encoder", "decoder"}
    assert reached("codebook") == {"codebook"}
    assert reached("commitment") == {"encoder"}


@KINDS
def test_the_gradients_of_the_terms(images, made, grid):
    model, x = started(made, images[:6])
    weight = model.encoder.layers[-1].weight
    bias = model.decoder.layers[0].bias
    assert ta.check_gradients(lambda e: model.objective(x, x, MSE)["codebook"], model.codebook)
    assert ta.check_gradients(lambda w: model.objective(x, x, MSE)["commitment"], weight)
    assert ta.check_gradients(lambda b: model.objective(x, x, MSE)["reconstruction"], bias)
    # past the choice: the decoder's gradient at the codebook's vectors, pulled back through the encoder alone
    terms = model.objective(x, x, MSE)
    found = gradients(model, terms["reconstruction"])
    q = ta.Tensor(model.vectors(x.numpy()), requires_grad=True)
    ta.mse_loss(model.decoder(q), x).backward()
    model.zero_grad()
    model.encoder(x).backward(q.grad)
    expected = {name: p.grad for name, p in model.named_parameters() if name.startswith("encoder")}
    assert all(np.allclose(found[name], gradient, rtol=1e-10, atol=1e-14) for name, gradient in expected.items())
    assert all(np.abs(gradient).max() > 0 for gradient in expected.values())


@KINDS
def test_the_terms_are_those_of_the_paper(images, made, grid):
    model, x = started(lambda: made(beta=0.4), images)
    z, e = vectors_of(model, x.numpy()), model.codebook.numpy()[by_hand(model, x.numpy())]
    terms = {name: term.item() for name, term in model.objective(x, x, MSE).items()}
    distance = ((z - e) ** 2).mean()
    assert np.isclose(terms["codebook"], distance) and np.isclose(terms["commitment"], 0.4 * distance)
    assert np.isclose(terms["reconstruction"], ((model.reconstruct(x.numpy()) - x.numpy()) ** 2).mean())


# ---------------------------------------------------------------- the codebook and the data


def test_the_codebook_begins_with_vectors_of_the_data(images):
    model = dense()
    quick(model, images, 1, lr=1e-12)
    own = vectors_of(model, images)
    assert all(np.abs(own - entry).max(axis=1).min() < 1e-5 for entry in model.codebook.numpy())
    assert len(np.unique(model.codebook.numpy(), axis=0)) == model.codes


def test_unused_entries_are_revived_and_the_others_stay(backend, images):
    model, x = dense().to(backend), backend.asarray(images)
    model.start_codebook(x)
    far = model.codebook.numpy().copy()
    far[[2, 5, 11]] = 1e3
    model.codebook.data[...] = backend.asarray(far)
    assert not set(np.unique(backend.to_host(model.encode(x)))) & {2, 5, 11}
    unused = set(range(12)) - set(np.unique(backend.to_host(model.encode(x))))
    assert model.revive(x) == len(unused) >= 3
    left = [k for k in range(12) if k not in unused]
    assert np.array_equal(model.codebook.numpy()[left], far[left])
    assert {2, 5, 11} <= set(np.unique(backend.to_host(model.encode(x))))
    model.codebook.data[...] = backend.asarray(far)
    assert model.revive(x, seed=1) == len(unused)


def test_training_revives_what_died(images):
    class Kill(ta.Callback):
        def on_batch_end(self, batch, logs):
            if self.trainer.epoch == 0 and batch == self.trainer.batches_per_epoch:
                self.trainer.model.codebook.data[4:] = 1e3

    model = dense()
    history = quick(model, images, 3, callbacks=[Kill()])
    assert history["codes_used"][0] <= 4 < 8 < history["codes_used"][-1]


def test_a_codebook_that_has_collapsed_is_warned_of(images, monkeypatch):
    monkeypatch.setattr("tinyae.training.warn_of_collapse", lambda trainer: None)
    monkeypatch.setattr(ta.VQAutoencoder, "revive", lambda self, x, seed: 0)
    start = ta.VQAutoencoder.start_codebook

    def far(self, x, seed):
        start(self, x, seed)
        self.codebook.data[1:] = 1e3

    monkeypatch.setattr(ta.VQAutoencoder, "start_codebook", far)
    model = dense(codes=30)
    with pytest.warns(CodebookCollapseWarning, match="of the codebook's 30 entries 1 is in use: it has collapsed"):
        history = quick(model, images, 2)
    assert history["codes_used"] == [1, 1] and history["perplexity"] == [1.0, 1.0]


def test_usage_is_counted_by_place(images):
    model = conv()
    model.start_codebook(images)
    code = model.encode(images)
    shares = model.frequencies(by_place=True)
    assert shares.shape == (4, 4, 10) and model.usage.numpy().sum() == 50 * 16
    for k in range(10):
        assert np.allclose(shares[..., k], (code == k).mean(axis=0))
        assert np.isclose(model.frequencies()[k], (code == k).mean())


def test_bits_and_perplexity_of_known_frequencies():
    model = dense(codes=4, groups=2)
    model.usage.data = np.array([[8, 8, 0, 0], [4, 4, 4, 4]])
    assert model.bits() == pytest.approx(
        {"fixed": 4, "entropy": 2 * entropy(np.array([3, 3, 1, 1]) / 8), "entropy_by_place": 1 + 2}
    )
    assert entropy(np.array([0.5, 0.25, 0.25, 0])) == 1.5
    assert model.perplexity() == pytest.approx(2 ** (2 * 3 / 8 * np.log2(8 / 3) + 2 / 8 * 3))
    model.usage.data = np.array([[5, 5, 5, 5], [5, 5, 5, 5]])
    assert model.perplexity() == pytest.approx(4) and model.bits()["entropy"] == pytest.approx(4)


# ---------------------------------------------------------------- samples


def test_without_frequencies_there_is_no_sample():
    model = dense()
    for ask in (model.frequencies, model.perplexity, model.bits, lambda: model.sample(3)):
        with pytest.raises(StateError, match="Train it with fit, or call count_codes"):
            ask()


def test_samples_follow_the_frequencies_of_each_place(images, monkeypatch):
    model = dense(codes=5, groups=3)
    model.usage.data = np.array([[10, 0, 0, 30, 0], [0, 0, 5, 0, 0], [1, 1, 1, 1, 0]])
    drawn = model.sample(7, seed=3)
    assert drawn.shape == (7, 8, 8, 1)
    assert np.array_equal(drawn, model.sample(7, seed=3)) and not np.array_equal(drawn, model.sample(7, seed=4))
    monkeypatch.setattr(model, "decode", lambda code: code)
    codes = model.sample(8000)
    shares = [[(codes[:, place] == k).mean() for k in range(5)] for place in range(3)]
    assert np.abs(np.array(shares) - model.frequencies(by_place=True)).max() < 0.02
    assert set(np.unique(codes[:, 0])) == {0, 3} and set(np.unique(codes[:, 1])) == {2} and 4 not in codes
    assert abs(np.corrcoef(codes[:, 0], codes[:, 2])[0, 1]) < 0.04  # drawn each by itself
    for n in (0, -1, 1.5):
        with pytest.raises(RangeError, match="sample: n is"):
            model.sample(n)
    monkeypatch.setattr("tinyae.random.Generator.uniform", lambda self, shape, purpose: np.zeros(shape, np.float32))
    assert np.array_equal(
        model.sample(1), [[0, 2, 0]]
    )  # 0 is the first number that may be drawn, and chooses what occurs


# ---------------------------------------------------------------- training, files, devices


def digits():
    (x, _), (x_test, _) = ta.datasets.load_digits()
    return x, x_test


def test_it_learns_and_its_history_says_how_the_codebook_is_used():
    pytest.importorskip("sklearn")
    x, x_test = digits()
    model = dense(codes=32, groups=8, size=4)
    history = quick(model, x, 15, lr=5e-3, validation_data=x_test)
    mean = ((x_test - x.mean(axis=0)) ** 2).mean()
    assert history["val_reconstruction"][-1] < 0.45 * mean
    assert history["codes_used"][-1] > 24 and 16 < history["perplexity"][-1] <= 32
    assert {"reconstruction", "codebook", "commitment", "val_codebook", "val_commitment"} <= set(history.keys())
    total = sum(history[f"val_{name}"][-1] for name in ("reconstruction", "codebook", "commitment"))
    assert history["val_loss"][-1] == pytest.approx(total, rel=1e-5)
    found = model.findings(x, x_test)
    assert found["codebook entries in use"] == f"{history['codes_used'][-1]} of 32"


@KINDS
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_training_gives_the_same_bits(tmp_path, images, made, grid, stop):
    path = tmp_path / "vq.checkpoint"

    def train(model, epochs, **options):
        return quick(model, images, epochs, batch_size=8, validation_data=images[:9], **options)

    whole, half, rest = made(codes=40), made(codes=40), made(codes=40, seed=5)
    history = train(whole, 4)
    train(half, stop, callbacks=[ta.Checkpoint(path)])
    resumed = train(rest, 4, callbacks=[ta.Checkpoint(path, resume=True)])
    assert weights(whole) == weights(rest)
    for name in ("loss", "val_loss", "perplexity", "codes_used"):
        assert history[name] == resumed[name]


def test_early_stopping_puts_back_a_model_that_is_whole(images):
    model = dense()
    quick(model, images, 4, callbacks=[ta.EarlyStopping(1, min_delta=1e9)], lr=0.05)
    counted = np.bincount(model.encode(images).ravel(), minlength=12)
    assert np.array_equal(model.usage.numpy().sum(axis=0), counted)


@KINDS
def test_saved_and_loaded_it_is_the_same(tmp_path, images, made, grid):
    model = made()
    ta.save(model, tmp_path / "fresh")
    with pytest.raises(StateError):
        ta.load(tmp_path / "fresh").sample(1)
    quick(model, images)
    ta.save(model, tmp_path / "trained")
    loaded = ta.load(tmp_path / "trained")
    assert (
        weights(loaded) == weights(model) and loaded.beta == model.beta and loaded.usage.shape == (*grid, model.codes)
    )
    assert np.array_equal(loaded.encode(images), model.encode(images)) and loaded.bits() == model.bits()
    assert np.array_equal(loaded.sample(5), model.sample(5))
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    quick(loaded, images, 1, lr=1e-12)  # goes on with its codebook: it is not begun anew
    assert np.allclose(loaded.codebook.numpy(), model.codebook.numpy(), atol=1e-6)


def test_a_state_of_other_codes_is_refused(images):
    model, other = dense(), dense(codes=9)
    quick(other, images, 1)
    before = weights(model)
    with pytest.raises(StateError, match="misshapen: codebook is .9, 2., expected .12, 2."):
        model.load_state_dict(other.state_dict())
    assert weights(model) == before
    state = dense(groups=5).state_dict()
    state["usage"] = np.ones((5, 12), int)
    with pytest.raises(StateError, match="misshapen: encoder.2.weight"):
        model.load_state_dict(state)
    assert weights(model) == before and model.usage.shape == (1, 12)


@KINDS
def test_on_a_device_it_trains_as_on_the_cpu(device, images, made, grid):
    """In graphs: a CaptureWarning would be an error here."""

    def train(place):
        model = made().to(place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return model, quick(model, images, 3, batch_size=8, validation_data=images[:20])

    (ours, there), (theirs, here) = train(device), train("numpy")
    for name in ("loss", "val_loss", "reconstruction", "commitment", "perplexity"):
        assert np.allclose(there[name], here[name], rtol=1e-3), name
    assert there["codes_used"] == here["codes_used"]
    assert np.array_equal(device.to_host(ours.encode(device.asarray(images))), theirs.encode(images))
    assert np.allclose(device.to_host(ours.sample(4)), theirs.sample(4), atol=1e-3)


def test_a_model_from_a_device_is_saved_and_resumed(device, tmp_path, images):
    path, options = tmp_path / "c", {"batch_size": 8}
    whole, half, rest = (dense(codes=30).to(device) for _ in range(3))
    quick(whole, images, 3, **options)
    quick(half, images, 1, callbacks=[ta.Checkpoint(path)], **options)
    quick(rest, images, 3, callbacks=[ta.Checkpoint(path, resume=True)], **options)
    assert weights(rest) == weights(whole)
    ta.save(rest, tmp_path / "m")
    assert np.array_equal(ta.load(tmp_path / "m").encode(images), device.to_host(rest.encode(device.asarray(images))))


@pytest.mark.usefixtures("here")
def test_its_recipe_is_trained_resumed_evaluated_and_reconstructs():
    pytest.importorskip("sklearn")
    result = quick_train("a", "vq-digits", 3)
    quick_train("b", "vq-digits", 1)
    runs.resume("b", epochs=3, progress=False)
    assert kept("a") == kept("b")
    assert result["code_shape"] == [8] and result["code_size"] == 8
    assert result["findings"]["bits for one example, log2 of the codebook's size for each integer"] == 48
    assert "codebook entries in use: " in runs.report(result)
    assert runs.evaluate("a")["mse"] == pytest.approx(result["val_mse"])
    assert runs.reconstruct("a", out="r.npy")["examples"] == 360
    assert ta.load("a").encode(digits()[1][:2]).shape == (2, 8)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_recipe_of_the_digits_reaches_what_it_says():
    pytest.importorskip("sklearn")
    result = runs.train("vq-digits", out="a", progress=False)
    assert result["val_mse"] <= 0.0088 and result["findings"]["codebook entries in use"] == "64 of 64"
