"""Linking a batch: every feature and window that any program reads is computed once for all of them."""

from __future__ import annotations

from numba import njit

from apex_nautilus.genome._codes import (
    OP_ADD_C,
)
from apex_nautilus.genome.primitives import (
    OP_CONSTANT,
    OP_FEATURE,
)


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
