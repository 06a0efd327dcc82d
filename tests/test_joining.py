"""Layers that are computed together: which, that it changes nothing, and what the summary says."""

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.nn.joining import joined_groups

UP, POOL = ta.UpSampling2D, ta.MaxPool2D


def conv(i=3, o=4, **given):
    return ta.Conv2D(i, o, **{"activation": "relu", **given})


def kinds(layers):
    """The groups, as the classes of their layers."""
    return [[type(layer).__name__ for layer in group.layers] for group in joined_groups(layers)]


def test_the_table():
    assert kinds([conv(), POOL(2)]) == [["Conv2D", "MaxPool2D"]]
    assert kinds([UP(2), conv()]) == [["UpSampling2D", "Conv2D"]]
    assert kinds([UP(3), conv(), POOL(2), conv(4, 4)]) == [["UpSampling2D", "Conv2D", "MaxPool2D"]]
    assert kinds([UP(2), conv(activation="gelu"), POOL(2)]) == [["UpSampling2D", "Conv2D"]]
    assert kinds([ta.Dense(3, 4), ta.Dense(4, 5), conv(), POOL(2, padding="same")]) == [
        ["Dense", "Dense"], ["Conv2D", "MaxPool2D"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "layers",
    [[conv()], [POOL(2)], [UP(2), POOL(2)], [conv(stride=2), POOL(2)], [UP(2), conv(dilation=2)], [conv(activation="elu"), POOL(2)],
     [conv(), POOL(3, stride=2)], [conv(), POOL((2, 3))], [UP((2, 1)), conv()], [UP(2, "bilinear"), conv()], [UP(2)],
     [conv(), ta.AvgPool2D(2)], []],
    ids=str,
)  # fmt: skip
def test_what_is_not_joined(layers):
    assert kinds(layers) == []


MODELS = {
    "same": lambda: [conv(2, 5), POOL(2), conv(5, 6), POOL(2, padding="same"), UP(2), conv(6, 3), UP(2), conv(3, 1, activation="sigmoid")],
    "valid and no bias": lambda: [conv(2, 4, padding="valid", bias=False), POOL(2), UP(2), conv(4, 1, padding=2, kernel_size=5)],
    "three at once": lambda: [UP(2), conv(2, 4, activation="tanh"), POOL(3), conv(4, 2, activation="gelu"), UP(3), conv(2, 2)],
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_joined_layers_compute_what_single_ones_do(name, rng):
    """The same numbers, gradients and parameters as with every layer called by itself."""
    model = ta.Sequential(*MODELS[name]()).astype("float64")
    assert len(model.joined()) >= 2
    x, found = rng.normal(size=(6, 12, 12, 2)), []
    for which in ("fast", "reference"):
        with ta.use_kernels(which):
            model.zero_grad()
            X = ta.Tensor(x, requires_grad=True)
            y = model(X)
            cotangent = np.cos(np.arange(y.size)).reshape(y.shape)
            y.backward(cotangent)
            found.append([y.numpy(), X.grad, *(p.grad for p in model.parameters())])
    for ours, theirs in zip(*found):
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_only_with_a_kernel():
    layers = [UP(2), conv()]
    assert joined_groups(layers)
    with ta.use_kernels("reference"):
        assert not joined_groups(layers)


def test_what_a_user_has_put_on_a_layer_is_called(rng):
    model, calls = ta.Sequential(UP(2), conv()), []
    x = ta.Tensor(rng.normal(size=(4, 16, 16, 3)).astype(np.float32))
    plain = model(x).numpy()
    forward = model[0].forward
    model[0].forward = lambda x: (calls.append(x.shape), forward(x))[1]
    assert np.allclose(model(x).numpy(), plain, atol=1e-6) and calls == [(4, 16, 16, 3)]

    class Doubled(ta.Conv2D):
        def forward(self, x):
            return 2 * super().forward(x)

    assert not joined_groups([UP(2), Doubled(3, 4)])


def test_across_the_parts_of_an_autoencoder(rng):
    model = ta.Autoencoder(ta.Sequential(conv(1, 4), POOL(2)), ta.Sequential(UP(2), conv(4, 1, activation="sigmoid")))
    x = ta.Tensor(rng.random((8, 16, 16, 1), dtype=np.float32))
    first, second = ta.Sequential(conv(1, 4)), ta.Sequential(POOL(2))
    assert len(ta.Autoencoder(first, second).joined()) == 1
    assert model(x)._node.op.name == "conv_block" and model(x)._node.inputs[0].op.name == "conv_block"
    logits = model.before_sigmoid(x)
    assert np.allclose(1 / (1 + np.exp(-logits.numpy())), model(x).numpy(), atol=1e-6)


def test_bce_needs_a_sigmoid_at_the_end_of_a_joined_group(rng):
    model = ta.Sequential(UP(2), conv(1, 1))
    with pytest.raises(ta.errors.ShapeError, match="needs a model that ends in a sigmoid"):
        model.before_sigmoid(ta.Tensor(rng.random((2, 8, 8, 1), dtype=np.float32)))


def test_the_summary_says_so():
    model = ta.Sequential(conv(1, 8), POOL(2), UP(2), conv(8, 1, kernel_size=5), ta.Flatten())
    lines = str(model.summary((8, 8, 1))).split("\n")
    assert lines[0].endswith("computed together")
    assert lines[2].endswith("┐") and lines[3].endswith("┘ pooled at once")
    assert lines[4].endswith("┐") and lines[5].endswith("┘ sub-pixel convolution, 9/25 of the multiplications")
    assert "computed" not in ta.Sequential(conv(1, 8)).summary((8, 8, 1))
    with ta.use_kernels("reference"):
        assert "computed" not in model.summary((8, 8, 1))


def test_the_summary_of_a_layer_that_is_used_twice():
    layer = conv(1, 1)
    lines = str(ta.Sequential(layer, POOL(2), layer).summary((12, 12, 1))).split("\n")
    assert lines[2].endswith("┐") and lines[3].endswith("pooled at once") and not lines[4].endswith("┐")


@pytest.mark.parametrize(
    "k, u, expected", [(3, 2, (4, 9)), (5, 2, (9, 25)), (1, 2, (1, 1)), (3, 3, (25, 81)), (2, 2, (9, 16))]
)
def test_the_share_of_multiplications(k, u, expected):
    (group,) = joined_groups([UP(u), conv(3, 4, kernel_size=k)])
    assert group.multiplications() == expected


def test_a_step_with_convolutions_is_captured(rng):
    """And is the same as without that, to the last bit."""
    x, weights = [ta.Tensor(rng.random((16, 12, 12, 1), dtype=np.float32)) for _ in range(6)], []
    for captured in (False, True):
        ta.manual_seed(0)
        model = ta.Sequential(
            conv(1, 8), POOL(2), conv(8, 8, stride=2), ta.Conv2DTranspose(8, 8, activation="relu"), POOL(1), UP(2),
            conv(8, 1, activation="sigmoid"),
        )  # fmt: skip
        optimizer = ta.Adam(model.parameters(), lr=1e-2)

        def step(batch, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ta.mse_loss(model(batch), batch)
            loss.backward()
            optimizer.step()
            return loss

        run = ta.capture(step) if captured else step
        losses = [run(batch).item() for batch in x]
        if captured:
            assert run.reason is None
            (program,) = run._programs.values()
            assert program.holds()  # else it would be written anew each time
            kept = model[0].weight.grad
            assert not program.holds() and kept is not None  # somebody holds a gradient now
            del kept
        weights.append([losses, *(p.numpy().tobytes() for p in model.parameters())])
    assert weights[0] == weights[1]
    assert ops.ConvBlock in (model.joined()[0].operation,)
