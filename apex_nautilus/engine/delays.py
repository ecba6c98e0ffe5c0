"""How long messages were on their way in a run: counts in bins, kept at the cost of an addition each.

A bin is an eighth of an octave: eight of them lie between 8 and 16 ns, the next eight between 16 and 32. The
first takes all that is shorter, the last (from 73 hours) all that is longer. Bins are found by shifting bits,
so that they are the same on every machine, and a quantile read from them is right to within an eighth.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from nautilus_trader.common.component import MessageBus

__all__ = ["DELAY_CLASSES", "DelayCounts", "DelayReport", "bin_start_ns", "collect_delays", "tell_delays"]

DELAY_CLASSES = ("insert", "amend", "cancel", "data")
"""What travels: three kinds of commands, and market data."""

_TOPIC = "apex.network.delays"
_EIGHTHS = 3  # bits of the mantissa that make a bin
_BINS = 8 * 45


def _bin_of(ns: int) -> int:
    if ns < 8:
        return 0
    octave = ns.bit_length() - 1 - _EIGHTHS
    return min((octave << _EIGHTHS) + (ns >> octave) - 8, _BINS - 1)


def bin_start_ns(index: int) -> int:
    """Where bin `index` begins; it ends where the next one does."""
    octave, eighth = divmod(index, 8)
    return (8 + eighth) << octave


@dataclass(slots=True)
class DelayCounts:
    """Messages of one class.

    Attributes
    ----------
    lost : int
        Never arrived; of market data, those that were sent again (their long delays are counted too).
    late : int
        Arrived after their time-out and were refused.
    counts : array of int64
        Messages that arrived, by bin of their delay.
    """

    lost: int = 0
    late: int = 0
    counts: array = field(default_factory=lambda: array("q", bytes(8 * _BINS)))

    def add(self, delay_ns: int) -> None:
        """A message arrived `delay_ns` after it was sent."""
        self.counts[_bin_of(delay_ns)] += 1

    def merge(self, other: DelayCounts) -> None:
        """Add what another one counted."""
        self.lost += other.lost
        self.late += other.late
        for index, count in enumerate(other.counts):
            self.counts[index] += count

    def report(self, name: str) -> DelayReport:
        """The bins that are not empty, for a file."""
        used = [i for i, count in enumerate(self.counts) if count]
        return DelayReport(
            name=name,
            lost=self.lost,
            late=self.late,
            bins=tuple(used),
            counts=tuple(self.counts[i] for i in used),
        )


class DelayReport(msgspec.Struct, frozen=True, kw_only=True):
    """The delays of one class of messages, as a run keeps them; see `DelayCounts`.

    Attributes
    ----------
    name : str
        One of `DELAY_CLASSES`.
    lost, late : int
    bins : tuple of int
        Bins that hold a message, in order; `bin_start_ns` says where each begins.
    counts : tuple of int
        Messages in each of them.
    """

    name: str
    lost: int
    late: int
    bins: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def arrived(self) -> int:
        """Messages that arrived in time."""
        return sum(self.counts)

    def quantile_ns(self, q: float) -> float:
        """The delay that a share `q` of the messages that arrived did not exceed; NaN where none did.

        Within a bin the messages are taken to lie evenly.

        Raises
        ------
        ValueError
            When `q` is outside [0, 1].
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"quantile_ns: q must be in [0, 1], got {q!r}")
        wanted = q * self.arrived
        for index, count in zip(self.bins, self.counts, strict=True):
            if wanted <= count:
                low, high = bin_start_ns(index), bin_start_ns(index + 1)
                return low + (high - low) * wanted / count
            wanted -= count
        return math.nan


def tell_delays(msgbus: MessageBus, tell: Callable[[], dict[str, DelayCounts]]) -> None:
    """Answer, from now on, when the node is asked by `collect_delays`; `tell` gives counts by class."""
    msgbus.subscribe(topic=_TOPIC, handler=lambda answers: answers.append(tell()))


def collect_delays(msgbus: MessageBus) -> list[DelayReport]:
    """Ask a node how long its messages travelled; classes of which none was sent are left out."""
    answers: list[dict[str, DelayCounts]] = []
    msgbus.publish(topic=_TOPIC, msg=answers)
    found: dict[str, DelayCounts] = {}
    for answer in answers:
        for name, counts in answer.items():
            found.setdefault(name, DelayCounts()).merge(counts)
    reports = [found[name].report(name) for name in DELAY_CLASSES if name in found]
    return [r for r in reports if r.arrived or r.lost or r.late]
