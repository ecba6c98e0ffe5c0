"""exp, tanh, sigmoid, log1p in plain arithmetic, so that one value has one result everywhere.

The C library's functions differ in the last bit from the vector ones a compiler may put in their place, and
from one system to the next. Here each function is a fixed sequence of IEEE additions, multiplications and
divisions: one row, a block of rows and any machine agree to the last bit. Errors against the exact value
stay below 4e-16 relative (tests hold them to that).

Methods: Cody & Waite (1980) argument reduction with a Taylor polynomial for exp; the atanh series with the
minimax coefficients of fdlibm's ``e_log.c`` (Sun, 1993) for log.

Every argument is finite; the callers see to that.
"""

from __future__ import annotations

from apex_nautilus.genome._traced import bits_float, float_bits, greater, lesser, traced, with_sign

LOG2E = 1.4426950408889634
LN2_HI = 6.93147180369123816490e-01
LN2_LO = 1.90821492927058770002e-10
#: 1.5 * 2**52: adding it rounds a double to the nearest whole number, which lands in the low bits.
ROUNDER = 6755399441055744.0
_ROUNDER_BITS = 0x4338000000000000

# Taylor coefficients 1/n! of exp, n = 2 .. 13; the remainder on |r| <= ln(2)/2 is below 2e-18.
E2, E3, E4, E5, E6, E7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
E8, E9, E10, E11, E12, E13 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800

# fdlibm's Lg1 .. Lg7.
L1, L2, L3, L4 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
)
L5, L6, L7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01

#: Beyond these the result is constant to the last bit (tanh) or the exponential would leave the doubles.
TANH_LIMIT = 20.0
EXP_LIMIT = 708.0

_SQRT_HALF_OFFSET = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2): exponents are counted from there


def _expm1_reduced(x):
    """(e^r - 1, 2^k) with x = k ln 2 + r, |r| <= ln(2)/2."""
    shifted = x * LOG2E + ROUNDER
    k = shifted - ROUNDER
    r = (x - k * LN2_HI) - k * LN2_LO
    tail = E13
    tail = tail * r + E12
    tail = tail * r + E11
    tail = tail * r + E10
    tail = tail * r + E9
    tail = tail * r + E8
    tail = tail * r + E7
    tail = tail * r + E6
    tail = tail * r + E5
    tail = tail * r + E4
    tail = tail * r + E3
    tail = tail * r + E2
    small = r + (r * r) * tail
    scale = bits_float((float_bits(shifted) + 1023) << 52)
    return small, scale


@traced
def tanh(x):
    """tanh x = e / (e + 2) with e = expm1(2 x)."""
    y = greater(lesser(x, TANH_LIMIT), -TANH_LIMIT)
    small, scale = _expm1_reduced(2.0 * y)
    e = small * scale + (scale - 1.0)
    return e / (e + 2.0)


@traced
def sigmoid(x):
    """1 / (1 + e^-x)."""
    y = greater(lesser(x, EXP_LIMIT), -EXP_LIMIT)
    small, scale = _expm1_reduced(-y)
    return 1.0 / (1.0 + (small * scale + scale))


@traced
def signed_log1p(x):
    """sign(x) log(1 + |x|), |x| <= 1e12."""
    a = abs(x)
    u = 1.0 + a
    lost = (a - (u - 1.0)) / u  # what rounding 1 + a dropped, to first order
    bits = float_bits(u)
    exponent = (bits - _SQRT_HALF_OFFSET) >> 52
    f = bits_float(bits - (exponent << 52)) - 1.0
    # An int64 becomes a double without a conversion instruction: few machines have a vector one.
    k = bits_float(exponent + _ROUNDER_BITS) - ROUNDER
    s = f / (2.0 + f)
    z = s * s
    tail = z * (L1 + z * (L2 + z * (L3 + z * (L4 + z * (L5 + z * (L6 + z * L7))))))
    half = 0.5 * f * f
    log = k * LN2_HI - ((half - (s * (half + tail) + (k * LN2_LO + lost))) - f)
    return with_sign(log, x)
