"""How the tests of the GPU's twins run one on the emulated GPU, beside the operation it stands for."""

import contextlib
from unittest import mock

import numpy as np

import tinyae as ta
from tinyae.apply import apply
from tinyae.kernels import gpu_dense, gpu_launching
from tinyae.tensor import wrap

from .strict_device import DeviceArray, StrictBackend
from .twins import alike

ODD = [[np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf, np.inf]]


def placed(device, array):
    """The array on the device; the stand-in keeps its layout."""
    if array.flags.c_contiguous or not isinstance(device, StrictBackend):
        return device.asarray(array)
    return DeviceArray(array)


def run(device, which, op, arrays, needed=None, cotangent=None, **attributes):
    """[output, gradient of each input or None] as NumPy arrays, with kernels or without."""
    needed = needed or [a is not None and a.dtype.kind == "f" for a in arrays]
    with ta.use_kernels(which):
        inputs = [wrap(placed(device, a), device) for a in arrays]
        for x, wanted in zip(inputs, needed):
            x.requires_grad = wanted
        y = apply(op, *inputs, **attributes)
        assert y._node.op is (device.twin(op) if which == "fast" else op)
        y.backward(cotangent if cotangent is None else wrap(placed(device, np.asarray(cotangent, y.dtype)), device))
    assert y.dtype == arrays[0].dtype
    return [device.to_host(y.data), *(None if x.grad is None else device.to_host(x.grad) for x in inputs)]


def compare(device, op, arrays, needed=None, cotangent=None, floor=1.0, exact=False, **attributes):
    """The kernel's numbers against the definition's; ``floor``: the size of the terms that may cancel."""
    fast, plain = (run(device, which, op, arrays, needed, cotangent, **attributes) for which in ("fast", "reference"))
    alike(fast, plain, floor, exact)
    return fast


@contextlib.contextmanager
def few_blocks(count):
    """So many blocks at most, so that each has much to do, as with large arrays."""
    with mock.patch.multiple(gpu_launching, MOST_BLOCKS=count), mock.patch.object(gpu_dense, "MOST_BLOCKS", count):
        yield
