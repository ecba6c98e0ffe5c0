"""Random numbers for the kernels: reproducible to the byte, in any process, in any order of threads.

Two kinds, one mixing function (splitmix64; Steele, Lea and Flood 2014):

- a stream (`next_uniform` and friends) whose whole state is one uint64 counter, for the agents' decisions;
- draws by key (`keyed_uniform`), the n-th number of which needs no predecessor, for whatever must be drawn
  alike in simulator, replay and engine.

Normals come from one uniform each by the inverse distribution function, so a key gives one normal, not a
pair.
"""

import numpy as np

from ._jit import entry, kernel
from .elementary import log
from .normal import normal_quantile

__all__ = [
    "extend_key",
    "key_uniform",
    "keyed_uniform",
    "next_below",
    "next_exponential",
    "next_normal",
    "next_uniform",
    "start_key",
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
def start_key(seed, a):
    """The part of a key that stays: `seed` uint64, `a` int64; returns uint64."""
    return extend_key(_mix(seed + _GOLDEN), a)


@entry
def extend_key(key, part):
    """A key with one more part, int64."""
    return _mix(key ^ (np.uint64(part) + _GOLDEN))


@entry
def key_uniform(key, c):
    """Uniform in (0, 1) of a key and its last part `c`, int64."""
    return _to_unit(extend_key(key, c))


@entry
def keyed_uniform(seed, a, b, c):
    """Uniform in (0, 1) of a key: `seed` uint64, `a`, `b`, `c` int64."""
    return key_uniform(extend_key(start_key(seed, a), b), c)


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
    return -mean * log(next_uniform(stream))


@entry
def next_normal(stream):
    """Next standard normal."""
    return normal_quantile(next_uniform(stream))
