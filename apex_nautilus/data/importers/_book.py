"""One instrument's messages as market events: what every importer of books and trades does alike.

Numbers come to the instrument's grid or are refused; a snapshot replaces the book; a book that is lost is
emptied in the data, so that nobody trades on a stale one, and begins again at the next snapshot. The rules
of a venue (which message may follow which) are the importer's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["BookBuilder", "Refused", "Touch", "TouchMatcher", "to_units"]

Touch = tuple[int, int, int, int]
"""Bid, its size, ask, its size, in units."""

_LARGEST = 9e18
_RECENT = 4_096
_HELD = 50_000


class Refused(Exception):
    """A row that is bad; the importer counts it."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def to_units(values: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (integers nearest to ``values * factor``, mask of those that are no whole number of units).

    A double holds about 15 digits, so a value counts as whole within 1e-6 units and 1e-15 of itself. What
    is not finite or needs more than 64 bits is not whole; its integer is 0.
    """
    scaled = np.asarray(values, dtype=np.float64) * factor
    fits = np.abs(scaled) < _LARGEST
    scaled = np.where(fits, scaled, 0.0)
    units = np.rint(scaled)
    off = ~fits | (np.abs(scaled - units) > 1e-6 + 1e-15 * np.abs(scaled))
    return units.astype(np.int64), off


class BookBuilder:
    """Collects the events of one instrument, in the order of receipt.

    Parameters
    ----------
    instrument : InstrumentSpec
        Whose grid prices and sizes must lie on.
    rows : RowLedger
        Counts what becomes of its rows.
    """

    def __init__(self, instrument: InstrumentSpec, rows: RowLedger):
        self.spec = instrument
        self.rows = rows
        self.ladder = Ladder()
        self.in_step = False
        self.lost = False  # whether the book was ever lost after a snapshot
        self.size = 0
        self.first_ns: int | None = None
        self.last_ns = 0
        self._price_scale = scale(instrument.price_precision)
        self._size_scale = scale(instrument.size_precision)
        self._pieces: list[np.ndarray] = []
        self._trades: list[tuple] = []
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._known: set[int] = set()
        self._skew = (0, 0.0, np.inf, -np.inf)  # count, sum, least, most (ms)

    # ---- time

    def receive(self, ns: int) -> None:
        """Take the time of receipt of the next row; raises Refused when it runs backwards."""
        if ns < self.last_ns:
            raise Refused(
                "time_backwards", f"received {(self.last_ns - ns) / 1e9:.6f} s before its forerunner"
            )
        self.last_ns = ns

    def _stamp(self, receive: int, ts_event: int) -> None:
        if self.first_ns is None:
            self.first_ns = receive
        skew = (receive - ts_event) / 1e6
        count, total, least, most = self._skew
        self._skew = (count + 1, total + skew, min(least, skew), max(most, skew))

    # ---- book

    def levels(self, bids: Sequence, asks: Sequence) -> np.ndarray:
        """Return one batch of level events without times, in the order given; raises Refused."""
        n_bid, n = len(bids), len(bids) + len(asks)
        events = np.zeros(n, dtype=EVENT)
        if n == 0:
            return events
        pairs = np.array([*bids, *asks], dtype=np.float64)
        if not (pairs[:, 0] > 0).all():
            raise Refused("non_positive_price", f"price {pairs[:, 0].min()!r}")
        if not (pairs[:, 1] >= 0).all():
            raise Refused("negative_size", f"size {pairs[:, 1].min()!r}")
        price, off_price = to_units(pairs[:, 0], self._price_scale)
        size, off_size = to_units(pairs[:, 1], self._size_scale)
        off = off_price | off_size | (price <= 0)
        if off.any():
            p, s = pairs[off][0]
            raise Refused("off_grid", f"level {p!r} x {s!r} does not lie on the instrument's grid")
        events["price"], events["size"] = price, size
        events["side"][:n_bid], events["side"][n_bid:] = 1, -1
        events["kind"] = KIND_LEVEL
        events["flags"][-1] = FLAG_LAST
        return events

    def replace(self, levels: np.ndarray, ts_event: int, receive: int, sequence: int) -> None:
        """Make `levels` the whole book; a book in step is written as the changes that takes."""
        if self.in_step:
            batch = self._difference(levels)
            if batch.size:
                self._apply(batch, ts_event, receive, sequence)
            return
        self.ladder.clear()
        self.ladder.apply(levels)
        bid, ask = self.ladder.bid[0], self.ladder.ask[0]
        if bid >= ask:
            self.ladder.clear()
            raise Refused("crossed_book", f"snapshot {sequence}: bid {bid} at or above ask {ask} (units)")
        self.in_step = True
        self.last_ns = max(self.last_ns, receive)
        whole = self.ladder.snapshot(ts_event, receive, sequence)
        self._push(receive, whole)
        self._stamp(receive, ts_event)

    def change(self, levels: np.ndarray, ts_event: int, receive: int, sequence: int) -> None:
        """Apply a batch of changes to a book in step; raises Refused, the book being lost, if it crosses."""
        if levels.size:
            self._apply(levels, ts_event, receive, sequence)

    def run(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Apply many batches with their times; return (the batch that crossed the book, what follows it),
        the book being lost, or None."""
        touches = self.ladder.apply(events)
        crossed = np.flatnonzero(touches[:, 2] >= touches[:, 3])
        ends = np.flatnonzero(events["flags"] & FLAG_LAST) + 1
        stop = (
            int(ends[crossed[0] - 1]) if crossed.size and crossed[0] else 0 if crossed.size else events.size
        )
        good = events[:stop]
        if good.size:
            self.last_ns = int(good["ts_init_ns"][-1])
            self._push(self.last_ns, good)
            self._stamp(int(good["ts_init_ns"][0]), int(good["ts_event_ns"][0]))
            self._stamp(self.last_ns, int(good["ts_event_ns"][-1]))
        if not crossed.size:
            return None
        cut = int(ends[crossed[0]])
        last = events[cut - 1]
        self.last_ns = int(last["ts_init_ns"])
        self.lose(int(last["ts_event_ns"]), self.last_ns, int(last["sequence"]))
        return events[stop:cut], events[cut:]

    def _apply(self, batch: np.ndarray, ts_event: int, receive: int, sequence: int) -> None:
        batch["ts_event_ns"], batch["ts_init_ns"], batch["sequence"] = ts_event, receive, sequence
        self.ladder.apply(batch)
        bid, ask = self.ladder.bid[0], self.ladder.ask[0]
        if bid >= ask:
            self.lose(ts_event, receive, sequence)
            raise Refused("crossed_book", f"update {sequence} leaves bid {bid} at or above ask {ask} (units)")
        self._push(receive, batch)
        self._stamp(receive, ts_event)

    def _difference(self, levels: np.ndarray) -> np.ndarray:
        wanted = {(int(e["side"]), int(e["price"])): int(e["size"]) for e in levels if e["size"] > 0}
        held = {(1, int(p)): int(s) for p, s in self.ladder.bids(len(self.ladder))}
        held |= {(-1, int(p)): int(s) for p, s in self.ladder.asks(len(self.ladder))}
        changes = [(k, s) for k, s in wanted.items() if held.get(k) != s]
        changes += [(k, 0) for k in held if k not in wanted]
        batch = np.zeros(len(changes), dtype=EVENT)
        for i, ((side, price), size) in enumerate(changes):
            batch[i]["side"], batch[i]["price"], batch[i]["size"] = side, price, size
        batch["kind"] = KIND_LEVEL
        if changes:
            batch["flags"][-1] = FLAG_LAST
        return batch

    def lose(self, ts_event: int, receive: int, sequence: int) -> None:
        """Empty the book in the data until a snapshot restores it."""
        self.ladder.clear()
        self.in_step, self.lost = False, True
        clear = np.zeros(1, dtype=EVENT)
        clear["kind"], clear["flags"] = KIND_CLEAR, FLAG_LAST
        clear["ts_event_ns"], clear["ts_init_ns"], clear["sequence"] = ts_event, receive, sequence
        self._push(receive, clear)

    @property
    def touch(self) -> Touch:
        """Best bid and ask with their sizes, in units."""
        return (*self.ladder.bid, *self.ladder.ask)

    # ---- trades

    def trade(self, price: float, size: float, side: int, number: int, ts_event: int, receive: int) -> None:
        """Add a trade; `side` is the aggressor's. Raises Refused, duplicates of the last few among them."""
        if not price > 0:
            raise Refused("non_positive_price", f"trade {number}: price {price!r}")
        if not size > 0:
            raise Refused("negative_size", f"trade {number}: size {size!r}")
        units, off = to_units(np.array([price]), self._price_scale)
        sizes, off_size = to_units(np.array([size]), self._size_scale)
        if off[0] or off_size[0] or units[0] <= 0 or sizes[0] <= 0:
            raise Refused("off_grid", f"trade {number}: {price!r} x {size!r} is not on the instrument's grid")
        if number:
            if number in self._known:
                raise Refused("duplicate", f"trade {number}")
            if len(self._recent) == _RECENT:
                self._known.discard(self._recent[0])
            self._recent.append(number)
            self._known.add(number)
        self._trades.append((ts_event, receive, int(units[0]), int(sizes[0]), number, KIND_TRADE, side, 0))
        self.size += 1
        self._stamp(receive, ts_event)

    # ---- output

    def _push(self, receive: int, batch: np.ndarray) -> None:
        self._take_trades()
        self._pieces.append(batch)
        self.size += batch.size

    def _take_trades(self) -> None:
        if self._trades:
            self._pieces.append(np.array(self._trades, dtype=EVENT))
            self._trades.clear()

    def take(self) -> np.ndarray:
        """Return the events collected since the last call."""
        self._take_trades()
        events = np.concatenate(self._pieces) if self._pieces else np.empty(0, dtype=EVENT)
        self._pieces.clear()
        self.size = 0
        return events

    def report(self, source: str, paths: Sequence[str], touch: TouchCheck | None = None) -> ImportReport:
        """Return the counts of what was read so far."""
        count, total, least, most = self._skew
        return self.rows.report(
            source=source,
            instrument_id=self.spec.id,
            paths=paths,
            first_ns=self.first_ns,
            last_ns=self.last_ns or None,
            skew_ms_min=float(least) if count else None,
            skew_ms_mean=total / count if count else None,
            skew_ms_max=float(most) if count else None,
            touch=touch,
        )


