"""Rolling sums of products of returns: what a window's correlations are made of.

A window keeps, for each pair of assets, ``q[i, j]``, the sum over its samples of x_i x_j, and ``s[i]``, the
sum of x_i, where x = return - shift and the shift is the mean return at the last recomputation. A new
sample adds one product and takes one off (a rank-one update each), so that a scan costs N^2 whatever the
window's length. The shift keeps q near the centred product S = q - s s' / w, so little is lost in that
difference.

Rounding piles up, by at most u = 2^-53 of the largest q_ii seen, an update. Two rules bound it: every REFRESH
samples the sums are made anew from the returns, and at once when some asset's S_ii has fallen below a
quarter of its largest q_ii since then (a large return has left the window, or the mean has moved away from
the shift). With the recomputation's own rounding, four products to a sum, no correlation is then wrong by
more than `drift_bound`.
"""

from __future__ import annotations

from typing import Final

from numba import njit

__all__ = ["REFRESH", "correlate", "drift_bound", "padded", "recompute", "roll", "roll_sums"]

REFRESH: Final = 512
_RATIO: Final = 0.25
_LANES: Final = 8  # columns are padded to a multiple of this, so that no loop has a scalar rest


def padded(n: int) -> int:
    """The number of columns that `n` assets take."""
    return -(-n // _LANES) * _LANES


def drift_bound(window: int) -> float:
    """Largest error of a correlation over `window` samples, and so of lambda_max / N.

    Of q: window / 4 additions of four products at the recomputation, REFRESH updates after it, the products
    themselves; times 4 for S_ii >= q_ii / 4, times 2 because numerator and variances are both wrong.
    """
    return 8.0 * (window / 4 + REFRESH + 12) * 2.0**-53


@njit(cache=True)
def _accumulate(x, rows, n, q):
    """Add the products of the first `rows` (at most 4, the others zero) rows of `x` to the lower blocks."""
    for i in range(n):
        a0, a1, a2, a3 = x[0, i], x[1, i], x[2, i], x[3, i]
        width = (i // _LANES + 1) * _LANES
        for j in range(width):
            q[i, j] += (x[0, j] * a0 + x[1, j] * a1) + (x[2, j] * a2 + x[3, j] * a3)


@njit(cache=True)
def recompute(ring, newest, window, n, x, shift, s, q):
    """Make the sums of the `window` samples that end with row `newest` of `ring` anew.

    `x` is scratch, (4, columns). Sets the shift to the mean.
    """
    capacity = ring.shape[0]
    columns = q.shape[1]
    shift[:] = 0.0
    s[:] = 0.0
    q[:] = 0.0
    first = newest - window + 1
    for t in range(first, newest + 1):
        row = t % capacity
        for j in range(columns):
            shift[j] += ring[row, j]
    for j in range(columns):
        shift[j] /= window
    for t in range(first, newest + 1, 4):
        for k in range(4):
            if t + k <= newest:
                row = (t + k) % capacity
                for j in range(columns):
                    x[k, j] = ring[row, j] - shift[j]
                    s[j] += x[k, j]
            else:
                x[k, :] = 0.0
        _accumulate(x, 4, n, q)
    for i in range(n):
        for j in range(i + 1, n):
            q[i, j] = q[j, i]
        for j in range(n, columns):
            q[i, j] = 0.0


@njit(cache=True)
def roll_sums(add, drop, n, shift, a, o, s, diagonal, largest, window, floor):
    """Move the sums s and q_ii on by one sample; return whether all sums must be made anew.

    `a` and `o` become the shifted samples; `diagonal` holds q_ii, `largest` its maximum since the last
    recomputation. Assets whose maximum is below `floor` are constant and do not ask for one.
    """
    columns = a.shape[0]
    for j in range(columns):
        a[j] = add[j] - shift[j]
        o[j] = drop[j] - shift[j]
        s[j] += a[j] - o[j]
        diagonal[j] += a[j] * a[j] - o[j] * o[j]
    stale = False
    for i in range(n):
        largest[i] = max(largest[i], diagonal[i])
        variance = diagonal[i] - s[i] * s[i] / window
        stale |= (variance < _RATIO * largest[i]) & (largest[i] > floor)
    return stale


@njit(cache=True)
def roll(n, a, o, q):
    """Move the products on by one sample."""
    columns = q.shape[1]
    for i in range(n):
        ai, oi = a[i], o[i]
        for j in range(columns):
            q[i, j] += a[j] * ai - o[j] * oi


@njit(cache=True)
def correlate(q, s, d, window, n, c, squares):
    """Write the correlations into `c`; return the sum of their squares.

    `d` is 1 / sqrt(S_ii), 0 where an asset is left out: its row and column are then 0.
    """
    inverse = 1.0 / window
    columns = c.shape[1]
    for i in range(n):
        si, di = s[i] * inverse, d[i]
        for j in range(columns):
            c[i, j] = (q[i, j] - s[j] * si) * (d[j] * di)
    for i in range(n):
        c[i, i] = 1.0 if d[i] > 0.0 else 0.0
    squares[:] = 0.0
    for i in range(n):
        for j in range(columns):
            squares[j] += c[i, j] * c[i, j]
    total = 0.0
    for j in range(columns):
        total += squares[j]
    return total
