"""The windowed primitives, over a ring of the last rows (live) and over a block of rows.

Both sum from the oldest row to the newest, each row's window anew, so that no result depends on where the
data began or on how it was cut into blocks. In a block the loop over the window is the outer one: the inner
one then adds contiguous registers and is vectorised, so a pass costs a fraction of a nanosecond a row.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from apex_nautilus.genome import scalar
from apex_nautilus.genome._block import widest_vectors
from apex_nautilus.genome._codes import RING
from apex_nautilus.genome.primitives import OP_DELTA, OP_LAG, OP_MEAN, OP_RANK, OP_STD


@njit(cache=True)
def window_row(op, k, state, ring, rows, x):
    """A windowed primitive at the newest row.

    Parameters
    ----------
    op, k : int
        Opcode and window.
    state : ndarray of float64
        Holds the ring, from index `ring` on; row t lies at ``t % RING``.
    rows : int
        Rows seen, the newest included.
    x : float
        The feature at the newest row, cleaned.
    """
    now = rows - 1
    if now < (k if op <= OP_DELTA else k - 1):
        return 0.0
    mask = RING - 1
    if op == OP_LAG:
        return state[ring + ((now - k) & mask)]
    if op == OP_DELTA:
        return scalar.sub(x, state[ring + ((now - k) & mask)])
    size = float(k)
    total = 0.0
    if op == OP_RANK:
        if k == 1:
            return 0.5
        for j in range(k - 1, 0, -1):
            total += scalar.rank_step(state[ring + ((now - j) & mask)], x)
        return total / (size - 1.0)
    for j in range(k - 1, -1, -1):
        total += state[ring + ((now - j) & mask)]
    mean = total / size
    if op == OP_MEAN:
        return mean
    total = 0.0
    for j in range(k - 1, -1, -1):
        off = state[ring + ((now - j) & mask)] - mean
        total += off * off
    std = math.sqrt(total / size)
    return std if op == OP_STD else scalar.zscore(x, mean, std)


@njit(cache=True, error_model="numpy")
def window_block(s, d, c, spare, op, k, row, n):
    """A windowed primitive over a block.

    Parameters
    ----------
    s : ndarray of float64
        The registers, flat.
    d, c, spare : uint64
        Where the rows of the result, of the feature, and of a register for work begin. The RING rows before
        `c` are the rows before the block.
    op, k : int
        Opcode and window.
    row : int
        The block's first row; rows without enough history get 0.
    n : uint64
        Rows.
    """
    widest_vectors()
    back = np.uint64(k)
    one = np.uint64(1)
    look_back = k if op <= OP_DELTA else k - 1
    if op == OP_LAG:
        for i in range(n):
            s[d + i] = s[c - back + i]
    elif op == OP_DELTA:
        for i in range(n):
            s[d + i] = scalar.sub(s[c + i], s[c - back + i])
    elif op == OP_RANK:
        for i in range(n):
            s[d + i] = 0.0
        for j in range(k - 1, 0, -1):
            start = c - np.uint64(j)
            for i in range(n):
                s[d + i] += scalar.rank_step(s[start + i], s[c + i])
        others = float(k - 1)
        for i in range(n):
            s[d + i] = s[d + i] / others if k > 1 else 0.5
    else:
        size = float(k)
        for i in range(n):
            s[d + i] = 0.0
        for j in range(k):
            start = c - (back - one) + np.uint64(j)
            for i in range(n):
                s[d + i] += s[start + i]
        for i in range(n):
            s[d + i] = s[d + i] / size
        if op != OP_MEAN:
            for i in range(n):
                s[spare + i] = 0.0
            for j in range(k):
                start = c - (back - one) + np.uint64(j)
                for i in range(n):
                    off = s[start + i] - s[d + i]
                    s[spare + i] += off * off
            if op == OP_STD:
                for i in range(n):
                    s[d + i] = math.sqrt(s[spare + i] / size)
            else:
                for i in range(n):
                    s[d + i] = scalar.zscore(s[c + i], s[d + i], math.sqrt(s[spare + i] / size))
    for i in range(min(n, np.uint64(max(look_back - row, 0)))):
        s[d + i] = 0.0
