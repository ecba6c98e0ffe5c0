"""The table of primitives: the one place that says what a tree may be made of.

The codec checks names, arity and types against it, the compiler takes its opcodes from it, the Forge derives
DEAP's typed primitive set from it, and ``docs/genome.md`` shows it (a test compares the two).

Every value is a float64. A value of type ``BOOL`` is 0.0 or 1.0. Where a condition is asked for and a number
is given, the number stands for ``number > 0``; where a number is asked for, a condition is the number 0 or 1.
All values are finite and within +-``LIMIT``: features are cleaned as they are read (NaN reads as 0 and is
counted, anything larger is clamped) and each primitive clamps what could overflow, so NaN can never arise.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

FLOAT: Final = "float"
BOOL: Final = "bool"
#: The argument of a windowed primitive: a feature as it was read, never a computed value.
RAW: Final = "feature"

#: Window lengths, in rows of the genome's clock.
WINDOWS: Final = (1, 2, 5, 10, 20, 50)
#: No value leaves a primitive with a magnitude above this.
LIMIT: Final = 1e12
#: `protected_div` gives 1 where the denominator is smaller than this.
TINY: Final = 1e-9
#: `zscore` gives 0 where the standard deviation is below FLAT * (1 + |mean|): rounding noise, not movement.
FLAT: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive.

    Attributes
    ----------
    name : str
        Name in the JSON file.
    opcode : int
        Its code in a compiled program (uint8).
    arguments : tuple of str
        Types of its children, each ``FLOAT``, ``BOOL`` or ``RAW``.
    result : str
        ``FLOAT`` or ``BOOL``.
    doc : str
        What it computes, in one line.
    windowed : bool
        Takes a feature's last ``k`` rows; the node carries ``k`` from ``WINDOWS``.
    """

    name: str
    opcode: int
    arguments: tuple[str, ...]
    result: str
    doc: str
    windowed: bool = False

    @property
    def arity(self) -> int:
        """Number of children."""
        return len(self.arguments)


# Opcodes below 8 fill columns from the data, from 8 on they work on columns. The codes of one release are not
# stored anywhere: a genome keeps names, so codes may be renumbered freely.
OP_FEATURE: Final = 0
OP_LAG: Final = 1
OP_DELTA: Final = 2
OP_MEAN: Final = 3
OP_STD: Final = 4
OP_RANK: Final = 5
OP_ZSCORE: Final = 6
OP_CONSTANT: Final = 8
OP_COPY: Final = 9
OP_ADD: Final = 10
OP_SUB: Final = 11
OP_MUL: Final = 12
OP_DIV: Final = 13
OP_NEG: Final = 14
OP_ABS: Final = 15
OP_MIN: Final = 16
OP_MAX: Final = 17
OP_IF: Final = 18
OP_GT: Final = 19
OP_LT: Final = 20
OP_AND: Final = 21
OP_OR: Final = 22
OP_NOT: Final = 23
OP_TANH: Final = 24
OP_SIGMOID: Final = 25
OP_CLIP: Final = 26
OP_LOG1P: Final = 27
OP_SQRT: Final = 28

_ONE = (FLOAT,)
_TWO = (FLOAT, FLOAT)

_TABLE = (
    Primitive("add", OP_ADD, _TWO, FLOAT, "a + b"),
    Primitive("sub", OP_SUB, _TWO, FLOAT, "a - b"),
    Primitive("mul", OP_MUL, _TWO, FLOAT, "a * b"),
    Primitive("protected_div", OP_DIV, _TWO, FLOAT, "a / b, 1 where |b| < 1e-9"),
    Primitive("neg", OP_NEG, _ONE, FLOAT, "-a"),
    Primitive("abs", OP_ABS, _ONE, FLOAT, "|a|"),
    Primitive("min", OP_MIN, _TWO, FLOAT, "a where a < b, else b"),
    Primitive("max", OP_MAX, _TWO, FLOAT, "a where a > b, else b"),
    Primitive("if_then_else", OP_IF, (BOOL, FLOAT, FLOAT), FLOAT, "b where a holds, else c"),
    Primitive("gt", OP_GT, _TWO, BOOL, "a > b"),
    Primitive("lt", OP_LT, _TWO, BOOL, "a < b"),
    Primitive("and_", OP_AND, (BOOL, BOOL), BOOL, "a and b"),
    Primitive("or_", OP_OR, (BOOL, BOOL), BOOL, "a or b"),
    Primitive("not_", OP_NOT, (BOOL,), BOOL, "not a"),
    Primitive("tanh", OP_TANH, _ONE, FLOAT, "hyperbolic tangent"),
    Primitive("sigmoid", OP_SIGMOID, _ONE, FLOAT, "1 / (1 + exp(-a))"),
    Primitive("clip", OP_CLIP, _ONE, FLOAT, "a clipped to [-1, 1]"),
    Primitive("signed_log1p", OP_LOG1P, _ONE, FLOAT, "sign(a) * log(1 + |a|)"),
    Primitive("signed_sqrt", OP_SQRT, _ONE, FLOAT, "sign(a) * sqrt(|a|)"),
    Primitive("lag", OP_LAG, (RAW,), FLOAT, "the feature k rows ago", True),
    Primitive("delta", OP_DELTA, (RAW,), FLOAT, "the feature now less the feature k rows ago", True),
    Primitive("mean", OP_MEAN, (RAW,), FLOAT, "mean of the last k rows, this one included", True),
    Primitive("std", OP_STD, (RAW,), FLOAT, "population standard deviation of the last k rows", True),
    Primitive("rank", OP_RANK, (RAW,), FLOAT,
              "share of the k - 1 rows before that lie below this one, ties half; 0.5 for k = 1", True),
    Primitive("zscore", OP_ZSCORE, (RAW,), FLOAT,
              "(feature - mean) / std over the last k rows, 0 when flat", True),
)  # fmt: skip

#: Name to primitive, in the order of the documentation.
PRIMITIVES: Final = MappingProxyType({primitive.name: primitive for primitive in _TABLE})


def warmup_rows(name: str, k: int) -> int:
    """Rows a windowed primitive needs before the current one; until then it yields 0.0.

    ``lag`` and ``delta`` look ``k`` rows back; the others need ``k`` rows with the current one among them.
    """
    return k if name in ("lag", "delta") else k - 1
