"""Instructions that numba has no word for: selecting without a branch, and the bits of a double.

A Python conditional becomes a branch, and LLVM's vectoriser turns two of them in a row into mask arithmetic.
Emitted as ``fcmp`` and ``select`` they become one min, max or blend instruction, three times as fast.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def lesser(typingctx, a, b):
    """``a if a < b else b``, float64."""

    def codegen(context, builder, signature, arguments):
        x, y = arguments
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return types.float64(types.float64, types.float64), codegen


@intrinsic
def greater(typingctx, a, b):
    """``a if a > b else b``, float64."""

    def codegen(context, builder, signature, arguments):
        x, y = arguments
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    return types.float64(types.float64, types.float64), codegen


@intrinsic
def choose(typingctx, condition, a, b):
    """``a if condition else b``, both at hand, float64."""

    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return types.float64(types.boolean, types.float64, types.float64), codegen


@intrinsic
def float_bits(typingctx, value):
    """The 64 bits of a double as an int64."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def bits_float(typingctx, value):
    """The double with these 64 bits."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@intrinsic
def widest_vectors(typingctx):
    """Let LLVM use the machine's widest vectors in the function this is called in.

    On processors with 512-bit vectors LLVM prefers 256 bits, because the first of them slowed down; those of
    today do not. The width changes no result: every lane computes what scalar code would.
    """

    def codegen(context, builder, signature, arguments):
        attributes = builder.function.attributes
        if isinstance(attributes, set):  # llvmlite's own `add` knows only attributes without a value
            set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen
