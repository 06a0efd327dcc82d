r"""The tape as data: what was computed, forward and backward, with every number, the rule and the line of the program.

``with ta.trace() as tape:`` looks on (``observer.py``) while anything is computed inside the block. What it has seen is
plain data, a list of Steps: ``text.py`` prints it, ``page.py`` makes a page of it, ``checking.py`` checks a step by
differences. When no trace is open, nothing is recorded.

A forward step and the backward step over the same operation belong together by ``source``. In a backward step the gradient of
the output is complete, and each input gets its share by the rule that stands beside it:

.. math:: \bar X \leftarrow \bar X + \bar Y \, \frac{\partial Y}{\partial X}

``Pull.before``, ``Pull.gradient`` and ``Pull.after`` are the three numbers of that line.
"""

import linecache
import weakref
from typing import Any

import numpy as np

from ..errors import DtypeError, RangeError, brief, known_name, require_integer
from ..observer import Watcher
from ..tape import add_gradients
from ..tensor import Tensor
from .names import (
    ByIdentity,
    Numbered,
    definition_of,
    gradient_of,
    left_side,
    name_of,
    named_modules,
    ran,
    rename,
    symbols_of,
    users_frame,
    variables,
    whole_model,
)
from .step import Pull, Step, Update
from .values import Value, is_still, on_host, value_of

PHASES = ("forward", "backward", "update")


