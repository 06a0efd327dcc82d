"""Arrays by their address: so that one call can work on all parameters of a model, however many there are."""

import numpy as np
from numba import carray, types
from numba.extending import intrinsic, overload


def array_at(address, start, stop, kind):
    """The numbers ``start`` to ``stop`` - 1 from an address on, of the type of ``kind``; the caller keeps them alive."""
    number = np.ctypeslib.as_ctypes_type(kind.dtype)
    if stop <= start:
        return np.empty(0, kind.dtype)
    return np.ctypeslib.as_array((number * int(stop - start)).from_address(int(address + start * kind.itemsize)))


def matrix_at(address, rows, columns, kind):
    """A C-contiguous matrix of the type of ``kind`` at an address."""
    return array_at(address, 0, rows * columns, kind).reshape(rows, columns)


@intrinsic
def _pointer(typing, address, kind):
    result = types.CPointer(kind.dtype)

    def code(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(result))

    return result(address, kind), code


@overload(array_at)
def _array_at(address, start, stop, kind):
    return lambda address, start, stop, kind: carray(_pointer(address + start * kind.itemsize, kind), (stop - start,))


@overload(matrix_at)
def _matrix_at(address, rows, columns, kind):
    return lambda address, rows, columns, kind: carray(_pointer(address, kind), (rows, columns))
