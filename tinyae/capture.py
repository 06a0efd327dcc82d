"""A training step as a list of calls, written down once and then repeated.

A step does the same to every batch: the same operations on arrays of the same shapes, then the same backward pass,
then the same update. Yet each time Python finds all this out anew: it runs the layers, records a tape, walks back
over it. For a small model that is a good part of a step. ``capture`` looks over a step's shoulder: while the
step runs once as ever, every call of a kernel is written down with its arguments, and the memory that it works on is
kept. From then on the list is gone through, with the new batch in place of the first one:

    clear gradients; dense layers forward, and the loss; backward; hand the gradients over; t += 1; Adam

No mathematics is in here, and none is changed: these are the same calls, so the numbers are the same to the last bit.

What a list of calls cannot repeat is noticed where it happens (``unrepeatable`` in ``context.py``): numbers that no
kernel has computed, a value that Python reads. Then the step runs as it is written, every time. So it does wherever
something is not as it was: another shape, another number of threads, a parameter's array that was replaced.

The idea is that of CUDA graphs, which note what a GPU is told to do: "Getting started with CUDA graphs" (Gray, 2019).
"""

import operator
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import NUMPY, kernels
from .context import capturing, layer_calls, recording, use
from .errors import DtypeError, brief
from .kernels.joining import joined
from .kernels.threads import get_num_threads
from .tape import add_gradients, births, clear_gradients
from .tensor import Tensor, wrap

KINDS = 16  # of arguments whose programs are kept; each has memory of its own


class CaptureWarning(UserWarning):
    """A captured step does something that cannot be repeated, and runs as it is written."""


def capture(step: Callable[..., Any]) -> "Captured":
    """Make a training step faster: note once what it does, and repeat only that.

    ::

        @ta.capture
        def step(x):
            optimizer.zero_grad()
            loss = ta.mse_loss(model(x), x)
            loss.backward()
            optimizer.step()
            return loss

        for x in ta.batches(images, 32):
            loss = step(x)

    Parameters
    ----------
    step : function of Tensors
        It must do the same to every batch, and get what differs from batch to batch as arguments. What it
        returns is a Tensor, a tuple of Tensors, or None.

    Returns
    -------
    Captured
        To be called as the function is. It gives Tensors that are not on the tape. The numbers are the same as the
        function's, to the last bit.

    The first call with arguments of some shapes runs the function as it is. The second does too, and notes what is
    done; the third runs the function beside the program, from the same state, and compares. (Where an argument is the
    same in both, the comparison waits for another one.) From then on Python code in the function is not run any more. A
    new ``optimizer.lr``, loaded weights, ``model.eval()`` count; what else changes outside of Tensors does not: another
    activation or layer, a ``print``, numbers that the function writes into arrays itself or keeps as arrays. Checks of
    values, such as that targets are in [0, 1], are made in the first calls only. If the function does what cannot be
    repeated (random numbers, ``loss.item()``, an operation without a kernel), a CaptureWarning says so once, and it
    goes on running as it is written.

    Raises
    ------
    DtypeError
        What is given is no function, or an argument is no Tensor.
    """
    if not callable(step):
        raise DtypeError(f"capture: {brief(step)} was given; expected a function that does a training step.")
    return Captured(step)


