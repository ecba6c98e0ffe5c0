"""The compiler's kernels: prefix tokens to register code, a population in one call.

For each genome: number its values so that equal subtrees are one value (over all its trees), fold constants and
the few identities that hold to the last bit, drop what no output needs, give each value a register, emit.

An instruction is an opcode and four operands ``(destination, a, b, c)``, in postfix order:

========================  ===================================================================
opcode                    operands
========================  ===================================================================
FEATURE                   register, feature, ring or -1
LAG .. ZSCORE             register, register of the feature, k, ring
CONSTANT                  register, index into constants
COPY and the primitives   register, register(s)
the ``..._C`` forms       register, register, index into constants
========================  ===================================================================

Registers 0 .. n_columns - 1 are columns: features as read and windows over them; they are filled first. A
negative destination -1 - o is output o. A destination is never one of its own operands, so that the loops over
blocks need not fear overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from apex_nautilus.genome import scalar
from apex_nautilus.genome._select import bits_float, float_bits
from apex_nautilus.genome.primitives import (
    OP_ABS,
    OP_ADD,
    OP_AND,
    OP_CLIP,
    OP_CONSTANT,
    OP_COPY,
    OP_DELTA,
    OP_DIV,
    OP_FEATURE,
    OP_GT,
    OP_IF,
    OP_LAG,
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
    OP_ZSCORE,
    TINY,
)

#: Forms with a constant as one operand; they save filling a register with it.
OP_ADD_C = 32  # a + c (and a - c as a + -c)
OP_MUL_C = 33
OP_C_SUB = 34  # c - a
OP_DIV_C = 35  # a / c, |c| >= TINY
OP_C_DIV = 36  # c / a
OP_MIN_C = 37
OP_MAX_C = 38
OP_GT_C = 39
OP_LT_C = 40

#: Room for a window in a state: the next power of two above the longest window and the row itself.
RING = 64

#: No register, no constant: outputs are small negative registers, so this is far below them.
_NO_VALUE = -(1 << 30)


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


@njit(cache=True)
def _intern(op, a, b, c, bits, vop, va, vb, vc, vbits, table, stamp, mark, count):
    """The number of this value, a new one if it has not been seen in this genome."""
    mask = table.size - 1
    h = op * 73856093 ^ a * 19349663 ^ b * 83492791 ^ c * 1640531513 ^ (bits ^ (bits >> 32)) * 2654435761
    h ^= h >> 15
    slot = h & mask
    while stamp[slot] == mark:
        v = table[slot]
        if vop[v] == op and va[v] == a and vb[v] == b and vc[v] == c and vbits[v] == bits:
            return v
        slot = (slot + 1) & mask
    v = count[0]
    count[0] += 1
    stamp[slot] = mark
    table[slot] = v
    vop[v], va[v], vb[v], vc[v], vbits[v] = op, a, b, c, bits
    return v


@njit(cache=True)
def _is_condition(op):
    return op == OP_GT or op == OP_LT or op == OP_AND or op == OP_OR or op == OP_NOT


@njit(cache=True)
def _arity(op):
    if op == OP_IF:
        return 3
    if (
        op == OP_ADD
        or op == OP_SUB
        or op == OP_MUL
        or op == OP_DIV
        or op == OP_MIN
        or op == OP_MAX
        or op == OP_GT
        or op == OP_LT
        or op == OP_AND
        or op == OP_OR
    ):
        return 2
    return 1


@njit(cache=True)
def compile_kernel(codes, values, trees, genomes, opcodes, operands, constants, code_at, constant_at, shape):
    """Compile every genome.

    Parameters
    ----------
    codes, values, trees, genomes
        See `Flat`.
    opcodes, operands, constants : ndarray
        Filled; room for 4 instructions a token and 2 an output.
    code_at, constant_at : ndarray of int64, shape (n_genomes + 1,)
        Filled: where each genome's instructions and constants start.
    shape : ndarray of int64, shape (n_genomes, 5)
        Filled: registers, columns, rings, warm-up rows, outputs.

    Returns
    -------
    int
        -1, or the index of the token that makes no sense.
    """
    n_genomes = genomes.size - 1
    most = 0
    for g in range(n_genomes):
        most = max(most, trees[genomes[g + 1]] - trees[genomes[g]])
    room = 4 * most + 8
    size = 16
    while size < 2 * room:
        size *= 2
    table = np.zeros(size, np.int64)
    stamp = np.full(size, -1, np.int64)
    vop = np.zeros(room, np.int64)
    va = np.zeros(room, np.int64)
    vb = np.zeros(room, np.int64)
    vc = np.zeros(room, np.int64)
    vbits = np.zeros(room, np.int64)
    stack = np.zeros(room, np.int64)
    uses = np.zeros(room, np.int64)
    register = np.zeros(room, np.int64)
    free = np.zeros(room, np.int64)
    ring = np.zeros(room, np.int64)
    spot = np.zeros(room, np.int64)
    count = np.zeros(1, np.int64)
    args = np.zeros(3, np.int64)
    pc = 0
    n_constants = 0
    for g in range(n_genomes):
        code_at[g] = pc
        constant_at[g] = n_constants
        n_outputs = genomes[g + 1] - genomes[g]
        roots = np.zeros(n_outputs, np.int64)
        count[0] = 0

        # Values. Prefix order read backwards meets every child before its parent, first child on top.
        for t in range(n_outputs):
            start, stop = trees[genomes[g] + t], trees[genomes[g] + t + 1]
            top = 0
            for i in range(stop - 1, start - 1, -1):
                op = np.int64(codes[i])
                if op == OP_FEATURE:
                    v = _intern(
                        op, np.int64(values[i]), 0, 0, 0, vop, va, vb, vc, vbits, table, stamp, g, count
                    )
                elif op == OP_CONSTANT:
                    # -0.0 and 0.0 share an id, so they must act alike
                    bits = float_bits(values[i] + 0.0)
                    v = _intern(op, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count)
                elif op <= OP_ZSCORE:
                    if top < 1 or vop[stack[top - 1]] != OP_FEATURE:
                        return i
                    top -= 1
                    v = _intern(
                        op,
                        stack[top],
                        np.int64(values[i]),
                        0,
                        0,
                        vop,
                        va,
                        vb,
                        vc,
                        vbits,
                        table,
                        stamp,
                        g,
                        count,
                    )
                else:
                    n = _arity(op)
                    if top < n:
                        return i
                    args[1] = 0
                    args[2] = 0
                    for j in range(n):
                        top -= 1
                        args[j] = stack[top]
                    # A number in the place of a condition stands for number > 0.
                    wanted = (
                        1 if (op == OP_IF or op == OP_NOT) else (2 if (op == OP_AND or op == OP_OR) else 0)
                    )
                    for j in range(wanted):
                        a = args[j]
                        if vop[a] == OP_CONSTANT:
                            bits = float_bits(1.0 if bits_float(vbits[a]) > 0.0 else 0.0)
                            args[j] = _intern(
                                OP_CONSTANT, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count
                            )
                        elif not _is_condition(vop[a]):
                            zero = _intern(
                                OP_CONSTANT, 0, 0, 0, 0, vop, va, vb, vc, vbits, table, stamp, g, count
                            )
                            args[j] = _intern(
                                OP_GT, a, zero, 0, 0, vop, va, vb, vc, vbits, table, stamp, g, count
                            )
                    v = _simplified(op, n, args, vop, va, vb, vc, vbits, table, stamp, g, count)
                stack[top] = v
                top += 1
            if top != 1:
                return start
            roots[t] = stack[0]
        n_values = count[0]

        # What the outputs need: parents have higher numbers than their children. A feature that is named is
        # read, even where folding left it without use, so that counting NaN does not depend on folding.
        for v in range(n_values):
            uses[v] = 1 if vop[v] == OP_FEATURE else 0
        for t in range(n_outputs):
            uses[roots[t]] += 1
        for v in range(n_values - 1, -1, -1):
            if uses[v] == 0:
                continue
            op = vop[v]
            if op == OP_FEATURE or op == OP_CONSTANT:
                continue
            uses[va[v]] += 1
            if op <= OP_ZSCORE:
                continue
            if _arity(op) >= 2:
                uses[vb[v]] += 1
            if op == OP_IF:
                uses[vc[v]] += 1

        # Columns: features first, then windows over them.
        n_columns = 0
        n_rings = 0
        warmup = 0
        for v in range(n_values):
            register[v] = _NO_VALUE
            ring[v] = -1
            spot[v] = -1
        for v in range(n_values):
            if uses[v] > 0 and OP_LAG <= vop[v] <= OP_ZSCORE:
                k = vb[v]
                warmup = max(warmup, k if vop[v] <= OP_DELTA else k - 1)
                if ring[va[v]] < 0:
                    ring[va[v]] = n_rings
                    n_rings += 1
        for v in range(n_values):
            if uses[v] > 0 and vop[v] == OP_FEATURE:
                register[v] = n_columns
                n_columns += 1
                pc = _emit(opcodes, operands, pc, OP_FEATURE, register[v], va[v], ring[v], 0)
        for v in range(n_values):
            if uses[v] > 0 and OP_LAG <= vop[v] <= OP_ZSCORE:
                register[v] = n_columns
                n_columns += 1
                pc = _emit(opcodes, operands, pc, vop[v], register[v], register[va[v]], vb[v], ring[va[v]])

        # Body. An output that nothing else needs goes straight to its place.
        for t in range(n_outputs):
            r = roots[t]
            if uses[r] == 1 and vop[r] > OP_CONSTANT:
                register[r] = -1 - t
        n_registers = n_columns
        n_free = 0
        for v in range(n_values):
            op = vop[v]
            if uses[v] == 0 or op <= OP_CONSTANT:
                continue
            x, y, z = va[v], vb[v], vc[v]
            n = _arity(op)
            constant = _NO_VALUE
            if n == 2:
                op, x, y, constant = _with_constant(op, x, y, vop, vbits)
            # constants that no form takes are filled into a register, once
            for j in range(n):
                a = x if j == 0 else (y if j == 1 else z)
                if a != constant and vop[a] == OP_CONSTANT and register[a] < 0:
                    if n_free > 0:
                        n_free -= 1
                        register[a] = free[n_free]
                    else:
                        register[a] = n_registers
                        n_registers += 1
                    constants[n_constants] = bits_float(vbits[a])
                    pc = _emit(
                        opcodes, operands, pc, OP_CONSTANT, register[a], n_constants - constant_at[g], 0, 0
                    )
                    n_constants += 1
            if register[v] == _NO_VALUE:
                if n_free > 0:
                    n_free -= 1
                    register[v] = free[n_free]
                else:
                    register[v] = n_registers
                    n_registers += 1
            if constant != _NO_VALUE:
                if spot[constant] < 0 or op == OP_ADD_C:
                    value = bits_float(vbits[constant])
                    if op == OP_ADD_C and vop[v] == OP_SUB:
                        value = -value
                    constants[n_constants] = value
                    if op != OP_ADD_C:
                        spot[constant] = n_constants
                    at = n_constants
                    n_constants += 1
                else:
                    at = spot[constant]
                pc = _emit(opcodes, operands, pc, op, register[v], register[x], at - constant_at[g], 0)
            else:
                pc = _emit(
                    opcodes,
                    operands,
                    pc,
                    op,
                    register[v],
                    register[x],
                    register[y] if n >= 2 else 0,
                    register[z] if n == 3 else 0,
                )
            for j in range(n):
                a = x if j == 0 else (y if j == 1 else z)
                uses[a] -= 1
                if uses[a] == 0 and register[a] >= n_columns:
                    free[n_free] = register[a]
                    n_free += 1
        for t in range(n_outputs):
            r = roots[t]
            if vop[r] == OP_CONSTANT:
                constants[n_constants] = bits_float(vbits[r])
                pc = _emit(opcodes, operands, pc, OP_CONSTANT, -1 - t, n_constants - constant_at[g], 0, 0)
                n_constants += 1
            elif register[r] != -1 - t:
                pc = _emit(opcodes, operands, pc, OP_COPY, -1 - t, register[r], 0, 0)
        shape[g, 0] = n_registers + 1  # one to pass outputs through
        shape[g, 1] = n_columns
        shape[g, 2] = n_rings
        shape[g, 3] = warmup
        shape[g, 4] = n_outputs
    code_at[n_genomes] = pc
    constant_at[n_genomes] = n_constants
    return -1


@njit(cache=True)
def _emit(opcodes, operands, pc, op, destination, a, b, c):
    opcodes[pc] = op
    operands[4 * pc] = destination
    operands[4 * pc + 1] = a
    operands[4 * pc + 2] = b
    operands[4 * pc + 3] = c
    return pc + 1


@njit(cache=True)
def _simplified(op, n, args, vop, va, vb, vc, vbits, table, stamp, g, count):
    """The value of ``op(args)``, by a shorter way where that gives the same bits."""
    a, b, c = args[0], args[1], args[2]
    if op == OP_IF:
        if vop[a] == OP_CONSTANT:
            return b if bits_float(vbits[a]) > 0.0 else c
        if b == c:
            return b
    elif n == 2:
        if vop[a] == OP_CONSTANT and vop[b] == OP_CONSTANT:
            bits = float_bits(apply(op, bits_float(vbits[a]), bits_float(vbits[b]), 0.0))
            return _intern(OP_CONSTANT, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count)
        if a == b:
            # all values are finite, so x - x is 0, x / x (or its protection) 1, and x is not above itself
            if op == OP_MIN or op == OP_MAX or op == OP_AND or op == OP_OR:
                return a
            if op == OP_SUB or op == OP_GT or op == OP_LT:
                return _intern(OP_CONSTANT, 0, 0, 0, 0, vop, va, vb, vc, vbits, table, stamp, g, count)
            if op == OP_DIV:
                bits = float_bits(1.0)
                return _intern(OP_CONSTANT, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count)
        if op == OP_DIV and vop[b] == OP_CONSTANT and abs(bits_float(vbits[b])) < TINY:
            bits = float_bits(1.0)
            return _intern(OP_CONSTANT, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count)
        if op == OP_LT:  # a < b is b > a
            op, a, b = OP_GT, b, a
        if (op == OP_ADD or op == OP_MUL or op == OP_AND) and a > b:  # exactly commutative
            a, b = b, a
        c = 0
    else:
        if vop[a] == OP_CONSTANT:
            bits = float_bits(apply(op, bits_float(vbits[a]), 0.0, 0.0))
            return _intern(OP_CONSTANT, 0, 0, 0, bits, vop, va, vb, vc, vbits, table, stamp, g, count)
        if (op == OP_NEG and vop[a] == OP_NEG) or (op == OP_NOT and vop[a] == OP_NOT):
            return va[a]
        if (op == OP_ABS or op == OP_CLIP) and vop[a] == op:
            return a
        b = 0
        c = 0
    return _intern(op, a, b, c, 0, vop, va, vb, vc, vbits, table, stamp, g, count)


@njit(cache=True)
def _with_constant(op, x, y, vop, vbits):
    """The form of a two-argument primitive that takes its constant directly: (op, register value, -, constant)."""
    if vop[y] == OP_CONSTANT:
        if op == OP_ADD or op == OP_SUB:
            return OP_ADD_C, x, y, y
        if op == OP_MUL:
            return OP_MUL_C, x, y, y
        if op == OP_DIV:
            return OP_DIV_C, x, y, y
        if op == OP_MIN:
            return OP_MIN_C, x, y, y
        if op == OP_MAX:
            return OP_MAX_C, x, y, y
        if op == OP_GT:
            return OP_GT_C, x, y, y
    elif vop[x] == OP_CONSTANT:
        if op == OP_ADD:
            return OP_ADD_C, y, x, x
        if op == OP_SUB:
            return OP_C_SUB, y, x, x
        if op == OP_MUL:
            return OP_MUL_C, y, x, x
        if op == OP_DIV:
            return OP_C_DIV, y, x, x
        if op == OP_GT:
            return OP_LT_C, y, x, x
        if bits_float(vbits[x]) != 0.0:  # min(0.0, -0.0) depends on the order
            if op == OP_MIN:
                return OP_MIN_C, y, x, x
            if op == OP_MAX:
                return OP_MAX_C, y, x, x
    return op, x, y, _NO_VALUE


@njit(cache=True)
def link_kernel(opcodes, operands, code_at, shape, seen, columns, body, body_operands, body_at):
    """Give a batch's programs common columns, and their bodies registers that count from those.

    Parameters
    ----------
    opcodes, operands, code_at, shape
        Of the batch.
    seen : ndarray of int32, shape (n_features, 7, 64)
        Filled with -1: which column holds (feature, opcode, k).
    columns : ndarray of int32, shape (room, 4)
        Filled: opcode, feature, k, column of the feature.
    body, body_operands, body_at
        Filled like opcodes, operands, code_at, without the instructions that fill columns.

    Returns
    -------
    int
        Number of columns.
    """
    n_columns = 0
    n_genomes = code_at.size - 1
    for g in range(n_genomes):
        for i in range(code_at[g], code_at[g] + shape[g, 1]):
            if opcodes[i] == OP_FEATURE and seen[operands[4 * i + 1], 0, 0] < 0:
                f = operands[4 * i + 1]
                seen[f, 0, 0] = n_columns
                columns[n_columns, 0] = OP_FEATURE
                columns[n_columns, 1] = f
                columns[n_columns, 2] = 0
                columns[n_columns, 3] = 0
                n_columns += 1
    for g in range(n_genomes):
        first = code_at[g]
        for i in range(first, first + shape[g, 1]):
            op = opcodes[i]
            if op != OP_FEATURE:
                f = operands[4 * (first + operands[4 * i + 1]) + 1]
                k = operands[4 * i + 2]
                if seen[f, op, k] < 0:
                    seen[f, op, k] = n_columns
                    columns[n_columns, 0] = op
                    columns[n_columns, 1] = f
                    columns[n_columns, 2] = k
                    columns[n_columns, 3] = seen[f, 0, 0]
                    n_columns += 1
    place = 0
    for g in range(n_genomes):
        body_at[g] = place
        first = code_at[g]
        own = shape[g, 1]
        for i in range(first + own, code_at[g + 1]):
            op = opcodes[i]
            body[place] = op
            for j in range(4):
                r = operands[4 * i + j]
                # constants are counted, not registered: operand a of CONSTANT, operand b of the _C forms
                if (j == 1 and op == OP_CONSTANT) or (j == 2 and op >= OP_ADD_C) or r < 0:
                    pass
                elif r < own:
                    p = first + r
                    if opcodes[p] == OP_FEATURE:
                        r = seen[operands[4 * p + 1], 0, 0]
                    else:
                        f = operands[4 * (first + operands[4 * p + 1]) + 1]
                        r = seen[f, opcodes[p], operands[4 * p + 2]]
                else:
                    r = n_columns + r - own
                body_operands[4 * place + j] = r
            place += 1
    body_at[n_genomes] = place
    return n_columns
