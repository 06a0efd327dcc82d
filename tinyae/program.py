"""What one run of a step did, so that it can be done again: a list of calls of kernels, and the memory they work on.

``capture.py`` says when it is written and when repeated. What a GPU was told is not a list of calls, but a graph: that
is in ``graph.py``.
"""

import operator
import sys
import weakref

import numpy as np

from .backend import NUMPY
from .context import observing, use
from .kernels.joining import joined
from .observer import Observer
from .tape import add_gradients, births, clear_gradients
from .tensor import Tensor, wrap

NOT_TENSORS = object()  # what a step has returned


def written(function, arrays):
    """Run a step that is known to do the same to every batch; its Program, or None if it cannot be repeated.

    It is given copies of the arrays.
    """
    program = Program()
    program.write(function, [array.copy() for array in arrays])
    return program if program.reason is None else None


class Program(Observer):
    """What one run of a step did, as a list of calls, and the memory that they work on.

    While it is written, the functions that begin with ``note`` are told what happens; then ``repeat`` does it again.
    """

    backend = NUMPY

    def __init__(self):
        self.actions = []  # (function, arguments): kernels, and what ``every_time`` was told
        self.kept = []  # buffers: to the kernels some are only addresses
        self.leaves = {}  # id of a tensor that the step found -> (the tensor, its array, whether it asks for gradients)
        self.made = {}  # id of a tensor that the step made -> weak reference
        self.updates = []  # (optimizer, the arrays of its state, its parameters)
        self.idle = []  # parameters of optimizers that had no gradient
        self.reason = None  # why it cannot be repeated
        self.is_checked = False
        self.outputs = NOT_TENSORS
        self.modes = []  # (module that was called, its mode)
        self.attributes = {}  # id of a module -> (its attributes, those of them that are tensors)
        self.began = next(births)

    # ------------------------------------------------------------ to write it

    def write(self, function, inputs):
        """Run a function of Tensors or arrays that nobody else has, and note what it does; returns what it returns."""
        results = self.run(function, inputs)
        if self.outputs is NOT_TENSORS:
            return detached(results)
        self.kept += self.actions  # what is left out below had memory that is still worked on
        calls = joined(self.actions, listed(self.outputs))
        self.actions = [(getattr(action, "function", action), list(given)) for action, given in calls]
        self.find_inputs()
        self.uses = [self.uses_of(gradient) for _, gradient in self.gradients]
        return self.results()

    def run(self, function, inputs):
        """Run it while all that happens is noted, and look at what comes of it: outputs and gradients."""
        self.inputs = [x.data if type(x) is Tensor else x for x in inputs]
        self.unchecked = list(range(len(inputs)))  # of which arguments only one value was seen
        self.made = {id(x): weakref.ref(x) for x in inputs}
        with use(observing, self):
            results = function(*inputs)
        made = [tensor for reference in self.made.values() if (tensor := reference()) is not None]
        if any(all(tensor is not x for x in inputs + listed(results)) for tensor in made):
            self.give_up("keeps a tensor that it computes; it can return it instead")
        if any(type(x) is Tensor and x._version.count for x in inputs):
            self.give_up("changes an argument in place")
        if not all(isinstance(result, Tensor) for result in listed(results)):
            kinds = ", ".join(sorted({type(result).__name__ for result in listed(results)}))
            self.give_up(f"returns {kinds}; expected a Tensor, a tuple of Tensors or None")
            return results
        self.note_gradients()
        self.outputs = each(lambda tensor: tensor.data, results)
        return results

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

    def can_repeat(self, op):
        """Is all that the operation does to numbers repeated?"""
        return op.repeatable

    def do(self, function, arguments):
        """Call what is to be called in every repetition."""
        self.actions.append((function, arguments))
        with use(observing, None):
            return function(*arguments)

    def keep(self, arrays):
        self.kept += arrays

    def note_kernel(self, kernel, arguments):
        """A kernel for the CPU is about to run."""
        self.actions.append((kernel, arguments))

    def note_result(self, op, inputs, result, node):
        """An operation was applied."""
        if not self.can_repeat(op):
            self.give_up(f"applies the operation {op.name}, for which there is no kernel, or too little to do for one")
        elif op.view and result._version is not inputs[0]._version:
            self.give_up(f"applies the operation {op.name} to an array that must be copied for it")
        if result.backend is not self.backend:
            self.give_up(f"computes on the backend '{result.backend.name}', but was given no tensor there")
        self.note_tensors(inputs, result)

    def note_tensors(self, inputs, result):
        """Which tensors an operation found, and that it made one."""
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
            if not self.can_repeat(node.op) or node.birth < self.began:
                self.give_up(f"goes back through {node!r}, which no kernel of this step computed")

    def note_update(self, optimizer, pairs):
        """An optimizer is about to update every (parameter, state)."""
        for tensor, _ in pairs:
            self.leaves[id(tensor)] = tensor, tensor.data, tensor._needs_gradient
            if not self.is_own(tensor):
                self.give_up("updates a parameter by a gradient that backward() has not given it so in this step")
        updated = {id(tensor) for tensor, _ in pairs}
        self.idle += [tensor for tensor in optimizer.params if id(tensor) not in updated]
        self.updates.append((optimizer, arrays_of(optimizer), list(optimizer.params)))

    def is_own(self, tensor):
        """Has backward() given a tensor its gradient in this step?"""
        given = (pair for action, given in self.actions if action is add_gradients for pair in given[0])
        return any(gradient is tensor.grad for _, gradient in given)

    def note_module(self, module):
        """A module was called; what tensors do it and its parts have?"""
        self.modes.append((module, module.training))
        for part in module.modules():
            tensors = {name: x for name, x in vars(part).items() if isinstance(x, Tensor)}
            if tensors:
                self.attributes[id(part)] = vars(part), tensors

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
        for optimizer, arrays, params in self.updates:
            if not same(arrays, arrays_of(optimizer)) or not same(params, optimizer.params):
                return False
        if any(tensor.grad is not None for tensor in [*self.added_to, *self.idle]):
            return False
        if any(module.training is not mode for module, mode in self.modes):
            return False
        for attributes, tensors in self.attributes.values():
            if any(attributes.get(name) is not tensor for name, tensor in tensors.items()):
                return False
        return self.nobody_else_holds_gradients()

    def nobody_else_holds_gradients(self):
        """A repetition writes over them."""
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
        return each(lambda array: wrap(array.copy(), self.backend), self.outputs)

    # ------------------------------------------------------------ to check it

    def snapshot(self):
        """Copies of all that the step may change."""
        tensors = [(t.data.copy(), None if t.grad is None else t.grad.copy()) for t, _, _ in self.leaves.values()]
        optimizers = [(o.t, o.settings(), [array.copy() for array in arrays_of(o)]) for o, *_ in self.updates]
        return tensors, optimizers, None

    def restore(self, snapshot):
        """Go back to a ``snapshot()``."""
        tensors, optimizers, *_ = snapshot
        for (tensor, array, _), (data, gradient) in zip(self.leaves.values(), tensors):
            array[...], tensor.grad = data, gradient
        for (optimizer, arrays, _), (t, settings, state) in zip(self.updates, optimizers):
            optimizer.t = t
            for name, value in settings.items():
                setattr(optimizer, name, value)
            for array, values in zip(arrays, state):
                array[...] = values

    def bits(self, results, snapshot):
        """All numbers that a step has made, to be compared; NaN equals NaN."""
        tensors, optimizers, drawn = snapshot
        arrays = [result.data for result in listed(results)] + [array for pair in tensors for array in pair]
        arrays += [array for _, _, state in optimizers for array in state]
        numbers = [None if array is None else self.backend.to_host(array).tobytes() for array in arrays]
        return numbers, [(t, settings) for t, settings, _ in optimizers], drawn


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


def same(some, others):
    """Are these the very same objects?"""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def arrays_of(optimizer):
    """The arrays of its state, in order."""
    return [array for state in optimizer.state for array in state.values()]
