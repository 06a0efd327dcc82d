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


def load(A, i, j):
    """The numbers A[i, j], A[i, j + 1], ... that fill a register. The rows of A are contiguous."""
    return A[i, j : j + REGISTER // A.itemsize].copy()


def store(x, A, i, j):
    """Write the vector x to A[i, j], A[i, j + 1], ..."""
    A[i, j : j + REGISTER // A.itemsize] = x


def multiply_add(a, x, y):
    """a x + y, rounded once (not so without the compiler); a is a number or a vector."""
    return a * x + y


def load_some(A, i, j, n):
    """The first n of them (none, if n < 1), and zeros behind; what is beyond them is not touched."""
    lanes = REGISTER // A.itemsize
    x = np.zeros(lanes, A.dtype)
    n = max(0, min(n, lanes))
    x[:n] = A[i, j : j + n]
    return x


def store_some(x, A, i, j, n):
    """Write the first n numbers of x only."""
    n = max(0, min(n, x.size))
    A[i, j : j + n] = x[:n]


def store_transposed(A, i, j, out, p, q):
    """Write the transpose of a square of A, as wide as a register, from A[i, j] on, to out from out[p, q] on."""
    lanes = REGISTER // A.itemsize
    out[p : p + lanes, q : q + lanes] = A[i : i + lanes, j : j + lanes].T


def store_some_transposed(A, i, j, rows, columns, out, p, q):
    """The same where only so many rows and columns of the square are there; what would come from others is 0."""
    lanes = REGISTER // A.itemsize
    square, n, m = np.zeros((lanes, lanes), A.dtype), min(rows, lanes), min(columns, lanes)
    square[:n, :m] = A[i : i + n, j : j + m]
    out[p : p + lanes, q : q + lanes] = square.T


def fetch(A, i, j):
    """Ask memory for A[i, j] and what stands in the same cache line, without waiting; (i, j) may be outside of A."""


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


def some(builder, vector, n):
    """A mask: the places of a vector that are below n."""
    number = ir.IntType(64)
    places = ir.Constant(ir.VectorType(number, vector.count), list(range(vector.count)))
    first = builder.insert_element(ir.Constant(places.type, ir.Undefined), n, ir.Constant(ir.IntType(32), 0))
    every = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.icmp_signed("<", places, builder.shuffle_vector(first, first, every))


def masked(builder, name, result, address, *arguments):
    """Call LLVM's load or store that leaves out what a mask says."""
    vector = address.type.pointee
    kind = f"v{vector.count}{'i8' if is_bytes(vector) else f'f{8 * bytes_of(vector)}'}"
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.masked.{name}.{kind}.p0")
    return builder.call(function, arguments)


def is_bytes(vector):
    """Does it hold whole numbers of 8 bits?"""
    return isinstance(vector.element, ir.IntType)


def bytes_of(vector):
    """How many bytes one of its numbers has."""
    return 1 if is_bytes(vector) else 8 if isinstance(vector.element, ir.DoubleType) else 4


def load_below(builder, address, n):
    """The vector at an address, zeros from place n on."""
    vector = address.type.pointee
    align = ir.Constant(ir.IntType(32), bytes_of(vector))
    arguments = address, align, some(builder, vector, n), ir.Constant(vector, None)
    return masked(builder, "load", vector, address, *arguments)


def store_below(builder, x, address, n):
    """Write what is in the places of a vector below n."""
    align = ir.Constant(ir.IntType(32), bytes_of(x.type))
    masked(builder, "store", ir.VoidType(), address, x, address, align, some(builder, x.type, n))


@intrinsic
def _load_some(typing, A, i, j, n):
    kind = Vector(A.dtype)

    def code(context, builder, signature, values):
        address = place(context, builder, signature.args[0], values[0], values[1:3], context.get_value_type(kind))
        return load_below(builder, address, values[3])

    return kind(A, types.intp, types.intp, types.intp), code


@intrinsic
def _store_some(typing, x, A, i, j, n):
    def code(context, builder, signature, values):
        address = place(context, builder, signature.args[1], values[1], values[2:4], values[0].type)
        store_below(builder, values[0], address, values[4])
        return context.get_dummy_value()

    return types.none(x, A, types.intp, types.intp, types.intp), code


def write_transposed(context, builder, A, matrix, i, j, out, target, p, q, load_row):
    """Load a square row by row, exchange its quarters, and write it."""
    lanes, vector = Vector(A.dtype).lanes, context.get_value_type(Vector(A.dtype))

    def row(array, kind, i, j, number):
        return place(context, builder, kind, array, (builder.add(i, ir.Constant(i.type, number)), j), vector)

    def pick(x, y, mask):
        return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask))

    found = [load_row(row(matrix, A, i, j, number), number) for number in range(lanes)]
    half = lanes // 2
    while half:  # exchange the upper right with the lower left quarter; then the same within each quarter
        for r in range(lanes):
            if not r & half:
                x, y = found[r], found[r + half]
                found[r] = pick(x, y, [k if not k & half else lanes + k - half for k in range(lanes)])
                found[r + half] = pick(x, y, [k + half if not k & half else lanes + k for k in range(lanes)])
        half //= 2
    for number in range(lanes):
        builder.store(found[number], row(target, out, p, q, number)).align = A.dtype.bitwidth // 8
    return context.get_dummy_value()


