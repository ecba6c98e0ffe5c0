"""Delay and loss of a message, drawn by key.

The delay is log-normal in microseconds: ``exp(mu + sigma * N(0, 1))``, with mu 6.0 and sigma 1.5 a median of
403 us and a mean of 1.24 ms. A message is lost with a small probability; it then never arrives and has no
effect. In a burst delays grow with the rate of messages (`burst_factor`), as they do in crashes.

Every draw is keyed by (seed, agent, command number, direction), so whoever knows the key draws the same
number, in whatever order. On one connection a later message never overtakes an earlier one (`in_order`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._jit import entry, kernel
from .draws import extend_key, key_uniform, start_key
from .elementary import exp
from .normal import normal_quantile

__all__ = [
    "AHEAD",
    "CANCEL",
    "DATA",
    "DEFAULT_LOSS",
    "DEFAULT_MU",
    "DEFAULT_SIGMA",
    "ORDER",
    "DrawsInTurn",
    "LatencyModel",
    "burst_factor",
    "decayed_rate",
    "delay_ns",
    "delay_of",
    "draw_ahead",
    "in_order",
    "is_lost",
    "loss_of",
]

# Directions: what travels. Amendments travel with the orders.
# Typed, because numba compiles a kernel anew for every literal number it is called with.
ORDER, CANCEL, DATA = np.int64(0), np.int64(1), np.int64(2)

DEFAULT_MU, DEFAULT_SIGMA, DEFAULT_LOSS = 6.0, 1.5, 0.001


_LONGEST_NS = 1e18  # 30 years: what is later than that need not be told apart
AHEAD = 8  # draws of one connection that are made side by side
_BLOCK = 256  # of `DrawsInTurn`


@entry
def delay_of(message, direction, mu, sigma):
    """Delay in nanoseconds, a float, of the message ``extend_key(start_key(seed, agent), command)``."""
    z = normal_quantile(key_uniform(message, 2 * direction))
    return min(exp(mu + sigma * z) * 1000.0, _LONGEST_NS)


@entry
def loss_of(message, direction, probability):
    """True when the message of that key never arrives."""
    return key_uniform(message, 2 * direction + 1) < probability


@kernel
def draw_ahead(key, first, direction, mu, sigma, loss, out):
    """Delays of `out`'s length of messages from number `first` on; -1 for those that are lost.

    One draw is a long chain of operations that wait for each other; several chains run side by side.
    """
    for k in range(len(out)):
        message = extend_key(key, first + k)
        delay = delay_of(message, direction, mu, sigma)
        out[k] = -1.0 if loss_of(message, direction, loss) else delay


@entry
def draw_block(seed, agent, first, direction, mu, sigma, loss, out):
    """As `draw_ahead`, for an agent's messages and for callers outside the kernels; `seed` uint64."""
    draw_ahead(start_key(seed, agent), first, direction, mu, sigma, loss, out)


@entry
def delay_ns(seed, agent, command, direction, mu, sigma):
    """Delay of one message in nanoseconds; `mu` and `sigma` in log microseconds, `seed` uint64."""
    return np.int64(delay_of(extend_key(start_key(seed, agent), command), direction, mu, sigma) + 0.5)


@entry
def is_lost(seed, agent, command, direction, probability):
    """True when the message never arrives."""
    return loss_of(extend_key(start_key(seed, agent), command), direction, probability)


@entry
def decayed_rate(rate, elapsed_s, memory_s):
    """An exponentially forgetting estimate of messages a second, `elapsed_s` later and without a new one.

    Each message adds ``1 / memory_s`` to it.
    """
    return rate * exp(-elapsed_s / memory_s)


@entry
def burst_factor(rate, coupling, burst_rate):
    """By what the delays of a burst are longer: 1 up to `burst_rate` messages a second, then linear.

    ``1 + coupling * (rate / burst_rate - 1)``: with coupling 1 the delay grows as the rate, as in a queue
    that is served at `burst_rate`.
    """
    return 1.0 + coupling * max(rate / burst_rate - 1.0, 0.0)


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

    def in_turn(self, agent: int, direction: int = ORDER) -> DrawsInTurn:
        """The draws of the agent's messages 0, 1, 2, ..., one after the other."""
        return DrawsInTurn(self, agent, direction)


class DrawsInTurn:
    """The draws of one connection's messages in the order in which they are sent.

    They are those of `LatencyModel.is_lost` and `LatencyModel.delay_ns`, made a block at a time: from Python
    a call of each costs more than the draw.
    """

    __slots__ = ("_agent", "_block", "_direction", "_left", "_model", "_number")

    def __init__(self, model: LatencyModel, agent: int, direction: int) -> None:
        self._model = model
        self._agent = agent
        self._direction = direction
        self._block = np.empty(_BLOCK)
        self._left: list[float] = []  # of the block, the next one last
        self._number = 0

    def next_ns(self) -> int:
        """Delay in nanoseconds of the next message, -1 where it never arrives."""
        if not self._left:
            model, block = self._model, self._block
            draw_block(
                np.uint64(model.seed), self._agent, self._number, self._direction,
                model.mu, model.sigma, model.loss, block,
            )  # fmt: skip
            self._number += len(block)
            self._left = block[::-1].tolist()
        delay = self._left.pop()
        return int(delay + 0.5) if delay >= 0.0 else -1
