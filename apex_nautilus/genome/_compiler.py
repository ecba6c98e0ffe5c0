"""The compiler's kernels: prefix tokens to register code, a population in one call.

For each genome: number its values so that equal subtrees are one value (over all its trees), fold constants
and the few identities that hold to the last bit, drop what no output needs, give each value a register, emit.

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
negative destination -1 - o is output o. A destination is never one of its own operands, so that the loops
over blocks need not fear overlap.
"""

# ruff: noqa: SIM109  (comparisons compile to one switch; a search in a tuple does not)
from __future__ import annotations

import numpy as np
from numba import njit

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
from apex_nautilus.genome._operations import apply
from apex_nautilus.genome._traced import bits_float, float_bits
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
    OP_LT,
    OP_MAX,
    OP_MIN,
    OP_MUL,
    OP_NEG,
    OP_NOT,
    OP_OR,
    OP_SUB,
    OP_ZSCORE,
    TINY,
)

#: Columns of the book of values: what each value is, then what becomes of it.
OP, A, B, C, BITS, USES, REGISTER, RING_OF = range(8)
#: How far instructions and constants have been written.
CODE, NUMBER = range(2)
#: No register, no constant: outputs are small negative registers, so this is far below them.
_NO_VALUE = -(1 << 30)


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
        -1, or the index of a token at which no tree can be read.
    """
    n_genomes = genomes.size - 1
    most = 0
    for g in range(n_genomes):
        most = max(most, trees[genomes[g + 1]] - trees[genomes[g]])
    # a token makes one value and at most two comparisons with zero; zero and the outputs come on top
    room = 4 * most + 8
    size = 16
    while size < 2 * room:
        size *= 2
    book = np.zeros((room, 8), np.int64)
    table = np.full((size + 1, 2), -1, np.int64)
    stack = np.zeros(room, np.int64)
    free = np.zeros(room, np.int64)
    at = np.zeros(2, np.int64)
    for g in range(n_genomes):
        code_at[g] = at[CODE]
        constant_at[g] = at[NUMBER]
        table[size, 1] = 0
        roots = np.zeros(genomes[g + 1] - genomes[g], np.int64)
        for t in range(roots.size):
            tree = genomes[g] + t
            fault = _read(codes, values, trees[tree], trees[tree + 1], book, table, g, stack)
            if fault >= 0:
                return fault
            roots[t] = stack[0]
        n_values = table[size, 1]
        _count_uses(book, n_values, roots)
        _place_columns(book, n_values, opcodes, operands, at, shape[g])
        shape[g, 4] = roots.size
        _place_body(book, n_values, roots, free, opcodes, operands, constants, at, constant_at[g], shape[g])
    code_at[n_genomes] = at[CODE]
    constant_at[n_genomes] = at[NUMBER]
    return -1


@njit(cache=True)
def _read(codes, values, start, stop, book, table, g, stack):
    """Number the values of one tree; its root is left at the bottom of the stack. -1, or the faulty token.

    Prefix order read backwards meets every child before its parent, the first child on top of the stack.
    """
    # numba compiles a function anew for a literal argument; a typed zero spares that
    zero = np.int64(0)
    top = 0
    for i in range(stop - 1, start - 1, -1):
        op = np.int64(codes[i])
        if op == OP_FEATURE:
            v = _intern(book, table, g, op, np.int64(values[i]), zero, zero, zero)
        elif op == OP_CONSTANT:
            v = _number(book, table, g, values[i] + 0.0)  # -0.0 and 0.0 share an id, so they must act alike
        elif op <= OP_ZSCORE:
            if top < 1 or book[stack[top - 1], OP] != OP_FEATURE:
                return i
            top -= 1
            v = _intern(book, table, g, op, stack[top], np.int64(values[i]), zero, zero)
        else:
            n = _arity(op)
            if top < n:
                return i
            a = stack[top - 1]
            b = stack[top - 2] if n > 1 else zero
            c = stack[top - 3] if n > 2 else zero
            top -= n
            if op == OP_IF or op == OP_NOT or op == OP_AND or op == OP_OR:
                a = _condition(book, table, g, a)
            if op == OP_AND or op == OP_OR:
                b = _condition(book, table, g, b)
            v = _simplified(book, table, g, op, n, a, b, c)
        stack[top] = v
        top += 1
    return -1 if top == 1 else start


@njit(cache=True)
def _condition(book, table, g, v):
    """The value as a condition: a number stands for number > 0."""
    op = book[v, OP]
    if op == OP_GT or op == OP_AND or op == OP_OR or op == OP_NOT:
        return v
    two, none = np.int64(2), np.int64(0)
    return _simplified(book, table, g, np.int64(OP_GT), two, v, _number(book, table, g, 0.0), none)


@njit(cache=True)
def _count_uses(book, n_values, roots):
    """How often each value is needed; 0 for what no output needs.

    A feature that is named is read, even where folding left it without use, so that counting NaN does not
    depend on folding.
    """
    for v in range(n_values):
        book[v, USES] = 1 if book[v, OP] == OP_FEATURE else 0
    for t in range(roots.size):
        book[roots[t], USES] += 1
    for v in range(n_values - 1, -1, -1):  # parents have higher numbers than their children
        op = book[v, OP]
        if book[v, USES] == 0 or op == OP_FEATURE or op == OP_CONSTANT:
            continue
        book[book[v, A], USES] += 1
        if op > OP_ZSCORE:
            n = _arity(op)
            if n > 1:
                book[book[v, B], USES] += 1
            if n > 2:
                book[book[v, C], USES] += 1


@njit(cache=True)
def _place_columns(book, n_values, opcodes, operands, at, shape):
    """Registers for features, then for windows over them, and the instructions that fill them."""
    n_columns = 0
    n_rings = 0
    warmup = 0
    for v in range(n_values):
        book[v, REGISTER] = _NO_VALUE
        book[v, RING_OF] = -1
    for v in range(n_values):
        if book[v, USES] > 0 and OP_LAG <= book[v, OP] <= OP_ZSCORE:
            k = book[v, B]
            warmup = max(warmup, k if book[v, OP] <= OP_DELTA else k - 1)
            if book[book[v, A], RING_OF] < 0:
                book[book[v, A], RING_OF] = n_rings
                n_rings += 1
    for v in range(n_values):
        if book[v, USES] > 0 and book[v, OP] == OP_FEATURE:
            book[v, REGISTER] = n_columns
            n_columns += 1
            _emit(opcodes, operands, at, OP_FEATURE, book[v, REGISTER], book[v, A], book[v, RING_OF], 0)
    for v in range(n_values):
        if book[v, USES] > 0 and OP_LAG <= book[v, OP] <= OP_ZSCORE:
            f = book[v, A]
            book[v, REGISTER] = n_columns
            n_columns += 1
            _emit(
                opcodes,
                operands,
                at,
                book[v, OP],
                book[v, REGISTER],
                book[f, REGISTER],
                book[v, B],
                book[f, RING_OF],
            )
    shape[1] = n_columns
    shape[2] = n_rings
    shape[3] = warmup


@njit(cache=True)
def _place_body(book, n_values, roots, free, opcodes, operands, constants, at, first_constant, shape):
    """Registers and instructions for the rest. A register is free again after its value's last use."""
    n_columns = shape[1]
    n_registers = n_columns
    n_free = 0
    for t in range(roots.size):  # an output that nothing else needs goes straight to its place
        r = roots[t]
        if book[r, USES] == 1 and book[r, OP] > OP_CONSTANT:
            book[r, REGISTER] = -1 - t
    for v in range(n_values):
        op = book[v, OP]
        if book[v, USES] == 0 or op <= OP_CONSTANT:
            continue
        n = _arity(op)
        x, y, z = book[v, A], book[v, B], book[v, C]
        constant = _NO_VALUE
        if n == 2:
            op, x, y, constant = _with_constant(op, x, y, book)
        # the constants that no form takes, then the value itself
        for j in range(n + 1):
            a = v if j == n else (x if j == 0 else (y if j == 1 else z))
            if book[a, REGISTER] != _NO_VALUE or a == constant:
                continue
            if n_free > 0:
                n_free -= 1
                book[a, REGISTER] = free[n_free]
            else:
                book[a, REGISTER] = n_registers
                n_registers += 1
            if j < n:
                place = _keep(constants, at, bits_float(book[a, BITS])) - first_constant
                _emit(opcodes, operands, at, OP_CONSTANT, book[a, REGISTER], place, 0, 0)
        if constant != _NO_VALUE:
            number = bits_float(book[constant, BITS])
            if op == OP_ADD_C and book[v, OP] == OP_SUB:
                number = -number
            place = _keep(constants, at, number) - first_constant
            _emit(opcodes, operands, at, op, book[v, REGISTER], book[x, REGISTER], place, 0)
        else:
            b = book[y, REGISTER] if n > 1 else 0
            c = book[z, REGISTER] if n > 2 else 0
            _emit(opcodes, operands, at, op, book[v, REGISTER], book[x, REGISTER], b, c)
        for j in range(n):
            a = x if j == 0 else (y if j == 1 else z)
            book[a, USES] -= 1
            if book[a, USES] == 0 and book[a, REGISTER] >= n_columns:
                free[n_free] = book[a, REGISTER]
                n_free += 1
    for t in range(roots.size):
        r = roots[t]
        if book[r, OP] == OP_CONSTANT:
            place = _keep(constants, at, bits_float(book[r, BITS])) - first_constant
            _emit(opcodes, operands, at, OP_CONSTANT, -1 - t, place, 0, 0)
        elif book[r, REGISTER] != -1 - t:
            _emit(opcodes, operands, at, OP_COPY, -1 - t, book[r, REGISTER], 0, 0)
    shape[0] = n_registers + 1  # one more, to pass outputs through


