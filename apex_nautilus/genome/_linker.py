"""Linking a batch: what several programs need is computed once for all of them.

Every feature and window that any program reads becomes a column of the batch. Then the values that the
programs compute from those are numbered over the whole population, and those which most programs compute move
into a section that runs once a block, ahead of all programs.
"""

# ruff: noqa: SIM109  (comparisons compile to one switch; a search in a tuple does not)
from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.genome._operations import OPERATIONS
from apex_nautilus.genome._traced import float_bits
from apex_nautilus.genome.primitives import OP_ADD, OP_AND, OP_COPY, OP_FEATURE, OP_MUL

#: Most values that are shared: so many blocks stay in a second-level cache beside everything else.
MOST_SHARED: Final = 320

#: By opcode: operands that are registers, and which operand is a constant's place (0: none).
_REGISTERS = np.zeros(64, np.int64)
_CONSTANT = np.zeros(64, np.int64)
for _op, (_, _places) in OPERATIONS.items():
    _REGISTERS[_op] = len(_places.replace("k", ""))
    _CONSTANT[_op] = _REGISTERS[_op] + 1 if "k" in _places else 0

#: Columns of the book of values: what each value is, how many programs compute it, then what becomes of it.
OP, A, B, C, BITS, PLACE, USES, LAST, REGISTER, READERS = range(10)


@njit(cache=True)
def link_kernel(
    opcodes, operands, constants, code_at, constant_at, shape, seen, columns, body, body_operands, body_at
):
    """Give a batch's programs common columns and shared values, and bodies that count registers from those.

    Parameters
    ----------
    opcodes, operands, constants, code_at, constant_at, shape
        Of the batch.
    seen : ndarray of int32, shape (n_features, 7, 64)
        Filled with -1: which column holds (feature, opcode, k).
    columns : ndarray of int32, shape (room, 4)
        Filled: opcode, feature, k, column of the feature.
    body, body_operands : ndarray
        Filled: instructions of the shared section, then of each program. Room for the batch's own number.
    body_at : ndarray of int64, shape (n_genomes + 1,)
        Filled: where each program's body starts; the shared section lies before the first.

    Returns
    -------
    n_columns, n_fixed : int
        Columns, and registers that hold columns or shared values.
    """
    n_columns = _common_columns(opcodes, operands, code_at, shape, seen, columns)
    n_code = opcodes.size
    size = 16
    while size < 2 * (n_code + n_columns):
        size *= 2
    table = np.full(size, -1, np.int32)
    book = np.zeros((n_code + n_columns, 10), np.int64)
    results = np.empty(n_code, np.int32)
    arguments = np.empty((n_code, 3), np.int32)
    n_values = _number_values(
        opcodes,
        operands,
        constants,
        code_at,
        constant_at,
        shape,
        seen,
        n_columns,
        table,
        book,
        results,
        arguments,
    )
    # A program that computes a value computes its operands too, so whatever threshold chooses a value chooses
    # what it is made of.
    n_genomes = code_at.size - 1
    popularity = np.zeros(n_genomes + 1, np.int64)
    for v in range(n_columns, n_values):
        popularity[book[v, USES]] += 1
    least = n_genomes + 1
    total = 0
    while least > 2 and total + popularity[least - 1] <= MOST_SHARED:
        least -= 1
        total += popularity[least]
    n_fixed, place = _place_shared(
        operands, code_at, shape, least, n_columns, n_values, book, results, arguments, body, body_operands
    )
    for g in range(n_genomes):
        body_at[g] = place
        shift = n_fixed - shape[g, 1]
        for i in range(code_at[g] + shape[g, 1], code_at[g + 1]):
            v = results[i]
            op = np.int64(opcodes[i])
            to = operands[4 * i]
            shared = book[v, USES] >= least
            if shared and to >= 0:
                continue
            body_operands[4 * place] = to if to < 0 else to + shift
            if shared:
                body[place] = OP_COPY
                body_operands[4 * place + 1] = book[v, REGISTER]
            else:
                body[place] = op
                for j in range(1, 4):
                    r = operands[4 * i + j]
                    if j <= _REGISTERS[op]:
                        w = arguments[i, j - 1]
                        r = book[w, REGISTER] if book[w, USES] >= least else r + shift
                    body_operands[4 * place + j] = r
            place += 1
    body_at[n_genomes] = place
    return n_columns, n_fixed


@njit(cache=True)
def _common_columns(opcodes, operands, code_at, shape, seen, columns):
    """List every feature, then every window over them, that any program reads; how many there are."""
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
    return n_columns


