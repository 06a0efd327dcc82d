"""PyTorch's operations beside tinyae's kernels: convolutions (by oneDNN), pooling and upsampling, channels last.

They are written as a model has them, one operation after the other. In a process of its own; PyTorch is imported when
something is prepared.
"""

import time

from ..cases import numbers
from ..conv_blocks import FORWARD, WEIGHTS, Block, UpSample


class TorchKernels:
    """What that process can do: one operation at a time."""

    def about(self):
        """Version and threads."""
        import torch

        return {"version": torch.__version__, "threads": f"{torch.get_num_threads()} (torch.get_num_threads())"}

    def prepare(self, what, part):
        """Make an operation and do it once; returns its arrays, in tinyae's order of axes."""
        self.job = conv_block(what, part) if isinstance(what, Block) else moved(what, part)
        return [as_here(tensor, part == WEIGHTS and tensor.ndim == 4) for tensor in self.job()]

    def time(self, calls, warm_up):
        """Milliseconds per call."""
        for _ in range(warm_up):
            self.job()
        start = time.perf_counter()
        for _ in range(calls):
            self.job()
        return (time.perf_counter() - start) / calls * 1e3

    def cpu_seconds(self):
        """How long this process has computed so far."""
        return time.process_time()


def conv_block(block, part):
    """The function () -> arrays: Y, or gradients of what a part asks for."""
    import torch
    from torch.nn.functional import conv2d, interpolate, max_pool2d

    X, W, b = block.arrays()
    W = torch.from_numpy(W).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    inputs = channels_last(X), W, torch.from_numpy(b)

    def call(X, W, b):
        if block.upsample > 1:
            X = interpolate(X, scale_factor=block.upsample)
        Y = conv2d(X, W, b, padding=1)
        if block.activation:
            Y = getattr(torch, block.activation)(Y)
        return max_pool2d(Y, 2) if block.pool else Y

    return job_of(call, inputs, block.wanted(part), part)


def moved(what, part):
    """The function () -> arrays for pooling or upsampling."""
    from torch.nn.functional import interpolate, max_pool2d

    call = (lambda X: interpolate(X, scale_factor=2)) if isinstance(what, UpSample) else (lambda X: max_pool2d(X, 2))
    return job_of(call, [channels_last(what.array())], [part != FORWARD], part)


def job_of(call, inputs, wanted, part):
    """Forward without a tape, or backward alone, again and again over a tape that is kept."""
    import torch

    if part == FORWARD:

        def forward():
            with torch.no_grad():
                return [call(*inputs)]

        return forward
    asked = [tensor.requires_grad_() for tensor, is_wanted in zip(inputs, wanted) if is_wanted]
    Y = call(*inputs)
    N, C, H, W = Y.shape
    gY = channels_last(numbers(N, H, W, C))
    return lambda: torch.autograd.grad(Y, asked, gY, retain_graph=True)


def channels_last(array):
    """An array (N, H, W, C) as PyTorch sees it, (N, C, H, W), in the same memory."""
    import torch

    return torch.from_numpy(array).permute(0, 3, 1, 2)


def as_here(tensor, is_weight):
    """A result in tinyae's order of axes: images (N, H, W, C), weights (kh, kw, in, out)."""
    if is_weight:
        return tensor.permute(2, 3, 1, 0).numpy()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()
