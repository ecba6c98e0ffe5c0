"""Rows of tables as market events: bad ones are counted with their line, the others checked for order.

Trades of several files are merged by time, as recorders' files overlap; a trade that two of them hold is
taken once, by its id. Level changes of one instant make one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from apex_nautilus.data.importers._book import BookBuilder, Refused, to_units
from apex_nautilus.data.importers.report import RowLedger
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_LEVEL, KIND_TRADE, scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["LevelRows", "Rows", "TradeFile", "combine", "merge_trades", "to_events"]


@dataclass(slots=True)
class Rows:
    """Columns of trades or levels: times in nanoseconds (-1 where missing), sides +1, -1, or 2 for none that
    is known; `number` 0 where there is no id."""

    ts_event: np.ndarray
    receive: np.ndarray
    price: np.ndarray
    size: np.ndarray
    side: np.ndarray
    number: np.ndarray
    line: np.ndarray


def _sift(rows: RowLedger, table: Rows, rules: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Refuse rows by the first rule they break; return the mask of the others."""
    good = np.ones(table.price.size, dtype=bool)
    for reason, bad in rules:
        bad = bad & good
        if bad.any():
            at = int(np.argmax(bad))
            rows.line = int(table.line[at])
            rows.refuse(
                reason,
                f"price {table.price[at]!s}, size {table.size[at]!s}, time {table.ts_event[at]} ns",
                int(bad.sum()),
            )
            good &= ~bad
    return good


def to_events(spec: InstrumentSpec, rows: RowLedger, table: Rows, newest: int, *, levels: bool) -> np.ndarray:
    """Return the good rows as `EVENT`, none of them received before `newest` or the row in front of it."""
    price, off_price = to_units(table.price, scale(spec.price_precision))
    size, off_size = to_units(table.size, scale(spec.size_precision))
    good = _sift(
        rows,
        table,
        [
            ("bad_time", (table.ts_event < 0) | (table.receive < 0)),
            ("not_a_number", ~(np.isfinite(table.price) & np.isfinite(table.size))),
            ("bad_side", table.side == 2),
            ("non_positive_price", ~(table.price > 0)),
            ("negative_size", ~(table.size >= 0) if levels else ~(table.size > 0)),
            ("off_grid", off_price | off_size | (price <= 0) | (False if levels else size <= 0)),
        ],
    )
    order = np.maximum.accumulate(np.concatenate([[newest], np.where(good, table.receive, newest)]))[:-1]
    rules = [("time_backwards", table.receive < order)]
    if not levels:
        number = table.number
        rules.append(("duplicate", (number != 0) & (number == np.concatenate([[0], number[:-1]]))))
    skip = ~good
    good &= _sift(rows, table, [(reason, bad & ~skip) for reason, bad in rules])
    events = np.zeros(int(good.sum()), dtype=EVENT)
    events["ts_event_ns"], events["ts_init_ns"] = table.ts_event[good], table.receive[good]
    events["price"], events["size"] = price[good], size[good]
    events["side"], events["sequence"] = table.side[good], table.number[good]
    events["kind"] = KIND_LEVEL if levels else KIND_TRADE
    return events


# ---- trades


@dataclass
class TradeFile:
    """One file of trades: `read` begins it anew and yields checked events, counting in the ledger given."""

    first_ns: int
    read: Callable[[RowLedger], Iterator[np.ndarray]]
    rows: RowLedger
    held: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=EVENT))
    source: Iterator[np.ndarray] | None = None

    def fill(self) -> None:
        """Read on until there is something, or the file ends."""
        while self.source is not None and self.held.size == 0:
            self.more()

    def more(self) -> None:
        """Read one batch on."""
        batch = next(self.source, None) if self.source is not None else None
        if batch is None:
            self.source = None
        elif batch.size:
            self.held = np.concatenate([self.held, batch])


def merge_trades(files: Sequence[TradeFile], once: RowLedger) -> Iterator[np.ndarray]:
    """Yield the trades of all files in order of time; a file is open only while its span is being read.

    A trade whose time and id another one has is left out and noted in `once`.
    """
    waiting = sorted(files, key=lambda f: f.first_ns)
    active: list[TradeFile] = []
    while waiting or active:
        for file in active:
            file.fill()
        active = [f for f in active if f.held.size]
        if not active and not waiting:
            return
        ends = [int(f.held["ts_init_ns"][-1]) for f in active if f.source is not None]
        limit = min(ends) if ends else None
        reach = max((int(f.held["ts_init_ns"][-1]) for f in active), default=None) if limit is None else limit
        if waiting and (reach is None or waiting[0].first_ns <= reach):
            file = waiting.pop(0)
            file.source = file.read(file.rows)
            active.append(file)
            continue
        if limit is None:
            cuts = [f.held.size for f in active]
        else:
            cuts = [int(np.searchsorted(f.held["ts_init_ns"], limit, side="left")) for f in active]
            if not any(cuts):  # a batch that is one instant long
                for f in active:
                    if f.source is not None and int(f.held["ts_init_ns"][-1]) == limit:
                        f.more()
                continue
        ready = np.concatenate([f.held[:c] for f, c in zip(active, cuts, strict=True)])
        for f, c in zip(active, cuts, strict=True):
            f.held = f.held[c:]
        # By time alone, and stable: within an instant a file's own order stays.
        ready = ready[np.argsort(ready["ts_init_ns"], kind="stable")] if len(active) > 1 else ready
        again = _repeated(ready)
        once.note("repeated_trade", int(again.sum()))
        if not again.all():
            yield ready[~again]


