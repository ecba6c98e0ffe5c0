"""The book and trades of one instrument, read once: counts, silences, books that cross, spreads, depth."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from apex_nautilus.data.inspect_report import (
    LONGEST,
    DepthProfile,
    Gap,
    Quantiles,
    StreamSummary,
    Timeline,
)
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.log_histogram import LogHistogram
from apex_nautilus.features import (
    DEPTH,
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_TRADE,
    NO_ASK,
    NO_BID,
    SIDE_BID,
    scale,
)
from apex_nautilus.risk import InstrumentSpec

__all__ = ["STRETCHES", "LongestGaps", "Stretches", "inspect_stream", "quantiles"]

STRETCHES = 600
"""Into how many stretches a span is cut for the pictures."""

_SAME_TRADE = ("sequence", "ts_event_ns", "price", "size", "side")


class LongestGaps:
    """Counts silences longer than a limit and keeps the longest of them."""

    def __init__(self, limit_s: float, *, longest: int = LONGEST):
        self._limit = limit_s * 1e9
        self._keep = longest
        self._kept: list[tuple[int, int]] = []  # (length, minus start), a heap
        self._last: int | None = None
        self.count = 0
        self.longest_ns = 0

    def add(self, times: np.ndarray) -> None:
        """Add times that do not fall, later than those before."""
        if times.size == 0:
            return
        if self._last is not None:
            times = np.concatenate([[self._last], times])
        self._last = int(times[-1])
        silences = np.diff(times)
        if silences.size == 0:
            return
        self.longest_ns = max(self.longest_ns, int(silences.max()))
        for at in np.flatnonzero(silences > self._limit):
            self.count += 1
            heapq.heappush(self._kept, (int(silences[at]), -int(times[at])))
            if len(self._kept) > self._keep:
                heapq.heappop(self._kept)

    @property
    def longest(self) -> list[Gap]:
        """The longest first; of equal ones the earliest."""
        return [Gap(-start, length / 1e9) for length, start in sorted(self._kept, reverse=True)]


def quantiles(histogram: LogHistogram) -> Quantiles | None:
    """What a histogram says, None when it is empty."""
    if not histogram.count:
        return None
    shares = (histogram.quantile(q) for q in (0.01, 0.5, 0.95, 0.99))
    return Quantiles(histogram.count, histogram.mean, histogram.least, *shares, histogram.most)


class Stretches:
    """Mean, least, most and last of a value in each stretch of the span."""

    def __init__(self) -> None:
        self.count = np.zeros(STRETCHES, dtype=np.int64)
        self._sum = np.zeros(STRETCHES)
        self._least = np.full(STRETCHES, np.inf)
        self._most = np.full(STRETCHES, -np.inf)
        self._last = np.full(STRETCHES, np.nan)

    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        """Add values at stretches that do not fall."""
        if values.size == 0:
            return
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        at = places[starts]
        self.count[at] += np.diff(starts, append=values.size)
        self._sum[at] += np.add.reduceat(values, starts)
        self._least[at] = np.minimum(self._least[at], np.minimum.reduceat(values, starts))
        self._most[at] = np.maximum(self._most[at], np.maximum.reduceat(values, starts))
        self._last[at] = values[np.append(starts[1:], values.size) - 1]

    def values(self, which: str) -> list[float | None]:
        """``mean``, ``least``, ``most`` or ``last`` of each stretch."""
        seen = self.count > 0
        array = self._sum / np.maximum(self.count, 1) if which == "mean" else getattr(self, f"_{which}")
        return [float(v) if there else None for v, there in zip(array, seen, strict=True)]


class _Stream:
    """Everything that is counted while a stream passes by."""

    def __init__(self, spec: InstrumentSpec, span: tuple[int, int], gap_s: float):
        self._price, self._size = scale(spec.price_precision), scale(spec.size_precision)
        self.start, self.width = span[0], max(-(-(span[1] - span[0] + 1) // STRETCHES), 1)
        self.gaps = LongestGaps(gap_s)
        self.first = self.last = 0
        self.levels = self.batches = self.trades = self.clears = 0
        self.crossed = self.locked = self.one_sided = self.duplicates = self.backwards = 0
        self.traded = self.bought = 0
        self.skew, self.spread = LogHistogram(), LogHistogram()
        self._newest = {False: -1, True: -1}  # venue time, of book events and of trades
        self._last_trade = np.empty(0, dtype=EVENT)
        self._ladder = Ladder()
        self._depth = np.zeros((2, DEPTH))
        self._samples = 0
        self._sampled = -1
        self.counts = {kind: np.zeros(STRETCHES, dtype=np.int64) for kind in ("batches", "trades")}
        self.mids, self.spreads, self.skews = Stretches(), Stretches(), Stretches()

    def _places(self, times: np.ndarray) -> np.ndarray:
        return np.clip((times - self.start) // self.width, 0, STRETCHES - 1)

    def add(self, chunk: np.ndarray) -> None:
        """Count a chunk of whole instants."""
        ts = chunk["ts_init_ns"]
        self.first, self.last = self.first or int(ts[0]), int(ts[-1])
        self.gaps.add(ts)
        timed = chunk["ts_event_ns"] > 0
        if timed.any():
            skew = (ts - chunk["ts_event_ns"])[timed] / 1e6
            self.skew.add(skew)
            self.skews.add(self._places(ts[timed]), skew)
        is_trade = chunk["kind"] == KIND_TRADE
        for kind in (False, True):
            times = chunk["ts_event_ns"][is_trade == kind]
            if times.size:
                peaks = np.maximum.accumulate(np.concatenate([[self._newest[kind]], times]))
                self.backwards += int((times < peaks[:-1]).sum())
                self._newest[kind] = int(peaks[-1])
        if is_trade.any():
            self._add_trades(chunk[is_trade])
        if not is_trade.all():
            self._add_book(chunk[~is_trade])

    def _add_trades(self, trades: np.ndarray) -> None:
        deals = np.concatenate([self._last_trade, trades])
        self.duplicates += int(np.all([deals[f][1:] == deals[f][:-1] for f in _SAME_TRADE], axis=0).sum())
        self._last_trade = deals[-1:]
        self.trades += trades.size
        self.traded += int(trades["size"].sum())
        self.bought += int(trades["size"][trades["side"] == SIDE_BID].sum())
        self.counts["trades"] += np.bincount(self._places(trades["ts_init_ns"]), minlength=STRETCHES)

    def _add_book(self, book: np.ndarray) -> None:
        self.clears += int((book["kind"] == KIND_CLEAR).sum())
        self.levels += int((book["kind"] != KIND_CLEAR).sum())
        touches = self._apply(book)
        bid, ask = touches[:, 2], touches[:, 3]
        empty = (bid == NO_BID) | (ask == NO_ASK)
        self.batches += bid.size
        self.one_sided += int(empty.sum())
        self.crossed += int((~empty & (bid > ask)).sum())
        self.locked += int((~empty & (bid == ask)).sum())
        ends = book["ts_init_ns"][(book["flags"] & FLAG_LAST) != 0]
        if ends.size < bid.size:  # a last batch without an end
            ends = np.append(ends, book["ts_init_ns"][-1])
        places = self._places(ends)
        self.counts["batches"] += np.bincount(places, minlength=STRETCHES)
        whole = ~empty & (bid < ask)
        bid, ask, places = bid[whole], ask[whole], places[whole]
        mid = 0.5 * (bid + ask)
        spread = (ask - bid) / mid * 1e4
        self.spread.add(spread)
        self.spreads.add(places, spread)
        self.mids.add(places, mid / self._price)

    def _apply(self, book: np.ndarray) -> np.ndarray:
        """Apply a chunk to the ladder, and look at its depth after the first batch of each stretch."""
        ends = np.flatnonzero((book["flags"] & FLAG_LAST) != 0)
        places = self._places(book["ts_init_ns"][ends])
        fresh = np.diff(places, prepend=self._sampled) > 0
        touches, at = [], 0
        for end in ends[fresh]:
            touches.append(self._ladder.apply(book[at : end + 1]))
            at = end + 1
            self._sample()
        if at < book.size:
            touches.append(self._ladder.apply(book[at:]))
        if places.size:
            self._sampled = int(places[-1])
        return np.concatenate(touches)

    def _sample(self) -> None:
        bids, asks = self._ladder.bids(DEPTH), self._ladder.asks(DEPTH)
        if not len(bids) or not len(asks) or bids[0, 0] >= asks[0, 0]:
            return
        self._samples += 1
        self._depth[0, : len(bids)] += bids[:, 1]
        self._depth[1, : len(asks)] += asks[:, 1]

    def summary(self, instrument_id: str, refused: dict[str, int], *, timeline: bool) -> StreamSummary:
        """What was counted."""
        share = 1.0 / max(self.batches, 1)
        seconds = max((self.last - self.first) / 1e9, 1e-9)
        sizes = (self._depth / (max(self._samples, 1) * self._size)).tolist()
        skew = (self.skew.least, self.skew.mean, self.skew.most) if self.skew.count else (0.0, 0.0, 0.0)
        return StreamSummary(
            instrument_id=instrument_id,
            span_ns=(self.first, self.last),
            levels=self.levels,
            batches=self.batches,
            trades=self.trades,
            clears=self.clears,
            gaps=self.gaps.count,
            longest_gap_s=self.gaps.longest_ns / 1e9,
            longest_gaps=self.gaps.longest,
            crossed=self.crossed * share,
            locked=self.locked * share,
            one_sided=self.one_sided * share,
            duplicate_trades=self.duplicates,
            event_time_backwards=self.backwards,
            skew_ms=skew,
            skew=quantiles(self.skew),
            spread_bps=quantiles(self.spread),
            batches_per_s=self.batches / seconds,
            trades_per_s=self.trades / seconds,
            traded=self.traded / self._size,
            bought_share=self.bought / self.traded if self.traded else None,
            depth=DepthProfile(self._samples, *sizes) if self._samples else None,
            refused=refused,
            timeline=self._timeline() if timeline else None,
        )

    def _timeline(self) -> Timeline:
        return Timeline(
            start_ns=self.start,
            width_ns=self.width,
            batches=self.counts["batches"].tolist(),
            trades=self.counts["trades"].tolist(),
            mid=self.mids.values("last"),
            mid_low=self.mids.values("least"),
            mid_high=self.mids.values("most"),
            spread_bps=self.spreads.values("mean"),
            skew_ms=self.skews.values("mean"),
            skew_low_ms=self.skews.values("least"),
            skew_high_ms=self.skews.values("most"),
        )


def inspect_stream(
    spec: InstrumentSpec,
    chunks: Iterable[np.ndarray],
    span: tuple[int, int],
    *,
    gap_s: float,
    refused: dict[str, int],
    timeline: bool,
) -> StreamSummary | None:
    """Read market events once and sum them up; None when there are none.

    Parameters
    ----------
    chunks : arrays of EVENT in order of time, no instant in two of them
    span : first and last receive time, as the files' names tell
    """
    stream = _Stream(spec, span, gap_s)
    for chunk in chunks:
        stream.add(chunk)
    if not stream.last:
        return None
    return stream.summary(spec.id, refused, timeline=timeline)
