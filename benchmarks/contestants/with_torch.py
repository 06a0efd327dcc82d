"""PyTorch: eager with Adam as it comes, with the fused Adam, and with the loss compiled."""

import os
import shutil

import torch
from torch.nn.functional import mse_loss

from .contestant import BETA1, BETA2, EPS, LR, Contestant


class Torch(Contestant):
    """Eager, Adam as it comes: on a CPU that is a loop over the parameters, several operations for each."""

    fused = None

    def __init__(self, weights, images, batch):
        super().__init__(weights, images, batch)
        self.X = torch.from_numpy(images)
        self.model = sequential(weights)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=self.fused
        )
        self.loss = self.make_loss()

    def make_loss(self):
        return lambda x: mse_loss(self.model(x), x)

    def step(self, start):
        x = self.X[start : start + self.batch]
        self.optimizer.zero_grad()
        loss = self.loss(x)
        loss.backward()
        self.optimizer.step()
        return loss

    @staticmethod
    def about():
        return {
            "versions": {"torch": torch.__version__},
            "threads": f"{torch.get_num_threads()} (torch.get_num_threads())",
            "precision": f"float32, torch.get_float32_matmul_precision() is {torch.get_float32_matmul_precision()!r}",
        }


class TorchFused(Torch):
    """Eager, ``Adam(fused=True)``: one loop over the numbers."""

    fused = True


class TorchCompiled(TorchFused):
    """``torch.compile`` on model and loss, which compiles their backward pass too; fused Adam.

    Of the ways tried (also: Adam compiled, the whole step compiled) the fastest, by a little.
    """

    def make_loss(self):
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise RuntimeError(f"torch.compile needs a C++ compiler, and there is none called {compiler} or clang++")
        return torch.compile(super().make_loss())


def sequential(weights):
    """A PyTorch model with these weights."""
    layers = []
    for i, (W, b) in enumerate(weights):
        layer = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W.T))
            layer.bias.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.Sigmoid() if i == len(weights) - 1 else torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)
