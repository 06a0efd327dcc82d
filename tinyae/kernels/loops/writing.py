"""How vector instructions are written: a few words of LLVM's language, for ``tiles.py``."""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import Vector, store_below


def flat(context, builder, signature, values):
    """The arguments of a tile: of an array the address of its first number, of all else the value."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, values)
    ]


class Writer:
    """Writes vector instructions for numbers of one type."""

    def __init__(self, context, builder, element):
        self.builder, self.bits = builder, element.bitwidth
        self.lanes, self.vector = Vector(element).lanes, context.get_value_type(Vector(element))
        name = f"llvm.fma.v{self.lanes}f{self.bits}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name)

    def whole(self, n):
        """A whole number."""
        return ir.Constant(ir.IntType(64), n)

    def move(self, pointer, n):
        """n numbers further."""
        return self.builder.gep(pointer, [n])

    def as_vector(self, pointer):
        """The same address, of a vector."""
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, pointer, n):
        """The vector that begins n numbers from here."""
        found = self.builder.load(self.as_vector(self.move(pointer, self.whole(n))))
        found.align = self.bits // 8
        return found

    def store(self, vector, pointer, n):
        """Write it there."""
        self.builder.store(vector, self.as_vector(self.move(pointer, self.whole(n)))).align = self.bits // 8

    def number(self, pointer, n):
        """The number n places from here in every place of a vector."""
        return self.in_every_place(self.builder.load(self.move(pointer, self.whole(n))))

    def in_every_place(self, value):
        """The same in every place of a vector."""
        kind = ir.VectorType(value.type, self.lanes)
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
        every = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, empty, every)

    def as_byte(self, n):
        """A whole number in 8 bits."""
        return self.builder.trunc(n, ir.IntType(8))

    def store_below(self, vector, pointer, n):
        """Write the first n numbers of a vector only."""
        store_below(self.builder, vector, self.builder.bitcast(pointer, vector.type.as_pointer()), n)

    def multiply_add(self, x, y, total):
        """x y + total."""
        return self.builder.call(self.fma, [x, y, total])

    def added_up(self, vector, start):
        """``start`` plus the numbers of a vector, in any order."""
        name, scalar = f"llvm.vector.reduce.fadd.v{self.lanes}f{self.bits}", self.vector.element
        kind = ir.FunctionType(scalar, [scalar, self.vector])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [start, vector], fastmath=("reassoc",))

    def repeat(self, start, stop, step, state, body):
        """``for n in range(start, stop, step): state = body(n, state)``; returns the last state.

        The state is a list of values, which stay in registers as far as there are any.
        """
        b, before = self.builder, self.builder.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        n = b.phi(start.type)
        n.add_incoming(start, before)
        now = [b.phi(value.type) for value in state]
        for phi, value in zip(now, state):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", n, stop), inside, after)
        b.position_at_end(inside)
        new = body(n, list(now))
        n.add_incoming(b.add(n, self.whole(step)), b.block)
        for phi, value in zip(now, new):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return now
