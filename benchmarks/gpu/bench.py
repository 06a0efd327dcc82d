"""What the processes of ``gpu`` can be asked besides what those of ``peers`` can."""

import time

import numpy as np

from ..architectures import initial_weights
from ..cases import shaped
from ..contestants.gpu_names import GPU_CONTESTANTS
from ..contestants.worker import Bench
from .clock import LAUNCHES

TRANSFERS = 5  # of each size


class GpuBench(Bench):
    """A contestant's process. Who runs on the GPU fails at ``use_precision`` if there is none, and says why."""

    contestants = GPU_CONTESTANTS

    def use_precision(self, precision):
        """Of all matrix products from here on, "float32" or "tf32"."""
        make = self.load()
        if hasattr(make, "use_precision"):  # on the CPU there is only one
            make.use_precision(precision)

    def device(self):
        """Which GPU it is."""
        from .device import description

        return description()

    # ---------------------------------------------------------------- parts of a step

    def apart(self, case, rounds):
        """{"launch": [ms per step, one per round], "kernels": [...]}, the second empty if it cannot be told."""
        from . import device
        from .clock import clock_of

        contestant, clock = self.prepared[case], clock_of(device.backend())
        contestant.run(case.lengths.warm_up)
        found = {"launch": [], "kernels": []}
        for _ in range(rounds):
            found["launch"].append(clock.launch_milliseconds(lambda: contestant.issue(LAUNCHES)) / LAUNCHES)
            kernels = clock.kernel_milliseconds(lambda: contestant.issue(LAUNCHES))
            if kernels is not None:
                found["kernels"].append(kernels / LAUNCHES)
        return found

    def not_captured(self, case):
        """Why a step that should be captured runs as it is written, or None."""
        return getattr(getattr(self.prepared[case], "captured", None), "reason", None)

    def transfer(self, count):
        """Bytes of so many images, and [ms] that it took to bring them to the device, again and again."""
        from . import device
        from .clock import clock_of

        self.load()
        backend, images = device.backend(), np.ascontiguousarray(self.images[:count])
        clock = clock_of(backend)
        clock.milliseconds(lambda: backend.asarray(images))
        return images.nbytes, [clock.milliseconds(lambda: backend.asarray(images)) for _ in range(TRANSFERS)]

    # ---------------------------------------------------------------- from the start

    def first_steps(self, case, steps):
        """{what: ms} of a new process: data and model (on a GPU, CuPy's and CUDA's start with them), the first step, some more."""
        self.images = np.load(self.path)[: case.images]  # before the first look at the clock: no part of a training
        make = self.load()
        times = [time.perf_counter()]
        images = shaped(self.images, case.model.shape)
        contestant = make(case.model, initial_weights(case.model.layers), images, case.batch)
        times.append(time.perf_counter())
        contestant.run(1)
        times.append(time.perf_counter())
        contestant.run(steps)
        times.append(time.perf_counter())
        names = "data and model", "first step", f"next {steps} steps"
        return {name: 1e3 * (end - start) for name, start, end in zip(names, times, times[1:])}

    # ---------------------------------------------------------------- epochs

    def prepare_fit(self, model, images, batch):
        """Bring so many images to the device, to be trained on by ``fit``; returns how many there are."""
        make = self.load()
        rows = shaped(self.images[:images], model.shape)
        self.fitting = make(model, initial_weights(model.layers), rows, batch)
        return len(rows)

    def fit_milliseconds(self, epochs):
        """Of a whole call of ``fit``."""
        started = time.perf_counter()
        self.fitting.fit(self.fitting.images, epochs)
        return 1e3 * (time.perf_counter() - started)