@njit(cache=True)
def _keep(constants, at, number):
    """Append a constant; its place."""
    place = at[NUMBER]
    constants[place] = number
    at[NUMBER] = place + 1
    return place


@njit(cache=True)
def _emit(opcodes, operands, at, op, destination, a, b, c):
    """Append an instruction."""
    place = at[CODE]
    opcodes[place] = op
    operands[4 * place] = destination
    operands[4 * place + 1] = a
    operands[4 * place + 2] = b
    operands[4 * place + 3] = c
    at[CODE] = place + 1


@njit(cache=True)
def _intern(book, table, g, op, a, b, c, bits):
    """The number of the value (op, a, b, c, bits), a new one if this genome has not used it yet.

    `book` has a row a value; `table` is an open-addressing hash table of (genome, number), whose last row
    counts the values.
    """
    last = table.shape[0] - 1
    h = op * 73856093 ^ a * 19349663 ^ b * 83492791 ^ c * 1640531513 ^ (bits ^ (bits >> 32)) * 2654435761
    slot = (h ^ (h >> 15)) & (last - 1)
    while table[slot, 0] == g:
        v = table[slot, 1]
        if (
            book[v, OP] == op
            and book[v, A] == a
            and book[v, B] == b
            and book[v, C] == c
            and book[v, BITS] == bits
        ):
            return v
        slot = (slot + 1) & (last - 1)
    v = table[last, 1]
    table[last, 1] = v + 1
    table[slot, 0] = g
    table[slot, 1] = v
    book[v, OP] = op
    book[v, A] = a
    book[v, B] = b
    book[v, C] = c
    book[v, BITS] = bits
    return v


