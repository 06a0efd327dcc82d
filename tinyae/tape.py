r"""The tape: what was recorded, and the backward pass over it. The heart of the engine.

Every operation on a tensor that asks for gradients leaves a Node behind: which operation ran, on
whose outputs, and what it saved. The nodes reachable from a loss are its *tape*. The backward pass
walks the tape from the loss to the leaves and applies the chain rule once per node:

.. math:: \bar X = \bar Y \, \frac{\partial Y}{\partial X}, \qquad
    \bar X = \sum_{\text{uses of } X} \bar X_{\text{use}}

Here the second formula happens, the sum over uses; the first is each operation's own ``backward`` in
``ops/``. ``apply`` in ``apply.py`` makes the nodes. "Reverse accumulation": Griewank and Walther,
*Evaluating Derivatives* (2008), section 3.2.

An example: x is a leaf, a tensor that asks for gradients and was not computed from another, and
``loss = (tanh(x) * x).sum()``. Three nodes are born: 1 tanh, which saved its output t; 2 multiply, which
saved t and x; 3 sum, which saved the shape. ``loss.backward()`` starts with the gradient 1 and goes

* node 3: every element of the product receives 1;
* node 2: t receives 1 * x, x receives 1 * t: one of its two uses;
* node 1: x receives (1 - t**2) * (the gradient of t), which is added: :math:`t + x (1 - t^2)`.

First order only: the backward pass computes on arrays, not on tensors, so it leaves no tape of its
own, and a gradient of a gradient does not exist here.
"""

import itertools
import sys
import weakref

from .context import observing, unrepeatable
from .errors import PACKAGE, TapeError

births = itertools.count(1)


# ---------------------------------------------------------------- what is recorded


class Node:
    """One recorded operation.

    It points to where its inputs came from, never to its output: so there are no reference cycles,
    and a tape is freed the moment its loss is dropped.
    """

    __slots__ = (
        "op",  # the implementation that ran; its backward belongs to its forward
        "backend",  # whose array library it ran on
        "inputs",  # per input: the Node that made it, the leaf Tensor itself, or None for a constant
        "saved",  # what forward saved for backward; None, like inputs, once the tape is freed
        "watched",  # (version counter, its count when saved) of every saved input and output
        "shape",
        "dtype",
        "birth",  # nodes are numbered as they are born
        "place",  # the user's line: (code object, instruction)
        "retain",  # weak reference to the output, if that wants its gradient kept
        "__weakref__",
    )

    def __init__(self, op, backend):
        self.op = op
        self.backend = backend
        self.saved = ()
        self.watched = ()
        self.retain = None

    def save(self, *values):
        self.saved = values

    def watch(self, arrays, inputs, output):
        """Note the versions of the inputs and the output that are themselves among what was saved."""
        kept = {id(value) for value in self.saved}  # a number among the inputs is its own "array": nothing to watch
        self.watched = [(x._version, x._version.count) for a, x in zip(arrays, inputs) if id(a) in kept and a is not x]
        if id(output.data) in kept:
            self.watched.append((output._version, output._version.count))

    def retain_for(self, tensor):
        """Keep the gradient of this node's output in ``tensor.grad``."""
        self.retain = weakref.ref(tensor)

    def __repr__(self):
        return f"<{self.op.name}, recorded at {where(self.place)}>"


class Version:
    """How often a piece of memory was changed in place; shared by all tensors that view it."""

    __slots__ = ("count", "taped", "leaf")

    def __init__(self):
        self.count = 0
        self.leaf = False  # does the memory belong to a leaf that asks for gradients?
        self.taped = 0  # what count was after the last change that was itself recorded, such as y[0] = x


def forget(*values):
    """What ``save`` does when nothing is recorded."""


