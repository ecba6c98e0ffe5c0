"""Trades and aggregate trades of Binance's public archive (data.binance.vision).

``BTCUSDT-trades-2024-01-01.zip`` and ``BTCUSDT-aggTrades-2024-01.zip``, or the csv inside. Spot and futures
share these names, but spot has a column more, so the market is known. The archive tells no time of receipt:
`ts_init` is the venue's time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._binance_archive import (
    ArchiveName,
    archive_rows,
    archive_times,
    check_symbol,
    first_cells,
    specification,
)
from apex_nautilus.data.importers._rows import Rows, TradeFile, combine, merge_trades, to_events
from apex_nautilus.data.importers._table import numbers
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.binance_capture import EXCHANGE_INFO
from apex_nautilus.data.importers.progress import Progress
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.binance import parse_symbol
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_binance_trades"]

_FUTURES = {
    "trades": ("id", "price", "size", "quote", "time", "maker"),
    "aggTrades": ("id", "price", "size", "first", "last", "time", "maker"),
}
_EXAMPLE = "BTCUSDT-trades-2024-01-01.zip or BTCUSDT-aggTrades-2024-01.zip"
_SAMPLED = 50_000


def _columns(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return (instrument id, columns) of a file, by its name and the width of its rows."""
    name = ArchiveName.of(path, _EXAMPLE)
    if name.what not in _FUTURES:
        raise ImportRefused(f"{path.name}: holds {name.what}; this importer reads trades and aggTrades")
    columns, width = _FUTURES[name.what], len(first_cells(path))
    if width == len(columns):
        return f"{name.symbol.removesuffix('_PERP')}-PERP.BINANCE", columns
    if width == len(columns) + 1:
        return f"{name.symbol}.BINANCE", (*columns, "best_match")
    raise ImportRefused(
        f"{path.name}: its rows have {width} columns; {name.what} of futures have {len(columns)}, of spot "
        "one more"
    )


def _table(frame: pl.DataFrame) -> Rows:
    ts = archive_times(frame["time"])
    maker = frame["maker"].str.to_lowercase()
    # The buyer was the maker, so the seller was the aggressor.
    side = np.where((maker == "true").fill_null(False).to_numpy(), -1, 2)
    side[(maker == "false").fill_null(False).to_numpy()] = 1
    number = frame["id"].cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    return Rows(
        ts, ts, numbers(frame["price"]), numbers(frame["size"]), side, number, frame["line"].to_numpy()
    )


def _read(
    path: Path, columns: tuple[str, ...], spec: InstrumentSpec, allow_truncated: bool, progress: Progress
) -> Callable[[RowLedger], Iterator[np.ndarray]]:
    def read(rows: RowLedger) -> Iterator[np.ndarray]:
        newest = 0
        for frame in archive_rows(path, columns, rows, allow_truncated=allow_truncated):
            events = to_events(spec, rows, _table(frame), newest, levels=False)
            newest = int(events["ts_init_ns"][-1]) if events.size else newest
            rows.keep("trade", events.size)
            progress.step(path.name, int(frame["line"][-1]), "lines")
            yield events

    return read


def _counted(chunks: Iterator[np.ndarray], rows: RowLedger, span: list[int]) -> Iterator[np.ndarray]:
    """Note ids that are missing between trades, and the span, as the chunks go by."""
    last = 0
    for events in chunks:
        ids = events["sequence"]
        steps = np.diff(ids, prepend=last or int(ids[0]) - 1)
        rows.note("trade_ids_missing", int((steps[steps > 0] - 1).sum()))
        last = int(ids[-1])
        span[:] = [span[0] if span else int(events["ts_init_ns"][0]), int(events["ts_init_ns"][-1])]
        yield events


def import_binance_trades(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    exchange_info: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[ImportReport]:
    """Import trade archives, each instrument whole or not at all; files may overlap in time.

    Parameters
    ----------
    paths : zip or csv files, named as the archive names them.
    instrument_id : that all of them must be of; by default read off names and columns.
    max_bad_share : largest share of refused rows.
    allow_truncated : keep what is whole of a file whose end is missing.
    replace : take the place of stored trades over the same span.
    exchange_info : file with the venue's ``exchangeInfo``; without it the built-in table counts, then the
        steps in the data.
    progress : takes a line of text every few seconds.

    Returns
    -------
    list of ImportReport, one an instrument, sorted by id

    Raises
    ------
    ImportRefused
        When a file cannot be read, is of another kind or symbol, or has too many bad rows. Instruments
        before it stay imported.
    DataError
        When the catalog holds other trades over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    found: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    for path in map(Path, paths):
        name, columns = _columns(path)
        if instrument_id is not None:
            check_symbol(path, ArchiveName.of(path, _EXAMPLE), instrument_id)
            if (parse_symbol(name)[1] == "spot") != (parse_symbol(instrument_id)[1] == "spot"):
                raise ImportRefused(f"{path.name}: holds trades of {name}, not of {instrument_id}")
        found.setdefault(name, []).append((path, columns))
    for name, files in found.items():
        if len({ArchiveName.of(path, _EXAMPLE).what for path, _ in files}) > 1:
            raise ImportRefused(
                f"{name}: trades and aggregate trades are the same deals counted twice; import one of them"
            )
    told = Progress(progress)
    options = (max_bad_share, allow_truncated, replace, exchange_info, told)
    return [_import_one(name, files, catalog_path, *options) for name, files in sorted(found.items())]


def _import_one(
    name: str,
    files: list[tuple[Path, tuple[str, ...]]],
    catalog_path: str | os.PathLike[str],
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
    exchange_info: str | os.PathLike[str] | None,
    told: Progress,
) -> ImportReport:
    once = RowLedger(max_bad_share)
    first, columns = files[0]
    sample = next(archive_rows(first, columns, RowLedger(1.0), allow_truncated=True))[:_SAMPLED]
    wanted, inferred = specification(name, numbers(sample["price"]), numbers(sample["size"]), exchange_info)
    spec, differs = settle_instrument(catalog_path, wanted)
    once.note("instrument_inferred", int(inferred))
    once.note("instrument_of_catalog", int(differs))
    trades = []
    for path, columns in files:
        cells = dict(zip(columns, first_cells(path), strict=False))
        begins = int(archive_times(pl.Series([cells["time"]]))[0])
        read = _read(path, columns, spec, allow_truncated, told)
        trades.append(TradeFile(begins, read, RowLedger(max_bad_share)))
    span: list[int] = []

    def report() -> ImportReport:
        rows = combine([*(t.rows for t in trades), once], max_bad_share)
        rows.check()
        return rows.report(
            source=f"binance-{ArchiveName.of(first, _EXAMPLE).what}",
            instrument_id=name,
            paths=[p.name for p, _ in files],
            first_ns=span[0] if span else None,
            last_ns=span[1] if span else None,
        )

    return publish(
        catalog_path, spec, _counted(merge_trades(trades, once), once, span), report, replace=replace
    )


register(
    Importer(
        kind="binance-trades",
        help="""Binance's public archive of trades and aggregate trades.

    PATHS are named as the archive names them: BTCUSDT-trades-2024-01-01.zip, BTCUSDT-aggTrades-2024-01.zip,
    BTCUSD_PERP-trades-2024-01.zip, zipped or not. Spot and futures are told apart by their columns.
    """,
        function=import_binance_trades,
        instrument="optional",
        allow_truncated=True,
        options=(EXCHANGE_INFO,),
    )
)
