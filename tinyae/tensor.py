"""Tensors, the tape, and the backward pass: the heart of the engine.

Every operation on a tensor that asks for gradients leaves a Node behind: which operation ran, on
whose outputs, and what it saved. The nodes reachable from a loss are its *tape*. The backward pass
walks the tape from the loss to the leaves and applies the chain rule once per node.

To read this file: ``apply`` records, ``Tensor.backward`` replays in reverse, the rest is
convenience. What each operation computes, and its derivative, is in ``ops/``.

First order only: the backward pass computes on arrays, not on tensors, so it leaves no tape of its
own, and a gradient of a gradient does not exist here.
"""

import itertools
import os
import sys

import numpy as np

from . import ops
from .backend import FLOATS, NUMPY, backend_of, get_backend
from .context import recording
from .errors import BackendError, DtypeError, RangeError, ShapeError, TapeError, TinyaeError

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
births = itertools.count(1)


# ---------------------------------------------------------------- the tape


class Node:
    """One recorded operation.

    It points to where its inputs came from, never to its output: so there are no reference cycles,
    and a tape is freed the moment its loss is dropped.
    """

    __slots__ = (
        "op",  # the implementation that ran; its backward belongs to its forward
        "backend",  # whose array library it ran on
        "inputs",  # per input: the Node that made it, the leaf Tensor itself, or None for a constant
        "saved",  # what forward saved for backward
        "watched",  # (version counter, its count when saved) of every saved input and output
        "shape",
        "dtype",
        "birth",  # nodes are numbered as they are born
        "place",  # the user's line: (code object, instruction)
        "retain",  # weak reference to an output that keeps its gradient
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

    def __repr__(self):
        return f"<{self.op.name}, recorded at {where(self.place)}>"


class Version:
    """How often a piece of memory was changed in place; shared by all tensors that view it."""

    __slots__ = ("count", "taped")

    def __init__(self):
        self.count = 0
        self.taped = 0  # the count after the last change that the tape recorded


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


# ---------------------------------------------------------------- recording


def apply(op, *inputs, **attributes):
    """Run one operation and, if an input asks for gradients, record it on the tape.

    Parameters
    ----------
    op : subclass of Op
    inputs : Tensors, arrays, lists or numbers
        What the operation may be differentiated by. A plain number, list or array takes the float
        type and the backend of the tensors it meets.
    attributes
        Everything else the operation is told: axes, shapes, constants.

    Returns
    -------
    Tensor
    """
    first = inputs[0]
    for x in inputs:
        if type(x) is not Tensor or x.backend is not first.backend or x.data.dtype is not first.data.dtype:
            inputs = agree(op, inputs)
            break
    else:
        if first.data.dtype not in FLOATS:
            inputs = agree(op, inputs)
    backend = inputs[0].backend
    needs_gradient = False
    for x in inputs:
        if x._version.count != x._seen:
            x._check_fresh(op)
        if x._needs_gradient:
            needs_gradient = True
    arrays = [x.data for x in inputs]

    node = Node(op, backend) if needs_gradient and recording.get() else None
    try:
        data = op.forward(backend.xp, forget if node is None else node.save, *arrays, **attributes)
    except ValueError as error:
        if isinstance(error, TinyaeError) or not op.broadcasts:
            raise
        raise broadcast_error(op, arrays) from error
    if type(data) is not backend.array_type:  # NumPy turns rank-0 results into scalars
        data = backend.xp.asarray(data)

    result = wrap(data, backend)
    if op.view and data.base is not None and backend.xp.may_share_memory(data, arrays[0]):
        result._version, result._seen = inputs[0]._version, inputs[0]._seen
    if node is not None:
        node.inputs = tuple([(x._node or x) if x._needs_gradient else None for x in inputs])
        node.shape, node.dtype = data.shape, data.dtype
        node.birth, node.place = next(births), calling_place()
        if node.saved:
            node.watched = [
                (x._version, x._version.count) for x in (*inputs, result) for value in node.saved if value is x.data
            ]
        result._node, result._needs_gradient = node, True
    return result


def wrap(data, backend):
    """A tensor around an array, without the checks that user input needs."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.backend = data, backend
    tensor.grad = tensor._node = None
    tensor._needs_gradient = False
    tensor._version, tensor._seen = Version(), 0
    return tensor


def agree(op, inputs):
    """Bring inputs of several kinds to one backend and one float type, or say why they cannot be."""
    if op.numbers and len(inputs) == 2:  # tensor and number, by far the most frequent
        x, y = inputs
        if type(y) in (float, int) and x.data.dtype in FLOATS:
            return [x, wrap(y, x.backend)]
        if type(x) in (float, int) and y.data.dtype in FLOATS:
            return [wrap(x, y.backend), y]
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if not tensors:  # only numbers, lists and arrays: the first one leads
        lead = max(range(len(inputs)), key=lambda i: i not in op.indices)
        tensors = [Tensor(inputs[lead])]
        inputs = [*inputs[:lead], tensors[0], *inputs[lead + 1 :]]
    backend = tensors[0].backend
    others = [x.backend for x in tensors] + [backend_of(x) for x in inputs if not isinstance(x, Tensor)]
    for other in others:
        if other is not None and other is not backend:
            raise BackendError(
                f"{op.name}: one operand is on the backend '{backend.name}', another on '{other.name}'. "
                f"Arrays do not move by themselves: bring them together with .to('{backend.name}')."
            )
    types = {x.data.dtype for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.data.dtype in FLOATS}
    if len(types) > 1:
        kinds = ", ".join(f"{x.dtype} {x.shape}" for x in tensors)
        raise DtypeError(
            f"{op.name}: operands of different float types, {kinds}. Convert one, for example with "
            ".astype('float32'); tinyae does not turn float32 into float64 by itself."
        )
    if types:
        dtype = types.pop()
    elif op.integers and not any(np.asarray(x).dtype.kind == "f" for x in inputs if not isinstance(x, Tensor)):
        dtype = None  # integers and bools only: they stay what they are
    else:
        dtype = FLOATS[0]
    return [constant(x, dtype, backend, op) if i not in op.indices else as_index(x, backend, op)
            for i, x in enumerate(inputs)]  # fmt: skip


def constant(x, dtype, backend, op):
    """An operand as a tensor of the given float type."""
    if isinstance(x, Tensor):
        return x if dtype is None or x.data.dtype == dtype else wrap(x.data.astype(dtype), backend)
    array = checked_array(x, op.name)
    return wrap(backend.asarray(array if dtype is None else array.astype(dtype)), backend)


def as_index(x, backend, op):
    """Labels and masks keep their integer or bool type."""
    tensor = x if isinstance(x, Tensor) else wrap(backend.asarray(checked_array(x, op.name)), backend)
    if tensor.data.dtype.kind not in "iub":
        raise DtypeError(f"{op.name}: labels and masks must be integers or bools, not {tensor.dtype}.")
    return tensor


def checked_array(x, name):
    """Data from outside as an array of a kind that tinyae computes with."""
    if backend_of(x) is not None:
        array = x
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ShapeError(f"{name}: the data have no rectangular shape: {error}.") from None
    if array.dtype not in FLOATS and array.dtype.kind not in "iub":
        cure = "Convert them first, for example with .astype('float32')."
        if array.dtype.kind == "c":
            cure = "Give the real and the imaginary part as two arrays."
        raise DtypeError(
            f"{name}: data of type {array.dtype} (from {type(x).__name__}); "
            f"expected float32, float64, integers or bools. {cure}"
        )
    if array.size == 0:
        raise ShapeError(f"{name}: the data are empty, shape {array.shape}; expected at least one element.")
    return array


def broadcast_error(op, arrays):
    """Say which axis of which operands does not broadcast."""
    X, Y = arrays[-2:]
    rank = max(X.ndim, Y.ndim)
    for axis in range(1, min(X.ndim, Y.ndim) + 1):
        m, n = X.shape[-axis], Y.shape[-axis]
        if m != n and 1 not in (m, n):
            return ShapeError(
                f"{op.name}: shapes {X.shape} and {Y.shape} do not broadcast: counted from the right, "
                f"axis {axis} of {rank} has {m} against {n}; they must be equal, or one of them 1."
            )
    return ShapeError(f"{op.name}: shapes {', '.join(str(a.shape) for a in arrays)} do not broadcast.")


# ---------------------------------------------------------------- the backward pass


def reachable(root):
    """The nodes and the leaves that a node was computed from.

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
        for source in node.inputs:
            if source is not None and source not in seen:
                seen.add(source)
                (stack if type(source) is Node else leaves).append(source)
    nodes.sort(key=lambda node: node.birth, reverse=True)
    return nodes, leaves


def pull_back(node, gradient):
    """One step of the chain rule: the gradients of a node's inputs from that of its output."""
    for version, count in node.watched:
        if version.count != count:
            raise TapeError(
                f"backward: a tensor that {node!r} needs for its gradient was changed in place afterwards "
                f"({version.count - count} times). Change a copy, or call backward() before the change."
            )
    gradients = node.op.backward(node.backend.xp, node.saved, gradient)
    if type(gradients) is not tuple:
        gradients = (gradients,)
    if len(gradients) != len(node.inputs):
        raise TapeError(f"backward: {node!r} returned {len(gradients)} gradients for {len(node.inputs)} inputs.")
    return gradients


def unbroadcast(gradient, shape):
    """Sum over the axes along which an input was stretched: each copy sends its gradient back."""
    lead = gradient.ndim - len(shape)
    stretched = tuple(i for i, n in enumerate(gradient.shape) if i < lead or shape[i - lead] == 1 != n)
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
    """The chain rule over the whole tape; returns [(leaf, its gradient), ...].

    Nothing is written to a leaf until every gradient is known: an error on the way leaves all
    ``.grad`` as they were.
    """
    nodes, leaves = reachable(root)
    total = {root: gradient}  # the sum of the gradients that have reached a node or leaf so far
    owned = set()  # leaves whose sum is an array of their own
    for node in nodes:
        gY = total.pop(node, None)
        if gY is None:
            continue  # all that used it declared its gradient to be zero
        if node.retain is not None and (tensor := node.retain()) is not None:
            add_gradient(tensor, gY.copy())
        for source, g in zip(node.inputs, pull_back(node, gY)):
            if source is None or g is None:
                continue
            if g.shape != source.shape or g.dtype != source.dtype:
                g = fit_to(source, g, node)
            if source in total:
                total[source] = total[source] + g
                owned.add(source)
            else:
                total[source] = g
                if g is not gY and g.base is None:
                    owned.add(source)
        if not keep_tape:
            node.inputs = node.saved = None
            node.watched = ()
    # a gradient that an operation passed on unchanged may be shared with another leaf
    return [(leaf, total[leaf] if leaf in owned else total[leaf].copy()) for leaf in leaves if leaf in total]


def add_gradient(tensor, gradient):
    """Accumulate into ``.grad``."""
    if tensor.grad is None:
        tensor.grad = tensor.backend.asarray(gradient)
    else:
        tensor.grad = tensor.grad + gradient


# ---------------------------------------------------------------- the tensor


class Tensor:
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array, list or number
        Lists and numbers become float32. Arrays keep their type: float32 or float64, or integers
        and bools for labels and masks. The array is not copied.
    requires_grad : bool
        Ask for gradients with respect to this tensor; only floats can.
    dtype : optional
        Convert to float32 or float64 first.

    Attributes
    ----------
    data : array of the tensor's backend
        To read. Write through the tensor (``t[i] = v``, ``t += v``), so that the tape notices.
    grad : array of the tensor's backend, or None
        The sum of the gradients of all backward passes since it was last set to None. Only leaves
        (tensors that no recorded operation made) have one, unless ``retain_grad()`` was called.

    Raises
    ------
    DtypeError
        Object, string, complex or half-precision data; integers that ask for gradients.
    ShapeError
        Empty or ragged data.
    """

    __slots__ = ("data", "backend", "grad", "_node", "_needs_gradient", "_version", "_seen", "__weakref__")
    __array_ufunc__ = None  # array * tensor is left to the tensor
    __hash__ = object.__hash__  # == compares elements, but a tensor in a dict is itself

    def __init__(self, data, requires_grad=False, dtype=None):
        if isinstance(data, Tensor):
            data = data.data
        array = checked_array(data, "Tensor")
        if dtype is None and not hasattr(data, "dtype"):
            dtype = FLOATS[0]
        if dtype is not None and array.dtype != (dtype := float_type(dtype)):
            array = array.astype(dtype)
        self.backend = backend_of(array) or NUMPY
        self.data = self.backend.asarray(array)
        self.grad = self._node = None
        self._needs_gradient = False
        self._version, self._seen = Version(), 0
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------ what it is

    @property
    def shape(self):
        return self.data.shape

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    @property
    def T(self):
        return self.transpose()

    @property
    def requires_grad(self):
        """Do gradients reach this tensor? Can be switched on a leaf."""
        return self._needs_gradient

    @requires_grad.setter
    def requires_grad(self, wanted):
        if self._node is not None:
            raise TapeError(f"requires_grad: this tensor was computed by {self._node!r}; only leaves can be switched. Use .detach().")
        if wanted and self.data.dtype not in FLOATS:
            raise DtypeError(
                f"requires_grad: a tensor of type {self.dtype} cannot ask for gradients: a derivative needs real "
                "numbers. Convert it with .astype('float32'), or give dtype='float32'."
            )
        self._needs_gradient = bool(wanted)

    def numpy(self):
        """The values as a NumPy array: a read-only view on the host, a copy from a GPU."""
        array = self.backend.to_host(self.data).view()
        array.flags.writeable = False
        return array

    def item(self):
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: the tensor has shape {self.shape}, {self.size} elements; expected exactly one.")
        return self.data.item()

    def detach(self):
        """The same memory as a tensor that the tape does not know."""
        result = wrap(self.data, self.backend)
        result._version, result._seen = self._version, self._version.count
        return result

    def to(self, backend):
        """This tensor on a backend, ``"numpy"`` or ``"cupy"``: itself if it is there, else a copy.

        The copy of a leaf is a leaf. A tensor on the tape must be detached first.
        """
        backend = get_backend(backend)
        if backend is self.backend:
            return self
        if self._node is not None:
            raise TapeError(f"to: the tape does not cross backends, and this tensor was computed by {self._node!r}. Use .detach() first.")
        result = wrap(backend.asarray(self.backend.to_host(self.data)), backend)
        result._needs_gradient = self._needs_gradient
        return result

    def astype(self, dtype):
        """As float32 or float64; gradients flow through."""
        dtype = float_type(dtype)
        if self.data.dtype == dtype:
            return self
        if self.data.dtype not in FLOATS:
            return wrap(self.data.astype(dtype), self.backend)
        return apply(ops.AsType, self, dtype=dtype)

    # ------------------------------------------------------------ gradients

    def backward(self, gradient=None, keep_tape=False):
        """Add the gradient of this tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array, Tensor or number, optional
            dL/d(this tensor), of its shape. May be left out for a single number, where it is 1.
        keep_tape : bool
            Keep what the operations saved, to call ``backward`` again; otherwise it is freed.

        Raises
        ------
        TapeError
            Nothing was recorded; the tape was freed; a saved tensor was changed in place.
        ShapeError
            No gradient was given for more than one number, or one of another shape.
        """
        if self._node is None:
            reason = "it is a leaf" if self._needs_gradient else "no input asked for gradients, or no_grad() was on"
            raise TapeError(f"backward: this tensor recorded nothing ({reason}). Compute a loss from tensors with requires_grad=True.")
        if self._version.count != self._seen:
            self._check_fresh(None)
        if gradient is None:
            if self.data.size != 1:
                raise ShapeError(
                    f"backward: the tensor has shape {self.shape}; only a single number can do without a gradient. "
                    "Reduce it with .sum() or .mean(), or give backward(gradient) of that shape."
                )
            gradient = self.backend.xp.ones_like(self.data)
        else:
            if isinstance(gradient, Tensor):
                if gradient._node is not None:
                    raise TapeError("backward: the given gradient is itself on a tape; tinyae has first derivatives only. Use .detach().")
                gradient = gradient.data
            if backend_of(gradient) not in (self.backend, None):
                raise BackendError(f"backward: the gradient must be on the backend '{self.backend.name}', where the tensor is.")
            gradient = self.backend.asarray(checked_array(gradient, "backward").astype(self.data.dtype))
            if gradient.shape != self.shape:
                raise ShapeError(f"backward: the gradient has shape {gradient.shape}, the tensor {self.shape}; they must be equal.")
        for leaf, g in run_backward(self._node, gradient, keep_tape):
            add_gradient(leaf, g)

    def retain_grad(self):
        """Keep the gradient of this intermediate result in ``.grad`` at the next backward pass."""
        if self._node is not None:
            import weakref

            self._node.retain = weakref.ref(self)
        return self

    # ------------------------------------------------------------ changes in place

    def __setitem__(self, index, value):
        self._change(ops.SetItem, value, index=plain_index(index, self.backend))

    def __iadd__(self, other):
        return self._change(ops.Add, other)

    def __isub__(self, other):
        return self._change(ops.Subtract, other)

    def __imul__(self, other):
        return self._change(ops.Multiply, other)

    def __itruediv__(self, other):
        return self._change(ops.Divide, other)

    def _change(self, op, other, **attributes):
        """self <- op(self, other), written into the same memory and known to the tape."""
        other_needs = isinstance(other, Tensor) and other._needs_gradient
        taped = recording.get() and (self._needs_gradient or other_needs)
        if taped and self._node is None and self._needs_gradient:
            raise TapeError(
                f"{op.name} in place: this tensor is a leaf that asks for gradients; changing it would lose the value "
                "they belong to. Change it inside `with ta.no_grad():`, or compute a new tensor."
            )
        if self._version.count != self._seen:
            self._check_fresh(op)
        before = self
        if taped:  # the tape must keep the value before the change
            before = wrap(self.data.copy(), self.backend)
            before._node, before._needs_gradient = self._node, self._needs_gradient
        after = apply(op, before, other, **attributes)
        if after.shape != self.shape or after.dtype != self.dtype:
            raise ShapeError(
                f"{op.name} in place: the result is {after.dtype} {after.shape} and does not fit into "
                f"{self.dtype} {self.shape}. Compute a new tensor instead."
            )
        if after.data is not self.data:
            self.data[...] = after.data
        self.mark_changed()
        if taped:
            self._version.taped = self._version.count
            self._node, self._needs_gradient = after._node, after._needs_gradient
        return self

    def mark_changed(self):
        """Tell the tape that ``.data`` was written to; the optimizers do."""
        self._version.count += 1
        self._seen = self._version.count

    def _check_fresh(self, op):
        """This tensor's memory was changed through another tensor: is its history still true?"""
        if self._node is not None or self._version.taped > self._seen:
            made = f"computed by {self._node!r}" if self._node is not None else "made"
            raise TapeError(
                f"{'backward' if op is None else op.name}: a tensor's memory was changed through another tensor that shares "
                f"it, after it was {made}; its gradient would be wrong. Take the view again after the change, or copy before it."
            )
        self._seen = self._version.count

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other):
        return apply(ops.Add, self, other)

    def __radd__(self, other):
        return apply(ops.Add, other, self)

    def __sub__(self, other):
        return apply(ops.Subtract, self, other)

    def __rsub__(self, other):
        return apply(ops.Subtract, other, self)

    def __mul__(self, other):
        return apply(ops.Multiply, self, other)

    def __rmul__(self, other):
        return apply(ops.Multiply, other, self)

    def __truediv__(self, other):
        return apply(ops.Divide, self, other)

    def __rtruediv__(self, other):
        return apply(ops.Divide, other, self)

    def __neg__(self):
        return apply(ops.Negative, self)

    def __pos__(self):
        return self

    def __pow__(self, exponent):
        """x**p for a number p; for a tensor p, e^(p ln x), which needs x > 0."""
        if isinstance(exponent, (int, float)) and not isinstance(exponent, bool):
            return apply(ops.Power, self, p=exponent)
        return apply(ops.Exp, apply(ops.Multiply, exponent, self.log()))

    def __rpow__(self, base):
        return apply(ops.Exp, apply(ops.Multiply, self, apply(ops.Log, constant(base, self.dtype, self.backend, ops.Power))))

    def __matmul__(self, other):
        return apply(ops.MatMul, self, other)

    def __rmatmul__(self, other):
        return apply(ops.MatMul, other, self)

    def exp(self):
        """e**x, element by element."""
        return apply(ops.Exp, self)

    def log(self):
        """The natural logarithm."""
        return apply(ops.Log, self)

    def sqrt(self):
        """The square root."""
        return apply(ops.Sqrt, self)

    def abs(self):
        """The absolute value; its derivative at 0 is 0."""
        return apply(ops.Abs, self)

    __abs__ = abs

    def clip(self, low=None, high=None):
        """Values limited to [low, high]; the derivative is 0 outside."""
        if low is not None and high is not None and low > high:
            raise RangeError(f"clip: low is {low}, high {high}; expected low <= high.")
        return apply(ops.Clip, self, low=low, high=high)

    # ------------------------------------------------------------ comparison: no gradients

    def _compare(self, other, compare):
        if not isinstance(other, (Tensor, int, float, list, tuple, np.generic)) and backend_of(other) is None:
            return NotImplemented
        other = constant(other, self.dtype if isinstance(other, (int, float)) else None, self.backend, ops.Op)
        if other.backend is not self.backend:
            raise BackendError(f"comparison: operands on the backends '{self.backend.name}' and '{other.backend.name}'.")
        try:
            return wrap(self.backend.xp.asarray(compare(self.data, other.data)), self.backend)
        except ValueError:
            raise broadcast_error(Comparison, (self.data, other.data)) from None

    def __eq__(self, other):
        return self._compare(other, lambda x, y: x == y)

    def __ne__(self, other):
        return self._compare(other, lambda x, y: x != y)

    def __lt__(self, other):
        return self._compare(other, lambda x, y: x < y)

    def __le__(self, other):
        return self._compare(other, lambda x, y: x <= y)

    def __gt__(self, other):
        return self._compare(other, lambda x, y: x > y)

    def __ge__(self, other):
        return self._compare(other, lambda x, y: x >= y)

    # ------------------------------------------------------------ reductions

    def sum(self, axis=None, keepdims=False):
        """The sum over ``axis`` (None: all; int; tuple of ints)."""
        return apply(ops.Sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        """The mean over ``axis``."""
        return apply(ops.Mean, self, axis=axis, keepdims=keepdims)

    def max(self, axis=None, keepdims=False):
        """The largest element over ``axis``; of equal ones the first receives the gradient."""
        return apply(ops.Max, self, axis=axis, keepdims=keepdims)

    # ------------------------------------------------------------ shapes

    def reshape(self, *shape):
        """The same elements in another shape; one axis may be -1."""
        return apply(ops.Reshape, self, shape=as_ints("reshape", shape))

    def transpose(self, *axes):
        """The axes in another order; without arguments, reversed."""
        return apply(ops.Transpose, self, axes=as_ints("transpose", axes) if axes and axes != (None,) else None)

    def __getitem__(self, index):
        return apply(ops.GetItem, self, index=plain_index(index, self.backend))

    def __len__(self):
        if self.ndim == 0:
            raise ShapeError("len: a tensor of rank 0 has no length.")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # ------------------------------------------------------------ Python's conversions

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ShapeError(f"bool: a tensor of shape {self.shape} is neither true nor false. Use .numpy().any() or .all().")
        return bool(self.item())

    def __array__(self, dtype=None, copy=None):
        if self.backend is not NUMPY:
            raise BackendError(f"a tensor on the backend '{self.backend.name}' was used as a NumPy array. Copy it with .numpy().")
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy or (dtype is not None and array.dtype != dtype) else array

    def __repr__(self):
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100, precision=4)
        notes = [str(self.dtype)] if self.dtype != FLOATS[0] else []
        notes += [self.backend.name] if self.backend is not NUMPY else []
        notes += [f"from {self._node.op.name}"] if self._node else ["requires_grad=True"] if self._needs_gradient else []
        return f"Tensor({', '.join([values, *notes])})"


