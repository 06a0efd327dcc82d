"""A vector register as a value: what numba lacks to write a fast matrix product.

A processor adds and multiplies 4 to 16 numbers at once, in registers. A compiler finds such groups in
a simple loop, but in a matrix product it does not keep the sums in registers, and runs at a tenth of the
machine's speed. Here a *vector* is a value of its own: so many neighbouring numbers of one row of a matrix.

Each function stands here twice: in plain NumPy, which is what it means and what runs when numba's
compiler is switched off (``NUMBA_DISABLE_JIT=1``), and below as the instruction it becomes.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model


def register_bytes():
    """How many bytes one vector register of this processor holds."""
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


REGISTER = register_bytes()


# ---------------------------------------------------------------- what they mean


def zeros(A):
    """A vector of zeros, of A's type."""
    return np.zeros(REGISTER // A.itemsize, A.dtype)


def load(A, i, j):
    """The numbers A[i, j], A[i, j + 1], ... that fill a register. The rows of A are contiguous."""
    return A[i, j : j + REGISTER // A.itemsize].copy()


def store(x, A, i, j):
    """Write the vector x to A[i, j], A[i, j + 1], ..."""
    A[i, j : j + REGISTER // A.itemsize] = x


def multiply_add(a, x, y):
    """a x + y, rounded once (not so without the compiler); a is a number or a vector."""
    return a * x + y


def store_transposed(A, i, j, out, p, q):
    """Write the transpose of a square of A, as wide as a register, from A[i, j] on, to out from out[p, q] on."""
    L = REGISTER // A.itemsize
    out[p : p + L, q : q + L] = A[i : i + L, j : j + L].T


# ---------------------------------------------------------------- what they become


class Vector(types.Type):
    """numba's name for the type."""

    def __init__(self, element):
        self.element, self.lanes = element, REGISTER * 8 // element.bitwidth
        super().__init__(f"Vector({element} x {self.lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """Its place in a compiled program: one LLVM vector."""

    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), kind.lanes))


def place(context, builder, kind, matrix, index, vector):
    """The address of matrix[index], as that of a vector."""
    array = context.make_array(kind)(context, builder, matrix)
    item = cgutils.get_item_pointer(context, builder, kind, array, index, wraparound=False)
    return builder.bitcast(item, vector.as_pointer())


@intrinsic
def _zeros(typing, A):
    kind = Vector(A.dtype)

    def code(context, builder, signature, values):
        return ir.Constant(context.get_value_type(kind), None)

    return kind(A), code


@intrinsic
def _load(typing, A, i, j):
    kind = Vector(A.dtype)

    def code(context, builder, signature, values):
        vector = context.get_value_type(kind)
        found = builder.load(place(context, builder, signature.args[0], values[0], values[1:], vector))
        found.align = kind.element.bitwidth // 8  # a row may begin anywhere
        return found

    return kind(A, types.intp, types.intp), code


@intrinsic
def _store(typing, x, A, i, j):
    def code(context, builder, signature, values):
        address = place(context, builder, signature.args[1], values[1], values[2:], values[0].type)
        builder.store(values[0], address).align = x.element.bitwidth // 8
        return context.get_dummy_value()

    return types.none(x, A, types.intp, types.intp), code


@intrinsic
def _multiply_add(typing, a, x, y):
    def code(context, builder, signature, values):
        a_value, x_value, y_value = values
        vector = x_value.type
        if not isinstance(a_value.type, ir.VectorType):  # the number in every place
            empty = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(empty, a_value, ir.Constant(ir.IntType(32), 0))
            every = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
            a_value = builder.shuffle_vector(first, empty, every)
        name = f"llvm.fma.v{vector.count}f{x.element.bitwidth}"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(fma, [a_value, x_value, y_value])

    return y(a if isinstance(a, Vector) else x.element, x, y), code


@intrinsic
def _store_transposed(typing, A, i, j, out, p, q):
    def code(context, builder, signature, values):
        lanes = Vector(A.dtype).lanes
        kind = context.get_value_type(Vector(A.dtype))

        def row(matrix, array, i, j, number):
            i = builder.add(i, ir.Constant(i.type, number))
            return place(context, builder, array, matrix, (i, j), kind)

        def pick(x, y, mask):
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask))

        rows = []
        for number in range(lanes):
            rows.append(builder.load(row(values[0], A, values[1], values[2], number)))
            rows[-1].align = A.dtype.bitwidth // 8
        half = lanes // 2
        while half:  # exchange the upper right with the lower left quarter; then the same within each quarter
            for r in range(lanes):
                if not r & half:
                    x, y = rows[r], rows[r + half]
                    rows[r] = pick(x, y, [k if not k & half else lanes + k - half for k in range(lanes)])
                    rows[r + half] = pick(x, y, [k + half if not k & half else lanes + k for k in range(lanes)])
            half //= 2
        for number in range(lanes):
            builder.store(rows[number], row(values[3], out, values[4], values[5], number)).align = A.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.none(A, types.intp, types.intp, out, types.intp, types.intp), code


overload(zeros)(lambda A: lambda A: _zeros(A))
overload(load)(lambda A, i, j: lambda A, i, j: _load(A, i, j))
overload(store)(lambda x, A, i, j: lambda x, A, i, j: _store(x, A, i, j))
overload(multiply_add)(lambda a, x, y: lambda a, x, y: _multiply_add(a, x, y))
overload(store_transposed)(lambda A, i, j, out, p, q: lambda A, i, j, out, p, q: _store_transposed(A, i, j, out, p, q))
