"""The steps of an epoch of ``fit``: how a batch comes to the model, and what is done once instead of each time.

``Steps`` brings the examples of each batch to where the model is and looks at each loss. On the CPU, what a step does is
noted and repeated (``program.py``).

``ResidentSteps`` are for a device: the data set, its order, the place in it and the losses live there, and a step is a
CUDA graph (``graph.py``) that takes its batch by itself. The host tells the device nothing but "again", and reads the
losses once in an epoch.
"""

import math

from .backend import NUMPY
from .callbacks import Callback
from .capture import IN_VAIN, IN_VAIN_BECAUSE, CaptureWarning
from .context import every_time, observing
from .data import order_of
from .errors import brief, warn
from .failures import put_back
from .graph import GraphProgram
from .memory import at_hand
from .nn.module import members
from .program import same, written
from .random import Generator
from .rows import Rows
from .schedules import Schedule
from .tensor import wrap

SHARE = 0.5  # of a device's free memory that a data set may take


def steps_of(trainer):
    """The kind of steps for where the model is and what it is trained on; says why, if a device's cannot be graphs."""
    if trainer.place.twin("gather") is None:  # the CPU; or the definitions are asked for
        return Steps(trainer)
    reason = why_not_resident(trainer)
    if reason is None:
        return ResidentSteps(trainer)
    tell(f"{reason}. Each batch is brought to the device, and its loss read")
    return Steps(trainer)


def why_not_resident(trainer):
    """Why the data cannot stay on the device, or None."""
    place = trainer.place
    if trainer.optimizer.needs_closure:
        return f"{trainer.optimizer!r} works on the host"
    sets = [trainer.x, trainer.y, *(trainer.validation or ())]
    if any(isinstance(data, Rows) for data in sets):
        return "the data are read piece by piece"
    if not isinstance(trainer.loss_name, str) and trainer.y.dtype.kind != "f":
        return f"the loss is a function of your own, which may want the targets as they are, {trainer.y.dtype}"
    needed = sum(data.size for data in {id(data): data for data in sets}.values()) * trainer.dtype.itemsize
    free = at_hand(place)
    if free is not None and needed > SHARE * free:
        return f"the data take {needed / 2**30:.3g} GiB, and of the device's memory {free / 2**30:.3g} GiB are free"
    return None


def why_not_repeated(trainer):
    """Why it is not certain that every step does the same, or None: all that it runs must be known."""
    if observing.get() is not None:
        return "a trace or find_nan is open, and wants to see every operation"
    if not isinstance(trainer.loss_name, str):
        return "the loss is a function of your own; decorate a step of your own with ta.capture instead"
    for module in trainer.model.modules():
        if not is_ours(module):
            return f"{type(module).__name__} is a layer of your own, and what it does is not known"
    for regularizer in trainer.regularizers:
        if not is_ours(regularizer):
            return f"{regularizer!r} is a regularizer of your own, and what it does is not known"
    for function in trainer.augment:
        if not is_ours(function):
            return f"{brief(function)} changes the examples, and what it does is not known"
    optimizer = trainer.optimizer
    if optimizer.needs_closure or not is_ours(optimizer):
        return f"what {optimizer!r} does is not known to be the same in each step"
    for callback in trainer.callbacks:
        is_repeated = trainer.place.is_device and is_ours(callback)  # clipping, which a graph can do
        if listens(callback, "on_gradients") and not is_repeated:
            return f"{callback!r} looks at the gradients in the middle of a step"
    return None


def is_ours(thing):
    """Is its class one of tinyae's own, without a method put on the object? What another one does is not known."""
    kind = type(thing)
    own = kind.__module__.startswith(f"{__package__}.")
    return own and not any(callable(value) and hasattr(kind, name) for name, value in vars(thing).items())


def listens(callback, hook):
    """Does a callback do anything there?"""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)


def made_of(trainer):
    """All that a step is made of besides numbers; when a callback has put something else in its place, this differs."""
    optimizer, clips = trainer.optimizer, [c for c in trainer.callbacks if listens(c, "on_gradients")]
    parts = [*trainer.model.modules(), *trainer.regularizers, *trainer.augment, *clips]
    found = [trainer.loss, optimizer, *optimizer.params]
    for part in parts:
        found += [part, *(value for _, value in members(vars(part)))]
    return found


def tell(reason):
    """Say why a GPU's steps are not graphs."""
    warn(f"fit: {reason}. The results are the same, without the gain in speed.", CaptureWarning)


