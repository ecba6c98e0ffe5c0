"""Delay and loss of a message, drawn by key.

The delay is log-normal in microseconds: ``exp(mu + sigma * N(0, 1))``, with mu 6.0 and sigma 1.5 a median of
403 us and a mean of 1.24 ms. A message is lost with a small probability; it then never arrives and has no
effect.

Every draw is keyed by (seed, agent, command number, direction), so whoever knows the key draws the same
number, in whatever order. On one connection a later message never overtakes an earlier one (`in_order`).
"""

import math
from dataclasses import dataclass

import numpy as np

from ._jit import entry
from .draws import keyed_uniform, normal_quantile

__all__ = ["CANCEL", "DATA", "DEFAULT_LOSS", "DEFAULT_MU", "DEFAULT_SIGMA", "ORDER", "LatencyModel"]
__all__ += ["delay_ns", "in_order", "is_lost"]

# Directions: what travels. Amendments travel with the orders.
# Typed, because numba compiles a kernel anew for every literal number it is called with.
ORDER, CANCEL, DATA = np.int64(0), np.int64(1), np.int64(2)

DEFAULT_MU, DEFAULT_SIGMA, DEFAULT_LOSS = 6.0, 1.5, 0.001


@entry
def delay_ns(seed, agent, command, direction, mu, sigma):
    """Delay of one message in nanoseconds; `mu` and `sigma` in log microseconds, `seed` uint64."""
    z = normal_quantile(keyed_uniform(seed, agent, command, 2 * direction))
    return np.int64(math.exp(mu + sigma * z) * 1000.0 + 0.5)


@entry
def is_lost(seed, agent, command, direction, probability):
    """True when the message never arrives."""
    return keyed_uniform(seed, agent, command, 2 * direction + 1) < probability


@entry
def in_order(sent_ns, delay, last_arrival_ns):
    """Arrival on a first-in-first-out connection whose previous message arrives at `last_arrival_ns`."""
    return max(sent_ns + delay, last_arrival_ns)


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """The draws of one network, for callers outside the kernels.

    Parameters
    ----------
    seed : 0 <= seed < 2**64.
    mu, sigma : of the logarithm of the delay in microseconds.
    loss : probability in [0, 1] that a message never arrives.

    Raises
    ------
    ValueError naming the parameter that is out of bounds.
    """

    seed: int
    mu: float = DEFAULT_MU
    sigma: float = DEFAULT_SIGMA
    loss: float = DEFAULT_LOSS

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed: {self.seed} is outside [0, 2**64)")
        for name, low, high in (("mu", -10.0, 15.0), ("sigma", 0.0, 5.0), ("loss", 0.0, 1.0)):
            value = getattr(self, name)
            if not low <= value <= high:  # also catches NaN
                raise ValueError(f"{name}: {value} is outside [{low}, {high}]")

    def delay_ns(self, agent: int, command: int, direction: int = ORDER) -> int:
        """Delay in nanoseconds of the agent's message number `command`."""
        return int(delay_ns(np.uint64(self.seed), agent, command, direction, self.mu, self.sigma))

    def is_lost(self, agent: int, command: int, direction: int = ORDER) -> bool:
        """Whether that message is lost."""
        return bool(is_lost(np.uint64(self.seed), agent, command, direction, self.loss))