class Trace(Watcher):
    """What ``trace()`` gives: open inside the ``with`` block, to be looked at after it."""

    def __init__(self, limit: int, skip: int, joined: bool, phases: tuple[str, ...], watch: Any, memory: int) -> None:
        super().__init__()
        self.limit, self.skip, self.apart, self.phases, self.memory = limit, skip, not joined, phases, memory
        self.watch = watch
        self.total = 0  # operations seen: forward, backward and updates
        self._steps: list[Step] = []
        self._values = ByIdentity()  # Tensor -> its Value when it was last seen
        self._sums = ByIdentity()  # Node or leaf -> Value of the gradient that has come together
        self._made = ByIdentity()  # Node -> its forward Step
        self._modules: list[Any] = []  # those that run, the outermost first
        self._model: Any = None  # what the outermost is a part of
        self._inputs: tuple[Value, ...] = ()
        self._backward: Any = None  # the backward step that is being written: (node, gY, pulls)
        self._before: Any = None  # the update that is being written
        self._others = 0  # values without a name

    # ------------------------------------------------------------ what it has seen

    @property
    def kept(self) -> int:
        """How many steps were kept."""
        return len(self._steps)

    @property
    def note(self) -> str:
        """What was not kept, and how to see it; "" if all was."""
        if self.total == self.kept:
            return ""
        first = f"operations {self.skip + 1} to {self.skip + self.kept}" if self.skip else f"the first {self.kept}"
        return (
            f"{self.total} operations were seen, {first} kept. To see others: ta.trace(skip={self.skip + self.kept}), or a "
            f"larger limit (now {self.limit})."
        )

    def steps(self) -> list[Step]:
        """What was kept, in the order in which it happened."""
        self._finish_backward()
        return list(self._steps)

    def text(self) -> str:
        """All steps, to be read in a terminal."""
        from .stepper.text import text

        return text(self)

    def html(self) -> str:
        """All steps as one page that works offline: the graph, the formulas, the numbers, step by step."""
        from .stepper.page import html

        return html(self)

    def save(self, path: Any, overwrite: bool = False) -> None:
        """Write the page to a file; one that exists is kept, unless ``overwrite``."""
        from .stepper.page import save

        save(self, path, overwrite)

    def _repr_html_(self) -> str:
        from .stepper.page import notebook_html

        return notebook_html(self)

    def __repr__(self):
        return f"<Trace of {self.kept} steps{': ' + self.note if self.note else ''}>"

    # ------------------------------------------------------------ it is told: forward

    def __exit__(self, *exception: object) -> None:
        self._finish_backward()
        self._use_names(users_frame())
        super().__exit__(*exception)

    def _use_names(self, frame):
        """What the user has by now given a name is called so, instead of by the number of its step."""
        names = {}
        for name, found in variables(frame).items():
            known = self._values.get(found) if isinstance(found, Tensor) else None
            if known is not None and isinstance(known.label, Numbered):
                names.setdefault(known.label, name)
        rename(self._steps, names)

    def begin(self, op, inputs, attributes):
        self._finish_backward()  # one that an error has ended
        self._attributes = attributes
        if self._wants("forward"):  # now, for an operation may change what it is given
            place = users_frame()
            self._inputs = tuple(self._value(x, place) for x in inputs)

    def note_result(self, op, inputs, result, node):
        wanted = self._wants("forward")
        self._count("forward")
        if not wanted:
            return
        definition = definition_of(op)
        number, place = self.total, users_frame()
        output = self._new(result, Numbered(f"t{number}"), "computed")
        self._add(
            place, number=number, phase="forward", name=op.name, operation=definition,
            implementation=ran(op, definition), formula=op.formula, inputs=self._inputs,
            symbols=symbols_of(definition, len(inputs)), attributes=dict(self._attributes), output=output,
            output_symbol=left_side(op.formula),
        )  # fmt: skip
        if node is not None:
            self._made[node] = self._steps[-1]

    def note_module(self, module):
        if not self._modules and self.total < self.skip + self.limit:
            self._model = whole_model(module, users_frame())
        self._modules.append(module)

    def leave_module(self, module):
        self._modules.pop()
        if not self._modules:
            self._model = None

    # ------------------------------------------------------------ backward

    def note_backward(self, nodes):
        self._finish_backward()
        self._sums = ByIdentity()

    def note_gradient(self, node, gradient):
        self._finish_backward()
        wanted = self._wants("backward")
        self._count("backward")
        if wanted:
            gY = self._sums.get(node)
            if gY is None:
                gY = self._array(gradient, gradient_of(self._label(node)))
            self._backward = self.total, node, gY, [], -1

    def note_share(self, source, gradient, before):
        if self._backward is None:
            return
        number, node, gY, pulls, position = self._backward
        position = next(i for i in range(position + 1, len(node.inputs)) if node.inputs[i] is source)
        label = gradient_of(self._label(source))
        share = self._array(gradient, label)
        earlier = None if before is None else self._sums.get(source) or self._array(before, label)
        after = share if before is None else self._array(before + gradient, label)
        self._sums[source] = after
        definition = definition_of(node.op)
        symbol = symbols_of(definition, len(node.inputs))[position]
        rule = definition.vjp.get(symbol) or definition.vjp.get(f"{symbol.partition('_')[0]}_l", "")  # of a list: W_l
        pulls.append(Pull(symbol, rule, self._label(source), share, earlier, after))
        self._backward = number, node, gY, pulls, position

    def _finish_backward(self):
        if self._backward is None:
            return
        (number, node, gY, pulls, _), self._backward = self._backward, None
        definition = definition_of(node.op)
        forward, known = self._made.get(node), {}
        if forward is not None:
            same = ("inputs", "symbols", "output", "attributes", "layer")
            known = {"source": forward.number} | {name: getattr(forward, name) for name in same}
        self._add(
            users_frame() if forward is None else forward, number=number, phase="backward", name=definition.name,
            operation=definition, implementation=ran(node.op, definition), formula=None,
            output_symbol=left_side(definition.formula), gradient=gY, pulls=tuple(pulls), **({"layer": ""} | known),
        )  # fmt: skip

    def note_call(self, function, arguments):
        """Gradients of an earlier backward pass are still there: the new ones are added to them."""
        if function is not add_gradients:
            return
        self._finish_backward()
        earlier = [(tensor, gradient) for tensor, gradient in arguments[0] if tensor.grad is not None]
        if not earlier:
            return
        wanted = self._wants("backward")
        self._count("backward")
        if wanted:
            pulls = []
            for tensor, gradient in earlier:
                label = gradient_of(self._label(tensor))
                share = self._sums.get(tensor) or self._array(gradient, label)
                before, after = self._array(tensor.grad, label), self._array(tensor.grad + gradient, label)
                pulls.append(Pull("", r"\bar\theta + \bar\theta", self._label(tensor), share, before, after))
            self._add(
                users_frame(), number=self.total, phase="backward", name="add to .grad", operation=None,
                implementation="definition", formula=None, pulls=tuple(pulls),
            )  # fmt: skip

    # ------------------------------------------------------------ updates

    def note_update(self, optimizer, pairs):
        self._finish_backward()
        self._before = None
        remember(optimizer, self)
        if self._wants("update"):
            chosen = [(t, s) for t, s in pairs if self.watch is None or any(t is w for w in self.watch)]
            self._before = [
                (t, s, self._array(t.grad, gradient_of(self._label(t))), self._value(t, users_frame()),
                 {name: self._array(array, name) for name, array in s.items()})
                for t, s in chosen
            ]  # fmt: skip

    def note_updated(self, optimizer, pairs):
        wanted, before = self._wants("update"), self._before
        self._count("update")
        if not wanted or before is None:
            return
        self._before = None
        place = users_frame()
        updates = tuple(
            Update(was.label, weakref.ref(tensor), optimizer.t, optimizer.settings(), g, was, self._value(tensor, place), old,
                   {name: self._array(array, name) for name, array in state.items()})
            for tensor, state, g, was, old in before
        )  # fmt: skip
        self._add(
            place, number=self.total, phase="update", name=type(optimizer).__name__, operation=None,
            implementation=type(optimizer).__name__, formula=r", \quad ".join(optimizer.formulas()) or None, updates=updates,
        )  # fmt: skip

    # ------------------------------------------------------------ keeping it

    def _wants(self, phase):
        """Is the next operation among those to be kept?"""
        return phase in self.phases and self.skip <= self.total < self.skip + self.limit

    def _count(self, phase):
        if phase in self.phases:
            self.total += 1

    def _add(self, place, **parts):
        """A step, at a place of the user's program: a frame, or an earlier step that stands there too."""
        if isinstance(place, Step):
            at = place.file, place.line, place.code
        elif place is None:
            at = "", 0, ""
        else:
            file, line = place.f_code.co_filename, place.f_lineno
            at = file, line, linecache.getline(file, line, place.f_globals).strip()
        parts.setdefault("layer", self._layer())
        self._steps.append(Step(**parts, file=at[0], line=at[1], code=at[2]))

    def _layer(self):
        """The path of the innermost module that runs, in the user's model."""
        if not self._modules:
            return ""
        names = {id(module): name for name, module in named_modules(self._model)}
        return names.get(id(self._modules[-1]), "")

    def _value(self, x, place):
        """The Value of an input: what it was when it was last seen, if it has not changed since."""
        if not isinstance(x, Tensor):
            return value_of(np.asarray(x), f"{x:g}" if isinstance(x, (int, float)) else str(x), "constant")
        seen = self._values.get(x)
        made = self._made.get(x._node) if x._node is not None else None
        written = None if made is None else made.output  # a step may have written into x
        for known in (seen, written):
            if known is not None and is_still(known, on_host(x.data)):
                self._values[x] = known
                return known
        kind = "computed" if x._node is not None else "leaf" if x._needs_gradient else "constant"
        return self._new(x, seen.label if seen is not None else self._name(x, place), kind)

    def _new(self, tensor, label, kind):
        """The Value of a tensor as it is now."""
        value = self._values[tensor] = self._array(tensor.data, label, kind)
        return value

    def _array(self, array, label, kind="computed"):
        """The Value of an array, with its numbers if there is room for them."""
        host = on_host(array)
        keep = host.nbytes <= self.memory
        self.memory -= host.nbytes if keep else 0
        return value_of(host, label, kind, keep)

    def _label(self, source):
        """What a node's output, or a leaf, is called."""
        if isinstance(source, Tensor):
            return self._value(source, users_frame()).label
        made = self._made.get(source)
        return f"output of {source.op.name}" if made is None else made.output.label

    def _name(self, tensor, place):
        """The name of a tensor, or a number for want of one."""
        name = name_of(tensor, self._model, place)
        if name is None:
            self._others += 1
            name = Numbered(f"c{self._others}")
        return name


