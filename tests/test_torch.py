"""The same computations in PyTorch: gradients, optimizers, and training from the same weights."""

import numpy as np
import pytest

import tinyae as ta

torch = pytest.importorskip("torch", reason="needs torch, from the extra 'peers', to compare with")
F = torch.nn.functional

LABELS = np.array([2, 0, 1])
MASK = np.array([[True, False, True, False], [False, True, True, False], [True, True, False, False]])


def assigned(x, v):
    y = x * 1.0
    y[1:, 0] = v
    return y


N34, N4, POSITIVE = (3, 4), (4,), "positive"
# name -> (ours, PyTorch's, shapes of the inputs; "positive" makes them so)
PAIRS = {
    "add": (lambda x, y: x + y, lambda x, y: x + y, [N34, N4]),
    "subtract": (lambda x, y: x - y, lambda x, y: x - y, [N34, (3, 1)]),
    "multiply": (lambda x, y: x * y, lambda x, y: x * y, [N34, N4]),
    "divide": (lambda x, y: x / y, lambda x, y: x / y, [N34, N4]),
    "negative": (lambda x: -x, lambda x: -x, [N34]),
    "power": (lambda x: x**3, lambda x: x**3, [N34]),
    "power of a tensor": (lambda x, y: x**y, lambda x, y: x**y, [N34, N34, POSITIVE]),
    "number to a power": (lambda x: 2**x, lambda x: 2**x, [N34]),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 3, 4), (4, 5)]),
    "affine": (ta.functional.affine, lambda x, w, b: F.linear(x, w.T, b), [N34, (4, 2), (2,)]),
    "dense": (
        lambda x, w, b, v, c: ta.apply(ta.ops.Dense, x, w, b, v, c, activations=("tanh", "sigmoid")),
        lambda x, w, b, v, c: torch.sigmoid(F.linear(torch.tanh(F.linear(x, w.T, b)), v.T, c)),
        [N34, (4, 2), (2,), (2, 5), (5,)],
    ),
    "exp": (lambda x: x.exp(), lambda x: x.exp(), [N34]),
    "log": (lambda x: x.log(), lambda x: x.log(), [N34, POSITIVE]),
    "sqrt": (lambda x: x.sqrt(), lambda x: x.sqrt(), [N34, POSITIVE]),
    "abs": (lambda x: x.abs(), lambda x: x.abs(), [N34]),
    "clip": (lambda x: x.clip(-0.5, 0.5), lambda x: x.clip(-0.5, 0.5), [N34]),
    "maximum": (ta.maximum, torch.maximum, [N34, N34]),
    "where": (lambda x, y: ta.where(MASK, x, y), lambda x, y: torch.where(torch.tensor(MASK), x, y), [N34, N34]),
    "relu": (ta.relu, F.relu, [N34]),
    "leaky_relu": (ta.leaky_relu, F.leaky_relu, [N34]),
    "elu": (ta.elu, F.elu, [N34]),
    "sigmoid": (ta.sigmoid, torch.sigmoid, [N34]),
    "tanh": (ta.tanh, torch.tanh, [N34]),
    "softplus": (ta.softplus, F.softplus, [N34]),
    "gelu": (ta.gelu, F.gelu, [N34]),
    "softmax": (ta.softmax, lambda x: F.softmax(x, -1), [N34]),
    "log_softmax": (lambda x: ta.log_softmax(x, 0), lambda x: F.log_softmax(x, 0), [N34]),
    "sum": (lambda x: x.sum(axis=(0, 2)), lambda x: x.sum((0, 2)), [(2, 3, 4)]),
    "mean": (lambda x: x.mean(axis=1, keepdims=True), lambda x: x.mean(1, keepdim=True), [(2, 3, 4)]),
    "max": (lambda x: x.max(axis=1), lambda x: x.max(1).values, [N34]),
    "reshape": (lambda x: x.reshape(2, -1), lambda x: x.reshape(2, -1), [N34]),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1), [(2, 3, 4)]),
    "getitem": (lambda x: x[[0, 2, 0], 1:], lambda x: x[[0, 2, 0], 1:], [N34]),
    "setitem": (assigned, assigned, [N34, (2,)]),
    "concatenate": (lambda x, y: ta.concatenate([x, y], 1), lambda x, y: torch.cat([x, y], 1), [N34, (3, 2)]),
    "stack": (lambda x, y: ta.stack([x, y], -1), lambda x, y: torch.stack([x, y], -1), [N34, N34]),
    "astype": (lambda x: x.astype("float32") * 2, lambda x: x.float() * 2, [N34]),
    "mse_loss": (ta.mse_loss, F.mse_loss, [N34, N34]),
    "bce_with_logits_loss": (
        lambda z: ta.bce_with_logits_loss(z, MASK * 0.7),
        lambda z: F.binary_cross_entropy_with_logits(z, torch.tensor(MASK * 0.7)),
        [N34],
    ),
    "binary_cross_entropy": (
        lambda z: ta.binary_cross_entropy(ta.sigmoid(z), MASK * 0.7, "none"),
        lambda z: F.binary_cross_entropy(torch.sigmoid(z), torch.tensor(MASK * 0.7), reduction="none"),
        [N34],
    ),
    "cross_entropy": (lambda z: ta.cross_entropy(z, LABELS), lambda z: F.cross_entropy(z, torch.tensor(LABELS)), [N34]),
    "kl_divergence": (
        lambda x, y: ta.kl_divergence(ta.softmax(x), ta.softmax(y)),
        lambda x, y: F.kl_div(F.log_softmax(y, 1), F.softmax(x, 1), reduction="batchmean"),
        [N34, N34],
    ),
    "gaussian_kl": (
        ta.gaussian_kl,
        lambda m, v: torch.distributions.kl_divergence(
            torch.distributions.Normal(m, torch.exp(0.5 * v)), torch.distributions.Normal(0.0, 1.0)
        ).sum(1).mean(),
        [N34, N34],
    ),
}  # fmt: skip