class Steps:
    """One batch after the other, and a look at each loss."""

    def __init__(self, trainer):
        self.trainer = trainer

    def begin(self, epoch):
        """An epoch begins, counted from 0."""
        t = self.trainer
        self.order = order_of(len(t.x), t.seed, epoch, t.shuffle)
        self.losses, self.penalties, self.sums = [], [], [0.0] * len(t.terms)
        self.program = None  # written anew in each epoch: a callback may have changed anything
        self.repeats = (
            t.place is NUMPY
            and t.batches_per_epoch > 2
            and not t.regularizers
            and not t.augment
            and why_not_repeated(t) is None
            and all(is_ours(c) or not listens(c, "on_batch_end") for c in t.callbacks)
        )

    def take(self, batch, start, stop):
        """Train on the examples from number ``start`` to ``stop`` of the epoch's order; batches count from 1."""
        index = self.order[start:stop]
        if self.program is not None and len(index) == self.trainer.batch_size:
            self.program.repeat([index])
        elif batch == 2 and self.repeats:
            self.program = written(self._step, [index])
        else:
            self._step(index)

    def _step(self, index):
        """One batch: forward, backward, update."""
        t = self.trainer
        x, y = t.augmented(*t.batch(t.x, t.y, index))
        drawn = t.generator.state_dict() if t.optimizer.needs_closure else None
        objective, loss, terms, penalty = t.objective(x, y)
        penalty = None if penalty is None else penalty.data
        every_time(self._look_at, loss.data, penalty, len(index), *(term.data for term in terms))
        t.optimizer.zero_grad()
        objective.backward()
        t.call("on_gradients", t.batch_number)
        if t.optimizer.needs_closure:
            t.optimizer.step(self._closure(x, y, drawn))
        else:
            t.optimizer.step()

    def _look_at(self, loss, penalty, size, *terms):
        """Note the loss of the batch and the terms it consists of; end the training if it is no number."""
        read = self.trainer.place.read
        self.losses.append(read(loss))
        self.penalties.append(0.0 if penalty is None else read(penalty))
        if not math.isfinite(self.losses[-1] + self.penalties[-1]):
            put_back(self.trainer, "loss", self.losses[-1] + self.penalties[-1], "the step before")
        for i, term in enumerate(terms):
            self.sums[i] += size * read(term)

    def _closure(self, x, y, drawn):
        """For an optimizer that looks several times: the objective and its gradients, with the same chance each time."""
        t = self.trainer

        def evaluate():
            t.generator.load_state_dict(drawn)
            objective, *_ = t.objective(x, y)
            t.optimizer.zero_grad()
            objective.backward()
            return objective.item()

        return evaluate

    def logs(self):
        """What callbacks are told after a batch."""
        return {"loss": self.losses[-1] + self.penalties[-1]}

    def finish(self):
        """The losses and the penalties of all batches of the epoch, in order."""
        return self.losses, self.penalties

    def terms(self):
        """The terms of the loss, each the sum over the examples of the epoch."""
        return self.sums

    def here(self, x, y):
        """A data set and its targets, where batches are best taken from."""
        return x, y


