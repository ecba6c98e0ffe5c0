"""The loops over a block of rows: one short function a primitive.

The bodies are the functions of `scalar`, no destination overlaps an operand, and every register is
contiguous, so LLVM vectorises the loops without changing a bit.
"""

# ruff: noqa: SIM109  (comparisons compile to one switch; a search in a tuple does not)

from __future__ import annotations

import numpy as np
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
    RING,
)
from apex_nautilus.genome._select import widest_vectors
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


@njit(cache=True)
def clean_column(column, X, feature, lo, hi):
    """Feature `feature` of rows lo - RING .. hi - 1, cleaned, into `column`; the NaN among rows lo .. hi - 1.

    ``column[RING + i]`` is row lo + i. Rows before row 0 are left as they are: no window reads them.
    """
    invalid = 0
    first = max(lo - RING, 0)
    for t in range(first, lo):
        column[RING + t - lo] = scalar.clean(X[t, feature])
    for t in range(lo, hi):
        x = X[t, feature]
        if x != x:
            invalid += 1
        column[RING + t - lo] = scalar.clean(x)
    return invalid


# A loop reads and writes registers of one flat array, each given by the offset of its first row. Offsets are
# unsigned: a signed index may be negative in Python, and testing for that would cost more than the work.
# Loops over slices would pay some 50 ns of reference counting an instruction, as much as the work itself.


def _unary(primitive):
    @njit(error_model="numpy")
    def loop(s, d, a, n):
        widest_vectors()
        for i in range(n):
            s[d + i] = primitive(s[a + i])

    return loop


def _binary(primitive):
    @njit(error_model="numpy")
    def loop(s, d, a, b, n):
        widest_vectors()
        for i in range(n):
            s[d + i] = primitive(s[a + i], s[b + i])

    return loop


def _with_constant(primitive):
    @njit(error_model="numpy")
    def loop(s, d, a, c, n):
        widest_vectors()
        for i in range(n):
            s[d + i] = primitive(s[a + i], c)

    return loop


def _constant_first(primitive):
    @njit(error_model="numpy")
    def loop(s, d, a, c, n):
        widest_vectors()
        for i in range(n):
            s[d + i] = primitive(c, s[a + i])

    return loop


_neg = _unary(scalar.negative)
_abs = _unary(scalar.absolute)
_not = _unary(scalar.invert)
_tanh = _unary(scalar.tanh)
_sigmoid = _unary(scalar.sigmoid)
_clip = _unary(scalar.clip)
_log1p = _unary(scalar.signed_log1p)
_sqrt = _unary(scalar.signed_sqrt)
_add = _binary(scalar.add)
_sub = _binary(scalar.sub)
_mul = _binary(scalar.mul)
_div = _binary(scalar.divide)
_min = _binary(scalar.minimum)
_max = _binary(scalar.maximum)
_gt = _binary(scalar.gt)
_and = _binary(scalar.and_)
_add_c = _with_constant(scalar.add)
_mul_c = _with_constant(scalar.mul)
_div_c = _with_constant(scalar.divide_by_constant)
_min_c = _with_constant(scalar.minimum)
_max_c = _with_constant(scalar.maximum)
_gt_c = _with_constant(scalar.gt)
_lt_c = _with_constant(scalar.lt)
_c_sub = _constant_first(scalar.sub)
_c_div = _constant_first(scalar.divide)


@njit(error_model="numpy")
def _if(s, d, a, b, c, n):
    widest_vectors()
    for i in range(n):
        s[d + i] = scalar.select(s[a + i], s[b + i], s[c + i])


@njit
def _fill(s, d, c, n):
    widest_vectors()
    for i in range(n):
        s[d + i] = c


@njit
def _store(out, output, at, s, a, n):
    widest_vectors()
    for i in range(n):
        out[output, at + i] = s[a + i]


@njit(cache=True)
def run_body(opcodes, operands, start, stop, constants, base, scratch, spare, out, at, n):
    """Run instructions start .. stop - 1 on one block.

    Parameters
    ----------
    opcodes, operands : ndarray
        Register code without the instructions that fill columns.
    start, stop : int
        Range of instructions.
    constants : ndarray of float64
        All constants; the program's begin at `base`.
    scratch : ndarray of float64, shape (registers, RING + block)
        Registers; a block's rows start at ``RING``.
    spare : int
        A register no instruction names: an output passes through it.
    out : ndarray of float64, shape (outputs, rows)
        Outputs are written to columns at .. at + n - 1.
    at, n : int
        Place in `out` and number of rows.
    """
    s = scratch.reshape(scratch.size)
    stride = scratch.shape[1]
    rows = np.uint64(n)
    for i in range(start, stop):
        op = opcodes[i]
        j = 4 * i
        to = operands[j]
        first = operands[j + 1]
        second = operands[j + 2]
        d = np.uint64((to if to >= 0 else spare) * stride + RING)
        a = np.uint64(first * stride + RING)
        if op >= OP_ADD_C:
            c = constants[base + second]
            if op == OP_ADD_C:
                _add_c(s, d, a, c, rows)
            elif op == OP_MUL_C:
                _mul_c(s, d, a, c, rows)
            elif op == OP_C_SUB:
                _c_sub(s, d, a, c, rows)
            elif op == OP_DIV_C:
                _div_c(s, d, a, c, rows)
            elif op == OP_C_DIV:
                _c_div(s, d, a, c, rows)
            elif op == OP_MIN_C:
                _min_c(s, d, a, c, rows)
            elif op == OP_MAX_C:
                _max_c(s, d, a, c, rows)
            elif op == OP_GT_C:
                _gt_c(s, d, a, c, rows)
            elif op == OP_LT_C:
                _lt_c(s, d, a, c, rows)
        elif op == OP_CONSTANT:
            _fill(s, d, constants[base + first], rows)
        elif op == OP_COPY:
            d = a
        else:
            b = np.uint64(second * stride + RING)
            if op == OP_ADD:
                _add(s, d, a, b, rows)
            elif op == OP_SUB:
                _sub(s, d, a, b, rows)
            elif op == OP_MUL:
                _mul(s, d, a, b, rows)
            elif op == OP_DIV:
                _div(s, d, a, b, rows)
            elif op == OP_MIN:
                _min(s, d, a, b, rows)
            elif op == OP_MAX or op == OP_OR:
                _max(s, d, a, b, rows)
            elif op == OP_GT:
                _gt(s, d, a, b, rows)
            elif op == OP_AND:
                _and(s, d, a, b, rows)
            elif op == OP_IF:
                _if(s, d, a, b, np.uint64(operands[j + 3] * stride + RING), rows)
            elif op == OP_NEG:
                _neg(s, d, a, rows)
            elif op == OP_ABS:
                _abs(s, d, a, rows)
            elif op == OP_NOT:
                _not(s, d, a, rows)
            elif op == OP_TANH:
                _tanh(s, d, a, rows)
            elif op == OP_SIGMOID:
                _sigmoid(s, d, a, rows)
            elif op == OP_CLIP:
                _clip(s, d, a, rows)
            elif op == OP_LOG1P:
                _log1p(s, d, a, rows)
            elif op == OP_SQRT:
                _sqrt(s, d, a, rows)
        if to < 0:
            _store(out, np.uint64(-1 - to), np.uint64(at), s, d, rows)
