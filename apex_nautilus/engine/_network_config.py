"""What a run's configuration says about its network, and the draws that follow from it."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import ClassVar

import msgspec

from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim.latency import (
    CANCEL,
    DEFAULT_LOSS,
    DEFAULT_MU,
    DEFAULT_SIGMA,
    ORDER,
    burst_factor,
    decayed_rate,
)

__all__ = ["Delay", "FeedLink", "NetworkConfig", "RateMeter", "check_network", "stable_key"]


class Delay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log-normal delay: ``exp(mu + sigma * N(0, 1))`` microseconds.

    Parameters
    ----------
    mu : float
        Logarithm of the median in microseconds; 6.0 is 403 us.
    sigma : float
        Spread of the logarithm: the jitter. 0 makes every delay the median.
    """

    mu: float = DEFAULT_MU
    sigma: float = DEFAULT_SIGMA


class FeedLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How market data reach the feed hubs.

    Parameters
    ----------
    mu, sigma : float
        As in `Delay`.
    loss : float
        Probability that a packet (one book batch, or one trade) is lost on its way and has to be sent again.
    """

    mu: float = DEFAULT_MU
    sigma: float = DEFAULT_SIGMA
    loss: float = DEFAULT_LOSS


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network between strategies and a simulated venue; see docs/network.md.

    Parameters
    ----------
    seed : int
        Of all draws.
    insert, amend, cancel : Delay
        Of each class of command.
    loss : float
        Probability that a command never arrives.
    timeout_ms : float
        After this time a command without an answer is given up: its order is closed as rejected, or its
        cancellation or amendment reported as refused. The venue refuses commands that are older (as venues do
        with a receive window), so one that was given up cannot come back to life.
    feed : FeedLink or None
        Of the market data; None delivers them at once.
    burst_coupling : float
        How delays grow with the rate of messages beyond `burst_rate`; 0 is not at all, 1 in proportion.
    burst_rate : float
        Messages a second (market data and commands of the venue) from which on delays grow.
    burst_memory_s : float
        Over which the rate is estimated, exponentially forgetting.
    """

    seed: int = 0
    insert: Delay = Delay()
    amend: Delay = Delay()
    cancel: Delay = Delay()
    loss: float = DEFAULT_LOSS
    timeout_ms: float = 1000.0
    feed: FeedLink | None = FeedLink()
    burst_coupling: float = 0.0
    burst_rate: float = 1000.0
    burst_memory_s: float = 0.1

    DIRECTIONS: ClassVar[dict[str, int]] = {
        "insert": int(ORDER),
        "amend": int(ORDER),
        "cancel": int(CANCEL),
    }

    @property
    def timeout_ns(self) -> int:
        """`timeout_ms` in nanoseconds."""
        return round(self.timeout_ms * 1e6)

    def models(self) -> dict[str, tuple[LatencyModel, int]]:
        """The draws of each class of command, and the direction that is part of their key."""
        return {
            name: (LatencyModel(self.seed, d.mu, d.sigma, self.loss), self.DIRECTIONS[name])
            for name, d in (("insert", self.insert), ("amend", self.amend), ("cancel", self.cancel))
        }

    def meter(self) -> RateMeter | None:
        """A new meter of messages, or None where delays do not depend on their rate."""
        return RateMeter(self) if self.burst_coupling > 0.0 else None

    def feed_model(self) -> LatencyModel | None:
        """The draws of the market data, or None where they are delivered at once."""
        return None if self.feed is None else LatencyModel(
            self.seed, self.feed.mu, self.feed.sigma, self.feed.loss
        )  # fmt: skip


class RateMeter:
    """Messages a second, exponentially forgetting, and what a burst does to delays."""

    __slots__ = ("_config", "_rate", "_ts_ns")

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._rate = 0.0
        self._ts_ns = 0

    def count(self, now_ns: int) -> None:
        """A message is sent."""
        memory_s = self._config.burst_memory_s
        elapsed_s = max(now_ns - self._ts_ns, 0) * 1e-9
        self._rate = decayed_rate(self._rate, elapsed_s, memory_s) + 1.0 / memory_s
        self._ts_ns = now_ns

    def factor(self, now_ns: int) -> float:
        """By what delays are longer now."""
        config = self._config
        elapsed_s = max(now_ns - self._ts_ns, 0) * 1e-9
        rate = decayed_rate(self._rate, elapsed_s, config.burst_memory_s)
        return float(burst_factor(rate, config.burst_coupling, config.burst_rate))


def check_network(network: NetworkConfig) -> None:
    """Raise ValueError, naming the field, where a number of `network` is not possible."""
    parts = {name: (getattr(network, name), network.loss) for name in network.DIRECTIONS}
    if network.feed is not None:
        parts["feed"] = (network.feed, network.feed.loss)
    for name, (delay, loss) in parts.items():
        try:
            LatencyModel(network.seed, delay.mu, delay.sigma, loss)
        except ValueError as error:
            field, _, text = str(error).partition(": ")
            shared = field == "seed" or (field == "loss" and name != "feed")
            raise ValueError(f"network.{'' if shared else name + '.'}{field}: {text}") from None
    limits = {
        "timeout_ms": (0.001, 3_600_000.0),
        "burst_coupling": (0.0, 1000.0),
        "burst_rate": (0.001, 1e9),
        "burst_memory_s": (1e-6, 3600.0),
    }
    for name, (low, high) in limits.items():
        value = getattr(network, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"network.{name}: {value!r} is outside [{low:g}, {high:g}]")


def stable_key(name: str) -> int:
    """A number in [0, 2**63) that stands for `name` in the key of a draw; the same in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1