class ResidentSteps(Steps):
    """A data set that lives on the device, and graphs that go through it.

    What changes between batches is in the device's memory and not in the graph: ``order``, of the examples; ``cursor``,
    how many of them were taken; ``place``, how many batches; ``losses``, and the penalties beside them.
    """

    def __init__(self, trainer):
        super().__init__(trainer)
        place, xp = trainer.place, trainer.place.xp
        self.resident = {}  # id of a data set -> (the data set, its copy on the device)
        self.x, self.y = self.here(trainer.x, trainer.y)
        self.order = xp.zeros(len(trainer.x), "int64")
        self.cursor, self.place = xp.zeros(1, "int64"), xp.zeros(1, "int64")
        self.losses_there = xp.zeros((2, trainer.batches_per_epoch), "float64")
        self.sums_there = xp.zeros(len(trainer.terms), "float64")
        self.gather, self.end_of_batch = place.twin("gather"), place.twin("end_of_batch")
        self.graphs = {}  # batch size -> GraphProgram
        self.made_of = []
        self.in_vain = 0  # steps prepared in a row for repetitions that did not come
        self.reason = None  # why the steps are no graphs

    def here(self, x, y):
        t = self.trainer
        there = self._brought(x, t.dtype)
        return there, there if y is x else self._brought(y, "int64" if t.loss_name == "cross_entropy" else t.dtype)

    def _brought(self, data, dtype):
        """A copy on the device, contiguous as the kernels need it; on the host a copy is made only of another type."""
        if id(data) not in self.resident:
            place = self.trainer.place
            self.resident[id(data)] = data, place.xp.ascontiguousarray(place.asarray(data.astype(dtype, copy=False)))
        return self.resident[id(data)][1]

    def begin(self, epoch):
        t, xp = self.trainer, self.trainer.place.xp
        order = Generator(t.seed).permutation(len(t.x), step=epoch, xp=xp) if t.shuffle else xp.arange(len(t.x))
        t.place.copy_into(self.order, order)
        self.cursor.fill(0)
        self.place.fill(0)
        self.sums_there.fill(0)
        self.done = 0
        strangers = [callback for callback in t.callbacks if not is_ours(callback)]
        self.watched = any(listens(callback, "on_batch_end") for callback in strangers)
        self.looks_each_time = self.watched or any(isinstance(callback, Schedule) for callback in strangers)
        self._look_again()

    def _look_again(self):
        """A callback may have changed anything: is the step made of the same things as its graphs?"""
        found = made_of(self.trainer)
        if not same(found, self.made_of):
            self.made_of, self.graphs = found, {}
            self._note(why_not_repeated(self.trainer))

    def take(self, batch, start, stop):
        size = stop - start
        self.done = batch
        if self.looks_each_time:
            self._look_again()
        program = self.graphs.get(size)
        if self.reason is not None:
            self._step(size)
        elif program is None or not program.holds():
            self.in_vain += 1
            program = self.graphs[size] = GraphProgram(self.trainer.place)
            program.rehearse(lambda: self._step(size), [])
        elif program.graph is None:
            program = self.graphs[size] = program.recorded(lambda: self._step(size), [])
            if program.reason is None:
                program.repeat([])
            else:
                self._step(size)
        else:
            self.in_vain = 0
            program.repeat([])
        if self.in_vain > IN_VAIN:
            self._note(f"the step {IN_VAIN_BECAUSE}")
        if program is not None and program.reason is not None:
            self._note(f"the step {program.reason}")

    def _step(self, size):
        """One batch: the device finds its examples, goes forward and backward, updates, and notes the loss."""
        t = self.trainer
        x = self._examples(self.x, size)
        y = x if self.y is self.x else self._examples(self.y, size)
        x, y = t.augmented(x, y)
        objective, loss, terms, penalty = t.objective(x, y)
        t.optimizer.zero_grad()
        objective.backward()
        t.call("on_gradients", t.batch_number)
        t.optimizer.step()
        penalty = None if penalty is None else penalty.data
        for i, term in enumerate(terms):
            self.sums_there[i : i + 1] += term.data.reshape(1).astype("float64") * size
        self.end_of_batch(t.place, loss.data, penalty, self.losses_there, self.place, self.cursor, size)

    def _examples(self, data, size):
        """The next examples, as a Tensor."""
        batch = self.trainer.place.empty((size, *data.shape[1:]), data.dtype)
        self.gather(self.trainer.place, data, self.order, self.cursor, batch)
        return wrap(batch, self.trainer.place)

    def _note(self, reason):
        """Say once why the steps are no graphs, if there is a reason."""
        if self.reason is None and reason is not None:
            self.reason = reason
            tell(f"the steps are not made into a CUDA graph: {reason}")

    def logs(self):
        """The loss is read from the device when somebody asks for it; what a callback of the user's does is not known."""
        return {"loss": self._last_loss()} if self.watched else LossOnDemand(self._last_loss)

    def _last_loss(self):
        loss, penalty = self.trainer.place.to_host(self.losses_there[:, self.done - 1])
        return self._checked(self.done, float(loss), float(penalty))

    def _checked(self, batch, loss, penalty):
        if not math.isfinite(loss + penalty):
            self.trainer.batch_number = batch
            put_back(self.trainer, "loss", loss + penalty, f"step {self.done} of this epoch")
        return loss + penalty

    def finish(self):
        losses, penalties = self.trainer.place.to_host(self.losses_there)[:, : self.done].tolist()
        for batch, pair in enumerate(zip(losses, penalties), 1):
            self._checked(batch, *pair)
        return losses, penalties

    def terms(self):
        return self.trainer.place.to_host(self.sums_there).tolist() if self.trainer.terms else []


class LossOnDemand(dict):
    """Logs of a batch whose loss is on a device until it is looked at."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def __missing__(self, name):
        if name != "loss":
            raise KeyError(name)
        self["loss"] = self.read()
        return self["loss"]
