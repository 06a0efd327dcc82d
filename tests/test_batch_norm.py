"""Batch normalisation: the statistics of a batch, the running ones, and what each mode uses."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError, ShapeError

SHAPES = [(6, 3), (4, 5, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_comes_out_with_mean_0_and_variance_1(shape, rng, backend):
    layer = ta.BatchNorm(3).to(backend)
    x = (5 * rng.normal(size=shape) + 7).astype(np.float32)
    y = layer(ta.Tensor(x).to(backend)).numpy()
    axes = tuple(range(len(shape) - 1))
    assert np.allclose(y.mean(axes), 0, atol=1e-5) and np.allclose(y.var(axes), 1, atol=1e-3)
    layer.load_state_dict({**layer.state_dict(), "gamma": [1, 2, 3], "beta": [4, 5, 6]})
    assert np.allclose(layer(ta.Tensor(x).to(backend)).numpy(), y * [1, 2, 3] + [4, 5, 6], atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics(shape, rng, backend):
    """running = momentum running + (1 - momentum) batch, with the unbiased variance, in place."""
    layer = ta.BatchNorm(3, momentum=0.7).to(backend)
    mean, variance, axes = np.zeros(3), np.ones(3), tuple(range(len(shape) - 1))
    tensors = [tensor for _, tensor in layer.named_tensors()]
    for _ in range(3):
        x = rng.normal(2, 3, size=shape).astype(np.float32)
        layer(ta.Tensor(x).to(backend))
        mean = 0.7 * mean + 0.3 * x.mean(axes)
        variance = 0.7 * variance + 0.3 * x.var(axes, ddof=1)
    state = layer.state_dict()
    assert np.allclose(state["running_mean"], mean, rtol=1e-5) and np.allclose(
        state["running_var"], variance, rtol=1e-5
    )
    assert all(a is b for a, (_, b) in zip(tensors, layer.named_tensors()))
    layer.eval()
    y = layer(ta.Tensor(x).to(backend)).numpy()
    assert np.allclose(y, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    assert all(
        np.array_equal(state[name], value) for name, value in layer.state_dict().items()
    )  # eval remembers nothing


def test_in_evaluation_an_example_does_not_depend_on_the_others(rng):
    layer = ta.BatchNorm(3)
    x = rng.normal(size=(8, 3)).astype(np.float32)
    layer(x)
    assert not np.allclose(layer(x)[:1].numpy(), layer(x[:2])[:1].numpy())
    layer.eval()
    assert np.allclose(layer(x)[:1].numpy(), layer(x[:1]).numpy(), atol=1e-6)


def test_it_is_not_trained_but_saved_and_moved(rng, tmp_path):
    model = ta.Sequential(ta.Dense(4, 3), ta.BatchNorm(3), ta.Dense(3, 4))
    assert [name for name, _ in model.named_parameters() if name.startswith("1.")] == ["1.gamma", "1.beta"]
    assert "6 numbers not trained" in model.summary((4,))
    x = rng.random((40, 4), dtype=np.float32)
    ta.fit(model, x, x, 2, batch_size=10, progress=False)
    state = model.state_dict()
    assert state["1.running_mean"].any() and not np.allclose(state["1.running_var"], 1)
    ta.save(model, tmp_path / "model.safetensors")
    loaded = ta.load(tmp_path / "model.safetensors")
    assert np.array_equal(loaded.eval()(x).numpy(), model.eval()(x).numpy())
    assert model.astype("float64")(x.astype(float)).dtype == np.float64


def test_a_training_is_the_same_with_and_without_capture(rng):
    """Running statistics are updated in every step: a program of calls cannot, and so there is none."""
    x = rng.random((40, 4), dtype=np.float32)

    def trained(captured):
        ta.manual_seed(0)
        model = ta.Sequential(ta.BatchNorm(4), ta.Dense(4, 8, "relu"), ta.BatchNorm(8), ta.Dense(8, 4))
        optimizer = ta.Adam(model.parameters())

        def step(x):
            optimizer.zero_grad()
            ta.mse_loss(model(x), x).backward()
            optimizer.step()

        run = ta.capture(step) if captured else step
        for start in range(0, 40, 8):
            run(ta.Tensor(x[start : start + 8]))
        return model.state_dict(), getattr(run, "reason", None)

    plain, _ = trained(captured=False)
    with pytest.warns(ta.CaptureWarning, match="running statistics"):
        repeated, reason = trained(captured=True)
    assert "running statistics" in reason
    assert all(np.array_equal(plain[name], value) for name, value in repeated.items())


def test_a_loss_between_forward_and_backward_is_not_hurt_by_the_update(rng):
    """In evaluation the running statistics are on the tape; training in between is noticed."""
    layer, x = ta.BatchNorm(2).eval(), ta.Tensor(rng.normal(size=(4, 2)).astype("f"))
    loss = layer(x).sum()
    layer.train()(x)
    with pytest.raises(ta.errors.TapeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: ta.BatchNorm(3)(np.zeros((1, 3), "f")), ShapeError,
         r"BatchNorm: the input has shape \(1, 3\), one value per feature, whose variance is 0.*larger batches.*model.eval\(\)"),
        (lambda: ta.BatchNorm(3)(np.zeros((1, 1, 1, 3), "f")), ShapeError, "one value per feature"),
        (lambda: ta.BatchNorm(3)(np.zeros((5, 4), "f")), ShapeError, r"\(5, 4\); expected \(N, \.\.\., 3\)"),
        (lambda: ta.BatchNorm(3)(np.zeros((2, 3, 8, 8), "f")), ShapeError, r"channels first .*x.transpose\(0, 2, 3, 1\)"),
        (lambda: ta.BatchNorm(3)(np.zeros(3, "f")), ShapeError, r"batch axis: x\[None\]"),
        (lambda: ta.BatchNorm(0), RangeError, "BatchNorm: features is 0"),
        (lambda: ta.BatchNorm(3, momentum=1), RangeError, "momentum is 1; expected a finite number >= 0 and < 1"),
        (lambda: ta.BatchNorm(3, eps=0), RangeError, "eps is 0; expected a finite number > 0"),
        (lambda: ta.batch_norm(np.zeros((4, 3)), np.ones(2), np.zeros(3)), ShapeError, r"gamma \(2,\) and beta \(3,\)"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_one_image_is_a_batch_of_its_pixels():
    assert ta.BatchNorm(1)(np.arange(4.0, dtype="f").reshape(1, 2, 2, 1)).shape == (1, 2, 2, 1)