@njit(cache=True)
def _number_values(
    opcodes,
    operands,
    constants,
    code_at,
    constant_at,
    shape,
    seen,
    n_columns,
    table,
    book,
    results,
    arguments,
):
    """Number what the programs compute, equal values alike; how many there are.

    ``results[i]`` is the value of instruction i, ``arguments[i]`` those of its operands. The columns are the
    first values, and shared by their nature.
    """
    mask = table.size - 1
    always = np.int64(1) << 40
    for v in range(n_columns):
        book[v, USES] = always
        book[v, REGISTER] = v
    n_values = n_columns
    held = np.zeros(shape[:, 0].max() if shape.shape[0] else 0, np.int32)
    for g in range(code_at.size - 1):
        first = code_at[g]
        for i in range(first, first + shape[g, 1]):
            if opcodes[i] == OP_FEATURE:
                held[operands[4 * i]] = seen[operands[4 * i + 1], 0, 0]
            else:
                f = operands[4 * (first + operands[4 * i + 1]) + 1]
                held[operands[4 * i]] = seen[f, opcodes[i], operands[4 * i + 2]]
        for i in range(first + shape[g, 1], code_at[g + 1]):
            op = np.int64(opcodes[i])
            n = _REGISTERS[op]
            for j in range(3):
                arguments[i, j] = held[operands[4 * i + 1 + j]] if j < n else -1
            to = operands[4 * i]
            if op == OP_COPY:  # only outputs are copies
                results[i] = arguments[i, 0]
                continue
            bits = np.int64(0)
            place = np.int64(0)
            if _CONSTANT[op] > 0:
                place = constant_at[g] + operands[4 * i + _CONSTANT[op]]
                bits = float_bits(constants[place])
            a, b, c = np.int64(arguments[i, 0]), np.int64(arguments[i, 1]), np.int64(arguments[i, 2])
            if (op == OP_ADD or op == OP_MUL or op == OP_AND) and a > b:  # exactly commutative
                a, b = b, a
            h = op * 73856093 ^ a * 19349663 ^ b * 83492791 ^ c * 1640531513
            h ^= (bits ^ (bits >> 32)) * 2654435761  # pyright: ignore[reportOperatorIssue]  # an intrinsic has no types
            slot = (h ^ (h >> 15)) & mask
            while True:
                v = np.int64(table[slot])
                if v < 0:
                    v = n_values
                    n_values += 1
                    table[slot] = v
                    book[v, OP] = op
                    book[v, A] = a
                    book[v, B] = b
                    book[v, C] = c
                    book[v, BITS] = bits
                    book[v, PLACE] = place
                    break
                if (
                    book[v, A] == a
                    and book[v, B] == b
                    and book[v, OP] == op
                    and book[v, C] == c
                    and book[v, BITS] == bits
                ):
                    break
                slot = (slot + 1) & mask
            if book[v, LAST] <= g:  # a program may compute a value twice, as x - c and as x + -c
                book[v, LAST] = g + 1
                book[v, USES] += 1
            results[i] = v
            if to >= 0:
                held[to] = v
    return n_values


@njit(cache=True)
def _place_shared(
    operands, code_at, shape, least, n_columns, n_values, book, results, arguments, body, body_operands
):
    """Write the shared section; how many registers columns and shared values take, and its length.

    A value that a program reads keeps its register for the block; one that only shared values read gives it
    back.
    """
    for g in range(code_at.size - 1):
        for i in range(code_at[g] + shape[g, 1], code_at[g + 1]):
            v = results[i]
            if book[v, USES] < least:
                for j in range(3):
                    if arguments[i, j] >= 0:
                        book[arguments[i, j], READERS] += n_values  # the section's readers are fewer
            elif operands[4 * i] < 0:
                book[v, READERS] += n_values
    for v in range(n_columns, n_values):
        if book[v, USES] >= least:
            for j in range(_REGISTERS[book[v, OP]]):
                book[book[v, A + j], READERS] += 1
    n_fixed = n_columns
    free = np.empty(MOST_SHARED, np.int64)
    n_free = 0
    place = 0
    for v in range(n_columns, n_values):
        if book[v, USES] < least:
            continue
        if n_free > 0:
            n_free -= 1
            book[v, REGISTER] = free[n_free]
        else:
            book[v, REGISTER] = n_fixed
            n_fixed += 1
        op = book[v, OP]
        body[place] = op
        body_operands[4 * place] = book[v, REGISTER]
        for j in range(3):
            body_operands[4 * place + 1 + j] = 0
        for j in range(_REGISTERS[op]):
            w = book[v, A + j]
            body_operands[4 * place + 1 + j] = book[w, REGISTER]
            book[w, READERS] -= 1
            if book[w, READERS] == 0 and w >= n_columns:
                free[n_free] = book[w, REGISTER]
                n_free += 1
        if _CONSTANT[op] > 0:
            body_operands[4 * place + _CONSTANT[op]] = book[v, PLACE]
        place += 1
    return n_fixed, place
