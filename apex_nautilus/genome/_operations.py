"""What each opcode computes, and on what: the table that the row kernel and the block loops are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from apex_nautilus.genome import scalar
from apex_nautilus.genome._codes import (
    OP_ADD_C,
    OP_C_DIV,
    OP_C_SUB,
    OP_DIV_C,
    OP_GT_C,
    OP_LT_C,
    OP_MAX_C,
    OP_MIN_C,
    OP_MUL_C,
)
from apex_nautilus.genome._traced import Value
from apex_nautilus.genome.primitives import (
    OP_ABS,
    OP_ADD,
    OP_AND,
    OP_CLIP,
    OP_CONSTANT,
    OP_COPY,
    OP_DIV,
    OP_GT,
    OP_IF,
    OP_LOG1P,
    OP_LT,
    OP_MAX,
    OP_MIN,
    OP_MUL,
    OP_NEG,
    OP_NOT,
    OP_OR,
    OP_SIGMOID,
    OP_SQRT,
    OP_SUB,
    OP_TANH,
)


def _itself(x):
    return x


#: Opcode to function and arguments: x, y, z are operands a, b, c, and k is the instruction's constant.
OPERATIONS: Final[dict[int, tuple[Callable, str]]] = {
    OP_CONSTANT: (_itself, "k"),
    OP_COPY: (_itself, "x"),
    OP_ADD: (scalar.add, "xy"),
    OP_ADD_C: (scalar.add, "xk"),
    OP_SUB: (scalar.sub, "xy"),
    OP_C_SUB: (scalar.sub, "kx"),
    OP_MUL: (scalar.mul, "xy"),
    OP_MUL_C: (scalar.mul, "xk"),
    OP_DIV: (scalar.divide, "xy"),
    OP_DIV_C: (scalar.divide_by_constant, "xk"),
    OP_C_DIV: (scalar.divide, "kx"),
    OP_NEG: (scalar.negative, "x"),
    OP_ABS: (scalar.absolute, "x"),
    OP_MIN: (scalar.minimum, "xy"),
    OP_MIN_C: (scalar.minimum, "xk"),
    OP_MAX: (scalar.maximum, "xy"),
    OP_MAX_C: (scalar.maximum, "xk"),
    OP_IF: (scalar.select, "xyz"),
    OP_GT: (scalar.gt, "xy"),
    OP_GT_C: (scalar.gt, "xk"),
    OP_LT: (scalar.lt, "xy"),
    OP_LT_C: (scalar.lt, "xk"),
    OP_AND: (scalar.and_, "xy"),
    OP_OR: (scalar.or_, "xy"),
    OP_NOT: (scalar.invert, "x"),
    OP_TANH: (scalar.tanh, "x"),
    OP_SIGMOID: (scalar.sigmoid, "x"),
    OP_CLIP: (scalar.clip, "x"),
    OP_LOG1P: (scalar.signed_log1p, "x"),
    OP_SQRT: (scalar.signed_sqrt, "x"),
}


@intrinsic
def _apply(typingctx, op, x, y, z):
    def codegen(context, builder, signature, arguments):
        code, x, y, z = arguments
        values = {"x": Value(builder, x), "y": Value(builder, y), "z": Value(builder, z)}
        values["k"] = values["y"]
        done = builder.append_basic_block("done")
        other = builder.append_basic_block("other")
        switch = builder.switch(code, other)
        builder.position_at_end(other)
        builder.unreachable()
        results = []
        for opcode, (function, places) in OPERATIONS.items():
            case = builder.append_basic_block(f"op{opcode}")
            switch.add_case(ir.Constant(code.type, opcode), case)
            builder.position_at_end(case)
            results.append((function(*(values[place] for place in places)).ir, case))
            builder.branch(done)
        builder.position_at_end(done)
        result = builder.phi(ir.DoubleType())
        for value, case in results:
            result.add_incoming(value, case)
        return result

    return types.float64(types.int64, types.float64, types.float64, types.float64), codegen


@njit(cache=True)
def apply(op, x, y, z):
    """One primitive on one row, by opcode; `y` is the constant for the forms that take one."""
    return _apply(op, x, y, z)
