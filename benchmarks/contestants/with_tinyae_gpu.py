"""tinyae on a GPU: the loops and the ``fit`` of ``with_tinyae.py``, with model and data on the device.

What is added tells the parts of a step apart: ``issue`` asks for steps without waiting for them.
"""

import warnings

import tinyae as ta

from ..gpu import device
from ..gpu.clock import clock_of
from .with_tinyae import TinyaeCaptured, TinyaeFit, TinyaeLoop


class OnDevice:
    """What all three share."""

    precision = "float32"
    backend = property(lambda self: device.BACKEND)

    @classmethod
    def use_precision(cls, precision):
        """Of matrix products and convolutions, for this process: "float32" or "tf32". Fails if there is no GPU."""
        device.backend()
        ta.set_matmul_precision(precision)
        cls.precision = precision

    def issue(self, steps):
        """Ask for so many steps; they may not be done when it returns."""
        super().run(steps)

    def run(self, steps):
        self.issue(steps)
        device.backend().synchronize()

    def milliseconds(self, steps):
        return clock_of(device.backend()).milliseconds(lambda: self.issue(steps))

    @classmethod
    def about(cls):
        found = super().about()
        return {
            "versions": {**found["versions"], **device.versions()},
            "threads": "one, and the GPU's",
            "precision": f"ta.set_matmul_precision({cls.precision!r}); timed by {clock_of(device.backend()).name}",
        }


class GpuLoop(OnDevice, TinyaeLoop):
    """The hand-written loop: each operation is launched by Python."""


class GpuCaptured(OnDevice, TinyaeCaptured):
    """The same with its step captured: after the first calls one CUDA graph is replayed."""


class GpuFit(OnDevice, TinyaeFit):
    """``fit``, the data being on the device; an error if its steps do not become graphs."""

    def issue(self, steps):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ta.CaptureWarning)
            super().issue(steps)
