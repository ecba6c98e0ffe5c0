"""The loops over a block of rows: one short function a primitive.

Each takes the destination, its operands and the number of rows. The destination never overlaps an operand, all
are contiguous, and the bodies are the functions of `scalar`, so LLVM vectorises them without changing a bit.
"""

from __future__ import annotations

import math

from numba import njit

from apex_nautilus.genome import scalar
from apex_nautilus.genome._compiler import (
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
from apex_nautilus.genome.primitives import (
    OP_ABS,
    OP_ADD,
    OP_AND,
    OP_CLIP,
    OP_CONSTANT,
    OP_DELTA,
    OP_DIV,
    OP_GT,
    OP_IF,
    OP_LAG,
    OP_LOG1P,
    OP_LT,
    OP_MAX,
    OP_MEAN,
    OP_MIN,
    OP_MUL,
    OP_NEG,
    OP_NOT,
    OP_OR,
    OP_RANK,
    OP_SIGMOID,
    OP_SQRT,
    OP_STD,
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


@njit(cache=True)
def window_column(d, column, op, k, lo, n):
    """A windowed primitive over rows lo .. lo + n - 1 of a cleaned column, into d[0 .. n - 1].

    Sums run from the oldest row to the newest, as the kernel over one row does.
    """
    look_back = k if op <= OP_DELTA else k - 1
    first = min(max(look_back - lo, 0), n)
    for i in range(first):
        d[i] = 0.0
    if op == OP_LAG:
        for i in range(first, n):
            d[i] = column[RING + i - k]
        return
    if op == OP_DELTA:
        for i in range(first, n):
            d[i] = scalar.sub(column[RING + i], column[RING + i - k])
        return
    size = float(k)
    if op == OP_RANK:
        if k == 1:
            for i in range(first, n):
                d[i] = 0.5
            return
        for i in range(first, n):
            d[i] = 0.0
        for j in range(k - 1, 0, -1):
            for i in range(first, n):
                d[i] += rank_step(column[RING + i - j], column[RING + i])
        for i in range(first, n):
            d[i] /= size - 1.0
        return
    # Eight rows at a time stay in registers over the whole window.
    for i in range(first, n):
        total = 0.0
        for j in range(k - 1, -1, -1):
            total += column[RING + i - j]
        d[i] = total / size
    if op == OP_MEAN:
        return
    for i in range(first, n):
        mean = d[i]
        total = 0.0
        for j in range(k - 1, -1, -1):
            off = column[RING + i - j] - mean
            total += off * off
        std = math.sqrt(total / size)
        d[i] = std if op == OP_STD else scalar.zscore(column[RING + i], mean, std)


@njit(cache=True, inline="always")
def rank_step(before, now):
    """What one earlier row adds to a rank: 1 if below, half if equal."""
    return (1.0 if before < now else 0.0) + (0.5 if before == now else 0.0)


@njit(cache=True)
def _add(d, a, b, n):
    for i in range(n):
        d[i] = scalar.add(a[i], b[i])


@njit(cache=True)
def _sub(d, a, b, n):
    for i in range(n):
        d[i] = scalar.sub(a[i], b[i])


@njit(cache=True)
def _mul(d, a, b, n):
    for i in range(n):
        d[i] = scalar.mul(a[i], b[i])


@njit(cache=True, error_model="numpy")
def _div(d, a, b, n):
    for i in range(n):
        d[i] = scalar.divide(a[i], b[i])


@njit(cache=True)
def _min(d, a, b, n):
    for i in range(n):
        d[i] = scalar.minimum(a[i], b[i])


@njit(cache=True)
def _max(d, a, b, n):
    for i in range(n):
        d[i] = scalar.maximum(a[i], b[i])


@njit(cache=True)
def _gt(d, a, b, n):
    for i in range(n):
        d[i] = scalar.gt(a[i], b[i])


@njit(cache=True)
def _and(d, a, b, n):
    for i in range(n):
        d[i] = scalar.and_(a[i], b[i])


@njit(cache=True)
def _if(d, a, b, c, n):
    for i in range(n):
        d[i] = scalar.select(a[i], b[i], c[i])


@njit(cache=True)
def _neg(d, a, n):
    for i in range(n):
        d[i] = -a[i]


@njit(cache=True)
def _abs(d, a, n):
    for i in range(n):
        d[i] = scalar.absolute(a[i])


@njit(cache=True)
def _not(d, a, n):
    for i in range(n):
        d[i] = scalar.invert(a[i])


@njit(cache=True, error_model="numpy")
def _tanh(d, a, n):
    for i in range(n):
        d[i] = scalar.tanh(a[i])


@njit(cache=True, error_model="numpy")
def _sigmoid(d, a, n):
    for i in range(n):
        d[i] = scalar.sigmoid(a[i])


@njit(cache=True)
def _clip(d, a, n):
    for i in range(n):
        d[i] = scalar.clip(a[i])


@njit(cache=True, error_model="numpy")
def _log1p(d, a, n):
    for i in range(n):
        d[i] = scalar.signed_log1p(a[i])


@njit(cache=True)
def _sqrt(d, a, n):
    for i in range(n):
        d[i] = scalar.signed_sqrt(a[i])


@njit(cache=True)
def _copy(d, a, n):
    for i in range(n):
        d[i] = a[i]


@njit(cache=True)
def _fill(d, c, n):
    for i in range(n):
        d[i] = c


@njit(cache=True)
def _add_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.add(a[i], c)


@njit(cache=True)
def _mul_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.mul(a[i], c)


@njit(cache=True)
def _c_sub(d, a, c, n):
    for i in range(n):
        d[i] = scalar.sub(c, a[i])


@njit(cache=True, error_model="numpy")
def _div_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.clamp(a[i] / c)


@njit(cache=True, error_model="numpy")
def _c_div(d, a, c, n):
    for i in range(n):
        d[i] = scalar.divide(c, a[i])


@njit(cache=True)
def _min_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.minimum(a[i], c)


@njit(cache=True)
def _max_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.maximum(a[i], c)


@njit(cache=True)
def _gt_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.gt(a[i], c)


@njit(cache=True)
def _lt_c(d, a, c, n):
    for i in range(n):
        d[i] = scalar.lt(a[i], c)


@njit(cache=True)
def run_body(opcodes, operands, start, stop, constants, base, scratch, out, at, n):
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
    out : ndarray of float64, shape (outputs, rows)
        Outputs are written to columns at .. at + n - 1.
    at, n : int
        Place in `out` and number of rows.
    """
    end = RING + n
    for i in range(start, stop):
        op = opcodes[i]
        j = 4 * i
        to = operands[j]
        a = operands[j + 1]
        b = operands[j + 2]
        d = scratch[to, RING:end] if to >= 0 else out[-1 - to, at : at + n]
        if op == OP_CONSTANT:
            _fill(d, constants[base + a], n)
            continue
        x = scratch[a, RING:end]
        if op >= OP_ADD_C:
            c = constants[base + b]
            if op == OP_ADD_C:
                _add_c(d, x, c, n)
            elif op == OP_MUL_C:
                _mul_c(d, x, c, n)
            elif op == OP_C_SUB:
                _c_sub(d, x, c, n)
            elif op == OP_DIV_C:
                _div_c(d, x, c, n)
            elif op == OP_C_DIV:
                _c_div(d, x, c, n)
            elif op == OP_MIN_C:
                _min_c(d, x, c, n)
            elif op == OP_MAX_C:
                _max_c(d, x, c, n)
            elif op == OP_GT_C:
                _gt_c(d, x, c, n)
            elif op == OP_LT_C:
                _lt_c(d, x, c, n)
            continue
        y = scratch[b, RING:end]
        if op == OP_ADD:
            _add(d, x, y, n)
        elif op == OP_SUB:
            _sub(d, x, y, n)
        elif op == OP_MUL:
            _mul(d, x, y, n)
        elif op == OP_DIV:
            _div(d, x, y, n)
        elif op == OP_MIN:
            _min(d, x, y, n)
        elif op == OP_MAX or op == OP_OR:
            _max(d, x, y, n)
        elif op == OP_GT:
            _gt(d, x, y, n)
        elif op == OP_LT:
            _gt(d, y, x, n)
        elif op == OP_AND:
            _and(d, x, y, n)
        elif op == OP_IF:
            _if(d, x, y, scratch[operands[j + 3], RING:end], n)
        elif op == OP_NEG:
            _neg(d, x, n)
        elif op == OP_ABS:
            _abs(d, x, n)
        elif op == OP_NOT:
            _not(d, x, n)
        elif op == OP_TANH:
            _tanh(d, x, n)
        elif op == OP_SIGMOID:
            _sigmoid(d, x, n)
        elif op == OP_CLIP:
            _clip(d, x, n)
        elif op == OP_LOG1P:
            _log1p(d, x, n)
        elif op == OP_SQRT:
            _sqrt(d, x, n)
        else:
            _copy(d, x, n)
