"""Raw Binance websocket captures: gzip, one ``<receive_ns> <json>`` a line, a REST depth snapshot among them.

The streams depth, trade and bookTicker of one symbol are read, any other is passed over and counted. Depth
diffs and the snapshot become book events after the documented sequence rule (`sequence_rule`), trades
become trades, and the book tickers serve as a check: the venue's own touch at an update id against that of
the rebuilt book.

A book that loses its sequence, or crosses, is emptied in the data (nobody may trade on a stale book) and
begins again at the next snapshot. Time of an event is the venue's; time of receipt is the capture's. The
two clocks may disagree: the difference is kept and reported, never mended.

Lines are settled some thousand at a time. A run of them in which nothing is odd (which is nearly all of a
recording) is turned into events by columns; a run with anything in it that has to be judged goes message by
message. Both ways give the same events and counts, and a test holds them together.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.catalog_writer import CatalogWriter
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._book import Refused, to_units
from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers.binance_messages import MS, Depth, Snapshot, Ticker, Trade, decode_line
from apex_nautilus.data.importers.progress import Progress
from apex_nautilus.data.importers.registry import Importer, ImporterOption, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.data.importers.sequence_rule import DiffIds, SequenceRule, Verdict
from apex_nautilus.data.importers.touch_tracker import TouchTracker
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.venues.binance import (
    binance_instrument,
    exchange_info_instrument,
    infer_instrument,
    parse_symbol,
    raw_symbol,
)
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["BinanceCapture", "import_binance_capture"]

_CHUNK_EVENTS = 100_000
_BUFFERED_DIFFS = 50_000
_STREAMS_NAMED = 50
_RUN = 4_096
_SAMPLED = 20_000  # lines that steps of an unknown instrument are read off

_Item = tuple[int, int, object]
"""Line number, time of receipt, and a message, the name of a stream that is not read, or a `Refused`."""


class BinanceCapture:
    """Turns the lines of one symbol's capture into event chunks.

    Life cycle: iterate `events(paths)` once to its end; then `report` holds the counts.

    Parameters
    ----------
    instrument : InstrumentSpec
        Its id names the symbol and whether the spot or the futures rule applies.
    max_bad_share : float
        Largest share of refused lines.
    allow_truncated : bool
        Keep what is whole of a file whose end is missing, instead of refusing it.
    """

    def __init__(
        self, instrument: InstrumentSpec, *, max_bad_share: float = 0.001, allow_truncated: bool = False
    ):
        self._spec = instrument
        self._symbol = raw_symbol(instrument.id)
        self._allow_truncated = allow_truncated
        self._price_scale = scale(instrument.price_precision)
        self._size_scale = scale(instrument.size_precision)
        self.rows = RowLedger(max_bad_share)
        self._tracker = TouchTracker()
        self._rule = SequenceRule(futures=parse_symbol(instrument.id)[1] != "spot")
        self._ladder = Ladder()
        self._lost = False  # whether the book was ever lost after a snapshot
        self._buffer: deque[tuple[DiffIds, np.ndarray, bool]] = deque(maxlen=_BUFFERED_DIFFS)
        self._pieces: list[np.ndarray] = []
        self._trades: list[tuple] = []
        self._size = 0
        self._last_receive = 0
        self._last_trade: int | None = None
        self._first_ns: int | None = None
        self._skew: tuple[int, int, int | None, int | None] = (0, 0, None, None)  # count, sum, least, most

    @property
    def touch(self) -> TouchCheck:
        """The rebuilt book against the venue's own touch."""
        return self._tracker.check

    # ---- lines

    def events(
        self, paths: Sequence[str | os.PathLike[str]], progress: Progress | None = None
    ) -> Iterator[np.ndarray]:
        """Yield chunks of `EVENT`, whole batches only, ordered by receive time.

        Raises
        ------
        ImportRefused
            When a file cannot be read to its end or too many lines are bad.
        """
        for path in map(Path, paths):
            run: list[_Item] = []
            for raw in lines(path, self.rows, allow_truncated=self._allow_truncated):
                run.append((self.rows.line, *decode_line(raw)))
                if len(run) == _RUN:
                    self._settle(run)
                    run = []
                    if progress is not None:
                        progress.step(path.name, self.rows.line, "lines")
                    if self._size >= _CHUNK_EVENTS:
                        yield self._take()
            self._settle(run)
        self._discard(len(self._buffer))
        self.rows.check()
        if self._size:
            yield self._take()

    def _settle(self, run: list[_Item]) -> None:
        if not self._settle_by_columns(run):
            read = self.rows.line
            for number, receive, message in run:
                self.rows.line = number
                self.rows.rows += 1
                try:
                    self._settle_one(receive, message)
                except Refused as e:
                    self.rows.refuse(e.reason, e.detail)
            self.rows.line = read
        self._tracker.compare()

    def _settle_one(self, receive: int, message: object) -> None:
        if isinstance(message, Refused):
            raise message
        if isinstance(message, str):
            self._pass_over(message)
            return
        if receive < self._last_receive:
            raise Refused(
                "time_backwards",
                f"received {(self._last_receive - receive) / 1e9:.6f} s before its forerunner",
            )
        symbol = message.symbol if isinstance(message, Snapshot) else message.s  # pyright: ignore[reportAttributeAccessIssue]
        if symbol != self._symbol and (symbol or not isinstance(message, Snapshot)):
            raise Refused("wrong_symbol", f"{symbol[:40]}, not {self._symbol}")
        self._last_receive = receive
        if isinstance(message, Depth):
            self._on_depth(receive, message)
        elif isinstance(message, Trade):
            self._on_trade(receive, message)
        elif isinstance(message, Ticker):
            self._on_ticker(message)
        elif isinstance(message, Snapshot):
            self._on_snapshot(receive, message)

    def _pass_over(self, kind: str) -> None:
        reason = f"other_stream:{kind[:40] or 'none'}"
        if reason not in self.rows.noted and len(self.rows.noted) >= _STREAMS_NAMED:
            reason = "other_stream:more"
        self.rows.note(reason)

    # ---- a run in which nothing is odd

    def _settle_by_columns(self, run: list[_Item]) -> bool:
        """Take a whole run at once; False, and nothing is taken, when anything in it needs judging."""
        if not run or not self._rule.streaming or {type(m) for _, _, m in run} - {Depth, Trade, Ticker}:
            return False
        if any(m.s != self._symbol for _, _, m in run):  # pyright: ignore[reportAttributeAccessIssue]
            return False
        receive = np.array([r for _, r, _ in run], dtype=np.int64)
        if (np.diff(receive, prepend=self._last_receive) < 0).any():
            return False
        tickers = self._ticker_columns([m for _, _, m in run if type(m) is Ticker])
        at = np.array([i for i, item in enumerate(run) if type(item[2]) is Trade], dtype=np.int64)
        trades = self._trade_columns([m for _, _, m in run if type(m) is Trade], receive[at])
        if tickers is None or trades is None:
            return False
        diffs = [m for _, _, m in run if type(m) is Depth]
        where = np.array([i for i, item in enumerate(run) if type(item[2]) is Depth], dtype=np.int64)
        ids = np.array([(d.U, d.u, -1 if d.pu is None else d.pu) for d in diffs], dtype=np.int64).reshape(
            -1, 3
        )
        if not self._rule.follows_all(ids):
            return False
        book, counts = self._book_columns(diffs, ids[:, 1], receive[where])
        if book is None:
            return False

        mark = self._ladder.mark()
        before = (*self._ladder.bid, *self._ladder.ask)
        touches = np.vstack([np.array([before], dtype=np.int64), self._ladder.walk(book)])
        if (touches[:, 0] >= touches[:, 2]).any():
            self._ladder.reset(mark)
            return False
        self._rule.take_all(ids)
        if len(diffs):
            rows = np.empty((len(diffs), 5), dtype=np.int64)
            rows[:, 0], rows[:, 1:] = ids[:, 1], touches[np.cumsum(counts > 0)]
            self._tracker.add_touches(rows)
            self.rows.keep("depth", len(diffs))
        if len(tickers):
            self._tracker.add_tickers(tickers)
            self.rows.keep("bookTicker", len(tickers))
        if trades.size:
            known = self._last_trade if self._last_trade is not None else int(trades["sequence"][0]) - 1
            self.rows.note("trade_ids_missing", int(trades["sequence"][-1]) - known - trades.size)
            self._last_trade = int(trades["sequence"][-1])
            self.rows.keep("trade", trades.size)
        events = np.concatenate([trades, book])
        place = np.concatenate([at, np.repeat(where, counts)])
        events = events[np.argsort(place, kind="stable")]
        self._stamp_all(events)
        self._take_trades()
        self._pieces.append(events)
        self._size += events.size
        self._last_receive = int(receive[-1])
        self.rows.rows += len(run)
        return True

    def _book_columns(
        self, diffs: list, last_ids: np.ndarray, receive: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Return (level events of diffs, levels a diff); no events when a level is odd."""
        n_bid = np.array([len(d.b) for d in diffs], dtype=np.int64)
        counts = n_bid + np.array([len(d.a) for d in diffs], dtype=np.int64)
        total = int(counts.sum())
        numbers = chain.from_iterable(chain.from_iterable(chain.from_iterable((d.b, d.a) for d in diffs)))
        pairs = np.fromiter(numbers, dtype=np.float64, count=2 * total).reshape(-1, 2)
        price, off_price = to_units(pairs[:, 0], self._price_scale)
        size, off_size = to_units(pairs[:, 1], self._size_scale)
        if (off_price | off_size).any() or (pairs[:, 0] <= 0).any() or (pairs[:, 1] < 0).any():
            return None, counts
        events = np.zeros(total, dtype=EVENT)
        events["price"], events["size"], events["kind"] = price, size, KIND_LEVEL
        ends = np.cumsum(counts)
        within = np.arange(total) - np.repeat(ends - counts, counts)
        events["side"] = np.where(within < np.repeat(n_bid, counts), 1, -1)
        events["ts_event_ns"] = np.repeat(
            np.array([(d.T or d.E) * MS for d in diffs], dtype=np.int64), counts
        )
        events["ts_init_ns"], events["sequence"] = np.repeat(receive, counts), np.repeat(last_ids, counts)
        events["flags"][ends[counts > 0] - 1] = FLAG_LAST
        return events, counts

    def _trade_columns(self, trades: list, receive: np.ndarray) -> np.ndarray | None:
        """Return trades as events, or None when one of them is odd."""
        events = np.zeros(len(trades), dtype=EVENT)
        if not trades:
            return events
        if any(t.X != "MARKET" for t in trades):
            return None
        pairs = np.array([(t.p, t.q) for t in trades], dtype=np.float64)
        events["price"], off_price = to_units(pairs[:, 0], self._price_scale)
        events["size"], off_size = to_units(pairs[:, 1], self._size_scale)
        events["sequence"] = [t.t for t in trades]
        before = -1 if self._last_trade is None else self._last_trade
        rising = (np.diff(events["sequence"], prepend=before) > 0).all()
        if not rising or (off_price | off_size).any() or not (pairs > 0).all():
            return None
        events["ts_event_ns"], events["ts_init_ns"] = [t.T * MS for t in trades], receive
        events["kind"], events["side"] = KIND_TRADE, [-1 if t.m else 1 for t in trades]
        return events

    def _ticker_columns(self, tickers: list) -> np.ndarray | None:
        """Return tickers as rows of the tracker, or None when one of them is odd."""
        rows = np.empty((len(tickers), 5), dtype=np.int64)
        if not tickers:
            return rows
        rows[:, 0] = [t.u for t in tickers]
        values = np.array([(t.b, t.B, t.a, t.A) for t in tickers], dtype=np.float64)
        off = np.zeros(len(tickers), dtype=bool)
        for i, factor in enumerate((self._price_scale, self._size_scale) * 2):
            rows[:, 1 + i], wrong = to_units(values[:, i], factor)
            off |= wrong
        rising = (np.diff(rows[:, 0], prepend=self._tracker.last_ticker) > 0).all()
        if not rising or off.any() or not (values[:, [0, 2]] > 0).all():
            return None
        return rows

    # ---- numbers

    def _units(self, value: float, factor: float, name: str) -> int:
        units = value * factor
        nearest = round(units) if abs(units) < 9e18 else None  # also false for nan
        if nearest is None or abs(units - nearest) > 1e-6 + 1e-15 * abs(units):
            raise Refused("off_grid", f"{name} {value!r} is no multiple of 1/{factor:g}")
        return nearest

    def _levels(self, bids: list, asks: list, ts_event: int, receive: int, sequence: int) -> np.ndarray:
        """Return one batch of level events, in the message's order."""
        n_bid, n = len(bids), len(bids) + len(asks)
        events = np.zeros(n, dtype=EVENT)
        if n == 0:
            return events
        pairs = np.array(bids + asks, dtype=np.float64)
        scaled = pairs * np.array([self._price_scale, self._size_scale])
        if not (np.abs(scaled) < 9e18).all():
            raise Refused("off_grid", "a price or size is not a finite number")
        units = np.rint(scaled)
        if (pairs[:, 0] <= 0).any():
            raise Refused("non_positive_price", f"price {pairs[:, 0].min()!r}")
        if (pairs[:, 1] < 0).any():
            raise Refused("negative_size", f"size {pairs[:, 1].min()!r}")
        off = np.abs(scaled - units) > 1e-6 + 1e-15 * np.abs(scaled)
        if off.any():
            price, size = pairs[off.any(axis=1)][0]
            raise Refused("off_grid", f"level {price!r} x {size!r} does not lie on the instrument's grid")
        events["price"], events["size"] = units[:, 0], units[:, 1]
        events["side"][:n_bid], events["side"][n_bid:] = 1, -1
        events["kind"] = KIND_LEVEL
        events["ts_event_ns"], events["ts_init_ns"], events["sequence"] = ts_event, receive, sequence
        events["flags"][-1] = FLAG_LAST
        return events

    # ---- book

    def _on_depth(self, receive: int, d: Depth) -> None:
        ids = DiffIds(d.U, d.u, d.pu)
        if d.u < d.U:
            raise Refused("bad_update_ids", f"U {d.U} > u {d.u}")
        batch = self._levels(d.b, d.a, (d.T or d.E) * MS, receive, d.u)
        if not self._rule.in_step:
            self._keep_for_later(ids, batch)
            return
        before = self._rule.last_id
        verdict = self._rule.judge(ids)
        if verdict is Verdict.OLD:
            self.rows.note("diff_before_snapshot")
        elif verdict is Verdict.DUPLICATE:
            raise Refused("duplicate", f"diff {d.U}..{d.u} after {before}")
        elif verdict is Verdict.BREAK:
            self._lose_book(receive, batch)
            self._keep_for_later(ids, batch, refused=True)
            raise Refused("sequence_break", f"diff {d.U}..{d.u} (pu {d.pu}) after {before}")
        else:
            self._apply(receive, batch, d.u)

    def _apply(self, receive: int, batch: np.ndarray, last_id: int) -> None:
        if batch.size:
            self._ladder.apply(batch)
        bid, bid_size = self._ladder.bid
        ask, ask_size = self._ladder.ask
        if bid >= ask:
            self._lose_book(receive, batch)
            raise Refused("crossed_book", f"update {last_id} leaves bid {bid} at or above ask {ask} (units)")
        self._tracker.add_touches(np.array([(last_id, bid, bid_size, ask, ask_size)], dtype=np.int64))
        if batch.size:
            self._push(receive, batch)
        self.rows.keep("depth")

    def _keep_for_later(self, ids: DiffIds, batch: np.ndarray, *, refused: bool = False) -> None:
        """Hold a diff until a snapshot comes; `refused` when its row is counted as bad already."""
        if self._buffer and not self._rule.follows(self._buffer[-1][0], ids):
            self._discard(len(self._buffer))
        if len(self._buffer) == self._buffer.maxlen:
            self._discard(1)
        self._buffer.append((ids, batch, refused))

    def _discard(self, count: int) -> None:
        """Drop the oldest held diffs: expected before the first snapshot, a loss after a break."""
        unused = sum(not self._buffer.popleft()[2] for _ in range(count))
        if self._lost:
            self.rows.refuse("out_of_step", "depth diffs between a lost book and the next snapshot", unused)
        else:
            self.rows.note("diff_before_snapshot", unused)

    def _lose_book(self, receive: int, batch: np.ndarray) -> None:
        """Empty the book in the data, so that nothing trades on it until a snapshot restores it."""
        self._rule.lose()
        self._ladder.clear()
        self._lost = True
        clear = np.zeros(1, dtype=EVENT)
        clear["kind"], clear["flags"], clear["ts_init_ns"] = KIND_CLEAR, FLAG_LAST, receive
        if batch.size:
            clear["ts_event_ns"], clear["sequence"] = batch["ts_event_ns"][0], batch["sequence"][0]
        self._push(receive, clear)

    def _on_snapshot(self, receive: int, line: Snapshot) -> None:
        snapshot_id = line.lastUpdateId or 0
        if self._rule.in_step:
            # The diffs are unbroken, so they say the same and more.
            self.rows.note("snapshot_not_needed")
            return
        ts_event = (line.T or line.E) * MS
        batch = self._levels(line.bids, line.asks, ts_event, receive, snapshot_id)
        rest = [held for held in self._buffer if not self._rule.is_old(held[0], snapshot_id)]
        if rest and not self._rule.joins(rest[0][0], snapshot_id):
            self.rows.note("snapshot_too_old")
            return
        self._discard(len(self._buffer) - len(rest))
        self._buffer.clear()
        self._ladder.clear()
        self._ladder.apply(batch)
        self._rule.snapshot(snapshot_id)
        for ids, diff, refused in rest:
            if self._rule.judge(ids) is Verdict.APPLY:
                self._ladder.apply(diff)
                ts_event = max(ts_event, int(diff["ts_event_ns"][0]) if diff.size else 0)
                self.rows.keep("depth", not refused)
        bid, ask = self._ladder.bid[0], self._ladder.ask[0]
        if bid >= ask:
            self._rule.lose()
            self._ladder.clear()
            raise Refused("crossed_book", f"snapshot {snapshot_id}: bid {bid} at or above ask {ask} (units)")
        last_id = self._rule.last_id or snapshot_id
        # Spot snapshots carry no time: the capture's own is the only one there is.
        whole = self._ladder.snapshot(ts_event or receive, receive, last_id)
        touch = (last_id, *self._ladder.bid, *self._ladder.ask)
        self._tracker.add_touches(np.array([touch], dtype=np.int64))
        self._push(receive, whole, skew=ts_event > 0)
        self.rows.keep("snapshot")

    # ---- trades and tickers

    def _on_trade(self, receive: int, t: Trade) -> None:
        if t.X != "MARKET":
            # Insurance fund, auto-deleveraging and the like never met the book.
            self.rows.note(f"trade_off_book:{t.X}")
            return
        if not t.p > 0:
            raise Refused("non_positive_price", f"trade {t.t}: price {t.p!r}")
        if not t.q > 0:
            raise Refused("negative_size", f"trade {t.t}: size {t.q!r}")
        price = self._units(t.p, self._price_scale, "price")
        size = self._units(t.q, self._size_scale, "size")
        if self._last_trade is not None:
            if t.t <= self._last_trade:
                raise Refused("duplicate", f"trade {t.t} after {self._last_trade}")
            self.rows.note("trade_ids_missing", t.t - self._last_trade - 1)
        self._last_trade = t.t
        # m: the buyer was the maker, so the seller was the aggressor.
        self._trades.append((t.T * MS, receive, price, size, t.t, KIND_TRADE, -1 if t.m else 1, 0))
        self._size += 1
        self._stamp(receive, t.T * MS)
        self.rows.keep("trade")

    def _on_ticker(self, t: Ticker) -> None:
        if not (t.b > 0 and t.a > 0):
            raise Refused("non_positive_price", f"bookTicker {t.u}: {t.b!r} / {t.a!r}")
        if t.u <= self._tracker.last_ticker:
            raise Refused("duplicate", f"bookTicker {t.u} after {self._tracker.last_ticker}")
        units = self._units
        ticker = (
            t.u,
            units(t.b, self._price_scale, "bid"),
            units(t.B, self._size_scale, "bid size"),
            units(t.a, self._price_scale, "ask"),
            units(t.A, self._size_scale, "ask size"),
        )
        self._tracker.add_tickers(np.array([ticker], dtype=np.int64))
        self.rows.keep("bookTicker")

    # ---- output

    def _stamp(self, receive: int, ts_event: int) -> None:
        if self._first_ns is None:
            self._first_ns = receive
        self._add_skew(1, receive - ts_event, receive - ts_event, receive - ts_event)

    def _stamp_all(self, events: np.ndarray) -> None:
        """Stamp each trade, and each batch that has a venue time, as `_stamp` does one by one."""
        one = events[(events["kind"] == KIND_TRADE) | ((events["flags"] & FLAG_LAST) != 0)]
        one = one[(one["kind"] == KIND_TRADE) | (one["ts_event_ns"] != 0)]
        if one.size == 0:
            return
        if self._first_ns is None:
            self._first_ns = int(one["ts_init_ns"][0])
        skew = one["ts_init_ns"] - one["ts_event_ns"]
        # In two words, so that no sum overflows.
        total = (int((skew >> 31).sum()) << 31) + int((skew & 0x7FFFFFFF).sum())
        self._add_skew(one.size, total, int(skew.min()), int(skew.max()))

    def _add_skew(self, count: int, total: int, least: int, most: int) -> None:
        n, s, lo, hi = self._skew
        self._skew = (
            n + count,
            s + total,
            least if lo is None else min(lo, least),
            most if hi is None else max(hi, most),
        )

    def _push(self, receive: int, batch: np.ndarray, *, skew: bool = True) -> None:
        self._take_trades()
        self._pieces.append(batch)
        self._size += batch.size
        if skew and batch["ts_event_ns"][0]:
            self._stamp(receive, int(batch["ts_event_ns"][0]))

    def _take_trades(self) -> None:
        if self._trades:
            self._pieces.append(np.array(self._trades, dtype=EVENT))
            self._trades.clear()

    def _take(self) -> np.ndarray:
        self._take_trades()
        events = np.concatenate(self._pieces)
        self._pieces.clear()
        self._size = 0
        return events

    def report(self, paths: Sequence[str | os.PathLike[str]]) -> ImportReport:
        """Return the counts of what was read so far."""
        count, total, least, most = self._skew
        return self.rows.report(
            source="binance-capture",
            instrument_id=self._spec.id,
            paths=[Path(p).name for p in paths],
            first_ns=self._first_ns,
            last_ns=self._last_receive or None,
            skew_ms_min=None if least is None else least / 1e6,
            skew_ms_mean=total / count / 1e6 if count else None,
            skew_ms_max=None if most is None else most / 1e6,
            touch=self.touch,
        )


def _sampled_instrument(
    paths: Sequence[str | os.PathLike[str]], instrument_id: str, allow_truncated: bool
) -> InstrumentSpec:
    """Return a specification whose steps are read off the first lines of a capture."""
    symbol = raw_symbol(instrument_id)
    prices, sizes = [], []
    rows = RowLedger(1.0)
    for number, raw in enumerate(lines(Path(paths[0]), rows, allow_truncated=allow_truncated)):
        _, message = decode_line(raw)
        if isinstance(message, Depth | Snapshot):
            both = (message.b, message.a) if isinstance(message, Depth) else (message.bids, message.asks)
            if (message.s if isinstance(message, Depth) else symbol) == symbol:
                prices.extend(p for p, _ in chain(*both))
                sizes.extend(q for _, q in chain(*both))
        elif isinstance(message, Trade) and message.s == symbol:
            prices.append(message.p)
            sizes.append(message.q)
        if number == _SAMPLED:
            break
    if not prices:
        raise ImportRefused(
            f"{Path(paths[0]).name}: no depth or trade of {symbol} in its first {_SAMPLED:,} lines to read "
            "tick and lot off; give the venue's exchange information"
        )
    return infer_instrument(instrument_id, np.array(prices), np.array(sizes))


def import_binance_capture(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    instrument: InstrumentSpec | None = None,
    exchange_info: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> ImportReport:
    """Import the capture of one symbol into a catalog; all of it, or nothing.

    Parameters
    ----------
    paths : files that follow one another in time (gzip or plain text).
    instrument_id : ``BTCUSDT-PERP.BINANCE`` (USDT-margined), ``BTCUSD-PERP.BINANCE`` (coin-margined)
        or ``BTCUSDT.BINANCE`` (spot).
    max_bad_share, allow_truncated : as in `BinanceCapture`.
    replace : take the place of stored data over the same span.
    instrument : specification to use; then `exchange_info` and the built-in table are not asked.
    exchange_info : file with the venue's ``exchangeInfo``. Without it the built-in table counts, and for a
        symbol that it does not have, the steps are read off the capture and noted as `instrument_inferred`.
    progress : takes a line of text every few seconds.

    Returns
    -------
    ImportReport
        Also kept in the catalog, under ``imports/<instrument>/``.

    Raises
    ------
    ImportRefused
        When there is nothing to import, a file is damaged, or too many rows are bad.
    DataError
        When the id is malformed, the exchange information does not have it, or the catalog holds other data
        over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    inferred = False
    if instrument is None and exchange_info is not None:
        instrument = exchange_info_instrument(exchange_info, instrument_id)
    elif instrument is None:
        parse_symbol(instrument_id)
        try:
            instrument = binance_instrument(instrument_id)
        except DataError:
            instrument, inferred = _sampled_instrument(paths, instrument_id, allow_truncated), True
    spec, differs = settle_instrument(catalog_path, instrument)
    capture = BinanceCapture(spec, max_bad_share=max_bad_share, allow_truncated=allow_truncated)
    with CatalogWriter(catalog_path, spec, replace=replace) as writer:
        for chunk in capture.events(paths, Progress(progress)):
            writer.append(chunk)
        report = capture.report(paths)
        if not report.kept.get("snapshot"):
            raise ImportRefused(
                f"{', '.join(report.paths)}: no depth snapshot that the diffs join (`lastUpdateId`) in "
                f"{report.rows} rows: "
                f"no book can be built. Put the file with the snapshot first. Noted: {report.noted}"
            )
        written = writer.commit()
    report.written = {"deltas": written.deltas, "trades": written.trades, "batches": written.batches}
    if inferred:
        report.noted["instrument_inferred"] = 1
    if differs:
        report.noted["instrument_of_catalog"] = 1
    if written.moved:
        report.noted["receive_time_moved"] = written.moved
    if written.replaced:
        report.noted["files_replaced"] = len(written.replaced)
    report.files = list(written.files)
    keep_report(catalog_path, report)
    return report


EXCHANGE_INFO = ImporterOption(
    "exchange_info", "Answer of the venue's exchangeInfo (JSON) to take tick, lot and limits from.", Path
)

register(
    Importer(
        kind="binance-capture",
        help="""Raw Binance websocket captures of one symbol.

    PATHS follow one another in time. Each line is `<receive_ns> <json>`: depth, trade and bookTicker streams
    and a REST depth snapshot; gzip or plain text. BTCUSDT-PERP.BINANCE is the USDT-margined perpetual,
    BTCUSD-PERP.BINANCE the coin-margined one, BTCUSDT.BINANCE spot.
    """,
        function=import_binance_capture,
        instrument="required",
        allow_truncated=True,
        options=(EXCHANGE_INFO,),
    )
)
