"""Each primitive on one value, for numba: the definition that rows and blocks share.

The loops over blocks and the kernel over one row call these same functions, so they cannot differ. Selections
between two values at hand go through `_select`, so that they are instructions and not branches. The plain
twin in Python that tests compare with is `reference`.
"""

from __future__ import annotations

import math

from numba import njit

from apex_nautilus.genome._select import choose, greater, lesser
from apex_nautilus.genome.elementary import sigmoid, signed_log1p, tanh
from apex_nautilus.genome.primitives import FLAT, LIMIT, TINY

__all__ = [
    "absolute",
    "add",
    "and_",
    "clamp",
    "clean",
    "clip",
    "divide",
    "divide_by_constant",
    "gt",
    "invert",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "negative",
    "or_",
    "select",
    "sigmoid",
    "signed_log1p",
    "signed_sqrt",
    "sub",
    "tanh",
    "zscore",
]


@njit(cache=True, inline="always")
def clamp(x):
    """x within +-LIMIT, for any x but NaN."""
    return greater(lesser(x, LIMIT), -LIMIT)


@njit(cache=True, inline="always")
def clean(x):
    """A feature as read: NaN is 0, the rest is clamped."""
    return clamp(choose(x == x, x, 0.0))


@njit(cache=True, inline="always")
def add(a, b):
    return clamp(a + b)


@njit(cache=True, inline="always")
def sub(a, b):
    return clamp(a - b)


@njit(cache=True, inline="always")
def mul(a, b):
    return clamp(a * b)


@njit(cache=True, inline="always", error_model="numpy")
def divide(a, b):
    whole = abs(b) >= TINY
    return choose(whole, clamp(a / choose(whole, b, 1.0)), 1.0)


@njit(cache=True, inline="always", error_model="numpy")
def divide_by_constant(a, c):
    """a / c where |c| >= TINY is known."""
    return clamp(a / c)


@njit(cache=True, inline="always")
def negative(a):
    return -a


@njit(cache=True, inline="always")
def absolute(a):
    return abs(a)


@njit(cache=True, inline="always")
def minimum(a, b):
    return lesser(a, b)


@njit(cache=True, inline="always")
def maximum(a, b):
    return greater(a, b)


@njit(cache=True, inline="always")
def select(a, b, c):
    return choose(a > 0.0, b, c)


@njit(cache=True, inline="always")
def gt(a, b):
    return choose(a > b, 1.0, 0.0)


@njit(cache=True, inline="always")
def lt(a, b):
    return choose(a < b, 1.0, 0.0)


@njit(cache=True, inline="always")
def and_(a, b):
    return a * b  # both are 0 or 1


@njit(cache=True, inline="always")
def or_(a, b):
    return greater(a, b)


@njit(cache=True, inline="always")
def invert(a):
    return 1.0 - a


@njit(cache=True, inline="always")
def clip(a):
    return greater(lesser(a, 1.0), -1.0)


@njit(cache=True, inline="always")
def signed_sqrt(a):
    return math.copysign(math.sqrt(abs(a)), a)


@njit(cache=True, inline="always", error_model="numpy")
def zscore(x, mean, std):
    moves = std > FLAT * (1.0 + abs(mean))
    return choose(moves, clamp((x - mean) / choose(moves, std, 1.0)), 0.0)
