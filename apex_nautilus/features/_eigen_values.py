"""All eigenvalues of a small symmetric matrix, without vectors.

LAPACK's blocked code is made for matrices of thousands; at fifty it spends most of its time on calls. Here
the matrix is brought to tridiagonal form by Householder reflections (Golub & Van Loan 2013, algorithm 8.3.1)
over whole rows of a padded square, which a compiler turns into vector code, and its eigenvalues are found by
the rational QL method (Reinsch 1973, algorithm 464; EISPACK's tqlrat). Both are backward stable: the error is
of the order of the count times the machine's precision times the largest eigenvalue.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

__all__ = ["eigenvalues"]

_EPSILON: Final = 2.0**-52
_MOST_STEPS: Final = 60


@njit(cache=True)
def _tridiagonal(a, n, d, e2, v, p):
    """Reduce `a` (overwritten); its diagonal goes to `d`, the squares beside it to `e2`."""
    columns = a.shape[1]
    for k in range(n - 2):
        d[k] = a[k, k]
        # In strands of a fixed order; entries up to k do not count.
        row = a[k]
        for j in range(k + 1):
            row[j] = 0.0
        tail = 0.0
        for j in range(k + 2, n):
            tail += row[j] * row[j]
        first = row[k + 1]
        if tail == 0.0:
            e2[k] = first * first
            continue
        squares = tail + first * first
        alpha = -math.copysign(math.sqrt(squares), first)
        e2[k] = squares
        for j in range(columns):
            v[j] = row[j]
            p[j] = 0.0
        v[k + 1] = first - alpha
        beta = 1.0 / (squares - alpha * first)  # 2 / v'v
        start = (k + 1) & ~7
        i = k + 1
        while i + 4 <= n:
            v0, v1, v2, v3 = v[i], v[i + 1], v[i + 2], v[i + 3]
            a0, a1, a2, a3 = a[i, start:], a[i + 1, start:], a[i + 2, start:], a[i + 3, start:]
            q = p[start:]
            for j in range(q.shape[0]):
                q[j] += (a0[j] * v0 + a1[j] * v1) + (a2[j] * v2 + a3[j] * v3)
            i += 4
        while i < n:
            v0 = v[i]
            a0, q = a[i, start:], p[start:]
            for j in range(q.shape[0]):
                q[j] += a0[j] * v0
            i += 1
        along = 0.0
        for j in range(k + 1, n):
            p[j] *= beta
            along += v[j] * p[j]
        along *= 0.5 * beta
        for j in range(k + 1, n):
            p[j] -= along * v[j]
        for i in range(k + 1, n):
            vi, pi = v[i], p[i]
            a0, q, u = a[i, start:], p[start:], v[start:]
            for j in range(q.shape[0]):
                a0[j] -= vi * q[j] + pi * u[j]
    if n > 1:
        d[n - 2] = a[n - 2, n - 2]
        e2[n - 2] = a[n - 2, n - 1] * a[n - 2, n - 1]
    d[n - 1] = a[n - 1, n - 1]
    e2[n - 1] = 0.0


@njit(cache=True)
def _rational_ql(d, e2, n):
    """Replace the diagonal `d` by the eigenvalues; False when one does not converge."""
    shift = largest = small = smaller = 0.0
    for low in range(n):
        size = abs(d[low]) + math.sqrt(e2[low])
        if largest <= size:
            largest = size
            small = _EPSILON * size
            smaller = small * small
        high = low
        while e2[high] > smaller:
            high += 1
        steps = 0
        while high != low:
            steps += 1
            if steps > _MOST_STEPS:
                return False
            beside = math.sqrt(e2[low])
            g = d[low]
            p = (d[low + 1] - g) / (2.0 * beside)
            r = math.sqrt(p * p + 1.0)
            d[low] = beside / (p + math.copysign(r, p))
            h = g - d[low]
            for i in range(low + 1, n):
                d[i] -= h
            shift += h
            g = d[high]
            if g == 0.0:
                g = small
            h = g
            s = 0.0
            for i in range(high - 1, low - 1, -1):
                p = g * h
                r = p + e2[i]
                e2[i + 1] = s * r
                inverse = 1.0 / r
                s = e2[i] * inverse
                d[i + 1] = h + s * (h + d[i])
                before = g
                g = d[i] - e2[i] / g
                if g == 0.0:
                    g = small
                h = g * (before * h) * inverse
            e2[low] = s * g
            d[low] = h
            if h == 0.0 or abs(e2[low]) <= abs(smaller / h):
                break
            e2[low] *= h
            if e2[low] == 0.0:
                break
            high = low
            while e2[high] > smaller:
                high += 1
        value = d[low] + shift
        at = low
        while at > 0 and value < d[at - 1]:
            d[at] = d[at - 1]
            at -= 1
        d[at] = value
    return True


@njit(cache=True)
def eigenvalues(matrix):
    """Return the eigenvalues of a symmetric matrix, (n, n) float64 and finite, in ascending order, (n,)."""
    n = matrix.shape[0]
    columns = (n + 7) & ~7
    a = np.zeros((n, columns))
    for i in range(n):
        for j in range(n):
            a[i, j] = matrix[i, j]
    d, e2 = np.empty(n), np.empty(n)
    _tridiagonal(a, n, d, e2, np.empty(columns), np.empty(columns))
    if not _rational_ql(d, e2, n):
        return np.linalg.eigvalsh(matrix)
    return d