class Captured:
    """A function and, for each kind of arguments, the program that repeats it.

    Attributes
    ----------
    reason : str or None
        Why the function is not repeated, if it is not.
    """

    def __init__(self, function):
        self.function = function
        self.reason = None
        self.__name__, self.__doc__ = getattr(function, "__name__", "step"), function.__doc__
        self._programs = {}  # kind of arguments -> Program; None for those that were met once
        self._lock = threading.Lock()  # a program has one memory: a second thread runs the function

    def __get__(self, instance, owner=None):
        """The method of an instance: a Captured of its own, kept under a name that no attribute has."""
        if instance is None:
            return self
        kept, name = vars(instance), f"captured {id(self)}"
        if name not in kept:
            kept[name] = Captured(self.function.__get__(instance))
        return kept[name]

    def __reduce__(self):
        """A copy begins anew."""
        return Captured, (self.function,)

    def __call__(self, *arguments, **named):
        """What the function does and gives."""
        if named:
            raise DtypeError(f"capture: {self.__name__} was given {', '.join(named)} by name; give Tensors by place.")
        if capturing.get() is not None:  # a step within a step
            return each(lambda x: x.detach() if isinstance(x, Tensor) else x, self.function(*arguments))
        if self.reason is not None or layer_calls.get() is not None or not self._lock.acquire(blocking=False):
            return detached(self.function(*arguments))
        try:
            return self._run(arguments)
        finally:
            self._lock.release()

    def _run(self, arguments):
        kind = [kernels.get(), recording.get(), get_num_threads()]
        for x in arguments:
            if type(x) is not Tensor:
                raise DtypeError(
                    f"capture: {self.__name__} was given {brief(x)}, a {type(x).__name__}; expected Tensors, for "
                    "anything else would be the same in all repetitions. Wrap arrays in ta.Tensor(...)."
                )
            if x.backend is not NUMPY or x._needs_gradient or x._version.leaf:
                self._give_up(
                    "is given a tensor that asks for gradients, or shares the memory of one, or is on a device"
                )
                return detached(self.function(*arguments))
            if not (x.data.flags.c_contiguous and x.data.flags.aligned):  # not all kernels take it
                return detached(self.function(*arguments))
            kind += (x.data.shape, x.data.dtype)
        kind = tuple(kind)
        if kind not in self._programs:  # the first call compiles, and makes what is made only once
            if len(self._programs) == KINDS:
                del self._programs[next(iter(self._programs))]  # the oldest
            self._programs[kind] = None
            return detached(self.function(*arguments))
        program, arrays = self._programs[kind], [x.data for x in arguments]
        if program is not None and program.holds():
            new = [i for i in program.unchecked if not np.array_equal(arrays[i], program.inputs[i])]
            if new or (not arguments and not program.is_checked):
                return self._check(program, arguments, new)
            if not program.is_checked:  # the very batch that it was written with: nothing would be seen
                return detached(self.function(*arguments))
            program.repeat(arrays)
            return program.results()
        self._programs[kind] = None
        program = Program()
        results = program.write(self.function, [wrap(NUMPY.copy(x.data, x.dtype), NUMPY) for x in arguments])
        if program.reason is None:
            self._programs[kind] = program
        else:
            self._give_up(program.reason)
        return results

    def _check(self, program, arguments, new):
        """Run function and program from the same state; some arguments are new to the program."""
        before = program.snapshot()
        expected = detached(self.function(*arguments))
        after = program.snapshot()
        program.restore(before)
        program.repeat([x.data for x in arguments])
        results = program.results()
        if bits(results, program.snapshot()) == bits(expected, after):
            program.is_checked, program.unchecked = True, [i for i in program.unchecked if i not in new]
            return results
        program.restore(after)
        self._give_up("does something besides what tensors and optimizers do: without it the numbers differ", depth=5)
        return expected

    def _give_up(self, reason, depth=4):
        """From now on run the function, and say why, once."""
        self.reason, self._programs = reason, {}
        warnings.warn(
            f"capture: {self.__name__} cannot be repeated: it {reason}. It runs as it is written: the same results, "
            "without the gain in speed.",
            CaptureWarning,
            stacklevel=depth,
        )


def written(function, arrays):
    """Run a step that is known to do the same to every batch; its Program, or None if it cannot be repeated.

    It is given copies of the arrays.
    """
    program = Program()
    program.write(function, [array.copy() for array in arrays])
    return program if program.reason is None else None


