"""Comma-separated tables of trades, bars or level changes whose columns the caller names.

Nothing is guessed but the unit of times: which column is what is said by a map, what the table holds by
`what`. Level changes are absolute sizes (0 deletes); rows of one time of receipt are one batch; a column that
flags snapshots, where there is one, says which rows begin the book anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._candles import PRICES, check_candles, write_candles
from apex_nautilus.data.importers._rows import LevelRows, Rows
from apex_nautilus.data.importers._table import TIME_UNITS, numbers, read_table, times
from apex_nautilus.data.importers._trade_table import TradeColumns, ids, import_trades, sides, survey_decimals
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.registry import Importer, ImporterOption, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.binance import binance_instrument
from apex_nautilus.data.venues.binance import infer_instrument as infer_binance
from apex_nautilus.data.venues.bybit import bybit_instrument, infer_bybit
from apex_nautilus.data.venues.coinbase import coinbase_instrument
from apex_nautilus.risk import InstrumentSpec

__all__ = ["KINDS", "import_csv", "parse_map"]

KINDS = ("trades", "bars", "l2")
_NEEDED = {
    "trades": ("time", "price", "size"),
    "bars": ("time", *PRICES, "volume"),
    "l2": ("time", "side", "price", "size"),
}
_OPTIONAL = {
    "trades": ("side", "id", "receive", "symbol"),
    "bars": (),
    "l2": ("receive", "sequence", "snapshot"),
}
_STAMPS = ("close", "open")
_NS_PER_MINUTE = 60_000_000_000
_TRUE = ("true", "1", "t", "yes", "snapshot")


def parse_map(text: str, what: str) -> dict[str, str]:
    """Return {field: column} of ``price=px,size=qty``; a needed field that is not named is a column of its
    own name.

    Raises
    ------
    ImportRefused
        When a part is not FIELD=COLUMN, or a field is none of the kind's.
    """
    fields = (*_NEEDED[what], *_OPTIONAL[what])
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, column = (x.strip() for x in part.partition("="))
        if not equals or not column:
            raise ImportRefused(f"--map {part!r}: expected FIELD=COLUMN, price=px say")
        if name not in fields:
            raise ImportRefused(f"--map: {what} have no field {name!r}; they have {', '.join(fields)}")
        if name in found:
            raise ImportRefused(f"--map names {name} twice")
        found[name] = column
    return {name: name for name in _NEEDED[what]} | found


def _instrument(instrument_id: str, survey: Callable[[], tuple[int, int]]) -> tuple[InstrumentSpec, bool]:
    """Return the venue's specification where it is known and fine enough, else one read off the table."""
    price, size = survey()
    venue = instrument_id.rpartition(".")[2]
    known: InstrumentSpec | None = None
    if venue == "BINANCE":
        try:
            known = binance_instrument(instrument_id)
        except DataError:
            known = None
    elif venue == "BYBIT":
        known = bybit_instrument(instrument_id)
    elif venue == "COINBASE":
        known = coinbase_instrument(instrument_id)
    if known is not None and known.price_precision >= price and known.size_precision >= size:
        return known, False
    if venue == "BINANCE":
        return infer_binance(instrument_id, np.array([10.0**-price]), np.array([10.0**-size])), True
    if venue == "BYBIT":
        return infer_bybit(instrument_id, price, size), True
    raise ImportRefused(
        f"instrument {instrument_id}: tables of BINANCE, BYBIT and COINBASE instruments can be imported, "
        "whose ids tell what they are; its prices or sizes have more decimals than are known"
        if known is not None
        else f"instrument {instrument_id}: the venue {venue or '(none)'} is not known; known are "
        "BINANCE, BYBIT, COINBASE"
    )


