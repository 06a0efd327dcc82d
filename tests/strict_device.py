"""A stand-in for CuPy on machines without a GPU: NumPy that refuses what CuPy refuses.

Its arrays live in a class of their own. Handing a host array to a device operation, or a device
array to NumPy, is a TypeError, as it is with CuPy; reductions give arrays of rank 0, not numbers.
It proves nothing about CUDA, but that tinyae never mixes host and device in silence.
"""

import types

import numpy as np

from tinyae.backend import Backend

OPERATORS = "add sub mul truediv floordiv mod pow matmul rshift lshift and or xor lt le gt ge eq ne".split()  # noqa: SIM905


class DeviceArray:
    """An array that only device operations may touch."""

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, array):
        self._array = array

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use to_host.")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._array, name)
        return on_device(value) if callable(value) else wrapped(value)

    def __getitem__(self, index):
        return wrapped(self._array[unwrapped(index)])

    def __setitem__(self, index, value):
        self._array[unwrapped(index)] = unwrapped(value)

    def __len__(self):
        return len(self._array)

    def __bool__(self):
        return bool(self._array)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    __neg__, __abs__, __invert__ = (lambda self, f=f: wrapped(f(self._array)) for f in (np.negative, np.abs, np.invert))


def operator(name):
    def apply(self, other):
        if getattr(type(other), "__array_ufunc__", True) is None and not isinstance(other, DeviceArray):
            return NotImplemented  # a Tensor: its own operator comes next
        return wrapped(getattr(self._array, name)(unwrapped(other)))

    return apply


def in_place(name):
    def apply(self, other):
        getattr(self._array, name)(unwrapped(other))
        return self

    return apply


for _name in OPERATORS:
    setattr(DeviceArray, f"__{_name}__", operator(f"__{_name}__"))
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(DeviceArray, f"__r{_name}__", operator(f"__r{_name}__"))
        setattr(DeviceArray, f"__i{_name}__", in_place(f"__i{_name}__"))


def unwrapped(value):
    """Device arrays as the arrays they hold; a host array is refused."""
    if isinstance(value, DeviceArray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array was given to a device operation.")
    if isinstance(value, (list, tuple)):
        return type(value)(unwrapped(v) for v in value)
    return value


def wrapped(value):
    """Arrays, and the numbers that reductions give, as device arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(wrapped(v) for v in value)
    return value


def on_device(function):
    """A NumPy function or method for device arrays."""

    def call(*arguments, **options):
        return wrapped(function(*unwrapped(list(arguments)), **{k: unwrapped(v) for k, v in options.items()}))

    if isinstance(function, np.ufunc):
        call.at = on_device(function.at)
    return call


class StrictModule(types.ModuleType):
    """What ``xp`` is on this device."""

    def __getattr__(self, name):
        value = getattr(np, name)
        return on_device(value) if callable(value) and not isinstance(value, type) else value


class StrictBackend(Backend):
    """Registered as ``"strict"`` by conftest.py."""

    name = "strict"
    xp = StrictModule("strict")
    array_type = DeviceArray

    def asarray(self, data, dtype=None):
        return data if isinstance(data, DeviceArray) else DeviceArray(np.array(data, dtype=dtype))

    def to_host(self, array):
        return array._array.copy()

    def address(self, array):
        return super().address(array._array)

    def erf(self, array):
        return wrapped(super().erf(array._array))
