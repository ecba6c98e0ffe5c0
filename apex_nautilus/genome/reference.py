"""The slow, obvious twin: a tree evaluated row by row in plain Python.

It shares no code with the interpreter: it walks the tree, computes windows from lists, and spells the
elementary functions with `math.ldexp` and `math.frexp` where the compiled ones move bits. Tests hold the
interpreter to it bit by bit, and it to the exact functions of `math`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from apex_nautilus.genome import elementary
from apex_nautilus.genome.primitives import FLAT, LIMIT, TINY, warmup_rows
from apex_nautilus.genome.schema import Constant, Feature, Node

_EXP_TERMS = tuple(getattr(elementary, f"E{n}") for n in range(13, 1, -1))
_LOG_TERMS = tuple(getattr(elementary, f"L{n}") for n in range(7, 0, -1))


def reference_evaluate(tree: Node, X: np.ndarray) -> np.ndarray:
    """Evaluate a tree on every row.

    Parameters
    ----------
    tree : Node
        A checked tree.
    X : ndarray, shape (rows, features)
        NaN reads as 0, the rest is clamped to +-1e12.

    Returns
    -------
    ndarray of float64, shape (rows,)
    """
    columns = [[_clean(float(x)) for x in column] for column in np.asarray(X, np.float64).T]
    return np.array([_value(tree, columns, t) for t in range(len(X))], np.float64)


def reference_invalid(tree: Node | Sequence[Node], X: np.ndarray) -> int:
    """How many of the feature values that the tree (or the trees of one genome) reads are NaN."""
    read: set[int] = set()

    def visit(node: Node) -> None:
        if isinstance(node.primitive, Feature):
            read.add(node.primitive.index)
        for child in node.children:
            visit(child)

    for root in [tree] if isinstance(tree, Node) else tree:
        visit(root)
    return int(np.isnan(np.asarray(X)[:, sorted(read)]).sum())


def _clamp(x: float) -> float:
    return min(max(x, -LIMIT), LIMIT)


def _clean(x: float) -> float:
    return 0.0 if math.isnan(x) else _clamp(x)


def _value(node: Node, columns: list[list[float]], t: int) -> float:
    head = node.primitive
    if isinstance(head, Feature):
        return columns[head.index][t]
    if isinstance(head, Constant):
        return head.value + 0.0
    if node.k is not None:
        terminal = node.children[0].primitive
        assert isinstance(terminal, Feature)
        return _windowed(head, columns[terminal.index], node.k, t)
    values = [_value(child, columns, t) for child in node.children]
    return _PLAIN[head](*values)


def _windowed(name: str, column: list[float], k: int, t: int) -> float:
    if t < warmup_rows(name, k):
        return 0.0
    now = column[t]
    if name == "lag":
        return column[t - k]
    if name == "delta":
        return _clamp(now - column[t - k])
    window = column[t - k + 1 : t + 1]
    if name == "rank":
        if k == 1:
            return 0.5
        return sum(1.0 if x < now else 0.5 if x == now else 0.0 for x in window[:-1]) / (k - 1)
    mean = _total(window) / k
    if name == "mean":
        return mean
    std = math.sqrt(_total([(x - mean) * (x - mean) for x in window]) / k)
    if name == "std":
        return std
    return _clamp((now - mean) / std) if std > FLAT * (1.0 + abs(mean)) else 0.0


def _total(values: list[float]) -> float:
    """Plain summation, oldest first; the built-in `sum` compensates rounding from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def _expm1_parts(x: float) -> tuple[float, float]:
    k = float(round(x * elementary.LOG2E))
    r = (x - k * elementary.LN2_HI) - k * elementary.LN2_LO
    tail = _EXP_TERMS[0]
    for term in _EXP_TERMS[1:]:
        tail = tail * r + term
    return r + (r * r) * tail, math.ldexp(1.0, int(k))


def _tanh(x: float) -> float:
    small, scale = _expm1_parts(2.0 * min(max(x, -elementary.TANH_LIMIT), elementary.TANH_LIMIT))
    e = small * scale + (scale - 1.0)
    return e / (e + 2.0)


def _sigmoid(x: float) -> float:
    small, scale = _expm1_parts(-min(max(x, -elementary.EXP_LIMIT), elementary.EXP_LIMIT))
    return 1.0 / (1.0 + (small * scale + scale))


def _signed_log1p(x: float) -> float:
    a = abs(x)
    u = 1.0 + a
    lost = (a - (u - 1.0)) / u
    mantissa, k = math.frexp(u)
    if mantissa < math.sqrt(0.5):
        mantissa, k = 2.0 * mantissa, k - 1
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    tail = 0.0
    for term in _LOG_TERMS:
        tail = term + z * tail
    tail = z * tail
    half = 0.5 * f * f
    log = k * elementary.LN2_HI - ((half - (s * (half + tail) + (k * elementary.LN2_LO + lost))) - f)
    return math.copysign(log, x)


def _condition(x: float) -> bool:
    return x > 0.0


_PLAIN = {
    "add": lambda a, b: _clamp(a + b),
    "sub": lambda a, b: _clamp(a - b),
    "mul": lambda a, b: _clamp(a * b),
    "protected_div": lambda a, b: 1.0 if abs(b) < TINY else _clamp(a / b),
    "neg": lambda a: -a,
    "abs": abs,
    "min": lambda a, b: a if a < b else b,
    "max": lambda a, b: a if a > b else b,
    "if_then_else": lambda a, b, c: b if _condition(a) else c,
    "gt": lambda a, b: float(a > b),
    "lt": lambda a, b: float(a < b),
    "and_": lambda a, b: float(_condition(a) and _condition(b)),
    "or_": lambda a, b: float(_condition(a) or _condition(b)),
    "not_": lambda a: float(not _condition(a)),
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "clip": lambda a: min(max(a, -1.0), 1.0),
    "signed_log1p": _signed_log1p,
    "signed_sqrt": lambda a: math.copysign(math.sqrt(abs(a)), a),
}
