"""What the largest eigenvalue would be if the assets had nothing to do with each other.

Each asset's returns in the window are shuffled in time, each on its own: what every asset does alone (fat
tails too) stays, what they do together is gone. The largest eigenvalue over 19 such draws is passed by a 20th
draw of the null with probability 1/20, so it is a ceiling at 5 %.

The draws come from SplitMix64 (Steele, Lea & Flood 2014), keyed by a seed and the number of the scan: the
same scan gives the same ceiling, live or in a batch, begun here or there.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features._eigen_products import _accumulate

__all__ = ["NULL_DRAWS", "null_ceiling"]

NULL_DRAWS: Final = 19

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX2: Final = np.uint64(0x94D049BB133111EB)
_S30: Final = np.uint64(30)
_S27: Final = np.uint64(27)
_S31: Final = np.uint64(31)
_S32: Final = np.uint64(32)


@njit(cache=True)
def _mixed(z):
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@njit(cache=True)
def null_ceiling(ring, newest, window, n, members, seed, scan):
    """Return the largest eigenvalue, not divided by N, over NULL_DRAWS shuffled copies of a window.

    Parameters
    ----------
    ring : (capacity, columns) float64
        Returns; the window ends with row `newest` modulo capacity.
    members : (columns,) bool
        The assets that count; none of them is constant.
    seed, scan : uint64
    """
    capacity, columns = ring.shape
    count = 0
    z = np.zeros((n, window))
    for i in range(n):
        if not members[i]:
            continue
        mean = 0.0
        for t in range(window):
            z[count, t] = ring[(newest - t) % capacity, i]
            mean += z[count, t]
        mean /= window
        squares = 0.0
        for t in range(window):
            z[count, t] -= mean
            squares += z[count, t] * z[count, t]
        for t in range(window):
            z[count, t] /= math.sqrt(squares)
        count += 1
    state = _mixed(seed + _GOLDEN) ^ _mixed(scan * _GOLDEN + _GOLDEN)
    x = np.zeros((4, columns))
    q = np.empty((columns, columns))
    largest = 0.0
    for _ in range(NULL_DRAWS):
        for k in range(count):
            for t in range(window - 1, 0, -1):
                state += _GOLDEN
                at = np.int64(((_mixed(state) >> _S32) * np.uint64(t + 1)) >> _S32)
                z[k, t], z[k, at] = z[k, at], z[k, t]
        q[:] = 0.0
        for t in range(0, window, 4):
            for lane in range(4):
                for k in range(count):
                    x[lane, k] = z[k, t + lane] if t + lane < window else 0.0
            _accumulate(x, 4, count, q)
        matrix = np.empty((count, count))
        for i in range(count):
            for j in range(i + 1):
                matrix[i, j] = q[i, j]
                matrix[j, i] = q[i, j]
        largest = max(largest, np.linalg.eigvalsh(matrix)[count - 1])
    return largest