def _repeated(trades: np.ndarray) -> np.ndarray:
    """Return the mask of trades whose time and id an earlier one has."""
    order = np.lexsort((trades["sequence"], trades["ts_init_ns"]))
    ts, number = trades["ts_init_ns"][order], trades["sequence"][order]
    same = (ts[1:] == ts[:-1]) & (number[1:] == number[:-1]) & (number[1:] != 0)
    again = np.zeros(trades.size, dtype=bool)
    again[order[1:][same]] = True  # lexsort is stable: the earlier of two equals comes first
    return again


def combine(ledgers: Sequence[RowLedger], max_bad_share: float) -> RowLedger:
    """Return one ledger with the counts of all."""
    total = RowLedger(max_bad_share)
    for ledger in ledgers:
        total.rows += ledger.rows
        total.bad += ledger.bad
        for name in ("kept", "refused", "noted"):
            counts = getattr(total, name)
            for reason, n in getattr(ledger, name).items():
                counts[reason] = counts.get(reason, 0) + n
        total.examples = (total.examples + ledger.examples)[:10]
    return total


# ---- levels


class LevelRows:
    """Turns rows of level changes into batches on a book.

    Rows received in one instant make a batch; rows flagged as a snapshot replace the book.
    """

    def __init__(self, spec: InstrumentSpec, rows: RowLedger):
        self.builder = BookBuilder(spec, rows)
        self.rows = rows
        self._spec = spec
        self._open = np.empty(0, dtype=EVENT)
        self._open_whole = np.empty(0, dtype=bool)
        self._newest = 0

    def add(self, table: Rows, whole: np.ndarray) -> np.ndarray:
        """Return the events of the batches that are complete; `whole` is the mask of snapshot rows."""
        at = np.arange(table.price.size)
        numbered = Rows(
            table.ts_event, table.receive, table.price, table.size, table.side, at + 1, table.line
        )
        events = to_events(self._spec, self.rows, numbered, self._newest, levels=True)
        flags = whole[events["sequence"] - 1]
        events["sequence"] = table.number[events["sequence"] - 1]
        if events.size:
            self._newest = int(events["ts_init_ns"][-1])
        self.rows.keep("level", events.size)
        return self._group(np.concatenate([self._open, events]), np.concatenate([self._open_whole, flags]))

    def finish(self) -> np.ndarray:
        """Return the events of the last batch."""
        return self._group(self._open, self._open_whole, end=True)

    def _group(self, events: np.ndarray, whole: np.ndarray, *, end: bool = False) -> np.ndarray:
        if events.size == 0:
            return events
        ts = events["ts_init_ns"]
        ends = np.flatnonzero((ts[1:] != ts[:-1]) | (whole[1:] != whole[:-1]))
        stop = events.size if end else int(ends[-1]) + 1 if ends.size else 0
        self._open, self._open_whole = events[stop:].copy(), whole[stop:].copy()
        events, whole = events[:stop].copy(), whole[:stop]
        events["flags"][ends[ends < stop]] = FLAG_LAST
        if stop:
            events["flags"][-1] = FLAG_LAST
        edges = [0, *(np.flatnonzero(np.diff(whole.astype(np.int8))) + 1).tolist(), stop]
        for lo, hi in pairwise(edges):
            if lo < hi:
                (self._snapshots if whole[lo] else self._changes)(events[lo:hi])
        return self.builder.take()

    def _snapshots(self, events: np.ndarray) -> None:
        first = events[-1]
        try:
            # Several instants of snapshot rows in a row are one snapshot that took that long to write down.
            self.builder.replace(
                events.copy(), int(first["ts_event_ns"]), int(first["ts_init_ns"]), int(first["sequence"])
            )
            self.rows.keep("snapshot")
        except Refused as e:
            self.rows.refuse(e.reason, e.detail)

    def _changes(self, events: np.ndarray) -> None:
        if not self.builder.in_step:
            if self.builder.lost:
                self.rows.refuse(
                    "out_of_step", "changes between a lost book and the next snapshot", events.size
                )
            else:
                self.rows.note("change_before_snapshot", events.size)
            return
        crossed = self.builder.run(events)
        if crossed is not None:
            batch, rest = crossed
            self.rows.refuse("crossed_book", f"the changes of {batch['ts_event_ns'][-1]} ns cross the book")
            if rest.size:
                self._changes(rest)
