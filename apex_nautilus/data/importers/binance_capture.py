"""Raw Binance websocket captures: gzip, one ``<receive_ns> <json>`` a line, a REST depth snapshot among them.

The streams depth, trade and bookTicker of one symbol are read, any other is passed over and counted. Depth
diffs and the snapshot become book events after the documented sequence rule (`sequence_rule`), trades
become trades, and the book tickers serve as a check: the venue's own touch at an update id against that of
the rebuilt book.

A book that loses its sequence, or crosses, is emptied in the data (nobody may trade on a stale book) and
begins again at the next snapshot. Time of an event is the venue's; time of receipt is the capture's. The
two clocks may disagree: the difference is kept and reported, never mended.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from apex_nautilus.data.catalog import CatalogWriter, settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.data.importers.sequence_rule import DiffIds, SequenceRule, Verdict
from apex_nautilus.data.instruments import binance_instrument, parse_symbol, raw_symbol
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["BinanceCapture", "import_binance_capture"]

_CHUNK_EVENTS = 100_000
_BUFFERED_DIFFS = 50_000
_MS = 1_000_000
_LARGEST = 2**63 - 1
_LONGEST_LINE = 1 << 24  # a snapshot of 5,000 levels a side takes half a megabyte
_STREAMS_NAMED = 50

_Id = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST // _MS)]


class _Line(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    lastUpdateId: _Id | None = None
    symbol: str = ""
    T: _Ms = 0
    E: _Ms = 0
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []


class _Depth(msgspec.Struct):
    s: str
    U: _Id
    u: _Id
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    pu: int | None = None
    T: _Ms = 0
    E: _Ms = 0


class _Trade(msgspec.Struct):
    s: str
    t: _Id
    p: float
    q: float
    T: _Ms
    m: bool
    X: str = "MARKET"


class _Ticker(msgspec.Struct):
    s: str
    u: _Id
    b: float
    B: float
    a: float
    A: float


class _Refused(Exception):
    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


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
        self.touch = TouchCheck()
        self._rule = SequenceRule(futures=parse_symbol(instrument.id)[1] != "spot")
        self._ladder = Ladder()
        self._lost = False  # whether the book was ever lost after a snapshot
        self._buffer: deque[tuple[DiffIds, np.ndarray, bool]] = deque(maxlen=_BUFFERED_DIFFS)
        self._pieces: list[np.ndarray] = []
        self._trades: list[tuple] = []
        self._size = 0
        self._last_receive = 0
        self._last_trade: int | None = None
        self._touches: deque[tuple[int, int, int, int, int]] = deque(maxlen=_BUFFERED_DIFFS)
        self._tickers: deque[tuple[int, int, int, int, int]] = deque(maxlen=_BUFFERED_DIFFS)
        self._first_ns: int | None = None
        self._skew = (0, 0.0, np.inf, -np.inf)  # count, sum, least, most (ms)
        self._line = msgspec.json.Decoder(_Line, strict=False)
        self._decoders = {
            "depth": msgspec.json.Decoder(_Depth, strict=False),
            "trade": msgspec.json.Decoder(_Trade, strict=False),
            "bookTicker": msgspec.json.Decoder(_Ticker, strict=False),
        }

    # ---- lines

    def events(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[np.ndarray]:
        """Yield chunks of `EVENT`, whole batches only, ordered by receive time.

        Raises
        ------
        ImportRefused
            When a file cannot be read to its end or too many lines are bad.
        """
        for path in map(Path, paths):
            self.rows.place = path.name
            self.rows.line = 0
            for raw in self._lines(path):
                self.rows.line += 1
                self.rows.rows += 1
                try:
                    self._read(raw)
                except _Refused as e:
                    self.rows.refuse(e.reason, e.detail)
                if self._size >= _CHUNK_EVENTS:
                    yield self._take()
        self._discard(len(self._buffer))
        self.rows.check()
        if self._size:
            yield self._take()

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
                file.seek(0)
                stream = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file  # pyright: ignore[reportArgumentType]
                while raw := stream.readline(_LONGEST_LINE + 1):
                    if len(raw) > _LONGEST_LINE:
                        raise ImportRefused(
                            f"{path}: line {self.rows.line + 1} is longer than {_LONGEST_LINE >> 20} MiB; "
                            "this is no capture of one message a line"
                        )
                    if not raw.endswith(b"\n") and packed:
                        # A last line without its newline is what a killed recorder leaves.
                        self.rows.note("no_newline_at_end")
                    yield raw
        except EOFError:
            if not self._allow_truncated:
                raise ImportRefused(
                    f"{path}: the gzip data end in the middle, after line {self.rows.line}: the file is "
                    f"truncated. "
                    "Fetch it again, or keep what is whole with --allow-truncated"
                ) from None
            self.rows.note("truncated_file")
        except (OSError, zlib.error) as e:
            raise ImportRefused(f"{path}: cannot be read after line {self.rows.line}: {e}") from e

    def _read(self, raw: bytes) -> None:
        stamp, _, text = raw.partition(b" ")
        receive = int(stamp) if stamp.isdigit() and len(stamp) < 20 else -1
        if not 0 <= receive <= _LARGEST or not text:
            raise _Refused("bad_line", f"expected `<receive_ns> <json>`, got {raw[:60]!r}")
        try:
            line = self._line.decode(text)
            kind = line.stream.partition("@")[2]
            kind = "depth" if kind.startswith("depth") else kind
            decoder = self._decoders.get(kind)
            message = decoder.decode(line.data) if decoder is not None else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise _Refused("bad_json", str(e)) from None
        if message is None and line.lastUpdateId is None:
            self._pass_over(kind)
            return
        if receive < self._last_receive:
            raise _Refused(
                "time_backwards",
                f"received {(self._last_receive - receive) / 1e9:.6f} s before its forerunner",
            )
        self._check_symbol(message.s if message is not None else line.symbol)
        self._last_receive = receive
        if isinstance(message, _Depth):
            self._on_depth(receive, message)
        elif isinstance(message, _Trade):
            self._on_trade(receive, message)
        elif isinstance(message, _Ticker):
            self._on_ticker(message)
        else:
            self._on_snapshot(receive, line)

    def _pass_over(self, kind: str) -> None:
        reason = f"other_stream:{kind[:40] or 'none'}"
        if reason not in self.rows.noted and len(self.rows.noted) >= _STREAMS_NAMED:
            reason = "other_stream:more"
        self.rows.note(reason)

    def _check_symbol(self, symbol: str) -> None:
        if symbol and symbol != self._symbol:
            raise _Refused("wrong_symbol", f"{symbol[:40]}, not {self._symbol}")

    # ---- numbers

    def _units(self, value: float, factor: float, name: str) -> int:
        units = value * factor
        nearest = round(units) if abs(units) < 9e18 else None  # also false for nan
        if nearest is None or abs(units - nearest) > 1e-6 + 1e-15 * abs(units):
            raise _Refused("off_grid", f"{name} {value!r} is no multiple of 1/{factor:g}")
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
            raise _Refused("off_grid", "a price or size is not a finite number")
        units = np.rint(scaled)
        if (pairs[:, 0] <= 0).any():
            raise _Refused("non_positive_price", f"price {pairs[:, 0].min()!r}")
        if (pairs[:, 1] < 0).any():
            raise _Refused("negative_size", f"size {pairs[:, 1].min()!r}")
        off = np.abs(scaled - units) > 1e-6 + 1e-15 * np.abs(scaled)
        if off.any():
            price, size = pairs[off.any(axis=1)][0]
            raise _Refused("off_grid", f"level {price!r} x {size!r} does not lie on the instrument's grid")
        events["price"], events["size"] = units[:, 0], units[:, 1]
        events["side"][:n_bid], events["side"][n_bid:] = 1, -1
        events["kind"] = KIND_LEVEL
        events["ts_event_ns"], events["ts_init_ns"], events["sequence"] = ts_event, receive, sequence
        events["flags"][-1] = FLAG_LAST
        return events

    # ---- book

    def _on_depth(self, receive: int, d: _Depth) -> None:
        ids = DiffIds(d.U, d.u, d.pu)
        if d.u < d.U:
            raise _Refused("bad_update_ids", f"U {d.U} > u {d.u}")
        batch = self._levels(d.b, d.a, (d.T or d.E) * _MS, receive, d.u)
        if not self._rule.in_step:
            self._keep_for_later(ids, batch)
            return
        before = self._rule.last_id
        verdict = self._rule.judge(ids)
        if verdict is Verdict.OLD:
            self.rows.note("diff_before_snapshot")
        elif verdict is Verdict.DUPLICATE:
            raise _Refused("duplicate", f"diff {d.U}..{d.u} after {before}")
        elif verdict is Verdict.BREAK:
            self._lose_book(receive, batch)
            self._keep_for_later(ids, batch, refused=True)
            raise _Refused("sequence_break", f"diff {d.U}..{d.u} (pu {d.pu}) after {before}")
        else:
            self._apply(receive, batch, d.u)

    def _apply(self, receive: int, batch: np.ndarray, last_id: int) -> None:
        if batch.size:
            self._ladder.apply(batch)
        bid, bid_size = self._ladder.bid
        ask, ask_size = self._ladder.ask
        if bid >= ask:
            self._lose_book(receive, batch)
            raise _Refused("crossed_book", f"update {last_id} leaves bid {bid} at or above ask {ask} (units)")
        self._touches.append((last_id, bid, bid_size, ask, ask_size))
        self._compare()
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

    def _on_snapshot(self, receive: int, line: _Line) -> None:
        snapshot_id = line.lastUpdateId or 0
        if self._rule.in_step:
            # The diffs are unbroken, so they say the same and more.
            self.rows.note("snapshot_not_needed")
            return
        ts_event = (line.T or line.E) * _MS
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
            raise _Refused("crossed_book", f"snapshot {snapshot_id}: bid {bid} at or above ask {ask} (units)")
        last_id = self._rule.last_id or snapshot_id
        # Spot snapshots carry no time: the capture's own is the only one there is.
        whole = self._ladder.snapshot(ts_event or receive, receive, last_id)
        self._touches.append((last_id, *self._ladder.bid, *self._ladder.ask))
        self._compare()
        self._push(receive, whole, skew=ts_event > 0)
        self.rows.keep("snapshot")

    # ---- trades and tickers

    def _on_trade(self, receive: int, t: _Trade) -> None:
        if t.X != "MARKET":
            # Insurance fund, auto-deleveraging and the like never met the book.
            self.rows.note(f"trade_off_book:{t.X}")
            return
        if not t.p > 0:
            raise _Refused("non_positive_price", f"trade {t.t}: price {t.p!r}")
        if not t.q > 0:
            raise _Refused("negative_size", f"trade {t.t}: size {t.q!r}")
        price = self._units(t.p, self._price_scale, "price")
        size = self._units(t.q, self._size_scale, "size")
        if self._last_trade is not None:
            if t.t <= self._last_trade:
                raise _Refused("duplicate", f"trade {t.t} after {self._last_trade}")
            self.rows.note("trade_ids_missing", t.t - self._last_trade - 1)
        self._last_trade = t.t
        # m: the buyer was the maker, so the seller was the aggressor.
        self._trades.append((t.T * _MS, receive, price, size, t.t, KIND_TRADE, -1 if t.m else 1, 0))
        self._size += 1
        self._stamp(receive, t.T * _MS)
        self.rows.keep("trade")

    def _on_ticker(self, t: _Ticker) -> None:
        if not (t.b > 0 and t.a > 0):
            raise _Refused("non_positive_price", f"bookTicker {t.u}: {t.b!r} / {t.a!r}")
        if self._tickers and t.u <= self._tickers[-1][0]:
            raise _Refused("duplicate", f"bookTicker {t.u} after {self._tickers[-1][0]}")
        units = self._units
        ticker = (
            t.u,
            units(t.b, self._price_scale, "bid"),
            units(t.B, self._size_scale, "bid size"),
            units(t.a, self._price_scale, "ask"),
            units(t.A, self._size_scale, "ask size"),
        )
        self._tickers.append(ticker)
        self._compare()
        self.rows.keep("bookTicker")

    def _compare(self) -> None:
        """Compare each held touch with the last ticker at or before it, once a newer ticker has come."""
        tickers, touches = self._tickers, self._touches
        while touches and tickers and tickers[-1][0] > touches[0][0]:
            update, *mine = touches.popleft()
            while len(tickers) > 1 and tickers[1][0] <= update:
                tickers.popleft()
            if tickers[0][0] > update:
                continue  # older than the first ticker
            theirs = list(tickers[0][1:])
            self.touch.compared += 1
            self.touch.equal_prices += (mine[0], mine[2]) == (theirs[0], theirs[2])
            self.touch.equal_touches += mine == theirs

    # ---- output

    def _stamp(self, receive: int, ts_event: int) -> None:
        if self._first_ns is None:
            self._first_ns = receive
        skew = (receive - ts_event) / 1e6
        count, total, least, most = self._skew
        self._skew = (count + 1, total + skew, min(least, skew), max(most, skew))

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
        return ImportReport(
            source="binance-capture",
            instrument_id=self._spec.id,
            paths=[Path(p).name for p in paths],
            rows=self.rows.rows,
            kept=self.rows.kept,
            refused=self.rows.refused,
            noted=self.rows.noted,
            examples=self.rows.examples,
            first_ns=self._first_ns,
            last_ns=self._last_receive or None,
            skew_ms_min=least if count else None,
            skew_ms_mean=total / count if count else None,
            skew_ms_max=most if count else None,
            touch=self.touch,
        )


def import_binance_capture(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    instrument: InstrumentSpec | None = None,
) -> ImportReport:
    """Import the capture of one symbol into a catalog; all of it, or nothing.

    Parameters
    ----------
    paths : files that follow one another in time (gzip or plain text).
    instrument_id : ``BTCUSDT-PERP.BINANCE`` (USDT-margined), ``BTCUSD-PERP.BINANCE`` (coin-margined)
        or ``BTCUSDT.BINANCE`` (spot).
    max_bad_share, allow_truncated : as in `BinanceCapture`.
    replace : take the place of stored data over the same span.
    instrument : specification to use instead of the built-in table's.

    Returns
    -------
    ImportReport
        Also kept in the catalog, under ``imports/<instrument>/``.

    Raises
    ------
    ImportRefused
        When there is nothing to import, a file is damaged, or too many rows are bad.
    DataError
        When the instrument is unknown or the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    wanted = instrument if instrument is not None else binance_instrument(instrument_id)
    spec, differs = settle_instrument(catalog_path, wanted)
    capture = BinanceCapture(spec, max_bad_share=max_bad_share, allow_truncated=allow_truncated)
    with CatalogWriter(catalog_path, spec, replace=replace) as writer:
        for chunk in capture.events(paths):
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
    if differs:
        report.noted["instrument_of_catalog"] = 1
    if written.moved:
        report.noted["receive_time_moved"] = written.moved
    if written.replaced:
        report.noted["files_replaced"] = len(written.replaced)
    report.files = list(written.files)
    keep_report(catalog_path, report)
    return report


def _run(
    paths: Sequence[Path],
    catalog: Path,
    *,
    instrument: str,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
    progress: Callable[[str], None],
) -> list[ImportReport]:
    report = import_binance_capture(
        paths,
        catalog,
        instrument,
        max_bad_share=max_bad_share,
        allow_truncated=allow_truncated,
        replace=replace,
    )
    return [report]


register(
    Importer(
        kind="binance-capture",
        help="""Raw Binance websocket captures of one symbol.

    PATHS follow one another in time. Each line is `<receive_ns> <json>`: depth, trade and bookTicker streams
    and a REST depth snapshot; gzip or plain text. BTCUSDT-PERP.BINANCE is the perpetual,
    BTCUSDT.BINANCE spot.
    """,
        run=_run,
        instrument="required",
        allow_truncated=True,
    )
)
