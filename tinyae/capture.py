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

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import NUMPY, kernels, matmul_precision
from .context import layer_calls, observing, recording
from .errors import BackendError, DtypeError, brief, warn
from .graph import GraphProgram
from .kernels.threads import get_num_threads
from .program import Program, detached, each
from .tensor import Tensor, wrap

IN_VAIN = 12  # times in a row that a step is prepared for a repetition and then finds something changed
IN_VAIN_BECAUSE = (
    "finds something changed every time: another mode, other arrays, gradients that somebody keeps, or some that were not "
    "cleared by zero_grad()"
)
KINDS = 16  # of arguments whose programs are kept; each has memory of its own


class CaptureWarning(UserWarning):
    """A captured step does something that cannot be repeated, and runs as it is written."""


def capture(step: Callable[..., Any], *example_batch: Tensor) -> "Captured":
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
    example_batch : Tensors, optional
        Arguments of the shapes to come, on a GPU: then the graph is made now, and weights, optimizer and random numbers
        are afterwards as they were. Without them, or on the CPU, the first calls make it.

    Returns
    -------
    Captured
        To be called as the function is. It gives Tensors that are not on the tape. The numbers are the same as the
        function's, to the last bit.

    The first call with arguments of some shapes runs the function as it is. The second does too, and notes what is
    done; the third runs the function beside the program, from the same state, and compares. (Where an argument is the
    same in both, the comparison waits for another one.) From then on Python code in the function is not run any more. A
    new ``optimizer.lr``, loaded weights, another Tensor as a weight, ``model.eval()`` count; what else changes outside of
    Tensors does not: another activation or layer, a ``print``, numbers that the function writes into arrays itself or keeps
    as arrays. Checks of values, such as that targets are in [0, 1], are made in the first calls only. If the function does
    what cannot be repeated (random numbers, ``loss.item()``, an operation without a kernel), a CaptureWarning says so
    once, and it goes on running as it is written.

    On a GPU the step becomes a CUDA graph (``graph.py``): any operation can be repeated, with a kernel of ours or not, and
    random numbers too; reading a value or bringing an array from the host cannot. There the third call runs the function
    twice, for to make the graph its Python code is run, while the GPU only takes notes; a ``print`` in it is seen twice.

    Raises
    ------
    DtypeError
        What is given is no function, or an argument is no Tensor.
    BackendError
        Arguments on different backends.
    """
    if not callable(step):
        raise DtypeError(f"capture: {brief(step)} was given; expected a function that does a training step.")
    captured = Captured(step)
    if example_batch:
        captured.prepare(*example_batch)
    return captured


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
        self._in_vain = 0  # see IN_VAIN
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
        if observing.get() is not None:  # a step within a step
            return each(lambda x: x.detach() if isinstance(x, Tensor) else x, self.function(*arguments))
        if self.reason is not None or layer_calls.get() is not None or not self._lock.acquire(blocking=False):
            return detached(self.function(*arguments))
        try:
            return self._run(arguments)
        finally:
            self._lock.release()

    def prepare(self, *arguments):
        """Make the graph for arguments of these shapes, and leave all else as it is; on the CPU there is nothing to prepare."""
        kind = self._kind(arguments)
        if self._place(arguments) is NUMPY or kind is None:
            return
        with self._lock:
            program = GraphProgram(arguments[0].backend)
            program.rehearse(self.function, copies(arguments), only=True)
            if self._keep(kind, program):
                before = program.snapshot()
                try:
                    self._record(kind, program, arguments)
                finally:
                    program.restore(before)

    def _place(self, arguments):
        """The backend of the arguments."""
        for x in arguments:
            if type(x) is not Tensor:
                raise DtypeError(
                    f"capture: {self.__name__} was given {brief(x)}, a {type(x).__name__}; expected Tensors, for "
                    "anything else would be the same in all repetitions. Wrap arrays in ta.Tensor(...)."
                )
            if x.backend is not arguments[0].backend:
                raise BackendError(
                    f"capture: {self.__name__} was given tensors on the backends '{arguments[0].backend.name}' and "
                    f"'{x.backend.name}'. Arrays do not move by themselves: bring them together with .to(...)."
                )
        return arguments[0].backend if arguments else NUMPY

    def _kind(self, arguments):
        """What must be the same for a program to be used again; None for arguments that cannot be repeated."""
        kind = [kernels.get(), recording.get(), get_num_threads(), matmul_precision.get(), self._place(arguments)]
        for x in arguments:
            if x._needs_gradient or x._version.leaf:
                self._give_up("is given a tensor that asks for gradients, or shares the memory of one")
                return None
            # not all kernels take it; of arrays on a device a copy is made anyway
            if x.backend is NUMPY and not (x.data.flags.c_contiguous and x.data.flags.aligned):
                return None
            kind += (x.data.shape, x.data.dtype)
        return tuple(kind)

    def _run(self, arguments):
        kind = self._kind(arguments)
        if kind is None:
            return detached(self.function(*arguments))
        if kind not in self._programs:  # the first call compiles, and makes what is made only once
            if len(self._programs) == KINDS:
                del self._programs[next(iter(self._programs))]  # the oldest
            self._programs[kind] = None
            return detached(self.function(*arguments))
        program, arrays = self._programs[kind], [x.data for x in arguments]
        if program is not None and program.holds():
            if program.is_graph and program.graph is None:
                return self._record(kind, program, arguments)
            new = [i for i in program.unchecked if not np.array_equal(arrays[i], program.inputs[i])]
            if new or (not arguments and not program.is_checked):
                results = self._compare(program, arguments)
                program.unchecked = [i for i in program.unchecked if i not in new]
                return results
            if not program.is_checked:  # the very batch that it was written with: nothing would be seen
                return detached(self.function(*arguments))
            self._in_vain = 0
            program.repeat(arrays)
            return program.results()
        self._in_vain += program is not None
        if self._in_vain > IN_VAIN:
            self._give_up(IN_VAIN_BECAUSE)
            return detached(self.function(*arguments))
        self._programs[kind] = None
        given = copies(arguments)
        if self._place(arguments) is NUMPY:
            program = Program()
            results = program.write(self.function, given)
        else:
            program = GraphProgram(arguments[0].backend)
            results = detached(program.rehearse(self.function, given))
        for x, copy in zip(arguments, given):
            if copy._version.count:  # the function has changed it in place
                x.data[...] = copy.data
                x.mark_changed()
        self._keep(kind, program)
        return results

    def _keep(self, kind, program):
        """Keep a program if the step can be repeated; else say why not."""
        if program.reason is None:
            self._programs[kind] = program
        else:
            self._give_up(program.reason)
        return program.reason is None

    def _record(self, kind, program, arguments):
        """Make the graph of a rehearsed step, and keep it if it gives what the function gives; returns the results."""
        recorded = program.recorded(self.function, copies(arguments))
        if recorded.reason is not None:
            self._give_up(recorded.reason)
            return detached(self.function(*arguments))
        results = self._compare(recorded, arguments)
        if self.reason is None:
            self._programs[kind] = recorded
        return results

    def _compare(self, program, arguments):
        """Repeat the program, then run the function from the same state: that counts, and must give the same."""
        before = program.snapshot()
        program.repeat([x.data for x in arguments])
        results, after = program.results(), program.snapshot()
        program.restore(before)
        expected = detached(self.function(*arguments))
        if program.bits(results, after) != program.bits(expected, program.snapshot()):
            self._give_up("does something besides what tensors and optimizers do: without it the numbers differ")
        program.is_checked = True
        return expected

    def _give_up(self, reason):
        """From now on run the function, and say why, once."""
        self.reason, self._programs = reason, {}
        warn(
            f"capture: {self.__name__} cannot be repeated: it {reason}. It runs as it is written: the same results, "
            "without the gain in speed.",
            CaptureWarning,
        )


def copies(tensors):
    """Tensors of the same numbers, in memory of their own."""
    return [wrap(x.backend.copy(x.data, x.dtype), x.backend) for x in tensors]
