"""The optimizers' steps on the GPU: one launch for all parameters, by ``cuda/updates.cu``.

A launch that a CUDA graph has noted is repeated with the arguments that it had. So what changes from step to step is
no argument but stands on the device: how many updates were made, and the settings. The host keeps a
list of what stands there and writes only what it finds changed: in a training with a constant learning rate, nothing.
"""

import weakref

import numpy as np

from .. import optim
from ..backend import FLOATS
from ..context import every_time
from ..errors import BackendError
from .gpu_launching import LOAD, MOST_BLOCKS

MOST, THREADS, NUMBERS = 32, 128, 7  # as in updates.cu

UPDATES = {  # algorithm: (its kernel, the settings that stand on the device)
    optim.GradientDescent: ("sgd", lambda o: (o.lr, 0)),
    optim.SGD: ("sgd", lambda o: (o.lr, o.weight_decay)),
    optim.Momentum: ("momentum", lambda o: (o.lr, o.momentum, o.nesterov, o.weight_decay)),
    optim.AdaGrad: ("adagrad", lambda o: (o.lr, o.eps)),
    optim.RMSProp: ("rmsprop", lambda o: (o.lr, o.rho, o.eps)),
    optim.Adam: ("adam", lambda o: (o.lr, *o.betas, o.eps, o.weight_decay)),
}

PARAMETERS = np.dtype(
    [
        ("theta", np.uint64, MOST),
        ("g", np.uint64, MOST),
        ("state", np.uint64, (2, MOST)),
        ("size", np.int64, MOST),
        ("first", np.int64, MOST + 1),
        ("count", np.int64),
    ],
    align=True,
)
VALUES = np.dtype([("values", np.float64, NUMBERS)], align=True)


class Numbers:
    """How many updates were made, and the settings: on the device, and what the host knows of it.

    The array on the device stays the same as long as the optimizer is there, for captured graphs know its address.
    """

    def __init__(self, backend):
        self.backend = backend
        self.array = backend.empty((NUMBERS,), np.float64)
        self.known = None  # what stands there, as (updates made, settings...)

    def set(self, t, settings):
        """Make it stand there that t updates were made, with these settings for the next one."""
        wanted = (t, *settings)
        if self.known != wanted:
            if self.backend.is_capturing:  # they would be constants of the graph
                raise BackendError("capture: the settings of an optimizer change in the middle of the step.")
            given = np.zeros(1, VALUES)
            given["values"][0, : len(wanted)] = wanted
            self.backend.launch("updates", "set_numbers", np.float32, 1, 1, self.array, given)
            self.known = wanted

    def refresh(self, optimizer):
        """Before an update that ``optimizer.t`` already counts; the device will count it itself."""
        settings = UPDATES[type(optimizer)][1](optimizer)
        self.set(optimizer.t - 1, settings)
        self.known = (optimizer.t, *settings)


class Places:
    """Where the arrays of an update are on the device; asked for again only when one of them is another array.

    Parameters and state are held here. Of gradients there are only weak references, or their memory would be taken twice.
    Those of an ordinary step are new arrays each time: then only their addresses are written anew.
    """

    def __init__(self, pairs, before=None):
        self.backend, dtype = pairs[0][0].backend, pairs[0][0].dtype
        known = isinstance(before, Places) and before.backend is self.backend
        self.numbers = before.numbers if known else Numbers(self.backend)
        self.dtype = np.dtype(dtype)
        self.kept = [array for tensor, state in pairs for array in (tensor.data, *state.values())]
        self.fit = self.dtype in FLOATS and all(self.fits(array) for array in self.kept)
        self.count = len(pairs)
        self.gradients, self.gradients_fit = [], False
        self.launches = []  # (arguments by value, blocks) for each MOST parameters
        if self.fit:
            self.launches = [self.launch_of(pairs[i : i + MOST]) for i in range(0, len(pairs), MOST)]

    def __reduce__(self):
        return type(None), ()  # a copy of the optimizer, or an unpickled one, looks for itself

    def fits(self, array):
        """Is it one that the kernels take?"""
        return isinstance(array, self.backend.array_type) and array.dtype == self.dtype and array.flags.c_contiguous

    def launch_of(self, pairs):
        """What a launch is told of these, but for the gradients; and how many blocks it has."""
        given, address = np.zeros(1, PARAMETERS), self.backend.address
        row, chunk, first = given[0], THREADS * LOAD // self.dtype.itemsize, 0
        for i, (tensor, state) in enumerate(pairs):
            row["theta"][i], row["size"][i], row["first"][i] = address(tensor.data), tensor.size, first
            for k, array in enumerate(state.values()):
                row["state"][k, i] = address(array)
            first += -(-tensor.size // chunk)
        row["first"][len(pairs)], row["count"] = first, len(pairs)
        return given, min(first, MOST_BLOCKS)

    def hold(self, pairs):
        """Are these still the parameters and the state?"""
        if len(pairs) != self.count:
            return False
        kept = iter(self.kept)
        for tensor, state in pairs:
            if tensor.data is not next(kept, None):
                return False
            for array in state.values():
                if array is not next(kept, None):
                    return False
        return True

    def find_gradients(self, pairs):
        """Write down where they are, if they are others than before; False if the kernels do not take them."""
        gradients = [tensor.grad for tensor, _ in pairs]
        if self.gradients and all(known() is gradient for known, gradient in zip(self.gradients, gradients)):
            return self.gradients_fit
        self.gradients = [weakref.ref(gradient) for gradient in gradients]
        self.gradients_fit = all(self.fits(gradient) for gradient in gradients)
        if self.gradients_fit:
            addresses = [self.backend.address(gradient) for gradient in gradients]
            for i, (given, blocks) in enumerate(self.launches):
                given = given.copy()  # a launch that was noted keeps what it was given
                given["g"][0, : given["count"][0]] = addresses[i * MOST : (i + 1) * MOST]
                self.launches[i] = given, blocks
        return self.gradients_fit

    def prepare(self, optimizer):
        """Make everything stand on the device that the next update needs, as before a graph is captured.

        While a stream is captured nothing is run, so nothing may be written either.
        """
        self.numbers.set(optimizer.t, UPDATES[type(optimizer)][1](optimizer))

    def forget(self):
        """An update was announced that then was not made: what stands on the device is not known."""
        self.numbers.known = None


def update_all(optimizer, pairs):
    """One step of every (parameter, state) in one launch; False if they are not all of one type and contiguous."""
    places = optimizer.places
    if not isinstance(places, Places) or not places.hold(pairs):
        places = optimizer.places = Places(pairs, places)
    if not places.fit or not places.find_gradients(pairs):
        return False
    numbers, backend = places.numbers, places.backend
    every_time(numbers.refresh, optimizer)
    kernel, last = UPDATES[type(optimizer)][0], places.launches[-1]
    for launch in places.launches:
        arguments = launch[0], numbers.array, launch is last, backend.ticket()
        backend.launch("updates", kernel, places.dtype, launch[1], THREADS, *arguments)
    return True


TWINS: dict[object, object] = dict.fromkeys(UPDATES, update_all)