@intrinsic
def _store_transposed(typing, A, i, j, out, p, q):
    def code(context, builder, signature, values):
        matrix, i, j, target, p, q = values

        def load_row(address, number):
            found = builder.load(address)
            found.align = A.dtype.bitwidth // 8
            return found

        return write_transposed(context, builder, A, matrix, i, j, out, target, p, q, load_row)

    return types.none(A, types.intp, types.intp, out, types.intp, types.intp), code


@intrinsic
def _store_some_transposed(typing, A, i, j, rows, columns, out, p, q):
    def code(context, builder, signature, values):
        matrix, i, j, rows, columns, target, p, q = values

        def load_row(address, number):
            there = builder.icmp_signed("<", ir.Constant(rows.type, number), rows)
            return load_below(builder, address, builder.select(there, columns, ir.Constant(columns.type, 0)))

        return write_transposed(context, builder, A, matrix, i, j, out, target, p, q, load_row)

    whole = types.intp
    return types.none(A, whole, whole, whole, whole, out, whole, whole), code


@intrinsic
def _fetch(typing, A, i, j):
    def code(context, builder, signature, values):
        byte = ir.IntType(8).as_pointer()
        address = place(context, builder, signature.args[0], values[0], values[1:], ir.IntType(8))
        number = ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        reading, second_level, data = number(0), number(2), number(1)
        builder.call(function, [address, reading, second_level, data])
        return context.get_dummy_value()

    return types.none(A, types.intp, types.intp), code


overload(fetch)(lambda A, i, j: lambda A, i, j: _fetch(A, i, j))
overload(load)(lambda A, i, j: lambda A, i, j: _load(A, i, j))
overload(store)(lambda x, A, i, j: lambda x, A, i, j: _store(x, A, i, j))
overload(multiply_add)(lambda a, x, y: lambda a, x, y: _multiply_add(a, x, y))
overload(load_some)(lambda A, i, j, n: lambda A, i, j, n: _load_some(A, i, j, n))
overload(store_some)(lambda x, A, i, j, n: lambda x, A, i, j, n: _store_some(x, A, i, j, n))
overload(store_transposed)(lambda A, i, j, out, p, q: lambda A, i, j, out, p, q: _store_transposed(A, i, j, out, p, q))
overload(store_some_transposed)(
    lambda A, i, j, rows, columns, out, p, q: (
        lambda A, i, j, rows, columns, out, p, q: _store_some_transposed(A, i, j, rows, columns, out, p, q)
    )
)
