"""Random numbers for the kernels: reproducible to the byte, in any process, in any order of threads.

Two kinds, one mixing function (splitmix64; Steele, Lea and Flood 2014):

- a stream (`next_uniform` and friends) whose whole state is one uint64 counter, for the agents' decisions;
- draws by key (`keyed_uniform`), the n-th number of which needs no predecessor, for whatever must be drawn
  alike in simulator, replay and engine.

Normals come from one uniform each by the inverse distribution function, so a key gives one normal, not a
pair.
"""

import math

import numpy as np

from ._jit import entry, kernel

__all__ = [
    "keyed_uniform",
    "next_below",
    "next_exponential",
    "next_normal",
    "next_uniform",
    "normal_quantile",
]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)


@kernel
def _mix(z):
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@kernel
def _to_unit(z):
    # 53 bits, moved half a step up: never 0 and never 1, so logarithms and quantiles stay finite.
    return (np.float64(np.int64(z >> _S11)) + 0.5) * (1.0 / 9007199254740992.0)


@entry
def keyed_uniform(seed, a, b, c):
    """Uniform in (0, 1) of a key: `seed` uint64, `a`, `b`, `c` int64."""
    z = _mix(seed + _GOLDEN)
    z = _mix(z ^ (np.uint64(a) + _GOLDEN))
    z = _mix(z ^ (np.uint64(b) + _GOLDEN))
    return _to_unit(_mix(z ^ (np.uint64(c) + _GOLDEN)))


@entry
def next_uniform(stream):
    """Next uniform in (0, 1); `stream` is uint64[1]."""
    stream[0] += _GOLDEN
    return _to_unit(_mix(stream[0]))


@entry
def next_below(stream, n):
    """Next integer in [0, n)."""
    return np.int64(next_uniform(stream) * n)


@entry
def next_exponential(stream, mean):
    """Next waiting time of a Poisson process, in the unit of `mean`."""
    return -mean * math.log(next_uniform(stream))


@entry
def next_normal(stream):
    """Next standard normal."""
    return normal_quantile(next_uniform(stream))


@entry
def normal_quantile(p):
    """Inverse of the standard normal distribution function, for p in (0, 1).

    Wichura 1988, algorithm AS 241 (PPND16): relative error about 1e-16.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = 2509.0809287301226727 * r + 33430.575583588128105
        top = (top * r + 67265.770927008700853) * r + 45921.953931549871457
        top = (top * r + 13731.693765509461125) * r + 1971.5909503065514427
        top = (top * r + 133.14166789178437745) * r + 3.387132872796366608
        low = 5226.495278852545925 * r + 28729.085735721942674
        low = (low * r + 39307.89580009271061) * r + 21213.794301586595867
        low = (low * r + 5394.1960214247511077) * r + 687.1870074920579083
        low = (low * r + 42.313330701600911252) * r + 1.0
        return q * top / low
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        top = 7.7454501427834140764e-4 * r + 0.0227238449892691845833
        top = (top * r + 0.24178072517745061177) * r + 1.27045825245236838258
        top = (top * r + 3.64784832476320460504) * r + 5.7694972214606914055
        top = (top * r + 4.6303378461565452959) * r + 1.42343711074968357734
        low = 1.05075007164441684324e-9 * r + 5.475938084995344946e-4
        low = (low * r + 0.0151986665636164571966) * r + 0.14810397642748007459
        low = (low * r + 0.68976733498510000455) * r + 1.6763848301838038494
        low = (low * r + 2.05319162663775882187) * r + 1.0
    else:
        r -= 5.0
        top = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
        top = (top * r + 0.0012426609473880784386) * r + 0.026532189526576123093
        top = (top * r + 0.29656057182850489123) * r + 1.7848265399172913358
        top = (top * r + 5.4637849111641143699) * r + 6.6579046435011037772
        low = 2.04426310338993978564e-15 * r + 1.4215117583164458887e-7
        low = (low * r + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4
        low = (low * r + 0.0148753612908506148525) * r + 0.13692988092273580531
        low = (low * r + 0.59983220655588793769) * r + 1.0
    return -top / low if q < 0.0 else top / low
