"""Each primitive on one value: the definition that rows and blocks share.

The loops over blocks and the kernel over one row trace these same functions, so they cannot differ. The plain
twin in Python that tests compare with is `reference`.
"""

from __future__ import annotations

from apex_nautilus.genome._traced import choose, greater, lesser, root, traced, with_sign
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
    "rank_step",
    "select",
    "sigmoid",
    "signed_log1p",
    "signed_sqrt",
    "sub",
    "tanh",
    "zscore",
]


@traced
def clamp(x):
    """x within +-LIMIT, for any x but NaN."""
    return greater(lesser(x, LIMIT), -LIMIT)


@traced
def clean(x):
    """A feature as read: NaN is 0, the rest is clamped."""
    return clamp(choose(x == x, x, 0.0))


@traced
def add(a, b):
    return clamp(a + b)


@traced
def sub(a, b):
    return clamp(a - b)


@traced
def mul(a, b):
    return clamp(a * b)


@traced
def divide(a, b):
    whole = abs(b) >= TINY
    return choose(whole, clamp(a / choose(whole, b, 1.0)), 1.0)


@traced
def divide_by_constant(a, c):
    """a / c where |c| >= TINY is known."""
    return clamp(a / c)


@traced
def negative(a):
    return -a


@traced
def absolute(a):
    return abs(a)


@traced
def minimum(a, b):
    return lesser(a, b)


@traced
def maximum(a, b):
    return greater(a, b)


@traced
def select(a, b, c):
    return choose(a > 0.0, b, c)


@traced
def gt(a, b):
    return choose(a > b, 1.0, 0.0)


@traced
def lt(a, b):
    return choose(a < b, 1.0, 0.0)


@traced
def and_(a, b):
    return a * b  # both are 0 or 1


@traced
def or_(a, b):
    return greater(a, b)


@traced
def invert(a):
    return 1.0 - a


@traced
def clip(a):
    return greater(lesser(a, 1.0), -1.0)


@traced
def signed_sqrt(a):
    return with_sign(root(abs(a)), a)


@traced
def rank_step(before, now):
    """What one earlier row adds to a rank: 1 if below, half if equal."""
    return choose(before < now, 1.0, choose(before == now, 0.5, 0.0))


@traced
def zscore(x, mean, std):
    moves = std > FLAT * (1.0 + abs(mean))
    return choose(moves, clamp((x - mean) / choose(moves, std, 1.0)), 0.0)
