"""Books that a recorder wrote down whole, 1,000 levels a side every tenth of a second, and their trades.

Parquet files of two kinds, told by their columns, in any order and of any number of instruments:

books
    ``ts_ms`` (receipt), ``exch_ts_ms``, ``venue``, ``market_type`` (fut or spot), ``symbol``, ``seq`` (the
    venue's update id), ``best_bid``, ``best_ask``, and the lists ``bids_px``, ``bids_qty``, ``asks_px``,
    ``asks_qty``, best first.
trades
    the same head, then ``trade_id``, ``price``, ``qty``, ``side`` (buy or sell, the aggressor's).

Successive books become the level changes between them, so the catalog holds a stream like any other and the
rebuilt book is each recorded one, level by level. Levels beyond the last one shown are not known: when the
price moves, a level leaves the far end and is deleted, and may come back later. A book that is refused loses
the book, which the next good one restores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.catalog_reader import merge_streams
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._book import Refused, to_units
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.binance_capture import EXCHANGE_INFO
from apex_nautilus.data.importers.progress import Progress
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.venues.binance import binance_instrument, exchange_info_instrument, infer_instrument
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["Lob1000", "import_lob1000"]

_HEAD = ("ts_ms", "exch_ts_ms", "venue", "market_type", "symbol")
_LISTS = ("bids_px", "bids_qty", "asks_px", "asks_qty")
_BOOK = (*_HEAD, "seq", "best_bid", "best_ask", *_LISTS)
_TRADE = (*_HEAD, "trade_id", "price", "qty", "side")
_SUFFIX = {"fut": "-PERP", "spot": ""}
_BOOKS_AT_ONCE = 64
_TRADES_AT_ONCE = 20_000
_MS = 1_000_000
_LARGEST_MS = (2**63 - 1) // _MS


@dataclass
class _Source:
    books: list[Path] = field(default_factory=list)
    trades: list[Path] = field(default_factory=list)


def _sides(table: pa.Table, row: int) -> list[np.ndarray]:
    return [table.column(name)[row].values.to_numpy(zero_copy_only=False) for name in _LISTS]  # pyright: ignore


class Lob1000:
    """Turns the files of one instrument into event chunks.

    Life cycle: use up `events(books, trades)` once; then `report` holds the counts.

    Parameters
    ----------
    instrument : InstrumentSpec
    max_bad_share : float
        Largest share of refused rows.
    """

    def __init__(self, instrument: InstrumentSpec, *, max_bad_share: float = 0.001):
        self._spec = instrument
        self._scales = scale(instrument.price_precision), scale(instrument.size_precision)
        self.rows = RowLedger(max_bad_share)
        self.touch = TouchCheck()
        self._book: list[tuple[np.ndarray, np.ndarray]] | None = None  # bids and asks: prices, sizes
        self._sequence = -1
        self._times = {"book": -1, "trade": -1}
        self._last_trade = -1
        self._span: tuple[int, int] | None = None
        self._skew = (0, 0, 0, 0)  # count, sum, least, most (ms)

    def events(
        self, books: Sequence[Path], trades: Sequence[Path], progress: Progress | None = None
    ) -> Iterator[np.ndarray]:
        """Yield chunks of `EVENT`, whole batches only, ordered by receive time.

        Raises
        ------
        ImportRefused
            When a file cannot be read or too many rows are bad.
        """
        yield from merge_streams([self._trades(trades), self._books(books, progress)])
        self.rows.check()

    def _tables(self, path: Path, columns: Sequence[str], rows: int) -> Iterator[tuple[int, pa.Table]]:
        first = 1
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                    self.rows.rows += batch.num_rows
                    yield first, pa.Table.from_batches([batch])
                    first += batch.num_rows
        except (pa.ArrowException, OSError) as e:
            raise ImportRefused(f"{path}: cannot be read after row {first - 1}: {e}") from e

    def _stamp(self, receive: np.ndarray, skew: np.ndarray) -> None:
        first, last = int(receive[0]) * _MS, int(receive[-1]) * _MS
        self._span = (
            (first, last) if self._span is None else (min(self._span[0], first), max(self._span[1], last))
        )
        n, total, least, most = self._skew
        low, high = int(skew.min()), int(skew.max())
        self._skew = (
            n + skew.size,
            total + int(skew.sum()),
            min(least, low) if n else low,
            max(most, high) if n else high,
        )

    # ---- books

    def _books(self, paths: Sequence[Path], progress: Progress | None) -> Iterator[np.ndarray]:
        for path in paths:
            for first, table in self._tables(path, _BOOK, _BOOKS_AT_ONCE):
                pieces = []
                for row in range(table.num_rows):
                    self.rows.place, self.rows.line = path.name, first + row
                    try:
                        pieces.append(self._one_book(table, row))
                    except Refused as e:
                        pieces.append(self._lose(table, row))
                        self.rows.refuse(e.reason, e.detail)
                events = np.concatenate(pieces)
                if progress is not None:
                    progress.step(path.name, first + table.num_rows - 1, "books")
                if events.size:
                    yield events

    def _head(self, table: pa.Table, row: int, kind: str) -> tuple[int, int]:
        """Return (receive, venue) time in milliseconds of a row of this instrument, in order of receipt."""
        receive, event, venue, market, symbol = (table.column(name)[row].as_py() for name in _HEAD)
        if _id_of(venue, market, symbol) != self._spec.id:
            raise Refused("wrong_symbol", f"{str(symbol)[:40]} {market}, not {self._spec.id}")
        if any(t is None or not 0 <= t <= _LARGEST_MS for t in (receive, event)):
            raise Refused("bad_row", f"ts_ms {receive!r}, exch_ts_ms {event!r}")
        if receive < self._times[kind]:
            raise Refused(
                "time_backwards", f"received {self._times[kind] - receive} ms before its forerunner"
            )
        return receive, event

    def _one_book(self, table: pa.Table, row: int) -> np.ndarray:
        receive, event = self._head(table, row, "book")
        sequence = table.column("seq")[row].as_py()
        if sequence is None or not 0 <= sequence < 2**63:
            raise Refused("bad_update_ids", f"seq {sequence!r}")
        if sequence < self._sequence:
            raise Refused("sequence_break", f"seq {sequence} after {self._sequence}")
        if sequence == self._sequence:
            self.rows.note("book_repeated")
        bids_px, bids_qty, asks_px, asks_qty = _sides(table, row)
        bids, asks = self._side(bids_px, bids_qty, 1), self._side(asks_px, asks_qty, -1)
        if bids[0][-1] >= asks[0][0]:
            raise Refused("crossed_book", f"bid {bids_px[0]!r} at or above ask {asks_px[0]!r}")
        self._times["book"], self._sequence = receive, sequence
        if self._book is None:
            pieces = [_clear(), _levels(1, *bids), _levels(-1, *asks)]
        else:
            pieces = [
                _levels(1, *_changes(*self._book[0], *bids)),
                _levels(-1, *_changes(*self._book[1], *asks)),
            ]
        self._book = [bids, asks]
        batch = np.concatenate(pieces)
        if batch.size:
            batch["flags"][-1] = FLAG_LAST
        batch["ts_init_ns"], batch["ts_event_ns"], batch["sequence"] = receive * _MS, event * _MS, sequence
        self.touch.compared += 1
        best = table.column("best_bid")[row].as_py(), table.column("best_ask")[row].as_py()
        equal = best == (bids[0][-1] / self._scales[0], asks[0][0] / self._scales[0])
        self.touch.equal_prices += equal
        self.touch.equal_touches += equal
        self._stamp(np.array([receive]), np.array([receive - event]))
        self.rows.keep("book")
        return batch

    def _side(self, prices: np.ndarray, sizes: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (prices, sizes) of a side in units, prices rising; raises Refused."""
        name = "bids" if side > 0 else "asks"
        if prices.size == 0 or prices.size != sizes.size:
            raise Refused("bad_row", f"{prices.size} prices and {sizes.size} sizes of {name}")
        if not (prices > 0).all():
            raise Refused("non_positive_price", f"{name}: {np.nanmin(prices)!r}")
        if not (sizes > 0).all():
            raise Refused("negative_size", f"{name}: {np.nanmin(sizes)!r}")
        units, off = to_units(prices, self._scales[0])
        amounts, off_size = to_units(sizes, self._scales[1])
        if (off | off_size).any():
            at = int(np.argmax(off | off_size))
            raise Refused("off_grid", f"level {prices[at]!r} x {sizes[at]!r} does not lie on the grid")
        if side > 0:
            units, amounts = units[::-1], amounts[::-1]
        if (np.diff(units) <= 0).any():
            raise Refused("bad_row", f"{name} are not listed best first, or one price twice")
        return units, amounts

    def _lose(self, table: pa.Table, row: int) -> np.ndarray:
        """Empty the book in the data until the next good one, unless it is lost already."""
        receive = table.column("ts_ms")[row].as_py()
        if self._book is None or receive is None or not self._times["book"] <= receive <= _LARGEST_MS:
            receive = self._times["book"]
        was, self._book = self._book, None
        clear = _clear()[: was is not None]
        clear["flags"], clear["ts_init_ns"], clear["sequence"] = FLAG_LAST, receive * _MS, self._sequence
        self._times["book"] = receive
        return clear

    # ---- trades

    def _trades(self, paths: Sequence[Path]) -> Iterator[np.ndarray]:
        for path in paths:
            for first, table in self._tables(path, _TRADE, _TRADES_AT_ONCE):
                events = np.zeros(table.num_rows, dtype=EVENT)
                good = np.zeros(table.num_rows, dtype=bool)
                for row in range(table.num_rows):
                    self.rows.place, self.rows.line = path.name, first + row
                    try:
                        events[row] = self._one_trade(table, row)
                        good[row] = True
                    except Refused as e:
                        self.rows.refuse(e.reason, e.detail)
                events = events[good]
                if events.size:
                    receive, event = events["ts_init_ns"] // _MS, events["ts_event_ns"] // _MS
                    self._stamp(receive, receive - event)
                    self.rows.keep("trade", events.size)
                    yield events

    def _one_trade(self, table: pa.Table, row: int) -> tuple:
        receive, event = self._head(table, row, "trade")
        number, price, size, side = (
            table.column(c)[row].as_py() for c in ("trade_id", "price", "qty", "side")
        )
        if side not in ("buy", "sell") or not str(number).isdigit() or len(str(number)) > 18:
            raise Refused("bad_row", f"trade_id {number!r}, side {side!r}")
        number = int(number)
        if price is None or not price > 0:
            raise Refused("non_positive_price", f"trade {number}: price {price!r}")
        if size is None or not size > 0:
            raise Refused("negative_size", f"trade {number}: size {size!r}")
        units, off = to_units(np.array([price]), self._scales[0])
        amount, off_size = to_units(np.array([size]), self._scales[1])
        if off[0] or off_size[0]:
            raise Refused("off_grid", f"trade {number}: {price!r} x {size!r} does not lie on the grid")
        if number <= self._last_trade:
            raise Refused("duplicate", f"trade {number} after {self._last_trade}")
        if self._last_trade >= 0:
            self.rows.note("trade_ids_missing", number - self._last_trade - 1)
        self._last_trade, self._times["trade"] = number, receive
        aggressor = 1 if side == "buy" else -1
        return (event * _MS, receive * _MS, units[0], amount[0], number, KIND_TRADE, aggressor, 0)

    def report(self, paths: Sequence[Path]) -> ImportReport:
        """Return the counts of what was read so far."""
        count, total, least, most = self._skew
        return self.rows.report(
            source="lob1000",
            instrument_id=self._spec.id,
            paths=[p.name for p in paths],
            first_ns=self._span[0] if self._span else None,
            last_ns=self._span[1] if self._span else None,
            skew_ms_min=float(least) if count else None,
            skew_ms_mean=total / count if count else None,
            skew_ms_max=float(most) if count else None,
            touch=self.touch,
        )


