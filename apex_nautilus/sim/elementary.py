"""exp and log in plain arithmetic, so that a market has one tape on every machine.

The C library's functions differ in the last bit from one system to the next, and with them every later draw
of a market. Here each is a fixed sequence of IEEE additions, multiplications and divisions.

Methods: Cody & Waite (1980) argument reduction with a Taylor polynomial for exp; the atanh series with the
minimax coefficients of fdlibm's ``e_log.c`` (Sun, 1993) for log. Relative errors stay below 4e-16 (log: of
the result or of 1, whichever is larger).
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from ._jit import entry, kernel

__all__ = ["bits_float", "exp", "expm1", "float_bits", "log"]

_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_ROUNDER = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to the nearest whole number, in the low bits
_SQRT_HALF = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2): exponents are counted from there
_1023, _52 = np.int64(1023), np.int64(52)
_LIMIT = 700.0


@intrinsic
def float_bits(typing_context, x):
    """The 64 bits of a double as an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@intrinsic
def bits_float(typing_context, bits):
    """The double with these 64 bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@kernel
def _reduced(x):
    """(e^r - 1, 2^k) with x = k ln 2 + r, |r| <= ln(2) / 2."""
    shifted = x * _LOG2E + _ROUNDER
    k = shifted - _ROUNDER
    r = (x - k * _LN2_HI) - k * _LN2_LO
    # Taylor coefficients 1/n!, n = 2 .. 13, by Estrin's scheme: half the chain of Horner's.
    r2 = r * r
    r4 = r2 * r2
    a = (0.5 + r * (1 / 6)) + r2 * ((1 / 24) + r * (1 / 120))
    b = ((1 / 720) + r * (1 / 5040)) + r2 * ((1 / 40320) + r * (1 / 362880))
    c = ((1 / 3628800) + r * (1 / 39916800)) + r2 * ((1 / 479001600) + r * (1 / 6227020800))
    small = r + r2 * (a + r4 * (b + r4 * c))
    return small, bits_float((float_bits(shifted) + _1023) << _52)


@entry
def exp(x):
    """e^x; arguments beyond +-700 count as +-700."""
    small, scale = _reduced(min(max(x, -_LIMIT), _LIMIT))
    return small * scale + scale


@entry
def expm1(x):
    """e^x - 1 for x in [-700, 700], exact also near 0."""
    small, scale = _reduced(min(max(x, -_LIMIT), _LIMIT))
    return small * scale + (scale - 1.0)


@entry
def log(x):
    """Natural logarithm of a positive, finite, normal number."""
    bits = float_bits(x)
    exponent = (bits - _SQRT_HALF) >> _52
    f = bits_float(bits - (exponent << _52)) - 1.0
    k = np.float64(exponent)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    t2 = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return k * _LN2_HI - ((half - (s * (half + (t1 + t2)) + k * _LN2_LO)) - f)