def first(x):
    """Channels first, as PyTorch has them."""
    return x.permute(0, 3, 1, 2)


def last(x):
    return x.permute(0, 2, 3, 1)


def padded(x, padding, value=0.0):
    """PyTorch pads alike above and below; other paddings are made before."""
    (top, bottom), (left, right) = padding
    return F.pad(first(x), (left, right, top, bottom), value=value)


def torch_convolution(stride=1, padding=((0, 0), (0, 0)), dilation=1):
    return lambda x, w, b: last(F.conv2d(padded(x, padding), w.permute(3, 2, 0, 1), b, stride, 0, dilation))


def torch_transposed(stride, padding, output_padding):
    return lambda x, w, b: last(F.conv_transpose2d(first(x), w.permute(2, 3, 0, 1), b, stride, padding, output_padding))


def torch_block(x, w, b):
    y = F.conv2d(F.interpolate(first(x), scale_factor=2), w.permute(3, 2, 0, 1), b, padding="same")
    return last(F.max_pool2d(torch.tanh(y), 2))


X, X1, W, B = (2, 7, 6, 3), (2, 5, 8, 1), (3, 3, 3, 4), (4,)
ONES, UNEVEN = ((1, 1), (1, 1)), ((2, 0), (1, 3))
IMAGES = {
    "conv2d": (ta.conv2d, torch_convolution(padding=ONES), [X, W, B]),
    "conv2d, valid": (lambda x, w, b: ta.conv2d(x, w, b, 1, "valid"), torch_convolution(), [X, W, B]),
    "conv2d, stride": (lambda x, w, b: ta.conv2d(x, w, b, (2, 3), 1), torch_convolution((2, 3), ONES), [X, W, B]),
    "conv2d, one channel": (ta.conv2d, torch_convolution(padding=((2, 2), (1, 2))), [X1, (5, 4, 1, 2), (2,)]),
    "conv2d, all": (
        lambda x, w, b: ta.conv2d(x, w, b, (1, 2), UNEVEN, (2, 1)),
        torch_convolution((1, 2), UNEVEN, (2, 1)), [X, (2, 3, 3, 1), (1,)]),
    "conv2d_transpose": (ta.conv2d_transpose, torch_transposed(2, 0, 0), [X, (2, 2, 3, 4), B]),
    "conv2d_transpose, stride 1": (
        lambda x, w, b: ta.conv2d_transpose(x, w, b, 1, "same"), torch_transposed(1, 1, 0), [X, W, B]),
    "conv2d_transpose, all": (
        lambda x, w, b: ta.conv2d_transpose(x, w, b, (2, 3), 1, (14, 18)),
        torch_transposed((2, 3), 1, (1, 2)), [X, (3, 3, 3, 1), (1,)]),
    "conv_block": (lambda x, w, b: ta.conv_block(x, w, b, 2, "same", "tanh", 2), torch_block, [X, W, B]),
    "max_pool2d": (ta.max_pool2d, lambda x: last(F.max_pool2d(first(x), 2)), [X]),
    "max_pool2d, same": (
        lambda x: ta.max_pool2d(x, 3, 2, "same"),
        lambda x: last(F.max_pool2d(padded(x, ((1, 1), (0, 1)), -np.inf), 3, 2)), [X]),
    "avg_pool2d": (lambda x: ta.avg_pool2d(x, (2, 3)), lambda x: last(F.avg_pool2d(first(x), (2, 3))), [X]),
    "avg_pool2d, padding": (
        lambda x: ta.avg_pool2d(x, 3, 2, 1),
        lambda x: last(F.avg_pool2d(first(x), 3, 2, 1, count_include_pad=False)), [X]),
    "global average": (lambda x: ta.GlobalAvgPool2D()(x), lambda x: F.adaptive_avg_pool2d(first(x), 1)[:, :, 0, 0], [X]),
    "upsample_nearest": (
        lambda x: ta.upsample_nearest(x, (2, 3)), lambda x: last(F.interpolate(first(x), scale_factor=(2, 3))), [X]),
    "upsample_bilinear": (
        lambda x: ta.upsample_bilinear(x, (2, 3)),
        lambda x: last(F.interpolate(first(x), scale_factor=(2, 3), mode="bilinear", align_corners=False)), [X]),
    "pad2d": (lambda x: ta.pad2d(x, UNEVEN), lambda x: last(padded(x, UNEVEN)), [X]),
    "batch_norm": (ta.batch_norm, lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True), [(6, 4), B, B]),
    "batch_norm, images": (
        ta.batch_norm, lambda x, g, b: last(F.batch_norm(first(x), None, None, g, b, training=True)), [X, (3,), (3,)]),
}  # fmt: skip
PAIRS |= IMAGES


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_agree(name, rng):
    ours, theirs, shapes = PAIRS[name]
    positive = POSITIVE in shapes
    arrays = [rng.random(s) + 0.5 if positive else rng.normal(size=s) for s in shapes if s != POSITIVE]
    a = [ta.Tensor(x.copy(), requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*a), theirs(*b)
    tolerance = 1e-6 if name == "astype" else 1e-12
    assert np.allclose(y.numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    cotangent = rng.normal(size=y.shape)
    y.backward(cotangent)
    z.backward(torch.tensor(cotangent, dtype=z.dtype))
    for i, (p, q) in enumerate(zip(a, b)):
        assert np.allclose(p.grad, q.grad.numpy(), rtol=tolerance, atol=tolerance), f"input {i}"


def test_every_operation_is_compared():
    from tinyae.ops import OPERATIONS

    assert set(OPERATIONS) <= set(PAIRS)


def test_running_statistics_are_theirs(rng):
    """Their momentum is 1 minus ours."""
    ours, theirs = ta.BatchNorm(3, momentum=0.8).astype("float64"), torch.nn.BatchNorm2d(3, momentum=0.2).double()
    for _ in range(3):
        x = rng.normal(2, 3, size=(4, 5, 6, 3))
        y = ours(x)
        z = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert np.allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, tensor in theirs.state_dict().items():
        if name.startswith("running"):
            assert np.allclose(ours.state_dict()[name], tensor.numpy(), rtol=1e-12)
    z = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert np.allclose(ours.eval()(x).numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_three_training_steps_of_a_convolutional_autoencoder_in_float32(rng):
    x = rng.random((24, 8, 8, 1), dtype=np.float32)
    ta.manual_seed(0)
    channels = [(1, 6), (6, 5), (5, 6), (6, 1)]
    convs = [ta.Conv2D(i, o, activation="relu" if o > 1 else "sigmoid") for i, o in channels]
    pool, up = ta.MaxPool2D(), ta.UpSampling2D()
    model = ta.Autoencoder(ta.Sequential(convs[0], pool, convs[1], pool), ta.Sequential(convs[2], up, convs[3], up))
    twins = [torch.nn.Conv2d(i, o, 3, padding=1) for i, o in channels]
    with torch.no_grad():
        for conv, twin in zip(convs, twins):
            twin.weight.copy_(torch.tensor(conv.weight.numpy()).permute(3, 2, 0, 1))
            twin.bias.zero_()
    nn = torch.nn
    theirs = nn.Sequential(twins[0], nn.ReLU(), nn.MaxPool2d(2), twins[1], nn.ReLU(), nn.MaxPool2d(2), twins[2], nn.ReLU(),
                           nn.Upsample(scale_factor=2), twins[3], nn.Sigmoid(), nn.Upsample(scale_factor=2))  # fmt: skip
    optimizer, losses = torch.optim.Adam(theirs.parameters(), lr=1e-3), []
    for start in range(0, 24, 8):
        batch = torch.tensor(x[start : start + 8]).permute(0, 3, 1, 2)
        optimizer.zero_grad()
        value = F.mse_loss(theirs(batch), batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    seen = []
    note = type("Note", (ta.Callback,), {"on_batch_end": lambda self, batch, logs: seen.append(logs["loss"])})()
    model.fit(x, 1, batch_size=8, shuffle=False, callbacks=[note], progress=False)
    assert np.allclose(seen, losses, rtol=1e-5)
    for conv, twin in zip(convs, twins):
        weight = twin.weight.detach().permute(2, 3, 1, 0).numpy()
        assert np.abs(conv.weight.numpy() - weight).max() < 1e-5
        assert np.abs(conv.bias.numpy() - twin.bias.detach().numpy()).max() < 1e-5


OPTIMIZERS = {
    "gd": (lambda p: ta.GradientDescent(p, 0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "sgd": (lambda p: ta.SGD(p, 0.05, weight_decay=0.01), lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.01)),
    "momentum": (
        lambda p: ta.Momentum(p, 0.02, 0.8, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.8, weight_decay=0.01),
    ),
    "nesterov": (
        lambda p: ta.Momentum(p, 0.02, 0.8, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.8, nesterov=True, weight_decay=0.01),
    ),
    "adagrad": (lambda p: ta.AdaGrad(p, 0.1, eps=1e-6), lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-6)),
    "rmsprop": (  # with a rate or an eps as small as usual it hops about the minimum, which magnifies rounding
        lambda p: ta.RMSProp(p, 0.003, rho=0.95, eps=1e-2),
        lambda p: torch.optim.RMSprop(p, 0.003, alpha=0.95, eps=1e-2),
    ),
    "adam": (
        lambda p: ta.Adam(p, 0.01, betas=(0.8, 0.99), eps=1e-6),
        lambda p: torch.optim.Adam(p, 0.01, betas=(0.8, 0.99), eps=1e-6),
    ),
    "adamw": (lambda p: ta.Adam(p, 0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_200_steps_of_each_optimizer_in_float64(name, rng):
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    start = [rng.normal(size=(5, 8)), rng.normal(size=8), rng.normal(size=(8, 3)), rng.normal(size=3)]
    ours = [ta.Tensor(w.copy(), requires_grad=True) for w in start]
    theirs = [torch.tensor(w, requires_grad=True) for w in start]
    a, b = OPTIMIZERS[name][0](ours), OPTIMIZERS[name][1](theirs)
    for _ in range(200):
        a.zero_grad()
        b.zero_grad()
        ta.mse_loss(ta.tanh(ta.Tensor(x) @ ours[0] + ours[1]) @ ours[2] + ours[3], y).backward()
        F.mse_loss(
            torch.tanh(torch.tensor(x) @ theirs[0] + theirs[1]) @ theirs[2] + theirs[3], torch.tensor(y)
        ).backward()
        a.step()
        b.step()
    for p, q, w in zip(ours, theirs, start):
        assert np.abs(p.numpy() - q.detach().numpy()).max() < 1e-10
        assert not np.allclose(p.numpy(), w)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_three_training_steps_of_an_autoencoder_in_float32(loss, rng):
    x = rng.random((96, 64), dtype=np.float32)
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(ta.Dense(64, 32, "relu"), ta.Dense(32, 8)),
        ta.Sequential(ta.Dense(8, 32, "relu"), ta.Dense(32, 64, "sigmoid")),
    )
    layers = [torch.nn.Linear(m, n) for m, n in [(64, 32), (32, 8), (8, 32), (32, 64)]]
    tensors = list(model.state_dict().values())
    with torch.no_grad():
        for layer, weight, bias in zip(layers, tensors[::2], tensors[1::2]):
            layer.weight.copy_(torch.tensor(weight.T))
            layer.bias.copy_(torch.tensor(bias))
    theirs = torch.nn.Sequential(
        layers[0], torch.nn.ReLU(), layers[1], layers[2], torch.nn.ReLU(), layers[3], torch.nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    losses = []
    for start in range(0, 96, 32):
        batch = torch.tensor(x[start : start + 32])
        optimizer.zero_grad()
        value = {"mse": F.mse_loss, "bce": F.binary_cross_entropy}[loss](theirs(batch), batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    seen = []
    note = type("Note", (ta.Callback,), {"on_batch_end": lambda self, batch, logs: seen.append(logs["loss"])})()
    model.fit(x, 1, batch_size=32, loss=loss, shuffle=False, callbacks=[note], progress=False)
    assert np.allclose(seen, losses, rtol=1e-5)
    for layer, (weight, bias) in zip(layers, zip(*[iter(model.parameters())] * 2)):
        assert np.abs(weight.numpy() - layer.weight.detach().numpy().T).max() < 1e-5
        assert np.abs(bias.numpy() - layer.bias.detach().numpy()).max() < 1e-5


def test_clipping_by_norm_and_value(rng):
    gradients = [rng.normal(size=(4, 3)), rng.normal(size=5)]

    def both():
        ours = [ta.Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
        theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        for p, q, g in zip(ours, theirs, gradients):
            p.grad, q.grad = g.copy(), torch.tensor(g)
        return ours, theirs

    ours, theirs = both()
    norm = torch.nn.utils.clip_grad_norm_(theirs, 0.7)
    assert np.isclose(ta.clip_by_norm(ours, 0.7), norm.item(), rtol=1e-12)
    # they divide by the norm plus 1e-6
    assert all(np.allclose(p.grad, q.grad.numpy(), rtol=1e-5) for p, q in zip(ours, theirs))
    ours, theirs = both()
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    ta.clip_by_value(ours, 0.3)
    assert all(np.array_equal(p.grad, q.grad.numpy()) for p, q in zip(ours, theirs))


def test_schedules_are_theirs(rng):
    """Ours per step, theirs stepped after every step."""
    steps, batches = 12, 3

    def theirs(make):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.4)
        schedule, seen = make(optimizer), []
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"] / 0.4)
            optimizer.step()
            schedule.step()
        return seen

    class Trainer:
        batches_per_epoch, epochs = batches, steps // batches

    def ours(schedule):
        schedule.trainer = Trainer
        return [schedule.factor(step / batches) for step in range(steps)]

    S = torch.optim.lr_scheduler
    assert np.allclose(ours(ta.StepDecay(2, 0.3)), theirs(lambda o: S.StepLR(o, 2 * batches, 0.3)))
    assert np.allclose(ours(ta.CosineDecay(to=0.1)), theirs(lambda o: S.CosineAnnealingLR(o, steps, eta_min=0.04)))
    warm = theirs(lambda o: S.LinearLR(o, start_factor=1 / 6, total_iters=5))
    assert np.allclose(ours(ta.WarmUp(2)), warm)
