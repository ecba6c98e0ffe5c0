"""The largest eigenvalue of a correlation matrix and its vector, from a guess near by.

Power iteration from the vector of the scan before needs a handful of products with the matrix where one mode
leads, which is how markets are most of the time. The matrix is not even formed: C v is D (q D v - s (s'D v)
/ w), with D the inverse root of the variances. What comes out is believed only with a certificate. For C with
eigenvalues l1 >= l2 >= ... >= 0, trace n, a unit vector v and r = v'Cv (never above l1):

    l2   <= sum of l_i over i > 1   = n - l1         <= n - r           = b    (costs nothing)
    l2^2 <= sum of l_i^2 over i > 1 = |C|_F^2 - l1^2 <= |C|_F^2 - r^2   = b^2  (costs a pass over the matrix)

When r - e > b, e = |Cv - rv|, no other eigenvalue comes near r: the vector belongs to l1 and to no other,
0 <= l1 - r <= e^2 / (r - b), and the angle between v and the true one is at most e / (r - b). A start that
has locked onto another vector (after two modes crossed, say) cannot pass: its r is not above b. Whatever does
not pass is given to LAPACK.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features._eigen_products import correlate

__all__ = ["TOLERANCE", "leading", "leading_lapack"]

TOLERANCE: Final = 1e-8
"""Angle to the true vector at which the iteration ends; one more step is taken after it."""

_MOST_ITERATIONS: Final = 60
_BY_TRACE: Final = 0.505  # share of the trace from which the first bound is taken
_MARGIN: Final = 1.05  # how far r must stand above the second bound
_HOPELESS: Final = 0.35  # share of |C|_F^2 that r^2 must have reached for more steps to be worth while


@njit(cache=True)
def _dot(x, y, lanes):
    """x'y in 8 strands of a fixed order (`lanes` is scratch); lengths are multiples of 8."""
    for k in range(8):
        lanes[k] = x[k] * y[k]
    for j in range(8, x.shape[0], 8):
        xj, yj = x[j : j + 8], y[j : j + 8]
        for k in range(8):
            lanes[k] += xj[k] * yj[k]
    for half in (4, 2):
        for k in range(half):
            lanes[k] += lanes[k + half]
    return lanes[0] + lanes[1]


@njit(cache=True)
def _product(c, n, x, y):
    """y = C x, row by row of C, which is symmetric."""
    y[:] = 0.0
    i = 0
    while i + 4 <= n:
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(y.shape[0]):
            y[j] += (c[i, j] * x0 + c[i + 1, j] * x1) + (c[i + 2, j] * x2 + c[i + 3, j] * x3)
        i += 4
    while i < n:
        x0 = x[i]
        for j in range(y.shape[0]):
            y[j] += c[i, j] * x0
        i += 1


@njit(cache=True)
def leading(q, s, d, window, n, members, others, v, u, y, lanes, c):
    """Return (largest eigenvalue, iterations, bound of the others); iterations are -1 where LAPACK answered.

    Parameters
    ----------
    q, s, d : (columns, columns), (columns,), (columns,) float64
        Products, sums and inverse roots of the variances, 0 for assets that are no members.
    members : (columns,) bool
        At least two.
    others : float
        A guess at the bound of the other eigenvalues (that of the scan before); it only steers the speed.
    v : (columns,) float64
        The guess at the vector, overwritten with the unit vector; its entries sum to no less than zero.
    u, y, lanes : (columns,), (columns,), (8,) float64
        Scratch.
    c : (columns, columns) float64
        Scratch; the correlation matrix where it had to be formed.
    """
    columns = v.shape[0]
    count = 0
    for j in range(columns):
        if members[j]:
            count += 1
        else:
            v[j] = 0.0
    length = math.sqrt(_dot(v, v, lanes))
    if not length > 0.5:  # no guess, or most of it is gone with the assets that left
        for j in range(columns):
            v[j] = 1.0 if members[j] else 0.0
        length = math.sqrt(float(count))
    scale = 1.0 / length
    for j in range(columns):
        v[j] *= scale
    inverse = 1.0 / window
    squares = -1.0
    for iteration in range(1, _MOST_ITERATIONS + 1):
        for j in range(columns):
            u[j] = d[j] * v[j]
        _product(q, n, u, y)
        mean = _dot(s, u, lanes) * inverse
        for j in range(columns):
            y[j] = (y[j] - s[j] * mean) * d[j]
        value = _dot(v, y, lanes)
        for j in range(columns):
            y[j] -= value * v[j]
        residual = math.sqrt(_dot(y, y, lanes))
        settled = residual <= TOLERANCE * (value - min(others, 0.9 * value))
        if squares < 0.0 and (iteration == 4 or settled) and value < _BY_TRACE * count:
            squares = correlate(q, s, d, window, n, c, u)
            if value * value < _HOPELESS * squares:
                break
        if squares >= 0.0:
            others = math.sqrt(max(squares - value * value, 0.0))
            if settled and value - residual <= _MARGIN * others:
                break
        # C - sigma, sigma in the middle of the others, converges faster than C; y = C v - value v here. The
        # length is measured: taking y as orthogonal to v would let an error of |v| grow from step to step.
        push = value - 0.25 * min(others, 0.5 * value)
        for j in range(columns):
            v[j] = y[j] + push * v[j]
        scale = 1.0 / math.sqrt(_dot(v, v, lanes))
        for j in range(columns):
            v[j] *= scale
        if settled:
            _orient(v)
            return value, iteration, others
    if squares < 0.0:
        squares = correlate(q, s, d, window, n, c, u)
    value = leading_lapack(c, members, count, v)
    return value, -1, math.sqrt(max(squares - value * value, 0.0))


@njit(cache=True)
def _orient(v):
    total = 0.0
    for j in range(v.shape[0]):
        total += v[j]
    if total < 0.0:
        for j in range(v.shape[0]):
            v[j] = -v[j]


@njit(cache=True)
def compress(c, members, count):
    """Return the members' part of `c`, (count, count)."""
    out = np.empty((count, count))
    row = 0
    for i in range(members.shape[0]):
        if members[i]:
            column = 0
            for j in range(members.shape[0]):
                if members[j]:
                    out[row, column] = c[i, j]
                    column += 1
            row += 1
    return out


@njit(cache=True)
def leading_lapack(c, members, count, v):
    """As `leading`, by LAPACK's symmetric solver and without a guess; return the eigenvalue."""
    values, vectors = np.linalg.eigh(compress(c, members, count))
    k = 0
    for j in range(v.shape[0]):
        v[j] = 0.0
        if members[j]:
            v[j] = vectors[k, count - 1]
            k += 1
    _orient(v)
    return values[count - 1]
