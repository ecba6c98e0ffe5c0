"""Recordings of Nautilus's streaming writer (Arrow streams) as catalog data.

A live node writes each kind of datum of each instrument to a stream of its own. Here the streams of an
instrument are merged by the time of receipt, books are checked and put in the order the catalog wants, and
everything of one instrument is published at once. Nautilus's own `convert_stream_to_data` copies the tables
as they are: a book that crossed or lost a message would go in unseen, and the levels of a batch would stay
in the venue's order.

What a message of the writer is, is taken for one batch of the book. On Bybit the column `order_id` carries
the update id `u`, which grows by one from message to message; Binance's adapter keeps only the last id, so
that a gap inside one connection cannot be seen there, only a book that crosses.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from nautilus_trader.model.enums import RecordFlag

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.catalog_writer import CatalogWriter
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._streams import (
    StreamFile,
    find_instruments,
    messages,
    recording_folder,
    stream_files,
)
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import (
    BARS,
    from_nautilus_instrument,
    table_to_bars,
    table_to_deltas,
    table_to_trades,
)
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_nautilus_stream"]

_CHUNK_EVENTS = 100_000
_MS = 1_000_000
_ROUNDING_NS = 512
_LENGTHS_NS = {"SECOND": 10**9, "MINUTE": 60 * 10**9, "HOUR": 3600 * 10**9, "DAY": 86_400 * 10**9}
_KINDS = ("order_book_deltas", "trade_tick", "bar", "quote_tick")
_IDS_HELD = 10_000
_QUOTES_HELD = 200_000
# A venue tells its fees to those who have keys; without them Nautilus writes 0.1 % into the definition.
# These are the standard tiers (maker, taker).
_FEES = {
    ("BYBIT", "linear_perp"): (0.0002, 0.00055),
    ("BYBIT", "spot"): (0.001, 0.001),
    ("BINANCE", "linear_perp"): (0.0002, 0.0005),
    ("BINANCE", "spot"): (0.001, 0.001),
}


class _Book:
    """Turns the messages of one book into batches of events; a book that breaks is emptied until the next
    snapshot."""

    def __init__(self, spec: InstrumentSpec, rows: RowLedger):
        self._spec = spec
        self._rows = rows
        self._counts_up = spec.id.endswith(".BYBIT")
        self._ladder = Ladder()
        self._last_id: int | None = None  # None: out of step, waiting for a snapshot
        self._lost = False

    def batches(self, source: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield (receive time, rank, events) of each batch."""
        newest = 0
        for message in source:
            self._rows.rows += 1
            events = table_to_deltas(pa.Table.from_batches([message]), self._spec)
            ts = int(events["ts_init_ns"][0])
            if ts < newest:
                self._rows.refuse("time_backwards", f"received {newest - ts} ns before its forerunner")
                continue
            newest = ts
            events["ts_init_ns"] = ts
            events["flags"] = 0
            events["flags"][-1] = FLAG_LAST
            flags = message.column("flags").to_numpy()
            # Binance's adapter flags no snapshot, but clears the book in front of it, as every adapter does.
            snapshot = bool((flags & RecordFlag.F_SNAPSHOT).any() or (events["kind"] == KIND_CLEAR).any())
            # Bybit's running number is in the order id; Binance's update id is the sequence.
            numbers = message.column("order_id").to_numpy() if self._counts_up else events["sequence"]
            update = int(numbers.max())
            batch = self._take(events, update, snapshot)
            if batch is not None:
                yield ts, 1, batch

    def _take(self, events: np.ndarray, update: int, snapshot: bool) -> np.ndarray | None:
        """Return the events to write, a clear for a book that is lost now, or None."""
        rows = self._rows
        if snapshot:
            self._last_id = update
        elif self._last_id is None:
            if self._lost:
                rows.refuse("out_of_step", "a change between a lost book and the next snapshot")
            else:
                rows.note("diff_before_snapshot")
            return None
        elif self._counts_up:
            if update <= self._last_id:
                rows.refuse("duplicate", f"update {update} after {self._last_id}")
                return None
            if update != self._last_id + 1:
                rows.refuse("sequence_break", f"update {update} after {self._last_id}")
                return self._lose(events)
            self._last_id = update
        elif update < self._last_id or (self._spec.is_spot and update == self._last_id):
            # The adapter asks for the snapshot while changes already come in; older ones may follow it.
            rows.note("diff_before_snapshot")
            return None
        if (events["price"][events["kind"] != KIND_CLEAR] <= 0).any():
            rows.refuse("non_positive_price", f"update {update}")
            return self._lose(events)
        touches = self._ladder.apply(events)
        if touches[-1, 2] >= touches[-1, 3]:
            rows.refuse(
                "crossed_book",
                f"bid {touches[-1, 2]} at or above ask {touches[-1, 3]} (units)",
            )
            return self._lose(events)
        rows.keep("snapshot" if snapshot else "depth")
        return events

    def _lose(self, events: np.ndarray) -> np.ndarray | None:
        self._last_id, self._lost = None, True
        self._ladder.clear()
        clear = np.zeros(1, dtype=EVENT)
        clear["kind"], clear["flags"] = KIND_CLEAR, FLAG_LAST
        for name in ("ts_event_ns", "ts_init_ns", "sequence"):
            clear[name] = events[name][-1]
        return clear


