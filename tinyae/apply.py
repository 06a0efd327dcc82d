"""Running an operation on tensors, and recording it on the tape.

``apply`` is the one way to do either. What the operation computes is in ``ops/``; what happens to its
record is in ``tape.py``. The rest of this file brings operands of several kinds together: numbers,
lists, arrays, tensors of integers.
"""

import numpy as np

from .backend import FLOATS, backend_of
from .context import observing, recording, unrepeatable
from .errors import BackendError, DtypeError, TinyaeError
from .operands import broadcast_error, checked_array
from .tape import Node, births, calling_place, forget
from .tensor import Tensor, as_tensor, wrap


def apply(op, *inputs, **attributes):
    """Run one operation and, if an input asks for gradients, record it on the tape.

    Parameters
    ----------
    op : subclass of Op
    inputs : Tensors, arrays, lists or numbers
        What the operation may be differentiated by. A number, list or array becomes a constant of the
        float type of the tensors it meets. An array must be on their backend.
    attributes
        Everything else the operation is told: axes, shapes, constants.

    Returns
    -------
    Tensor
    """
    gathered = gather(op, inputs)
    if gathered is None:
        inputs = agree(op, inputs)
        gathered = gather(op, inputs, agreed=True)
    backend, arrays, needs_gradient = gathered
    fast = backend.twin(op)
    if fast is not None and fast.accepts(*arrays, **attributes):
        op = fast

    observer = observing.get()
    if observer is not None:
        observer.begin(op, inputs, attributes)
    node = Node(op, backend) if needs_gradient and recording.get() else None
    try:
        data = op.forward(backend.xp, forget if node is None else node.save, *arrays, **attributes)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, TinyaeError) or error.__traceback__.tb_next is None:  # ours, or not out of forward
            raise
        if isinstance(error, ValueError) and op.broadcasts:
            raise broadcast_error(op.name, arrays) from error
        kinds = ", ".join(f"{a.dtype} {a.shape}" if hasattr(a, "dtype") else "a number" for a in arrays)
        raise DtypeError(f"{op.name}: the array library refuses {kinds} with {attributes}: {error}.") from error
    if type(data) is not backend.array_type:  # NumPy turns rank-0 results into scalars
        data = backend.xp.asarray(data)

    result = wrap(data, backend)
    # a view (it has a base) of the input, not of a temporary copy (they share no memory), is one memory with it
    if op.view and data.base is not None and backend.xp.may_share_memory(data, arrays[0]):
        result._version, result._seen = inputs[0]._version, inputs[0]._seen
    if node is not None:
        node.inputs = [(x._node or x) if type(x) is Tensor and x._needs_gradient else None for x in inputs]
        node.shape, node.dtype = data.shape, data.dtype
        node.birth, node.place = next(births), calling_place()
        if node.saved:
            node.watch(arrays, inputs, result)
        result._node, result._needs_gradient = node, True
    if observer is not None:
        observer.note_result(op, inputs, result, node)
    return result


def gather(op, inputs, agreed=False):
    """The backend and the arrays of inputs that fit together, and whether one asks for gradients.

    None, if the inputs must first agree: they are not all tensors of one float type on one backend,
    or numbers where the operation takes them as they are.
    """
    backend = dtype = None
    arrays, needs_gradient = [], False
    for x in inputs:
        if type(x) is Tensor:
            if backend is None:
                backend, dtype = x.backend, x.data.dtype
                if not agreed and (op.indices or dtype not in FLOATS):
                    return None
            elif not agreed and (x.backend is not backend or x.data.dtype is not dtype):
                return None
            if x._version.count != x._seen:
                x._refresh(op.name)
            if x._needs_gradient:
                needs_gradient = True
            arrays.append(x.data)
        elif op.numbers and (type(x) is float or type(x) is int):
            arrays.append(x)
        else:
            return None
    return None if backend is None else (backend, arrays, needs_gradient)


def agree(op, inputs):
    """Bring inputs of several kinds to one backend and one float type, or say why they cannot be.

    Numbers, lists and arrays become constants of the tensors' float type; so do integer and bool
    tensors, unless all are of that kind and the operation takes them as they are.
    """
    inputs = [x.item() if isinstance(x, np.generic) else x for x in inputs]  # NumPy's scalars are numbers
    if not any(isinstance(x, Tensor) for x in inputs):  # then the first that is no index leads
        lead = next(i for i in range(len(inputs)) if i not in op.indices)
        inputs[lead] = as_tensor(inputs[lead], op.name)
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    backend = tensors[0].backend
    for other in [x.backend if isinstance(x, Tensor) else backend_of(x) for x in inputs]:
        if other is not None and other is not backend:
            raise BackendError(
                f"{op.name}: one operand is on the backend '{backend.name}', another on '{other.name}'. "
                f"Arrays do not move by themselves: bring them together with .to('{backend.name}')."
            )
    types = {x.data.dtype for x in tensors if x.data.dtype in FLOATS}
    if len(types) > 1:
        kinds = ", ".join(f"{x.dtype} {x.shape}" for x in tensors)
        raise DtypeError(
            f"{op.name}: operands of different float types, {kinds}. Convert one, for example with "
            ".astype('float32'); tinyae does not turn float32 into float64 by itself."
        )
    if types:
        dtype = types.pop()
    elif op.integers and not any(has_floats(x) for x in inputs):
        dtype = None  # integers and bools only: they stay what they are
    else:
        dtype = FLOATS[0]
    agreed = [
        as_index(x, backend, op.name) if i in op.indices else constant(x, dtype, backend, op)
        for i, x in enumerate(inputs)
    ]
    if any(given is not made for given, made in zip(inputs, agreed)):
        unrepeatable("gives an operation operands that must be converted for it")
    return agreed


def constant(x, dtype, backend, op):
    """An operand as a tensor of the given float type (None: of its own), or as the number it is."""
    if isinstance(x, Tensor):
        return x if dtype is None or x.data.dtype == dtype else wrap(x.data.astype(dtype), backend)
    if op.numbers and type(x) in (float, int):
        return x
    array = checked_array(x, op.name)
    return wrap(backend.asarray(array.astype(array.dtype if dtype is None else dtype)), backend)  # always a copy


def as_index(x, backend, name):
    """Labels and masks keep their integer or bool type."""
    tensor = x if isinstance(x, Tensor) else wrap(backend.asarray(checked_array(x, name).copy()), backend)
    if tensor.data.dtype.kind not in "iub":
        raise DtypeError(f"{name}: labels and masks must be integers or bools, not {tensor.dtype}.")
    return tensor


def has_floats(x):
    """Is this operand, or any number in it, a float?"""
    return (x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype).kind == "f"


Tensor._apply = staticmethod(apply)  # what the operators call: tensor.py cannot import this file