class Comparison(ops.Op):
    """Names the operation in an error message."""

    name = "comparison"


def float_type(dtype):
    """A float type given by name or NumPy type; anything else is refused."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"dtype: {dtype!r} is no number type; expected 'float32' or 'float64'.") from None
    if dtype not in FLOATS:
        raise DtypeError(f"dtype: {dtype} given; expected float32 or float64. Integers and bools keep the type of their array.")
    return dtype


def as_ints(name, numbers):
    """``f(2, 3)`` and ``f((2, 3))`` alike, as a tuple of ints."""
    if len(numbers) == 1 and isinstance(numbers[0], (tuple, list)):
        numbers = numbers[0]
    try:
        return tuple(int(n.__index__()) for n in numbers)
    except AttributeError:
        raise ShapeError(f"{name}: {numbers!r} given; expected integers.") from None


def plain_index(index, backend):
    """An index with its tensors and lists replaced by arrays of the backend."""
    if isinstance(index, tuple):
        return tuple(plain_index(part, backend) for part in index)
    if isinstance(index, Tensor):
        index = index.data
    elif isinstance(index, (list, np.ndarray)):
        index = backend.asarray(np.asarray(index))
    if getattr(index, "dtype", None) in FLOATS:
        raise DtypeError(f"index: an array of {index.dtype} cannot choose elements; expected integers or bools.")
    return index


def as_tensor(x):
    """The tensor itself, or a new one around an array, list or number."""
    return x if isinstance(x, Tensor) else Tensor(x)
