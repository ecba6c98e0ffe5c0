"""Order flow and price by interval, out of the catalog: what a regression of one on the other needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from apex_nautilus.data.catalog import load_instrument
from apex_nautilus.data.catalog_reader import read_events
from apex_nautilus.data.errors import DataError
from apex_nautilus.features import KIND_CLEAR, KIND_TRADE, BookFeatures
from apex_nautilus.risk import InstrumentSpec

__all__ = ["OrderFlow", "OrderFlowCounter", "order_flow"]

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OrderFlow:
    """One row an interval. Intervals are whole multiples of their length on the clock of receipt.

    Attributes
    ----------
    seconds : length of an interval.
    end_ns : ndarray of int64 (n,), ends of the intervals.
    mid_change : ndarray (n,), from the last mid-price before the interval to the last one in it, in ticks.
    ofi : ndarray (n,), sum of e_n over the changes of the touch, in base units (contracts if inverse).
    trade_imbalance : ndarray (n,), bought less sold volume, same units; None where there are no trades.
    updates : ndarray of int64 (n,), books seen.
    dropped : intervals left out because the book was lost in them.
    """

    seconds: int
    end_ns: np.ndarray
    mid_change: np.ndarray
    ofi: np.ndarray
    trade_imbalance: np.ndarray | None
    updates: np.ndarray
    dropped: int


class OrderFlowCounter:
    """Adds events up by second; `intervals` then gives intervals of any number of seconds.

    With best bid B of size b and best ask A of size a, primes for the book before, a change counts
    e = b [B >= B'] - b' [B <= B'] - a [A <= A'] + a' [A >= A'] (Cont, Kukanov & Stoikov 2014, section 2.1).
    Books that are one-sided or crossed are passed over. Memory grows by a few numbers a second of data.
    """

    def __init__(self, instrument: InstrumentSpec):
        self._spec = instrument
        self._machine = BookFeatures(
            ["imbalance"],
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
        )
        self._previous: np.ndarray | None = None
        self._seconds: dict[int, list[float]] = {}  # mid at the end, flow, signed volume, books
        self._broken: set[int] = set()
        self._trades = 0

    def add(self, events: np.ndarray) -> None:
        """Take a chunk of `EVENT`, whole batches in the order of receipt."""
        if events.size == 0:
            return
        trades = events[events["kind"] == KIND_TRADE]
        clears = events[(events["kind"] == KIND_CLEAR)]["ts_init_ns"]
        # A book begins with a clear too; only one that ends a book tears its interval.
        path = self._machine.run(events, depth=1)
        ts, top = path.path_ts_ns, path.path_depth[:, :, 0]
        if ts.size:
            before = np.concatenate([top[:1] if self._previous is None else self._previous, top[:-1]])
            flow = _flow(before, top)
            if self._previous is None:
                flow[0] = 0.0
            fresh = np.searchsorted(ts, clears, side="left")  # the first book after each clear
            for at, clear in zip(fresh, clears, strict=True):
                if self._previous is not None or at > 0:
                    self._broken.add(int(clear) // _NS)
                if at < ts.size:
                    flow[at] = 0.0
                    self._broken.add(int(ts[at]) // _NS)
            self._count(ts // _NS, (top[:, 0] + top[:, 2]) / 2.0, flow)
            self._previous = top[-1:].copy()
        else:
            self._broken |= {int(t) // _NS for t in clears}
        if trades.size:
            self._trades += trades.size
            volume = trades["side"] * (trades["size"] / 10.0**self._spec.size_precision)
            for second, v in zip(*_sums(trades["ts_init_ns"] // _NS, volume), strict=True):
                self._row(int(second))[2] += float(v)

    def _row(self, second: int) -> list[float]:
        return self._seconds.setdefault(second, [np.nan, 0.0, 0.0, 0.0])

    def _count(self, seconds: np.ndarray, mid: np.ndarray, flow: np.ndarray) -> None:
        last = np.flatnonzero(np.diff(seconds, append=seconds[-1] + 1))
        counts = np.diff(last, prepend=-1)
        for at, second, total, count in zip(last, *_sums(seconds, flow), counts, strict=True):
            row = self._row(int(second))
            row[0] = float(mid[at])
            row[1] += float(total)
            row[3] += float(count)

    def intervals(self, seconds: int) -> OrderFlow:
        """Return the whole intervals of a length.

        Raises
        ------
        DataError
            When the length is not a positive number of seconds, or there is no book.
        """
        if seconds < 1:
            raise DataError(f"an interval must be at least a second long, got {seconds}")
        with_book = [s for s, row in self._seconds.items() if row[3]]
        if not with_book:
            raise DataError(f"{self._spec.id}: no two-sided book is stored; order flow needs one")
        first = -(-(min(with_book) + 1) // seconds)  # the first interval that begins with a known mid
        last = max(self._seconds) // seconds  # it may not be whole
        table = np.zeros((max(last - first, 0), 4))
        table[:, 0] = np.nan
        dropped = np.zeros(table.shape[0], dtype=bool)
        start = np.nan
        for second in sorted(self._seconds):
            at, row = second // seconds - first, self._seconds[second]
            if at < 0:
                start = row[0] if row[3] else start
            elif at < table.shape[0]:
                if row[3]:
                    table[at, 0] = row[0]
                table[at, 1:] += row[1:]
        for second in self._broken:
            at = second // seconds - first
            if 0 <= at < table.shape[0]:
                dropped[at] = True
        mids = np.concatenate([[start], table[:, 0]])
        known = np.maximum.accumulate(np.where(np.isfinite(mids), np.arange(mids.size), 0))
        change = np.diff(mids[known]) / self._spec.tick
        keep = ~dropped
        return OrderFlow(
            seconds=seconds,
            end_ns=(first + 1 + np.flatnonzero(keep)) * seconds * _NS,
            mid_change=change[keep],
            ofi=table[keep, 1],
            trade_imbalance=table[keep, 2] if self._trades else None,
            updates=table[keep, 3].astype(np.int64),
            dropped=int(dropped.sum()),
        )


def _sums(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys, sums) of runs of equal keys; keys never fall."""
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    return keys[starts], np.add.reduceat(values, starts)


def _flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return e_n of consecutive touches, rows of (bid, bid size, ask, ask size)."""
    bid0, bid0_size, ask0, ask0_size = before.T
    bid, bid_size, ask, ask_size = after.T
    return (
        bid_size * (bid >= bid0)
        - bid0_size * (bid <= bid0)
        - ask_size * (ask <= ask0)
        + ask0_size * (ask >= ask0)
    )


def order_flow(
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    seconds: Iterable[int],
    start: int | None = None,
    end: int | None = None,
) -> list[OrderFlow]:
    """Return order flow by intervals of each of the lengths; times as in `read_events`.

    Raises
    ------
    DataError
        When the catalog has no such instrument or no book of it.
    """
    counter = OrderFlowCounter(load_instrument(catalog_path, instrument_id))
    for events in read_events(catalog_path, instrument_id, start, end):
        counter.add(events)
    return [counter.intervals(s) for s in seconds]