def _trades(
    source: Iterator[pa.RecordBatch], spec: InstrumentSpec, rows: RowLedger
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (receive time, rank, events); trades rank before a batch of the book at the same instant."""
    newest = 0
    seen: dict[str, None] = {}  # trade ids of late, in order
    for message in source:
        events = table_to_trades(pa.Table.from_batches([message]), spec)
        for i, trade_id in enumerate(message.column("trade_id").to_pylist()):
            trade = events[i : i + 1]
            ts = int(trade["ts_init_ns"][0])
            rows.rows += 1
            if trade_id in seen:  # a venue repeats its last trades after a reconnection
                rows.refuse("duplicate", f"trade {trade_id}")
            elif ts < newest:
                rows.refuse("time_backwards", f"received {newest - ts} ns before its forerunner")
            elif trade["price"][0] <= 0:
                rows.refuse("non_positive_price", f"trade {trade_id}")
            else:
                newest = ts
                seen[trade_id] = None
                if len(seen) > _IDS_HELD:
                    del seen[next(iter(seen))]
                rows.keep("trade")
                yield ts, 0, trade


def _quotes(source: Iterator[pa.RecordBatch], rows: RowLedger) -> Iterator[pa.Table]:
    """Yield tables of quotes in time order, no instant in two of them."""
    held: list[pa.RecordBatch] = []
    size = newest = 0
    for message in source:
        rows.rows += message.num_rows
        ts = int(message.column("ts_init").to_numpy()[0])
        if ts < newest:
            rows.refuse(
                "time_backwards", f"received {newest - ts} ns before its forerunner", message.num_rows
            )
            continue
        if size >= _QUOTES_HELD and ts > newest:
            yield pa.Table.from_batches(held)
            held, size = [], 0
        newest = int(message.column("ts_init").to_numpy()[-1])
        held.append(message)
        size += message.num_rows
        rows.keep("quote", message.num_rows)
    if held:
        yield pa.Table.from_batches(held)


def _bars(
    source: Iterator[pa.RecordBatch], bar_type: str, spec: InstrumentSpec, rows: RowLedger
) -> np.ndarray:
    """Return the closed bars, stamped with their close as those of other sources are."""
    step, unit = bar_type.rsplit("-", 4)[1:3]
    length = int(step) * _LENGTHS_NS[unit]
    parts = [np.empty(0, dtype=BARS)]
    newest = 0
    for message in source:
        bars = table_to_bars(pa.Table.from_batches([message]), spec)
        # Binance closes a bar a millisecond before the full minute, and Nautilus reckons that in doubles.
        close = message.column("ts_event").to_numpy().astype(np.int64)
        short = -close % length
        close = np.where(short <= _MS + _ROUNDING_NS, close + short, close)
        for i in range(bars.size):
            rows.rows += 1
            if close[i] % length:
                rows.refuse("off_grid_time", f"{bar_type} closes at {close[i]}")
            elif close[i] <= newest:
                rows.refuse("duplicate", f"{bar_type} at {close[i]} again")
            else:
                newest = int(close[i])
                bars["ts_ns"][i] = newest
                parts.append(bars[i : i + 1])
                rows.keep("bar")
    return np.concatenate(parts)


def _chunks(merged: Iterator[tuple[int, int, np.ndarray]]) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    size = 0
    for _, _, events in merged:
        held.append(events)
        size += events.size
        if size >= _CHUNK_EVENTS:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)


def import_nautilus_stream(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    *,
    instrument_id: str | None = None,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
) -> list[ImportReport]:
    """Bring recordings of Nautilus's streaming writer into a catalog, instrument by instrument.

    Parameters
    ----------
    paths : the recordings' folders, their `recording.json`, or files in them.
    instrument_id : take this instrument alone.
    max_bad_share : largest share of refused messages of an instrument.
    allow_truncated : accept a torn file in the middle of a recording. The torn end of the last file of each
        stream is always accepted, and noted.
    replace : take the place of stored data over the same span.

    Returns
    -------
    list of ImportReport, one a recording and instrument; also kept in the catalog

    Raises
    ------
    ImportRefused
        When a path is no recording, holds nothing to import, or too many messages are bad. What came before
        stays imported.
    """
    if not paths:
        raise ImportRefused("no files were named")
    folders = list(dict.fromkeys(recording_folder(Path(p)) for p in paths))
    reports = []
    for folder in folders:
        reports += _import_folder(
            folder, catalog_path, instrument_id, max_bad_share, allow_truncated, replace
        )
    if not reports:
        wanted = f" of {instrument_id}" if instrument_id else ""
        raise ImportRefused(
            f"{', '.join(map(str, folders))}: no book, trades, quotes or bars{wanted} to import"
        )
    return reports


def _import_folder(
    folder: Path,
    catalog_path: str | os.PathLike[str],
    wanted: str | None,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
) -> list[ImportReport]:
    instruments = find_instruments(folder)
    by_name = {i.replace("/", ""): i for i in instruments}
    streams: dict[str, dict[tuple[str, str], list[StreamFile]]] = {}
    others: dict[str, int] = {}
    for file in stream_files(folder):
        name = file.identifier.rsplit("-", 4)[0] if file.kind == "bar" else file.identifier
        instrument = by_name.get(name)
        if instrument is None:
            raise ImportRefused(f"{file.path}: {name} is not defined in the recording ({', '.join(by_name)})")
        if wanted is not None and instrument != wanted:
            continue
        if file.kind not in _KINDS:
            others[instrument] = others.get(instrument, 0) + 1
            continue
        streams.setdefault(instrument, {}).setdefault((file.kind, file.identifier), []).append(file)
    reports = []
    for instrument, found in streams.items():
        rows = RowLedger(max_bad_share)
        rows.note("files_of_other_kinds", others.get(instrument, 0))
        try:
            spec = from_nautilus_instrument(instruments[instrument])
        except DataError as e:
            raise ImportRefused(f"{folder}: {e}") from e
        fees = _FEES.get((spec.id.rpartition(".")[2], spec.kind))
        if fees is not None and (spec.maker_fee, spec.taker_fee) == (0.001, 0.001) != fees:
            spec = msgspec.structs.replace(spec, maker_fee=fees[0], taker_fee=fees[1])
            rows.note("standard_fees_assumed")
        reports.append(_import_one(folder, spec, found, catalog_path, rows, allow_truncated, replace))
    return reports


def _import_one(
    folder: Path,
    wanted: InstrumentSpec,
    streams: dict[tuple[str, str], list[StreamFile]],
    catalog_path: str | os.PathLike[str],
    rows: RowLedger,
    allow_truncated: bool,
    replace: bool,
) -> ImportReport:
    spec, differs = settle_instrument(catalog_path, wanted)
    spans: list[int] = []
    with CatalogWriter(catalog_path, spec, replace=replace) as writer:
        sources = []
        for (kind, identifier), files in streams.items():
            source = messages(files, rows, allow_truncated=allow_truncated)
            if kind == "order_book_deltas":
                sources.append(_Book(spec, rows).batches(source))
            elif kind == "trade_tick":
                sources.append(_trades(source, spec, rows))
            elif kind == "quote_tick":
                for table in _quotes(source, rows):
                    writer.append_quotes(table)
                    ends = table.column("ts_init").to_numpy()[[0, -1]]
                    spans += [int(ts) for ts in ends]
            else:
                bars = _bars(source, identifier, spec, rows)
                writer.append_bars(bars, f"{spec.id}-{'-'.join(identifier.rsplit('-', 4)[1:])}")
                spans += [int(bars["ts_ns"][i]) for i in (0, -1) if bars.size]
        for chunk in _chunks(heapq.merge(*sources, key=lambda piece: piece[:2])):
            writer.append(chunk)
            spans += [int(chunk["ts_init_ns"][0]), int(chunk["ts_init_ns"][-1])]
        rows.check()
        written = writer.commit()
    rows.note("receive_time_moved", written.moved)
    rows.note("files_replaced", len(written.replaced))
    rows.note("instrument_of_catalog", int(differs))
    report = rows.report(
        source="nautilus-stream",
        instrument_id=spec.id,
        paths=[folder.name],
        first_ns=min(spans, default=None),
        last_ns=max(spans, default=None),
        written={
            "deltas": written.deltas,
            "trades": written.trades,
            "batches": written.batches,
            "bars": written.bars,
            "quotes": written.quotes,
        },
        files=list(written.files),
    )
    if spans:
        keep_report(catalog_path, report)
    return report


register(
    Importer(
        kind="nautilus-stream",
        help="""Recordings of a live Nautilus node (StreamingConfig, `apex data record`).

    PATHS are the recordings' `recording.json`, or any file of their folders; the whole recording is taken, or
    --instrument of it. The torn end that a killed recorder leaves is accepted and counted.
    """,
        function=import_nautilus_stream,
        instrument="optional",
        allow_truncated=True,
    )
)
