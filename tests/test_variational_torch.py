"""The variational autoencoder in PyTorch: the same weights, the same noise, the same training."""

import numpy as np
import pytest

import tinyae as ta
from tinyae.random import Generator

torch = pytest.importorskip("torch", reason="needs torch, from the extra 'peers', to compare with")
F = torch.nn.functional

SEED, STEPS, BATCH, CODE = 4, 6, 16, 5


def layers_of(model):
    return [model.encoder[1], model.mu, model.log_var, model.decoder[0], model.decoder[1]]


def their_loss(layers, x, eps, likelihood, beta, std):
    """As in PyTorch's own example of a VAE: sums over pixels and code, the mean over images."""
    h = F.relu(layers[0](x))
    mu, log_var = layers[1](h), layers[2](h)
    z = mu + torch.exp(0.5 * log_var) * eps
    out = layers[4](F.relu(layers[3](z)))
    if likelihood == "bernoulli":
        reconstruction = F.binary_cross_entropy(torch.sigmoid(out), x, reduction="sum")
    else:
        reconstruction = -torch.distributions.Normal(torch.sigmoid(out), std).log_prob(x).sum()
    posterior = torch.distributions.Normal(mu, torch.exp(log_var / 2))
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum()
    return (reconstruction + beta * kl) / len(x), reconstruction / len(x), kl / len(x)


@pytest.mark.parametrize("likelihood, beta", [("bernoulli", 1.0), ("gaussian", 1.0), ("bernoulli", 4.0)])
def test_a_training_from_the_same_weights_and_the_same_noise(likelihood, beta, rng):
    hidden = rng.normal(size=(STEPS * BATCH, 3)) @ rng.normal(size=(3, 64))
    x = (1 / (1 + np.exp(-3 * hidden))).astype(np.float32)  # from 0 to 1, with something to learn
    ta.manual_seed(0)
    std = 0.3 if likelihood == "gaussian" else None
    model = ta.VariationalAutoencoder.from_parts(
        [ta.Flatten(), ta.Dense(64, 32, "relu", init="pytorch"), ta.Dense(32, CODE, init="pytorch")],
        [ta.Dense(CODE, 32, "relu", init="pytorch"), ta.Dense(32, 64, "sigmoid", init="pytorch")],
        beta=beta,
        likelihood=likelihood,
        std=std,
    )
    theirs = [torch.nn.Linear(layer.in_features, layer.out_features) for layer in layers_of(model)]
    with torch.no_grad():
        for twin, layer in zip(theirs, layers_of(model)):
            twin.weight.copy_(torch.tensor(layer.weight.numpy().T.copy()))
            twin.bias.copy_(torch.tensor(layer.bias.numpy().copy()))
    optimizer = torch.optim.Adam([p for twin in theirs for p in twin.parameters()], lr=1e-2)
    losses, parts = [], []
    for step in range(STEPS):
        batch = torch.tensor(x[step * BATCH : (step + 1) * BATCH])
        eps = torch.tensor(Generator(SEED).normal((BATCH, CODE), "noise", step=step))
        optimizer.zero_grad()
        loss, *both = their_loss(theirs, batch, eps, likelihood, beta, std)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        parts.append([part.item() for part in both])
    seen = []
    note = type("Note", (ta.Callback,), {"on_batch_end": lambda self, batch, logs: seen.append(logs["loss"])})()
    history = model.fit(x, 1, BATCH, lr=1e-2, shuffle=False, seed=SEED, callbacks=[note], progress=False)
    assert np.allclose(seen, losses, rtol=1e-5)
    assert np.allclose([history["reconstruction"][0], history["kl"][0]], np.mean(parts, axis=0), rtol=1e-5)
    for twin, layer in zip(theirs, layers_of(model)):
        assert np.abs(layer.weight.numpy().T - twin.weight.detach().numpy()).max() < 2e-5
        assert np.abs(layer.bias.numpy() - twin.bias.detach().numpy()).max() < 2e-5
