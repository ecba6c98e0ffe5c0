"""Each primitive on one value, for numba: the definition that rows and blocks share.

The loops over blocks and the kernel over one row call these same functions, so they cannot differ. All
selections are written ``x if condition else y`` on two values at hand: LLVM turns them into min, max and blend
instructions. The plain-Python twin that tests compare with is `reference`.
"""

from __future__ import annotations

import math

from numba import njit

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
    "gt",
    "invert",
    "lt",
    "maximum",
    "minimum",
    "mul",
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
    y = x if x < LIMIT else LIMIT
    return y if y > -LIMIT else -LIMIT


@njit(cache=True, inline="always")
def clean(x):
    """A feature as read: NaN is 0, the rest is clamped."""
    y = x if x == x else 0.0
    return clamp(y)


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
    safe = b if whole else 1.0
    quotient = clamp(a / safe)
    return quotient if whole else 1.0


@njit(cache=True, inline="always")
def absolute(a):
    return abs(a)


@njit(cache=True, inline="always")
def minimum(a, b):
    return a if a < b else b


@njit(cache=True, inline="always")
def maximum(a, b):
    return a if a > b else b


@njit(cache=True, inline="always")
def select(a, b, c):
    return b if a > 0.0 else c


@njit(cache=True, inline="always")
def gt(a, b):
    return 1.0 if a > b else 0.0


@njit(cache=True, inline="always")
def lt(a, b):
    return 1.0 if a < b else 0.0


@njit(cache=True, inline="always")
def and_(a, b):
    return a * b  # both are 0 or 1


@njit(cache=True, inline="always")
def or_(a, b):
    return a if a > b else b


@njit(cache=True, inline="always")
def invert(a):
    return 1.0 - a


@njit(cache=True, inline="always")
def clip(a):
    y = a if a < 1.0 else 1.0
    return y if y > -1.0 else -1.0


@njit(cache=True, inline="always")
def signed_sqrt(a):
    return math.copysign(math.sqrt(abs(a)), a)


@njit(cache=True, inline="always", error_model="numpy")
def zscore(x, mean, std):
    moves = std > FLAT * (1.0 + abs(mean))
    safe = std if moves else 1.0
    score = clamp((x - mean) / safe)
    return score if moves else 0.0