def import_csv(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    *,
    what: str,
    columns: Mapping[str, str] | None = None,
    time_unit: str = "auto",
    buy: Sequence[str] = ("buy", "b", "bid"),
    sell: Sequence[str] = ("sell", "s", "ask", "a"),
    minutes: int | None = None,
    stamp: str = "close",
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
) -> ImportReport:
    """Import tables of one instrument; all of them, or nothing.

    Parameters
    ----------
    paths : files with a header line: plain, gzip, zstd, or one in a zip.
    instrument_id : of a venue that is known: BINANCE, BYBIT, COINBASE.
    what : {"trades", "bars", "l2"}
    columns : {field: column}, as `parse_map` returns; by default the fields' own names.
    time_unit : {"auto", "s", "ms", "us", "ns", "iso"}, see `_table.times`.
    buy, sell : cells of `side`, in lower case. Of trades it is the aggressor's, of levels the book's.
    minutes : length of a bar; bars only.
    stamp : {"close", "open"}, what the time of a bar is; a close just before the full minute
        (23:59:59.999) is that minute.
    max_bad_share : largest share of refused rows.
    allow_truncated : keep what is whole of a file whose end is missing.
    replace : take the place of stored data over the same span.

    Raises
    ------
    ImportRefused
        When an option does not fit, a column is missing, a file is damaged, or too many rows are bad.
    DataError
        When the instrument is unknown or the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    if what not in KINDS or time_unit not in TIME_UNITS or stamp not in _STAMPS:
        raise ImportRefused(f"what {what!r}, time unit {time_unit!r} or stamp {stamp!r} is not known")
    files = [Path(p) for p in paths]
    held = dict(columns) if columns is not None else parse_map("", what)
    price = [held[p] for p in PRICES] if what == "bars" else [held["price"]]
    size = held["volume" if what == "bars" else "size"]
    spec, inferred = _instrument(instrument_id, lambda: survey_decimals(files, price, size, allow_truncated))
    if what == "trades":
        kinds = TradeColumns(
            held["time"],
            held["price"],
            held["size"],
            held.get("side"),
            held.get("id"),
            held.get("receive"),
            held.get("symbol"),
            time_unit,
            tuple(buy),
            tuple(sell),
        )
        symbol = instrument_id.rpartition(".")[0].partition("-")[0]
        return import_trades(
            files,
            catalog_path,
            spec,
            lambda path: kinds,
            symbol=symbol,
            source="csv-trades",
            max_bad_share=max_bad_share,
            allow_truncated=allow_truncated,
            replace=replace,
            inferred=inferred,
        )
    settled, differs = settle_instrument(catalog_path, spec)
    rows = RowLedger(max_bad_share)
    rows.note("instrument_inferred", inferred)
    rows.note("instrument_of_catalog", differs)
    names = [p.name for p in files]
    if what == "bars":
        if minutes is None or minutes < 1:
            raise ImportRefused("say how long a bar is: --bar-minutes 15")
        frame = _bars(files, held, time_unit, minutes, stamp, rows, allow_truncated)
        return write_candles(
            frame, settled, minutes, catalog_path, rows, source="csv", names=names, replace=replace
        )
    book = LevelRows(settled, rows)

    def report() -> ImportReport:
        rows.check()
        if not rows.kept.get("snapshot"):
            raise ImportRefused(f"{', '.join(names)}: no level in {rows.rows} rows: no book can be built")
        return book.builder.report("csv-l2", names)

    source = _levels(files, held, time_unit, buy, sell, book, allow_truncated)
    return publish(catalog_path, settled, source, report, replace=replace)


def _bars(
    files: list[Path],
    held: Mapping[str, str],
    unit: str,
    minutes: int,
    stamp: str,
    rows: RowLedger,
    allow_truncated: bool,
) -> pl.DataFrame:
    length = minutes * _NS_PER_MINUTE
    wanted = [held[name] for name in _NEEDED["bars"]]
    parts = []
    for path in files:
        for frame in read_table(path, wanted, rows, allow_truncated=allow_truncated):
            ts = times(frame[held["time"]], unit)
            rows.line = int(frame["line"][0])
            if stamp == "close":
                ts = np.where(ts < 0, -1, -(-ts // 1_000_000_000) * 1_000_000_000 - length)
            data = {name: numbers(frame[held[name]]) for name in (*PRICES, "volume")}
            part = pl.DataFrame(data | {"ts": ts, "line": frame["line"].to_numpy()})
            parts.append(part.with_columns(ts=pl.when(pl.col("ts") >= 0).then(pl.col("ts"))))
    checked = check_candles(pl.concat(parts), length, rows) if parts else pl.DataFrame()
    rows.check()
    if checked.height == 0:
        raise ImportRefused(f"{', '.join(p.name for p in files)}: holds no bar")
    rows.keep("bar", checked.height)
    return checked


def _levels(
    files: list[Path],
    held: Mapping[str, str],
    unit: str,
    buy: Sequence[str],
    sell: Sequence[str],
    book: LevelRows,
    allow_truncated: bool,
) -> Iterator[np.ndarray]:
    begun = False
    for path in files:
        wanted = list(dict.fromkeys(held.values()))
        for frame in read_table(path, wanted, book.rows, allow_truncated=allow_truncated):
            ts = times(frame[held["time"]], unit)
            side = sides(frame[held["side"]], buy, sell)
            table = Rows(
                ts_event=ts,
                receive=times(frame[held["receive"]], unit) if "receive" in held else ts,
                price=numbers(frame[held["price"]]),
                size=numbers(frame[held["size"]]),
                side=np.where(side == 0, 2, side).astype(np.int8),
                number=ids(frame[held["sequence"]])
                if "sequence" in held
                else np.zeros(frame.height, np.int64),
                line=frame["line"].to_numpy(),
            )
            if "snapshot" in held:
                flag = frame[held["snapshot"]].fill_null("").str.strip_chars().str.to_lowercase()
                whole = flag.is_in(_TRUE).to_numpy()
            else:
                # Without a flag the rows of the first instant are the book the changes begin from.
                whole = np.zeros(frame.height, dtype=bool) if begun else table.receive == table.receive[0]
            begun = True
            yield book.add(table, whole)
    yield book.finish()


def _run(
    paths: Sequence[Path],
    catalog: Path,
    *,
    instrument_id: str,
    what: str | None,
    map: str,  # noqa: A002 (the flag's name)
    time_unit: str,
    buy: str,
    sell: str,
    bar_minutes: int | None,
    stamp: str,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
) -> list[ImportReport]:
    if what is None:
        raise ImportRefused(f"say what the rows are: --what {', '.join(KINDS)}")
    return [
        import_csv(
            paths,
            catalog,
            instrument_id,
            what=what,
            columns=parse_map(map, what),
            time_unit=time_unit,
            buy=tuple(w.strip().lower() for w in buy.split(",")),
            sell=tuple(w.strip().lower() for w in sell.split(",")),
            minutes=bar_minutes,
            stamp=stamp,
            max_bad_share=max_bad_share,
            allow_truncated=allow_truncated,
            replace=replace,
        )
    ]


register(
    Importer(
        kind="csv",
        help="""Comma-separated tables of trades, bars or level changes.

    PATHS have a header line; plain, gzip, zstd or zip. --what says what the rows are, --map which column is
    which: fields are time, price, size, side, id, receive, symbol (trades); time, open, high, low, close,
    volume (bars); time, receive, side, price, size, sequence, snapshot (l2). Files of trades may overlap:
    with an id each trade is taken once.
    """,
        function=_run,
        instrument="required",
        allow_truncated=True,
        options=(
            ImporterOption("what", "What a row is.", choices=KINDS),
            ImporterOption("map", "Columns by field: price=px,size=qty,time=ts.", default=""),
            ImporterOption("time_unit", "Of the times.", default="auto", choices=TIME_UNITS),
            ImporterOption("buy", "Cells of side that mean bought, or bid.", default="buy,b,bid"),
            ImporterOption("sell", "Cells of side that mean sold, or ask.", default="sell,s,ask,a"),
            ImporterOption("bar_minutes", "Length of a bar.", type=int),
            ImporterOption("stamp", "What the time of a bar is.", default="close", choices=_STAMPS),
        ),
    )
)
