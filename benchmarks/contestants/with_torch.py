"""PyTorch: eager with Adam as it comes, with the fused Adam, and with the loss compiled.

Images are NCHW, which is PyTorch's default; "channels last" is another order of the same axes in memory.
"""

import os
import shutil

import torch
from torch.nn.functional import mse_loss

from ..architectures import Conv, Dense, MaxPool, UpSampling
from .contestant import BETA1, BETA2, EPS, LR, Contestant


class Torch(Contestant):
    """Eager, Adam as it comes: on a CPU that is a loop over the parameters, several operations for each."""

    fused = None
    memory_format = torch.contiguous_format
    device = "cpu"
    capturable = False  # may Adam's step be part of a CUDA graph?

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.X = torch.from_numpy(images).to(self.device)
        if images.ndim == 4:  # grey images are NCHW in the same memory
            N, H, W, _ = images.shape
            self.X = self.X.reshape(N, 1, H, W).to(memory_format=self.memory_format)
        self.model = sequential(model, weights).to(self.device, memory_format=self.memory_format)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=LR,
            betas=(BETA1, BETA2),
            eps=EPS,
            fused=self.fused,
            capturable=self.capturable,
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


class TorchChannelsLast(TorchFused):
    """Images and the weights of convolutions in the order that PyTorch's libraries are fast with."""

    memory_format = torch.channels_last


class TorchCompiled(TorchChannelsLast):
    """``torch.compile`` on model and loss, which compiles their backward pass too; fused Adam.

    Of the ways tried (also: Adam compiled, the whole step compiled, images NCHW) the fastest, by a little.
    """

    def make_loss(self):
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise RuntimeError(f"torch.compile needs a C++ compiler, and there is none called {compiler} or clang++")
        return torch.compile(super().make_loss())


LAYERS = {
    Dense: lambda layer: torch.nn.Linear(layer.inputs, layer.outputs),
    Conv: lambda layer: torch.nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1),
    MaxPool: lambda layer: torch.nn.MaxPool2d(layer.size),
    UpSampling: lambda layer: torch.nn.Upsample(scale_factor=layer.factor),
}
ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}


def sequential(model, weights):
    """A PyTorch model with these weights: (outputs, inputs), or of a convolution (outputs, inputs, 3, 3)."""
    parts, given = [], iter(weights)
    for layer in model.layers:
        part = LAYERS[type(layer)](layer)
        parts.append(part)
        if isinstance(layer, (Dense, Conv)):
            W, b = (torch.from_numpy(array) for array in next(given))
            with torch.no_grad():
                part.weight.copy_(W.T if W.ndim == 2 else W.permute(3, 2, 0, 1))
                part.bias.copy_(b)
            parts.append(ACTIVATIONS[layer.activation]())
    return torch.nn.Sequential(*parts)