def calling_place():
    """The innermost line outside this package, as a code object and an instruction in it."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def where(place):
    """A recorded place as ``file:line``; only error messages need it, so it is worked out late."""
    code, instruction = place
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return f"{code.co_filename}:{line}"
    return f"{code.co_filename}:{code.co_firstlineno}"


# ---------------------------------------------------------------- the backward pass


def reachable(root):
    """The nodes and the leaves that a node was computed from; refuses a tape that is freed or no longer true.

    The nodes come in descending order of birth. A node is born after its inputs, so in this order
    every node is met only after all that used it: its gradient is complete when it is met.
    """
    nodes, leaves, seen, stack = [], [], {root}, [root]
    while stack:  # a loop, not recursion: a tape may be longer than Python's stack is deep
        node = stack.pop()
        nodes.append(node)
        if node.inputs is None:
            raise TapeError(
                f"backward: the tape through {node!r} was already used and freed. "
                "Use backward(keep_tape=True) the first time, or compute the loss again."
            )
        for version, count in node.watched:
            if version.count != count:
                raise TapeError(
                    f"backward: a tensor that {node!r} saved for its gradient was changed in place afterwards "
                    f"({version.count - count} times). Change a copy, or call backward() before the change."
                )
        for source in node.inputs:
            if source is not None and source not in seen:
                seen.add(source)
                (stack if type(source) is Node else leaves).append(source)
    nodes.sort(key=lambda node: node.birth, reverse=True)
    return nodes, leaves


def pull_back(node, gradient):
    """One step of the chain rule: the gradients of a node's inputs from that of its output."""
    try:
        if node.op.selective:
            needed = [source is not None for source in node.inputs]
            gradients = node.op.backward(node.backend.xp, node.saved, gradient, needed)
        else:
            gradients = node.op.backward(node.backend.xp, node.saved, gradient)
    except Exception as error:
        raise TapeError(
            f"backward: the rule of {node!r} failed with {type(error).__name__}: {error}. It was given saved values of "
            f"{[getattr(value, 'shape', value) for value in node.saved]} and a gradient of shape {gradient.shape}."
        ) from error
    if not isinstance(gradients, (tuple, list)):
        gradients = (gradients,)
    if len(gradients) != len(node.inputs):
        raise TapeError(f"backward: {node!r} returned {len(gradients)} gradients for {len(node.inputs)} inputs.")
    return gradients


def unbroadcast(gradient, shape):
    """Sum over the axes along which an input was stretched: each copy sends its gradient back."""
    lead = gradient.ndim - len(shape)
    # axes that were added in front, and axes of length 1 that were repeated
    stretched = tuple(i for i, n in enumerate(gradient.shape) if i < lead or (shape[i - lead] == 1 and n != 1))
    return gradient.sum(axis=stretched).reshape(shape)


def fit_to(source, gradient, node):
    """Hold a gradient to its input's shape and type; only a broadcasting operation may be summed."""
    if gradient.shape != source.shape and node.op.broadcasts:
        gradient = unbroadcast(gradient, source.shape)
    if gradient.shape != source.shape or gradient.dtype != source.dtype:
        raise TapeError(
            f"backward: {node!r} returned a gradient {gradient.dtype} {gradient.shape} for an input "
            f"{source.dtype} {source.shape}; its backward rule is wrong."
        )
    return gradient


def run_backward(root, gradient, keep_tape):
    """The chain rule over the whole tape, from the node ``root`` whose output has the given gradient.

    Nothing is written to a tensor until every gradient is known: an error on the way leaves all
    ``.grad`` as they were.

    Returns
    -------
    list of (Tensor, array)
        The leaves, and the intermediate tensors that retain theirs, each with its gradient.
    """
    nodes, leaves = reachable(root)
    observer = observing.get()
    if observer is not None:
        observer.note_backward(nodes)
    total = {root: gradient}  # the sum of the gradients that have reached a node or leaf so far
    owned = set()  # what has a sum that is stored nowhere else, so that a leaf may keep it without a copy
    results = []
    for node in nodes:
        gY = total.pop(node, None)
        if gY is None:  # all that used it said None: no gradient
            continue
        if type(gY) is not node.backend.array_type:  # NumPy turns rank-0 results into scalars
            gY = node.backend.xp.asarray(gY)
        if node.retain is not None and (tensor := node.retain()) is not None:
            results.append((tensor, own(gY, is_own=False)))
        if observer is not None:
            observer.note_gradient(node, gY)
        for source, g in zip(node.inputs, pull_back(node, gY)):
            if source is None or g is None:
                continue
            if g.shape != source.shape or g.dtype != source.dtype:
                g = fit_to(source, g, node)
            if observer is not None:
                observer.note_share(source, g, total.get(source))
            if source in total:
                unrepeatable("uses a tensor twice: two gradients must be added", by_calls_only=True)
                total[source] = total[source] + g
                owned.add(source)
            else:
                total[source] = g
                # is it neither the gradient that was passed on nor a view of another array?
                if g is not gY and type(g.base) is not node.backend.array_type:
                    owned.add(source)
        if not keep_tape:  # free what it saved now: memory shrinks as the backward pass goes on
            node.inputs = node.saved = None
            node.watched = ()
    return results + [(leaf, own(total[leaf], leaf in owned)) for leaf in leaves if leaf in total]


def own(gradient, is_own):
    """What a leaf may keep: an array that an operation passed on may be another leaf's too, and is copied."""
    if is_own:
        return gradient
    unrepeatable("copies a gradient", by_calls_only=True)
    return gradient.copy()


def add_gradients(pairs):
    """Accumulate into ``.grad`` of every (tensor, gradient)."""
    for tensor, gradient in pairs:
        total = gradient if tensor.grad is None else tensor.grad + gradient
        tensor.grad = total if type(total) is tensor.backend.array_type else tensor.backend.asarray(total)


def clear_gradients(tensors):
    """Set ``.grad`` to None."""
    for tensor in tensors:
        tensor.grad = None