class TouchMatcher:
    """Holds the rebuilt touch against the venue's own, matched by the venue's sequence number.

    A quote with sequence q speaks of the book after the last change at or before q. Feeds that bundle
    changes show the book only now and then: where the touch differs between the bundles around q, the book
    at q is not known, and the quote is counted as unsettled instead of compared.
    """

    def __init__(self) -> None:
        self.check = TouchCheck()
        self.unsettled = 0
        self._books: deque[tuple[int, Touch | None]] = deque(maxlen=_HELD)
        self._quotes: deque[tuple[int, Touch]] = deque(maxlen=_HELD)

    def book(self, sequence: int, touch: Touch | None) -> None:
        """Take the touch of the rebuilt book after a message; None when the book was lost."""
        self._books.append((sequence, touch))
        self._match()

    def quote(self, sequence: int, touch: Touch) -> None:
        """Take the venue's own touch."""
        self._quotes.append((sequence, touch))
        self._match()

    def _match(self) -> None:
        books, quotes = self._books, self._quotes
        while quotes and len(books) > 1:
            sequence, theirs = quotes[0]
            if sequence < books[0][0]:
                quotes.popleft()
            elif sequence >= books[1][0]:
                books.popleft()
            else:
                quotes.popleft()
                before, after = books[0][1], books[1][1]
                if before is None or after is None:
                    continue
                if sequence != books[0][0] and before != after:
                    self.unsettled += 1
                    continue
                self.check.compared += 1
                self.check.equal_prices += (before[0], before[2]) == (theirs[0], theirs[2])
                self.check.equal_touches += before == theirs
