"""One primitive on one row, by opcode: what the row kernel runs and what folds constants."""

# ruff: noqa: SIM109  (comparisons compile to one switch; a search in a tuple does not)
from __future__ import annotations

from numba import njit

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
from apex_nautilus.genome.primitives import (
    OP_ABS,
    OP_ADD,
    OP_AND,
    OP_CLIP,
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


@njit(cache=True, error_model="numpy")
def apply(op, x, y, z):
    """One primitive on one row; `y` is the constant for the forms that take one."""
    if op == OP_ADD or op == OP_ADD_C:
        return scalar.add(x, y)
    if op == OP_SUB:
        return scalar.sub(x, y)
    if op == OP_MUL or op == OP_MUL_C:
        return scalar.mul(x, y)
    if op == OP_DIV or op == OP_DIV_C:
        return scalar.divide(x, y)
    if op == OP_NEG:
        return -x
    if op == OP_ABS:
        return scalar.absolute(x)
    if op == OP_MIN or op == OP_MIN_C:
        return scalar.minimum(x, y)
    if op == OP_MAX or op == OP_MAX_C:
        return scalar.maximum(x, y)
    if op == OP_IF:
        return scalar.select(x, y, z)
    if op == OP_GT or op == OP_GT_C:
        return scalar.gt(x, y)
    if op == OP_LT or op == OP_LT_C:
        return scalar.lt(x, y)
    if op == OP_AND:
        return scalar.and_(x, y)
    if op == OP_OR:
        return scalar.or_(x, y)
    if op == OP_NOT:
        return scalar.invert(x)
    if op == OP_TANH:
        return scalar.tanh(x)
    if op == OP_SIGMOID:
        return scalar.sigmoid(x)
    if op == OP_CLIP:
        return scalar.clip(x)
    if op == OP_LOG1P:
        return scalar.signed_log1p(x)
    if op == OP_SQRT:
        return scalar.signed_sqrt(x)
    if op == OP_C_SUB:
        return scalar.sub(y, x)
    if op == OP_C_DIV:
        return scalar.divide(y, x)
    return x  # OP_COPY