def trace(
    limit: int = 1_000,
    *,
    skip: int = 0,
    joined: bool = False,
    phases: Any = PHASES,
    watch: Any = None,
    memory: int = 64 * 2**20,
) -> Trace:
    """Record what is computed inside a block: ``with ta.trace() as tape: ...``, then ``tape.steps()``.

    Parameters
    ----------
    limit : int
        So many operations are kept, forward, backward and updates counted alike; the rest are only counted, and
        ``tape.note`` says how many they were.
    skip : int
        Begin to keep after so many.
    joined : bool
        Layers that can be computed as one operation run so, as they do without a trace. By default each of the
        operations that they are made of is a step of its own.
    phases : str or several
        Of ``"forward"``, ``"backward"`` and ``"update"``, those to be kept; others are not counted.
    watch : list of Tensors, optional
        Of an update, keep these parameters only: for ``explain_step`` over long trainings.
    memory : int
        Bytes of copies that may be kept; arrays for which no room is left are kept as ranges and thumbnails.

    Returns
    -------
    Trace

    Raises
    ------
    RangeError
        A limit below 1, or an unknown phase.
    DtypeError
        ``watch`` holds other things than Tensors.

    Inside the block a captured step, and the steps of ``fit``, run as they are written, so that all can be seen. What other
    threads compute is not seen. LBFGS, which looks at the loss several times in a step, has forward and backward steps only.
    """
    given = tuple(phases) if isinstance(phases, (tuple, list, set, frozenset)) else (phases,)
    chosen = tuple(known_name("phase", phase, PHASES) for phase in given)
    if not chosen:
        raise RangeError(f"trace: phases is {brief(phases)}; expected at least one of {', '.join(PHASES)}.")
    if isinstance(watch, Tensor):
        watch = [watch]
    elif watch is not None:
        if not isinstance(watch, (list, tuple)) or not all(isinstance(tensor, Tensor) for tensor in watch):
            raise DtypeError(
                f"trace: watch is {brief(watch)}; expected a list of Tensors, such as model.parameters()[:1]."
            )
        watch = list(watch)
    return Trace(
        require_integer("trace", "limit", limit, at_least=1), require_integer("trace", "skip", skip, at_least=0),
        bool(joined), chosen, watch, require_integer("trace", "memory", memory, at_least=0),
    )  # fmt: skip


_traced: Any = weakref.WeakKeyDictionary()  # Optimizer -> the last Trace that saw it step


def remember(optimizer, tape):
    """That a trace saw an optimizer step."""
    _traced[optimizer] = tape


def last_trace(optimizer):
    """The last trace that saw an optimizer step, or None."""
    return _traced.get(optimizer)
