"""Coinbase (GDAX) level-2 recordings: the full book of a product, and its matches where they were recorded.

Two shapes are read. Tables: ``side,price,size`` is a snapshot of a side, ``side,price,size,time`` the
changes. Raw messages: a table with the message's fields as columns (as a database exports it), or one JSON
message a line. A change sets a level to an absolute size; changes of one instant are one batch, as the
venue sent them.

The recordings hold no time of receipt: the venue's time stands for it, put off where it runs backwards by
up to a second (matches and changes come from different machines). Level-2 messages bear no sequence number,
so a gap shows only when the book crosses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._book import BookBuilder, Refused
from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers._rows import LevelRows, Rows
from apex_nautilus.data.importers._table import columns_of, numbers, read_table, times
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.coinbase import coinbase_instrument, parse_coinbase_id
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_coinbase_l2"]

_CHUNK_EVENTS = 100_000
_BACKWARDS_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES = {"buy": 1, "sell": -1}
_FIELDS = ("type", "product_id", "time", "bids", "asks", "changes", "side", "price", "size", "trade_id")


class _Message(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    time: str = ""
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []
    changes: list[tuple[str, float, float]] = []
    side: str = ""
    price: float = 0.0
    size: float = 0.0
    trade_id: int = 0


_json = msgspec.json.Decoder(_Message, strict=False)


def _sides(column: pl.Series) -> np.ndarray:
    return column.replace_strict(_SIDES, default=2, return_dtype=pl.Int8).to_numpy()


# ---- tables


def _table(frame: pl.DataFrame, ts: np.ndarray) -> Rows:
    return Rows(
        ts,
        ts,
        numbers(frame["price"]),
        numbers(frame["size"]),
        _sides(frame["side"]),
        np.zeros(frame.height, dtype=np.int64),
        frame["line"].to_numpy(),
    )


def _first_time(path: Path) -> int:
    for frame in read_table(path, ["time"], RowLedger(1.0), allow_truncated=True):
        known = times(frame["time"], "iso")
        if (known >= 0).any():
            return int(known[known >= 0][0])
    return -1


def _from_tables(
    snapshots: list[Path], changes: list[Path], book: LevelRows, allow_truncated: bool
) -> Iterator[np.ndarray]:
    start = min((t for t in map(_first_time, changes) if t >= 0), default=-1)
    if not snapshots or start < 0:
        raise ImportRefused(
            "a book needs tables of a snapshot (side,price,size) and of changes (side,price,size,time); "
            "name both"
        )
    # The snapshot bears no time: it is the book as the first change found it.
    for path in snapshots:
        for frame in read_table(path, ["side", "price", "size"], book.rows, allow_truncated=allow_truncated):
            table = _table(frame, np.full(frame.height, start))
            yield book.add(table, np.ones(frame.height, dtype=bool))
    for path in changes:
        columns = ["side", "price", "size", "time"]
        for frame in read_table(path, columns, book.rows, allow_truncated=allow_truncated):
            table = _table(frame, times(frame["time"], "iso"))
            yield book.add(table, np.zeros(frame.height, dtype=bool))
    yield book.finish()


# ---- messages


def _nested(cell: str | None) -> Any:
    """A list that a database wrote with single quotes."""
    return msgspec.json.decode((cell or "[]").replace("'", '"'))


def _from_cells(row: dict[str, Any]) -> _Message:
    values = {name: row.get(name) or "" for name in ("type", "product_id", "time", "side")}
    values |= {name: _nested(row.get(name)) for name in ("bids", "asks", "changes")}
    values |= {name: float(row.get(name) or 0.0) for name in ("price", "size")}
    values["trade_id"] = int(float(row.get("trade_id") or 0))
    return msgspec.convert(values, _Message, strict=False)


def _messages(path: Path, rows: RowLedger, allow_truncated: bool) -> Iterator[_Message]:
    if _is_json(path):
        for raw in lines(path, rows, allow_truncated=allow_truncated):
            rows.rows += 1
            try:
                yield _json.decode(raw)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
                rows.refuse("bad_json", str(e))
        return
    held = [name for name in _FIELDS if name in columns_of(path)]
    for frame in read_table(path, held, rows, allow_truncated=allow_truncated):
        for row in frame.iter_rows(named=True):
            rows.line = row["line"]
            try:
                yield _from_cells(row)
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as e:
                rows.refuse("bad_json", str(e)[:200])


def _is_json(path: Path) -> bool:
    found = lines(path, RowLedger(1.0), allow_truncated=True)
    try:
        return next(found, b"").lstrip().startswith(b"{")
    finally:
        found.close()  # pyright: ignore[reportAttributeAccessIssue]


def _time_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        ns = (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1) * 1_000
    except (ValueError, OverflowError):
        ns = -1
    if ns < 0:
        raise Refused("bad_time", f"{text[:40]!r}")
    return ns


class _Session:
    """Takes raw messages in the order of receipt."""

    def __init__(self, builder: BookBuilder, product: str):
        self.builder = builder
        self.rows = builder.rows
        self._product = product
        self._waiting: _Message | None = None
        self._last_trade: int | None = None

    def take(self, m: _Message) -> None:
        if m.type not in ("snapshot", "l2update", "match"):
            self.rows.note(f"other_message:{m.type[:20] or 'none'}")
            return
        if m.product_id and m.product_id != self._product:
            raise Refused("wrong_symbol", f"{m.product_id[:40]}, not {self._product}")
        if m.type == "snapshot" and not m.time:
            self._waiting = m  # it bears no time: that of the next message is the first one known
            return
        ts_event = _time_ns(m.time)
        builder = self.builder
        receive = ts_event
        if 0 < builder.last_ns - ts_event <= _BACKWARDS_NS:
            self.rows.note("receive_time_raised")
            receive = builder.last_ns
        builder.receive(receive)
        if self._waiting is not None:
            first, self._waiting = self._waiting, None
            self._snapshot(first, ts_event, receive)
        if m.type == "snapshot":
            self._snapshot(m, ts_event, receive)
        elif m.type == "l2update":
            self._changes(m, ts_event, receive)
        else:
            self._match(m, ts_event, receive)

    def _snapshot(self, m: _Message, ts_event: int, receive: int) -> None:
        self.builder.replace(self.builder.levels(m.bids, m.asks), ts_event, receive, 0)
        self.rows.keep("snapshot")

    def _changes(self, m: _Message, ts_event: int, receive: int) -> None:
        builder = self.builder
        if not builder.in_step:
            if builder.lost:
                raise Refused("out_of_step", "changes between a lost book and the next snapshot")
            self.rows.note("change_before_snapshot")
            return
        for side, _, _ in m.changes:
            if side not in _SIDES:
                raise Refused("bad_side", f"{side[:20]!r}")
        try:
            sides = {s: [(p, q) for name, p, q in m.changes if name == s] for s in _SIDES}
            builder.change(builder.levels(sides["buy"], sides["sell"]), ts_event, receive, 0)
        except Refused:
            if builder.in_step:  # what this message changed is missing from the book
                builder.lose(ts_event, receive, 0)
            raise
        self.rows.keep("l2update")

    def _match(self, m: _Message, ts_event: int, receive: int) -> None:
        if m.side not in _SIDES:
            raise Refused("bad_side", f"{m.side[:20]!r}")
        if self._last_trade is not None and m.trade_id > self._last_trade:
            self.rows.note("trade_ids_missing", m.trade_id - self._last_trade - 1)
        # `side` is the maker's.
        self.builder.trade(m.price, m.size, -_SIDES[m.side], m.trade_id, ts_event, receive)
        self._last_trade = m.trade_id
        self.rows.keep("match")


def _from_messages(files: list[Path], session: _Session, allow_truncated: bool) -> Iterator[np.ndarray]:
    for path in files:
        for message in _messages(path, session.rows, allow_truncated):
            try:
                session.take(message)
            except Refused as e:
                session.rows.refuse(e.reason, e.detail)
            if session.builder.size >= _CHUNK_EVENTS:
                yield session.builder.take()
    yield session.builder.take()


def import_coinbase_l2(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str = "BTC-USD.COINBASE",
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    instrument: InstrumentSpec | None = None,
) -> ImportReport:
    """Import Coinbase level-2 recordings of one product; all of them, or nothing.

    Parameters
    ----------
    paths : the tables of one snapshot (both sides) and of the changes after it, in order of time; or files
        of raw messages, in order of time.
    instrument_id : ``BTC-USD.COINBASE``.
    max_bad_share : largest share of refused rows.
    allow_truncated : keep what is whole of a file whose end is missing.
    replace : take the place of stored data over the same span.
    instrument : specification to use instead of the built-in one.

    Raises
    ------
    ImportRefused
        When there is nothing to import, a file is damaged, or too many rows are bad.
    DataError
        When the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    product = parse_coinbase_id(instrument_id)
    wanted = instrument if instrument is not None else coinbase_instrument(instrument_id)
    spec, differs = settle_instrument(catalog_path, wanted)
    rows = RowLedger(max_bad_share)
    rows.note("instrument_of_catalog", differs)
    files = [Path(p) for p in paths]
    names = [p.name for p in files]
    raw = [p for p in files if _is_json(p) or "type" in columns_of(p)]
    if raw and len(raw) < len(files):
        raise ImportRefused("tables and raw messages cannot be imported together; name one kind")
    if raw:
        builder = BookBuilder(spec, rows)
        chunks = _from_messages(raw, _Session(builder, product), allow_truncated)
    else:
        book = LevelRows(spec, rows)
        builder = book.builder
        timed = {p: "time" in columns_of(p) for p in files}
        chunks = _from_tables(
            [p for p in files if not timed[p]], [p for p in files if timed[p]], book, allow_truncated
        )

    def report() -> ImportReport:
        rows.check()
        if not rows.kept.get("snapshot"):
            raise ImportRefused(f"{', '.join(names)}: no snapshot in {rows.rows} rows: no book can be built")
        return builder.report("coinbase-l2", names)

    return publish(catalog_path, spec, chunks, report, replace=replace)


register(
    Importer(
        kind="coinbase-l2",
        help="""Coinbase (GDAX) level-2 recordings of one product.

    PATHS are the tables of a snapshot (side,price,size) and of the changes after it (side,price,size,time),
    in order of time; or raw messages: JSON lines, or a table with a column for each field. The instrument is
    BTC-USD.COINBASE unless --instrument names another.
    """,
        function=import_coinbase_l2,
        instrument="optional",
        allow_truncated=True,
    )
)
