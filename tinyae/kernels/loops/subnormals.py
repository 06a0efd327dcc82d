"""Numbers too small for all their digits, and why a fast loop counts them as 0.

Below about 1e-38 a float32 has no more room in its exponent and loses digits, until at 1e-45 it is 0: such
numbers are *subnormal*. A processor takes a hundred times as long for one. They come up in every training: a
pixel that is always black gets a logit of -50, and a gradient of e**-50 times something small. So each thread
that works for dense layers, losses or optimizers asks the processor to take subnormal numbers for 0, and puts the
setting back when it is done.
PyTorch offers the same as ``torch.set_flush_denormal``.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

FLUSH = 0x8040  # of the x86 control register: results that are subnormal become 0, and operands too
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")


def flush_subnormals():
    """Take subnormal numbers for 0 in this thread, where the processor can; returns the setting before."""
    return 0


def restore(setting):
    """Put back what ``flush_subnormals`` returned."""
    return setting


def control(builder, name, pointer):
    """Call one of the two instructions that read and write the control register."""
    function_type = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    instruction = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.x86.sse.{name}")
    builder.call(instruction, [builder.bitcast(pointer, ir.IntType(8).as_pointer())])


@intrinsic
def _flush_subnormals(typing):
    def code(context, builder, signature, values):
        word = cgutils.alloca_once(builder, ir.IntType(32))
        control(builder, "stmxcsr", word)
        before = builder.load(word)
        builder.store(builder.or_(before, ir.Constant(ir.IntType(32), FLUSH)), word)
        control(builder, "ldmxcsr", word)
        return builder.zext(before, ir.IntType(64))

    return types.int64(), code


@intrinsic
def _restore(typing, setting):
    def code(context, builder, signature, values):
        word = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(builder.trunc(values[0], ir.IntType(32)), word)
        control(builder, "ldmxcsr", word)
        return values[0]

    return types.int64(types.int64), code


if ON_X86:
    overload(flush_subnormals)(lambda: lambda: _flush_subnormals())
    overload(restore)(lambda setting: lambda setting: _restore(setting))
else:
    overload(flush_subnormals)(lambda: lambda: 0)
    overload(restore)(lambda setting: lambda setting: setting)
