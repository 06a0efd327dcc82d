"""PyTorch on a GPU: eager, compiled with CUDA graphs (``mode="reduce-overhead"``), and the whole step captured by hand.

Images and convolutions are channels last, Adam is fused. Times are those of CUDA events.
"""

import torch

from .with_torch import TorchChannelsLast


class TorchEager(TorchChannelsLast):
    """Each operation is launched by Python; ``Adam(fused=True)``."""

    device = "cuda"
    precision = "float32"

    @classmethod
    def use_precision(cls, precision):
        """Of matrix products and convolutions alike, "float32" or "tf32"; by default PyTorch has TF32 in convolutions only."""
        if not torch.cuda.is_available():
            raise RuntimeError(
                f"PyTorch {torch.__version__} finds no CUDA device; a build with CUDA: https://pytorch.org/get-started/locally"
            )
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        cls.precision = precision

    def run(self, steps):
        super().run(steps)
        torch.cuda.synchronize()

    def milliseconds(self, steps):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for first in self.starts(steps):
            self.step(first)
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    @classmethod
    def about(cls):
        products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        return {
            "versions": {"torch": torch.__version__, "torch's CUDA": torch.version.cuda,
                         "torch's cuDNN": torch.backends.cudnn.version()},
            "threads": "one, and the GPU's",
            "precision": f"{cls.precision}: TF32 in matrix products {products}, in convolutions {convolutions}; "
            "timed by CUDA events",
        }  # fmt: skip


class TorchReduceOverhead(TorchEager):
    """``torch.compile(mode="reduce-overhead")`` on model and loss: forward and backward are CUDA graphs. Fused Adam."""

    capturable = True

    def make_loss(self):
        torch.compiler.reset()  # after some models of one program PyTorch would cease to compile, and not say so
        return torch.compile(super().make_loss(), mode="reduce-overhead", dynamic=False)

    def step(self, start):
        torch.compiler.cudagraph_mark_step_begin()
        return super().step(start)


class TorchGraph(TorchEager):
    """Forward, backward and Adam captured as one CUDA graph, as PyTorch's documentation shows it; nothing is compiled."""

    capturable = True
    WARM_UP = 3

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.x = self.X[:batch].clone(memory_format=torch.preserve_format)
        before = [p.detach().clone() for p in self.model.parameters()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(self.WARM_UP):
                self.whole_step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.no_grad():  # as if nothing had happened
            for p, value in zip(self.model.parameters(), before):
                p.copy_(value)
            for state in self.optimizer.state.values():
                for array in state.values():
                    array.zero_()
        self.optimizer.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = self.whole_step()

    def whole_step(self):
        """On the batch in ``x``."""
        self.optimizer.zero_grad()
        loss = self.loss(self.x)
        loss.backward()
        self.optimizer.step()
        return loss

    def step(self, start):
        self.x.copy_(self.X[start : start + self.batch])
        self.graph.replay()
        return self.result
