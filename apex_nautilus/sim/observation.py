"""A stretch of market events laid out for measuring: the touch, the trades and what came and went.

One walk over the events (`observe`), then every fact reads arrays. Simulated and recorded markets go through
the same door: only `EVENT` records and the instrument's precisions enter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from ..features import DEPTH, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, BookFeatures, scale
from ..risk import InstrumentSpec

__all__ = ["NEAR_BPS", "Observation", "ObservationError", "observe"]

NEAR_BPS = 10.0
"""Limit orders and cancels are counted up to this far from the mid."""

_SLICE = 200_000
_DEPTH_STEP_NS = 1_000_000_000


class ObservationError(ValueError):
    """There is nothing to measure, or what was given is no stretch of events."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What facts are measured on. Times are those of receipt, nanoseconds; all arrays rise in time.

    Prices are in quote units, sizes in base units (contracts of an inverse perpetual).

    Attributes
    ----------
    start_ns, end_ns : the span, end excluded.
    tick : price step.
    multiplier : quote units a contract stands for, 0 where sizes are in base units.
    path_ns : int64 (m,), each whole, two-sided, uncrossed book.
    touch : float64 (m, 4), its bid, bid size, ask, ask size.
    restarts : int64 (r,), entries of the path that begin a book anew.
    depth_ns : int64 (d,), once a second; `depth` : float64 (d, 10), worth of the k-th levels in quote units,
        the mean of both sides.
    trade_ns : int64 (t,), each trade as reported; `trade` : float64 (t, 3), price, size, side of the taker.
    order_ns : int64 (k,), takers' orders: trades of one instant of the venue and one side; `order` :
        float64 (k, 3), worth in quote units, size, side.
    change_ns : int64 (c,), changes of levels within `NEAR_BPS` of the mid; `change` : float64 (c,), size
        that came (positive) or went, trades included.
    """

    start_ns: int
    end_ns: int
    tick: float
    multiplier: float
    path_ns: np.ndarray
    touch: np.ndarray
    restarts: np.ndarray
    depth_ns: np.ndarray
    depth: np.ndarray
    trade_ns: np.ndarray
    trade: np.ndarray
    order_ns: np.ndarray
    order: np.ndarray
    change_ns: np.ndarray
    change: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the span."""
        return (self.end_ns - self.start_ns) * 1e-9

    @property
    def mid(self) -> np.ndarray:
        """Mid-price of each entry of the path."""
        return 0.5 * (self.touch[:, 0] + self.touch[:, 2])

    def grid(self, step_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Times every `step_ns` of the span, and the path's entry that stood at each.

        Times before the first book are left out.
        """
        times = np.arange(self.start_ns, self.end_ns, step_ns, dtype=np.int64)
        at = np.searchsorted(self.path_ns, times, side="right") - 1
        return times[at >= 0], at[at >= 0]

    def log_mid(self, step_ns: int) -> np.ndarray:
        """Logarithm of the mid at the times of `grid`."""
        return np.log(self.mid[self.grid(step_ns)[1]])

    def between(self, start_ns: int, end_ns: int) -> Observation:
        """The part in [start_ns, end_ns), with the book as it stood at its beginning.

        Raises
        ------
        ObservationError
            When the part is empty or outside the span.
        """
        if not self.start_ns <= start_ns < end_ns <= self.end_ns:
            raise ObservationError(
                f"[{start_ns}, {end_ns}) is not within the span [{self.start_ns}, {self.end_ns})"
            )
        cut: dict[str, np.ndarray] = {}
        for times, values in (
            ("depth_ns", "depth"),
            ("trade_ns", "trade"),
            ("order_ns", "order"),
            ("change_ns", "change"),
        ):
            lo, hi = np.searchsorted(getattr(self, times), [start_ns, end_ns])
            cut[times], cut[values] = getattr(self, times)[lo:hi], getattr(self, values)[lo:hi]
        lo, hi = np.searchsorted(self.path_ns, [start_ns, end_ns])
        first = lo - 1 if lo > 0 and (lo == len(self.path_ns) or self.path_ns[lo] > start_ns) else lo
        inside = (self.restarts >= first) & (self.restarts < hi)
        return Observation(
            start_ns=start_ns,
            end_ns=end_ns,
            tick=self.tick,
            multiplier=self.multiplier,
            path_ns=self.path_ns[first:hi],
            touch=self.touch[first:hi],
            restarts=self.restarts[inside] - first,
            **cut,
        )

    def windows(self, length_ns: int) -> list[Observation]:
        """Whole windows of one length, one behind the other from the start; what is left over is left out."""
        count = (self.end_ns - self.start_ns) // length_ns
        edges = self.start_ns + length_ns * np.arange(count + 1)
        return [self.between(int(a), int(b)) for a, b in pairwise(edges)]


def observe(
    events: np.ndarray | Iterable[np.ndarray],
    instrument: InstrumentSpec,
    *,
    end_ns: int | None = None,
) -> Observation:
    """Lay out events for measuring.

    Parameters
    ----------
    events : EVENT[n] in order of receipt, or chunks of them (as `data.read_events` yields).
    instrument : precisions and tick.
    end_ns : where the span ends; by default just behind the last event.

    Raises
    ------
    ObservationError
        When there is no whole book.
    """
    walk = _Walk(instrument)
    for chunk in [events] if isinstance(events, np.ndarray) else events:
        for part in _slices(chunk):
            walk.add(part)
    return walk.done(end_ns)


def _slices(events: np.ndarray) -> Iterable[np.ndarray]:
    """Cut behind ends of batches, and before each clear, so that a clear opens its slice."""
    ends = np.flatnonzero(events["flags"] & FLAG_LAST) + 1
    cuts = [0]
    clears = np.flatnonzero(events["kind"] == KIND_CLEAR)
    wanted = np.union1d(np.arange(_SLICE, len(events), _SLICE), clears)
    is_clear = np.isin(wanted, clears)
    for at, clear in zip(wanted, is_clear, strict=True):
        if not clear:  # the next end of a batch
            place = int(np.searchsorted(ends, at))
            at = ends[place] if place < len(ends) else len(events)
        if at > cuts[-1]:
            cuts.append(int(at))
    cuts.append(len(events))
    for a, b in pairwise(cuts):
        if a < b:
            yield events[a:b]


class _Walk:
    """Everything that is gathered while events pass by."""

    def __init__(self, instrument: InstrumentSpec) -> None:
        self._spec = instrument
        self._price = scale(instrument.price_precision)
        self._size = scale(instrument.size_precision)
        self._machine = BookFeatures(
            ["imbalance"],
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
        )
        self._parts: dict[str, list[np.ndarray]] = {
            f.name: [] for f in fields(Observation) if f.type == "np.ndarray"
        }
        # Sizes of the levels that are set: sorted keys (twice the price, odd for asks) and their sizes.
        self._keys = np.zeros(0, np.int64)
        self._sizes = np.zeros(0, np.int64)
        self._entries = 0
        self._last_ns = 0
        self._mid = np.nan
        self._sampled = -1
        self._restarted = False

    def add(self, events: np.ndarray) -> None:
        """Take a slice: whole batches; a clear only as its first event."""
        cleared = events["kind"][0] == KIND_CLEAR
        if cleared:
            side = int(events["side"][0])
            gone = np.ones(len(self._keys), bool) if side == 0 else (self._keys % 2 == 0) == (side > 0)
            self._keys, self._sizes = self._keys[~gone], self._sizes[~gone]
            self._restarted = self._entries > 0
        path = self._machine.run(events, depth=DEPTH)
        top = path.path_depth
        if len(path.path_ts_ns):
            self._path(path.path_ts_ns, top)
        self._trades(events[events["kind"] == KIND_TRADE])
        snapshot = 0
        if cleared:
            ends = np.flatnonzero(events["flags"] & FLAG_LAST)
            snapshot = int(ends[0]) + 1 if len(ends) else len(events)
        self._levels(events, snapshot, path.path_ts_ns, top)
        self._last_ns = int(events["ts_init_ns"][-1])
        if len(path.path_ts_ns):
            self._mid = 0.5 * (top[-1, 0, 0] + top[-1, 2, 0])

    def _path(self, times: np.ndarray, top: np.ndarray) -> None:
        parts = self._parts
        parts["path_ns"].append(times)
        parts["touch"].append(np.ascontiguousarray(top[:, :, 0]))
        if self._restarted:
            parts["restarts"].append(np.array([self._entries]))
            self._restarted = False
        self._entries += len(times)
        seconds = times // _DEPTH_STEP_NS
        # The first book of each second: which one that is does not depend on where a chunk ends.
        first = np.flatnonzero(np.diff(seconds, prepend=self._sampled))
        if len(first):
            self._sampled = int(seconds[-1])
            prices, sizes = top[first][:, [0, 2]], top[first][:, [1, 3]]
            worth = np.where(sizes > 0.0, self._worth(np.nan_to_num(prices), sizes), 0.0)
            parts["depth_ns"].append(times[first])
            parts["depth"].append(worth.mean(axis=1))

    def _worth(self, price: np.ndarray, size: np.ndarray) -> np.ndarray:
        return size * self._spec.multiplier if self._spec.kind == "inverse_perp" else price * size

    def _trades(self, trades: np.ndarray) -> None:
        if not len(trades):
            return
        price, size = trades["price"] / self._price, trades["size"] / self._size
        side = trades["side"].astype(np.float64)
        self._parts["trade_ns"].append(trades["ts_init_ns"].astype(np.int64))
        self._parts["trade"].append(np.column_stack([price, size, side]))
        # A venue reports one trade for each order that was met. Those of one instant and side are one order.
        new = (np.diff(trades["ts_event_ns"], prepend=-1) != 0) | (np.diff(side, prepend=9.0) != 0)
        starts = np.flatnonzero(new)
        self._parts["order_ns"].append(trades["ts_init_ns"][starts].astype(np.int64))
        sums = [np.add.reduceat(x, starts) for x in (self._worth(price, size), size)]
        self._parts["order"].append(np.column_stack([*sums, side[starts]]))

    def _levels(self, events: np.ndarray, snapshot: int, times: np.ndarray, top: np.ndarray) -> None:
        place = np.flatnonzero(events["kind"] == KIND_LEVEL)
        if not len(place):
            return
        level = events[place]
        keys = 2 * level["price"] + (level["side"] < 0)
        order = np.argsort(keys, kind="stable")
        sorted_keys, sizes = keys[order], level["size"][order]
        first = np.diff(sorted_keys, prepend=sorted_keys[0] - 1) != 0
        before = np.empty(len(order), np.int64)
        before[1:] = sizes[:-1]
        before[first] = self._known(sorted_keys[first])
        change = np.empty(len(order))
        change[order] = (sizes - before) / self._size
        final = np.flatnonzero(np.append(first[1:], True))
        self._remember(sorted_keys[final], sizes[final])
        # Only what came or went near the mid that stood before the event.
        at = np.searchsorted(times, level["ts_init_ns"], side="left") - 1
        mids = 0.5 * (top[:, 0, 0] + top[:, 2, 0])
        mid = np.where(at >= 0, mids[at], self._mid) if len(mids) else np.full(len(level), self._mid)
        price = level["price"] / self._price
        with np.errstate(invalid="ignore"):
            near = np.abs(price - mid) <= NEAR_BPS * 1e-4 * mid
        near &= (place >= snapshot) & (change != 0.0)
        self._parts["change_ns"].append(level["ts_init_ns"][near].astype(np.int64))
        self._parts["change"].append(change[near])

    def _known(self, keys: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self._keys, keys)
        found = at < len(self._keys)
        found[found] = self._keys[at[found]] == keys[found]
        sizes = np.zeros(len(keys), np.int64)
        sizes[found] = self._sizes[at[found]]
        return sizes

    def _remember(self, keys: np.ndarray, sizes: np.ndarray) -> None:
        kept = ~np.isin(self._keys, keys)
        keys, sizes = keys[sizes > 0], sizes[sizes > 0]
        merged = np.concatenate([self._keys[kept], keys])
        order = np.argsort(merged, kind="stable")
        self._keys, self._sizes = merged[order], np.concatenate([self._sizes[kept], sizes])[order]

    def done(self, end_ns: int | None) -> Observation:
        """Join the parts."""
        if not self._entries:
            raise ObservationError(
                f"{self._spec.id}: no whole, two-sided book among the events; facts need one"
            )
        empty = {
            "restarts": np.zeros(0, np.int64),
            "depth": np.zeros((0, DEPTH)),
            "trade": np.zeros((0, 3)),
            "order": np.zeros((0, 3)),
            "change": np.zeros(0),
        }
        joined = {
            name: np.concatenate(parts) if parts else empty.get(name, np.zeros(0, np.int64))
            for name, parts in self._parts.items()
        }
        start_ns = int(joined["path_ns"][0])
        end_ns = self._last_ns + 1 if end_ns is None else end_ns
        if end_ns <= start_ns:
            raise ObservationError(f"end_ns: {end_ns} is not after the first book, {start_ns}")
        return Observation(
            start_ns=start_ns,
            end_ns=end_ns,
            tick=self._spec.tick,
            multiplier=self._spec.multiplier if self._spec.kind == "inverse_perp" else 0.0,
            **joined,
        )
