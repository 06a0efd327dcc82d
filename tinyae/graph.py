"""What one run of a step told a GPU, as one graph that is launched again with a single call.

Of a small model's step on a GPU most is waiting: every kernel is launched from Python, and runs for a shorter time than
that takes. While a stream is *captured* the GPU does nothing; what it is told is written down as a graph, with all
addresses and constants as they are. Launching the graph does all of it, in a few microseconds for the host.

So nothing that changes from step to step may be a constant in it. The batch is copied into the memory that the graph
reads; the step count, the learning rate and the counters of random numbers live on the device (``kernels/gpu_updates.py``,
``Counter`` below). What is done on the host besides, such as ``optimizer.t += 1``, is noted by ``every_time`` and repeated
before each launch.

A step becomes a graph in three runs: ``rehearse`` runs it as it is and looks whether it can be captured, ``recorded`` runs
its Python once more and captures it, and ``repeat`` launches it.

Source: "Getting started with CUDA graphs" (Gray, 2019); CUDA C++ programming guide, chapter "CUDA graphs".
"""

import sys

from .backend import matmul_precision
from .context import current_generator
from .errors import BackendError
from .program import Program
from .tape import add_gradients, clear_gradients


class GraphProgram(Program):
    """A step on a device: what a rehearsal has found out about it (``graph`` is None), or its graph."""

    is_graph = True

    def __init__(self, backend):
        super().__init__()
        self.backend, self.graph = backend, None
        self.generator, self.precision = current_generator(), matmul_precision.get()
        self.drawn = self.generator.state_dict()
        self.purposes = set()  # of the random numbers that it draws
        self.counters = {}  # purpose -> Counter
        self.excused = (0, 0)  # reads and writes by what is no part of the graph
        self.gradients_after = []  # (tensor, its gradient when the step is done)
        self.gradients = []  # the same without those that have none: memory of the graph
        self.own = {}  # id of a tensor -> its gradient, where backward() has given it that in this step
        self.gradients_before = {}  # id of a tensor whose gradient the step changes -> (the tensor, its gradient)
        self.optimizers_before = []  # (optimizer, its step count, its settings)
        self.before = None  # of a rehearsal that is to be taken back: (array, the numbers in it)

    # ------------------------------------------------------------ to write it

    def rehearse(self, function, inputs, only=False):
        """Run it as it is and note whether it can be captured: CUDA itself would only end the capture with an error.

        ``only``: afterwards all is as it was before.
        """
        before, self.before = self._traffic(), [] if only else None
        try:
            results = self.run(function, inputs)
        finally:
            if only:
                self.put_back()
                for array, values in self.before:
                    array[...] = values
        reads, writes = (now - then - excused for now, then, excused in zip(self._traffic(), before, self.excused))
        if reads:
            self.give_up("reads numbers from the device")
        if writes:
            self.give_up("brings numbers from the host to the device")
        self._forget()
        self.actions, self.gradients, self.inputs, self.outputs = [], [], [], None  # arrays that nobody needs any more
        return results

    def recorded(self, function, inputs):
        """The step as a graph, a GraphProgram; if CUDA or CuPy refuses, its ``reason`` says why.

        Nothing is done: the device only notes what it is told, and what Python has counted meanwhile is put back.
        ``inputs`` are Tensors whose memory the graph will read each time.
        """
        program = GraphProgram(self.backend)
        program.counters = {purpose: Counter(self.backend, self.generator, purpose) for purpose in self.purposes}
        for optimizer, *_ in self.updates:
            optimizer.places.prepare(optimizer)

        def whole():
            program.run(function, inputs)
            for counter in program.counters.values():
                counter.advance()

        try:
            program.graph, _ = self.backend.capture(whole)
        except Exception as error:  # one of the function's own comes again when that is run
            program.give_up(f"cannot be captured ({error})")
        finally:
            program.put_back()
            program._forget()
        program.shares = program.references()  # so many hold a gradient now, when nobody else can
        return program

    def run(self, function, inputs):
        results = super().run(function, inputs)
        self.gradients_after = [(tensor, tensor.grad) for tensor, _ in self.gradients_before.values()]
        self.gradients = [(tensor, gradient) for tensor, gradient in self.gradients_after if gradient is not None]
        self.actions = [action for action in self.actions if action[0] not in (add_gradients, clear_gradients)]
        return results

    def do(self, function, arguments):
        """Call it, and again before each launch; but of gradients a launch leaves behind what there is in the end."""
        if function in (add_gradients, clear_gradients):
            tensors = arguments[0] if function is clear_gradients else [tensor for tensor, _ in arguments[0]]
            for tensor in tensors:
                self.gradients_before.setdefault(id(tensor), (tensor, tensor.grad))
        result = self._excuse(super().do, function, arguments)
        if function is add_gradients:
            self.own.update({id(tensor): tensor.grad for tensor in tensors})
        return result

    def do_once(self, function, arguments):
        return self._excuse(super().do_once, function, arguments)

    def _excuse(self, call, function, arguments):
        """Call it; what it reads and writes is no part of the graph."""
        before = self._traffic()
        result = call(function, arguments)
        self.excused = tuple(e + now - then for e, now, then in zip(self.excused, self._traffic(), before))
        return result

    def is_own(self, tensor):
        return self.own.get(id(tensor)) is tensor.grad

    def _traffic(self):
        return self.backend.reads, self.backend.writes

    def can_repeat(self, op):
        return True

    def note_kernel(self, kernel, arguments):
        self.give_up("computes on the host")

    def note_tensors(self, inputs, result):
        super().note_tensors(inputs, result)
        self._keep(x.data for x in inputs if id(x) in self.leaves)

    def note_module(self, module):
        """Its buffers, such as running statistics, are leaves too: no operation says that they are used."""
        super().note_module(module)
        for _, tensor in module.named_tensors():
            self.leaves[id(tensor)] = tensor, tensor.data, tensor._needs_gradient
            self._keep([tensor.data])

    def note_update(self, optimizer, pairs):
        self.optimizers_before.append((optimizer, optimizer.t, optimizer.settings()))
        self._keep(array for tensor, state in pairs for array in (tensor.data, *state.values()))
        super().note_update(optimizer, pairs)

    def _keep(self, arrays):
        """Remember what is in arrays before the step changes it, if it is to be taken back."""
        if self.before is not None:
            known = {id(array) for array, _ in self.before}
            self.before += [(array, array.copy()) for array in arrays if id(array) not in known]

    def step_of(self, generator, purpose):
        """From where a draw of random numbers counts: in a graph, the place on the device of a number, and what is added."""
        if self.backend.twin("philox") is None or generator is not self.generator:
            self.give_up("draws random numbers, for which there is no kernel")
        self.purposes.add(purpose)
        step = self.do(generator.next_step, (purpose,))
        if not self.backend.is_capturing:
            return step
        if purpose not in self.counters:
            raise BackendError(
                f"capture: this time random numbers for {purpose} are drawn, the time before they were not."
            )
        return self.counters[purpose].next_step()

    def put_back(self):
        """What Python has counted and set in a run that the device has not made, or that is taken back."""
        for tensor, gradient in self.gradients_before.values():
            tensor.grad = gradient
        for optimizer, t, settings in reversed(self.optimizers_before):
            optimizer.t = t
            for name, value in settings.items():
                setattr(optimizer, name, value)
            if optimizer.places is not None:
                optimizer.places.forget()
        self.generator.load_state_dict(self.drawn)

    def _forget(self):
        """Let go of what only ``put_back`` needed: arrays of the steps before."""
        self.own, self.gradients_before, self.optimizers_before, self.before = {}, {}, [], None

    # ------------------------------------------------------------ to repeat it

    def references(self):
        return [sys.getrefcount(gradient) - (tensor.grad is gradient) for tensor, gradient in self.gradients]

    def holds(self):
        """Also: the same precision, and the same random numbers, whose seed is a constant of the graph."""
        return (
            self.precision == matmul_precision.get()
            and self.generator is current_generator()
            and self.generator.seed == self.drawn["seed"]
            and super().holds()
        )

    def nobody_else_holds_gradients(self):
        return self.graph is None or self.references() == self.shares

    def repeat(self, inputs):
        for array, given in zip(self.inputs, inputs):
            self.backend.copy_into(array, given)
        for counter in self.counters.values():
            counter.expect()
        for action, given in self.actions:
            action(*given)
        for tensor, gradient in self.gradients_after:
            tensor.grad = gradient
        self.graph.launch()
        for counter in self.counters.values():
            counter.known += counter.draws

    # ------------------------------------------------------------ to check it

    def snapshot(self):
        return *super().snapshot()[:2], self.generator.state_dict()

    def restore(self, snapshot):
        super().restore(snapshot)
        self.generator.load_state_dict(snapshot[2])


class Counter:
    """How many steps of a generator's random numbers for one purpose were taken: on the device, where a graph can count on."""

    def __init__(self, backend, generator, purpose):
        self.backend, self.generator, self.purpose = backend, generator, purpose
        self.array = backend.xp.zeros(1, "int64")
        self.known = 0  # what is in there
        self.draws = 0  # of one launch of the graph

    def expect(self):
        """Let the device know where the generator stands, if it took steps elsewhere."""
        step = self.generator.state_dict()["steps"][self.purpose]
        if step != self.known:
            self.array[...] = step
            self.known = step

    def next_step(self):
        """Where the next draw in a graph finds its step."""
        self.draws += 1
        return self.array, self.draws - 1

    def advance(self):
        """The last call of a graph: count what it has drawn."""
        self.backend.twin("advance")(self.backend, self.array, self.draws)