class Program:
    """What one run of a step did, as a list of calls, and the memory that they work on.

    While it is written, the functions that begin with ``note`` are told what happens; then ``repeat`` does it again.
    """

    def __init__(self):
        self.actions = []  # (function, arguments): kernels, and what ``every_time`` was told
        self.kept = []  # buffers: to the kernels some are only addresses
        self.leaves = {}  # id of a tensor that the step found -> (the tensor, its array, whether it asks for gradients)
        self.made = {}  # id of a tensor that the step made -> weak reference
        self.updates = []  # (optimizer, the arrays of its state)
        self.idle = []  # parameters of optimizers that had no gradient
        self.reason = None  # why it cannot be repeated
        self.is_checked = False
        self.modes = []  # (module that was called, its mode)
        self.began = next(births)

    # ------------------------------------------------------------ to write it

    def write(self, function, inputs):
        """Run a function of Tensors or arrays that nobody else has, and note what it does; returns what it returns."""
        self.inputs = [x.data if type(x) is Tensor else x for x in inputs]
        self.unchecked = list(range(len(inputs)))  # of which arguments only one value was seen
        self.made = {id(x): weakref.ref(x) for x in inputs}
        with use(capturing, self):
            results = function(*inputs)
        made = [tensor for reference in self.made.values() if (tensor := reference()) is not None]
        if any(all(tensor is not x for x in inputs + listed(results)) for tensor in made):
            self.give_up("keeps a tensor that it computes; it can return it instead")
        if not all(isinstance(result, Tensor) for result in listed(results)):
            kinds = ", ".join(sorted({type(result).__name__ for result in listed(results)}))
            self.give_up(f"returns {kinds}; expected a Tensor, a tuple of Tensors or None")
            return detached(results)
        self.note_gradients()
        self.outputs = each(lambda tensor: tensor.data, results)
        self.kept += self.actions  # what is left out below had memory that is still worked on
        calls = joined(self.actions, listed(self.outputs))
        self.actions = [(getattr(action, "function", action), list(given)) for action, given in calls]
        self.find_inputs()
        self.uses = [self.uses_of(gradient) for _, gradient in self.gradients]
        return self.results()

    def uses_of(self, gradient):
        """How often the noted calls hold an array, themselves or by a view of it."""
        noted = [kept for kept in self.kept if type(kept) is tuple]
        arrays = [x for _, given in [*noted, *self.actions] for x in given if type(x) is np.ndarray]
        return sum(x is gradient for x in arrays) + len({id(x) for x in arrays if x.base is gradient})

    def note_gradients(self):
        """Which tensors got one, and which of these were not cleared before."""
        self.gradients, self.added_to, cleared = [], [], set()
        for action, given in self.actions:
            if action is clear_gradients:
                cleared.update(map(id, given[0]))
            elif action is add_gradients:
                self.gradients += given[0]
                self.added_to += [tensor for tensor, _ in given[0] if id(tensor) not in cleared]
                if any(id(t) not in cleared and t.grad is not None and t.grad is not g for t, g in given[0]):
                    self.give_up("adds to the gradients of the step before; begin it with zero_grad()")
        # who may hold a gradient, shown by an array of the same standing that nobody else can have
        unknown = np.empty(1)
        self.kept += [unknown]
        self.gradients.append((Tensor(0.0), unknown))
        self.group = [unknown]

    def find_inputs(self):
        """Where the step's own arguments are among those of the calls, as arrays or as addresses."""
        self.slots = []  # (arguments of a call, position, number of the input, its shape there or None for its address)
        for i, array in enumerate(self.inputs):
            address = NUMPY.address(array)
            if any(np.may_share_memory(array, output) for output in listed(self.outputs)):
                self.give_up("returns a tensor that it was given")
            for _, given in self.actions:
                for k, x in enumerate(given):
                    if type(x) is int and x == address:
                        self.slots.append((given, k, i, None))
                    elif type(x) is np.ndarray and np.may_share_memory(x, array):
                        self.slots.append((given, k, i, x.shape))
                        if x.size != array.size:
                            self.give_up("gives a part of an argument to a kernel")
                    elif type(x) is np.ndarray and x.dtype == np.int64 and (x == address).any():
                        self.give_up("uses an argument as a layer's parameter")

    def give_up(self, reason):
        """Note why this cannot be repeated: the first reason that is met."""
        self.reason = self.reason or reason

    def note(self, op, inputs, result):
        """An operation was applied."""
        if not op.repeatable:
            self.give_up(f"applies the operation {op.name}, for which there is no kernel, or too little to do for one")
        elif op.view and result._version is not inputs[0]._version:
            self.give_up(f"applies the operation {op.name} to an array that must be copied for it")
        for x in inputs:
            if type(x) is Tensor and ((made := self.made.get(id(x))) is None or made() is not x):
                self.leaves[id(x)] = x, x.data, x._needs_gradient
        self.note_made(result)

    def note_made(self, tensor):
        """The step made a tensor."""
        self.made[id(tensor)] = weakref.ref(tensor)

    def note_backward(self, nodes):
        """A backward pass begins."""
        for node in nodes:
            if not node.op.repeatable or node.birth < self.began:
                self.give_up(f"goes back through {node!r}, which no kernel of this step computed")

    def note_update(self, optimizer, pairs):
        """An optimizer is about to update every (parameter, state)."""
        own = {id(g) for action, given in self.actions if action is add_gradients for _, g in given[0]}
        for tensor, _ in pairs:
            self.leaves[id(tensor)] = tensor, tensor.data, tensor._needs_gradient
            if id(tensor.grad) not in own:
                self.give_up("updates a parameter by a gradient that backward() has not given it so in this step")
        updated = {id(tensor) for tensor, _ in pairs}
        self.idle += [tensor for tensor in optimizer.params if id(tensor) not in updated]
        self.updates.append((optimizer, arrays_of(optimizer)))

    def note_module(self, module):
        """A module was called."""
        self.modes.append((module, module.training))

    # ------------------------------------------------------------ to repeat it

    def references(self):
        """How many hold each gradient, besides the tensor that it is the gradient of and the calls that compute it."""
        return [
            sys.getrefcount(gradient) - (tensor.grad is gradient) - uses
            for (tensor, gradient), uses in zip(self.gradients, self.uses)
        ]

    def holds(self):
        """Are the arrays still those that it was written for, and the gradients nobody else's?"""
        for tensor, array, asks in self.leaves.values():
            if tensor.data is not array or tensor._needs_gradient is not asks:
                return False
        for optimizer, arrays in self.updates:
            if not all(map(operator.is_, arrays, arrays_of(optimizer))):
                return False
        if any(tensor.grad is not None for tensor in [*self.added_to, *self.idle]):
            return False
        if any(module.training is not mode for module, mode in self.modes):
            return False
        *shares, nobodys = self.references()
        return max(shares, default=0) <= nobodys

    def repeat(self, inputs):
        """Do it again, to other arrays."""
        inputs = [array if array.flags.carray else np.require(array, requirements="CAW") for array in inputs]
        addresses = [NUMPY.address(array) for array in inputs]
        for given, k, i, shape in self.slots:
            given[k] = addresses[i] if shape is None else inputs[i].reshape(shape)
        for action, given in self.actions:
            action(*given)

    def results(self):
        """What the step returned, in memory of their own."""
        return each(lambda array: wrap(array.copy(), NUMPY), self.outputs)

    # ------------------------------------------------------------ to check it

    def snapshot(self):
        """Copies of all that the step may change."""
        tensors = [(t.data.copy(), None if t.grad is None else t.grad.copy()) for t, _, _ in self.leaves.values()]
        return tensors, [(o.t, o.settings(), [array.copy() for array in arrays_of(o)]) for o, _ in self.updates]

    def restore(self, snapshot):
        """Go back to a ``snapshot()``."""
        tensors, optimizers = snapshot
        for (tensor, array, _), (data, gradient) in zip(self.leaves.values(), tensors):
            array[...], tensor.grad = data, gradient
        for (optimizer, arrays), (t, settings, state) in zip(self.updates, optimizers):
            optimizer.t = t
            for name, value in settings.items():
                setattr(optimizer, name, value)
            for array, values in zip(arrays, state):
                array[...] = values


# ---------------------------------------------------------------- what goes in and comes out


def listed(results):
    """What a step returns, as a list."""
    if results is None:
        return []
    return list(results) if isinstance(results, (tuple, list)) else [results]


def each(function, results):
    """What a step returns, with a function applied to every part of it."""
    if isinstance(results, (tuple, list)):
        return tuple(function(part) for part in results)
    return None if results is None else function(results)


def detached(results):
    """What a step returns, off the tape and in memory of its own."""
    return each(
        lambda result: wrap(result.data.copy(), result.backend) if isinstance(result, Tensor) else result, results
    )


def arrays_of(optimizer):
    """The arrays of its state, in order."""
    return [array for state in optimizer.state for array in state.values()]


def bits(results, snapshot):
    """All numbers that a step has made, to be compared; NaN equals NaN."""
    tensors, optimizers = snapshot
    arrays = [result.data for result in listed(results)] + [array for pair in tensors for array in pair]
    arrays += [array for _, _, state in optimizers for array in state]
    numbers = [None if array is None else array.tobytes() for array in arrays]
    return numbers, [(t, settings) for t, settings, _ in optimizers]