def _clear() -> np.ndarray:
    clear = np.zeros(1, dtype=EVENT)
    clear["kind"] = KIND_CLEAR
    return clear


def _levels(side: int, prices: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    events = np.zeros(prices.size, dtype=EVENT)
    events["kind"], events["side"], events["price"], events["size"] = KIND_LEVEL, side, prices, sizes
    return events


def _changes(
    old: np.ndarray, old_sizes: np.ndarray, new: np.ndarray, new_sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the level changes (prices, sizes; 0 deletes) that turn one side into another; prices rise."""
    place = np.minimum(np.searchsorted(old, new), old.size - 1)
    fresh = (old[place] != new) | (old_sizes[place] != new_sizes)
    place = np.minimum(np.searchsorted(new, old), new.size - 1)
    gone = old[new[place] != old]
    return (
        np.concatenate([new[fresh], gone]),
        np.concatenate([new_sizes[fresh], np.zeros(gone.size, dtype=np.int64)]),
    )


def _id_of(venue: object, market: object, symbol: object) -> str:
    suffix = _SUFFIX.get(str(market))
    return "" if venue != "Binance" or suffix is None else f"{symbol}{suffix}.BINANCE"


def _sort_out(paths: Sequence[Path]) -> dict[str, _Source]:
    """Return the books and trades of each instrument, by their first rows."""
    found: dict[str, _Source] = {}
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                names = set(file.schema_arrow.names)
                kind = next(
                    (k for k, want in (("books", _BOOK), ("trades", _TRADE)) if set(want) <= names), ""
                )
                if not kind:
                    raise ImportRefused(
                        f"{path}: neither books ({', '.join(_BOOK)}) nor trades ({', '.join(_TRADE)}); its "
                        f"columns are {', '.join(sorted(names))[:300]}"
                    )
                head = next(file.iter_batches(batch_size=1, columns=list(_HEAD)), None)
        except (pa.ArrowException, OSError) as e:
            raise ImportRefused(f"{path}: not a parquet file that can be read: {e}") from e
        if head is None or head.num_rows == 0:
            raise ImportRefused(f"{path}: holds no rows")
        row = head.to_pylist()[0]
        instrument_id = _id_of(row["venue"], row["market_type"], row["symbol"])
        if not instrument_id:
            raise ImportRefused(
                f"{path}: of {row['venue']!r}, market {row['market_type']!r}; read are recordings of "
                "Binance's markets fut and spot"
            )
        getattr(found.setdefault(instrument_id, _Source()), kind).append(path)
    return found


def _specification(
    instrument_id: str, source: _Source, exchange_info: str | os.PathLike[str] | None
) -> tuple[InstrumentSpec, bool]:
    """Return the instrument, and whether its steps were read off the first rows."""
    if exchange_info is not None:
        return exchange_info_instrument(exchange_info, instrument_id), False
    try:
        return binance_instrument(instrument_id), False
    except DataError:
        columns = ["bids_px", "asks_px", "bids_qty", "asks_qty"] if source.books else ["price", "qty"]
        with pq.ParquetFile((source.books or source.trades)[0]) as file:
            head = next(file.iter_batches(batch_size=_BOOKS_AT_ONCE, columns=columns))
        numbers = [
            np.asarray(pc.list_flatten(c) if source.books else c, dtype=np.float64)
            for c in (head.column(name) for name in columns)
        ]
        half = len(numbers) // 2
        return infer_instrument(
            instrument_id, np.concatenate(numbers[:half]), np.concatenate(numbers[half:])
        ), True


def import_lob1000(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    max_bad_share: float = 0.001,
    replace: bool = False,
    exchange_info: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[ImportReport]:
    """Import books and trades into a catalog, each instrument whole or not at all.

    Parameters
    ----------
    paths : parquet files of books and trades; those of one instrument and kind follow one another in time.
    instrument_id : import this instrument alone; by default all that the files hold.
    max_bad_share : largest share of refused rows.
    replace : take the place of stored data over the same span.
    exchange_info : file with the venue's ``exchangeInfo``; without it the built-in table counts, then the
        steps in the data.
    progress : takes a line of text every few seconds.

    Returns
    -------
    list of ImportReport, one an instrument, sorted by id

    Raises
    ------
    ImportRefused
        When a file cannot be read, is neither books nor trades, holds another venue's data, or has too many
        bad rows. Instruments before it stay imported.
    DataError
        When the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    sources = _sort_out([Path(p) for p in paths])
    if instrument_id is not None:
        if instrument_id not in sources:
            raise ImportRefused(
                f"{instrument_id} is not in the files; they hold {', '.join(sorted(sources))}"
            )
        sources = {instrument_id: sources[instrument_id]}
    reports = []
    for name, source in sorted(sources.items()):
        wanted, inferred = _specification(name, source, exchange_info)
        spec, differs = settle_instrument(catalog_path, wanted)
        reader = Lob1000(spec, max_bad_share=max_bad_share)
        reader.rows.note("instrument_inferred", int(inferred))
        reader.rows.note("instrument_of_catalog", int(differs))
        files = [*source.books, *source.trades]
        reports.append(
            publish(
                catalog_path,
                spec,
                reader.events(source.books, source.trades, Progress(progress)),
                lambda reader=reader, files=files: reader.report(files),
                replace=replace,
            )
        )
    return reports


register(
    Importer(
        kind="lob1000",
        help="""Whole books of 1,000 levels a side, and trades (parquet).

    PATHS are files of books (columns bids_px, bids_qty, asks_px, asks_qty ...) and of trades (trade_id,
    price, qty, side); which is which, and of which instrument, is read off them.
    """,
        function=import_lob1000,
        instrument="optional",
        options=(EXCHANGE_INFO,),
    )
)
