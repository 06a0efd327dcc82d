"""What one run of a step told a GPU, as one graph that is launched again with a single call.

Of a small model's step on a GPU most is waiting: every kernel is launched from Python, and runs for a shorter time than
that takes. While a stream is *captured* the GPU does nothing; what it is told is written down as a graph, with all
addresses and constants as they are. Launching the graph does all of it, in a few microseconds for the host.

So nothing that changes from step to step may be a constant in it. The batch is copied into the memory that the graph
reads; the step count, the learning rate and the counters of random numbers live on the device (``kernels/gpu_updates.py``,
``Counter`` below). What is done on the host besides, such as ``optimizer.t += 1``, is noted by ``every_time`` and repeated
before each launch.

Source: "Getting started with CUDA graphs" (Gray, 2019); CUDA C++ programming guide, chapter "CUDA graphs".
"""

import sys

from .backend import matmul_precision
from .context import current_generator
from .errors import BackendError
from .program import Program


class GraphProgram(Program):
    """A step on a device. It is rehearsed once, then recorded, and from then on repeated."""

    is_graph = True

    def __init__(self, backend):
        super().__init__()
        self.backend, self.graph = backend, None
        self.generator = current_generator()
        self.counters = {}  # purpose of random numbers -> Counter
        self.precision = matmul_precision.get()
        self.excused = (0, 0)  # reads and writes of what is done anew in each repetition
        self.before = None  # of a rehearsal that is to be taken back: (tensor, its numbers, its gradient)
        self.optimizers_before = []  # (optimizer, snapshot)

    # ------------------------------------------------------------ to write it

    def rehearse(self, function, inputs, only=False):
        """Run it as it is and note whether it can be captured: CUDA itself would only end the capture with an error.

        ``only``: afterwards all is as it was before.
        """
        before, self.steps, self.before = self._traffic(), self.generator.state_dict(), [] if only else None
        results = self.run(function, inputs)
        if only:
            self.take_back()
        reads, writes = (now - then - excused for now, then, excused in zip(self._traffic(), before, self.excused))
        if reads:
            self.give_up("reads numbers from the device")
        if writes:
            self.give_up("brings numbers from the host to the device")
        return results

    def record(self, function, inputs):
        """Write it down as a graph: Python runs, and counts its step; the device does nothing until ``launch``.

        ``inputs`` are Tensors whose memory the graph will read each time. If CUDA refuses, or CuPy, all is as before, and
        ``reason`` says why.
        """
        optimizers, generator, counters = [o for o, _ in self.updates], self.generator, self.counters
        steps_made, drawn = [optimizer.t for optimizer in optimizers], generator.state_dict()
        self.__init__(self.backend)  # the notes of the rehearsal were of other arrays
        self.generator, self.counters = generator, counters
        for optimizer in optimizers:
            optimizer.places.prepare(optimizer)
        for counter in counters.values():
            counter.expect()

        def recorded():
            self.run(function, inputs)
            for counter in counters.values():
                counter.advance()

        try:
            self.graph, _ = self.backend.capture(recorded)
        except (BackendError, NotImplementedError) as error:  # the latter is CuPy's answer to its own matrix product
            for optimizer, t in zip(optimizers, steps_made):
                optimizer.t = t
                optimizer.places.forget()
            generator.load_state_dict(drawn)
            self.give_up(f"cannot be captured ({error})")
            return
        self.shares = self.references()  # so many hold a gradient now, when nobody else can

    def do(self, function, arguments):
        before = self._traffic()
        result = super().do(function, arguments)
        self.excused = tuple(e + now - then for e, now, then in zip(self.excused, self._traffic(), before))
        return result

    def _traffic(self):
        return self.backend.reads, self.backend.writes

    def can_repeat(self, op):
        return True

    def note_kernel(self, kernel, arguments):
        self.give_up("computes on the host")

    def step_of(self, generator, purpose):
        """From where a draw of random numbers counts: in a graph, the place on the device of a number, and what is added."""
        if self.backend.twin("philox") is None or generator is not self.generator:
            self.give_up("draws random numbers, for which there is no kernel")
        counter = self.counters.setdefault(purpose, Counter(self.backend, generator, purpose))
        step = self.do(generator.next_step, (purpose,))
        return step if not self.backend.is_capturing else counter.next_step()

    # ------------------------------------------------------------ to repeat it

    def references(self):
        return [sys.getrefcount(gradient) - (tensor.grad is gradient) for tensor, gradient in self.gradients]

    def holds(self):
        if self.graph is None:
            self.shares = self.references()
        return self.precision == matmul_precision.get() and self.generator is current_generator() and super().holds()

    def nobody_else_holds_gradients(self):
        return self.references() == self.shares

    def repeat(self, inputs):
        for array, given in zip(self.inputs, inputs):
            self.backend.copy_into(array, given)
        for counter in self.counters.values():
            counter.expect()
        for action, given in self.actions:
            action(*given)
        self.launch()

    def launch(self):
        """Do what was recorded."""
        self.graph.launch()
        for counter in self.counters.values():
            counter.known += counter.draws

    # ------------------------------------------------------------ to check it, and to take it back

    def tensors_of_modules(self):
        """Parameters and buffers of all modules that were called; buffers are changed by no operation."""
        found = [tensor for module, _ in self.modes for _, tensor in module.named_tensors()]
        return list({id(tensor): tensor for tensor in found}.values())

    def snapshot(self):
        buffers = [tensor.data.copy() for tensor in self.tensors_of_modules()]
        return *super().snapshot()[:2], buffers, self.generator.state_dict()

    def restore(self, snapshot):
        super().restore(snapshot)
        *_, buffers, steps = snapshot
        self.generator.load_state_dict(steps)
        for tensor, values in zip(self.tensors_of_modules(), buffers):
            tensor.data[...] = values

    def keep(self, tensors):
        """Remember what is in tensors before the rehearsal changes it."""
        known = {id(tensor) for tensor, _, _ in self.before or ()}
        for tensor in tensors:
            if self.before is not None and id(tensor) not in known:
                self.before.append((tensor, tensor.data.copy(), tensor.grad))

    def note_tensors(self, inputs, result):
        super().note_tensors(inputs, result)
        self.keep(x for x in inputs if id(x) in self.leaves)

    def note_module(self, module):
        super().note_module(module)
        self.keep(tensor for _, tensor in module.named_tensors())

    def note_update(self, optimizer, pairs):
        if self.before is not None:
            self.keep(optimizer.params)
            self.optimizers_before.append((optimizer, optimizer.snapshot()))
        super().note_update(optimizer, pairs)

    def take_back(self):
        """Undo a rehearsal that was told to remember."""
        for tensor, values, gradient in self.before:
            tensor.data[...], tensor.grad = values, gradient
        for optimizer, snapshot in reversed(self.optimizers_before):
            optimizer.t = snapshot[0]
            for state, values in zip(optimizer.state, snapshot[1]):
                for name, array in state.items():
                    array[...] = values[name]
        self.generator.load_state_dict(self.steps)


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