@njit(cache=True)
def _number(book, table, g, x):
    """The value that is the constant `x`."""
    zero = np.int64(0)
    return _intern(book, table, g, np.int64(OP_CONSTANT), zero, zero, zero, float_bits(x))


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
def _simplified(book, table, g, op, n, a, b, c):
    """The value of ``op(args)``, by a shorter way where that gives the same bits."""
    if op == OP_IF:
        if book[a, OP] == OP_CONSTANT:
            return b if bits_float(book[a, BITS]) > 0.0 else c
        if b == c:
            return b
    elif n == 2:
        if book[a, OP] == OP_CONSTANT and book[b, OP] == OP_CONSTANT:
            return _number(
                book, table, g, apply(op, bits_float(book[a, BITS]), bits_float(book[b, BITS]), 0.0)
            )
        if a == b:
            # all values are finite, so x - x is 0, x / x (or its protection) 1, and x is not above itself
            if op == OP_MIN or op == OP_MAX or op == OP_AND or op == OP_OR:
                return a
            if op == OP_SUB or op == OP_GT or op == OP_LT:
                return _number(book, table, g, 0.0)
            if op == OP_DIV:
                return _number(book, table, g, 1.0)
        if op == OP_DIV and book[b, OP] == OP_CONSTANT and abs(bits_float(book[b, BITS])) < TINY:
            return _number(book, table, g, 1.0)
        if op == OP_LT:  # a < b is b > a
            op, a, b = np.int64(OP_GT), b, a
        if (op == OP_ADD or op == OP_MUL or op == OP_AND) and a > b:  # exactly commutative
            a, b = b, a
    else:
        if book[a, OP] == OP_CONSTANT:
            return _number(book, table, g, apply(op, bits_float(book[a, BITS]), 0.0, 0.0))
        if (op == OP_NEG and book[a, OP] == OP_NEG) or (op == OP_NOT and book[a, OP] == OP_NOT):
            return book[a, A]
        if (op == OP_ABS or op == OP_CLIP) and book[a, OP] == op:
            return a
    return _intern(book, table, g, op, a, b, c, np.int64(0))


@njit(cache=True)
def _with_constant(op, x, y, book):
    """The form of a two-argument primitive that takes its constant directly: (op, x, y, the constant)."""
    if book[y, OP] == OP_CONSTANT:
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
    elif book[x, OP] == OP_CONSTANT:
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
        if bits_float(book[x, BITS]) != 0.0:  # min(0.0, -0.0) depends on the order
            if op == OP_MIN:
                return OP_MIN_C, y, x, x
            if op == OP_MAX:
                return OP_MAX_C, y, x, x
    return op, x, y, _NO_VALUE
