"""Tensors: arrays that remember how they were computed.

What a Tensor is, how it is changed in place, and where its gradient comes from. Its operators (``+``,
``@``, ``.sum()``) are in ``operators.py``; how an operation is run and recorded, in ``apply.py``; the tape
and the backward pass, in ``tape.py``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import ops
from .backend import FLOATS, NUMPY, Backend, backend_of, get_backend
from .context import every_time, observing, own, recording, unrepeatable
from .errors import BackendError, DtypeError, ShapeError, TapeError
from .operands import broadcast_error, checked_array, float_type
from .operators import Operators
from .tape import Version, add_gradients, run_backward


class Tensor(Operators):
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array, list or number
        Lists and numbers become float32, also those of integers and bools. Arrays keep their type:
        float32 or float64, or integers and bools for labels and masks. The data are copied: what happens
        to the array later does not change the tensor, nor the other way round.
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

    data: Any
    __slots__ = ("data", "backend", "grad", "_node", "_needs_gradient", "_version", "_seen", "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        data = data.data if isinstance(data, Tensor) else data
        array = checked_array(data, "Tensor")
        if dtype is None:
            dtype = array.dtype if hasattr(data, "dtype") else FLOATS[0]
        else:
            dtype = float_type(dtype)
        self.backend = backend_of(array) or NUMPY
        self.data = self.backend.copy(array, dtype)
        self.grad = self._node = None
        self._needs_gradient = False
        self._version, self._seen = Version(), 0
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def T(self) -> "Tensor":
        return self.transpose()

    @property
    def requires_grad(self) -> bool:
        """Do gradients reach this tensor? Can be switched on a leaf."""
        return self._needs_gradient

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self._node is not None:
            raise TapeError(
                f"requires_grad: this tensor was computed by {self._node!r}; only leaves can be switched. Use .detach()."
            )
        if wanted and self.data.dtype not in FLOATS:
            raise DtypeError(
                f"requires_grad: a tensor of type {self.dtype} cannot ask for gradients: a derivative needs real "
                "numbers. Convert it with .astype('float32'), or give dtype='float32'."
            )
        if bool(wanted) != self._needs_gradient:  # else a detached alias could take a leaf's protection away
            self._needs_gradient = self._version.leaf = bool(wanted)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: a read-only view on the host, a copy from a GPU."""
        unrepeatable("reads the numbers of a tensor")
        array = self.backend.to_host(self.data).view()
        array.flags.writeable = False
        return array

    def item(self) -> float:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: the tensor has shape {self.shape}, {self.size} elements; expected exactly one.")
        unrepeatable("reads a number, with item() or float()")
        return self.backend.read(self.data)

    def detach(self) -> "Tensor":
        """The same memory as a tensor that the tape does not know."""
        result = wrap(self.data, self.backend)
        result._version, result._seen = self._version, self._version.count
        return own(result)

    def to(self, backend: str | Backend) -> "Tensor":
        """This tensor on a backend, ``"numpy"`` or ``"cupy"``: itself if it is there, else a copy.

        The copy of a leaf is a leaf. A tensor on the tape must be detached first.
        """
        backend = get_backend(backend)
        if backend is self.backend:
            return self
        if self._node is not None:
            raise TapeError(
                f"to: the tape does not cross backends, and this tensor was computed by {self._node!r}. Use .detach() first."
            )
        result = wrap(backend.asarray(self.backend.to_host(self.data)), backend)
        result._needs_gradient = result._version.leaf = self._needs_gradient
        return result

    def astype(self, dtype: Any) -> "Tensor":
        """As float32 or float64; gradients flow through."""
        dtype = float_type(dtype)
        if self.data.dtype == dtype:
            return self
        return self._apply(ops.AsType, self, dtype=dtype)

    # ------------------------------------------------------------ gradients

    def backward(self, gradient: Any = None, keep_tape: bool = False) -> None:
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
            raise TapeError(
                f"backward: this tensor recorded nothing ({reason}). Compute a loss from tensors with requires_grad=True."
            )
        if self._version.count != self._seen:
            self._refresh("backward")
        if gradient is None:
            if self.data.size != 1:
                raise ShapeError(
                    f"backward: the tensor has shape {self.shape}; only a single number can do without a gradient. "
                    "Reduce it with .sum() or .mean(), or give backward(gradient) of that shape."
                )
            gradient = self.backend.one(self.data.dtype)
            gradient = gradient if self.ndim == 0 else gradient.reshape(self.shape)
        else:
            unrepeatable("calls backward() with a gradient", by_calls_only=True)
            if isinstance(gradient, Tensor):
                if gradient._node is not None:
                    raise TapeError(
                        "backward: the given gradient is itself on a tape; tinyae has first derivatives only. Use .detach()."
                    )
                gradient = gradient.data
            if backend_of(gradient) not in (self.backend, None):
                raise BackendError(
                    f"backward: the gradient must be on the backend '{self.backend.name}', where the tensor is."
                )
            gradient = self.backend.asarray(checked_array(gradient, "backward").astype(self.data.dtype))
            if gradient.shape != self.shape:
                raise ShapeError(
                    f"backward: the gradient has shape {gradient.shape}, the tensor {self.shape}; they must be equal."
                )
        every_time(add_gradients, run_backward(self._node, gradient, keep_tape))

    def retain_grad(self) -> "Tensor":
        """From now on add up the gradient of this intermediate result in ``.grad``, as leaves do."""
        if self._node is not None:
            self._node.retain_for(self)
        return self

    # ------------------------------------------------------------ changes in place

    def _change(self, name, compute, other):
        """self <- compute(self, other), written into the same memory and known to the tape."""
        unrepeatable("changes a tensor in place", by_calls_only=True)
        taped = recording.get() and (self._needs_gradient or (isinstance(other, Tensor) and other._needs_gradient))
        if taped and self._version.leaf:
            raise TapeError(
                f"{name}: this tensor is (or shares the memory of) a leaf that asks for gradients; changing it in place "
                "would lose the value they belong to. Change it inside `with ta.no_grad():`, or compute a new tensor."
            )
        if self._version.count != self._seen:
            self._refresh(name)
        before = self
        if taped:  # the tape needs the value before the change, so it gets a copy
            before = self._copy_on_tape()
            if other is self:
                other = before
            elif isinstance(other, Tensor) and other._version is self._version:
                if other._version.count != other._seen:
                    other._refresh(name)
                other = other._copy_on_tape()
        after = compute(before, other)
        if after.dtype != self.dtype:
            raise DtypeError(
                f"{name}: the result is {after.dtype} and does not fit into a tensor of {self.dtype}. Compute a new tensor."
            )
        if after.shape != self.shape:
            raise ShapeError(
                f"{name}: the result has shape {after.shape} and does not fit into {self.shape}. Compute a new tensor."
            )
        if after.data is not self.data:
            self.data[...] = after.data
        self.mark_changed()
        if taped:
            if self._node is not None and self._node.retain is not None:
                after._node.retain_for(self)  # .grad belongs to the new value
                self._node.retain = None
            self._version.taped = self._version.count
            self._node, self._needs_gradient = after._node, after._needs_gradient
        return self

    def _plain_index(self, index, inner=False):
        """An index with its tensors, lists and arrays as private arrays of this tensor's backend."""
        if isinstance(index, tuple) and not inner:
            return tuple(self._plain_index(part, inner=True) for part in index)
        if isinstance(index, Tensor):
            index = index.data
        elif not isinstance(index, (list, tuple)) and backend_of(index) is None:
            return index
        if backend_of(index) not in (None, self.backend):
            raise BackendError(
                f"index: an array on '{backend_of(index).name}' for a tensor on '{self.backend.name}'. Give a Tensor on "
                f"'{self.backend.name}', or a list."
            )
        index = self.backend.asarray(checked_array(index, "index").copy())
        if index.dtype in FLOATS:
            raise DtypeError(f"index: an array of {index.dtype} cannot choose elements; expected integers or bools.")
        return index

    def _rows(self, index):
        """The slice of a constant; None for what the operation must do.

        Nothing is recorded of constants, and cutting batches out of a data set should not take as long as a small layer.
        """
        if self._needs_gradient or self._version.count != self._seen or observing.get() is not None:
            return None
        try:
            rows = self.data[index]
        except (TypeError, ValueError, IndexError):
            return None  # the operation says what is wrong
        if rows.size == 0:
            return None
        result = wrap(rows, self.backend)
        result._version, result._seen = self._version, self._seen
        return result

    def _accept_own_part(self, index, value):
        """Allow ``y[i] += x``, which Python runs as v = y[i]; v += x; y[i] = v.

        The second step has changed y's memory through v. That is in order if the third puts v back where
        it came from, and nothing else has happened in between.
        """
        if not isinstance(value, Tensor) or value._version is not self._version:
            return
        if value._seen == self._version.count == self._seen + 1:
            part = self.data[index]
            if (
                part.shape == value.shape
                and part.strides == value.data.strides
                and self.backend.address(part) == (self.backend.address(value.data))
            ):
                self._seen = self._version.count

    def _copy_on_tape(self):
        """The same value and history in memory of its own."""
        copy = wrap(self.data.copy(), self.backend)
        copy._node, copy._needs_gradient = self._node, self._needs_gradient
        return copy

    def mark_changed(self):
        """Tell the tape that ``.data`` was written to. Whoever writes to it, as optimizers do, must."""
        self._version.count += 1
        self._seen = self._version.count

    def _refresh(self, name):
        """This tensor's memory was changed through another tensor: accept that, if its history is still true."""
        if self._node is not None or self._version.taped > self._seen:
            made = f"computed by {self._node!r}" if self._node is not None else "made"
            raise TapeError(
                f"{name}: a tensor's memory was changed through another tensor that shares it, after it was {made}; "
                "its gradient would be wrong. Take the view again after the change, or copy before it."
            )
        self._seen = self._version.count

    # ------------------------------------------------------------ parts and conversions

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("len: a tensor of rank 0 has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"bool: a tensor of shape {self.shape} is neither true nor false. Use .numpy().any() or .all()."
            )
        return bool(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.backend is not NUMPY:
            raise BackendError(
                f"a tensor on the backend '{self.backend.name}' was used as a NumPy array. Copy it with .numpy()."
            )
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy or (dtype is not None and array.dtype != dtype) else array

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100, precision=4)
        notes = [str(self.dtype)] if self.dtype != FLOATS[0] else []
        notes += [self.backend.name] if self.backend is not NUMPY else []
        notes += (
            [f"from {self._node.op.name}"] if self._node else ["requires_grad=True"] if self._needs_gradient else []
        )
        return f"Tensor({', '.join([values, *notes])})"

    def __reduce__(self):
        """How copy.deepcopy and pickle see a tensor: as a leaf."""
        if self._node is not None:
            raise TapeError(
                f"copy: a tensor on the tape, computed by {self._node!r}, cannot be copied. Use .detach() first."
            )
        return remake, (self.backend.to_host(self.data), self._needs_gradient, self.backend.name)

    def _compare(self, other, compare):
        if isinstance(other, Tensor):
            if other.backend is not self.backend:
                raise BackendError(
                    f"comparison: operands on the backends '{self.backend.name}' and '{other.backend.name}'."
                )
            other = other.data
        elif isinstance(other, (list, tuple)) or backend_of(other) is not None:
            other = checked_array(other, "comparison")  # a list of 0.1 is compared in the tensor's own precision
            other = self.backend.asarray(other.astype(self.dtype) if self.dtype in FLOATS else other)
        elif not isinstance(other, (int, float, np.generic)):
            return NotImplemented
        try:
            return wrap(self.backend.xp.asarray(compare(self.data, other)), self.backend)
        except ValueError:
            raise broadcast_error("comparison", (self.data, other)) from None


def wrap(data, backend):
    """A tensor around an array, without the checks that user input needs."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.backend = data, backend
    tensor.grad = tensor._node = None
    tensor._needs_gradient = False
    tensor._version, tensor._seen = Version(), 0
    return tensor


def remake(array, requires_grad, backend):
    """A leaf from what ``Tensor.__reduce__`` kept of it."""
    tensor = Tensor(array).to(backend)
    tensor.requires_grad = requires_grad
    return tensor


def as_tensor(x, name):
    """The tensor itself, or one around an array, list or number that was given to the operation ``name``."""
    if isinstance(x, Tensor):
        return x
    array = checked_array(x, name)
    return Tensor(array if hasattr(x, "dtype") else array.astype(FLOATS[0]))
